"""
Hosted data: collections, files and who may read them.

Source: wire specification, "Special names", "ACLs".
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from algorium.wire.bodies import ReadAcl


class CollectionKind(StrEnum):
    """What a collection belongs to."""

    ACCOUNT = "account"
    TEMP = "temp"
    PERM = "perm"
    SESSION = "session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """
    A folder of hosted data.

    Attributes:
        owner_id: The account whose data it is; for special kinds the calling account.
        algorithm_id: For `TEMP` and `PERM` the algorithm, else empty.
        name: For `SESSION` the call tree's id, for `TEMP` and `PERM` the kind.
    """

    collection_id: str
    kind: CollectionKind
    owner_id: str
    algorithm_id: str = ""
    name: str
    acl: ReadAcl = ReadAcl.MY_ALGORITHMS
    created_at: datetime


IN_ROW_PREFIX: Final = "row-"
"""Keys of bytes that are part of their file's row begin so; those of blobs are hexadecimal."""


def is_in_row(blob: str) -> bool:
    """Whether the bytes that a file's key names are in its row."""
    return blob.startswith(IN_ROW_PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """
    A file: a row pointing at bytes.

    Attributes:
        blob: Key of the bytes; fresh for every upload, never reused. See `is_in_row`.
        md5: Hexadecimal digest of the bytes, for clients.
        checksum: 256-bit digest of the bytes, for ourselves: `blake3:<hexadecimal>`, or another
            kind if it was stored before that was used.
    """

    file_id: str
    collection_id: str
    name: str
    size_bytes: int
    blob: str
    md5: str
    checksum: str
    modified_at: datetime
