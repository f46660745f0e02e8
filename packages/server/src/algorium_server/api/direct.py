"""
Calls without ASGI: the connection that answers a call whose head it has seen before.

Programs send the same head again and again: path, key, type, length. Once a call has been answered
the long way, through the parser and `api/calls.py`, the exact bytes of its head are remembered
with what they meant. The next request that begins with the same bytes is not parsed again, its
key and its rights are not looked up again, and no task is started for it: the body goes to the
engine, and the outcome comes back through a plain function call. Bytes that were once understood
mean the same the next time, except for what the directory says; so what was remembered counts only
as long as nothing in the directory has changed.

Whatever is unusual takes the long way: a head that is new, an account with too many calls, a
request behind others, an upload in chunks. Both ways share admission, engine and rendering.

Source: design, "Hot path without I/O of its own".
"""

import asyncio
import time
from collections.abc import Coroutine, Iterator
from typing import Any, Final

from algorium_server.api.bodies import ArrivingBody
from algorium_server.api.calls import new_request_id
from algorium_server.api.envelopes import Answer, Streamed, render, render_error
from algorium_server.api.errors import header_text
from algorium_server.api.heads import Head, Heads, KnownHead
from algorium_server.api.http import Scope
from algorium_server.api.inputs import read_input
from algorium_server.api.protocol import JsonProtocol
from algorium_server.domain.calls import Body, CallOutcome
from algorium_server.domain.errors import AlgoriumError, RequestTimedOut
from algorium_server.domain.limits import ANSWER_STALL_S_MAX, REQUEST_BODY_STALL_S_MAX
from algorium_server.services.calling.admitted import OpenCall, Running
from algorium_server.telemetry import logger

_log = logger(__name__)

_BEGINNING: Final = b"POST /v1/algo/"
_HEAD_END: Final = b"\r\n\r\n"
_ANSWER_JOINED_BYTES_MAX: Final = 65_536
"""Up to here head and body of an answer are joined for one write."""

_HELD_BYTES_MAX: Final = 65_536
"""Of requests behind the one that is being answered."""
_RAW_HEAD_KEY: Final = "algorium.raw_head"
"""Where the scope carries the bytes of the head, if they came in one piece."""


