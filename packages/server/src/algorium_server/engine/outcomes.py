"""
What the end of a call means: frames and exits of an untrusted process become call outcomes.

Nothing a slot sends is passed on unchecked: JSON must be exactly one value, text valid UTF-8.

Source: runtime design, "Slot protocol", "Failures"; wire specification, "Errors".
"""

import json
import re
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
    content_of,
    is_json,
    is_utf8,
)
from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.limits import MIB
from algorium_server.engine.receiving import SlotFrame
from algorium_server.engine.sandbox import ExitStatus, SandboxLimits
from algorium_server.engine.slots import SlotEnded

_RESULT_TYPES = {content_type.value: content_type for content_type in ContentType}
_TOO_MANY_FILES = re.compile(r"\[Errno 24\]|\bEMFILE\b|[Tt]oo many open files")
_NO_SPACE = re.compile(r"\[Errno 28\]|\bENOSPC\b|[Nn]o space left on device")
_TOO_LARGE = re.compile(r"\[Errno 27\]|\bEFBIG\b|[Ff]ile too large")
_NO_PROCESS = re.compile(
    r"\[Errno 11\] Resource temporarily|\bEAGAIN\b|can't start new thread"
    r"|unable to create (?:new )?native thread|[Cc]annot fork"
)
"""How the limits of a sandbox show in the errors of an algorithm."""


def of_frame(
    frame: SlotFrame, timings: Timings, stdout: str, limits: SandboxLimits | None = None
) -> CallOutcome:
    """
    Read a `RESULT`, `ERROR` or `LOAD_ERROR` frame.

    Args:
        frame: What the slot sent.
        timings: Of the call.
        stdout: What it printed.
        limits: Of the slot, to be named where the algorithm ran into one.

    Raises:
        frames.ProtocolError: The frame is not what the protocol allows.
    """
    if frame.type == frames.RESULT:
        return _of_result(frame, timings, stdout)
    error = _error_body(content_of(frame.body))
    is_load = frame.type == frames.LOAD_ERROR
    raw_type = error.get("error_type")
    if is_load and raw_type is None:
        raw_type = "LoadingError"
    message = _text(error.get("message")) or "the algorithm failed without a message"
    return CallFailure(
        message=message,
        hint=_limit_met(message, limits) if limits else "",
        error_type=standard_error_type(raw_type),
        stacktrace=_text(error.get("stacktrace")),
        timings=timings,
        stdout=stdout,
        is_input_refused=not is_load and frame.header.get("kind") == "input",
    )


def of_end(
    end: SlotEnded, timings: Timings, stdout: str, limits: SandboxLimits | None = None
) -> CallFailure:
    """Say what the end of a slot, with these limits, means for the call that was in it."""
    if end.is_oversized:
        return too_large(timings, stdout)
    if end.violation:
        return violated(end.violation, timings, stdout)
    status = end.status
    if status is not None and status.was_lost:
        return CallFailure(
            message="the call was lost with the process that runs sandboxes on this server",
            hint="It may have had effects. Call again if that does no harm.",
            error_type="SystemError",
            timings=timings,
            stdout=stdout,
        )
    if status is not None and status.was_oom:
        return CallFailure(
            message=TIMEOUT_MESSAGE,
            hint=_memory(status, limits) if limits else "",
            error_type="OutOfMemoryError",
            timings=timings,
            stdout=stdout,
        )
    return CallFailure(
        message=f"exited with code {_exit_code(status)}{_exit_reason(status, limits)}",
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


def lacks_secrets(error: AlgoriumError, timings: Timings) -> CallFailure:
    """Answer a call whose slot could not be given the algorithm's secrets."""
    return CallFailure(
        message=f"the secrets of this algorithm cannot be read: {error.message}",
        hint=error.hint,
        error_type="LoadingError",
        timings=timings,
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


def _of_result(frame: SlotFrame, timings: Timings, stdout: str) -> CallOutcome:
    named = frame.header.get("content_type")
    content_type = _RESULT_TYPES.get(named) if isinstance(named, str) else None
    if content_type is None:
        raise frames.ProtocolError("a result of an unknown content type")
    body = frame.body
    if content_type is ContentType.JSON and not is_json(content_of(body)):
        return CallFailure(
            message="result is not valid JSON",
            error_type="AlgorithmError",
            timings=timings,
            stdout=stdout,
        )
    if content_type is ContentType.TEXT and not is_utf8(content_of(body)):
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


def _exit_reason(status: ExitStatus | None, limits: SandboxLimits | None) -> str:
    """Name the limit that ended the process, if one did; else the bare old text stands."""
    if status is None or limits is None:
        return ""
    if status.was_process_limit:
        return f": it reached its limit of {limits.processes} processes"
    if status.was_disk_limit:
        return f": it stored more than {_mib(limits.tmp_bytes)} of temporary files"
    return ""


def _memory(status: ExitStatus, limits: SandboxLimits) -> str:
    """The message is fixed: an old client compares it as a whole."""
    limit = f"Its memory, with its files in memory, is limited to {_mib(limits.memory_bytes)}"
    peak = status.peak_memory_bytes
    return f"{limit}; it used {_mib(peak)}." if peak else f"{limit}; it reached that."


def _limit_met(message: str, limits: SandboxLimits) -> str:
    """Say which limit an error of the system tells of, whatever the language put it into."""
    for sign, limit in (
        (_TOO_MANY_FILES, f"Each of its processes may have {limits.open_files} files open."),
        (_NO_SPACE, f"Its temporary files may take {_mib(limits.tmp_bytes)}."),
        (_TOO_LARGE, f"One file may have {_mib(limits.tmp_bytes)}."),
        (_NO_PROCESS, f"It may have {limits.processes} processes and threads."),
    ):
        if sign.search(message):
            return limit
    return ""


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:.0f} MiB"


def _exit_code(status: ExitStatus | None) -> int:
    """Old clients know -99 as "killed by a signal"."""
    if status is None or status.code is None:
        return -99
    return status.code
