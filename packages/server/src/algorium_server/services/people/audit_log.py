"""
Reading the audit log: pages of it, all of it, and whether it is whole.

| who | sees |
|---|---|
| administrators, viewers | everything |
| owners of an organization | what concerns it: itself, its members, keys, algorithms and data |
| a user | what concerns the own account, and what it did or was done in its place |

An address is shown to administrators, to owners of the organization that it is about, and of the
own acts.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from algorium_server.domain.administration import Action
from algorium_server.domain.audit import AuditAction, AuditFilter
from algorium_server.domain.audit_chain import (
    Broken,
    ChainedEntry,
    ChainHead,
    ChainKeys,
    Examination,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import AUDIT_BATCH_MAX
from algorium_server.services.auditing import record
from algorium_server.services.people.administrators import Administrators
from algorium_server.store import audit as rows
from algorium_server.store.database import Database

EVERYTHING = AuditFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditVerdict:
    """
    What an examination has found.

    Attributes:
        entries: How many hold, from the first one on.
        checkpoints: How many of them are known from elsewhere, and are as they were.
        head: Where the log ends, as it says itself.
        broken: Where it does not hold any more; None if all of it does.
    """

    entries: int
    checkpoints: int
    head: ChainHead
    broken: Broken | None


class AuditLog:
    """
    Use cases of those who read.

    Args:
        database: Where the log is.
        administrators: Says who may do what.
    """

    def __init__(self, database: Database, administrators: Administrators) -> None:
        self._database = database
        self._administrators = administrators

    async def page(
        self, principal: Principal, wanted: AuditFilter, *, before: int | None, limit: int
    ) -> list[ChainedEntry]:
        """
        Return at most *limit* entries below the number *before*, newest first.

        Raises:
            NotAuthorized: The caller may not see all of it.
        """
        self._administrators.check(principal, Action.SEE_ALL)
        return await self._page(wanted, before=before, limit=limit)

    async def of_organization(
        self,
        principal: Principal,
        name: str,
        wanted: AuditFilter,
        *,
        before: int | None,
        limit: int,
    ) -> list[ChainedEntry]:
        """
        Return the same of what concerns an organization.

        Raises:
            NotAuthorized: The caller is none of its owners.
            OrganizationNotFound: There is none; told to those who see all.
        """
        account = self._administrators.organization(principal, name, Action.SEE_AUDIT)
        wanted = replace(wanted, account_id=account.account_id)
        return await self._page(wanted, before=before, limit=limit)

    async def of_user(
        self,
        principal: Principal,
        name: str,
        wanted: AuditFilter,
        *,
        before: int | None,
        limit: int,
    ) -> list[ChainedEntry]:
        """
        Return the same of what concerns a user, and of what it did.

        Raises:
            NotAuthorized: The caller is somebody else.
            UserNotFound: There is none; told to those who see all.
        """
        account = self._administrators.user(principal, name, Action.SEE_AUDIT)
        wanted = replace(wanted, person_id=account.account_id)
        found = await self._page(wanted, before=before, limit=limit)
        if self._administrators.may(principal, Action.SEE_ALL):
            return found
        return [_without_address_of_others(each, account.account_id) for each in found]

    async def export(
        self, principal: Principal, wanted: AuditFilter
    ) -> AsyncIterator[Sequence[ChainedEntry]]:
        """
        Return all entries that there are now, oldest first, in batches; it is recorded.

        Raises:
            NotAuthorized: The caller may not see all of it.
        """
        self._administrators.check(principal, Action.SEE_ALL)
        async with self._database.transaction() as connection:
            await record(connection, principal, AuditAction.AUDIT_EXPORTED, "audit")
        return batches(self._database, wanted)

    async def _page(
        self, wanted: AuditFilter, *, before: int | None, limit: int
    ) -> list[ChainedEntry]:
        async with self._database.reading() as connection:
            return await rows.page(connection, wanted, before=before, limit=limit)


async def batches(
    database: Database, wanted: AuditFilter = EVERYTHING
) -> AsyncIterator[Sequence[ChainedEntry]]:
    """Yield all entries that there are now, oldest first, a few at a time."""
    async with database.reading() as connection:
        until = (await rows.newest(connection)).number
    after = 0
    while True:
        async with database.reading() as connection:
            batch = await rows.in_order(
                connection, wanted, after=after, until=until, limit=AUDIT_BATCH_MAX
            )
        if batch:
            yield batch
        if len(batch) < AUDIT_BATCH_MAX:
            return
        after = batch[-1].number


async def examine(database: Database, keys: ChainKeys, known: dict[int, bytes]) -> AuditVerdict:
    """
    Look whether the log is as it was written; beside a server, too.

    Args:
        database: Where it is.
        keys: What its chain is made with.
        known: Digests by number from elsewhere, read before now.
    """
    # The head first: what is written meanwhile is behind it, and not looked at.
    async with database.reading() as connection:
        head = await rows.newest(connection)
        last = await rows.last_number(connection)
    looking = Examination(keys, known)
    broken: Broken | None = None
    while broken is None and looking.number < head.number:
        async with database.reading() as connection:
            batch = await rows.in_order(
                connection,
                EVERYTHING,
                after=looking.number,
                until=head.number,
                limit=AUDIT_BATCH_MAX,
            )
        if not batch:
            break
        broken = await asyncio.to_thread(looking.take, batch)
    if broken is None and last > head.number:
        # Both were read at one moment on SQLite; on PostgreSQL somebody may have written between.
        async with database.reading() as connection:
            now = await rows.newest(connection)
        if now.number < last:
            broken = Broken(head.number + 1, "it is behind the head")
    if broken is None:
        broken = looking.finish(head)
    held = sum(1 for number in known if number <= looking.number)
    return AuditVerdict(entries=looking.number, checkpoints=held, head=head, broken=broken)


def _without_address_of_others(chained: ChainedEntry, account_id: str) -> ChainedEntry:
    if chained.entry.actor_id == account_id:
        return chained
    return replace(chained, entry=replace(chained.entry, address=""))
