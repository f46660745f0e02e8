"""
The supervisor's part in the start of one slot from a zygote.

    the slot says              we                                        then it
    B  (own namespaces)        put it into its control group, and let    forks, and waits
                               the keeper give it its user
                               order what to start                       gives up its rights
    L  (its listener), R       ask the kernel whether nothing is left    runs the algorithm
       (all given up)          to give up, and hand it to the gateway

The first line takes most of the time, and is the same for all slots of a zygote: one is always kept
waiting for an order.

A zygote has run foreign code, so nothing it says is believed: who speaks is what the kernel says,
and what it gave up is attested, see `attestation.py`. Anything unexpected, and the slot is started
cold instead; nothing of an author has run by then.

Source: unix(7), `SCM_CREDENTIALS`; namespaces(7); pidfd_open(2).
"""

import json
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import Any, Final

from algorium_runtime import confine, zygote
from algorium_server.engine import cgroups
from algorium_server.engine.attestation import (
    Born,
    Expected,
    Nonsense,
    Parent,
    attest,
    number_inside,
)
from algorium_server.engine.descriptors import Descriptors, receive_from
from algorium_server.engine.sandbox import SandboxSpec
from algorium_server.engine.uplink import Uplink

_MESSAGE_BYTES_MAX: Final = 8192


class Stage(Enum):
    """What is to come next."""

    NAMESPACES = auto()
    USER = auto()
    ORDER = auto()
    CONFINEMENT = auto()
    NETWORK = auto()
    DONE = auto()


