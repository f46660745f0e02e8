"""
Usage as the server tells it: records of calls and sums of them. Standard library only.

Readers take what they know and ignore the rest, so an older client reads a newer server.
"""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from typing import Any, Generic, TypeVar

from algorium.wire.bodies import BodyError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRecord:
    """
    What one call took.

    Attributes:
        request_id: Of the call.
        tree_id: Request id of the call at the root of its tree: its own, unless an algorithm
            called.
        started_at: When it was admitted.
        account: Who called, and is billed.
        key_id: The key that was shown, empty without one.
        algorithm: `owner/name`.
        version: `1.2.3`; empty if a commit was called.
        commit: What ran.
        outcome: `success`, `error`, `timeout`, `cancelled`, `refused` or `interrupted`.
        error_type: Kind of the error, empty on success.
        is_void: The caller did not wait.
        queue_s: Seconds in line.
        load_s: Seconds while a slot was started for it.
        run_s: Seconds in its slot.
        cpu_s: CPU seconds of its slot.
        peak_memory_bytes: The most that its slot ever held up to its end.
        input_bytes: Of the input.
        output_bytes: Of the result.
    """

    request_id: str
    tree_id: str = ""
    started_at: datetime
    account: str = ""
    key_id: str = ""
    algorithm: str = ""
    version: str = ""
    commit: str = ""
    outcome: str = ""
    error_type: str = ""
    is_void: bool = False
    queue_s: float = 0.0
    load_s: float = 0.0
    run_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    input_bytes: int = 0
    output_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotal:
    """
    What several calls took together.

    The first five say which calls; they are empty where they were not told apart.

    Attributes:
        account: Who called.
        algorithm: `owner/name`.
        version: `1.2.3`; empty if a commit was called.
        commit: What ran.
        day: As `2026-03-29`, UTC.
        calls: How many, whatever their outcome.
        errors: Of these, how many failed.
        cancelled: Of these, how many were given up by their caller.
        refused: Of these, how many no slot ran.
        queue_s: Seconds in line.
        load_s: Seconds while slots were started for them.
        run_s: Seconds in slots.
        cpu_s: CPU seconds of slots.
        peak_memory_bytes: The most that one of their slots held.
        input_bytes: Of all inputs.
        output_bytes: Of all results.
    """

    account: str = ""
    algorithm: str = ""
    version: str = ""
    commit: str = ""
    day: str = ""
    calls: int = 0
    errors: int = 0
    cancelled: int = 0
    refused: int = 0
    queue_s: float = 0.0
    load_s: float = 0.0
    run_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    input_bytes: int = 0
    output_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePage(Generic[T]):
    """
    A page of records or sums.

    Attributes:
        marker: Asks for the next page; empty on the last one.
    """

    results: tuple[T, ...] = ()
    marker: str = ""

    @classmethod
    def from_json(cls, value: object, row: type[T]) -> "UsagePage[T]":
        """
        Read a whole body.

        Args:
            value: The body.
            row: What its results are.

        Raises:
            BodyError: A field is missing or malformed.
        """
        if not isinstance(value, dict) or not isinstance(value.get("results"), list):
            raise BodyError("usage: no list of results")
        marker = value.get("marker")
        return cls(
            results=tuple(_row(each, row) for each in value["results"]),
            marker=marker if isinstance(marker, str) else "",
        )


def _row(value: object, row: type[T]) -> T:
    if not isinstance(value, dict):
        raise BodyError("usage.results[]: not an object")
    found: dict[str, Any] = {}
    for field in fields(row):  # type: ignore[arg-type]  # both are dataclasses
        name = field.name
        if name in value:
            try:
                found[name] = _READERS[field.type](value[name])  # type: ignore[index]  # as above
            except (TypeError, ValueError) as error:
                raise BodyError(f"usage.results[].{name}: {error}") from error
        elif field.default is MISSING:
            raise BodyError(f"usage.results[]: no {name}")
    return row(**found)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    return value


def _whole_number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("not a whole number")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


def _moment(value: object) -> datetime:
    return datetime.fromisoformat(_text(value))


_READERS: dict[type, Callable[[object], Any]] = {
    str: _text,
    float: _number,
    int: _whole_number,
    bool: _flag,
    datetime: _moment,
}
