"""
The slot protocol: frames between the platform and a worker process, both ends, without I/O.

A frame is a 16-byte little-endian prefix, a JSON header and a raw body:

    version u8 | type u8 | flags u16 | header_len u32 | body_len u64 | header | body

    type        from      header                                body
    READY       worker    load_s                                -
    LOAD_ERROR  worker    -                                     a failure
    CALL        platform  id, content_type, remaining_ms        the input's bytes
    RESULT      worker    id, content_type, run_s, is_last      the result's bytes
    ERROR       worker    id, kind (algorithm | input), run_s,  a failure
                          is_last

A failure is a JSON object of `message`, `error_type` (as the author gave it, or null) and
`stacktrace`. Content types are json and text (both UTF-8) and binary; a result may also be void.

A worker sends READY or LOAD_ERROR once, then answers each CALL with one RESULT or one ERROR before
it reads the next. A worker that is going to end after its answer says so (`is_last`), or the next
call would be lost with it. The end of the stream tells it to leave.

The platform does not trust a worker: limits are checked on the prefix, before anything is stored,
and whatever breaks the form is a `ProtocolError`, after which the stream is useless.

The two ends cut the stream as it suits them: the worker blocks for each part of a frame, the
platform takes what arrives. What the parts mean is decided here alone.

Source: runtime design, "Slot protocol". Its `SHUTDOWN` is left out: a platform that died could not
send it, so the end of the stream has to mean it anyway.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any, NamedTuple, NoReturn

from algorium_runtime.jsontext import fast_reader

PREFIX = struct.Struct("<BBHIQ")
_PREFIX_BYTES = PREFIX.size
VERSION = 1

READY = 1
LOAD_ERROR = 2
CALL = 3
RESULT = 4
ERROR = 5

HEADER_BYTES_MAX = 64 * 1024
"""A header holds a handful of short values; more means that the stream is out of step."""


class ProtocolError(Exception):
    """The other end broke the form of the protocol; nothing after this point can be read."""


class Prefix(NamedTuple):
    """The first 16 bytes of a frame, checked."""

    type: int
    header_len: int
    body_len: int


class Frame(NamedTuple):
    """One message."""

    type: int
    header: dict[str, Any]
    body: bytes


def encode(frame_type: int, header: dict[str, Any], body: bytes = b"") -> bytes:
    """Return a whole frame; for large bodies send `encode_head` and the body separately."""
    return encode_head(frame_type, header, len(body)) + body


def encode_head(frame_type: int, header: dict[str, Any], body_len: int) -> bytes:
    """Return all of a frame but its body, which is *body_len* bytes long."""
    text = _encode_header(header).encode("ascii")
    return PREFIX.pack(VERSION, frame_type, 0, len(text), body_len) + text


def encode_call_head(call_id: int, content_type: str, remaining_ms: int, body_len: int) -> bytes:
    """Return all of a CALL frame but its body: `encode_head`, written out for the hot path."""
    text = b'{"id":%d,"content_type":"%s","remaining_ms":%d}' % (
        call_id,
        content_type.encode("ascii"),
        remaining_ms,
    )
    return PREFIX.pack(VERSION, CALL, 0, len(text), body_len) + text


def encode_result_head(call_id: object, content_type: str, run_s: float, body_len: int) -> bytes:
    """Return all of a RESULT frame but its body: `encode_head`, written out for the hot path."""
    if type(call_id) is not int:
        header = {"id": call_id, "content_type": content_type, "run_s": run_s}
        return encode_head(RESULT, header, body_len)
    text = b'{"id":%d,"content_type":"%s","run_s":%.7f}' % (
        call_id,
        content_type.encode("ascii"),
        run_s,
    )
    return PREFIX.pack(VERSION, RESULT, 0, len(text), body_len) + text


def only_frame(data: bytes | memoryview, size: int) -> tuple[int, int] | None:
    """
    Look whether the first *size* bytes of *data* are exactly one frame, on the hot path.

    Returns:
        Its type and where its body begins. None if they are anything else, which is for
        `decode_prefix` and `decode_header` to judge.
    """
    if size < _PREFIX_BYTES:
        return None
    version, frame_type, flags, header_len, body_len = PREFIX.unpack_from(data)
    body_at: int = _PREFIX_BYTES + header_len
    if (
        body_at + body_len != size
        or version != VERSION
        or flags
        or not READY <= frame_type <= ERROR
        or header_len > HEADER_BYTES_MAX
    ):
        return None
    return frame_type, body_at


def decode_prefix(data: bytes, *, header_len_max: int, body_len_max: int) -> Prefix:
    """
    Read the 16 bytes a frame begins with.

    Raises:
        ProtocolError: Another version, an unknown type or flag, or a length above its limit.
    """
    try:
        version, frame_type, flags, header_len, body_len = PREFIX.unpack(data)
    except struct.error:
        raise ProtocolError(f"a frame begins with {PREFIX.size} bytes, not {len(data)}") from None
    if version != VERSION:
        raise ProtocolError(f"frame version {version} is not {VERSION}")
    if not READY <= frame_type <= ERROR:
        raise ProtocolError(f"unknown frame type {frame_type}")
    if flags:
        raise ProtocolError(f"unknown frame flags {flags:#x}")
    if header_len > header_len_max:
        raise ProtocolError(f"header of {header_len} bytes exceeds {header_len_max}")
    if body_len > body_len_max:
        raise ProtocolError(f"body of {body_len} bytes exceeds {body_len_max}")
    return Prefix(frame_type, header_len, body_len)


def decode_header(data: bytes) -> dict[str, Any]:
    """
    Read a header: one JSON object in UTF-8, or nothing at all for an empty one.

    Raises:
        ProtocolError: Anything else, numbers that JSON does not have included.
    """
    if not data:
        return {}
    try:
        header = _decode_header(str(data, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"unreadable frame header: {error}") from None
    if not isinstance(header, dict):
        raise ProtocolError(f"frame header is a {type(header).__name__}, not an object")
    return header


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    """Read a number; `1e999` would otherwise become an infinity in the reader's arithmetic."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is out of range")
    return number


# Made once: `json.dumps` and `json.loads` with options build these anew on every call.
_encode_header = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_decode_header = fast_reader(json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite))
