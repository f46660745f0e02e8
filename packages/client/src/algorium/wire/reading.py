"""
Members of JSON objects, read leniently: what is missing or of another type is empty or None.

What cannot be missing is asked for with `needed`. Standard library only.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from algorium.wire.bodies import BodyError


def members(value: object, what: str) -> Mapping[str, Any]:
    """
    Return an object's members.

    Raises:
        BodyError: It is not an object; *what* says what should have been one.
    """
    if not isinstance(value, dict):
        raise BodyError(f"{what}: not an object")
    return value


def inner(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the members of an object in it."""
    value = told.get(name)
    return value if isinstance(value, dict) else {}


def text(told: Mapping[str, Any], name: str) -> str:
    """Return a text."""
    value = told.get(name)
    return value if isinstance(value, str) else ""


def texts(told: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return a list of texts."""
    value = told.get(name)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def needed(told: Mapping[str, Any], name: str, what: str) -> str:
    """
    Return a text that must be there.

    Raises:
        BodyError: It is not.
    """
    value = text(told, name)
    if not value:
        raise BodyError(f"{what}: no {name}")
    return value


def flag(told: Mapping[str, Any], name: str, *, unless_told: bool = False) -> bool:
    """Return whether something is so."""
    value = told.get(name)
    return value if isinstance(value, bool) else unless_told


def count(told: Mapping[str, Any], name: str) -> int:
    """Return a number of things; 0 if it is none."""
    value = told.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def number(told: Mapping[str, Any], name: str) -> float | None:
    """Return a number."""
    value = told.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def moment(told: Mapping[str, Any], name: str) -> datetime | None:
    """Return a time; one without a zone is UTC."""
    try:
        found = datetime.fromisoformat(text(told, name))
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def milliseconds(told: Mapping[str, Any], name: str) -> datetime | None:
    """Return a time that is written as milliseconds since 1970."""
    value = told.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
