"""
Files become visible: uploads that are complete, many of them in one transaction.

A commit costs a flush of the disk, whether it holds one row or hundreds. So uploads that finish
while a commit is under way share the next one. Each is checked within it as if it were alone: its
collection is there, its caller may still write, its condition holds, its owner's quota has room.
One that is refused leaves the others as they are.

Source: decision 0015.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import uuid4

from algorium_server.data.blobs import StoredBlob
from algorium_server.data.groups import Group
from algorium_server.domain.collections import Collection, CollectionKind, File
from algorium_server.domain.conditions import ALWAYS, Condition
from algorium_server.domain.errors import (
    AlgoriumError,
    ConditionFailed,
    InternalError,
    OutOfSpace,
    PathNotFound,
    Unavailable,
)
from algorium_server.domain.limits import COMMITTED_AT_ONCE_FILES_MAX
from algorium_server.domain.storage import QuotaOf, StorageUse, check_quota, no_quota
from algorium_server.store import files, puts, storage, uploads
from algorium_server.store.database import AsyncConnection, Database

_ATTEMPTS_MAX: Final = 10
"""Each further attempt needs another gateway to create one of the same files in between."""


class _Overtaken(Exception):
    """Another gateway has created one of the files meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """
    An upload that is complete.

    Attributes:
        collection: As it was found; a special collection may not have a row yet.
        check: Raises unless the caller may change the collection it is given.
        within: What else belongs into the transaction; what it raises undoes it.
    """

    collection: Collection
    name: str
    blob: StoredBlob
    condition: Condition = ALWAYS
    check: Callable[[Collection], None]
    within: Callable[[AsyncConnection, File], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """
    A file that is visible.

    Attributes:
        replaced: Keys of blobs that no row points at any more.
    """

    file: File
    replaced: tuple[str, ...] = ()


class Commits:
    """
    Makes files visible.

    Args:
        database: Where the rows are.
        quota_of: Says what an account may store.
        clock: Tells the time of a change.
    """

    def __init__(
        self, database: Database, *, quota_of: QuotaOf = no_quota, clock: Callable[[], datetime]
    ) -> None:
        self.quota_of = quota_of
        self._database = database
        self._clock = clock
        self._puts: Group[Put, Placed] = Group(
            self._commit_all, size_max=COMMITTED_AT_ONCE_FILES_MAX
        )

    async def put(self, put: Put) -> Placed:
        """
        Make a file visible, or replace the one of its name. When this returns, it is durable.

        Raises:
            PathNotFound: The collection is gone.
            ConditionFailed: The condition does not hold.
            QuotaExceeded: The account may not store so much.
            OutOfSpace: The disk of the database is full.
        """
        return await self._puts.ask(put)

    async def _commit_all(self, batch: Sequence[Put]) -> Sequence[Placed | Exception]:
        for _ in range(_ATTEMPTS_MAX):
            try:
                return await self._write(batch)
            except _Overtaken:
                continue
            except (Unavailable, OutOfSpace):
                raise  # it is the same for each of them
            except Exception:
                if len(batch) == 1:
                    raise
                return await self._one_by_one(batch)
        raise InternalError(detail="files change faster than they can be replaced")

    async def _write(self, batch: Sequence[Put]) -> list[Placed | Exception]:
        now = self._clock()

        async def work(connection: AsyncConnection) -> list[Placed | Exception]:
            return await _Batch(connection, self.quota_of, now).commit(batch)

        if all(put.within is None for put in batch):
            return await self._database.write(work)
        async with self._database.transaction() as connection:  # others' work may await anything
            return await work(connection)

    async def _one_by_one(self, batch: Sequence[Put]) -> list[Placed | Exception]:
        # One of them is to blame, and the others must not suffer from it.
        answers: list[Placed | Exception] = []
        for put in batch:
            try:
                answers.extend(await self._commit_all([put]))
            except asyncio.CancelledError:
                raise
            except Exception as error:
                answers.append(error)
        return answers


@dataclass(slots=True)
class _Change:
    """What becomes of one place: the file before the transaction, and the last one within it."""

    before: File | None
    put: Put | None = None
    file: File | None = None

    @property
    def current(self) -> File | None:
        return self.file or self.before


class _Batch:
    """A transaction of several puts."""

    def __init__(self, connection: AsyncConnection, quota_of: QuotaOf, now: datetime) -> None:
        self._connection = connection
        self._quota_of = quota_of
        self._now = now
        self._collections: dict[str, Collection] = {}
        self._changes: dict[puts.Place, _Change] = {}
        self._used: dict[str, StorageUse] = {}
        self._more: dict[str, StorageUse] = {}
        self._arriving: dict[str, StorageUse] = {}

    async def commit(self, batch: Sequence[Put]) -> list[Placed | Exception]:
        self._collections = await puts.hold_collections(
            self._connection, [put.collection.collection_id for put in batch]
        )
        goals = [await self._goal(put) for put in batch]
        there = [goal for goal in goals if isinstance(goal, Collection)]
        places = {
            (goal.collection_id, put.name)
            for put, goal in zip(batch, goals, strict=True)
            if isinstance(goal, Collection)
        }
        if not there:
            return [goal for goal in goals if isinstance(goal, Exception)]
        before = await puts.lock_files(self._connection, places)
        self._changes = {place: _Change(before.get(place)) for place in places}
        self._used = await storage.locked_use(self._connection, {goal.owner_id for goal in there})
        self._arriving = {
            owner_id: StorageUse(bytes=await uploads.bytes_of_parts(self._connection, owner_id))
            for owner_id in self._used
            if self._quota_of(owner_id).bytes_max is not None
        }
        answers = [
            self._decide(put, goal) if isinstance(goal, Collection) else goal
            for put, goal in zip(batch, goals, strict=True)
        ]
        await self._write()
        for put, answer in zip(batch, answers, strict=True):
            if put.within is not None and isinstance(answer, Placed):
                await put.within(self._connection, answer.file)
        return answers

    async def _goal(self, put: Put) -> Collection | Exception:
        """Return the collection of *put* as it is now."""
        known = put.collection
        try:
            found = self._collections.get(known.collection_id)
            if found is None and known.kind is not CollectionKind.ACCOUNT:
                # A special collection is the same for ever, whatever row it has.
                put.check(known)
                found = await self._special(known)
            if found is None:
                # Deleted and created anew, an account's collection may belong to new intentions.
                raise PathNotFound
            put.check(found)
        except AlgoriumError as error:
            return error
        return found

    async def _special(self, known: Collection) -> Collection | None:
        found = await files.ensure_special_collection(
            self._connection, replace(known, created_at=self._now)
        )
        if found is None:
            return None
        held = await puts.hold_collections(self._connection, [found.collection_id])
        return held.get(found.collection_id)

    def _decide(self, put: Put, goal: Collection) -> Placed | Exception:
        """Check what can only be checked now, and note what is to be written."""
        change = self._changes[goal.collection_id, put.name]
        current = change.current
        more = StorageUse(
            bytes=put.blob.size_bytes - (current.size_bytes if current else 0),
            files=0 if current else 1,
        )
        noted = self._more.get(goal.owner_id, StorageUse())
        try:
            check_condition(put.condition, current)
            used = self._used[goal.owner_id] + noted
            if put.within is None:  # what has arrived in parts was counted then
                used += self._arriving.get(goal.owner_id, StorageUse())
            check_quota(self._quota_of(goal.owner_id), used, more)
        except AlgoriumError as error:
            return error
        self._more[goal.owner_id] = noted + more
        change.put = put
        change.file = File(
            file_id=str(uuid4()),
            collection_id=goal.collection_id,
            name=put.name,
            size_bytes=put.blob.size_bytes,
            blob=put.blob.key,
            md5=put.blob.md5,
            checksum=put.blob.checksum,
            modified_at=self._now,
        )
        return Placed(file=change.file, replaced=(current.blob,) if current else ())

    async def _write(self) -> None:
        new, replacing = [], []
        for change in self._changes.values():
            if change.file is None or change.put is None:
                continue
            content = change.put.blob.content
            if change.before is None:
                new.append((change.file, content))
            else:
                replacing.append((change.before.file_id, change.file, content))
        if replacing:
            await puts.replace_files(self._connection, replacing)
        if new and not await puts.add_files(self._connection, new):
            raise _Overtaken
        await storage.change_use(self._connection, self._more)


def check_condition(condition: Condition, found: File | None) -> None:
    """
    Refuse a change of the place at which *found* is, or nothing.

    Raises:
        ConditionFailed: The condition does not hold.
    """
    if condition.is_new and found is not None:
        raise ConditionFailed("there is a file of this name already")
    if condition.etags is None:
        return
    if found is None:
        raise ConditionFailed("there is no file of this name")
    if etag_of(found) not in condition.etags:
        raise ConditionFailed("the file has changed")


def etag_of(file: File) -> str:
    """Return what tells this version of a file from all others: each has an id of its own."""
    return file.file_id.replace("-", "")
