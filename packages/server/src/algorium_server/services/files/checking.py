"""
A check of all that is stored: rows against bytes, bytes against rows, counts against both.

It may run beside a server. What looks wrong is looked at again, for the file may have been replaced
meanwhile; blobs that are as young as an upload under way are not counted as garbage.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from algorium_server.data.blobs import BlobStore
from algorium_server.domain.collections import File, is_in_row
from algorium_server.domain.limits import (
    BLOB_GRACE_S,
    CHECK_SHOWN_MAX,
    SCRUBBED_AT_ONCE_FILES_MAX,
)
from algorium_server.domain.storage import StorageUse
from algorium_server.services.files.examining import is_current, problem_of
from algorium_server.store import damages, files, storage
from algorium_server.store.database import AsyncConnection, Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """
    A file with damage.

    Attributes:
        file: Where it is, for people.
        blob: Key of its bytes.
        problem: In words.
    """

    file: str
    blob: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongUse:
    """An account of which another use is noted than its files have."""

    account_id: str
    noted: StorageUse
    counted: StorageUse


@dataclass(slots=True, kw_only=True)
class CheckReport:
    """
    What a check has found.

    Attributes:
        damaged: How many files are damaged.
        shown: The first of them.
        garbage_files: Blobs that no row points to: no harm but their space, a server removes them.
        repaired: Garbage was removed and use corrected.
    """

    files: int = 0
    bytes: int = 0
    damaged: int = 0
    shown: list[Found] = field(default_factory=list)
    garbage_files: int = 0
    garbage_bytes: int = 0
    wrong_use: list[WrongUse] = field(default_factory=list)
    repaired: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether nothing is lost and nothing is counted wrongly, or no longer."""
        return not self.damaged and (not self.wrong_use or self.repaired)


class Check:
    """
    One check.

    Args:
        database: Where the rows are.
        blobs: Where the bytes are.
        reads: Read all bytes; else only the presence and the length of blobs count.
        on_progress: Told after every page how many files have been looked at, and of how many.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        *,
        reads: bool = True,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._reads = reads
        self._on_progress = on_progress
        self._report = CheckReport()

    async def run(self, now: datetime, *, repairs: bool = False) -> CheckReport:
        """
        Look at everything.

        Args:
            now: Blobs younger than an upload may take to get its row are no garbage.
            repairs: Remove garbage and correct what is counted wrongly. Only for whoever has the
                home to itself.

        Raises:
            Unavailable: Database or storage does not answer.
        """
        there = {blob.key: blob.size_bytes async for blob in self._blobs.found()}
        await self._check_rows(there)
        if not self._reads:
            await self._recall()
        await self._check_garbage(now, repairs=repairs)
        await self._check_use(repairs=repairs)
        self._report.repaired = repairs
        return self._report

    async def _check_rows(self, there: Mapping[str, int]) -> None:
        async with self._database.reading() as connection:
            total, _ = await damages.total(connection)
        after = ""
        while True:
            async with self._database.reading() as connection:
                rows = await damages.files_after(
                    connection, after, limit=SCRUBBED_AT_ONCE_FILES_MAX
                )
            for file, content in rows:
                await self._check_file(file, content, there)
            self._on_progress(self._report.files, max(total, self._report.files))
            if len(rows) < SCRUBBED_AT_ONCE_FILES_MAX:
                return
            after = rows[-1][0].file_id

    async def _check_file(
        self, file: File, content: bytes | None, there: Mapping[str, int]
    ) -> None:
        self._report.files += 1
        self._report.bytes += file.size_bytes
        if not self._reads and there.get(file.blob) == file.size_bytes:
            return
        reads = self._reads or is_in_row(file.blob)
        problem = await problem_of(self._blobs, file, content, reads=reads)
        if not problem or not await is_current(self._database, file):
            return
        await self._count(file.file_id, file.blob, problem)

    async def _recall(self) -> None:
        # What the scrubber has found by reading.
        async with self._database.reading() as connection:
            known = await damages.damages(connection, limit=CHECK_SHOWN_MAX)
            known = [
                each
                for each in known
                if await damages.has_blob(connection, each.file_id, each.blob)
            ]
        counted = {each.blob for each in self._report.shown}
        for each in known:
            if each.blob not in counted:
                await self._count(each.file_id, each.blob, each.problem)

    async def _count(self, file_id: str, blob: str, problem: str) -> None:
        self._report.damaged += 1
        if len(self._report.shown) < CHECK_SHOWN_MAX:
            async with self._database.reading() as connection:
                name = await damages.shown_name(connection, file_id)
            self._report.shown.append(Found(file=name, blob=blob, problem=problem))

    async def _check_garbage(self, now: datetime, *, repairs: bool) -> None:
        # Another server may be at work on a database that does not lie in our home.
        is_alone = repairs and self._database.is_embedded
        before = now if is_alone else now - timedelta(seconds=BLOB_GRACE_S)
        found = [blob async for blob in self._blobs.found() if blob.modified_at < before]
        async with self._database.reading() as connection:
            live = {key async for key in files.blob_keys(connection)}
        garbage = [blob for blob in found if blob.key not in live]
        self._report.garbage_files = len(garbage)
        self._report.garbage_bytes = sum(blob.size_bytes for blob in garbage)
        if repairs:
            await self._blobs.delete(*(blob.key for blob in garbage))

    async def _check_use(self, *, repairs: bool) -> None:
        async with self._database.reading() as connection:
            wrong = await self._wrong_use(connection)
        if not wrong:
            return
        async with self._database.transaction() as connection:
            # A server may have changed something between the two questions: ask again, alone.
            await storage.locked_use(connection, [each.account_id for each in wrong])
            wrong = await self._wrong_use(connection)
            if repairs:
                for each in wrong:
                    await storage.set_use(connection, each.account_id, each.counted)
        self._report.wrong_use = wrong

    async def _wrong_use(self, connection: AsyncConnection) -> list[WrongUse]:
        noted = await storage.noted_use(connection)
        counted = await storage.counted_use(connection)
        return [
            WrongUse(
                account_id=account_id,
                noted=noted.get(account_id, StorageUse()),
                counted=counted.get(account_id, StorageUse()),
            )
            for account_id in sorted({*noted, *counted})
            if noted.get(account_id, StorageUse()) != counted.get(account_id, StorageUse())
        ]
