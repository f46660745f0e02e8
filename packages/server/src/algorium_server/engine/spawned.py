"""A confined program as the gateway has it: sockets, pipes, and a future for its end."""

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal

from algorium_runtime import confine
from algorium_server.engine.descriptors import receive_from
from algorium_server.engine.link import SupervisorLink
from algorium_server.engine.sandbox import ExitStatus, SandboxLimits

NO_DESCRIPTORS: Final = "this server has too many files open"
_STDERR_BYTES_MAX: Final = 4096
_CHANNEL_BYTES_MAX: Final = 8192


class SandboxProcess:
    """
    One confined program.

    Attributes:
        pid: Of its root process; for logs.
        program_pid: Of the program itself, as the kernel told it; 0 where that is not known.
        start_path: Whether it was started, or forked by a zygote.
        socket: Our end of the slot protocol, non-blocking, or None. The receiver's to close.
        stdout_fd: Read end, non-blocking. The receiver's to close.
        stderr_fd: The same for standard error.
        listener: Where the program finds the platform API: a listening, non-blocking socket
            on the loopback device inside. None when not asked for, or impossible on this host.
        api_path_prefix: With which every request on `listener` must begin, and which must be
            removed; empty where nobody else can connect.
        limits: What it may use.
        exited: Done when nothing of the sandbox runs any more.
    """

    def __init__(
        self,
        started: Mapping[str, Any],
        descriptors: Sequence[int],
        *,
        link: SupervisorLink,
        number: int,
    ) -> None:
        self.pid: int = started["pid"]
        self.program_pid: int = started["program"]
        self.start_path: Literal["cold", "zygote"] = started["start_path"]
        for fd in descriptors:
            os.set_blocking(fd, False)
        self._channel = socket.socket(fileno=descriptors[0])
        self.stdout_fd, self.stderr_fd = descriptors[1:3]
        self.socket = socket.socket(fileno=descriptors[3]) if len(descriptors) > 3 else None
        self.listener: socket.socket | None = None
        self.api_path_prefix = ""
        self.limits: SandboxLimits | None = None
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self._link = link
        self._number = number

    async def kill(self, grace_s: float) -> ExitStatus:
        """
        End the sandbox: SIGTERM to every process in it, after *grace_s* SIGKILL to all.

        Returns when nothing of it runs. Idempotent; a second, shorter grace wins.
        """
        if not self.exited.done():
            self._link.send("kill", id=self._number, grace_s=grace_s)
        return await asyncio.shield(self.exited)

    async def started(self) -> None:
        """
        Wait until the program runs; `SandboxHost.spawn` has done that.

        Raises:
            NotStarted: It will not; the text says why.
        """
        is_ready, error = False, ""
        with self._channel:
            while True:
                await _readable(self._channel.fileno())
                try:
                    data, descriptors, sender = receive_from(self._channel, _CHANNEL_BYTES_MAX)
                except ConnectionError:
                    break
                if not data:
                    break
                if data == confine.READY_MESSAGE:  # said by the process that becomes the program
                    is_ready, self.program_pid = True, self.program_pid or sender
                if data == confine.LISTENER_MESSAGE:
                    if not descriptors:
                        raise NotStarted(NO_DESCRIPTORS)
                    self.listener = socket.socket(fileno=descriptors[0])
                    self.listener.setblocking(False)
                elif data.startswith(confine.ERROR_MESSAGE):
                    error = data[1:].decode(errors="replace")
        if error or not is_ready:
            raise NotStarted(error or self._last_words())

    def _last_words(self) -> str:
        with suppress(BlockingIOError):
            text = os.read(self.stderr_fd, _STDERR_BYTES_MAX).decode(errors="replace").strip()
            return text or "the sandbox ended before the program started"
        return "the sandbox ended before the program started"

    def close(self) -> None:
        """Close all that is the receiver's to close; for those who keep every part of it."""
        for each in (self._channel, self.socket, self.listener):
            if each is not None:
                each.close()
        os.close(self.stdout_fd)
        os.close(self.stderr_fd)


class NotStarted(Exception):
    """A sandbox was not set up; the text says at which step."""


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _wake, waiting)
    try:
        await waiting
    finally:
        loop.remove_reader(fd)


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
