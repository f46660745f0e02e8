"""
Conditional requests: from headers to what they demand.

A demand that cannot be read is refused: to ignore it could overwrite what was to be protected.
Dates that are none are ignored, as the standard wants it.

Source: RFC 9110, sections 8.8.3, 13.1.
"""

import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import Final

from algorium_server.api.http import Header, Scope
from algorium_server.data.connector import Entry
from algorium_server.domain.conditions import ANY, UNCONDITIONAL, Etags, Preconditions
from algorium_server.domain.errors import InvalidRequest

_LIST: Final = re.compile(r'\s*(?:(?:W/)?"[^"]*"\s*(?:,\s*)*)+')
_ETAG: Final = re.compile(r'(W/)?"([^"]*)"')
_CONDITIONAL: Final = frozenset(
    {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"}
)
_SHOWN_MAX: Final = 1024
"""Uploads that become visible together have one time."""


def parse_preconditions(scope: Scope) -> Preconditions:
    """
    Read what a request demands.

    Raises:
        InvalidRequest: An etag is none.
    """
    if not any(name in _CONDITIONAL for name, _ in scope["headers"]):
        return UNCONDITIONAL
    return Preconditions(
        match=_etags(scope, b"if-match", allows_weak=False),
        unmodified_since=_date(scope, b"if-unmodified-since"),
        none_match=_etags(scope, b"if-none-match", allows_weak=True),
        modified_since=_date(scope, b"if-modified-since"),
    )


def is_same_version(if_range: str, entry: Entry) -> bool:
    """Whether the value of `If-Range` means the file as it is now."""
    etag = _ETAG.fullmatch(if_range.strip())
    if etag is not None:
        return not etag[1] and etag[2] == entry.etag != ""
    moment = _moment(if_range)
    return moment is not None and _seconds_of(entry.modified_at) == moment


def version_headers(entry: Entry) -> list[Header]:
    """Return the headers that tell versions of a file apart."""
    headers: list[Header] = []
    if entry.etag:
        headers.append((b"etag", b'"%b"' % entry.etag.encode("latin-1", "replace")))
    if entry.modified_at is not None:
        headers.append((b"last-modified", _shown(entry.modified_at)))
    return headers


def joined(scope: Scope, name: bytes) -> str | None:
    """Return a header, its lines joined to one; None without it."""
    lines = [value.decode("latin-1") for found, value in scope["headers"] if found == name]
    return ", ".join(lines) if lines else None


@lru_cache(maxsize=_SHOWN_MAX)
def _shown(moment: datetime) -> bytes:
    return format_datetime(moment.astimezone(UTC), usegmt=True).encode("ascii")


def _etags(scope: Scope, name: bytes, *, allows_weak: bool) -> Etags | None:
    text = joined(scope, name)
    if text is None:
        return None
    if text.strip() == "*":
        return ANY
    if not _LIST.fullmatch(text):
        raise InvalidRequest(f'{name.decode()} must be * or a list of etags such as "abc"')
    # A weak etag never says "the same bytes", so no file is the one it names.
    return frozenset(tag for weak, tag in _ETAG.findall(text) if allows_weak or not weak)


def _date(scope: Scope, name: bytes) -> datetime | None:
    text = joined(scope, name)
    return None if text is None else _moment(text)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, IndexError):
        return None


def _seconds_of(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(microsecond=0)
