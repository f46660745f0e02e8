"""
Resumable uploads: a file that arrives in parts, in any order, maybe over days.

Every part but the last is exactly as long as was agreed at the beginning, so that each has its
place in the file whatever arrives first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from algorium_server.domain.conditions import Condition
from algorium_server.domain.errors import InvalidInput, TooLarge
from algorium_server.domain.limits import (
    UPLOAD_PART_BYTES,
    UPLOAD_PART_BYTES_MAX,
    UPLOAD_PART_BYTES_MIN,
    UPLOAD_PARTS_MAX,
)

_SHOWN_PARTS_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadResult:
    """What became of a finished upload."""

    uri: str
    etag: str
    md5: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunUpload:
    """
    An upload that has begun.

    Attributes:
        account_id: Who began it.
        algorithm_id: The algorithm that began it for the account; empty outside algorithms.
        owner_id: The account whose storage it fills.
        uri: Where the file is to be.
        size_bytes: How long it will be; None if its client did not know.
        part_bytes: Of each part but the last.
        result: Set once it is finished.
    """

    upload_id: str
    account_id: str
    algorithm_id: str
    owner_id: str
    uri: str
    demand: Condition
    size_bytes: int | None
    part_bytes: int
    created_at: datetime
    expires_at: datetime
    result: UploadResult | None = None

    def place_of(self, number: int) -> tuple[int, int, int]:
        """
        Return where a part begins in the file, and how short and how long it may be.

        Raises:
            InvalidInput: There can be no part of this number.
        """
        if not 1 <= number <= UPLOAD_PARTS_MAX:
            raise InvalidInput(f"parts are numbered from 1 to {UPLOAD_PARTS_MAX}")
        start = (number - 1) * self.part_bytes
        if self.size_bytes is None:
            return start, 0, self.part_bytes
        if start >= self.size_bytes and number > 1:
            count = parts_of(self.size_bytes, self.part_bytes)
            raise InvalidInput(
                f"a file of {self.size_bytes} bytes has {count} parts of {self.part_bytes} bytes"
            )
        length = min(self.part_bytes, self.size_bytes - start)
        return start, length, length

    def size_of(self, parts: Sequence["UploadPart"], *, count: int) -> int:
        """
        Return how long the file is that *parts* make.

        Args:
            parts: What has arrived, by number.
            count: How many parts the file has, as its client says.

        Raises:
            InvalidInput: Parts are missing, or have the wrong length.
        """
        if not 0 <= count <= UPLOAD_PARTS_MAX:
            raise InvalidInput(f"parts_count must be a number up to {UPLOAD_PARTS_MAX}")
        there = {part.number: part for part in parts}
        missing = [number for number in range(1, count + 1) if number not in there]
        if missing:
            shown = ", ".join(map(str, missing[:_SHOWN_PARTS_MAX]))
            more = ", ..." if len(missing) > _SHOWN_PARTS_MAX else ""
            raise InvalidInput(f"{len(missing)} of {count} parts are missing: {shown}{more}")
        if any(number > count for number in there):
            raise InvalidInput(f"there is a part {max(there)}, but parts_count is {count}")
        short = [n for n in range(1, count) if there[n].size_bytes != self.part_bytes]
        if short:
            raise InvalidInput(
                f"part {short[0]} is not the last one and has {there[short[0]].size_bytes} bytes "
                f"instead of {self.part_bytes}"
            )
        size_bytes = sum(part.size_bytes for part in parts)
        if self.size_bytes is not None and size_bytes != self.size_bytes:
            raise InvalidInput(f"the parts have {size_bytes} bytes instead of {self.size_bytes}")
        return size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPart:
    """A part that has arrived; its MD5 is hexadecimal."""

    upload_id: str
    number: int
    size_bytes: int
    md5: str


def part_bytes_for(size_bytes: int | None, wanted: int | None) -> int:
    """
    Return how long the parts of a file are to be.

    Args:
        size_bytes: Of the file, None if that is not known.
        wanted: As its client wants it, None if that does not matter.

    Raises:
        InvalidInput: Parts cannot be so short, or so long.
        TooLarge: The file would have too many parts.
    """
    if wanted is not None:
        if not UPLOAD_PART_BYTES_MIN <= wanted <= UPLOAD_PART_BYTES_MAX:
            raise InvalidInput(
                f"part_bytes must be between {UPLOAD_PART_BYTES_MIN} and {UPLOAD_PART_BYTES_MAX}"
            )
        part_bytes = wanted
    else:
        part_bytes = UPLOAD_PART_BYTES
        while size_bytes is not None and parts_of(size_bytes, part_bytes) > UPLOAD_PARTS_MAX:
            part_bytes *= 2
    too_long = part_bytes > UPLOAD_PART_BYTES_MAX
    if too_long or (size_bytes and parts_of(size_bytes, part_bytes) > UPLOAD_PARTS_MAX):
        raise TooLarge(
            f"a file of {size_bytes} bytes would have more than {UPLOAD_PARTS_MAX} parts"
        )
    return part_bytes


def parts_of(size_bytes: int, part_bytes: int) -> int:
    """Return how many parts a file has; an empty one has none."""
    return -(-size_bytes // part_bytes)
