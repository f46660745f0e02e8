"""
Columns, and how values become rows.

Columns are called like the fields of the domain's values; types convert in both directions, so
that a row is `row_of(value)` and a value is `of_row(Value, row)`. Both databases hold the same:

| what | how | why |
|---|---|---|
| ids | text, up to 36 characters | readable in any shell |
| names | text in byte order | the same order on both databases, whatever their locale |
| times | UTC, microseconds | aware in, aware out; SQLite has no time zones |
| free text | UTF-8 bytes | PostgreSQL's text refuses NUL, which a build log may well contain |
| settings | JSON text | unknown fields are ignored and missing ones have defaults |
"""

import dataclasses
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import (
    DateTime,
    Dialect,
    LargeBinary,
    RowMapping,
    String,
    Text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator

V = TypeVar("V")

_SHARED_VALUES_MAX: Final = 1024
"""More than an installation has environments; a list of modules takes some kilobytes."""


class UtcTimestamp(TypeDecorator[datetime]):
    """A point in time; refuses values without a time zone, returns UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware time into what the database keeps."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a time zone cannot be stored: {value!r}")
        moment = value.astimezone(UTC)
        # SQLite keeps text: without the offset, all values have one width and sort as times.
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Return the stored time as an aware one."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class FreeText(TypeDecorator[str]):
    """Any text at all, NUL and lone surrogates included; not to be sorted or searched by."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> bytes | None:
        """Encode as UTF-8."""
        return None if value is None else value.encode("utf-8", "surrogatepass")

    def process_result_value(self, value: bytes | None, _dialect: Dialect) -> str | None:
        """Decode what `process_bind_param` encoded."""
        return None if value is None else bytes(value).decode("utf-8", "surrogatepass")


class EnumText(TypeDecorator[StrEnum]):
    """A member of *members*, kept as its value of *length* characters at most."""

    impl = String
    cache_ok = True

    def __init__(self, members: type[StrEnum], length: int = 24) -> None:
        super().__init__(length)
        self.members = members

    def process_bind_param(self, value: StrEnum | None, _dialect: Dialect) -> str | None:
        """Return the member's value."""
        return None if value is None else self.members(value).value

    def process_result_value(self, value: str | None, _dialect: Dialect) -> StrEnum | None:
        """Return the member."""
        return None if value is None else self.members(value)


class JsonText(TypeDecorator[Any]):
    """A dataclass *shape* as JSON; readers of an older schema ignore what they do not know."""

    impl = Text
    cache_ok = True

    def __init__(self, shape: type) -> None:
        super().__init__()
        self.shape = shape

    def process_bind_param(self, value: Any, _dialect: Dialect) -> str | None:
        """Encode as JSON."""
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, _dialect: Dialect) -> Any:
        """Decode to the dataclass."""
        return None if value is None else msgspec.json.decode(value, type=self.shape)


class SharedJsonText(JsonText):
    """The same for immutable values that many rows have in common: equal ones are one object."""

    cache_ok = True

    def process_result_value(self, value: str | None, _dialect: Dialect) -> Any:
        """Decode to the dataclass, or remember it."""
        return None if value is None else _decode_shared(value, self.shape)


@lru_cache(maxsize=_SHARED_VALUES_MAX)
def _decode_shared(value: str, shape: type) -> Any:
    return msgspec.json.decode(value, type=shape)


class OptionalFreeText(FreeText):
    """The same where there is usually none: the empty string in values, NULL in rows."""

    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        """Encode as UTF-8, the empty string as NULL."""
        return super().process_bind_param(value or None, dialect)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str:
        """Decode what `process_bind_param` encoded."""
        return super().process_result_value(value, dialect) or ""


class OptionalText(TypeDecorator[str]):
    """A short text that may be missing: the empty string in values, NULL in rows."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        """Turn the empty string into NULL."""
        return value or None

    def process_result_value(self, value: str | None, _dialect: Dialect) -> str:
        """Turn NULL into the empty string."""
        return value or ""


class OptionalId(OptionalText):
    """An id that may be missing; foreign keys take NULL, and no empty string."""

    cache_ok = True

    def __init__(self) -> None:
        super().__init__(36)


def byte_ordered_text() -> Text:
    """Text that compares by its UTF-8 bytes; SQLite does so by itself."""
    return Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def row_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as a row."""
    names = _fields_of(type(value))  # type: ignore[arg-type]  # mypy doubts that types hash
    return {name: getattr(value, name) for name in names}


def of_row(shape: type[V], row: RowMapping) -> V:
    """Return the dataclass *shape* that *row* holds; further columns are ignored."""
    names = _fields_of(shape)  # type: ignore[arg-type]  # as above
    return shape(**{name: row[name] for name in names})


@cache
def _fields_of(shape: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(shape))


def is_storable(name: str) -> bool:
    """Whether a name can be in a text column at all; PostgreSQL refuses even to look for others."""
    return "\0" not in name and not any("\ud800" <= character <= "\udfff" for character in name)


def name_key(name: str) -> str:
    """
    Return what *name* is found by, whatever its case.

    Only ASCII is folded: names of accounts, algorithms and collections hold nothing else, and
    folding more would let the Kelvin sign find a `k`.
    """
    return name.lower() if name.isascii() else name
