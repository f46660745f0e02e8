"""
A source tree in one memory file: packed by the server, unpacked in a slot.

Where a slot cannot see the host's files, not even for a moment, the tree comes to it like this.

    8 bytes       length of the index, little-endian
    the index     JSON: [kind, path, mode, size | destination] for each entry, parents first
    the contents  of all files, one behind the other

The file is sealed: whoever gets a descriptor can read it and nothing else, so that one archive
serves any number of slots. Standard library only, Python 3.8+.

Source: memfd_create(2), fcntl(2), "File Sealing".
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import struct
from typing import Iterator, Tuple

_LENGTH = struct.Struct("<Q")
_SEALS = 0x1 | 0x2 | 0x4 | 0x8
"""F_SEAL_SEAL, _SHRINK, _GROW and _WRITE."""
_F_ADD_SEALS = 1033
_PIECE_BYTES = 1 << 24

_Entry = Tuple[str, str, int, "int | str"]


class TooLarge(ValueError):
    """A tree is not worth packing; the text says why."""


def pack(directory: str, *, bytes_max: int, entries_max: int) -> int:
    """
    Return a descriptor of an archive of *directory*: its directories, files and symbolic links.

    Raises:
        TooLarge: It has more bytes or entries than wanted.
        OSError: It cannot be read.
    """
    entries: list[_Entry] = []
    used = 0
    for entry in _walk(directory, ""):
        entries.append(entry)
        used += entry[3] if isinstance(entry[3], int) else 0
        if used > bytes_max:
            raise TooLarge(f"the source has more than {bytes_max} bytes")
        if len(entries) > entries_max:
            raise TooLarge(f"the source has more than {entries_max} files")
    index = json.dumps(entries).encode()
    packed = os.memfd_create("source", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        os.write(packed, _LENGTH.pack(len(index)))
        _write_all(packed, index)
        for kind, path, _, size in entries:
            if kind == "file" and isinstance(size, int):
                _append(packed, os.path.join(directory, path), size)
        fcntl.fcntl(packed, _F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(packed)
        raise
    return packed


def unpack(packed: int, target: str) -> None:
    """Put what is in an archive below the directory *target*, which is there and empty."""
    (length,) = _LENGTH.unpack(os.pread(packed, _LENGTH.size, 0))
    at = _LENGTH.size + length
    for kind, name, mode, rest in json.loads(os.pread(packed, length, _LENGTH.size)):
        path = os.path.join(target, name)
        if kind == "directory":
            os.mkdir(path, mode)
        elif kind == "link":
            os.symlink(rest, path)
        else:
            writer = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            end = at + rest
            while at < end:
                at += os.sendfile(writer, packed, at, min(end - at, _PIECE_BYTES))
            os.close(writer)


def _walk(directory: str, prefix: str) -> Iterator[_Entry]:
    """Yield what lies below; anything but these three kinds has no place in a source tree."""
    with os.scandir(directory) as found:
        for entry in found:
            path = prefix + entry.name
            if entry.is_symlink():
                yield "link", path, 0, os.readlink(entry.path)
            elif entry.is_dir():
                yield "directory", path, 0o755, 0
                yield from _walk(entry.path, f"{path}/")
            elif entry.is_file():
                status = entry.stat(follow_symlinks=False)
                mode = stat.S_IMODE(status.st_mode) | stat.S_IRUSR | stat.S_IWUSR
                yield "file", path, mode, status.st_size


def _append(packed: int, path: str, size: int) -> None:
    reader = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        at = 0
        while at < size:
            copied = os.sendfile(packed, reader, at, min(size - at, _PIECE_BYTES))
            if not copied:
                raise OSError(f"{path} became shorter while it was read")
            at += copied
    finally:
        os.close(reader)


def _write_all(fd: int, data: bytes) -> None:
    at = 0
    while at < len(data):
        at += os.write(fd, data[at:])
