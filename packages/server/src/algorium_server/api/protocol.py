"""
The HTTP/1.1 connection: uvicorn's, with six corrections and an addition.

- A request that is no HTTP gets a 400 as text before any application is asked; here it is the
  JSON that every other error is.
- A request line with bytes beyond ASCII, as curl sends it when a file name has an umlaut, is no
  HTTP to the parser; here such bytes are taken as if they had come percent-encoded.
- The head of a request has no limits: it may come as slowly as it likes, and a long one costs time
  that grows with the square of its length, before anybody is asked for a key; here it has a size
  and a time. A body that stalls ends the connection as well.
- A request behind the one that is being answered can be refused while that answer is under way;
  here the refusal does not get into it. And a client that asks before it sends its body may get an
  answer instead of the word to go on; then nobody can tell what its next bytes are, and the
  connection ends.
- Head and body of an answer are two writes and so two segments, on uvloop as on the standard loop;
  here they leave together. It saves the server a system call and the client a wake-up, and where
  something on the way delays acknowledgements, 40 ms per call.
- A request that offers to go on in another protocol, as Java's client does with HTTP/2, loses its
  body: the parser takes what follows the head for that protocol. Here the offer is declined, by
  reading the head again without it.
- An application can leave word what to do when the client goes away, which costs nothing while it
  stays; waiting for uvicorn's message beside the work would cost a task per request.

Source: wire specification, quirk 23.
"""

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from algorium_server.api.errors import error_body, header_text
from algorium_server.api.heads import Head
from algorium_server.api.http import Scope
from algorium_server.domain.errors import InvalidRequest
from algorium_server.domain.limits import (
    REQUEST_BODY_STALL_S_MAX,
    REQUEST_HEAD_BYTES_MAX,
    REQUEST_HEAD_S_MAX,
)

_BEYOND_ASCII: Final = re.compile(rb"[\x80-\xff]")


CONNECTION_KEY: Final = "algorium.connection"
"""Where the scope carries the connection, for `JsonProtocol.on_lost`."""


class _Parser(httptools.HttpRequestParser):
    """
    A parser that tells where another protocol was to begin.

    Attributes:
        upgrade_at: Index into what was fed last.
    """

    upgrade_at = 0

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # all that uvicorn feeds
        """Parse more."""
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.upgrade_at = upgrade.args[0]
            raise


