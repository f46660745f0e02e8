"""
Pages of management lists: how many entries, where to go on, and the body around them.

A marker holds the key of the last entry.

Source: wire specification, "Pagination".
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec

from algorium_server.domain import markers
from algorium_server.domain.errors import InvalidLimit

T = TypeVar("T")

_MARKER_CHARS_MAX: Final = 2048
_LIST: Final = "this list"


class _Marker(msgspec.Struct, forbid_unknown_fields=True):
    after: list[str | int]


def parse_limit(text: str, *, default: int, limit_max: int) -> int:
    """
    Read how many entries somebody wants; empty means the default.

    Raises:
        InvalidLimit: No number, or one outside 1 to *limit_max*.
    """
    if not text:
        return default
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= limit_max:
        return int(text)
    raise InvalidLimit(f"limit must be a number from 1 to {limit_max}, not {text[:100]!r}")


def marker_of(key: Sequence[str | int]) -> str:
    """Return the marker that goes on after the entry with this key."""
    return markers.marker_of(_Marker(list(key)))


def key_of_marker(marker: str, kinds: Sequence[type]) -> tuple[Any, ...] | None:
    """
    Return the key in a marker, None for the first page.

    Args:
        marker: As a page gave it; empty for the first one.
        kinds: Types of the key's parts.

    Raises:
        InvalidMarker: No page of such a list gave it.
    """
    if not marker:
        return None
    if len(marker) > _MARKER_CHARS_MAX:
        raise markers.unknown(marker, of=_LIST)
    key = tuple(markers.cursor_of(marker, _Marker, of=_LIST).after)
    # A number beyond 64 bits, or a text with NUL, is none that a database would have given.
    if len(key) != len(kinds) or not all(map(_is_of, key, kinds)):
        raise markers.unknown(marker, of=_LIST)
    return key


def cut(entries: Sequence[T], limit: int) -> tuple[Sequence[T], T | None]:
    """Return at most *limit* entries, and the last of them if there are more."""
    if len(entries) <= limit:
        return entries, None
    return entries[:limit], entries[limit - 1]


def body(entries: Iterable[Any], *, marker: str, link: str) -> dict[str, Any]:
    """Return the body of a page: all three members are always there."""
    return {"marker": marker or None, "next_link": link or None, "results": list(entries)}


def next_link(base: str, path: str, query: Mapping[str, str], marker: str) -> str:
    """Return the absolute address of the next page, empty on the last one."""
    if not marker:
        return ""
    return f"{base}{path}?{urlencode({**query, 'marker': marker})}"


def _is_of(part: str | int, kind: type) -> bool:
    if isinstance(part, str):
        return kind is str and "\0" not in part and part.isprintable()
    return kind is int and -(2**63) <= part < 2**63
