"""
Pages of a listing, and the markers that lead from one to the next.

A marker says after which name to go on.

Source: wire specification, "Directories".
"""

from collections.abc import Iterable

import msgspec

from algorium_server.data.connector import Page
from algorium_server.domain.limits import LISTING_ENTRIES_MAX
from algorium_server.domain.markers import cursor_of, marker_of


class _Cursor(msgspec.Struct):
    after: str


def marker_after(name: str) -> str:
    """Return the marker that continues after *name*."""
    return marker_of(_Cursor(name))


def name_of_marker(marker: str) -> str:
    """
    Return after which name a listing goes on; empty for the first page.

    Raises:
        InvalidMarker: No listing gave this marker.
    """
    return cursor_of(marker, _Cursor, of="a listing").after if marker else ""


def page_of_folders(names: Iterable[str], *, marker: str = "") -> Page:
    """
    Return a page of folders that are all known.

    Args:
        names: All of them, in any order.
        marker: Where to go on.

    Raises:
        InvalidMarker: No listing gave this marker.
    """
    after = name_of_marker(marker)
    rest = sorted(name for name in names if name > after)
    folders = tuple(rest[:LISTING_ENTRIES_MAX])
    return Page(
        folders=folders, marker=marker_after(folders[-1]) if len(rest) > len(folders) else ""
    )
