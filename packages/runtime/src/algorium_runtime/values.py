"""
Content types and Python values: what an algorithm receives and what it may return.

    input           the algorithm receives      it returns                      result
    text, JSON "…"  str                         str                             text
    binary          bytes                       bytes, bytearray, memoryview    binary
    other JSON      dict, list, int, None, …    anything else                   json

A JSON string and a text cannot be told apart, and None is JSON's null. Beside what the `json`
module knows, results may hold dataclasses and objects with `tolist()` (numpy arrays and scalars,
tensors, series), at any depth, as users of these expect. A result is passed on exactly or refused:
never rounded, replaced or cut.

Source: runtime specification, "Request line", "Response value".
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from algorium_runtime.jsontext import fast_reader

JSON = "json"
TEXT = "text"
BINARY = "binary"

_VISITS_MAX = 100_000
_DEPTH_MAX = 100
"""How much of a refused result is searched for the culprit: a fraction of a second, at most."""


class InputError(ValueError):
    """The body of a call is not what its content type says."""


class ResultError(ValueError):
    """The result of a call cannot be expressed in any content type."""


def decode(content_type: str, body: bytes) -> Any:
    """
    Return the value that an algorithm receives for the *body* of a call.

    Raises:
        InputError: Not UTF-8, not JSON, or an unknown content type.
    """
    if content_type == BINARY:
        return bytes(body)
    if content_type not in {JSON, TEXT}:
        raise InputError(f"unknown content type {content_type!r}")
    try:
        text = str(body, "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"input is not valid UTF-8: {error.reason} at byte {error.start}"
        ) from None
    if content_type == TEXT:
        return text
    try:
        return _decode_json(text)
    except RecursionError:
        raise InputError("input is not valid JSON: nested too deeply") from None
    except ValueError as error:
        raise InputError(f"input is not valid JSON: {error}") from None


def encode(value: Any) -> tuple[str, bytes]:
    """
    Return the content type and the bytes of a *value* that an algorithm returned.

    Raises:
        ResultError: It has no exact JSON form; the text names the culprit and its place.
    """
    if isinstance(value, str):
        try:
            return TEXT, value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ResultError(f"result is not valid text: {_surrogate(error)}") from None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return BINARY, bytes(value)
    try:
        return JSON, _encode_json(value).encode("utf-8")
    except MemoryError:
        raise
    except UnicodeEncodeError as error:
        reason = _surrogate(error)
    except RecursionError:
        reason = "nested too deeply"
    except Exception as error:  # a result's own methods may raise anything
        reason = _culprit(value) or f"{type(error).__name__}: {error}"
    raise ResultError(f"result is not valid JSON: {reason}")


def _plain(value: Any) -> Any:
    """Return what stands for *value* in JSON; the `json` module asks for types it does not know."""
    if callable(getattr(type(value), "tolist", None)):
        return value.tolist()
    if not isinstance(value, type) and hasattr(type(value), "__dataclass_fields__"):
        # One level only: `asdict` would copy everything below as well.
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    # Looked up now: an algorithm may have taught the class new types, as recipes on the web do.
    return json.JSONEncoder.default(_encoder, value)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once: `json.dumps` and `json.loads` with options build these anew on every call.
# Non-ASCII text stays as it is, so that lone surrogates, which no receiver could read, are noticed.
_encoder = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
)
_encode_json = _encoder.encode
_decode_json = fast_reader(json.JSONDecoder(parse_constant=_refuse_constant))


def _surrogate(error: UnicodeEncodeError) -> str:
    return f"lone surrogate {error.object[error.start]!a} at character {error.start}"


def _culprit(value: Any) -> str:
    """Search a refused result for the part at fault; empty if none was found in bounded time."""
    levels = [iter([("result", value)])]
    try:
        for _ in range(_VISITS_MAX):
            found = next(levels[-1], None)
            if found is None:
                levels.pop()
                if not levels:
                    break
                continue
            path, part = found
            fault = _fault(part)
            if fault:
                return fault if path == "result" else f"{fault} at {path}"
            if len(levels) < _DEPTH_MAX:
                levels.append(_children(path, part))
    except Exception:  # a result's own methods may raise anything, and have done so before
        return ""
    return ""


def _fault(part: Any) -> str:
    """Say what keeps one part, apart from its children, out of JSON."""
    if isinstance(part, float):
        return "" if math.isfinite(part) else f"{float(part)} is not a JSON number"
    if isinstance(part, dict):
        for key in part:
            if not (key is None or isinstance(key, (str, int, float))):
                return f"a dictionary key of type {_type_name(key)}, which cannot be text,"
        return ""
    if part is None or isinstance(part, (str, int, list, tuple)):
        return ""
    if isinstance(part, (bytes, bytearray, memoryview)):
        return f"raw {_type_name(part)} (encode them as base64 text)"
    try:
        _plain(part)
    except TypeError:
        return f"an object of type {_type_name(part)}, which has no JSON form,"
    return ""


def _children(path: str, part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, dict):
        for key, child in part.items():
            yield f"{path}[{key!r}]", child
    elif isinstance(part, (list, tuple)):
        for index, child in enumerate(part):
            yield f"{path}[{index}]", child
    elif part is not None and not isinstance(part, (str, int, float)):
        yield path, _plain(part)


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
