"""
The one ASGI application: from the path to a face, and JSON for everything else.

Routing looks at the *raw* path, before percent-decoding: old clients encode whole data paths,
slashes included. What a face does not answer itself ends here, so every answer is JSON: errors
of the tree, and whatever else is raised as an internal error with an id.

All but calls, which name themselves, get an id here: it is in the answer, and in the audit log.

Source: wire specification, "Common request rules", quirks 15 and 16.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final

from algorium_server.api.errors import send_error
from algorium_server.api.http import (
    AsgiApp,
    Disconnected,
    Message,
    Receive,
    Scope,
    Send,
    address_of,
)
from algorium_server.domain.errors import NotAuthorized, NotFound, Unavailable
from algorium_server.origin import Origin, origin

_ROUTE: Final = re.compile(
    rb"/+(?:v1/+(?P<calls>(?:web/+)?algo)|v1/+(?P<data>data|connector|hostedData)"
    rb"|v1/+(?P<usage>(?:admin/+)?usage)|v1/+(?P<admin>admin/+host)"
    rb"|v1/+(?P<uploads>uploads)|v1/+(?P<storage>storage)"
    rb"|v1/+(?P<users>users/+[^/]+/+connectors)|(?P<health>healthz|readyz)"
    rb"|(?P<git>git)"
    rb"|(?P<management>v1/+[^/]+|source|admin|webapi))(?P<rest>/.*)?",
    re.DOTALL,
)
_READING_AND_PUTTING: Final = frozenset({"GET", "HEAD", "PUT"})
"""What is done with data all the time, and has no need of a name."""


Denied = Callable[[Origin, str, str], None]


def _unnoted(_here: Origin, _what: str, _reason: str) -> None:
    pass


async def _nothing(scope: Scope, _receive: Receive, _send: Send) -> None:
    raise NotFound(f"nothing answers at {scope['path']}")


def build_router(
    *,
    calls: AsgiApp,
    data: AsgiApp,
    health: AsgiApp,
    usage: AsgiApp,
    admin: AsgiApp,
    storage: AsgiApp = _nothing,
    uploads: AsgiApp = _nothing,
    users: AsgiApp = _nothing,
    management: AsgiApp = _nothing,
    git: AsgiApp = _nothing,
    denied: Denied = _unnoted,
) -> AsgiApp:
    """
    Make the application that hands each request to its face.

    Args:
        calls: Answers `/v1/algo` and `/v1/web/algo`.
        data: Answers `/v1/data`, `/v1/connector` and `/v1/hostedData`.
        health: Answers `/healthz` and `/readyz`.
        usage: Answers `/v1/usage` and `/v1/admin/usage`.
        admin: Answers `/v1/admin/host`.
        storage: Answers `/v1/storage`.
        uploads: Answers `/v1/uploads`.
        users: Answers `/v1/users/{username}/connectors`.
        management: Answers whatever else there is below `/v1`, `/source`, `/admin/roles`, and
            `/webapi/user`.
        git: Answers `/git`.
        denied: Told of refusals: where the request came from, what it was, what was answered.

    The faces see a `raw_path` that begins with exactly these prefixes.
    """
    faces = {
        "calls": calls,
        "data": data,
        "health": health,
        "usage": usage,
        "admin": admin,
        "storage": storage,
        "uploads": uploads,
        "users": users,
        "management": management,
        "git": git,
    }

    async def router(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _refuse(scope, receive, send)
            return
        try:
            raw_path: bytes = scope["raw_path"]
            if raw_path.startswith(b"/v1/algo/"):  # the hot path, before anything is matched
                await calls(scope, receive, send)
                return
            match = _ROUTE.fullmatch(raw_path)
            if match is None:
                raise NotFound(f"nothing answers at {scope['path']}")
            name = next(name for name in faces if match[name])
            request = _without_doubled_slashes(scope, match)
            if name in {"calls", "health"}:
                await faces[name](request, receive, send)
                return
            here = Origin(address_of(scope))
            token = origin.set(here)
            try:
                if name != "data" or scope["method"] not in _READING_AND_PUTTING:
                    send = _naming(scope, send, here, denied)
                await faces[name](request, receive, send)
            finally:
                origin.reset(token)
        except Disconnected:
            return  # nobody is left to answer
        except asyncio.CancelledError:  # the server stops, and its patience is over
            await _send_error_if_possible(scope, send, Unavailable("The server is shutting down."))
        except Exception as error:
            await _send_error_if_possible(scope, send, error)

    return router


def _naming(scope: Scope, send: Send, here: Origin, denied: Denied) -> Send:
    async def send_named(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", ())
            if message["status"] == NotAuthorized.status:
                words = next((value for name, value in headers if name == b"x-error-message"), b"")
                denied(here, f"{scope['method']} {scope['path']}", words.decode("latin-1"))
            name = (b"x-request-id", here.request_id.encode("ascii"))
            message = {**message, "headers": [*headers, name]}
        await send(message)

    return send_named


def _without_doubled_slashes(scope: Scope, match: re.Match[bytes]) -> Scope:
    # An address that ends in a slash makes `//v1/...` of every path; behind the prefix, doubled
    # slashes are data (`s3://bucket`) and stay.
    start = match.start("rest") if match["rest"] else match.end()
    prefix = match[0][:start]
    if b"//" not in prefix:
        return scope
    clean = re.sub(rb"/+", b"/", prefix)
    return {
        **scope,
        "raw_path": clean + (match["rest"] or b""),
        "path": clean.decode() + scope["path"][start:],
    }


async def _send_error_if_possible(scope: Scope, send: Send, error: Exception) -> None:
    try:
        await send_error(scope, send, error)
    except RuntimeError:
        # The answer had begun: the server now breaks the connection, which is the only way
        # left to tell the client that what it has is not whole.
        raise error from None


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "websocket.close", "code": 1008, "reason": "no websockets here"})
