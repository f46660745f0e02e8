"""
The platform's API inside a slot.

A TCP listener that lives in the slot's own network namespace, accepted here. Reaching it proves
being inside that slot, so no key is needed: the listener is the identity, and the call in flight
says for whom the algorithm acts.

Source: runtime design, "Network and the platform API".
"""

import asyncio
import copy
import functools
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from algorium_server.domain.identity import Principal

Scope = MutableMapping[str, Any]
ASGIApp = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Any]

PRINCIPAL_KEY: Final = "algorium.principal"
"""Where the scope carries a function that tells who the slot acts as right now."""

_CONNECTIONS_MAX: Final = 256
"""Per slot: a parent may run 24 children, each client keeps a few connections."""


class ListenerFactory:
    """
    Serves one ASGI app on the listeners of all slots; uvicorn's set-up is done once.

    Args:
        app: The platform's API.
        protocol: uvicorn's HTTP protocol or one derived from it.
    """

    def __init__(
        self, app: ASGIApp, *, protocol: type[HttpToolsProtocol] = HttpToolsProtocol
    ) -> None:
        self._app = app
        self._protocol = protocol
        self._config = Config(
            app=app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS_MAX,
            timeout_keep_alive=60,
        )
        self._config.load()

    async def serve(
        self,
        listener: socket.socket,
        *,
        principal: Callable[[], Principal | None],
        path_prefix: str = "",
    ) -> "SlotListener":
        """
        Accept on *listener* until the returned object is closed.

        Args:
            listener: Bound and listening; owned from here on.
            principal: Tells who the algorithm acts as at the time of a request.
            path_prefix: What every path must start with where other processes of the host could
                connect as well; empty where the listener itself is out of their reach.
        """
        config = copy.copy(self._config)
        config.loaded_app = functools.partial(_identified, self._app, principal, path_prefix)
        state = ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: self._protocol(config=config, server_state=state, app_state={}),
            sock=listener,
        )
        return SlotListener(server, state)


class SlotListener:
    """A listener being served."""

    def __init__(self, server: asyncio.Server, state: ServerState) -> None:
        self._server = server
        self._state = state

    def close(self) -> None:
        """Stop accepting and drop the connections; idempotent."""
        self._server.close()
        for connection in tuple(self._state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()


async def _identified(  # noqa: PLR0917 - the last three are ASGI's
    app: ASGIApp,
    principal: Callable[[], Principal | None],
    path_prefix: str,
    /,
    scope: Scope,
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    if path_prefix and scope["type"] == "http":
        raw = path_prefix.encode()
        if not scope["raw_path"].startswith(raw):
            await _refuse(send)
            return
        scope["raw_path"] = scope["raw_path"][len(raw) :]
        scope["path"] = scope["path"][len(path_prefix) :]
    scope[PRINCIPAL_KEY] = principal
    await app(scope, receive, send)


async def _refuse(send: Callable[[Any], Awaitable[None]]) -> None:
    body = b'{"error":{"code":2002,"message":"authorization required"}}'
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-error-message", b"authorization required"),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body})
