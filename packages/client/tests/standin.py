"""
A small server that speaks the platform's protocol over real sockets, for testing the client.

It keeps directories in memory, knows a few algorithms, records every request and misbehaves on
demand: each entry of `faults` spoils one request. What it does with files is in `standin_data.py`.
"""

import base64
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from standin_data import PAGE_ENTRIES, Data, Directory, Recorded, Refused, Upload

KEY = "simStandInKey000000000000000"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to one request: an answer of this kind, silence, or the connection's end."""

    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"<html>a proxy's page</html>"
    drops: bool = False
    stalls: bool = False
    claims_bytes: int | None = None
    when: Callable[[Recorded], bool] = lambda request: True


class StandIn:
    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.faults: deque[Fault] = deque()
        self.directories: dict[str, Directory] = {}
        self.uploads: dict[str, Upload] = {}
        self.connectors: dict[str, dict[str, Any]] = {}
        self.is_old = False
        self.clock_ahead_s = 0.0
        self.lock = threading.RLock()
        self.usage: list[dict[str, Any]] = []
        self.accepts_anonymous = False
        self.connections = 0
        self.closing = threading.Event()
        self.arrived = threading.Event()
        stand_in = self

        class Handler(_Handler):
            server_state = stand_in

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def last(self) -> Recorded:
        return self.requests[-1]

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Callers go away in many tests. Told from a thread of ours, that would be written into
        # what a command has said, just when a test reads it.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(Data, BaseHTTPRequestHandler):
    server_state: StandIn
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server_state.connections += 1

    def handle_any(self) -> None:
        try:
            body = self._read_body()
        except ConnectionError:
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        request = Recorded(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
        )
        self.server_state.requests.append(request)
        self.server_state.arrived.set()
        faults = self.server_state.faults
        if faults and faults[0].when(request):
            self._misbehave(faults.popleft())
            return
        try:
            self._check_key(request)
            if request.path.startswith("/v1/algo/"):
                self._call(request)
            elif request.path.startswith("/v1/usage"):
                self._usage(request)
            elif request.path.startswith("/v1/uploads"):
                self._uploads(request)
            elif request.path.startswith("/v1/users/"):
                self._connectors(request)
            elif request.path == "/v1/storage":
                self._storage(request)
            else:
                self._data(request)
        except Refused as refused:
            self._answer_json(refused.status, refused.body)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def date_time_string(self, timestamp: float | None = None) -> str:
        now = time.time() if timestamp is None else timestamp
        return super().date_time_string(now + self.server_state.clock_ahead_s)

    def log_message(self, *args: object) -> None:
        pass

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            pieces = []
            while (line := self.rfile.readline()) and (size := int(line, 16)):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            if not line:
                raise ConnectionError("the client gave up")
            self.rfile.readline()
            return b"".join(pieces)
        told = int(self.headers.get("Content-Length", 0))
        if len(body := self.rfile.read(told)) < told:
            raise ConnectionError("the client gave up")
        return body

    def _misbehave(self, fault: Fault) -> None:
        if fault.stalls:
            self.server_state.closing.wait()
        if fault.drops or fault.stalls:
            self.close_connection = True
            return
        self.send_response(fault.status)
        for name, value in {"Content-Type": "text/html", **fault.headers}.items():
            self.send_header(name, value)
        if fault.claims_bytes is not None:
            self.close_connection = True
        self.send_header("Content-Length", str(fault.claims_bytes or len(fault.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(fault.body)

    def _check_key(self, request: Recorded) -> None:
        authorization = request.headers.get("authorization", "")
        if authorization == f"Simple {KEY}" or authorization == "Bearer a.b.c":
            return
        if not authorization and self.server_state.accepts_anonymous:
            return
        raise Refused(
            401,
            "Unknown or invalid API key." if authorization else "authorization required",
            code=2002,
        )

    # Answers

    def _answer(self, status: int, body: bytes, content_type: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Request-Id", "req-11111111-2222-4333-8444-555555555555")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def _answer_json(self, status: int, value: Any, **headers: str) -> None:
        if status >= 400 and isinstance(value.get("error"), dict):
            headers["X_Error_Message"] = value["error"]["message"]
        body = json.dumps(value, separators=(",", ":")).encode()
        self._answer(status, body, "application/json", **headers)

    # Usage

    def _usage(self, request: Recorded) -> None:
        """Page through whatever the test has put there, as records or as sums."""
        start = int(request.query.get("marker") or 0)
        end = start + min(PAGE_ENTRIES, int(request.query["limit"]))
        marker = str(end) if end < len(self.server_state.usage) else None
        results = self.server_state.usage[start:end]
        self._answer_json(200, {"marker": marker, "next_link": None, "results": results})

    # Calls

    def _call(self, request: Recorded) -> None:
        owner, name, *_ = unquote(request.path).removeprefix("/v1/algo/").split("/")
        content_type = request.headers["content-type"].partition(";")[0]
        value: Any = request.body
        if content_type == "text/plain":
            value = request.body.decode()
        elif content_type == "application/json":
            value = json.loads(request.body)
        output = request.query.get("output", "default")
        if output == "void":
            self._answer_json(200, {"async": "void", "request_id": "req-void"})
            return
        if owner == "fail":
            self._fail(name, output)
            return
        if f"{owner}/{name}" == "demo/Hello":
            value = f"Hello {value}"
        elif f"{owner}/{name}" != "util/Echo":
            raise Refused(404, f"algorithm algo://{owner}/{name} not found", code=1000)
        self._result(value, output, request.query)

    def _fail(self, name: str, output: str) -> None:
        error = {
            "message": f"it is a {name}",
            "error_type": name,
            "stacktrace": "Traceback",
            "stack_trace": "Traceback",
        }
        envelope = {"error": error, "metadata": {"duration": 0.2}, "result": None}
        self._answer_json(400 if output == "raw" else 200, envelope)

    def _result(self, value: Any, output: str, query: dict[str, str]) -> None:
        kind = {str: "text", bytes: "binary"}.get(type(value), "json")
        if output == "raw":
            types = {
                "text": "text/plain; charset=utf-8",
                "binary": "application/octet-stream",
                "json": "application/json",
            }
            body = {"text": str.encode, "binary": bytes}.get(kind, lambda v: json.dumps(v).encode())
            self._answer(200, body(value), types[kind])
            return
        metadata: dict[str, Any] = {"content_type": kind, "duration": 0.5}
        if query.get("stdout") == "true":
            metadata["stdout"] = "printed\n"
        if query.get("timing") == "1":
            metadata["timing"] = {"running": 0.25, "total": 0.5}
        result = base64.b64encode(value).decode() if kind == "binary" else value
        self._answer_json(200, {"metadata": metadata, "result": result})
