"""
Digests of stored bytes: MD5, which clients are told, and the checksum by which damage is found.

A checksum says by what it was made: `blake3:<64 hexadecimal digits>`. So the kind for new files may
change, and those that were stored before keep theirs and can still be compared.

Source: decision 0003.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

from blake3 import blake3


class _Hash(Protocol):
    def update(self, data: bytes | bytearray, /) -> object: ...
    def hexdigest(self) -> str: ...


_NEW: Final = "blake3"
"""BLAKE3 takes a tenth of the processor time of MD5; hashlib has nothing that comes near."""
_MAKERS: Final[Mapping[str, Callable[[], _Hash]]] = {
    _NEW: blake3,
    "blake2b": partial(hashlib.blake2b, digest_size=32),
}


class UnknownChecksum(Exception):
    """A stored checksum was made by something that is not known here."""


class Checksum:
    """
    A checksum of bytes as they pass.

    Args:
        kind: By what it is made.

    Raises:
        UnknownChecksum: There is no such kind.
    """

    def __init__(self, kind: str = _NEW) -> None:
        make = _MAKERS.get(kind)
        if make is None:
            raise UnknownChecksum(kind)
        self._kind = kind
        self._hash = make()

    @classmethod
    def like(cls, stored: str) -> "Checksum":
        """
        Begin one that can be compared with *stored*.

        Raises:
            UnknownChecksum: It was made by something that is not known here.
        """
        return cls(stored.partition(":")[0])

    def update(self, data: bytes | bytearray) -> None:
        """Go on with *data*."""
        self._hash.update(data)

    def __str__(self) -> str:
        return f"{self._kind}:{self._hash.hexdigest()}"


class Digests:
    """
    Both digests of bytes as they pass.

    MD5 takes most of the time; whoever has a thread to spare gives each its own.
    """

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._checksum = Checksum()

    def update(self, data: bytes | bytearray) -> None:
        """Go on with *data*."""
        self.update_md5(data)
        self.update_checksum(data)

    def update_md5(self, data: bytes | bytearray) -> None:
        """Go on with *data*, without the checksum."""
        self._md5.update(data)

    def update_checksum(self, data: bytes | bytearray) -> None:
        """Go on with *data*, without MD5."""
        self._checksum.update(data)

    @property
    def md5(self) -> str:
        """MD5 of what has passed, hexadecimal."""
        return self._md5.hexdigest()

    @property
    def checksum(self) -> str:
        """Checksum of what has passed."""
        return str(self._checksum)
