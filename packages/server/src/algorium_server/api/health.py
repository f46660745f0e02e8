"""
Health: is the process alive, and does it accept calls. Neither needs a key.

`/healthz` answers as soon as the process does. `/readyz` says 503 until calls are accepted, and
shows what the host's sandbox gives and how far the demo is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from algorium_server.api.errors import send_error
from algorium_server.api.http import Receive, Scope, Send, encode_json, respond
from algorium_server.domain.errors import MethodNotAllowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """
    What `/readyz` tells.

    Attributes:
        is_ready: Calls are accepted.
        sandbox: Report on the sandbox, as JSON; empty while it is being examined.
        demo: State of the demo algorithms in a word or a sentence, empty without demo.
        gateways: Of several: how many there should be, how many serve, and which one this is.
    """

    is_ready: bool
    sandbox: Mapping[str, object] = field(default_factory=dict)
    demo: str = ""
    gateways: Mapping[str, int] = field(default_factory=dict)


class HealthFace:
    """ASGI application for `/healthz` and `/readyz`."""

    def __init__(self, readiness: Callable[[], Readiness]) -> None:
        self._readiness = readiness

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer GET and HEAD."""
        if scope["method"] not in {"GET", "HEAD"}:
            allow = [(b"allow", b"GET, HEAD")]
            await send_error(scope, send, MethodNotAllowed("Method not allowed"), headers=allow)
            return
        status, body = 200, encode_json({"status": "ok"})
        if scope["path"].strip("/") == "readyz":
            now = self._readiness()
            status = 200 if now.is_ready else 503
            word = "ready" if now.is_ready else "starting"
            told = {"status": word, "sandbox": now.sandbox, "demo": now.demo}
            if now.gateways:
                told["gateways"] = now.gateways
            body = encode_json(told)
        await respond(
            send,
            status,
            body,
            headers=[(b"cache-control", b"no-store")],
            is_head=scope["method"] == "HEAD",
        )
