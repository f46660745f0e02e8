"""
One zygote, as the supervisor has it: its sandbox, and what is said to it and to its keeper.

Standard library only, like the rest of the supervisor.

Source: runtime design, "Zygote".
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from marshal import dumps
from typing import Any, Final, Self

from algorium_runtime import confine, guard
from algorium_runtime.zygote import ERROR, MESSAGE_BYTES_MAX, READY
from algorium_server.engine import (
    attestation,
    births,
    cgroups,
    confinement,
    keeper,
    launcher,
    processes,
)
from algorium_server.engine.attestation import Born, Nonsense, Parent
from algorium_server.engine.births import Birth
from algorium_server.engine.descriptors import memory_file
from algorium_server.engine.sandbox import HostLayout, Mechanism, SandboxSpec, confine_argv
from algorium_server.engine.templates import template_steps

_KEPT: Final = frozenset({0, 1, 2, confine.SLOT_FD})
"""The descriptors that a zygote may have."""
_TASKS_MAX: Final = 16_384
"""RLIMIT_NPROC of a zygote counts its slots, too; each of them has a limit of its own."""
_FILES_SHARE: Final = 2
"""A zygote may open so many times the files of a slot: see `enclose` in `confine.py`."""
_TEXT_BYTES_MAX: Final = 200


class Unfit(Exception):
    """A zygote must not be forked, and another one of its kind would not be better."""


class Ended(Exception):
    """A zygote has ended; the text says more."""


@dataclass(slots=True, kw_only=True, eq=False)
class Zygote:
    """
    A zygote and its sandbox.

    Attributes:
        key: Of its template.
        made: The template, filled up.
        root: First process of the sandbox, a child of ours.
        group: Control group of the sandbox, slots excepted.
        control: Our end of the socket to the zygote.
        keeper: Our end of the socket to the keeper.
        channel: Where the last step before the zygote says why it failed.
        pid: The zygote itself; 0 until it is ready.
        known: What its slots are compared with; None until then.
        namespaces: Inodes of what slots must not share with it.
        failures: Slots in a row that could not be started.
        births: Slots on their way out.
        spare: One of them that waits for an order.
        breed_at: When to see to one, monotonic seconds.
        slots: Slots that live inside, by the keeper's number: the gateway's number, and the slot.
        strays: Processes that lost their parent to the end of the sandbox.
    """

    key: str
    made: SandboxSpec
    root: int
    group: cgroups.Group | None
    control: socket.socket
    keeper: socket.socket
    channel: socket.socket
    began_at: float
    used_at: float
    pid: int = 0
    known: Parent | None = None
    number_inside: int = 0
    is_ready: bool = False
    is_retired: bool = False
    has_fallen: bool = False
    failures: int = 0
    has_forked: bool = False
    births: set[Birth] = field(default_factory=set)
    spare: Birth | None = None
    breed_at: float = 0.0
    slots: dict[int, tuple[int, Born]] = field(default_factory=dict)
    strays: set[int] = field(default_factory=set)

    @classmethod
    def launch(
        cls,
        key: str,
        made: SandboxSpec,
        layout: HostLayout,
        *,
        group: cgroups.Group | None,
        filter_fd: int,
        now: float,
    ) -> Self:
        """
        Start a zygote; it says later whether it is fit for use.

        Raises:
            OSError: It cannot be started.
        """
        assert made.zygote is not None
        numbers = (confine.SLOT_FD, launcher.KEEPER_FD, confine.CHANNEL_FD)
        inside = {confine.FILTER_FD: filter_fd}
        ours = []
        with ExitStack() as always, ExitStack() as otherwise:
            for number in numbers:
                mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                inside[number] = always.enter_context(theirs).fileno()
                ours.append(otherwise.enter_context(mine))
                mine.setblocking(False)
            ours[0].setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            ours[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_BYTES_MAX)
            ours[0].send(json.dumps({"modules": made.zygote.modules}).encode())
            for number, fd in (
                (confine.PLAN_FD, memory_file("plan", dumps(_plan(made, layout)))),
                *((number, os.open(os.devnull, os.O_WRONLY)) for number in (1, 2)),
            ):
                always.callback(os.close, fd)
                inside[number] = fd
            root = launcher.start(
                launcher.Launch(
                    mechanism=Mechanism.LAUNCHER,
                    argv=confine_argv(layout, has_own_root=True),
                    descriptors=inside,
                    entrances=group.entrances if group else (),
                    steps=template_steps(made, layout),
                )
            )
            otherwise.pop_all()
        return cls(
            key=key,
            made=made,
            root=root,
            group=group,
            control=ours[0],
            keeper=ours[1],
            channel=ours[2],
            began_at=now,
            used_at=now,
        )

    def hear(self) -> None:
        """
        Take what the zygote says: once, that it is ready.

        Raises:
            Unfit: It may not be forked.
            Ended: It says nothing any more.
            Nonsense: It said something else.
        """
        try:
            data, sender = births.receive_as(self.control)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            raise Ended(self._last_words() or "it died")
        if data.startswith(ERROR):
            raise Unfit(_text(data[1:]))
        if not data.startswith(READY) or self.is_ready:
            raise Nonsense("it said what it should not")
        try:
            known = attestation.look_at_zygote(sender)
            if known.number_inside != self.number_inside:
                raise Nonsense("somebody else speaks for it")
            if found := guard.faults(sender, kept=_KEPT):
                raise Unfit(found[0])
        except (OSError, ValueError, KeyError) as error:
            raise Nonsense(f"it cannot be looked at: {error}") from error
        self.pid, self.known = sender, known
        self.is_ready = True

    def check(self) -> None:
        """
        Look again, right before a fork.

        Raises:
            Unfit: It may not be forked any more.
            OSError: It is gone.
        """
        if len(os.listdir(f"/proc/{self.pid}/task")) != 1:
            raise Unfit(guard.THREADS)

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield what the keeper has to say; `{"event": "left"}` at its end."""
        while True:
            try:
                data = self.keeper.recv(keeper.MESSAGE_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                yield {"event": "left"}
                return
            yield json.loads(data)

    def ask(self, op: str, **fields: Any) -> None:
        """Ask the keeper for something; where it is gone, everything in its sandbox is, too."""
        with suppress(OSError):
            self.keeper.send(json.dumps({"op": op, **fields}).encode())

    def is_too_large(self) -> bool:
        """Whether the zygote itself exceeds its limit of memory."""
        return self.memory_bytes() > self.made.limits.memory_bytes

    def has_too_many(self) -> bool:
        """Whether there are too many processes in its sandbox that no slot knows of."""
        limit = self.made.limits.processes
        return len(self._own_tree(limit)) > limit

    def memory_bytes(self) -> int:
        """Return what the zygote itself takes."""
        return processes.memory_bytes_upper([self.pid]) if self.pid else 0

    def close(self) -> None:
        """Close our ends; the keeper then leaves, and with it everything."""
        for each in (self.control, self.keeper, self.channel):
            each.close()

    def _own_tree(self, count_max: int) -> list[int]:
        slots = {born.root for _, born in self.slots.values()}
        found = processes.children(self.root)
        for each in found:  # grows while we walk
            if len(found) > count_max + len(slots):
                break
            if each not in slots:
                found += processes.children(each)
        return [each for each in found if each not in slots]

    def _last_words(self) -> str:
        with suppress(OSError):
            data = self.channel.recv(keeper.MESSAGE_BYTES_MAX)
            if data.startswith(confine.ERROR_MESSAGE):
                return _text(data[1:])
        return ""


def _plan(made: SandboxSpec, layout: HostLayout) -> dict[str, Any]:
    plan = confinement.confinement(
        made,
        layout,
        mechanism=Mechanism.LAUNCHER,
        slot=None,
        uid=None,
        api_path_prefix="",
        tasks_of_host=0,
    )
    plan["landlock"] = None  # under Landlock nothing can be mounted, not even by slots
    plan["rlimits"]["NPROC"] = _TASKS_MAX
    plan["rlimits"]["NOFILE"] *= _FILES_SHARE
    return plan


def _text(said: bytes) -> str:
    return said[:_TEXT_BYTES_MAX].decode(errors="replace")
