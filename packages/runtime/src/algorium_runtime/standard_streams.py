"""
The worker's end of the slot protocol on standard input and output: on an author's own machine.

An inherited socket is a matter of Unix; two pipes are there on every system. Frames take over
descriptors 0 and 1. What the author's code prints goes to descriptor 2, both streams together, and
before each answer a mark: whoever reads both pipes knows by it that nothing of the call is missing.

Standard library only, Python 3.8+.
"""

from __future__ import annotations

import os
import sys
from typing import Any, BinaryIO, Callable

from algorium_runtime import frames

BODY_BYTES_MAX = 64 * 1024 * 1024
"""See `connection`."""


def mark_of(nonce: str) -> bytes:
    """Return what stands in the output where a call ends; nobody prints it by accident."""
    return b"\x00%s\x00" % nonce.encode("ascii")


class StandardStreams:
    """
    The worker's end of the slot protocol: blocking, on standard input and output.

    From here on, standard input is empty, and standard output is standard error.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        incoming, outgoing = os.dup(0), os.dup(1)  # not inherited by what the algorithm starts
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        os.close(empty)
        os.dup2(2, 1)
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 - there is none elsewhere

            for descriptor in (incoming, outgoing):
                msvcrt.setmode(descriptor, os.O_BINARY)
        self._incoming: BinaryIO = os.fdopen(incoming, "rb", buffering=-1)
        self._outgoing: BinaryIO = os.fdopen(outgoing, "wb", buffering=0)
        self._owner_pid = os.getpid()
        if hasattr(os, "register_at_fork"):
            # A stray child must not hold the stream open: its end tells that the process is gone.
            os.register_at_fork(after_in_child=self._close)

    def _close(self) -> None:
        self._outgoing.close()
        os.close(self._incoming.fileno())

    def receive(self) -> frames.Frame | None:
        """
        Wait for the next frame; None at the end of the stream.

        Raises:
            frames.ProtocolError: The stream is out of step.
        """
        data = self._incoming.read(frames.PREFIX.size)
        if len(data) < frames.PREFIX.size:
            return None
        prefix = frames.decode_prefix(
            data, header_len_max=frames.HEADER_BYTES_MAX, body_len_max=BODY_BYTES_MAX
        )
        header = self._incoming.read(prefix.header_len)
        body = self._incoming.read(prefix.body_len)
        if len(header) + len(body) < prefix.header_len + prefix.body_len:
            return None
        return frames.Frame(prefix.type, frames.decode_header(header), body)

    def send(self, frame_type: int, header: dict[str, Any], body: bytes = b"") -> None:
        """Send one frame; in a forked child end the process instead."""
        self.send_encoded(frames.encode_head(frame_type, header, len(body)), body)

    def send_encoded(self, head: bytes, body: bytes) -> None:
        """Send one frame, all of which but the body is encoded already."""
        if os.getpid() != self._owner_pid:
            os._exit(0)
        left = memoryview(head + body)
        while left:
            left = left[self._outgoing.write(left) :]


def marking(flush: Callable[[], None], nonce: str) -> Callable[[], None]:
    """Return a function that flushes, and then says in the output that it has."""
    mark = mark_of(nonce)

    def flush_and_mark() -> None:
        flush()
        os.write(2, mark)

    return flush_and_mark
