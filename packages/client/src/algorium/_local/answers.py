"""
Requests and answers of calls as the platform has them: bytes in, bytes out, without I/O.

Source: wire specification, "Calling algorithms"; quirks, rules 10 to 13.
"""

import binascii
import json
import math
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from algorium._local.worker import Failure, Outcome, Success
from algorium.wire.codes import BY_NUMBER
from algorium.wire.refs import AlgorithmRef, RefSyntaxError

INPUT_BYTES_MAX: Final = 10 * 2**20
TIMEOUT_S: Final = 300.0
TIMEOUT_S_MAX: Final = 3000.0
PATH: Final = "/v1/algo"

_JSON: Final = "application/json"
_INPUT_TYPES: Final = {
    "application/json": "json",
    "text/plain": "text",
    "application/text": "text",
    "application/octet-stream": "binary",
}
_RAW_TYPES: Final = {
    "text": "text/plain; charset=utf-8",
    "json": _JSON,
    "binary": "application/octet-stream",
    "void": "text/plain",
}
_RAW_STATUS: Final = {"TimeoutError": 504, "OutOfMemoryError": 500}


class Refused(Exception):
    """A request that is no call; has a status, a message and, mostly, a number."""

    def __init__(self, message: str, *, code: int, status: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status or BY_NUMBER[code].status


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a caller asked for beside the input."""

    timeout_s: float = TIMEOUT_S
    output: str = "default"
    wants_stdout: bool = False
    wants_timing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer: *message* goes into a header, for readers of the status only."""

    status: int
    content_type: str
    body: bytes
    message: str = ""


def read_target(target: str, here: AlgorithmRef) -> Options:
    """
    Read path and query of a request.

    Any version of the algorithm means what is here.

    Raises:
        Refused: The path names no algorithm, or another one; an option cannot be read.
    """
    path, _, query = target.partition("?")
    if path != PATH and not path.startswith(f"{PATH}/"):
        raise Refused(f"only {PATH}/{here} is served here", code=1000)
    text = unquote(path[len(PATH) :], errors="replace")
    shown = text.strip("/").removeprefix("algo:").strip("/")
    try:
        ref = AlgorithmRef.parse(text)
    except RefSyntaxError:
        raise Refused(f"algorithm algo://{shown} not found", code=1000) from None
    if (ref.owner.lower(), ref.name.lower()) != (here.owner.lower(), here.name.lower()):
        raise Refused(f"algorithm algo://{shown} not found: here is {here}", code=1000)
    return _options(dict(parse_qsl(query, keep_blank_values=True)))


def read_input(content_type: str, content_encoding: str, body: bytes) -> tuple[str, bytes]:
    """
    Return type and bytes of an input.

    Raises:
        Refused: It is not what its type says, or has none.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    kind = _INPUT_TYPES.get(media_type)
    if kind is None:
        if not media_type and not body:
            return "json", b"null"
        raise Refused(f"unsupported content type {content_type!r}", code=2015, status=415)
    if kind == "binary" and content_encoding.strip().lower() == "base64":
        try:
            return kind, b64decode(body)
        except binascii.Error:
            raise Refused("The body is not valid base64", code=6001) from None
    if kind == "binary":
        return kind, body
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        if kind == "json":
            raise Refused("Invalid JSON", code=2013) from None
        at = f"byte {error.start}"
        raise Refused(f"The text is not valid UTF-8: {at}", code=6001) from None
    if kind == "json":
        try:
            json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise Refused("Invalid JSON", code=2013) from None
    return kind, body


def render(outcome: Outcome, options: Options) -> Answer:
    """Write an outcome as the caller asked for it."""
    if isinstance(outcome, Failure):
        return _render_failure(outcome, options)
    if options.output == "raw":
        return Answer(status=200, content_type=_RAW_TYPES[outcome.content_type], body=outcome.body)
    metadata: dict[str, Any] = {
        "content_type": outcome.content_type,
        "duration": _duration(outcome.run_s),
    }
    if options.wants_stdout:
        metadata["stdout"] = outcome.stdout
    if options.wants_timing:
        times = {"running": _duration(outcome.run_s), "total": _duration(outcome.total_s)}
        metadata["timing"] = times
    beginning = _dumps({"metadata": metadata})[:-1] + b',"result":'
    return Answer(status=200, content_type=_JSON, body=b"%b%b}" % (beginning, _result(outcome)))


def render_accepted(request_id: str) -> Answer:
    """Answer a call whose result nobody waits for."""
    body = _dumps({"async": "void", "request_id": request_id})
    return Answer(status=200, content_type=_JSON, body=body)


def render_refusal(refused: Refused) -> Answer:
    """Write an error for which nothing was called."""
    body = _dumps({"error": {"code": refused.code, "message": refused.message}})
    return Answer(status=refused.status, content_type=_JSON, body=body, message=refused.message)


def header_text(message: str) -> str:
    """Return a message as the value of a header: one line of Latin-1, cut if it is long."""
    line = "".join(" " if ord(c) < 0x20 or ord(c) == 0x7F else c for c in message[:500])
    return line.strip().encode("latin-1", "replace").decode("latin-1")


def _options(query: Mapping[str, str]) -> Options:
    timeout_s = TIMEOUT_S
    if text := query.get("timeout", ""):
        try:
            timeout_s = float(text)
        except ValueError:
            timeout_s = math.nan
        if not (math.isfinite(timeout_s) and timeout_s > 0):
            told = f"timeout must be a positive number of seconds, not {text!r}"
            raise Refused(told, code=6001)
    output = query.get("output") or "default"
    if output not in {"default", "raw", "void"}:
        raise Refused(f"output must be raw, void or default, not {output!r}", code=6001)
    return Options(
        timeout_s=min(timeout_s, TIMEOUT_S_MAX),
        output=output,
        wants_stdout=_is_true(query.get("stdout", "")),
        wants_timing=_is_true(query.get("timing", "")),
    )


def _is_true(text: str) -> bool:
    return text.strip().lower() in {"true", "1"}


def _result(outcome: Success) -> bytes:
    if outcome.content_type == "text":
        return _dumps(outcome.body.decode("utf-8", "replace"))
    if outcome.content_type == "binary":
        return _dumps(b64encode(outcome.body).decode("ascii"))
    return outcome.body if outcome.content_type == "json" else b"null"


def _render_failure(outcome: Failure, options: Options) -> Answer:
    error = {"message": outcome.message, "error_type": outcome.error_type}
    if outcome.stacktrace:
        error["stacktrace"] = error["stack_trace"] = outcome.stacktrace
    metadata: dict[str, Any] = {"duration": _duration(outcome.run_s)}
    if options.wants_stdout and outcome.stdout:
        metadata["stdout"] = outcome.stdout
    status = 200
    if outcome.is_input_refused:
        status = 400
    elif options.output == "raw":
        status = _RAW_STATUS.get(outcome.error_type, 400)
    body = _dumps({"error": error, "metadata": metadata, "result": None})
    message = outcome.message if status != 200 else ""
    return Answer(status=status, content_type=_JSON, body=body, message=message)


def _duration(seconds: float) -> float:
    """Above zero: an old client asserts that it is."""
    return round(max(seconds, 0.000001), 6)


def _dumps(value: Any) -> bytes:
    # Texts come from the author's code and may hold lone surrogates, which UTF-8 cannot.
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
