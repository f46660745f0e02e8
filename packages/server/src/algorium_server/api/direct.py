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
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from algorium_server.api.calls import Answer, new_request_id, read_input, render
from algorium_server.api.errors import as_known, error_body, header_text
from algorium_server.api.heads import Head, Heads, KnownHead
from algorium_server.api.http import JSON, Scope
from algorium_server.api.protocol import JsonProtocol
from algorium_server.domain.calls import CallOutcome
from algorium_server.domain.errors import AlgoriumError, RequestTimedOut
from algorium_server.domain.limits import REQUEST_BODY_STALL_S_MAX
from algorium_server.services.calls import OpenCall, Running

_BEGINNING: Final = b"POST /v1/algo/"
_HEAD_END: Final = b"\r\n\r\n"
_ANSWER_JOINED_BYTES_MAX: Final = 65_536
"""Up to here head and body of an answer are joined for one write."""

_RAW_HEAD_KEY: Final = "algorium.raw_head"
"""Where the scope carries the bytes of the head, if they came in one piece."""


class DirectProtocol(JsonProtocol):
    """
    The connection of the server's own port; for `uvicorn.Config(http=...)`.

    At any time it either lets uvicorn do its work, or has one call of its own (`_call`): first
    its body arrives, then it runs (`_running`), then it is answered.
    """

    _call: OpenCall | None = None
    _running: Running | None = None
    _closes = False
    _raw_head = b""
    _used_at = 0.0

    def __init__(self, heads: Heads, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._heads = heads
        self._calls = heads.calls
        self._known: KnownHead
        self._body = bytearray()
        self._body_filled = 0
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
            self._heads.remember(raw_head, head)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the call of a caller who is gone, unless they asked for it to go on."""
        super().connection_lost(exc)
        call, running = self._call, self._running
        if call is None:
            return
        self._body = bytearray()
        if running is not None:
            if self._known.head.continues_alone:
                return  # `_on_outcome` closes it
            running.cancel()
        self._call = self._running = None
        self._finish_session(self._calls.close(call))

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
        self._call, self._known = call, known
        if self._timer is not None:
            self._unwatch()
        end = body_at + known.body_bytes
        if len(data) >= end:
            if len(data) > end:
                self._hold(data[end:])
            self._start(call, data[body_at:end])
        else:
            self._body = bytearray(known.body_bytes)
            self._body_filled = 0
            self._fill(data[body_at:])
        return True

    def _take(self, data: bytes) -> None:
        """Take what arrives while a call is under way: more of its body, or the next request."""
        if self._body:
            missing = len(self._body) - self._body_filled
            if len(data) > missing:
                self._hold(data[missing:])
                data = data[:missing]
            self._fill(data)
        else:
            self._hold(data)

    def _fill(self, data: bytes) -> None:
        filled = self._body_filled
        self._body[filled : filled + len(data)] = data
        self._body_filled = filled + len(data)
        call = self._call
        assert call is not None, "whose body this is"
        self._unwatch()
        if self._body_filled < len(self._body):
            remaining_s = call.deadline_at - time.monotonic()
            patience_s = max(min(remaining_s, REQUEST_BODY_STALL_S_MAX), 0.0)
            self._timer = self.loop.call_later(patience_s, self._body_is_late)
            return
        # Not copied, the largest are 10 MiB: nobody changes it any more.
        body, self._body = cast(bytes, self._body), bytearray()
        self._start(call, body)

    def _hold(self, data: bytes) -> None:
        """Keep the beginning of the next request until this one is answered."""
        self._held += data
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
        self._body = bytearray()
        self._on_outcome(RequestTimedOut("The input did not arrive within the call's timeout"))

    # The call

    def _start(self, call: OpenCall, body: bytes) -> None:
        try:
            call_input = read_input(self._known.head, body)
            self._running = self._calls.start(call, call_input, self._on_outcome)
        except Exception as error:  # whatever it is, it can still be told
            self._on_outcome(error)

    def _on_outcome(self, outcome: CallOutcome | Exception) -> None:
        call = self._call
        assert call is not None, "whose outcome this is"
        self._running = None
        try:
            if isinstance(outcome, Exception):
                answer = _error_answer(outcome, call.request_id)
            else:
                answer = render(outcome, call)
        except Exception as error:  # a fault of ours, told as such
            answer = _error_answer(error, call.request_id)
        session = self._calls.close(call)
        if session is None:
            self._answer(answer, call)
        else:
            self._finish_session(session, then=(answer, call))

    def _finish_session(
        self,
        session: Coroutine[Any, Any, None] | None,
        *,
        then: tuple[Answer, OpenCall] | None = None,
    ) -> None:
        """End the session data of a call; the answer comes after it, so that nobody sees it."""
        if session is None:
            return

        async def finish() -> None:
            with suppress(Exception):
                await session
            if then is not None:
                self._answer(*then)

        task = self.loop.create_task(finish())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # The answer

    def _answer(self, answer: Answer, call: OpenCall) -> None:
        self._call = None
        if self.is_lost or self._plain.is_closing():
            return
        body = answer.body
        head = b"%b%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b%b\r\n" % (
            STATUS_LINE[answer.status],
            self._heads.shared_head(self.server_state.default_headers),
            answer.content_type.encode("latin-1"),
            len(body),
            call.request_id.encode("ascii"),
            b"x-error-message: %b\r\n" % header_text(answer.message) if answer.message else b"",
            b"connection: close\r\n" if self._closes else b"",
        )
        if self._one_segment.is_holding:
            self._one_segment.flush()
        if len(body) <= _ANSWER_JOINED_BYTES_MAX:
            self._plain.write(head + body)
        else:
            self._plain.writelines((head, body))
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


def _error_answer(error: Exception, request_id: str) -> Answer:
    known = as_known(error, request_id=request_id)
    return Answer(known.status, JSON, error_body(known), known.message)
