"""
Markers: where the next page of a list goes on, as a text that can stand in an address.

A marker holds all it needs, so it works on any server and for as long as the list does, whatever
was added or deleted in between.

Source: wire specification, "Directories", "Pagination".
"""

import base64
import binascii
from typing import TypeVar

import msgspec

from algorium_server.domain.errors import InvalidMarker

C = TypeVar("C", bound=msgspec.Struct)


def marker_of(cursor: msgspec.Struct) -> str:
    """Return the marker that holds *cursor*: URL-safe, since clients do not encode it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).rstrip(b"=").decode()


def cursor_of(marker: str, kind: type[C], *, of: str) -> C:
    """
    Return what a marker holds.

    Args:
        marker: As a page gave it.
        kind: What it should hold.
        of: The list, in words.

    Raises:
        InvalidMarker: It holds something else.
    """
    try:
        padded = marker.encode("ascii") + b"=" * (-len(marker) % 4)
        return msgspec.json.decode(
            base64.b64decode(padded, altchars=b"-_", validate=True), type=kind
        )
    except (UnicodeEncodeError, binascii.Error, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise unknown(marker, of=of) from error


def unknown(marker: str, *, of: str) -> InvalidMarker:
    """Return the error that no page of such a list gave *marker*."""
    return InvalidMarker(f"{marker[:100]!r} is not a marker of {of}")
