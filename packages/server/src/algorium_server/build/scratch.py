"""What foreign code wrote during a build: read once, bounded, and believed in nothing."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from algorium_runtime.schemas import SIGNATURE_FILE
from algorium_server.domain.algorithms import Signature
from algorium_server.domain.limits import MIB, SIGNATURE_CHARS_MAX
from algorium_server.domain.schemas import is_schema

_FILE_BYTES_MAX: Final = MIB

T = TypeVar("T")


class _Described(msgspec.Struct, frozen=True):
    input: msgspec.Raw = msgspec.Raw()
    output: msgspec.Raw = msgspec.Raw()


def read_json(path: Path, shape: type[T]) -> T | None:
    """Read JSON of *shape*; None if it is not there, or not what it should be."""
    with suppress(OSError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode) and status.st_size <= _FILE_BYTES_MAX:
                return msgspec.json.decode(file.read(_FILE_BYTES_MAX), type=shape)
    return None


def read_signature(directory: Path) -> Signature:
    """Read what the first import said about input and result, see `algorium_runtime.schemas`."""
    found = read_json(directory / SIGNATURE_FILE, _Described) or _Described()
    return Signature(input_schema=_text(found.input), output_schema=_text(found.output))


def _text(raw: msgspec.Raw) -> str:
    """Return a schema as one line of JSON; empty if it is none."""
    with suppress(msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        value = msgspec.json.decode(raw)
        if is_schema(value) and value:
            text = msgspec.json.encode(value).decode()
            if len(text) <= SIGNATURE_CHARS_MAX and "\\u0000" not in text:
                return text
    return ""
