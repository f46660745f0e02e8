"""
Requests that came through proxies, made to look as if their callers had sent them.

The one place where an address or a scheme is taken from headers. It stands in front of the whole
application, so limits of sign-ins, the audit log, sessions and cookies all see the same caller.
It is on the server's own port only: what comes from inside a slot came through no proxy. Calls that
are answered without the application (`api/direct.py`) ask the same `Proxies`.

Behind a proxy that nobody has named all callers are one. That is safe, but seldom what is wanted,
so it is said once in the log.
"""

from typing import Final

from algorium_server.api.http import AsgiApp, Receive, Scope, Send, address_of, header
from algorium_server.domain.proxies import Proxies
from algorium_server.telemetry import logger

_SIGN: Final = b"x-forwarded-for"

_log = logger(__name__)


def forwarding(app: AsgiApp, proxies: Proxies) -> AsgiApp:
    """
    Return *app* as trusted proxies make requests of it.

    Args:
        app: Sees in `client` and `scheme` who sends a request, and over what.
        proxies: Which to believe.
    """
    is_told = False

    async def forwarded(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal is_told
        if scope["type"] == "http":
            peer = address_of(scope)
            if proxies.trusts(peer):
                address, scheme = proxies.caller(scope["headers"])
                if address:
                    scope["client"] = (address, 0)  # its port is not known, and nobody needs it
                if scheme:
                    scope["scheme"] = scheme
            elif not is_told and header(scope, _SIGN) is not None:
                is_told = True
                _log.warning(
                    "a request with X-Forwarded-For is not from a proxy that --trusted-proxies"
                    " names; all its callers count as one",
                    address=peer,
                )
        await app(scope, receive, send)

    return forwarded