class Birth:
    """
    One start, the first part of which may happen before it is known of what.

    Args:
        group: Control group of the new slot.
        parent: The zygote.
        taken: Asked for the namespaces of all other slots.
        deadline_at: Until the slot waits for its order, monotonic seconds.

    Attributes:
        theirs: The other end of the socket, for the zygote; ours to close.
        message: The gateway's, for a cold start if it comes to that; None before the order.
        spec: What to start, with the order.
        descriptors: Of the new slot, with a channel to the gateway; closed by `close`.
        number_inside: The process that speaks, as the keeper knows it.
        uplink: Its way to the network, if it gets one.
    """

    def __init__(
        self,
        *,
        group: cgroups.Group | None,
        parent: Parent,
        taken: Callable[[], set[int]],
        deadline_at: float,
    ) -> None:
        self.group = group
        self.deadline_at = deadline_at
        self.stage = Stage.NAMESPACES
        self.number_inside = 0
        self.message: dict[str, Any] | None = None
        self.spec: SandboxSpec | None = None
        self.uplink: Uplink | None = None
        self.descriptors = Descriptors()
        self.socket, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, zygote.MESSAGE_BYTES_MAX)
        self._parent = parent
        self._taken = taken
        self._first: int | None = None
        self._born: Born | None = None
        self._listener: socket.socket | None = None
        self._channel: int | None = None
        self._order: tuple[bytes, list[int]] = b"", []
        self._given = {confine.CHANNEL_FD: os.fstat(self.theirs.fileno()).st_ino}

    def begin(self, steps: Sequence[tuple[str, str, int, int]]) -> None:
        """Say what every slot of the zygote needs, before anybody is there to read it."""
        self.socket.send(json.dumps({"steps": steps}).encode())

    def order(
        self,
        message: dict[str, Any],
        spec: SandboxSpec,
        plan: dict[str, Any],
        *,
        filter_fd: int,
        archives: Sequence[int],
        deadline_at: float,
    ) -> None:
        """
        Say what is to be started; it goes out as soon as the slot waits for it.

        Raises:
            OSError: Something cannot be opened, or it is too much for one message.
        """
        inside = self.descriptors.open_for(plan, filter_fd, has_slot_socket=True)
        self._channel = inside[confine.CHANNEL_FD]
        numbers = [1, 2, confine.SLOT_FD, confine.FILTER_FD]
        passed = [inside[number] for number in numbers]
        passed += (self.descriptors.keep(os.dup(packed)) for packed in archives)
        numbers += range(zygote.ARCHIVE_FD, zygote.ARCHIVE_FD + len(archives))
        for number, fd in zip(numbers, passed, strict=True):
            self._given[number] = os.fstat(fd).st_ino
        self._order = json.dumps({"plan": plan, "entry": spec.argv[-1]}).encode(), passed
        if self.group:
            self.group.limit(spec.limits)
        if self.stage is Stage.ORDER:
            self._send_order()
        self.message, self.spec, self.deadline_at = message, spec, deadline_at

    def receive(self) -> Born | None:
        """
        Take the next message; returns the slot when it was the last one.

        Raises:
            Nonsense: The start has failed.
        """
        try:
            data, descriptors, sender = receive_from(self.socket, _MESSAGE_BYTES_MAX)
        except BlockingIOError:
            return None
        except ConnectionError:
            data, descriptors, sender = b"", [], 0
        is_listener = data == confine.LISTENER_MESSAGE and self.stage is Stage.CONFINEMENT
        if is_listener and self._listener is None and len(descriptors) == 1:
            with suppress(OSError):  # it is no socket
                self._listener = socket.socket(fileno=descriptors[0])
                return None
        for fd in descriptors:
            os.close(fd)
        if data == zygote.BORN and self.stage is Stage.NAMESPACES:
            self._admit(sender)
        elif data == confine.READY_MESSAGE and self.stage is Stage.CONFINEMENT:
            self._born = attest(sender, self._listener, self._expected())
            return self._born
        elif data.startswith(confine.ERROR_MESSAGE):
            raise Nonsense(data[1:].decode(errors="replace"))
        elif not data:
            raise Nonsense("the slot ended before it could be confined")
        else:
            raise Nonsense("the slot said what it should not")
        return None

    def go_on(self) -> None:
        """
        Let the slot take its next step.

        Raises:
            OSError: It cannot be told.
        """
        is_attested = self.stage in {Stage.CONFINEMENT, Stage.NETWORK}
        if self._born is not None:
            self._born.hide(zygote.HIDE)
        self.socket.send(zygote.GO)
        self.stage = Stage.DONE if is_attested else Stage.ORDER
        if self.stage is Stage.ORDER:
            self.deadline_at = self.deadline_at if self.message else float("inf")
            if self.message:
                self._send_order()

    def hand_over(self) -> None:
        """Tell the gateway what it would have heard from a cold slot."""
        assert self._channel is not None
        with socket.socket(fileno=os.dup(self._channel)) as channel, suppress(OSError):
            if self._listener is not None:
                socket.send_fds(channel, [confine.LISTENER_MESSAGE], [self._listener.fileno()])
            channel.send(confine.READY_MESSAGE)

    def abort(self) -> None:
        """End what there is of the slot."""
        if self.uplink is not None:
            self.uplink.kill()
        if self._first is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
        if self.group:
            self.group.kill()

    def close(self) -> None:
        """Close everything of ours; the slot, where it goes on, has its own."""
        self.stage = Stage.DONE
        for each in (self.socket, self.theirs, self._listener):
            if each is not None:
                each.close()
        if self._first is not None:
            os.close(self._first)
        self.descriptors.close()

    def _send_order(self) -> None:
        data, passed = self._order
        socket.send_fds(self.socket, [data], passed)
        self.stage = Stage.CONFINEMENT

    def _expected(self) -> Expected:
        assert self.spec is not None
        assert self._first is not None
        return Expected(
            parent=self._parent,
            first=self._first,
            descriptors=self._given,
            has_listener=self.spec.has_listener,
            taken=self._taken,
        )

    def _admit(self, pid: int) -> None:
        """Put the process that everything of this slot descends from where it belongs."""
        if pid <= 0:
            raise Nonsense("the slot comes from elsewhere")  # 0 would name ourselves
        try:
            self._first = os.pidfd_open(pid)
            self.number_inside = number_inside(pid, namespace=self._parent.namespace)
            if self.group:
                self.group.admit(pid)
        except OSError as error:
            raise Nonsense(f"the slot cannot be put into its group: {error}") from error
        self.stage = Stage.USER


def receive_as(source: socket.socket) -> tuple[bytes, int]:
    """Return a message and who sent it; descriptors beside it are closed, nobody sends any."""
    data, descriptors, sender = receive_from(source, _MESSAGE_BYTES_MAX)
    for fd in descriptors:
        os.close(fd)
    return data, sender