class DirectProtocol(JsonProtocol):
    """
    The connection of the server's own port; for `uvicorn.Config(http=...)`.

    At any time it either lets uvicorn do its work, or has one call of its own (`_call`): first
    its body arrives, then it runs (`_running`), then it is answered. It is closed once, on the
    way out (`_is_over`).
    """

    _call: OpenCall | None = None
    _is_over = False
    _running: Running | None = None
    _closes = False
    _raw_head = b""
    _used_at = 0.0
    _seen: KnownHead | None = None

    def __init__(self, heads: Heads, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._heads = heads
        self._calls = heads.calls
        self._known: KnownHead
        self._arriving: ArrivingBody | None = None
        self._pieces: Iterator[bytes] | None = None
        self._outcome: CallOutcome | Exception | None = None
        self._held = b""
        self._plain: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Take over a connection."""
        self._plain = transport
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take in what arrived."""
        if self._call is not None:
            self._take(data)
            return
        if data.startswith(_BEGINNING) and self._is_free():
            body_at = data.find(_HEAD_END) + len(_HEAD_END)
            if body_at >= len(_HEAD_END):
                raw_head = data[:body_at]
                known = self._heads.find(raw_head)
                if known is not None and self._begin(known, data, body_at):
                    return
                self._raw_head = raw_head
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Note that a request begins, the long way."""
        super().on_message_begin()
        self.scope[_RAW_HEAD_KEY] = self._raw_head  # type: ignore[typeddict-unknown-key]  # ours
        self._raw_head = b""

    def remember(self, scope: Scope, head: Head) -> None:
        """Keep what the head of the call in *scope* meant."""
        raw_head = scope.get(_RAW_HEAD_KEY)
        if raw_head:
            self._heads.remember(raw_head, head, scope["headers"])

    def connection_lost(self, exc: Exception | None) -> None:
        """End the call of a caller who is gone, unless they asked for it to go on."""
        super().connection_lost(exc)
        call, running = self._call, self._running
        self._drop_bodies()
        if call is None or self._is_over:
            return
        if running is not None:
            if self._known.head.continues_alone:
                return  # `_on_outcome` closes it
            running.cancel()
        self._running = None
        self._close(call, None)
        self._call = None

    def shutdown(self) -> None:
        """Close the connection, after the answer that is due."""
        if self._call is not None:
            self._closes = True
        else:
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one timer for many requests, so it may have to wait again."""
        self.timeout_keep_alive_task = None
        idle_s = 0.0 if self._call is not None else self.loop.time() - self._used_at
        if idle_s < self.timeout_keep_alive:
            self._keep_alive_for(self.timeout_keep_alive - idle_s)
        else:
            super().timeout_keep_alive_handler()

    # The request

    def _is_free(self) -> bool:
        """Whether a new request begins with the next byte, and can be answered at once."""
        return (
            self._is_between_requests
            and self._head_bytes == 0
            and (self.cycle is None or self.cycle.response_complete)
            and not self.pipeline
            and not self.flow.write_paused
            and not self._plain.is_closing()
        )

    def _begin(self, known: KnownHead, data: bytes, body_at: int) -> bool:
        head = known.head
        try:
            call = self._calls.open(head.grant, head.options, new_request_id())
        except AlgoriumError:
            return False  # told the long way
        body = data[body_at:]
        if len(body) < known.body_bytes:
            try:
                self._arriving = ArrivingBody(known.body_bytes)
            except AlgoriumError:
                call.is_metered = True  # it begins anew, the long way
                self._close(call, None)
                return False
        self._call, self._known, self._is_over = call, known, False
        if known is not self._seen:  # once for the many calls that a connection is kept for
            self._seen = known
            address = self.client[0] if self.client else ""
            if known.forwarded and self._heads.proxies.trusts(address):
                address = known.forwarded
            self._heads.sightings.see(head.grant.caller, address)
        if self._timer is not None:
            self._unwatch()
        if self._arriving is not None:
            self._receive(self._arriving, body)
            return True
        if len(body) > known.body_bytes:
            self._hold(body[known.body_bytes :])
            body = body[: known.body_bytes]
        self._start(call, body)
        return True

    def _take(self, data: bytes) -> None:
        """Take what arrives while a call is under way: more of its body, or the next request."""
        if self._arriving is None:
            self._hold(data)
            return
        missing = self._known.body_bytes - self._arriving.size_bytes
        if len(data) > missing:
            self._hold(data[missing:])
            data = data[:missing]
        self._receive(self._arriving, data)

    def _receive(self, body: ArrivingBody, data: bytes) -> None:
        body.append(data)
        call = self._call
        assert call is not None, "whose body this is"
        self._unwatch()
        if body.size_bytes == self._known.body_bytes:
            self._arriving = None
            self._start(call, body.finish())
            return
        remaining_s = call.deadline_at - time.monotonic()
        patience_s = max(min(remaining_s, REQUEST_BODY_STALL_S_MAX), 0.0)
        self._timer = self.loop.call_later(patience_s, self._body_is_late)

    def _hold(self, data: bytes) -> None:
        """Keep the beginning of the next request until this one is answered."""
        if not self._held:
            data = data.lstrip(b"\r\n")  # what some clients send behind a body is no request
        self._held += data
        if len(self._held) > _HELD_BYTES_MAX:  # only then: who does not read misses the end, too
            self.flow.pause_reading()

    def _body_is_late(self) -> None:
        self._timer = None
        call = self._call
        if call is None:
            return
        if time.monotonic() < call.deadline_at:
            self._refuse(408, f"No more of the body came for {REQUEST_BODY_STALL_S_MAX:.0f} s")
            return
        self._closes = True  # what still comes of the body is no request
        self._drop_bodies()
        self._on_outcome(RequestTimedOut("The input did not arrive within the call's timeout"))

    def _drop_bodies(self) -> None:
        self._pieces = None
        if self._arriving is not None:
            self._arriving.discard()
            self._arriving = None

    # The call

    def _start(self, call: OpenCall, body: Body) -> None:
        try:
            call_input = read_input(self._known.head, body)
            running = self._calls.start(call, call_input, self._on_outcome)
            if not self._is_over:
                self._running = running
        except Exception as error:  # whatever it is, it can still be told
            self._on_outcome(error)

    def _on_outcome(self, outcome: CallOutcome | Exception) -> None:
        call = self._call
        assert call is not None, "whose outcome this is"
        self._running = None
        try:
            if isinstance(outcome, Exception):
                answer = render_error(outcome, call.request_id)
            else:
                answer = render(outcome, call)
        except Exception as error:  # a fault of ours, told as such
            answer = render_error(error, call.request_id)
        if isinstance(answer.body, Streamed) and not self.is_lost:
            self._outcome = outcome
            self._stream(answer, answer.body, call)
            return
        self._close(call, outcome, then=answer)

    def _close(
        self,
        call: OpenCall,
        outcome: CallOutcome | Exception | None,
        *,
        then: Answer | None = None,
    ) -> None:
        """Close a call; its answer comes after the end of its session data, if it has any."""
        self._is_over = True
        session = self._calls.close(call, outcome)
        if session is not None:
            task = self.loop.create_task(self._end_session(session, call, then))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif then is not None:
            self._answer(then, call)

    async def _end_session(
        self, session: Coroutine[Any, Any, None], call: OpenCall, then: Answer | None
    ) -> None:
        try:
            await session
        except Exception as error:  # the answer is due all the same
            _log.error("session data was not ended", request_id=call.request_id, exc_info=error)
        if then is not None:
            self._answer(then, call)

    # The answer

    def _answer(self, answer: Answer, call: OpenCall) -> None:
        if not self.is_lost and not self._plain.is_closing():
            body = answer.body
            assert not isinstance(body, Streamed), "streamed while the call is open"
            if len(body) <= _ANSWER_JOINED_BYTES_MAX:
                self._plain.write(self._answer_head(answer, call) + body)
            else:
                self._plain.writelines((self._answer_head(answer, call), body))
        self._be_free()

    def _answer_head(self, answer: Answer, call: OpenCall) -> bytes:
        if self._one_segment.is_holding:
            self._one_segment.flush()
        status, content_type, body, message, timing = answer
        beginning = self._heads.beginning(status, content_type, self.server_state.default_headers)
        request_id = call.request_id.encode()
        if timing and not message and not self._closes:  # the usual case, at once
            return b"%b%d\r\nx-request-id: %b\r\nserver-timing: %b\r\n\r\n" % (
                beginning,
                len(body),
                request_id,
                timing,
            )
        head = b"%b%d\r\nx-request-id: %b\r\n" % (beginning, len(body), request_id)
        if timing:
            head += b"server-timing: %b\r\n" % timing
        if message:
            head += b"x-error-message: %b\r\n" % header_text(message)
        if self._closes:
            head += b"connection: close\r\n"
        return head + b"\r\n"

    def _stream(self, answer: Answer, body: Streamed, call: OpenCall) -> None:
        """Begin a large answer; the call stays open until it is out: unread results count."""
        self._plain.write(self._answer_head(answer, call))
        self._pieces = body.pieces
        self._write_pieces()

    def _write_pieces(self) -> None:
        self._unwatch()
        if self._pieces is None or self._plain.is_closing():
            return
        for piece in self._pieces:
            self._plain.write(piece)
            if self.flow.write_paused:
                self._timer = self.loop.call_later(ANSWER_STALL_S_MAX, self._plain.abort)
                return
        self._pieces = None
        call = self._call
        assert call is not None, "whose result this was"
        outcome, self._outcome = self._outcome, None
        self._close(call, outcome)
        self._be_free()

    def resume_writing(self) -> None:
        """Go on with a large answer."""
        super().resume_writing()
        if self._pieces is not None:
            self._write_pieces()

    def _be_free(self) -> None:
        """Be ready for the next request."""
        self._call = None
        if self.is_lost:
            return
        if self._closes:
            self._plain.close()
            return
        self._used_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._keep_alive_for(self.timeout_keep_alive)
        if self._held:
            self.loop.call_soon(self._release)

    def _release(self) -> None:
        data, self._held = self._held, b""
        self.flow.resume_reading()
        if data and not self._plain.is_closing():
            self.data_received(data)

    def _keep_alive_for(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )
