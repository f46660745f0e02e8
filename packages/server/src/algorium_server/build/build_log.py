"""
The log of one build: without secrets, bounded, kept in memory and in a file that others follow.

    what is said ──decoded──> lines ──redacted──> head ──> tail
                                                   │        └── of the last bytes, when it ends
                                                   └── in the file at once

Beginning and end of a long log are kept and the gap between them is counted. The file holds the
beginning while the build runs, and gets the rest when it ends. It then is what the database keeps,
byte for byte, so a place in one is the same place in the other.

A server that is killed leaves the file. The next one, which builds the commit again, goes on in it:
whoever followed the first attempt reads on.

Lines are held back until they are whole: a password may come in two pieces. What is longer than a
line can be is cut where no address of a package index and no known secret can be cut in two.

Whoever says gigabytes must not keep the server busy. So once the beginning is full, bytes are only
moved to and fro, and what is left of them at the end is decoded and redacted then.
"""

import codecs
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from algorium_server.domain.limits import BUILD_LINE_BYTES_MAX, BUILD_LOG_BYTES_MAX

_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s@]+@")
_BEGUN_CREDENTIALS: Final = re.compile(r"://[^/\s@]*\Z")
_HIDDEN: Final = "***"
_SECRET_CHARS_MIN: Final = 4
"""Shorter ones are in every other word, and hide nothing."""
_HELD_CHARS: Final = 4096
"""Kept back of a line without an end; no password is longer."""
_RESTARTED: Final = "\nThe server was restarted; the build begins again\n"


class BuildLog:
    """
    What a build says.

    Args:
        path: The file for those who follow; none if nobody can.
        bytes_max: Kept of it; the note in the gap comes on top.

    Attributes:
        was_begun: An earlier attempt has said something already.
    """

    def __init__(self, path: Path | None = None, *, bytes_max: int = BUILD_LOG_BYTES_MAX) -> None:
        self._head_bytes_max = bytes_max // 2
        self._tail_bytes_max = bytes_max - self._head_bytes_max
        self._head = bytearray()
        self._tail = bytearray()
        self._is_full = False
        self._dropped_bytes = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""
        self._secrets: tuple[str, ...] = ()
        self._text: str | None = None
        self._path = path
        self._file = -1
        if path is not None:
            self._begin(path)
        self.was_begun = bool(self._head)
        if self.was_begun:
            self._keep(_RESTARTED)

    def hide(self, secrets: Iterable[str]) -> None:
        """Keep further secrets out of what is said from now on."""
        found = {*self._secrets, *(each for each in secrets if len(each) >= _SECRET_CHARS_MIN)}
        self._secrets = tuple(sorted(found, key=len, reverse=True))

    def redacted(self, text: str) -> str:
        """Return *text* as it may be shown: without what is hidden, and without NUL."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        # PostgreSQL stores no NUL, and addresses of package indexes may hold a password.
        return _CREDENTIALS.sub(f"{_HIDDEN}@", text).replace("\0", "\ufffd")

    def append(self, data: bytes) -> None:
        """Take the next bytes that a tool says; quick, however many come."""
        if self._is_full:
            self._pile_up(data)
            return
        self._line += self._decoder.decode(data)
        end = self._line.rfind("\n") + 1
        if end:
            self._keep(self.redacted(self._line[:end]))
            self._line = self._line[end:]
        if len(self._line) > BUILD_LINE_BYTES_MAX:
            self._cut()
        if self._is_full:
            self._pile_up(self._line.encode() + self._decoder.getstate()[0])
            self._decoder.reset()
            self._line = ""

    def say(self, line: str) -> None:
        """Add a line of our own."""
        self.flush()
        self.append(f"{line}\n".encode("utf-8", "replace"))

    def flush(self) -> None:
        """Take an unfinished line for finished: whoever said it has ended."""
        if self._tail and not self._tail.endswith(b"\n"):
            self._pile_up(b"\n")
        rest = self._line + self._decoder.decode(b"", final=True)
        self._decoder.reset()
        self._line = ""
        if rest:
            self._keep(self.redacted(rest) + "\n")

    def text(self) -> str:
        """Return what was kept, with a note where something is missing."""
        self.flush()
        self._trim()
        tail, gap = bytes(self._tail), ""
        if self._dropped_bytes:
            # What is left may begin in the middle of a line, and that of a password.
            start = tail.find(b"\n") + 1 or min(_HELD_CHARS, len(tail))
            dropped_bytes = self._dropped_bytes + start
            gap = f"\n[... {dropped_bytes} bytes of output left out ...]\n"
            tail = tail[start:]
        # Bytes that are no text take three times the room as signs that say so.
        rest = self.redacted(tail.decode("utf-8", "replace")).encode()[-self._tail_bytes_max :]
        return self._head.decode() + gap + rest.decode("utf-8", "ignore")

    def finish(self) -> str:
        """Write what followers have not seen yet, close the file, and return all that was kept."""
        if self._text is None:
            self._text = self.text()
            self._write(self._text.encode()[len(self._head) :])
            self.close()
        return self._text

    def close(self) -> None:
        """Close the file as it is: another server goes on. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def remove(self) -> None:
        """Remove the file: what it held is in the database, or nobody is to see it."""
        self.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _begin(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND, 0o600)
        earlier = os.pread(self._file, self._head_bytes_max, 0)
        self._head += _to_a_character(earlier.decode("utf-8", "replace").encode(), len(earlier))
        if bytes(self._head) != earlier or os.fstat(self._file).st_size != len(earlier):
            os.ftruncate(self._file, 0)  # it was cut in the middle of something
            self._write(bytes(self._head))

    def _cut(self) -> None:
        # What is known is replaced first: only a secret that is not whole yet can be cut then.
        line = self.redacted(self._line)
        end = max(len(line) - _HELD_CHARS, 0)
        if (begun := _BEGUN_CREDENTIALS.search(line, max(end - _HELD_CHARS, 0), end)) is not None:
            end = begun.start()
        self._keep(line[:end])
        self._line = line[end:]

    def _keep(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        if not self._is_full:
            room = self._head_bytes_max - len(self._head)
            fitting = _to_a_character(data, room)
            self._head += fitting
            self._write(fitting)
            data = data[len(fitting) :]
            self._is_full = bool(data) or len(fitting) == room
        self._pile_up(data)

    def _pile_up(self, data: bytes) -> None:
        self._tail += data
        # Cut when it has doubled, not for every piece: most pieces are short lines.
        if len(self._tail) > 2 * self._tail_bytes_max:
            self._trim()

    def _trim(self) -> None:
        excess = max(0, len(self._tail) - self._tail_bytes_max)
        self._dropped_bytes += excess
        del self._tail[:excess]

    def _write(self, data: bytes) -> None:
        # A full disk stops the build where it needs room, not where it says so.
        while data and self._file >= 0:
            try:
                data = data[os.write(self._file, data) :]
            except OSError:
                self.close()


def _to_a_character(data: bytes, bytes_max: int) -> bytes:
    """Return the beginning of UTF-8 text, up to the end of a character."""
    end = min(bytes_max, len(data))
    while 0 < end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1
    return data[:end]
