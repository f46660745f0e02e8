"""
Hosted data: collections, files, their special names and who may read them.

Source: wire specification, "Data URI grammar", "Special names", "ACLs".
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import COLLECTION_NAME_CHARS_MAX, FILE_NAME_BYTES_MAX

_COLLECTION_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")


class ReadAcl(StrEnum):
    """Who may read a collection beside its owner."""

    PRIVATE = "private"
    MY_ALGORITHMS = "my_algorithms"
    PUBLIC = "public"

    @property
    def entries(self) -> list[str]:
        """The wire's list."""
        return {
            ReadAcl.PRIVATE: [],
            ReadAcl.MY_ALGORITHMS: ["algo://.my/*"],
            ReadAcl.PUBLIC: ["user://*"],
        }[self]

    @classmethod
    def of_entries(cls, entries: list[str] | None) -> "ReadAcl":
        """
        Read the wire's list; None means the default.

        Raises:
            InvalidInput: The list is none of the three known ones.
        """
        if entries is None:
            return cls.MY_ALGORITHMS
        for acl in cls:
            if acl.entries == entries:
                return acl
        raise InvalidInput('acl.read must be [], ["algo://.my/*"] or ["user://*"]')


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


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """
    A file: a row pointing at bytes.

    Attributes:
        blob: Key of the bytes; fresh for every upload, never reused.
        md5: Hexadecimal digest of the bytes, for clients.
        blake2b: Hexadecimal 256-bit digest of the bytes, for ourselves.
    """

    file_id: str
    collection_id: str
    name: str
    size_bytes: int
    blob: str
    md5: str
    blake2b: str
    modified_at: datetime


def check_collection_name(name: str) -> str:
    """
    Return *name* if a collection may be called so.

    Raises:
        InvalidInput: Too long, or not a letter followed by letters, digits and underscores.
    """
    if len(name) > COLLECTION_NAME_CHARS_MAX or not _COLLECTION_NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} cannot be a directory name: use a letter, then letters, digits and "
            f"underscores, {COLLECTION_NAME_CHARS_MAX} characters at most"
        )
    return name


def check_file_name(name: str) -> str:
    """
    Return *name* if a file may be called so.

    Raises:
        InvalidInput: Empty, too long, `.`, `..`, or with a slash or NUL in it.
    """
    if (
        name in {"", ".", ".."}
        or "/" in name
        or "\0" in name
        or len(name.encode("utf-8", "surrogatepass")) > FILE_NAME_BYTES_MAX
        or any("\ud800" <= character <= "\udfff" for character in name)
    ):
        raise InvalidInput(f"{name!r} cannot be a file name")
    return name
