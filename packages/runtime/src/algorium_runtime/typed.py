"""
Inputs and results of an `apply` whose annotations name classes: the input becomes an instance.

Whoever annotates the input with a dataclass, a `NamedTuple` or a model of pydantic, at any depth,
gets instances; whoever annotates with `str`, `dict` or `Any`, or not at all, gets what `apply`
always got. The same holds for results: an annotation that names such a class lets everything
through that has a schema (`schemas`), dates and enumerations included.

An input that does not fit is refused with the place: `input.people[3].age: a number is needed`.

Standard library only, Python 3.8+.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import functools
import pathlib
import uuid
from typing import Any, Callable

from algorium_runtime import hints
from algorium_runtime.readers import Reading

Apply = Callable[..., Any]
_DEPTH_MAX = 50
"""How deep annotations are searched for classes."""


def converting(apply: Apply) -> Apply:
    """
    Return an `apply` that takes and gives plain values in front of one that wants instances.

    The same function is returned if its annotations name no such class, or cannot be understood.
    """
    try:
        signature = hints.signature_of(apply)
        reads = _names_class(signature.input)
        writes = _names_class(signature.output)
        read = Reading().of(signature.input) if reads else None
    except Exception:  # the author's annotations are code as well
        return apply
    if read is None and not writes:
        return apply

    @functools.wraps(apply)
    def convert(value: Any, *state: Any) -> Any:
        result = apply(value if read is None else read(value, "input"), *state)
        return plain(result) if writes else result

    return convert


def plain(value: Any) -> Any:
    """Return what stands for a result in JSON; texts and bytes at the top stay as they are."""
    if isinstance(value, (str, bytes, bytearray, memoryview)):
        return value.value if isinstance(value, enum.Enum) else value
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {_key(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, (set, frozenset)):
        return [_plain(part) for part in value]
    if hints.is_model(type(value)):
        dump = getattr(value, "model_dump", None)
        return dump(mode="json") if dump is not None else _plain(value.dict())
    if hints.is_dataclass(type(value)):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (uuid.UUID, decimal.Decimal, pathlib.PurePath)):
        return str(value)
    return value  # `values` knows some more, and says what it does not know


def _key(key: Any) -> Any:
    return key.value if isinstance(key, enum.Enum) else key


def _names_class(annotation: Any, depth: int = 0) -> bool:
    """Whether instances of a class of the author's are asked for, at any depth."""
    kind = hints.bare(annotation)
    origin, args = hints.parts(kind)
    if depth > _DEPTH_MAX:
        return False
    if origin is not None:
        return _names_class(origin, depth + 1) or any(_names_class(a, depth + 1) for a in args)
    return (hints.is_dataclass(kind) or hints.is_named_tuple(kind)) or hints.is_model(kind)
