"""
Python values to bodies, and JSON back to typed values.

Inputs: `str` is text, bytes are binary, everything else is JSON. Results: a small decoder over type
hints, so that typed results need no further library; pydantic models bring their own.
"""

import dataclasses
import enum
import json
import reprlib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from typing import Any, Final, Literal, Union, get_args, get_origin

from algorium._errors import ResultTypeError


def encode_input(value: Any) -> tuple[str, bytes]:
    """
    Return the content type and bytes of an algorithm's input.

    Raises:
        TypeError: A part of it cannot be JSON.
        ValueError: A number in it is not finite, or a container holds itself.
    """
    if isinstance(value, str):
        return "text/plain; charset=utf-8", value.encode()
    if isinstance(value, bytes | bytearray | memoryview):
        return "application/octet-stream", bytes(value)
    return "application/json", to_json(value).encode()


def to_json(value: Any) -> str:
    """
    Return compact JSON text of Python values.

    Dataclasses, pydantic models, numpy's arrays and numbers, enums, sets and times are understood.

    Raises:
        TypeError: A part of it cannot be JSON.
        ValueError: A number in it is not finite, or a container holds itself.
    """
    return json.dumps(
        value, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


def _plain(value: Any) -> Any:
    """Return a step towards JSON of what `json` does not know."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if callable(dump := getattr(value, "model_dump", None)):
        return dump(mode="json")
    if isinstance(value, enum.Enum):
        return value.value
    tolist = getattr(value, "tolist", None)  # numpy's arrays and numbers
    if callable(tolist) and not isinstance(value, memoryview):
        return tolist()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, AbstractSet):
        return list(value)
    hint = "; pass bytes as the whole input, or as a file" if isinstance(value, bytes) else ""
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON{hint}")


def decode(value: Any, kind: Any) -> Any:
    """
    Return *value*, made of JSON's types (or `bytes`), as a *kind*.

    Raises:
        ResultTypeError: It does not fit; the text names the place as `$.a[0]`.
        TypeError: *kind* is not a type this can decode.
    """
    return _decode(value, kind, "$")


def _decode(value: Any, kind: Any, where: str) -> Any:
    origin = get_origin(kind)
    if kind is Any or kind is object:
        return value
    if origin is typing.Annotated:
        return _decode(value, get_args(kind)[0], where)
    if origin is Union or origin is types.UnionType:
        return _decode_union(value, get_args(kind), where)
    if origin is Literal:
        if any(value == known and type(value) is type(known) for known in get_args(kind)):
            return value
        raise _misfit(value, " or ".join(map(repr, get_args(kind))), where)
    container = _CONTAINERS.get(origin or kind)
    if container is not None:
        return container(value, get_args(kind), where)
    scalar = _SCALARS.get(kind)
    if scalar is not None:
        return scalar(value, where)
    return _decode_class(value, kind, where)


def _decode_class(value: Any, kind: Any, where: str) -> Any:
    if callable(validate := getattr(kind, "model_validate", None)):
        try:
            return validate(value)
        except ValueError as error:  # pydantic's ValidationError is one
            raise ResultTypeError(f"{where}: {error}") from error
    if _is_array(kind):
        return _decode_array(value, kind, where)
    if typing.is_typeddict(kind):
        return _decode_fields(
            value, typing.get_type_hints(kind), getattr(kind, "__required_keys__", ()), where
        )
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(value)
        except ValueError as error:
            raise _misfit(value, f"one of {[m.value for m in kind]}", where) from error
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        fields = [f for f in dataclasses.fields(kind) if f.init]
        hints = typing.get_type_hints(kind)
        required = [
            f.name
            for f in fields
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        ]
        return kind(
            **_decode_fields(value, {f.name: hints[f.name] for f in fields}, required, where)
        )
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_field_defaults"):
        return _decode_named_tuple(value, kind, where)
    raise TypeError(f"cannot decode into {kind!r}")


def _is_array(kind: Any) -> bool:
    """Tell numpy's arrays, and those of a type as `NDArray`, without importing numpy."""
    array = get_origin(kind) or kind
    return getattr(array, "__module__", "") == "numpy" and array.__name__ == "ndarray"


def _decode_array(value: Any, kind: Any, where: str) -> Any:
    # Inside: whoever has its arrays has it, and nobody else needs it.
    import numpy  # noqa: PLC0415

    _, *wanted = get_args(kind) or (None,)
    (dtype,) = get_args(wanted[0]) if wanted else (None,)
    try:
        return numpy.array(value, dtype=dtype if isinstance(dtype, type) else None)
    except (TypeError, ValueError, OverflowError) as error:
        raise _misfit(value, "numbers that an array can hold", where) from error


def _decode_named_tuple(value: Any, kind: Any, where: str) -> Any:
    """JSON has it as a list, because that is how `json` writes one, or as an object."""
    hints = typing.get_type_hints(kind)
    if isinstance(value, list | tuple) and len(value) <= len(kind._fields):
        value = dict(zip(kind._fields, value, strict=False))
    required = [name for name in kind._fields if name not in kind._field_defaults]
    return kind(**_decode_fields(value, hints, required, where))


def _decode_fields(
    value: Any, hints: Mapping[str, Any], required: typing.Iterable[str], where: str
) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _misfit(value, "an object", where)
    missing = sorted(set(required) - value.keys())
    if missing:
        raise ResultTypeError(f"{where}: missing {', '.join(missing)}")
    return {
        name: _decode(value[name], hint, f"{where}.{name}")
        for name, hint in hints.items()
        if name in value
    }


def _decode_union(value: Any, kinds: Sequence[Any], where: str) -> Any:
    """Take the kind that *value* is already, then the first that fits: `int | str` keeps "1"."""
    for kind in kinds:
        if isinstance(kind, type) and type(value) is kind:
            return value
    reasons = []
    for kind in kinds:
        try:
            return _decode(value, kind, where)
        except ResultTypeError as error:
            reasons.append(error.message)
    raise ResultTypeError(f"{where}: fits none of the alternatives ({'; '.join(reasons)})")


def _decode_list(value: Any, arguments: Sequence[Any], where: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise _misfit(value, "a list", where)
    kind = arguments[0] if arguments else Any
    return [_decode(item, kind, f"{where}[{index}]") for index, item in enumerate(value)]


def _decode_tuple(value: Any, arguments: Sequence[Any], where: str) -> tuple[Any, ...]:
    if not arguments or arguments[-1] is Ellipsis:
        return tuple(_decode_list(value, arguments[:1], where))
    if not isinstance(value, list | tuple) or len(value) != len(arguments):
        raise _misfit(value, f"a list of {len(arguments)}", where)
    return tuple(
        _decode(item, kind, f"{where}[{index}]")
        for index, (item, kind) in enumerate(zip(value, arguments, strict=True))
    )


def _decode_set(value: Any, arguments: Sequence[Any], where: str) -> set[Any]:
    items = _decode_list(value, arguments, where)
    try:
        return set(items)
    except TypeError as error:
        raise _misfit(value, "values that can be in a set", where) from error


def _decode_frozenset(value: Any, arguments: Sequence[Any], where: str) -> frozenset[Any]:
    return frozenset(_decode_set(value, arguments, where))


def _decode_dict(value: Any, arguments: Sequence[Any], where: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _misfit(value, "an object", where)
    key_kind, kind = arguments or (str, Any)
    return {
        _decode_key(key, key_kind, where): _decode(item, kind, f"{where}.{key}")
        for key, item in value.items()
    }


def _decode_key(key: str, kind: Any, where: str) -> Any:
    """JSON's keys are strings; `dict[int, ...]` reads them as numbers."""
    if kind in {int, float}:
        try:
            return kind(key)
        except ValueError as error:
            raise _misfit(key, f"a key that is {kind.__name__}", where) from error
    return _decode(key, kind, where)


def _decode_none(value: Any, where: str) -> None:
    if value is not None:
        raise _misfit(value, "null", where)


def _decode_float(value: Any, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _misfit(value, "a number", where)
    try:
        return float(value)
    except OverflowError as error:
        raise _misfit(value, "a number that a float can hold", where) from error


def _decode_int(value: Any, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _misfit(value, "a whole number", where)


def _exactly(kind: type, wanted: str) -> Callable[[Any, str], Any]:
    def decode_exactly(value: Any, where: str) -> Any:
        if isinstance(value, kind):
            return value
        raise _misfit(value, wanted, where)

    return decode_exactly


def _time(kind: type[date]) -> Callable[[Any, str], date]:
    def decode_time(value: Any, where: str) -> date:
        try:
            return kind.fromisoformat(value)
        except (TypeError, ValueError) as error:
            raise _misfit(value, f"an ISO 8601 {kind.__name__}", where) from error

    return decode_time


def _misfit(value: Any, wanted: str, where: str) -> ResultTypeError:
    # Shortened: enough to recognise it.
    return ResultTypeError(f"{where}: expected {wanted}, found {reprlib.repr(value)}")


_SCALARS: Final[dict[Any, Callable[[Any, str], Any]]] = {
    None: _decode_none,
    type(None): _decode_none,
    bool: _exactly(bool, "true or false"),
    int: _decode_int,
    float: _decode_float,
    str: _exactly(str, "a string"),
    bytes: _exactly(bytes, "bytes"),
    datetime: _time(datetime),
    date: _time(date),
}

_CONTAINERS: Final[dict[Any, Callable[[Any, Sequence[Any], str], Any]]] = {
    list: _decode_list,
    Sequence: _decode_list,
    tuple: _decode_tuple,
    set: _decode_set,
    frozenset: _decode_frozenset,
    dict: _decode_dict,
    Mapping: _decode_dict,
}
