"""
The HTTP server of `algo dev`: calls of one algorithm, from this machine only.

It listens on the loopback, and that is not enough: any web page that its author visits could make
the browser call it, or reach it under a name of its own. So it answers requests for the loopback by
name, and none that a page of somewhere else has sent.
"""

import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

from algorium._local.answers import (
    INPUT_BYTES_MAX,
    Answer,
    Options,
    Refused,
    header_text,
    read_input,
    read_target,
    render,
    render_accepted,
    render_refusal,
)
from algorium._local.worker import Failure, Outcome, Worker
from algorium.wire.refs import AlgorithmRef

_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_IDLE_S: Final = 60.0
"""For the next request on a connection, and for each piece of one."""
_VOID_MAX: Final = 50
"""Calls under way that nobody waits for."""
_LENGTH_DIGITS_MAX: Final = 18
"""Python reads no numbers of thousands of digits."""
_CHUNK_HEAD_BYTES_MAX: Final = 1000
_CHUNK_LENGTH: Final = re.compile(rb"[0-9A-Fa-f]{1,16}")
_DISCARDED_BYTES_MAX: Final = 256 * 2**20
"""Of a body that is too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One request that was answered, to be told."""

    method: str
    path: str
    status: int
    took_s: float
    outcome: Outcome | None = None
    message: str = ""


class LocalServer:
    """
    Answers calls with a worker until it is closed.

    Args:
        ref: The algorithm that is here.
        worker: Answers.
        port: Where to listen; 0 for any.
        tell: Takes each request when it is answered, on its own thread.

    Raises:
        OSError: The port is taken.
    """

    def __init__(
        self, ref: AlgorithmRef, worker: Worker, *, port: int, tell: Callable[[Served], None]
    ) -> None:
        self.ref = ref
        self.worker = worker
        self.tell = tell
        self.void_calls = threading.BoundedSemaphore(_VOID_MAX)
        owner = self

        class Handler(_Handler):
            local = owner

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.1,), daemon=True).start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    local: LocalServer
    protocol_version = "HTTP/1.1"
    server_version = "algo-dev"
    sys_version = ""
    timeout = _IDLE_S
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        """Read and answer one request; whoever goes away meanwhile is nobody's fault."""
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing: what is worth telling is told by `tell`."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no HTTP, or a method of no meaning, as everything else: in JSON."""
        del explain
        self.close_connection = True
        refused = Refused(message or "Bad request", code=2015, status=code)
        if code == 501:
            refused = Refused("Method not allowed", code=2015, status=405)
        self._send(render_refusal(refused), _request_id())

    def do_POST(self) -> None:
        """Answer a call."""
        began_at = time.monotonic()
        request_id = _request_id()
        outcome = None
        try:
            self._check_sender()
            options = read_target(self.path, self.local.ref)
            encoding = self.headers.get("content-encoding", "")
            kind, body = read_input(
                self.headers.get("content-type", ""), encoding, self._read_body()
            )
            if options.output == "void":
                self._call_void(kind, body, options)
                answer = render_accepted(request_id)
            else:
                outcome = self.local.worker.call(kind, body, timeout_s=options.timeout_s)
                answer = render(outcome, options)
        except Refused as refused:
            self.close_connection = True  # its body may be unread
            answer = render_refusal(refused)
        self._tell(answer, outcome, began_at)
        self._send(answer, request_id)

    def _call_void(self, kind: str, body: bytes, options: Options) -> None:
        local = self.local
        if not local.void_calls.acquire(blocking=False):
            told = "Too many requests: concurrent session limit reached"
            raise Refused(told, code=2015, status=429)

        def call() -> None:
            try:
                outcome = local.worker.call(kind, body, timeout_s=options.timeout_s)
            finally:
                local.void_calls.release()
            if isinstance(outcome, Failure):
                local.tell(
                    Served(method="void", path=self.path, status=0, took_s=0.0, outcome=outcome)
                )

        threading.Thread(target=call, daemon=True).start()

    def _check_sender(self) -> None:
        host = _host_of(f"//{self.headers.get('host', '')}")
        origin = self.headers.get("origin")
        if host not in _HOSTS or (origin is not None and _host_of(origin) not in _HOSTS):
            raise Refused("only programs of this machine may call here", code=2001)

    def _read_body(self) -> bytes:
        too_large = Refused("Algorithm input exceeds the 10MiB limit", code=6001, status=413)
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return self._read_chunks(too_large)
        length = self.headers.get("content-length", "0").strip()
        if not (length.isascii() and length.isdigit()):
            raise Refused("Content-Length must be a number", code=2015)
        if len(length) > _LENGTH_DIGITS_MAX:
            raise too_large
        if int(length) > INPUT_BYTES_MAX:
            # Who is still sending reads no answer: take what it is about to send.
            left = min(int(length), _DISCARDED_BYTES_MAX)
            while left > 0 and (piece := self.rfile.read(min(left, 1 << 20))):
                left -= len(piece)
            raise too_large
        return self._exactly(int(length))

    def _read_chunks(self, too_large: Refused) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while True:
            head = self.rfile.readline(_CHUNK_HEAD_BYTES_MAX).partition(b";")[0].strip()
            if not _CHUNK_LENGTH.fullmatch(head):
                raise Refused("The body is not in chunks as it says", code=2015)
            length = int(head, 16)
            size += length
            if size > INPUT_BYTES_MAX:
                raise too_large
            if length == 0:
                while self.rfile.readline(_CHUNK_HEAD_BYTES_MAX).strip():
                    pass  # trailers
                return b"".join(pieces)
            pieces.append(self._exactly(length))
            self.rfile.readline(_CHUNK_HEAD_BYTES_MAX)

    def _exactly(self, length: int) -> bytes:
        data = self.rfile.read(length)
        if len(data) < length:
            raise ConnectionError("the caller has gone")
        return data

    def _tell(self, answer: Answer, outcome: Outcome | None, began_at: float) -> None:
        self.local.tell(
            Served(
                method=self.command,
                path=self.path,
                status=answer.status,
                took_s=time.monotonic() - began_at,
                outcome=outcome,
                message=answer.message,
            )
        )

    def _send(self, answer: Answer, request_id: str) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("X-Request-Id", request_id)
        if answer.message:
            self.send_header("X-Error-Message", header_text(answer.message))
        if answer.status == 405:
            self.send_header("Allow", "POST")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if getattr(self, "command", "") != "HEAD":
            self.wfile.write(answer.body)


def _host_of(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""


def _request_id() -> str:
    return f"req-{uuid.uuid4()}"
