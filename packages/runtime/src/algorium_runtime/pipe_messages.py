"""
The text protocol of pipes, without I/O: requests as lines, responses cut out of a byte stream.

A pipe is the process that runs an algorithm of another language. It reads one JSON request per
line on its standard input and writes one JSON value per request into a FIFO:

    {"content_type": "text" | "json" | "binary", "data": …}              request
    {"result": …, "metadata": {"content_type": …}}                       success
    {"error": {"message": …, "stacktrace": …, "error_type": …}}          failure

Binary data is base64. Some pipes end a response with a newline, some do not, some spread it over
many lines: a response ends where its outermost brace closes. Everything but the braces is read
leniently, and what cannot be read is a failure of the call. A JSON result is not even parsed: it
is passed on byte for byte to the platform, which trusts no worker and checks it anyway.

Source: runtime specification, "Request line", "Response value".
"""

from __future__ import annotations

import binascii
import json
import re
from typing import Any, NamedTuple

from algorium_runtime.failures import Failure
from algorium_runtime.values import BINARY, JSON, TEXT, InputError

HANDSHAKE = b"PIPE_INIT_COMPLETE"
"""A line of standard output that contains this says that the pipe is ready for requests."""

NOT_JSON = "result is not valid JSON"


class Response(NamedTuple):
    """
    What a pipe answered: a result, or a failure.

    Attributes:
        content_type: Of the result.
        body: The result's bytes.
        failure: None if there is a result.
    """

    content_type: str
    body: bytes
    failure: Failure | None = None


class OutOfStep(Exception):
    """The stream holds what begins no response; nothing after it can be told apart."""


class Handshake:
    """
    Finds the handshake's line in standard output, and takes it out.

    Attributes:
        is_complete: Whether it has been seen.
    """

    def __init__(self) -> None:
        self.is_complete = False
        self._held = b""
        self._is_on_its_line = False

    def pass_on(self, data: bytes) -> bytes:
        """
        Return what of the output may be passed on now.

        Until the handshake the beginning of an unfinished line is held back: it may be the
        handshake's.
        """
        before = b""
        if not self.is_complete:
            data, self._held = self._held + data, b""
            at = data.find(HANDSHAKE)
            if at < 0:
                end = data.rfind(b"\n") + 1
                if len(data) - end > _LINE_BYTES_MAX:  # no line to speak of
                    return data
                self._held = data[end:]
                return data[:end]
            self.is_complete = self._is_on_its_line = True
            begin = data.rfind(b"\n", 0, at) + 1
            before, data = data[:begin], data[begin:]
        if self._is_on_its_line:
            end = data.find(b"\n") + 1
            self._is_on_its_line = end == 0
            data = data[end:] if end else b""
        return before + data

    def give_up(self) -> bytes:
        """Return what is held back: there will be no handshake."""
        held, self._held = self._held, b""
        return held


def encode_request(content_type: str, body: bytes) -> bytes:
    """
    Return the line that hands a call to a pipe.

    Args:
        content_type: `text`, `json` or `binary`.
        body: The input's bytes; JSON must be valid.

    Raises:
        InputError: The text is not UTF-8, or the content type is unknown.
    """
    if content_type == BINARY:
        data = b'"%b"' % binascii.b2a_base64(body, newline=False)
    elif content_type == TEXT:
        try:
            data = _encode_string(str(body, "utf-8")).encode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"input is not valid UTF-8: {error.reason}") from None
    elif content_type == JSON:
        data = body.translate(_LINE_ENDS_TO_SPACES)  # raw ones are white space: strings escape them
    else:
        raise InputError(f"unknown content type {content_type!r}")
    if b"\xe2\x80" in data:  # U+2028 and U+2029 end a line for readers in JavaScript
        data = data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return b'{"content_type":"%b","data":%b}\n' % (content_type.encode("ascii"), data)


