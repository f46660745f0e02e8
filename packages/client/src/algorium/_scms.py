"""Hosts of source: `client.scms`."""

from collections.abc import Sequence

from algorium import _scm_flow
from algorium._retry import Flow
from algorium._transport import AsyncTransport, SyncTransport
from algorium.wire.scms import ScmConnection, ScmInfo


class Scms:
    """
    Hosts of source, and your connections to them. See `Algorium.scms`.

    Example:
        for scm in client.scms.list():
            print(scm.scm_id, client.scms.status(scm.scm_id).username)
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list(self) -> Sequence[ScmInfo]:
        """Return the hosts of source that the server knows, enabled or not."""
        return self._transport.run(_scm_flow.scms())

    def get(self, scm_id: str) -> ScmInfo:
        """
        Return a host of source.

        Raises:
            NotFound: There is none.
        """
        return self._transport.run(_scm_flow.scm(scm_id))

    def status(self, scm_id: str) -> ScmConnection:
        """
        Return what you are at a host, as the host says it now.

        Raises:
            NotFound: There is no such host.
            SourceFailed: It does not answer.
        """
        return self._transport.run(_scm_flow.status(scm_id))

    def connect(
        self, scm_id: str, token: str = "", *, username: str = "", password: str = ""
    ) -> ScmConnection:
        """
        Connect your account to a host with a token that you have made there.

        With OAuth, a browser does it: it begins at `/v1/scms/{scm_id}/oauth/start`.

        Args:
            scm_id: From `list`.
            token: Of the host.
            username: Instead of a token, where the host takes a name and a password.
            password: Goes with it.

        Raises:
            ApiError: The host refuses it; the message says why.
            ValueError: There is neither a token nor a name.
        """
        return self._transport.run(_connecting(scm_id, token, username, password))

    def revoke(self, scm_id: str) -> None:
        """
        End your connection to a host, here and as far as possible there.

        Raises:
            NotFound: There is no such host.
        """
        self._transport.run(_scm_flow.revoke(scm_id))


class AsyncScms:
    """Hosts of source, and your connections to them; see `Scms`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(self) -> Sequence[ScmInfo]:
        """Return the hosts of source, as `Scms.list`."""
        return await self._transport.run(_scm_flow.scms())

    async def get(self, scm_id: str) -> ScmInfo:
        """Return a host of source, as `Scms.get`."""
        return await self._transport.run(_scm_flow.scm(scm_id))

    async def status(self, scm_id: str) -> ScmConnection:
        """Return what you are at a host, as `Scms.status`."""
        return await self._transport.run(_scm_flow.status(scm_id))

    async def connect(
        self, scm_id: str, token: str = "", *, username: str = "", password: str = ""
    ) -> ScmConnection:
        """Connect your account to a host, as `Scms.connect`."""
        return await self._transport.run(_connecting(scm_id, token, username, password))

    async def revoke(self, scm_id: str) -> None:
        """End your connection to a host, as `Scms.revoke`."""
        await self._transport.run(_scm_flow.revoke(scm_id))


def _connecting(scm_id: str, token: str, username: str, password: str) -> Flow[ScmConnection]:
    if not token and not (username and password):
        raise ValueError("connect takes a token, or a username and its password")
    return _scm_flow.connect(scm_id, token=token, username=username, password=password)
