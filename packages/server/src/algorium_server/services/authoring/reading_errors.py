"""
Reading the error log: failed calls of an algorithm, a user or an organization.

What is read includes every call of this process that failed before; those of other gateways follow
within a second.

Source: wire specification, "Error logs".
"""

import time
from contextlib import suppress

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain import access
from algorium_server.domain.access import Refused
from algorium_server.domain.authorship import Act
from algorium_server.domain.call_errors import CallError, may_read_log_of, seen_by_caller
from algorium_server.domain.errors import NotAuthorized, Unavailable
from algorium_server.domain.identity import Account, AccountKind, Principal
from algorium_server.domain.installation import ERROR_LOGS
from algorium_server.domain.limits import CALL_ERRORS_KEEP_S, CALL_ERRORS_SHOWN_MAX
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.calling.error_log import ErrorLog
from algorium_server.services.directory import Directory
from algorium_server.store import call_errors as error_rows
from algorium_server.store.database import Database
from algorium_server.store.installation import is_enabled


class FailedCallReader:
    """
    Use cases of those who look for what went wrong.

    Args:
        database: Where failed calls are.
        directory: Names of accounts.
        authors: Says who may read the log of an algorithm.
        log: Has the newest failed calls.
    """

    def __init__(
        self, database: Database, directory: Directory, authors: Authors, log: ErrorLog
    ) -> None:
        self._database = database
        self._directory = directory
        self._authors = authors
        self._log = log

    async def of_algorithm(self, principal: Principal, ref: AlgorithmRef) -> list[CallError]:
        """
        Return the failed calls of an algorithm, newest first.

        Raises:
            NoSuchAlgorithm: There is none.
            NotAuthorized: The caller may not read its log.
        """
        algorithm = self._authors.algorithm(principal, ref, Act.READ_LOGS)
        if principal.acting is not None:
            raise NotAuthorized(detail="algorithms may not read error logs")
        await self._check_feature(principal)
        await self._catch_up()
        async with self._database.reading() as connection:
            return await error_rows.of_algorithm(
                connection, algorithm.algorithm_id, since_us=_since_us(), limit=_SHOWN
            )

    async def of_user(self, principal: Principal, name_or_id: str) -> list[CallError]:
        """
        Return the failed calls of a user's algorithms, and those that the user made, newest first.

        An unknown user has none, and so has one whose calls are not the caller's business.

        Raises:
            NotAuthorized: The key may not read error logs.
        """
        return await self._of_account(principal, name_or_id, AccountKind.USER)

    async def of_organization(self, principal: Principal, name_or_id: str) -> list[CallError]:
        """
        Return the failed calls of an organization's algorithms, newest first; like `of_user`.

        Raises:
            NotAuthorized: The key may not read error logs.
        """
        return await self._of_account(principal, name_or_id, AccountKind.ORGANIZATION)

    async def _of_account(
        self, principal: Principal, name_or_id: str, kind: AccountKind
    ) -> list[CallError]:
        account = self._account(name_or_id)
        verdict = may_read_log_of(principal, account.account_id if account is not None else "")
        if isinstance(verdict, Refused) and not verdict.is_hidden:
            raise NotAuthorized(hint=f"Not allowed: {verdict.reason}.", detail=verdict.reason)
        if account is None or account.kind is not kind or isinstance(verdict, Refused):
            return []
        await self._check_feature(principal)
        await self._catch_up()
        async with self._database.reading() as connection:
            errors = await error_rows.of_account(
                connection, account.account_id, since_us=_since_us(), limit=_SHOWN
            )
        return [self._seen(principal, error) for error in errors]

    def _account(self, name_or_id: str) -> Account | None:
        by_name = self._directory.account_named(name_or_id)
        return by_name or self._directory.account(name_or_id.lower())

    def _seen(self, principal: Principal, error: CallError) -> CallError:
        if access.is_cluster_admin(principal) or access.is_owner_like(principal, error.owner_id):
            return error
        algorithm = self._directory.algorithm_by_id(error.algorithm_id)
        sees_source = algorithm is not None and access.may_see_source(principal, algorithm)
        return seen_by_caller(error, sees_source=sees_source)

    async def _check_feature(self, principal: Principal) -> None:
        if access.is_cluster_admin(principal):
            return
        account_id = principal.account.account_id
        async with self._database.reading() as connection:
            is_on = await is_enabled(connection, ERROR_LOGS, account_id=account_id)
        if not is_on:
            raise NotAuthorized("Error logs are switched off here; an administrator can change it.")

    async def _catch_up(self) -> None:
        # A database that cannot be written to may still be read.
        with suppress(Unavailable):
            await self._log.flush()


_SHOWN = CALL_ERRORS_SHOWN_MAX


def _since_us() -> int:
    return time.time_ns() // 1000 - int(CALL_ERRORS_KEEP_S * 1_000_000)
