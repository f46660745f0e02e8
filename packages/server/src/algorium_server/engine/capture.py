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
from collections.abc import Callable
from functools import partial
from typing import Final

from algorium_server.domain.excerpts import Excerpt
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
        self._kept = Excerpt(bytes_max)
        self._partial = [b"", b""]

    def append(self, stream: int, data: bytes) -> None:
        """Take what arrived on *stream* (`STDOUT` or `STDERR`)."""
        cut = data.rfind(b"\n") + 1
        begun = self._partial[stream]
        if cut == 0 and len(begun) + len(data) <= _READ_BYTES:
            self._partial[stream] = begun + data
            return
        cut = cut or len(data)
        self._kept.append(begun + data[:cut])
        self._partial[stream] = data[cut:]

    def text(self) -> str:
        """Return everything kept, as text; undecodable bytes are shown as U+FFFD."""
        for stream in (STDOUT, STDERR):
            if self._partial[stream]:
                self._kept.append(self._partial[stream])
                self._partial[stream] = b""
        return self._kept.content().decode("utf-8", "replace")


class Pipe:
    """
    One output pipe of a sandbox, always being read.

    Owns the descriptor: it is closed at its end of file or by `close`.

    Args:
        fd: Its read end, non-blocking.
        on_data: Gets what arrives.
        on_end: Told once, right before the descriptor is closed.
    """

    def __init__(
        self, fd: int, on_data: Callable[[bytes], None], *, on_end: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._on_data = on_data
        self._on_end = on_end
        self._is_open = True
        self._loop.add_reader(fd, self.read)

    def read(self) -> int:
        """Take what is there now, or a large piece of it, and return how many bytes that is."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if data:
            self._on_data(data)
        else:
            self.close()
        return len(data)

    def close(self) -> None:
        """Stop reading; idempotent."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._fd)
            self._on_end()
            os.close(self._fd)


class Capture:
    """
    Reads both pipes of a slot and hands what arrives to the current log.

    Owns the two descriptors: they are closed at their end of file or by `close`.

    Attributes:
        is_handed_on: The next call follows in the same moment: what was read at the end of the one
            before is all that there is.
    """

    def __init__(self, stdout_fd: int, stderr_fd: int) -> None:
        self.slot_log = CallLog()
        self._call_log: CallLog | None = None
        self._is_in_call = False
        self.is_handed_on = False
        self._was_emptied = False
        self._ready = select.poll()
        self._pipes: dict[int, Pipe] = {}
        for stream, fd in ((STDOUT, stdout_fd), (STDERR, stderr_fd)):
            self._ready.register(fd, select.POLLIN)
            self._pipes[fd] = Pipe(
                fd, partial(self._append, stream), on_end=partial(self._forget, fd)
            )

    def begin(self) -> None:
        """Open the log of a call; what is still in the pipes is not the call's."""
        if not (self.is_handed_on and self._was_emptied):
            self.drain()
        self._is_in_call = True

    def end(self) -> str:
        """Close the log of the call and return its text."""
        self._was_emptied = self.drain()
        self._is_in_call = False
        log, self._call_log = self._call_log, None
        return log.text() if log is not None else ""

    def drain(self) -> bool:
        """
        Read both pipes until they are empty; costs one system call when they are already.

        Returns:
            Whether they are; False if somebody prints faster than is read.
        """
        budget = _DRAIN_BYTES_MAX
        while budget > 0:
            ready = self._ready.poll(0)
            if not ready:
                return True
            for fd, _ in ready:
                budget -= self._pipes[fd].read()
        return False

    def close(self) -> None:
        """Stop reading; idempotent."""
        for pipe in tuple(self._pipes.values()):
            pipe.close()

    def _append(self, stream: int, data: bytes) -> None:
        log = self.slot_log
        if self._is_in_call:
            if self._call_log is None:  # made when something is printed: most calls are silent
                self._call_log = CallLog()
            log = self._call_log
        log.append(stream, data)

    def _forget(self, fd: int) -> None:
        del self._pipes[fd]
        self._ready.unregister(fd)
