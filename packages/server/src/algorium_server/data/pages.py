"""
Pages of a listing, and the markers that lead from one to the next.

A marker says after which name to go on. It holds all it needs, so it works for as long as
the directory does, on any server, whatever was added or deleted in between.

Source: wire specification, "Directories".
"""

import base64
import binascii
from collections.abc import Iterable

import msgspec

from algorium_server.data.connector import Page
from algorium_server.domain.errors import InvalidMarker
from algorium_server.domain.limits import LISTING_ENTRIES_MAX


class _Cursor(msgspec.Struct):
    after: str


def marker_after(name: str) -> str:
    """Return the marker that continues after *name*: URL-safe, since clients do not encode it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(_Cursor(name))).rstrip(b"=").decode()


def name_of_marker(marker: str) -> str:
    """
    Return after which name a listing goes on; empty for the first page.

    Raises:
        InvalidMarker: No listing gave this marker.
    """
    if not marker:
        return ""
    try:
        padded = marker.encode("ascii") + b"=" * (-len(marker) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=_Cursor).after
    except (UnicodeEncodeError, binascii.Error, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidMarker(f"{marker[:100]!r} is not a marker of a listing") from error


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