class JsonProtocol(HttpToolsProtocol):
    """
    Hand it to `uvicorn.Config(http=...)`.

    Attributes:
        is_lost: The client has gone away.
        on_lost: Called when that happens; set while somebody works on the client's request.
    """

    # True from the end of one request to the end of the next one's head.
    _is_in_head = True
    _head_bytes = 0
    _is_body_awaited = False
    _timer: asyncio.TimerHandle | None = None
    _offers_upgrade = False

    is_lost = False
    on_lost: Callable[[], object] | None = None

    # True from the end of one request to the first byte of the next. Only there may bytes be
    # replaced: one more or less in a body, and the next request would begin in the wrong place.
    _is_between_requests = True

    parser: _Parser

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = self._new_parser()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Take over a connection."""
        self._one_segment = OneSegment(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self._one_segment))
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take in what arrived; a request line is understood if it came in one piece."""
        if self._is_between_requests and not data.isascii():
            line, newline, rest = data.partition(b"\n")
            line = _BEYOND_ASCII.sub(lambda byte: b"%%%02X" % ord(byte[0]), line)
            data = line + newline + rest
        while data and self._is_in_head and not self.transport.is_closing():
            room = REQUEST_HEAD_BYTES_MAX - self._head_bytes
            self._head_bytes += min(room, len(data))
            self._feed(data[:room])
            data = data[room:]
            if self._is_in_head and self._head_bytes >= REQUEST_HEAD_BYTES_MAX:
                self._refuse(431, f"The request's head exceeds {REQUEST_HEAD_BYTES_MAX} bytes")
                return
        if data and not self.transport.is_closing():
            self._feed(data)
        self._watch()

    def _feed(self, data: bytes) -> None:
        super().data_received(data)
        if self._offers_upgrade and not self.transport.is_closing():
            rest = data[self.parser.upgrade_at :]
            self._decline_upgrade()
            if rest:
                self.data_received(rest)

    def _decline_upgrade(self) -> None:
        """Read the head again as that of an ordinary request."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        lines += [b"%b: %b" % field for field in self.headers if field[0] != b"upgrade"]
        self._offers_upgrade = False
        self.parser = self._new_parser()
        super().data_received(b"\r\n".join([*lines, b"", b""]))

    def _new_parser(self) -> _Parser:
        parser = _Parser(self)
        # As uvicorn does, for answers to the first of several requests at once.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: clients offer it with every request."""

    @property
    def has_whole_request(self) -> bool:
        """Whether the request that is being answered has arrived with all of its body."""
        return self._is_between_requests

    def tell_loss(self, on_lost: Callable[[], object]) -> None:
        """Call *on_lost* when the client goes away; set to None when nobody needs to know."""
        self.flow.resume_reading()  # a large body may have paused it, and its end would go unseen
        self.on_lost = on_lost

    async def drained(self) -> bool:
        """Wait until all that was written has left for the client; return whether it is there."""
        transport = self.transport
        self._one_segment.flush()
        await asyncio.sleep(0)  # uvloop writes when the others have had their turn
        if transport.get_write_buffer_size():
            transport.set_write_buffer_limits(high=0)
            try:
                while transport.get_write_buffer_size() and not transport.is_closing():
                    await (self.flow.drain() if self.flow.write_paused else asyncio.sleep(0))
            finally:
                transport.set_write_buffer_limits()
        return not transport.is_closing()

    def remember(self, scope: Scope, head: Head) -> None:
        """Learn what the head of the call in *scope* meant, for those who can use it again."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the client is gone."""
        super().connection_lost(exc)
        self._unwatch()
        self.is_lost = True
        if self.on_lost is not None:
            self.on_lost()

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        self._is_between_requests = False
        super().on_message_begin()
        self.scope[CONNECTION_KEY] = self  # type: ignore[typeddict-unknown-key]  # ours

    def on_headers_complete(self) -> None:
        """Note that the head of a request has ended."""
        if self.parser.should_upgrade() and not self._should_upgrade():
            self._offers_upgrade = True
            return
        self._is_in_head = False
        self._head_bytes = 0
        self._unwatch()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take in a piece of a body."""
        self.expect_100_continue = False  # whether the body comes is no question any more
        cycle = self.cycle
        if cycle.body or cycle.response_complete or self.parser.should_upgrade():
            if isinstance(cycle.body, bytes):
                cycle.body = bytearray(cycle.body)
            super().on_body(body)
            return
        # In uvicorn's own way each piece of an upload would be copied twice.
        cycle.body = body  # type: ignore[assignment]  # all that is done with it is `bytes(…)`
        if len(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Close if nobody can tell whether the next bytes are the body or the next request."""
        cycle = self.cycle
        if self.expect_100_continue and cycle.response_complete and cycle.more_body:
            self.transport.close()
        super().on_response_complete()

    def on_message_complete(self) -> None:
        """Note that a request, body included, has ended."""
        if self._offers_upgrade:
            return
        self._unwatch()
        self._is_between_requests = self._is_in_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are not an HTTP request, and close."""
        self._refuse(400, msg)

    def _refuse(self, status: int, message: str) -> None:
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._is_in_head:  # of a request behind one whose answer is still due
                cycle.keep_alive = False
                return
            if cycle.response_started or self.pipeline:  # it would get into the middle of an answer
                self.transport.close()
                return
        error = InvalidRequest(message)
        body = error_body(error)
        head = [
            b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode()),
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"x-error-message: " + header_text(error.message),
            b"connection: close",
            b"\r\n",
        ]
        self.transport.write(b"\r\n".join(head) + body)
        self.transport.close()

    def _watch(self) -> None:
        """Start or stop the clock, as far as the client is the one to be waited for."""
        if self._is_in_head and (self._head_bytes or self.cycle is None):
            self._is_body_awaited = False
            if self._timer is None:
                self._timer = self.loop.call_later(REQUEST_HEAD_S_MAX, self._is_late)
        elif not self._is_in_head:
            self._unwatch()
            self._is_body_awaited = True
            self._timer = self.loop.call_later(REQUEST_BODY_STALL_S_MAX, self._is_late)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_late(self) -> None:
        self._timer = None
        if self._is_body_awaited and self.flow.read_paused:
            self._watch()  # it is we who do not read
        elif self._is_body_awaited:
            self._refuse(408, f"No more of the body came for {REQUEST_BODY_STALL_S_MAX:.0f} s")
        elif self._head_bytes:
            self._refuse(408, f"The request's head took longer than {REQUEST_HEAD_S_MAX:.0f} s")
        else:
            self.transport.close()


class OneSegment:
    """
    A transport that holds back the head of an answer until its body comes.

    It waits for one turn of the loop at most: answers without a body, and those whose body takes
    its time, must not be stuck. What it takes for a head does not matter for what is sent, only
    for when.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self._release: asyncio.Handle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send *data*, or keep it for a moment if it is a head."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            if self._release is None:
                self._release = self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Send what is held back, then close."""
        self.flush()
        self._transport.close()

    @property
    def is_holding(self) -> bool:
        """Whether a head waits for its body."""
        return bool(self._head)

    def flush(self) -> None:
        """Send what is held back."""
        self._release = None
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)
