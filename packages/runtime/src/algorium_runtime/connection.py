"""The worker's end of the slot protocol on its inherited socket: blocking."""

from __future__ import annotations

import os
import select
import socket
from typing import Any

from algorium_runtime import frames

SMALL_FRAME_BYTES = 16 * 1024
"""Read at once: most calls need one system call, large bodies one more copy of this much."""
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
        self._arrived = select.poll()
        self._arrived.register(descriptor, select.POLLIN)
        self._ahead = b""
        os.register_at_fork(after_in_child=self._socket.close)

    def receive(self) -> frames.Frame | None:
        """
        Wait for the next frame; None at the end of the stream.

        Raises:
            frames.ProtocolError: The stream is out of step.
        """
        prefix_bytes = frames.PREFIX.size
        if not self._ahead:
            # Not in `recv`: the kernel would wake this process a second time, for nothing, when
            # the platform has read the answer and there is room for another one.
            self._arrived.poll()
            data = self._socket.recv(SMALL_FRAME_BYTES)
            only = frames.only_frame(data, len(data))
            if only is not None:  # nearly always
                frame_type, body_at = only
                header = frames.decode_header(data[prefix_bytes:body_at])
                return frames.Frame(frame_type, header, data[body_at:])
            self._ahead = data
        taken = self._take(prefix_bytes)
        if taken is None:
            return None
        data = taken
        prefix = frames.decode_prefix(
            data[:prefix_bytes],
            header_len_max=frames.HEADER_BYTES_MAX,
            body_len_max=BODY_BYTES_MAX,
        )
        body_at = prefix_bytes + prefix.header_len
        end = body_at + prefix.body_len
        if len(data) < body_at:
            rest = self._read(body_at - len(data))
            if rest is None:
                return None
            data += rest
        if len(data) >= end:  # a small frame: one system call, and usually nothing behind it
            body, self._ahead = data[body_at:end], data[end:]
        else:
            rest = self._read(end - len(data))
            if rest is None:
                return None
            body = data[body_at:] + rest
        header = frames.decode_header(data[prefix_bytes:body_at])
        return frames.Frame(prefix.type, header, body)

    def send(self, frame_type: int, header: dict[str, Any], body: bytes = b"") -> None:
        """Send one frame; in a forked child end the process instead."""
        self.send_encoded(frames.encode_head(frame_type, header, len(body)), body)

    def send_encoded(self, head: bytes, body: bytes) -> None:
        """Send one frame, all of which but the body is encoded already."""
        if os.getpid() != self._owner_pid:
            os._exit(0)
        if len(body) <= SMALL_BODY_BYTES_MAX:
            self._socket.sendall(head + body)
            return
        sent = self._socket.sendmsg([head, body])
        if sent < len(head):
            self._socket.sendall(head[sent:])
            sent = len(head)
        self._socket.sendall(memoryview(body)[sent - len(head) :])

    def _take(self, length: int) -> bytes | None:
        """Return *length* bytes and what arrived with them, or None if the stream ends first."""
        data, self._ahead = self._ahead, b""
        if data and len(data) < length:
            rest = self._read(length - len(data))
            if rest is None:
                return None
            data += rest
        return data or None

    def _read(self, length: int) -> bytes | None:
        """
        Return exactly *length* bytes, or None if the stream ends first.

        One system call fills one fresh bytes object, so that even the largest input is copied
        once at most.
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
