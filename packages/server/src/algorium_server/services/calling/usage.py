"""
Reading usage: the records of an account's calls, and sums of them.

What is read includes every call of this process that ended before: whoever makes a call and then
asks finds it. Calls of other processes of this server follow within about a second.

Source: wire specification, "Usage and governance", "Roles and rights".
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from algorium.wire.refs import AlgorithmRef, RefSyntaxError
from algorium_server.domain import access
from algorium_server.domain.errors import InvalidInput, NotAuthorized, NotFound, Unavailable
from algorium_server.domain.identity import Principal
from algorium_server.domain.usage import Dimension, UsageFilter, UsageRecord, UsageTotal
from algorium_server.services.calling.meter import Meter
from algorium_server.services.directory import Directory
from algorium_server.store import usage as usage_rows
from algorium_server.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """
    What somebody wants to know about.

    Attributes:
        since_us: Calls admitted at or after this moment; None from the first one on.
        until_us: Calls admitted before this moment; None up to now.
        account: Name of the account that is billed; empty for the asker's own, and for all accounts
            if an administrator asks.
        algorithm: `owner/name`; empty for all.
    """

    since_us: int | None = None
    until_us: int | None = None
    account: str = ""
    algorithm: str = ""


class UsageService:
    """
    Use cases of usage.

    Args:
        database: Where the records are.
        directory: Names of accounts and algorithms.
        meter: Has the newest records.
    """

    def __init__(self, database: Database, directory: Directory, meter: Meter) -> None:
        self._database = database
        self._directory = directory
        self._meter = meter

    async def page(
        self,
        principal: Principal,
        query: UsageQuery,
        *,
        limit: int,
        before: tuple[int, str] | None = None,
    ) -> list[UsageRecord]:
        """
        Return records, newest first.

        Args:
            principal: Who asks.
            query: Which records.
            limit: How many at most.
            before: Start and request id of the last one of the page before.

        Raises:
            NotAuthorized: The key, or an algorithm, may not see usage.
            NotFound: No such account for this principal.
            InvalidInput: That is no algorithm.
        """
        wanted = self._wanted(principal, query)
        await self._catch_up()
        async with self._database.reading() as connection:
            return await usage_rows.page(connection, wanted, limit=limit, before=before)

    async def totals(
        self,
        principal: Principal,
        query: UsageQuery,
        *,
        by: Sequence[Dimension],
        limit: int,
        after: Sequence[str | int] | None = None,
    ) -> list[UsageTotal]:
        """
        Return sums of records, ordered by what they are told apart by.

        Args:
            principal: Who asks.
            query: Of which records.
            by: What to tell apart.
            limit: How many sums at most.
            after: Key of the last one of the page before.

        Raises:
            NotAuthorized: The key, or an algorithm, may not see usage.
            NotFound: No such account for this principal.
            InvalidInput: That is no algorithm.
        """
        wanted = self._wanted(principal, query)
        await self._catch_up()
        async with self._database.reading() as connection:
            return await usage_rows.totals(connection, wanted, by=by, limit=limit, after=after)

    async def report(
        self,
        principal: Principal,
        *,
        since_us: int,
        until_us: int,
        users: Sequence[str],
        by: Sequence[Dimension],
        limit: int,
        after: Sequence[str | int] | None = None,
    ) -> list[UsageTotal]:
        """
        Return an administrator's report; calls that no slot ran are not in it.

        Args:
            principal: Who asks.
            since_us: Calls admitted at or after this moment.
            until_us: Calls admitted before this moment.
            users: Calls of these accounts only; empty for all. Unknown ones have made none.
            by: What to tell apart.
            limit: How many sums at most.
            after: Key of the last one of the page before.

        Raises:
            NotAuthorized: Only administrators and viewers see reports.
        """
        if not (access.is_cluster_admin(principal) or access.is_cluster_viewer(principal)):
            raise NotAuthorized(detail="only administrators and viewers see reports")
        known = [self._directory.account_named(name) for name in users]
        ids = tuple(account.account_id for account in known if account is not None)
        wanted = UsageFilter(
            since_us=since_us,
            until_us=until_us,
            account_ids=ids if users else None,
            without_refused=True,
        )
        await self._catch_up()
        async with self._database.reading() as connection:
            return await usage_rows.totals(connection, wanted, by=by, limit=limit, after=after)

    async def _catch_up(self) -> None:
        # A database that cannot be written to may still be read.
        with suppress(Unavailable):
            await self._meter.settle()

    def _wanted(self, principal: Principal, query: UsageQuery) -> UsageFilter:
        account_id: str | None = principal.account.account_id
        if query.account:
            account = self._directory.account_named(query.account)
            account_id = account.account_id if account is not None else ""
        elif access.is_cluster_admin(principal):
            account_id = None
        verdict = access.may_see_usage(principal, account_id)
        if isinstance(verdict, access.Refused) and verdict.is_hidden:
            raise NotFound(f"account {query.account} not found", detail=verdict.reason)
        if isinstance(verdict, access.Refused):
            raise NotAuthorized(hint=f"Not allowed: {verdict.reason}.", detail=verdict.reason)
        if account_id == "":
            raise NotFound(f"account {query.account} not found")
        algorithm_id, name = self._algorithm(query.algorithm)
        return UsageFilter(
            since_us=query.since_us,
            until_us=query.until_us,
            account_ids=None if account_id is None else (account_id,),
            algorithm_id=algorithm_id,
            algorithm=name,
        )

    def _algorithm(self, text: str) -> tuple[str, str]:
        """Return id and no name of an algorithm; no id, but the name of one that is gone."""
        if not text:
            return "", ""
        try:
            ref = AlgorithmRef.parse(text)
        except RefSyntaxError as error:
            raise InvalidInput(f"algorithm must be OWNER/NAME: {error}") from error
        algorithm = self._directory.algorithm(ref)
        if algorithm is None:
            return ref.algorithm_id, "" if ref.algorithm_id else f"{ref.owner}/{ref.name}"
        return algorithm.algorithm_id, ""
