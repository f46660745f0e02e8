"""
Managing connectors: create, list, change, delete, and try out.

Credentials go in and never come out: they are sealed for the row they are in, and only `sources`
opens them.

Source: wire specification, "Connectors".
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

from algorium_server.domain.access import Refused
from algorium_server.domain.administration import Action, may_administer
from algorium_server.domain.audit import AuditAction, changed_names
from algorium_server.domain.connectors import (
    CREDENTIAL_KINDS,
    ConnectorOptions,
    CredentialKind,
    StorageProtocol,
    StoredConnector,
    check_address,
    check_credentials,
    check_label,
    check_options,
    check_path,
)
from algorium_server.domain.errors import (
    AlreadyExists,
    InvalidInput,
    NotAuthorized,
    NotFound,
    TooManyRequests,
)
from algorium_server.domain.identity import Account, Principal
from algorium_server.domain.limits import CONNECTORS_PER_ACCOUNT_MAX
from algorium_server.services.auditing import record
from algorium_server.services.directory import Directory
from algorium_server.services.files.sources import Sources
from algorium_server.services.files.trying import Trial, tried
from algorium_server.store import connectors as rows
from algorium_server.store.database import AsyncConnection, Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What somebody says about a connector; None leaves a thing as it is, or to its default."""

    protocol: StorageProtocol | None = None
    cred_type: CredentialKind | None = None
    credentials: Mapping[str, str] | None = None
    label: str | None = None
    is_default: bool | None = None
    is_writeable: bool | None = None
    path: str | None = None
    options: ConnectorOptions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedConnector:
    """A connector with the account whose it is."""

    connector: StoredConnector
    owner: Account


