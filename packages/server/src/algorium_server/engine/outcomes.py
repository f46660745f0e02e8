"""
What the end of a call means: frames and exits of an untrusted process become call outcomes.

Nothing a slot sends is passed on unchecked: JSON must be exactly one value, text valid UTF-8.

Source: runtime design, "Slot protocol", "Failures"; wire specification, "Errors".
"""

import json
from typing import Any

from algorium.wire.codes import standard_error_type
from algorium_runtime import frames
from algorium_server.domain.calls import (
    TIMEOUT_MESSAGE,
    CallFailure,
    CallOutcome,
    CallSuccess,
    ContentType,
    Timings,
    is_json,
    is_utf8,
)
from algorium_server.domain.limits import SLOT_PROCESSES_MAX, SLOT_TMP_BYTES
from algorium_server.engine.sandbox import ExitStatus
from algorium_server.engine.slots import SlotEnded

_RESULT_TYPES = frozenset(ContentType)


def of_frame(frame: frames.Frame, timings: Timings, stdout: str) -> CallOutcome:
    """
    Read a `RESULT`, `ERROR` or `LOAD_ERROR` frame.

    Raises:
        frames.ProtocolError: The frame is not what the protocol allows.
    """
    if frame.type == frames.RESULT:
        return _of_result(frame, timings, stdout)
    error = _error_body(frame.body)
    is_load = frame.type == frames.LOAD_ERROR
    raw_type = error.get("error_type")
    if is_load and raw_type is None:
        raw_type = "LoadingError"
    return CallFailure(
        message=_text(error.get("message")) or "the algorithm failed without a message",
        error_type=standard_error_type(raw_type),
        stacktrace=_text(error.get("stacktrace")),
        timings=timings,
        stdout=stdout,
        is_input_refused=not is_load and frame.header.get("kind") == "input",
    )


def of_end(end: SlotEnded, timings: Timings, stdout: str) -> CallFailure:
    """Say what the end of a slot means for the call that was in it."""
    if end.is_oversized:
        return too_large(timings, stdout)
    if end.violation:
        return violated(end.violation, timings, stdout)
    status = end.status
    if status is not None and status.was_oom:
        return CallFailure(
            message=TIMEOUT_MESSAGE,
            error_type="OutOfMemoryError",
            timings=timings,
            stdout=stdout,
        )
    return CallFailure(
        message=f"exited with code {_exit_code(status)}{_exit_reason(status)}",
        error_type="SystemExit",
        timings=timings,
        stdout=stdout,
    )


def timed_out(timings: Timings, stdout: str = "") -> CallFailure:
    """Answer a call that passed its deadline."""
    return CallFailure(
        message=TIMEOUT_MESSAGE, error_type="TimeoutError", timings=timings, stdout=stdout
    )


def load_timed_out(timings: Timings, stdout: str) -> CallFailure:
    """Answer a call whose slot did not load in time."""
    return CallFailure(
        message=f"the algorithm did not finish loading within {timings.load_s:.0f} s",
        error_type="LoadingError",
        timings=timings,
        stdout=stdout,
    )


def too_large(timings: Timings, stdout: str = "") -> CallFailure:
    """Answer a call whose result is over the limit."""
    return CallFailure(
        message="Algorithm output exceeds the 15MB limit",
        error_type="TooLargeError",
        timings=timings,
        stdout=stdout,
    )


def violated(reason: str, timings: Timings, stdout: str = "") -> CallFailure:
    """Answer a call whose slot broke the protocol."""
    return CallFailure(
        message=f"the algorithm's process broke the slot protocol: {reason}",
        error_type="SystemError",
        timings=timings,
        stdout=stdout,
    )


def _of_result(frame: frames.Frame, timings: Timings, stdout: str) -> CallOutcome:
    try:
        content_type = ContentType(frame.header.get("content_type", ""))
    except ValueError as error:
        raise frames.ProtocolError("a result of an unknown content type") from error
    body = frame.body
    if content_type is ContentType.JSON and not is_json(body):
        return CallFailure(
            message="result is not valid JSON",
            error_type="AlgorithmError",
            timings=timings,
            stdout=stdout,
        )
    if content_type is ContentType.TEXT and not is_utf8(body):
        raise frames.ProtocolError("a text result that is not UTF-8")
    return CallSuccess(content_type=content_type, body=body, timings=timings, stdout=stdout)


def _error_body(body: bytes) -> dict[str, Any]:
    try:
        error = json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise frames.ProtocolError("an error frame without a JSON body") from problem
    if not isinstance(error, dict):
        raise frames.ProtocolError("an error frame whose body is not an object")
    return error


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    return value.encode("utf-8", "replace").decode("utf-8")


def _exit_reason(status: ExitStatus | None) -> str:
    """Name the limit that ended the process, if one did; else the bare old text stands."""
    if status is not None and status.was_process_limit:
        return f": it reached its limit of {SLOT_PROCESSES_MAX} processes"
    if status is not None and status.was_disk_limit:
        return f": it stored more than {SLOT_TMP_BYTES} bytes of temporary files"
    return ""


def _exit_code(status: ExitStatus | None) -> int:
    """Old clients know -99 as "killed by a signal"."""
    if status is None or status.code is None:
        return -99
    return status.code