class ResponseReader:
    """Cuts responses out of a stream that arrives in pieces of any size."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._nesting = _Nesting()
        self._rest = b""

    @property
    def is_between(self) -> bool:
        """Whether no response has begun."""
        return not self._pieces and not self._rest

    def feed(self, data: bytes) -> bytes | None:
        """
        Take the next piece of the stream.

        Args:
            data: What arrived; empty to look at what an earlier piece left.

        Returns:
            The first complete response, None as long as there is none.

        Raises:
            OutOfStep: A response does not begin with a brace.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        if not self._pieces:
            data = data.lstrip(_WHITE_SPACE)
            if not data:
                return None
            if data[0] != _BRACE:
                raise OutOfStep(f"{data[:40]!r} is not the beginning of a response")
        end = self._nesting.find_end(data)
        if end is None:
            self._pieces.append(data)
            return None
        self._pieces.append(data[:end])
        self._rest = data[end:].lstrip(_WHITE_SPACE)
        response = b"".join(self._pieces)
        self._pieces.clear()
        return response


class _Nesting:
    """
    Finds where an object or array that arrives in pieces ends.

    Large pieces are reduced to their braces by compiled code; only the piece with the end is
    walked from brace to brace.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._after_backslash = False

    def find_end(self, data: bytes, at: int = 0) -> int | None:
        """Return the index behind the last brace, None if that is not in *data* from *at* on."""
        while at < len(data):
            piece_end = at + _PIECE_BYTES
            piece = data[at:piece_end] if at or piece_end < len(data) else data
            if not self._passes_over(piece):
                end = self._walk(piece)
                if end is not None:
                    return at + end
            at = piece_end
        return None

    def _passes_over(self, piece: bytes) -> bool:
        """Take a piece without the end at once; change nothing if the end may be in it."""
        if len(piece) < _SMALL_BYTES:
            return False
        text = b"\\" + piece if self._after_backslash else piece
        after_backslash = False
        if b"\\" in text:
            text = _ESCAPES.sub(b"", text)
            after_backslash = text.endswith(b"\\")
        parts = text.translate(None, _NOT_STRUCTURE).split(b'"')
        outside = b"".join(parts[self._in_string :: 2])
        closing = outside.count(b"}") + outside.count(b"]")
        depth = self._depth
        if depth > closing:
            depth += len(outside) - 2 * closing
        else:
            for byte in outside:
                depth += 1 if byte in _OPENING else -1
                if depth == 0:
                    return False
        self._depth = depth
        self._in_string ^= len(parts) % 2 == 0
        self._after_backslash = after_backslash
        return True

    def _walk(self, piece: bytes) -> int | None:
        at = 1 if self._after_backslash else 0
        self._after_backslash = False
        while True:
            found = (_IN_STRING if self._in_string else _OUTSIDE).search(piece, at)
            if found is None:
                return None
            at = found.end()
            byte = piece[at - 1]
            if byte == _QUOTE:
                self._in_string = not self._in_string
            elif byte == _BACKSLASH:
                if at == len(piece):
                    self._after_backslash = True
                    return None
                at += 1
            elif byte in _OPENING:
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    return at


def decode_response(data: bytes) -> Response:
    """Read what `ResponseReader` cut out; never fails: what is unreadable is a failure."""
    try:
        members = _members(data)
        error = json.loads(members.get("error", b"null"))
        if isinstance(error, (dict, str)):
            return Response("", b"", _failure(error))
        if "result" not in members:
            raise ValueError("there is neither a result nor an error")
        metadata = json.loads(members.get("metadata", b"null"))
        declared = metadata.get("content_type") if isinstance(metadata, dict) else None
        return _result(members["result"], declared)
    except (ValueError, RecursionError) as problem:
        return Response("", b"", Failure(f"{NOT_JSON}: {problem}"))


def _result(text: bytes, declared: object) -> Response:
    is_string = text.startswith(b'"')
    if declared == BINARY:
        if not is_string:
            raise ValueError("a binary result must be base64 in a string")
        return Response(BINARY, _decode_base64(text))
    if is_string and declared != JSON:
        return Response(TEXT, _string(text).encode("utf-8"))
    return Response(JSON, text)


def _failure(error: dict[str, Any] | str) -> Failure:
    if isinstance(error, str):
        return Failure(error or _NO_MESSAGE)
    error_type = error.get("error_type")
    return Failure(
        _as_text(error.get("message")) or _NO_MESSAGE,
        error_type if isinstance(error_type, str) else None,
        _as_text(error.get("stacktrace", error.get("stack_trace"))),
    )


def _as_text(value: object) -> str:
    """Return what pipes that send lists or numbers for text mean."""
    if isinstance(value, list):
        return "\n".join(map(_as_text, value))
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value)


def _decode_base64(text: bytes) -> bytes:
    """Decode the base64 in a JSON string whatever its line breaks and padding."""
    if b"\\" in text:
        data = _string(text).encode("ascii", "replace").translate(None, _WHITE_SPACE)
    else:
        data = text[1:-1]
    data = data.rstrip(b"=")
    if data.translate(None, _BASE64_ALPHABET):
        raise ValueError("a binary result is not base64")
    return binascii.a2b_base64(data + b"=" * (-len(data) % 4))


def _members(data: bytes) -> dict[str, bytes]:
    """
    Cut one JSON object into the texts of its members, without parsing what is in them.

    Raises:
        ValueError: It is not made of names, colons and values.
    """
    members: dict[str, bytes] = {}
    at = _skip(data, 1)
    while data[at] != _CLOSING_BRACE:
        if members:
            at = _expect(data, at, b",")
        name_end = _end_of_value(data, at)
        name = _string(data[at:name_end])
        at = _expect(data, _skip(data, name_end), b":")
        end = _end_of_value(data, at)
        members[name] = data[at:end]
        at = _skip(data, end)
    if at + 1 != len(data):
        raise ValueError(f"something follows it at byte {at + 1}")
    return members


def _end_of_value(data: bytes, at: int) -> int:
    end: int | None
    if data[at] == _QUOTE:
        end = _end_of_string(data, at + 1)
    elif data[at] in _OPENING:
        end = _Nesting().find_end(data, at)
    else:
        scalar = _SCALAR.match(data, at)
        end = scalar.end() if scalar else None
    if end is None:
        raise ValueError(f"expected a value at byte {at}")
    return end


def _end_of_string(data: bytes, at: int) -> int | None:
    """Return the index behind the first quote that is not escaped; backslashes cost nothing."""
    while (quote := data.find(b'"', at)) >= 0:
        backslash = quote
        while backslash > at and data[backslash - 1] == _BACKSLASH:
            backslash -= 1
        if (quote - backslash) % 2 == 0:
            return quote + 1
        at = quote + 1
    return None


def _string(text: bytes) -> str:
    value = json.loads(text)
    if not isinstance(value, str):
        raise ValueError(f"expected a string, not {text[:20]!r}")
    return value


def _expect(data: bytes, at: int, what: bytes) -> int:
    if data[at] != what[0]:
        raise ValueError(f"expected a {what.decode()} at byte {at}")
    return _skip(data, at + 1)


def _skip(data: bytes, at: int) -> int:
    found = _SPACES.match(data, at)
    assert found is not None, "it matches nothing at all, too"
    return min(found.end(), len(data) - 1)  # at worst the last brace, which is never what is next


_NO_MESSAGE = "the algorithm failed without a message"
_encode_string = json.JSONEncoder(ensure_ascii=False).encode

_WHITE_SPACE = b" \t\r\n"
_LINE_ENDS_TO_SPACES = bytes.maketrans(b"\r\n", b"  ")
_SPACES = re.compile(rb"[ \t\r\n]*")
_SCALAR = re.compile(rb"[-+.\w]+")
_BASE64_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_OUTSIDE = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'["\\]')
_ESCAPES = re.compile(rb"\\.", re.DOTALL)
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"{}[]'))
_OPENING = b"{["
_BRACE, _CLOSING_BRACE, _QUOTE, _BACKSLASH = b'{}"\\'
_LINE_BYTES_MAX = 64 * 1024
_PIECE_BYTES = 64 * 1024
_SMALL_BYTES = 4096
"""Below this, walking from brace to brace is cheaper than preparing to skip all of them."""
