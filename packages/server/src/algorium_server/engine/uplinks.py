"""
All ways to the network of a supervisor's sandboxes: asked for, made, and gone with their sandbox.

Where a program is started cold, it says through its *gate* that it can be connected, and waits
there before it becomes the algorithm. Who spoke is what the kernel says. A slot that a zygote
forked is connected after it was attested, see `births.py`.

Standard library only, like the rest of the supervisor.
"""

import selectors
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from algorium_runtime import confine
from algorium_server.engine.nat import Nat
from algorium_server.engine.running import Running
from algorium_server.engine.uplink import Uplink

_MESSAGE_BYTES_MAX: Final = 64
_CREDENTIALS: Final = struct.Struct("3i")


class Uplinks:
    """
    The uplinks of one supervisor.

    Args:
        translation: What to connect sandboxes with; None where they cannot be.
        selector: Calls the `data` of what is ready to be read.
    """

    def __init__(self, translation: Nat | None, selector: selectors.BaseSelector) -> None:
        self._translation = translation
        self._selector = selector
        self._all: dict[int, Uplink] = {}
        self._decisions: dict[int, Callable[[str], None]] = {}

    def pids(self) -> set[int]:
        """Return the processes of ours that keep sandboxes connected."""
        return set(self._all)

    def attend(self, started: Running) -> None:
        """Connect a program when it says that it can be; one that needs no network never does."""
        gate = started.gate
        if gate is not None:
            gate.setblocking(False)
            self._selector.register(gate, selectors.EVENT_READ, lambda: self._hear(started, gate))

    def connect(
        self,
        program: int,
        *,
        entrances: Sequence[str],
        on_decision: Callable[[str], None],
        namespace: int = 0,
    ) -> Uplink:
        """
        Begin to connect the sandbox of a process that holds no privilege any more.

        Args:
            program: The process.
            entrances: Files of the control groups of its sandbox.
            on_decision: Told nothing when it is connected, a reason if it will not be.
            namespace: Inode of the network namespace, where another must not be taken for it.

        Raises:
            OSError: It cannot be connected.
        """
        if self._translation is None:
            raise OSError("no network translation is possible on this host")
        uplink = Uplink.start(program, self._translation, entrances=entrances, namespace=namespace)
        self._all[uplink.pid] = uplink
        self._decisions[uplink.pid] = on_decision
        self._selector.register(
            uplink.socket, selectors.EVENT_READ, lambda: self._hear_uplink(uplink)
        )
        return uplink

    def reaped(self, pid: int) -> None:
        """Take note that a child of ours is gone."""
        uplink = self._all.get(pid)
        if uplink is not None:
            self._hear_uplink(uplink)  # its last words
            del self._all[pid]
            uplink.reaped()

    def _hear(self, started: Running, gate: socket.socket) -> None:
        program = _sender(gate)
        if program is None:
            return
        self._selector.unregister(gate)
        if not program or started.is_ending:
            gate.close()
            return
        group = started.group
        try:
            started.uplink = self.connect(
                program,
                entrances=group.entrances if group else (),
                on_decision=lambda reason: _open(gate, reason),
            )
        except OSError as error:
            _open(gate, f"{error}")

    def _hear_uplink(self, uplink: Uplink) -> None:
        if uplink.pid not in self._decisions:
            return
        reason = uplink.hear()
        if reason is not None:
            self._selector.unregister(uplink.socket)
            self._decisions.pop(uplink.pid)(reason)


def _sender(gate: socket.socket) -> int | None:
    """Return the process that asks to be connected; 0 if none will any more, None if none has."""
    try:
        data, ancillary, _, _ = gate.recvmsg(
            _MESSAGE_BYTES_MAX, socket.CMSG_SPACE(_CREDENTIALS.size), socket.MSG_CMSG_CLOEXEC
        )
    except BlockingIOError:
        return None
    except OSError:
        return 0
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and data:
            return int(_CREDENTIALS.unpack(content)[0])
    return 0


def _open(gate: socket.socket, reason: str) -> None:
    """Let the program run, or tell it why not."""
    with gate, suppress(OSError):  # it is gone: its end will be seen
        gate.send(confine.ERROR_MESSAGE + reason.encode() if reason else confine.READY_MESSAGE)
