"""
A stand-in for HashiCorp Vault: as much of its API as keeping values takes, in this process.

The real one could not be had from any package registry. What is here follows its documentation:
two key-value engines, `secret/` of version 2 and `old/` of version 1; tokens; what it says to those
that it does not let in. It notes every request, so that tests see what was asked.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

MOUNTS = {"secret/": "2", "old/": "1"}
TOKEN = "hvs.stand-in-token-of-the-tests"


class StandInVault:
    """
    The stand-in.

    Attributes:
        address: Where it listens.
        entries: What it keeps, by mount and path; the newest version only.
        asked: Method and path of each request.
        is_sealed: Whether it answers that it is sealed.
    """

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.is_sealed = False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method: str, path: str, token: str, body: Any) -> tuple[int, Any]:
        """Return status and body for a request."""
        self.asked.append((method, path))
        if self.is_sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if token != TOKEN:
            return 403, {"errors": ["2 errors occurred:\n\t* permission denied\n\t* invalid token"]}
        if path.startswith("sys/internal/ui/mounts/"):
            return self._mount(path.removeprefix("sys/internal/ui/mounts/"))
        for mount, version in MOUNTS.items():
            if path.startswith(mount):
                return self._keep(method, path, mount, version, body)
        return 404, {"errors": ["no handler for route"]}

    def _mount(self, path: str) -> tuple[int, Any]:
        for mount, version in MOUNTS.items():
            if f"{path}/".startswith(mount):
                options = {"version": version} if version == "2" else None
                return 200, {"data": {"path": mount, "type": "kv", "options": options}}
        return 403, {"errors": ["preflight capability check returned 403"]}

    def _keep(self, method: str, path: str, mount: str, version: str, body: Any) -> tuple[int, Any]:
        name, kind = path, ""
        if version == "2":
            kind, _, rest = path.removeprefix(mount).partition("/")
            name = mount + rest
        match method, kind:
            case "GET", "" | "data":
                if name not in self.entries:
                    return 404, {"errors": []}
                found = self.entries[name]
                if version == "2":
                    return 200, {"data": {"data": found, "metadata": {"version": 1}}}
                return 200, {"data": found}
            case "POST" | "PUT", "" | "data":
                self.entries[name] = body["data"] if version == "2" else body
                return (200, {"data": {"version": 1}}) if version == "2" else (204, None)
            case "DELETE", "" | "metadata":
                self.entries.pop(name, None)
                return 204, None
        return 405, {"errors": ["unsupported operation"]}


def _handler(vault: StandInVault) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            token = self.headers.get("X-Vault-Token", "")
            path = self.path.removeprefix("/v1/")
            status, content = vault.answer(self.command, path, token, body)
            encoded = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - names of the library

        def log_message(self, *_: object) -> None:
            pass

    return Handler
