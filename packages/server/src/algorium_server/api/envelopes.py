"""
Outcomes of calls as answers: envelope, bare result or error, small ones at once, large in pieces.

Source: wire specification, "Calling algorithms"; quirks, rules 10 to 13.
"""

from base64 import b64encode
from collections.abc import Iterator
from typing import Final, NamedTuple

from algorium_server.api.errors import as_known, error_body
from algorium_server.api.http import JSON, encode_json
from algorium_server.api.timing import server_timing
from algorium_server.domain.calls import (
    IN_MEMORY,
    Body,
    CallFailure,
    CallOutcome,
    CallSuccess,
    ContentType,
    LargeBody,
    Output,
    content_of,
)
from algorium_server.services.calling.admitted import OpenCall
from algorium_server.spool import Spool

_RAW_TYPES: Final = {
    ContentType.TEXT: "text/plain; charset=utf-8",
    ContentType.JSON: JSON,
    ContentType.BINARY: "application/octet-stream",
    ContentType.VOID: "text/plain",
}
_DURATION_S_MIN: Final = 0.000001
"""An old client asserts that durations are above zero."""
_PIECE_BYTES: Final = 3 * 65_536
"""Of a large result at a time; a multiple of three, as base64 needs it."""


class Streamed:
    """The body of a large answer: its length in bytes, and its pieces one after the other."""

    def __init__(self, length: int, pieces: Iterator[bytes]) -> None:
        self._length = length
        self.pieces = pieces

    def __len__(self) -> int:
        return self._length


class Answer(NamedTuple):
    """
    An answer to a call.

    Attributes:
        message: Goes into a header, for readers of the status only.
        timing: The value of `Server-Timing`, empty if the call has not run.
    """

    status: int
    content_type: str
    body: bytes | Streamed
    message: str = ""
    timing: bytes = b""


def render(outcome: CallOutcome, call: OpenCall) -> Answer:
    """Write an outcome as the caller asked for it."""
    if isinstance(outcome, CallFailure):
        return _render_failure(outcome, call)
    timing = server_timing(outcome.timings)
    if call.options.output is Output.RAW:
        content_type = _RAW_TYPES[outcome.content_type]
        return Answer(200, content_type, _raw(outcome.body), timing=timing)
    return Answer(200, JSON, _envelope(outcome, call), timing=timing)


def render_error(error: Exception, request_id: str) -> Answer:
    """Write the error for which a call did not run."""
    known = as_known(error, request_id=request_id)
    return Answer(known.status, JSON, error_body(known), known.message)


def _raw(body: Body) -> bytes | Streamed:
    if isinstance(body, IN_MEMORY):
        return body
    return Streamed(len(body), _pieces(b"", body, b""))


def _envelope(outcome: CallSuccess, call: OpenCall) -> bytes | Streamed:
    """Splice the checked result into the envelope; `metadata` comes first, old clients compare."""
    timings = outcome.timings
    options = call.options
    content_type, body = outcome.content_type, outcome.body
    has_extra = options.wants_stdout or options.wants_timing
    if content_type is ContentType.JSON and not has_extra and isinstance(body, IN_MEMORY):
        # The usual case at once, for the hot path; what follows comes to the same.
        duration_s = max(timings.run_s, _DURATION_S_MIN)
        return b'{"metadata":{"content_type":"json","duration":%.6f},"result":%b}' % (
            duration_s,
            body,
        )
    extra = b""
    if options.wants_stdout and call.grant.sees_stdout:
        extra = b',"stdout":%b' % encode_json(outcome.stdout)
    if options.wants_timing:
        total_s = timings.queue_s + timings.load_s + timings.run_s
        extra += b',"timing":{"running":%b,"total":%b}' % (
            _duration(timings.run_s),
            _duration(total_s),
        )
    beginning = b'{"metadata":{"content_type":"%b","duration":%b%b},"result":' % (
        content_type.encode(),
        _duration(timings.run_s),
        extra,
    )
    if content_type is ContentType.TEXT:
        text = encode_json(content_of(body).decode("utf-8"))
        if isinstance(body, IN_MEMORY):
            return beginning + text + b"}"
        return _streamed(beginning, Spool.of(text), b"}")
    if content_type is ContentType.VOID:
        return beginning + b"null}"
    if not isinstance(body, IN_MEMORY):
        if content_type is ContentType.BINARY:
            return _streamed_base64(beginning + b'"', body, b'"}')
        return _streamed(beginning, body, b"}")
    result = body if content_type is ContentType.JSON else encode_json(body)
    return b"".join((beginning, result, b"}"))


def _streamed(beginning: bytes, body: LargeBody, end: bytes) -> Streamed:
    return Streamed(len(beginning) + len(body) + len(end), _pieces(beginning, body, end))


def _streamed_base64(beginning: bytes, body: LargeBody, end: bytes) -> Streamed:
    length = len(beginning) + (len(body) + 2) // 3 * 4 + len(end)
    return Streamed(length, _pieces(beginning, body, end, is_base64=True))


def _pieces(
    beginning: bytes, body: LargeBody, end: bytes, *, is_base64: bool = False
) -> Iterator[bytes]:
    try:
        if beginning:
            yield beginning
        at = 0
        while piece := body.read(at, _PIECE_BYTES):
            at += len(piece)
            yield b64encode(piece) if is_base64 else piece
    finally:
        body.close()
    if end:
        yield end


def _render_failure(outcome: CallFailure, call: OpenCall) -> Answer:
    error: dict[str, object] = {"message": outcome.message, "error_type": outcome.error_type}
    if outcome.hint:
        error["hint"] = outcome.hint
    if outcome.stacktrace:
        error["stacktrace"] = error["stack_trace"] = outcome.stacktrace
    metadata: dict[str, object] = {"duration": float(_duration(outcome.timings.run_s))}
    if outcome.stdout:
        metadata["stdout"] = outcome.stdout
    body = encode_json({"error": error, "metadata": metadata, "result": None})
    status = _failure_status(outcome, call)
    message = outcome.message if status != 200 else ""
    return Answer(status, JSON, body, message, server_timing(outcome.timings))


def _failure_status(outcome: CallFailure, call: OpenCall) -> int:
    """200 for the envelope, whose readers look inside; raw readers have only the status."""
    if outcome.is_input_refused:
        return 400
    if call.options.output is not Output.RAW:
        return 200
    return {"TimeoutError": 504, "OutOfMemoryError": 500}.get(outcome.error_type, 400)


def _duration(seconds: float) -> bytes:
    """Write a duration as JSON."""
    return b"%.6f" % max(seconds, _DURATION_S_MIN)
