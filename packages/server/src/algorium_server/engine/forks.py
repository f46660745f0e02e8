"""
The slots that zygotes fork: conceived ahead, ordered, attested, handed over. For the supervisor.

One slot of every zygote waits for its order (`zygote.spare`). It is `births.py` that knows what is
said; here is what follows: where a birth comes to an end, and what it was ordered for is started
cold after all.

Standard library only, like the rest of the supervisor.

Source: runtime design, "Zygote".
"""

import selectors
import socket
import time
from contextlib import ExitStack, suppress
from typing import Any, Final, Protocol

from algorium_runtime.zygote import START
from algorium_server.engine import cgroups, confinement, processes
from algorium_server.engine.archives import Archives
from algorium_server.engine.attestation import Born, Nonsense
from algorium_server.engine.births import Birth, Stage
from algorium_server.engine.sandbox import HostLayout, Mechanism, SandboxSpec
from algorium_server.engine.templates import ZygoteLimits, slot_steps
from algorium_server.engine.uplinks import Uplinks
from algorium_server.engine.zygote import Unfit, Zygote

_FAILURES_MAX: Final = 3
"""Slots in a row that could not be forked, and the zygote is given up."""
_BREEDING_S: Final = 0.1
"""After a slot was ordered, the next one is forked: not while it imports its algorithm."""
FOR_EVER: Final = float("inf")


class Gateway(Protocol):
    """What the supervisor does with what happens here."""

    def born(self, birth: Birth, born: Born) -> None:
        """Take over a slot that is ready to run, and pass its descriptors on."""

    def start_cold(self, message: dict[str, Any]) -> None:
        """Start a slot that could not be forked."""

    def ended(self, number: int, status: int, cpu_s: float) -> None:
        """Learn how a slot ended: nothing of its process namespace runs any more."""

    def tell(self, event: str, **fields: Any) -> None:
        """Tell the gateway what happened."""


class Parents(Protocol):
    """What is done with zygotes."""

    def taken(self) -> set[int]:
        """Return the namespaces that no further slot may be in."""

    def hear_keeper(self, each: Zygote) -> None:
        """Take what the keeper of a zygote has to say."""

    def log(self, each: Zygote, state: str, reason: str) -> None:
        """Tell what happened to a zygote."""

    def refuse(self, each: Zygote, reason: str, until: float) -> None:
        """Give a zygote up, and have none like it until then, in monotonic seconds."""


