"""
Calls: what goes in, what comes out, and how long it may take.

What is made anew for every call is a msgspec struct: it behaves like a frozen dataclass and is
built in a fifth of the time.

Source: wire specification, "Calling algorithms".
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import CALL_TIMEOUT_S_DEFAULT, CALL_TIMEOUT_S_MAX


class ContentType(StrEnum):
    """The types of an algorithm's input and output; `void` is an output only."""

    JSON = "json"
    TEXT = "text"
    BINARY = "binary"
    VOID = "void"


class Output(StrEnum):
    """How a caller wants the answer: an envelope, the bare result, or none."""

    DEFAULT = "default"
    RAW = "raw"
    VOID = "void"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What a caller asked for beside the input."""

    timeout_s: float = CALL_TIMEOUT_S_DEFAULT
    output: Output = Output.DEFAULT
    wants_stdout: bool = False
    wants_timing: bool = False
    is_sudo: bool = False


class LargeBody(Protocol):
    """A body too large to be held in memory; its length is its size in bytes."""

    def __len__(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes:
        """Return up to *length* bytes from *offset* on; fewer at the end."""

    def content(self) -> bytes:
        """Return everything; for those who cannot do with less."""

    def close(self) -> None:
        """Free it; idempotent."""


Body = bytes | LargeBody

IN_MEMORY: Final = (bytes, bytearray)
"""What a body in memory is. A tuple, made once: a union would be made anew, and asked slowly."""


def content_of(body: Body) -> bytes:
    """Return all bytes of a body."""
    return body if isinstance(body, IN_MEMORY) else body.content()


class CallInput(msgspec.Struct, frozen=True, kw_only=True):
    """An input: its type and its bytes (JSON and text as UTF-8, binary as is)."""

    content_type: ContentType
    body: Body


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where the time of a call went, in seconds, and what its slot took for it.

    Attributes:
        cpu_s: CPU time, 0 where it is not known.
        peak_memory_bytes: The most that the slot ever held up to the end of the call.
    """

    queue_s: float
    load_s: float
    run_s: float
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0


class CallSuccess(msgspec.Struct, frozen=True, kw_only=True):
    """
    A result.

    Attributes:
        body: JSON and text as valid UTF-8 (JSON checked to be one value), binary as is.
        stdout: What the algorithm printed during this call, both streams merged.
    """

    content_type: ContentType
    body: Body
    timings: Timings
    stdout: str = ""


class CallFailure(msgspec.Struct, frozen=True, kw_only=True):
    """
    The algorithm failed: a result of the call, not a failure of the platform.

    Attributes:
        error_type: A standard error type (`algorium.wire.codes`).
        hint: What the message, which old clients know, has no room for; empty mostly.
        stacktrace: Empty when there is none.
        is_input_refused: The input could not be decoded by the slot (HTTP 400, not a result).
    """

    message: str
    error_type: str
    timings: Timings
    hint: str = ""
    stacktrace: str = ""
    stdout: str = ""
    is_input_refused: bool = False


CallOutcome = CallSuccess | CallFailure

_one_value = msgspec.json.Decoder(msgspec.Raw)

TIMEOUT_MESSAGE = "Failed to run algorithm - may have timed-out or hit out-of-memory error"
"""Compared literally by an old client; also used when memory runs out."""


def parse_timeout(text: str) -> float:
    """
    Read the `timeout` of a call in seconds; above the maximum it is clamped.

    Raises:
        InvalidInput: Not a positive number.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise InvalidInput(f"timeout must be a positive number of seconds, not {text!r}")
    return min(seconds, CALL_TIMEOUT_S_MAX)


def parse_output(text: str) -> Output:
    """
    Read the `output` of a call; empty means the envelope.

    Raises:
        InvalidInput: None of `default`, `raw`, `void`.
    """
    try:
        return Output(text or "default")
    except ValueError:
        raise InvalidInput(f"output must be raw, void or default, not {text!r}") from None


def is_json(body: bytes) -> bool:
    """Whether *body* is exactly one JSON value in valid UTF-8."""
    try:
        _one_value.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return is_utf8(body)


def is_utf8(body: bytes) -> bool:
    """Whether *body* is valid UTF-8."""
    if body.isascii():
        return True
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
