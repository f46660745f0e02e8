"""
Output of exactly one call.

Theory of operation: both pipes of a slot are always being read, so that a chatty algorithm never
blocks on a full pipe. What arrives goes to the log of the call in flight. A pipe write is visible
to the reader at once; reading both pipes until they are empty when the result arrives therefore
yields everything that was written before the result, child processes included. What arrives
between two calls belongs to neither and goes to the slot's own log.

Source: runtime design, "Output capture".
"""

import asyncio
import os
import select
from collections import deque
from typing import Final

from algorium_server.domain.limits import STDOUT_BYTES_MAX

_READ_BYTES: Final = 65_536
_DRAIN_BYTES_MAX: Final = 4 * 1024 * 1024
"""A process that prints for ever from another thread must not hold up the answer."""

STDOUT: Final = 0
STDERR: Final = 1


class CallLog:
    """
    What one call printed: head and tail of it when it is long.

    Both streams are merged by lines, in the order in which their lines were completed.
    """

    def __init__(self, bytes_max: int = STDOUT_BYTES_MAX) -> None:
        self._head_bytes_max = bytes_max // 2
        self._tail_bytes_max = bytes_max - self._head_bytes_max
        self._head: list[bytes] = []
        self._head_bytes = 0
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._dropped_bytes = 0
        self._partial = [b"", b""]

    def append(self, stream: int, data: bytes) -> None:
        """Take what arrived on *stream* (`STDOUT` or `STDERR`)."""
        cut = data.rfind(b"\n") + 1
        partial = self._partial[stream]
        if cut == 0 and len(partial) + len(data) <= _READ_BYTES:
            self._partial[stream] = partial + data
            return
        cut = cut or len(data)
        self._keep(partial + data[:cut])
        self._partial[stream] = data[cut:]

    def text(self) -> str:
        """Return everything kept, as text; undecodable bytes are shown as U+FFFD."""
        for stream in (STDOUT, STDERR):
            if self._partial[stream]:
                self._keep(self._partial[stream])
                self._partial[stream] = b""
        if not self._head:
            return ""
        parts = list(self._head)
        if self._dropped_bytes:
            parts.append(b"\n[... %d bytes of output left out ...]\n" % self._dropped_bytes)
        parts.extend(self._tail)
        return b"".join(parts).decode("utf-8", "replace")

    def _keep(self, data: bytes) -> None:
        room = self._head_bytes_max - self._head_bytes
        if room > 0:
            self._head.append(data[:room])
            self._head_bytes += min(room, len(data))
            data = data[room:]
        if not data:
            return
        self._tail.append(data)
        self._tail_bytes += len(data)
        while self._tail_bytes - len(self._tail[0]) >= self._tail_bytes_max:
            dropped = self._tail.popleft()
            self._tail_bytes -= len(dropped)
            self._dropped_bytes += len(dropped)
        excess = self._tail_bytes - self._tail_bytes_max
        if excess > 0:
            self._tail[0] = self._tail[0][excess:]
            self._tail_bytes -= excess
            self._dropped_bytes += excess


class Capture:
    """
    Reads both pipes of a slot and hands what arrives to the current log.

    Owns the two descriptors: they are closed at their end of file or by `close`.
    """

    def __init__(self, stdout_fd: int, stderr_fd: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._fds: dict[int, int] = {stdout_fd: STDOUT, stderr_fd: STDERR}
        self._log = CallLog()
        self.slot_log = self._log
        self._ready = select.poll()
        for fd, stream in self._fds.items():
            self._loop.add_reader(fd, self._on_readable, fd, stream)
            self._ready.register(fd, select.POLLIN)

    def begin(self) -> None:
        """Open the log of a call; what is still in the pipes is not the call's."""
        self.drain()
        self._log = CallLog()

    def end(self) -> str:
        """Close the log of the call and return its text."""
        self.drain()
        log, self._log = self._log, self.slot_log
        return log.text()

    def drain(self) -> None:
        """Read both pipes until they are empty; costs one system call when they are already."""
        budget = _DRAIN_BYTES_MAX
        while budget > 0 and (ready := self._ready.poll(0)):
            for fd, _ in ready:
                budget -= self._read(fd, self._fds[fd])

    def close(self) -> None:
        """Stop reading; idempotent."""
        for fd in tuple(self._fds):
            self._forget(fd)

    def _on_readable(self, fd: int, stream: int) -> None:
        self._read(fd, stream)

    def _read(self, fd: int, stream: int) -> int:
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self._forget(fd)
            return 0
        self._log.append(stream, data)
        return len(data)

    def _forget(self, fd: int) -> None:
        if self._fds.pop(fd, None) is not None:
            self._loop.remove_reader(fd)
            self._ready.unregister(fd)
            os.close(fd)
