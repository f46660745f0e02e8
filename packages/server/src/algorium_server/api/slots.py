"""
The platform's API inside slots: the same application, on one listener per slot.

Reaching a slot's listener proves being inside that slot, so no key is needed: the listener is the
identity, and the call in flight says for whom the algorithm acts. Where other processes of the host
could connect as well, a path prefix that only the slot knows stands in for that proof.

A request belongs to the call in which it began. What of its body comes after the end of that call
is not taken: an algorithm cannot use one caller's rights for what it learned in another's call.

The algorithm is a stranger, so what it can make the gateway hold is bounded: connections beyond
`SLOT_CONNECTIONS_MAX` are told so and closed, and of those that do not even ask, as many again are
kept and the rest dropped at once.

Source: runtime design, "Network and the platform API".
"""

import asyncio
import copy
import functools
import hmac
import socket
from collections.abc import Callable
from email.utils import formatdate

from uvicorn import Config
from uvicorn.server import ServerState

from algorium_server.api.credentials import PRINCIPAL_KEY
from algorium_server.api.errors import send_error
from algorium_server.api.http import AsgiApp, Header, Message, Receive, Scope, Send
from algorium_server.api.protocol import JsonProtocol
from algorium_server.domain.errors import NotAuthenticated, Unavailable
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import SLOT_CONNECTIONS_MAX


class SlotApi:
    """
    Serves one application on the listeners of all slots; uvicorn's set-up is done once.

    Args:
        app: The platform's API.
    """

    def __init__(self, app: AsgiApp) -> None:
        self._app = app
        self._config = Config(
            app=app,
            http=_SlotProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=60,
        )
        self._config.load()

    async def serve(
        self,
        listener: socket.socket,
        *,
        principal: Callable[[], Principal | None],
        path_prefix: str = "",
    ) -> "ServedListener":
        """Accept on *listener* until the returned object is closed; see `engine/listener.py`."""
        config = copy.copy(self._config)
        config.loaded_app = functools.partial(_identified, self._app, principal, path_prefix)
        state = _SlotState()
        server = await asyncio.get_running_loop().create_server(
            lambda: _SlotProtocol(config=config, server_state=state, app_state={}),
            sock=listener,
        )
        return ServedListener(server, state)


class _SlotState(ServerState):
    """What the connections of one listener share; answers carry the time, as everywhere."""

    @property
    def default_headers(self) -> list[Header]:
        return [(b"date", formatdate(usegmt=True).encode())]

    @default_headers.setter
    def default_headers(self, _: list[Header]) -> None:
        pass


class ServedListener:
    """A listener being served."""

    def __init__(self, server: asyncio.Server, state: ServerState) -> None:
        self._server = server
        self._state = state

    def close(self) -> None:
        """Stop accepting and drop the connections; idempotent."""
        self._server.close()
        for connection in tuple(self._state.connections):
            connection.transport.abort()


class _SlotProtocol(JsonProtocol):
    """A connection of a slot, counted before anything is read from it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Take over a connection, refuse it, or drop it, by how many there are."""
        others = len(self.connections)
        if others >= SLOT_CONNECTIONS_MAX:
            self.app = _refuse
        super().connection_made(transport)
        if others >= 2 * SLOT_CONNECTIONS_MAX:
            transport.abort()


async def _refuse(scope: Scope, _receive: Receive, send: Send) -> None:
    error = Unavailable(
        f"An algorithm may hold {SLOT_CONNECTIONS_MAX} connections to the platform at a time.",
        hint="Use one client for all calls, and close what it returns.",
    )
    await send_error(scope, send, error, closes=True)


async def _identified(  # noqa: PLR0917 - the last three are ASGI's
    app: AsgiApp,
    principal: Callable[[], Principal | None],
    path_prefix: str,
    /,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    if path_prefix and scope["type"] == "http":
        raw = path_prefix.encode()
        if not hmac.compare_digest(scope["raw_path"][: len(raw)], raw):
            await send_error(scope, send, NotAuthenticated("authorization required"))
            return
        scope["raw_path"] = scope["raw_path"][len(raw) :]
        scope["path"] = scope["path"][len(path_prefix) :]
    scope[PRINCIPAL_KEY] = principal
    await app(scope, _received_in_time(receive, principal), send)


def _received_in_time(receive: Receive, principal: Callable[[], Principal | None]) -> Receive:
    """Return *receive* until the call that is in flight now has ended."""
    began_in = _tree_of(principal())
    is_told = False

    async def receive_in_time() -> Message:
        nonlocal is_told
        if is_told:
            return {"type": "http.disconnect"}
        message = await receive()
        if message["type"] != "http.request" or _tree_of(principal()) == began_in:
            return message
        is_told = True
        raise NotAuthenticated("authorization required")

    return receive_in_time


def _tree_of(principal: Principal | None) -> str | None:
    """Name the call tree that a slot works for; empty while it loads, None between calls."""
    return principal.acting.tree_id if principal and principal.acting else None
