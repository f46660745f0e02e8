"""The gateway's end of the supervisor's socket; see `supervisor.py` for the messages."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Self

from algorium_server.domain.errors import Unavailable
from algorium_server.engine.descriptors import memory_file
from algorium_server.engine.supervisor import MESSAGE_BYTES_MAX

_DESCRIPTORS_MAX: Final = 8
_READY_TIMEOUT_S: Final = 15.0
_STOP_TIMEOUT_S: Final = 5.0


class SupervisorLink:
    """
    One supervisor process, alive or not.

    Attributes:
        cgroups: Version and controllers of its control groups, or None.
        is_lost: Whether it has died; it does not come back.
    """

    def __init__(
        self,
        control: socket.socket,
        process: subprocess.Popen[bytes],
        *,
        on_event: Callable[[dict[str, Any], list[int]], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.cgroups: list[Any] | None = None
        self.is_lost = False
        self._control = control
        self._process = process
        self._on_event = on_event
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._outgoing: list[bytes] = []
        # the kernel doubles what it is asked for, and needs some of it itself
        self._bytes_max = control.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2
        self._loop.add_reader(control.fileno(), self._receive)

    @classmethod
    async def start(
        cls,
        config: dict[str, Any],
        filters: Sequence[bytes],
        *,
        on_event: Callable[[dict[str, Any], list[int]], None],
        on_lost: Callable[[], None],
    ) -> Self:
        """
        Start a supervisor and wait until it serves.

        Raises:
            Unavailable: It did not start.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_BYTES_MAX)
        with theirs:
            program = [sys.executable, "-I", "-m", "algorium_server.engine.supervisor"]
            process = subprocess.Popen(  # noqa: ASYNC220 - returns as soon as it is started
                [*program, str(theirs.fileno()), config["state_dir"]],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        files = [memory_file("filter", data) for data in filters]
        socket.send_fds(ours, [json.dumps(config).encode()], files)
        for fd in files:
            os.close(fd)
        ours.setblocking(False)
        link = cls(ours, process, on_event=on_event, on_lost=on_lost)
        try:
            await asyncio.wait_for(link._ready, _READY_TIMEOUT_S)
        except TimeoutError:
            await link.close()
            raise Unavailable("the sandbox supervisor did not start") from None
        return link

    def send(self, op: str, **fields: Any) -> None:
        """
        Send a message, now or as soon as the supervisor reads again; never when it has died.

        Raises:
            Unavailable: It is too large for one packet.
        """
        data = json.dumps({"op": op, **fields}).encode()
        if len(data) > self._bytes_max:
            raise Unavailable("the program's arguments and environment are too large")
        self._outgoing.append(data)
        self._flush()

    async def close(self) -> None:
        """Let the supervisor end everything and leave; returns when it has."""
        self._lose()
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._process.wait, _STOP_TIMEOUT_S)
            return
        self._process.kill()
        await asyncio.to_thread(self._process.wait)

    def _flush(self) -> None:
        if self.is_lost:
            return
        self._loop.remove_writer(self._control.fileno())
        while self._outgoing:
            try:
                self._control.send(self._outgoing[0])
            except BlockingIOError:
                self._loop.add_writer(self._control.fileno(), self._flush)
                return
            except ConnectionError:
                return  # the reader notices
            self._outgoing.pop(0)

    def _receive(self) -> None:
        while not self.is_lost:
            try:
                data, descriptors, flags, _ = socket.recv_fds(
                    self._control,
                    MESSAGE_BYTES_MAX,
                    _DESCRIPTORS_MAX,
                    flags=socket.MSG_CMSG_CLOEXEC,
                )
            except BlockingIOError:
                return
            except ConnectionError:
                data, descriptors, flags = b"", [], 0
            if flags & socket.MSG_CTRUNC:  # we may open no more: what came is of no use
                for fd in descriptors:
                    os.close(fd)
                descriptors = []
            if not data:
                self._lose()
                self._loop.run_in_executor(None, self._process.wait)
                return
            message = json.loads(data)
            if message["event"] == "ready":
                self.cgroups = message["cgroups"]
                self._ready.set_result(None)
            else:
                self._on_event(message, descriptors)

    def _lose(self) -> None:
        if self.is_lost:
            return
        self.is_lost = True
        self._loop.remove_reader(self._control.fileno())
        self._loop.remove_writer(self._control.fileno())
        self._control.close()
        if not self._ready.done():
            self._ready.set_exception(Unavailable("the sandbox supervisor did not start"))
        self._on_lost()
