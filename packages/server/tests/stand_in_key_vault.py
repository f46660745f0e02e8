"""A stand-in for Azure Key Vault, and for what gives out its tokens; in this process."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

CLIENT_SECRET = "client-secret-of-the-tests"
_TOKEN = "token-of-the-tests"


class StandInKeyVault:
    """
    The stand-in.

    Attributes:
        address: Where it listens, as vault and as authority.
        entries: What it keeps, by name.
        tokens: How many it has given out.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.tokens = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> tuple[int, Any]:
        """Return status and body for a request."""
        if path == "/tenant/oauth2/v2.0/token":
            form = parse_qs(body.decode())
            if form["client_secret"] != [CLIENT_SECRET]:
                return 401, {"error": "invalid_client"}
            self.tokens += 1
            return 200, {"access_token": _TOKEN, "expires_in": 3599}
        if authorization != f"Bearer {_TOKEN}":
            return 401, {"error": {"code": "Unauthorized", "message": "no token"}}
        name = path.removeprefix("/secrets/")
        match method:
            case "PUT":
                self.entries[name] = json.loads(body)
            case "DELETE":
                return 200, self.entries.pop(name, {})
        if name not in self.entries:
            return 404, {"error": {"code": "SecretNotFound", "message": "not here"}}
        return 200, {"value": self.entries[name]["value"]}


def _handler(vault: StandInKeyVault) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = vault.answer(
                self.command, urlsplit(self.path).path, self.headers["Authorization"] or "", body
            )
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - names of the library

        def log_message(self, *_: object) -> None:
            pass

    return Handler