class ConnectorService:
    """
    Use cases of connectors.

    Every method raises `NotFound` if there is no such account, and `NotAuthorized` if the principal
    may not manage its connectors.

    Args:
        database: Where connectors are.
        directory: Names of accounts.
        sources: Opens them.
        clock: Tells the time of a change.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        sources: Sources,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._sources = sources
        self._clock = clock

    async def create(
        self, principal: Principal, username: str, wanted: Description
    ) -> OwnedConnector:
        """
        Create a connector.

        Raises:
            InvalidInput: Something about it is wrong, or its endpoint may not be reached.
            AlreadyExists: There is one of that protocol with that label.
            TooManyRequests: The account has as many as it can have.
        """
        owner = self._owner(principal, username)
        if wanted.protocol is None or wanted.credentials is None:
            raise InvalidInput("protocol and cred_data are needed")
        connector_id = str(uuid4())
        connector = StoredConnector(
            connector_id=connector_id,
            owner_id=owner.account_id,
            protocol=wanted.protocol,
            label="" if wanted.label is None else check_label(wanted.label),
            revision="",
            created_at=self._clock(),
        )
        connector = await self._described(connector, wanted)
        while True:
            label = connector.label or f"{connector.protocol}_{secrets.token_hex(4)}"
            try:
                async with self._database.transaction() as connection:
                    count = await rows.count_connectors(connection, owner.account_id)
                    if count >= CONNECTORS_PER_ACCOUNT_MAX:
                        raise TooManyRequests(
                            f"an account may have {CONNECTORS_PER_ACCOUNT_MAX} connectors"
                        )
                    stored = replace(connector, label=label)
                    await rows.add_connector(connection, stored)
                    await _record(
                        connection, principal, AuditAction.CONNECTOR_CREATED, stored, owner
                    )
                return OwnedConnector(connector=stored, owner=owner)
            except AlreadyExists:
                if connector.label:
                    raise

    async def connectors(
        self,
        principal: Principal,
        username: str,
        *,
        limit: int,
        after: tuple[str, str] | None = None,
    ) -> list[OwnedConnector]:
        """Return an account's connectors, by protocol and label."""
        owner = self._owner(principal, username)
        async with self._database.reading() as connection:
            found = await rows.connectors_of(connection, owner.account_id, limit=limit, after=after)
        return [OwnedConnector(connector=connector, owner=owner) for connector in found]

    async def connector(
        self, principal: Principal, username: str, connector_id: str
    ) -> OwnedConnector:
        """
        Return one connector.

        Raises:
            NotFound: The account has none of that id.
        """
        owner = self._owner(principal, username)
        async with self._database.reading() as connection:
            found = await rows.connector(
                connection, owner_id=owner.account_id, connector_id=connector_id
            )
        return OwnedConnector(connector=found, owner=owner)

    async def change(
        self, principal: Principal, username: str, connector_id: str, wanted: Description
    ) -> OwnedConnector:
        """
        Change a connector: what is said of it; the rest stays.

        Raises:
            NotFound: The account has none of that id.
            InvalidInput: Something about it is wrong, or its endpoint may not be reached.
            AlreadyExists: There is another one of that protocol with that label.
        """
        while True:
            known = await self.connector(principal, username, connector_id)
            old = known.connector
            if wanted.protocol not in {None, old.protocol}:
                raise InvalidInput("a connector keeps its protocol: create another one")
            new = await self._described(old, wanted)
            if wanted.label is not None:
                new = replace(new, label=check_label(wanted.label))
            async with self._database.transaction() as connection:
                if await rows.change_connector(connection, new, revision=old.revision):
                    await _record(
                        connection,
                        principal,
                        AuditAction.CONNECTOR_CHANGED,
                        new,
                        known.owner,
                        changed=changed_names(old, replace(new, revision=old.revision)),
                    )
                    return OwnedConnector(connector=new, owner=known.owner)

    async def delete(self, principal: Principal, username: str, connector_id: str) -> None:
        """
        Delete a connector with its credentials; nothing in the source changes.

        Raises:
            NotFound: The account has none of that id.
        """
        known = await self.connector(principal, username, connector_id)
        async with self._database.transaction() as connection:
            if not await rows.remove_connector(connection, known.connector.connector_id):
                raise NotFound("connector not found")
            await _record(
                connection,
                principal,
                AuditAction.CONNECTOR_DELETED,
                known.connector,
                known.owner,
            )

    async def test(
        self, principal: Principal, username: str, connector_id: str
    ) -> dict[str, Trial | None]:
        """
        Try out a connector: `list`, `read`, `write` and `delete`; see `trying`.

        Raises:
            NotFound: The account has none of that id.
        """
        stored = (await self.connector(principal, username, connector_id)).connector
        connector = self._sources.guarded(stored)
        return await tried(connector, stored)

    async def _described(self, old: StoredConnector, wanted: Description) -> StoredConnector:
        kind = CREDENTIAL_KINDS[old.protocol]
        if wanted.cred_type not in {None, kind}:
            raise InvalidInput(f"cred_type of {old.protocol} is {kind}")
        options = old.options if wanted.options is None else check_options(wanted.options)
        new = replace(
            old,
            path=old.path if wanted.path is None else check_path(wanted.path),
            is_default=old.is_default if wanted.is_default is None else wanted.is_default,
            is_writeable=old.is_writeable if wanted.is_writeable is None else wanted.is_writeable,
            options=options,
            revision=str(uuid4()),
        )
        if wanted.credentials is None:
            # Whoever may change a connector must not learn its credentials by sending them to
            # a server of their own.
            if replace(options, region="", bucket="") != replace(old.options, region="", bucket=""):
                raise InvalidInput("cred_data is needed to change where credentials are sent")
            credentials = self._sources.unsealed(old)
        else:
            credentials = check_credentials(kind, wanted.credentials)
        if kind is CredentialKind.SAS:
            address = credentials["storage_uri"]
            check_address(address, "cred_data.storage_uri", allow_http=options.allow_http)
        # Opened once, so that what cannot be right is said now and not at the first use.
        await (await self._sources.open(new, credentials)).close()
        sealed = self._sources.sealed(
            credentials, owner_id=old.owner_id, connector_id=old.connector_id
        )
        return replace(new, sealed=sealed)

    def _owner(self, principal: Principal, username: str) -> Account:
        account = self._directory.account_named(username)
        account_id = "" if account is None else account.account_id
        verdict = may_administer(principal, Action.MANAGE_CONNECTORS, account_id)
        if isinstance(verdict, Refused):
            raise NotAuthorized(detail=verdict.reason)
        if account is None:  # told to administrators only: names are not to be tried out
            raise NotFound("no such account")
        return account


async def _record(
    connection: AsyncConnection,
    principal: Principal,
    action: AuditAction,
    connector: StoredConnector,
    owner: Account,
    **detail: str,
) -> None:
    await record(
        connection,
        principal,
        action,
        f"connector:{owner.username}/{connector.protocol}+{connector.label}",
        about=owner.account_id,
        detail=detail,
    )
