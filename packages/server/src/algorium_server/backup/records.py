"""
What a backup says of itself and of every file in it.

    header     the first file: format, versions, what was left out
    files      of the home directory, in the order in which they were copied
    manifest   the last file: a line of JSON for each of them, with its BLAKE3; then the sum

A backup without its manifest, or with one that does not end with the sum, is not whole.

Directories and links count as files here. A path is relative, with slashes, and never leads out;
links are made after everything else, so nothing is ever written through one.
"""

import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, Final, Literal
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec
from blake3 import blake3
from msgspec import structs

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import BACKUP_MANIFEST_LINE_BYTES_MAX

FORMAT: Final = 1
HEADER_NAME: Final = "algorium-backup.json"
MANIFEST_NAME: Final = "manifest.jsonl"
FILES_DIR: Final = "home"
"""Where the files of the home directory are in a backup."""
_MODE: Final = 0o777
_PLAIN: Final = "/ !#$&'()*+,;:=@[]{}^"
"""What is not quoted in paths, beside letters and digits."""
_SUM_START: Final = b'{"entries":'

Kind = Literal["file", "directory", "link"]


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """
    What stands at the beginning.

    Attributes:
        version: Of the release that made it.
        schema: Revision of the database in it.
        made_at: When, ISO 8601.
        database: Form of the copy of the database: `sqlite`, or `postgresql` for a `pg_dump`.
        left_out: What is not in it, in words.
        storage: Where larger files are, if not in it.
    """

    format: int
    version: str
    schema: str
    made_at: str
    database: Literal["sqlite", "postgresql"]
    left_out: tuple[str, ...] = ()
    storage: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    A line of the manifest.

    Attributes:
        path: In the home directory.
        digest: BLAKE3 of a file's bytes, hexadecimal.
        target: Of a link.
    """

    path: str
    kind: Kind = "file"
    mode: int = 0o600
    mtime_ns: int = 0
    size: int = 0
    digest: str = ""
    target: str = ""


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """The last line: how many lines come before it, and the BLAKE3 of those."""

    entries: int
    bytes: int
    digest: str


_encode = msgspec.json.Encoder().encode
_entry = msgspec.json.Decoder(Entry).decode
_sum = msgspec.json.Decoder(Sum).decode
_header = msgspec.json.Decoder(Header).decode


def encode_line(value: Header | Entry | Sum) -> bytes:
    """Return a line, with its end."""
    if isinstance(value, Entry):
        value = structs.replace(value, path=quoted(value.path), target=quoted(value.target))
    return _encode(value) + b"\n"


def quoted(path: str) -> str:
    """Return a path as text, whatever bytes authors have put into the names of their files."""
    return quote_from_bytes(os.fsencode(path), safe=_PLAIN)


def unquoted(text: str) -> str:
    """Return what was quoted."""
    return os.fsdecode(unquote_to_bytes(text))


def decode_header(text: bytes) -> Header:
    """
    Read a header.

    Raises:
        InvalidInput: It is none, or one of a newer format.
    """
    try:
        header = _header(text)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"this is no backup of Algorium: {HEADER_NAME}: {error}") from None
    if header.format != FORMAT:
        raise InvalidInput(
            f"the backup was made by Algorium {header.version}, whose backups this release cannot"
            " read: restore it with that release"
        )
    return header


def entries(manifest: BinaryIO) -> Iterator[Entry]:
    """
    Yield what a manifest names; when it ends, it was whole.

    Raises:
        InvalidInput: It is damaged or cut off, or one of its paths leads out of the home directory.
    """
    digest, count, size = blake3(), 0, 0
    while line := manifest.readline(BACKUP_MANIFEST_LINE_BYTES_MAX):
        if line.startswith(_SUM_START):
            if _read_sum(line) != Sum(entries=count, bytes=size, digest=digest.hexdigest()):
                raise InvalidInput("the manifest of the backup is damaged: its sum is another one")
            return
        entry = _read_entry(line)
        digest.update(line)
        count += 1
        size += entry.size
        yield entry
    raise InvalidInput("the backup is not whole: its manifest does not end")


def _read_entry(line: bytes) -> Entry:
    try:
        entry = _entry(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the manifest of the backup is damaged: {error}") from None
    entry = structs.replace(entry, path=unquoted(entry.path), target=unquoted(entry.target))
    check_path(entry.path)
    if entry.mode & ~_MODE:
        raise InvalidInput(f"the backup gives {entry.path!r} a mode that files here do not have")
    if entry.kind == "link" and "/" not in entry.path:
        # Whoever makes a backup follows those. The server, too, and would write what is there.
        raise InvalidInput(f"the backup has a link in place of {entry.path!r}")
    return entry


def _read_sum(line: bytes) -> Sum:
    try:
        return _sum(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidInput("the backup is not whole: its manifest does not end") from None


def check_path(path: str) -> str:
    """
    Return *path* if it stays below the home directory.

    Raises:
        InvalidInput: It does not.
    """
    parts = PurePosixPath(path).parts
    is_plain = parts and "/".join(parts) == path and not {"..", "/", "."} & set(parts)
    if not is_plain or "\0" in path:
        raise InvalidInput(f"the backup names a path that leads elsewhere: {path[:100]!r}")
    return path
