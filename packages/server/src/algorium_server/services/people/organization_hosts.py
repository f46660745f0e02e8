"""
Users of the host that an organization's algorithms were meant to run as.

The old service isolated workers so. Here every slot has a sandbox of its own, and these values are
kept for those who ask for them, and used for nothing.

Source: wire specification, "Host information (worker isolation)".
"""

import uuid
from collections.abc import Mapping

from algorium_server.domain.administration import Action
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import (
    HostInformationExists,
    HostInformationMalformed,
    HostInformationNotFound,
    InvalidInput,
)
from algorium_server.domain.identity import Account, Principal
from algorium_server.domain.limits import ACCOUNT_TEXT_CHARS_MAX, HOST_USERS_PER_UPDATE_MAX
from algorium_server.domain.organizations import HostInformation
from algorium_server.domain.texts import check_text
from algorium_server.services.auditing import record
from algorium_server.services.directory import Directory
from algorium_server.services.people.administrators import Administrators
from algorium_server.store import accounts as account_rows
from algorium_server.store import organizations as rows
from algorium_server.store.database import AsyncConnection, Database


class OrganizationHosts:
    """
    Use cases around users of the host; all raise `NotAuthorized` and `OrganizationNotFound`.

    Args:
        database: Where they are noted.
        directory: Which algorithms there are.
        administrators: Says who may do what.
    """

    def __init__(
        self, database: Database, directory: Directory, administrators: Administrators
    ) -> None:
        self._database = database
        self._directory = directory
        self._administrators = administrators

    async def information(self, principal: Principal, name: str) -> HostInformation:
        """Return what is noted of an organization; `HostInformationNotFound` if there is none."""
        account = self._administrators.organization(principal, name, Action.SEE_ALL)
        async with self._database.reading() as connection:
            found = await rows.host_of(connection, account.account_id)
        if found is None:
            raise HostInformationNotFound(f"{account.username} has no host information")
        return found

    async def create(
        self, principal: Principal, name: str, *, host_username: str, host_user_id: str
    ) -> None:
        """Note a user for an organization; `HostInformationExists` if there is one."""
        account = self._administrators.organization(principal, name, Action.DECIDE)
        made = _information(account, host_username, host_user_id)
        async with self._database.transaction() as connection:
            await account_rows.hold_account(connection, account.account_id)
            if not await rows.add_host(connection, made):
                raise HostInformationExists(f"{account.username} has host information already")
            await _record(connection, principal, AuditAction.HOST_CHANGED, account)

    async def replace(
        self, principal: Principal, name: str, *, host_username: str, host_user_id: str
    ) -> None:
        """Note another user for an organization; `HostInformationNotFound` if there is none."""
        account = self._administrators.organization(principal, name, Action.DECIDE)
        known = await self.information(principal, name)
        made = _information(account, host_username, host_user_id, known.information_id)
        async with self._database.transaction() as connection:
            await account_rows.hold_account(connection, account.account_id)
            await rows.put_host(connection, made)
            await _record(connection, principal, AuditAction.HOST_CHANGED, account)

    async def remove(self, principal: Principal, name: str) -> None:
        """Forget the user of an organization; `HostInformationNotFound` if there is none."""
        account = self._administrators.organization(principal, name, Action.DECIDE)
        async with self._database.transaction() as connection:
            if not await rows.remove_host(connection, account.account_id):
                raise HostInformationNotFound(f"{account.username} has no host information")
            await _record(connection, principal, AuditAction.HOST_DELETED, account)

    async def of_algorithms(self, principal: Principal, name: str) -> list[tuple[str, str]]:
        """Return ids of algorithms of an organization, each with its user."""
        account = self._administrators.organization(principal, name, Action.SEE_ORGANIZATION)
        async with self._database.reading() as connection:
            return await rows.algorithm_hosts_of(connection, account.account_id)

    async def put_for_algorithms(
        self, principal: Principal, name: str, hosts: Mapping[str, str]
    ) -> None:
        """Note users for algorithms; `InvalidInput` if one is not the organization's."""
        account = self._administrators.organization(principal, name, Action.CHANGE_ORGANIZATION)
        if len(hosts) > HOST_USERS_PER_UPDATE_MAX:
            raise InvalidInput(f"updates is limited to {HOST_USERS_PER_UPDATE_MAX} entries")
        own = {each.algorithm_id for each in self._directory.algorithms_of(account.account_id)}
        for algorithm_id, functional_id in hosts.items():
            if algorithm_id not in own:
                raise InvalidInput(f"{algorithm_id[:100]!r} is no algorithm of {account.username}")
            check_text(functional_id, "functional_id", chars_max=ACCOUNT_TEXT_CHARS_MAX)
        async with self._database.transaction() as connection:
            await rows.put_algorithm_hosts(connection, hosts)
            await _record(
                connection,
                principal,
                AuditAction.HOST_CHANGED,
                account,
                algorithms=", ".join(hosts),
            )

    async def remove_for_algorithm(
        self, principal: Principal, name: str, algorithm_id: str
    ) -> None:
        """Forget the user of an algorithm; one that has none is fine."""
        account = self._administrators.organization(principal, name, Action.CHANGE_ORGANIZATION)
        algorithm = self._directory.algorithm_by_id(algorithm_id)
        if algorithm is not None and algorithm.owner_id == account.account_id:
            async with self._database.transaction() as connection:
                await rows.remove_algorithm_host(connection, algorithm_id)
                await _record(
                    connection,
                    principal,
                    AuditAction.HOST_DELETED,
                    account,
                    algorithms=algorithm_id,
                )


async def _record(
    connection: AsyncConnection,
    principal: Principal,
    action: AuditAction,
    organization: Account,
    **detail: str,
) -> None:
    await record(
        connection,
        principal,
        action,
        f"organization:{organization.username}",
        about=organization.account_id,
        detail=detail,
    )


def _information(
    account: Account, host_username: str, host_user_id: str, information_id: str = ""
) -> HostInformation:
    for value, field in ((host_username, "host_username"), (host_user_id, "host_user_id")):
        if not value:
            raise HostInformationMalformed(f"{field} is missing")
        check_text(value, field, chars_max=ACCOUNT_TEXT_CHARS_MAX, refusal=HostInformationMalformed)
    return HostInformation(
        organization_id=account.account_id,
        information_id=information_id or str(uuid.uuid4()),
        host_username=host_username,
        host_user_id=host_user_id,
    )