class Forks:
    """
    What becomes of forked slots.

    Args:
        parents: Has the zygotes.
        gateway: Gets the slots.
        limits: How long each may take.
        layout: Of this host.
        mechanism: Of cold starts; what is forked is confined like them.
        filter_fd: The filter of system calls of slots.
        groups: Makes control groups, where the host lets us.
        uplinks: Connects slots to the network.
        selector: Calls the `data` of what is ready to be read.
    """

    def __init__(
        self,
        parents: Parents,
        gateway: Gateway,
        limits: ZygoteLimits,
        *,
        layout: HostLayout,
        mechanism: Mechanism,
        filter_fd: int,
        groups: cgroups.Cgroups | None,
        uplinks: Uplinks,
        selector: selectors.BaseSelector,
    ) -> None:
        self._parents = parents
        self._gateway = gateway
        self._limits = limits
        self._layout = layout
        self._mechanism = mechanism
        self._filter_fd = filter_fd
        self._cgroups = groups
        self._uplinks = uplinks
        self._selector = selector
        self._archives = Archives(limits.source_bytes_max, limits.source_entries_max)
        self._leaving: list[cgroups.Group] = []
        self._forked = 0

    def order(self, parent: Zygote, message: dict[str, Any], spec: SandboxSpec) -> bool:
        """Have a slot forked, or take the one that waits; False if that is not possible."""
        try:
            archives = [self._archives.of(source) for source, _ in spec.copies]
        except (OSError, ValueError) as error:
            self._parents.log(parent, "passed over", f"{error}")
            return False
        birth, parent.spare = parent.spare or self._conceive(parent), None
        if birth is None:
            return False
        parent.used_at = now = time.monotonic()
        parent.breed_at = now + _BREEDING_S
        try:
            birth.order(
                message,
                spec,
                self._plan(spec, message["api_path_prefix"]),
                filter_fd=self._filter_fd,
                archives=archives,
                deadline_at=now + self._limits.birth_s,
            )
        except OSError as error:
            self._miscarry(parent, birth, f"{error}")
            return False
        return True

    def due_at(self, parent: Zygote) -> list[float]:
        """Return when `tick` has something to do."""
        times = [birth.deadline_at for birth in parent.births]
        return [*times, parent.breed_at] if _may_breed(parent) else times

    def tick(self, parent: Zygote, now: float) -> None:
        """Give up what takes too long, and see to it that one slot waits."""
        late = [birth for birth in parent.births if now >= birth.deadline_at]
        for birth in late:
            self._miscarry(parent, birth, "it did not answer in time")
        if late:
            self._parents.refuse(parent, "it does not answer", now + self._limits.pause_s)
        if _may_breed(parent) and now >= parent.breed_at:
            parent.spare = self._conceive(parent)

    def is_leaving(self) -> bool:
        """Whether something is left of slots that came to nothing; looks again."""
        self._leaving = [group for group in self._leaving if not _is_removed(group)]
        return bool(self._leaving)

    def on_mapped(self, parent: Zygote, number_inside: int, error: str) -> None:
        """Learn whether a slot got its user."""
        for birth in list(parent.births):
            if birth.stage is Stage.USER and birth.number_inside == number_inside:
                try:
                    if not error:
                        birth.go_on()
                except OSError as failure:
                    error = f"{failure}"
                if error:
                    self._miscarry(parent, birth, error)

    def abandon(self, parent: Zygote, reason: str, *, is_alive: bool) -> None:
        """
        Give up what a zygote has not forked yet; all of it, if nothing of its sandbox is alive.

        Nothing is taken from slots that are ordered and forked: they do without their parent.
        """
        for birth in list(parent.births):
            if birth.message is None:
                self._drop(parent, birth)
            elif not is_alive or birth.stage is Stage.NAMESPACES:
                self._miscarry(parent, birth, reason)

    def close(self, parents: list[Zygote]) -> None:
        """End all that is not handed over."""
        for parent in parents:
            for birth in list(parent.births):
                self._drop(parent, birth)
        self._archives.close()

    def _conceive(self, parent: Zygote) -> Birth | None:
        """Fork a slot that waits for its order; None if that is not possible."""
        self._forked += 1
        name = f"fork-{self._forked}"
        assert parent.known is not None, "only what is ready is asked"
        with ExitStack() as otherwise:
            try:
                parent.check()
                limits = parent.made.limits
                group = self._cgroups.create(name, limits) if self._cgroups else None
                if group:
                    otherwise.callback(self._leave, group)
                birth = Birth(
                    group=group,
                    parent=parent.known,
                    taken=self._parents.taken,
                    deadline_at=time.monotonic() + self._limits.fork_s,
                )
                otherwise.callback(birth.close)
                birth.begin(slot_steps(parent.made, self._layout))
                socket.send_fds(parent.control, [START], [birth.theirs.fileno()])
            except Unfit as error:
                self._parents.refuse(parent, f"it {error} by now", FOR_EVER)
                return None
            except OSError as error:
                if self._cgroups:
                    self._cgroups.discard(name)
                self._parents.log(parent, "passed over", f"{error}")
                return None
            otherwise.pop_all()
        birth.theirs.close()
        parent.births.add(birth)
        self._selector.register(
            birth.socket, selectors.EVENT_READ, lambda: self._hear(parent, birth)
        )
        return birth

    def _plan(self, spec: SandboxSpec, api_path_prefix: str) -> dict[str, Any]:
        plan = confinement.confinement(
            spec,
            self._layout,
            mechanism=self._mechanism,
            slot=None,
            uid=None,
            api_path_prefix=api_path_prefix,
            tasks_of_host=processes.tasks_of_host(),
        )
        targets = enumerate(target for _, target in spec.copies)
        copies = [(str(number), target) for number, target in targets]
        return {**plan, "copies": copies, "has_gate": False}

    def _hear(self, each: Zygote, birth: Birth) -> None:
        if birth not in each.births:
            return  # another event of the same moment ended it
        stage = birth.stage
        try:
            born = birth.receive()
        except Nonsense as error:
            self._miscarry(each, birth, f"{error}")
            return
        if birth.stage is Stage.USER and stage is not Stage.USER:
            each.ask("map", pid=birth.number_inside)
        if born is not None:
            # numbers are used again: the end of the last one with this number comes first
            self._parents.hear_keeper(each)
            if birth in each.births:
                self._connect(each, birth, born)
            else:
                born.close()

    def _connect(self, each: Zygote, birth: Birth, born: Born) -> None:
        """Take the slot over, when it is on the network if it is to be."""
        assert birth.spec is not None
        if birth.spec.network != "full":
            self._take_over(each, birth, born)
            return

        def decided(reason: str) -> None:
            if birth in each.births and not reason:
                self._take_over(each, birth, born)
                return
            born.close()
            if birth in each.births:
                self._miscarry(each, birth, reason)

        birth.stage = Stage.NETWORK  # until then it has nothing to say
        try:
            birth.uplink = self._uplinks.connect(
                born.program,
                entrances=birth.group.entrances if birth.group else (),
                namespace=born.namespaces["net"],
                on_decision=decided,
            )
        except OSError as error:
            decided(f"{error}")

    def _take_over(self, each: Zygote, birth: Birth, born: Born) -> None:
        assert birth.message is not None
        each.births.discard(birth)
        self._unwatch(birth)
        each.slots[born.number_inside] = birth.message["id"], born
        each.failures = 0
        each.has_forked = True
        birth.hand_over()
        self._gateway.born(birth, born)
        with suppress(OSError):  # it is gone: its end will be told
            birth.go_on()
        birth.close()

    def _miscarry(self, each: Zygote, birth: Birth, reason: str) -> None:
        """Give a birth up; what was ordered is started cold after all."""
        if birth not in each.births:
            return  # the end of another one was its end, too
        self._drop(each, birth)
        self._parents.log(each, "passed over", reason)
        if birth.message:
            self._gateway.start_cold(birth.message)
        each.failures += 1
        if each.failures >= _FAILURES_MAX:
            self._parents.refuse(each, reason, time.monotonic() + self._limits.pause_s)

    def _drop(self, each: Zygote, birth: Birth) -> None:
        each.births.discard(birth)
        if each.spare is birth:
            each.spare = None
            each.breed_at = time.monotonic() + self._limits.pause_s
        self._unwatch(birth)
        birth.abort()
        birth.close()
        if birth.group:
            self._leave(birth.group)

    def _leave(self, group: cgroups.Group) -> None:
        group.kill()
        self._leaving.append(group)

    def _unwatch(self, birth: Birth) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(birth.socket)


def _may_breed(each: Zygote) -> bool:
    return each.is_ready and not each.is_retired and each.spare is None


def _is_removed(group: cgroups.Group) -> bool:
    group.kill()
    return group.remove()
