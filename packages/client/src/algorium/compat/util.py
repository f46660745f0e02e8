"""Paths and checksums."""

import hashlib
import os
import re
from typing import Final

_SCHEME: Final = re.compile(r"([^:]+://)(/?)(.+)")


def getParentAndBase(path: str) -> tuple[str, str]:  # noqa: N802 - the old client's
    """
    Split a path, or a URI, before its last segment.

    Raises:
        ValueError: It has only one.
    """
    if found := _SCHEME.match(path):
        scheme, slash, rest = found.groups()
        parent, _, base = rest.rpartition("/")
        return f"{scheme}{slash}{parent}", base
    parent, slash, base = path.removesuffix("/").rpartition("/")
    if not slash or not base:
        raise ValueError("Invalid path")
    return parent, base


def pathJoin(parent: str, base: str) -> str:  # noqa: N802 - the old client's
    """Return the path of something in a directory."""
    return f"{parent.removesuffix('/')}/{base}"


def md5_for_file(fname: str | os.PathLike[str]) -> str:
    """Return the MD5 of a file, hexadecimal."""
    with open(fname, "rb") as file:
        return hashlib.file_digest(file, _md5).hexdigest()


def md5_for_str(content: str) -> str:
    """Return the MD5 of a text, hexadecimal."""
    return hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)
