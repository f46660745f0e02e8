"""
Ranges: which part of a file is asked for.

One part of bytes is understood. Several at once, other units and nonsense get the whole file, as
the standard allows and as clients know to handle.

Source: RFC 9110, section 14.
"""

import re
from typing import Final

from algorium_server.data.connector import Span
from algorium_server.domain.errors import RangeNotSatisfiable

# Longer numbers are nonsense: to read them costs time that grows with the square of their length.
_RANGE: Final = re.compile(
    r"\s*bytes\s*=\s*(\d{0,99})\s*-\s*(\d{0,99})\s*", re.ASCII | re.IGNORECASE
)


def parse_range(text: str, size_bytes: int) -> Span | None:
    """
    Return the part that a `Range` header asks for, its end within the file; None for all of it.

    Raises:
        RangeNotSatisfiable: The file has no such part.
    """
    match = _RANGE.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, end = max(size_bytes - int(match[2]), 0), size_bytes
    else:
        start = int(match[1])
        end = int(match[2]) + 1 if match[2] else size_bytes
        if match[2] and end <= start:
            return None
    end = min(end, size_bytes)
    if start >= end:
        raise RangeNotSatisfiable(
            f"the file has {size_bytes} bytes", fields={"size_bytes": size_bytes}
        )
    return Span(start=start, end=end)


def content_range(span: Span, size_bytes: int) -> bytes:
    """Return the header that says which part of a file an answer is."""
    end = size_bytes if span.end is None else span.end
    return b"bytes %d-%d/%d" % (span.start, end - 1, size_bytes)


def no_such_range(size_bytes: int) -> bytes:
    """Return the same header of an answer that has to be without."""
    return b"bytes */%d" % size_bytes
