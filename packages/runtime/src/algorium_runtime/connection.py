"""The worker's end of the slot protocol on its inherited socket: blocking, nothing read ahead."""

from __future__ import annotations

import os
import socket
from typing import Any

from algorium_runtime import frames

BODY_BYTES_MAX = 64 * 1024 * 1024
"""Inputs are limited far below this; it only keeps a broken stream from taking all memory."""
SMALL_BODY_BYTES_MAX = 64 * 1024
"""Up to here copying the body behind its header is cheaper than handing the system two pieces."""


class Connection:
    """
    The worker's end of the slot protocol: blocking, on an inherited descriptor.

    Children neither inherit the descriptor over `exec` nor keep it after `fork`: a stray child
    must not hold the stream open, let alone write to it.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(True)
        self._owner_pid = os.getpid()
        os.register_at_fork(after_in_child=self._socket.close)

    def receive(self) -> frames.Frame | None:
        """
        Wait for the next frame; None at the end of the stream.

        Raises:
            frames.ProtocolError: The stream is out of step.
        """
        data = self._read(frames.PREFIX.size)
        if data is None:
            return None
        prefix = frames.decode_prefix(
            data, header_len_max=frames.HEADER_BYTES_MAX, body_len_max=BODY_BYTES_MAX
        )
        header = self._read(prefix.header_len)
        body = self._read(prefix.body_len)
        if header is None or body is None:
            return None
        return frames.Frame(prefix.type, frames.decode_header(header), body)

    def send(self, frame_type: int, header: dict[str, Any], body: bytes = b"") -> None:
        """Send one frame; in a forked child end the process instead."""
        if os.getpid() != self._owner_pid:
            os._exit(0)
        head = frames.encode_head(frame_type, header, len(body))
        if len(body) <= SMALL_BODY_BYTES_MAX:
            self._socket.sendall(head + body)
            return
        sent = self._socket.sendmsg([head, body])
        if sent < len(head):
            self._socket.sendall(head[sent:])
            sent = len(head)
        self._socket.sendall(memoryview(body)[sent - len(head) :])

    def _read(self, length: int) -> bytes | None:
        """
        Return exactly *length* bytes, or None if the stream ends first.

        One system call fills one fresh bytes object, so that even the largest input is never
        copied: faster than reading ahead into a buffer, also for small frames.
        """
        data = self._socket.recv(length, socket.MSG_WAITALL) if length else b""
        if len(data) == length:
            return data
        chunks = [data]  # a signal cut the call short, or the stream ended
        missing = length - len(data)
        while chunks[-1] and missing:
            chunks.append(self._socket.recv(missing, socket.MSG_WAITALL))
            missing -= len(chunks[-1])
        return None if missing else b"".join(chunks)
