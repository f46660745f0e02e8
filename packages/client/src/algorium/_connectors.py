"""Storage elsewhere that an account has connected: `client.connectors`."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from algorium import _connector_flow
from algorium._connector_flow import CREDENTIAL_TYPES, ConnectorInfo, ConnectorReport
from algorium._transport import AsyncTransport, SyncTransport
from algorium._wishes import given


def _wish(
    *,
    protocol: str,
    credentials: Mapping[str, str] | None,
    label: str | None,
    is_default: bool | None,
    path: str | None,
    is_writeable: bool | None,
    options: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return what is to be, as the wire spells it; None is left out."""
    if protocol not in CREDENTIAL_TYPES:
        raise ValueError(f"protocol must be one of {', '.join(CREDENTIAL_TYPES)}, not {protocol!r}")
    return given(
        protocol=protocol,
        cred_type=CREDENTIAL_TYPES[protocol] if credentials is not None else None,
        cred_data=dict(credentials) if credentials is not None else None,
        label=label,
        is_default=is_default,
        path=path,
        writeable=is_writeable,
        options=dict(options) if options is not None else None,
    )


class Connectors:
    """
    The connectors of your account, or of an organization that you own. See `Algorium.connectors`.

    A connector opens storage elsewhere under its own data URIs: `s3+archive://bucket/key` for one
    labelled `archive`, `s3://bucket/key` for the default one of `s3`.

    Example:
        connector = client.connectors.create(
            "s3", {"access_key_id": "...", "secret_access_key": "..."}, label="archive"
        )
        assert client.connectors.test(connector).ok
        for entry in client.dir(connector.uri).list():
            print(entry.name)
    """

    __slots__ = ("_owner", "_transport")

    def __init__(self, transport: SyncTransport, owner: str = "") -> None:
        self._transport = transport
        self._owner = owner

    def of(self, owner: str) -> "Connectors":
        """Return the connectors of another account, such as an organization."""
        return Connectors(self._transport, owner)

    def list(self) -> Iterator[ConnectorInfo]:
        """
        Go through the connectors.

        Raises:
            NotAuthorized: The account is not yours to manage.
        """
        marker = ""
        while True:
            connectors, marker = self._transport.run(_connector_flow.page(self._name(), marker))
            yield from connectors
            if not marker:
                return

    def get(self, connector_id: str) -> ConnectorInfo:
        """
        Return one of them.

        Raises:
            NotFound: There is none of this id.
        """
        return self._transport.run(_connector_flow.get(self._name(), connector_id))

    def create(
        self,
        protocol: str,
        credentials: Mapping[str, str],
        *,
        label: str | None = None,
        is_default: bool = False,
        path: str = "*",
        is_writeable: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> ConnectorInfo:
        """
        Connect storage elsewhere.

        Args:
            protocol: `s3`, `gs`, `azureblob` or `dropbox`.
            credentials: What it is opened with. s3: `access_key_id`, `secret_access_key`; gs:
                `email`, `private_key_id`, `private_key`; azureblob: `storage_uri`, `sas_token`,
                `container_name`; dropbox: `access_token`, `refresh_token`.
            label: Tells connectors of one protocol apart; made up if left out.
            is_default: Whether URIs without a label mean this one.
            path: Pattern of what it opens: `bucket/*`, or `*` for everything.
            is_writeable: Whether files may be written and deleted.
            options: `endpoint`, `region`, `path_style`, `ca_certificate`, `kms_key_id`,
                `allow_http`, `bucket`, where the protocol has them.

        Raises:
            InvalidInput: Something is missing or wrong.
            AlreadyExists: There is one of this protocol and label.
        """
        wish = _wish(
            protocol=protocol,
            credentials=credentials,
            label=label,
            is_default=is_default,
            path=path,
            is_writeable=is_writeable,
            options=options,
        )
        return self._transport.run(_connector_flow.create(self._name(), wish))

    def update(
        self,
        connector: ConnectorInfo,
        *,
        credentials: Mapping[str, str] | None = None,
        label: str | None = None,
        is_default: bool | None = None,
        path: str | None = None,
        is_writeable: bool | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> ConnectorInfo:
        """
        Change a connector; what is left out stays as it is. Arguments as for `create`.

        Raises:
            NotFound: It is gone.
            InvalidInput: Something is wrong.
        """
        wish = _wish(
            protocol=connector.protocol,
            credentials=credentials,
            label=label,
            is_default=is_default,
            path=path,
            is_writeable=is_writeable,
            options=options,
        )
        return self._transport.run(
            _connector_flow.update(self._name(), connector.connector_id, wish)
        )

    def delete(self, connector: ConnectorInfo) -> None:
        """
        Delete a connector; what it connects stays as it is.

        Raises:
            NotFound: It is gone.
        """
        self._transport.run(_connector_flow.delete(self._name(), connector.connector_id))

    def test(self, connector: ConnectorInfo) -> ConnectorReport:
        """
        Try what can be done through a connector: list, read and, if it may, write and delete.

        Raises:
            NotFound: It is gone.
        """
        return self._transport.run(_connector_flow.test(self._name(), connector.connector_id))

    def _name(self) -> str:
        if not self._owner:
            self._owner = self._transport.run(_connector_flow.whoami())
        return self._owner


class AsyncConnectors:
    """The connectors of your account, or of an organization that you own; see `Connectors`."""

    __slots__ = ("_owner", "_transport")

    def __init__(self, transport: AsyncTransport, owner: str = "") -> None:
        self._transport = transport
        self._owner = owner

    def of(self, owner: str) -> "AsyncConnectors":
        """Return the connectors of another account, such as an organization."""
        return AsyncConnectors(self._transport, owner)

    async def list(self) -> AsyncIterator[ConnectorInfo]:
        """Go through the connectors, as `Connectors.list`."""
        marker = ""
        while True:
            connectors, marker = await self._transport.run(
                _connector_flow.page(await self._name(), marker)
            )
            for connector in connectors:
                yield connector
            if not marker:
                return

    async def get(self, connector_id: str) -> ConnectorInfo:
        """Return one of them, as `Connectors.get`."""
        return await self._transport.run(_connector_flow.get(await self._name(), connector_id))

    async def create(
        self,
        protocol: str,
        credentials: Mapping[str, str],
        *,
        label: str | None = None,
        is_default: bool = False,
        path: str = "*",
        is_writeable: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> ConnectorInfo:
        """Connect storage elsewhere, as `Connectors.create`."""
        wish = _wish(
            protocol=protocol,
            credentials=credentials,
            label=label,
            is_default=is_default,
            path=path,
            is_writeable=is_writeable,
            options=options,
        )
        return await self._transport.run(_connector_flow.create(await self._name(), wish))

    async def update(
        self,
        connector: ConnectorInfo,
        *,
        credentials: Mapping[str, str] | None = None,
        label: str | None = None,
        is_default: bool | None = None,
        path: str | None = None,
        is_writeable: bool | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> ConnectorInfo:
        """Change a connector, as `Connectors.update`."""
        wish = _wish(
            protocol=connector.protocol,
            credentials=credentials,
            label=label,
            is_default=is_default,
            path=path,
            is_writeable=is_writeable,
            options=options,
        )
        return await self._transport.run(
            _connector_flow.update(await self._name(), connector.connector_id, wish)
        )

    async def delete(self, connector: ConnectorInfo) -> None:
        """Delete a connector, as `Connectors.delete`."""
        await self._transport.run(
            _connector_flow.delete(await self._name(), connector.connector_id)
        )

    async def test(self, connector: ConnectorInfo) -> ConnectorReport:
        """Try what can be done through a connector, as `Connectors.test`."""
        return await self._transport.run(
            _connector_flow.test(await self._name(), connector.connector_id)
        )

    async def _name(self) -> str:
        if not self._owner:
            self._owner = await self._transport.run(_connector_flow.whoami())
        return self._owner
