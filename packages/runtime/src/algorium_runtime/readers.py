"""
Readers: what makes instances of values of JSON, as annotations ask for them.

A reader is made once of an annotation, then used for every call. One that meets what does not fit
says where: places are `input`, `input.people[3]`, `input.people[3].age`.

Standard library only, Python 3.8+.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import decimal
import pathlib
import uuid
from typing import Any, Callable, Union

from algorium_runtime import hints
from algorium_runtime.hints import UNKNOWN

Read = Callable[[Any, str], Any]
"""Makes of a value of JSON, found at a place, what an annotation asks for."""

_SHOWN_CHARS_MAX = 60


class InvalidInput(ValueError):
    """The input of a call does not fit the annotation of `apply`."""

    error_type = "InputError"


class Reading:
    """Makes readers of annotations; a class gets one, so that it may contain itself."""

    def __init__(self) -> None:
        self._readers: dict[Any, Read] = {}

    def of(self, annotation: Any) -> Read:
        """Return the reader of an annotation."""
        kind = hints.bare(annotation)
        if kind is UNKNOWN or not hints.is_hashable(kind):
            return _as_it_is
        origin, args = hints.parts(kind)
        if origin is not None:
            return self._of_parts(origin, args)
        if kind in _SIMPLE:
            return _SIMPLE[kind]
        for is_one, make in (
            (hints.is_model, _model),
            (hints.is_dataclass, self._object),
            (hints.is_typed_dict, self._dictionary),
            (hints.is_named_tuple, self._row),
            (hints.is_enum, _enum),
        ):
            if is_one(kind):
                return self._kept(kind, make)
        return _as_it_is

    def _kept(self, kind: Any, make: Callable[[Any], Read]) -> Read:
        if kind not in self._readers:

            def read_later(value: Any, place: str) -> Any:  # it may contain itself
                return self._readers[kind](value, place)

            self._readers[kind] = read_later
            self._readers[kind] = make(kind)
        return self._readers[kind]

    def _of_parts(self, origin: Any, args: tuple[Any, ...]) -> Read:
        if origin is Union:
            return _any_of([self.of(each) for each in args], args)
        if getattr(origin, "_name", None) == "Literal":
            return _literal(args)
        if hints.is_list(origin):
            return _list_of(self.of(args[0]) if args else _as_it_is, list)
        if hints.is_set(origin):
            made: Any = frozenset if origin is frozenset else set
            return _list_of(self.of(args[0]) if args else _as_it_is, made)
        if origin is tuple:
            if len(args) == 2 and args[1] is Ellipsis:
                return _list_of(self.of(args[0]), tuple)
            return _tuple_of([self.of(each) for each in args if each != ()])
        if hints.is_mapping(origin):
            key, part = map(self.of, args) if len(args) == 2 else (_as_it_is, _as_it_is)
            return _dictionary_of(key, part)
        return self.of(origin)  # a generic class of the author's

    def _object(self, kind: Any) -> Read:
        fields = hints.fields_of(kind)
        readers = {name: self.of(field.annotation) for name, field in fields.items()}
        required = [name for name, field in fields.items() if field.is_required]

        def read(value: Any, place: str) -> Any:
            if isinstance(value, kind):
                return value
            known = _members(value, place, readers, required)
            for name in value:
                if name not in readers:
                    raise _refused(place, f"there is no {name!r} in {kind.__name__}")
            return _made(kind, (), known, place)

        return read

    def _dictionary(self, kind: Any) -> Read:
        fields = hints.fields_of(kind)
        readers = {name: self.of(field.annotation) for name, field in fields.items()}
        required = [name for name, field in fields.items() if field.is_required]

        def read(value: Any, place: str) -> Any:
            known = _members(value, place, readers, required)
            return {**value, **known}

        return read

    def _row(self, kind: Any) -> Read:
        fields = hints.fields_of(kind)
        readers = {name: self.of(field.annotation) for name, field in fields.items()}
        required = [name for name, field in fields.items() if field.is_required]

        def read(value: Any, place: str) -> Any:
            if isinstance(value, dict):
                return _made(kind, (), _members(value, place, readers, required), place)
            parts = _list(value, place)
            if not len(required) <= len(parts) <= len(readers):
                raise _refused(place, f"{len(readers)} items are needed, not {len(parts)}")
            known = [
                read_one(part, f"{place}[{i}]")
                for i, (read_one, part) in enumerate(zip(readers.values(), parts))
            ]
            return _made(kind, known, {}, place)

        return read


def _members(
    value: Any, place: str, readers: dict[str, Read], required: list[str]
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refused(place, f"an object is needed, not {_shown(value)}")
    for name in required:
        if name not in value:
            raise _refused(f"{place}.{name}", "is missing")
    return {
        name: read(value[name], f"{place}.{name}")
        for name, read in readers.items()
        if name in value
    }


def _made(kind: Any, items: Any, known: dict[str, Any], place: str) -> Any:
    try:
        return kind(*items, **known)
    except (ValueError, TypeError) as error:  # the class looks at its values itself
        raise InvalidInput(f"{place}: {error}") from error


def _model(kind: Any) -> Read:
    validate = getattr(kind, "model_validate", None) or kind.parse_obj

    def read(value: Any, place: str) -> Any:
        try:
            return validate(value)
        except ValueError as error:
            raise InvalidInput(_words_of(error, place)) from error

    return read


def _words_of(error: ValueError, place: str) -> str:
    try:
        faults = error.errors()  # type: ignore[attr-defined]  # pydantic's
        first = faults[0]
        steps = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in first["loc"])
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        return f"{place}{steps}: {first['msg']}{more}"
    except Exception:  # an error of the author's own
        return f"{place}: {error}"


def _enum(kind: Any) -> Read:
    def read(value: Any, place: str) -> Any:
        try:
            return kind(value)
        except ValueError:
            known = ", ".join(repr(member.value) for member in list(kind)[:20])
            raise _refused(place, f"one of {known} is needed, not {_shown(value)}") from None

    return read


def _literal(known: tuple[Any, ...]) -> Read:
    def read(value: Any, place: str) -> Any:
        if any(type(value) is type(each) and value == each for each in known):
            return value
        words = ", ".join(map(repr, known[:20]))
        raise _refused(place, f"one of {words} is needed, not {_shown(value)}")

    return read


def _any_of(readers: list[Read], args: tuple[Any, ...]) -> Read:
    takes_null = type(None) in args
    others = [read for read, arg in zip(readers, args) if arg is not type(None)]

    def read_any(value: Any, place: str) -> Any:
        if value is None and takes_null:
            return None
        refusals: list[InvalidInput] = []
        for read in others:
            try:
                return read(value, place)
            except InvalidInput as refusal:  # noqa: PERF203 - to try is the point
                refusals.append(refusal)
        if len(refusals) == 1:
            raise refusals[0]
        raise InvalidInput("; or ".join(dict.fromkeys(map(str, refusals))))

    return read_any


def _list_of(read: Read, make: Any) -> Read:
    def read_list(value: Any, place: str) -> Any:
        parts = [read(part, f"{place}[{i}]") for i, part in enumerate(_list(value, place))]
        try:
            return parts if make is list else make(parts)
        except TypeError as error:  # not hashable
            raise _refused(place, str(error)) from error

    return read_list


def _tuple_of(readers: list[Read]) -> Read:
    def read_tuple(value: Any, place: str) -> Any:
        parts = _list(value, place)
        if len(parts) != len(readers):
            raise _refused(place, f"{len(readers)} items are needed, not {len(parts)}")
        return tuple(
            read(part, f"{place}[{i}]") for i, (read, part) in enumerate(zip(readers, parts))
        )

    return read_tuple


def _dictionary_of(read_key: Read, read_part: Read) -> Read:
    def read(value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            raise _refused(place, f"an object is needed, not {_shown(value)}")
        return {
            _key_of(read_key, key, place): read_part(part, f"{place}.{key}")
            for key, part in value.items()
        }

    return read


def _key_of(read: Read, key: str, place: str) -> Any:
    if read is _SIMPLE[int]:  # JSON has no other keys than texts
        try:
            return int(key)
        except ValueError:
            raise _refused(place, f"{_shown(key)} is no integer") from None
    return read(key, f"{place} key")


def _list(value: Any, place: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise _refused(place, f"an array is needed, not {_shown(value)}")
    return value


def _as_it_is(value: Any, _place: str) -> Any:
    return value


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise _refused(place, f"a text is needed, not {_shown(value)}")
    return value


def _truth(value: Any, place: str) -> bool:
    if not isinstance(value, bool):
        raise _refused(place, f"true or false is needed, not {_shown(value)}")
    return value


def _integer(value: Any, place: str) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refused(place, f"an integer is needed, not {_shown(value)}")
    return value


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _refused(place, f"a number is needed, not {_shown(value)}")
    try:
        return float(value)
    except OverflowError:
        raise _refused(place, "the number is too large") from None


def _nothing(value: Any, place: str) -> None:
    if value is not None:
        raise _refused(place, f"null is needed, not {_shown(value)}")


def _bytes(value: Any, place: str) -> bytes:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    try:
        return base64.b64decode(_text(value, place), validate=True)
    except (binascii.Error, ValueError):
        raise _refused(place, "a text in base64 is needed") from None


def _parsed(parse: Callable[[str], Any], what: str) -> Read:
    def read(value: Any, place: str) -> Any:
        text = _text(value, place)
        try:
            return parse(text)
        except (ValueError, ArithmeticError):
            raise _refused(place, f"{what} is needed, not {_shown(value)}") from None

    return read


def _moment(text: str) -> datetime.datetime:
    # Before 3.11 `fromisoformat` did not know the `Z` that JSON Schema asks for.
    return datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in "zZ" else text)


def _decimal(value: Any, place: str) -> decimal.Decimal:
    text = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    read = _parsed(decimal.Decimal, "a decimal number")
    found: decimal.Decimal = read(text, place)
    return found


_SIMPLE: dict[Any, Read] = {
    str: _text,
    bool: _truth,
    int: _integer,
    float: _number,
    type(None): _nothing,
    None: _nothing,
    list: _list_of(_as_it_is, list),
    tuple: _list_of(_as_it_is, tuple),
    set: _list_of(_as_it_is, set),
    frozenset: _list_of(_as_it_is, frozenset),
    dict: _dictionary_of(_as_it_is, _as_it_is),
    bytes: _bytes,
    bytearray: lambda value, place: bytearray(_bytes(value, place)),
    datetime.datetime: _parsed(_moment, "a date and time (ISO 8601)"),
    datetime.date: _parsed(datetime.date.fromisoformat, "a date (YYYY-MM-DD)"),
    datetime.time: _parsed(datetime.time.fromisoformat, "a time (ISO 8601)"),
    uuid.UUID: _parsed(uuid.UUID, "a UUID"),
    decimal.Decimal: _decimal,
    pathlib.Path: _parsed(pathlib.Path, "a path"),
    pathlib.PurePath: _parsed(pathlib.PurePath, "a path"),
}


def _refused(place: str, reason: str) -> InvalidInput:
    return InvalidInput(
        f"{place}: {reason}" if not reason.startswith("is ") else f"{place} {reason}"
    )


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # deeply nested
        text = type(value).__name__
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}…"
