"""
All zygotes of a supervisor: started when an environment is used, ended when they are of no use.

    preloading   imports; slots of its environment are started cold meanwhile
    ready        forks slots
    retired      is dead; its sandbox stays as long as slots live in it
    fallen       its sandbox is ending or has ended, and with it every slot that was left

A zygote is an optimization that may fail at any moment: then slots are started cold, and after a
pause another zygote is tried. It has run foreign code. What it says is a hint, see `births.py`;
what it does stays in a sandbox of its own, see `templates.py` and `keeper.py`.

Standard library only, like the rest of the supervisor.

Source: runtime design, "Zygote".
"""

import selectors
import signal
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from algorium_server.engine import cgroups, confinement, processes
from algorium_server.engine.attestation import Nonsense
from algorium_server.engine.forks import FOR_EVER, Forks, Gateway
from algorium_server.engine.sandbox import HostLayout, Mechanism, SandboxSpec
from algorium_server.engine.templates import ZygoteLimits, key_of, template
from algorium_server.engine.uplinks import Uplinks
from algorium_server.engine.zygote import Ended, Unfit, Zygote

_REFUSALS_MAX: Final = 1000
_IDLE_TICK_S: Final = 5.0
_WATCHING_TICK_S: Final = 0.1
_ENDING_TICK_S: Final = 0.01
_NOTICEABLE_BYTES: Final = 1024 * 1024
_REPORT_S: Final = 1.0


class Zygotes:
    """
    The zygotes of one supervisor.

    Args:
        gateway: Is told what happens.
        limits: How many, how large, for how long.
        layout: Of this host.
        mechanism: Of cold starts; what is forked is confined like them.
        filters: Filters of system calls: of isolated slots, and of zygotes.
        groups: Makes control groups, where the host lets us.
        uplinks: Connects slots to the network.
        selector: Calls the `data` of what is ready to be read.
    """

    def __init__(
        self,
        gateway: Gateway,
        limits: ZygoteLimits,
        *,
        layout: HostLayout,
        mechanism: Mechanism,
        filters: tuple[int, int],
        groups: cgroups.Cgroups | None,
        uplinks: Uplinks,
        selector: selectors.BaseSelector,
    ) -> None:
        self._gateway = gateway
        self._limits = limits
        self._layout = layout
        self._cgroups = groups
        self._selector = selector
        for_slots, self._filter_fd = filters
        self._forks = Forks(
            self,
            gateway,
            limits,
            layout=layout,
            mechanism=mechanism,
            filter_fd=for_slots,
            groups=groups,
            uplinks=uplinks,
            selector=selector,
        )
        self._all: list[Zygote] = []
        self._by_key: dict[str, Zygote] = {}
        self._refused: OrderedDict[str, float] = OrderedDict()
        self._launched = 0
        self._told = (0, 0)
        self._report_at = 0.0

    def start(self, message: dict[str, Any], spec: SandboxSpec) -> bool:
        """Begin to fork a slot; False if it must be started cold, while a zygote gets ready."""
        made = template(spec, self._limits)
        if made is None:
            return False
        found = self._by_key.get(key_of(made))
        if found is None or not found.is_ready:
            self._want(made)
            return False
        return self._forks.order(found, message, spec)

    def prepare(self, spec: SandboxSpec) -> None:
        """Have a zygote for *spec* soon, if none must make room for it."""
        made = template(spec, self._limits)
        if made is not None and len(self._by_key) < self._limits.count_max:
            self._want(made)

    def roots(self) -> set[int]:
        """Return the processes that are our children as they should be."""
        return {each.root for each in self._all if not each.has_fallen}

    def fallen(self) -> list[Zygote]:
        """Return those whose root has ended: what becomes our child then may be theirs."""
        return [each for each in self._all if each.has_fallen]

    def reaped(self, pid: int) -> None:
        """Learn that a child of ours has ended, whoever it was."""
        for each in self._all:
            each.strays.discard(pid)
            if each.root == pid and not each.has_fallen:
                each.has_fallen = True
                self._retire(each, "its sandbox ended")

    def patience_s(self, now: float) -> float | None:
        """Return after how many seconds `tick` is due; None if there is nothing to wait for."""
        if self._forks.is_leaving() or any(_is_ending(each) for each in self._all):
            return _ENDING_TICK_S
        if not self._all:
            return None
        usual_s = _IDLE_TICK_S if self._counts("pids") else _WATCHING_TICK_S
        times = [due_at for each in self._all for due_at in self._forks.due_at(each)]
        for each in (each for each in self._all if not each.is_retired):
            times += [each.used_at + self._limits.idle_s, each.began_at + self._limits.age_s]
        times += [each.began_at + self._limits.preload_s for each in self._all if not each.is_ready]
        return max(min([now + usual_s, *times]) - now, 0.0)

    def tick(self, now: float) -> None:
        """Bury what has ended; end what is too old, too slow or too large."""
        for each in list(self._all):
            self._forks.tick(each, now)
            self._look_at(each, now)
        if now >= self._report_at:
            self._report_at = now + _REPORT_S
            self._report()

    def is_empty(self) -> bool:
        """Whether nothing of any zygote is left."""
        return not self._all and not self._forks.is_leaving()

    def close(self) -> None:
        """Begin to end all of them, with their slots."""
        self._forks.close(self._all)
        for each in self._all:
            self._retire(each, "the server stops")
            processes.send([each.root], signal.SIGKILL)

    def taken(self) -> set[int]:
        """Return the namespaces that no further slot may be in."""
        taken: set[int] = set()
        for each in self._all:
            taken |= each.known.namespaces if each.known else frozenset()
            for _, born in each.slots.values():
                taken.update(born.namespaces.values())
        return taken

    def _want(self, made: SandboxSpec) -> None:
        key = key_of(made)
        now = time.monotonic()
        if key in self._by_key or self._refused.get(key, 0.0) > now or not self._make_room(now):
            return
        made = confinement.with_defaults(made)
        self._launched += 1
        name = f"zygote-{self._launched}"
        try:
            group = self._cgroups.create(name, made.limits) if self._cgroups else None
            started = Zygote.launch(
                key, made, self._layout, group=group, filter_fd=self._filter_fd, now=now
            )
        except OSError as error:
            if self._cgroups:
                self._cgroups.discard(name)
            self._remember(key, now + self._limits.pause_s)
            self._gateway.tell("zygote", zygote=key, state="refused", reason=f"{error}")
            return
        self._all.append(started)
        self._by_key[key] = started
        self._watch(started.control, lambda: self._hear_zygote(started))
        self._watch(started.keeper, lambda: self.hear_keeper(started))

    def _make_room(self, now: float) -> bool:
        if len(self._by_key) < self._limits.count_max:
            return True
        oldest = min(self._by_key.values(), key=lambda each: each.used_at)
        is_forking = any(birth.message for birth in oldest.births)
        if is_forking or now < oldest.used_at + self._limits.stay_s:
            return False
        self._retire(oldest, "another environment needs the room")
        return True

    def _hear_zygote(self, each: Zygote) -> None:
        self.hear_keeper(each)  # it knows which process the zygote is
        self._listen_to(each)

    def _listen_to(self, each: Zygote) -> None:
        if each.is_retired:
            return
        was_ready = each.is_ready
        try:
            each.hear()
        except Unfit as error:
            self.refuse(each, f"it {error}", FOR_EVER)
        except Ended as error:
            self._on_death(each, f"{error}")
        except Nonsense as error:
            self.refuse(each, f"{error}", time.monotonic() + self._limits.pause_s)
        if each.is_ready and not was_ready:
            self.log(each, "ready", "")

    def hear_keeper(self, each: Zygote) -> None:
        """Take what the keeper of a zygote has to say."""
        for message in each.messages():
            match message["event"]:
                case "zygote":
                    each.number_inside = message["pid"]
                case "mapped":
                    self._forks.on_mapped(each, message["pid"], message["error"])
                case "ended" if message["pid"] in each.slots:
                    number, born = each.slots.pop(message["pid"])
                    born.close()
                    self._gateway.ended(number, message["status"], message["cpu_s"])
                case "ended" if message["pid"] == each.number_inside:
                    self._listen_to(each)  # it may have said why
                    self._on_death(each, "it died")
                case "left":
                    self._unwatch(each.keeper)
                    self._retire(each, "its sandbox ended")

    def _on_death(self, each: Zygote, reason: str) -> None:
        """A zygote that was of use is replaced at once, one that was not is not."""
        if each.has_forked:
            self._retire(each, reason)
        else:
            self.refuse(each, reason, time.monotonic() + self._limits.pause_s)

    def _look_at(self, each: Zygote, now: float) -> None:
        limits = self._limits
        if each.has_fallen:
            self._bury(each)
        elif _is_ending(each):
            processes.send([each.root], signal.SIGKILL)
        elif each.is_retired:
            return
        elif now >= each.used_at + limits.idle_s:
            self._retire(each, "it was idle")
        elif now >= each.began_at + limits.age_s:
            self._retire(each, "it is old")
        elif not each.is_ready and now >= each.began_at + limits.preload_s:
            self.refuse(each, "its imports take too long", now + limits.pause_s)
        elif not self._counts("memory") and each.is_too_large():
            self.refuse(each, "it uses too much memory", FOR_EVER)
        elif not self._counts("pids") and each.has_too_many():
            self.refuse(each, "it has too many processes", FOR_EVER)
            processes.send([each.root], signal.SIGKILL)  # nobody knows which of them are whose

    def _counts(self, controller: str) -> bool:
        return self._cgroups is not None and controller in self._cgroups.controllers

    def _retire(self, each: Zygote, reason: str) -> None:
        """Let it fork no more; its slots live on."""
        if each.is_retired:
            return
        each.is_retired = True
        self._by_key.pop(each.key, None)
        self._unwatch(each.control)
        each.control.close()
        each.ask("retire")
        self.log(each, "ended", reason)
        self._forks.abandon(each, reason, is_alive=True)

    def refuse(self, each: Zygote, reason: str, until: float) -> None:
        """Give a zygote up, and have none like it until then, in monotonic seconds."""
        if each.is_retired:
            return
        self._remember(each.key, until)
        self.log(each, "refused", reason)
        self._retire(each, reason)

    def _remember(self, key: str, until: float) -> None:
        self._refused[key] = until
        self._refused.move_to_end(key)
        while len(self._refused) > _REFUSALS_MAX:
            self._refused.popitem(last=False)

    def _bury(self, each: Zygote) -> None:
        """Tell of the slots that fell with their zygote once nothing of them is left."""
        if each.strays:
            return
        self._forks.abandon(each, "its sandbox ended", is_alive=False)
        if each.group:
            each.group.kill()
            if not each.group.remove():
                return
        for number, born in each.slots.values():
            born.close()
            self._gateway.ended(number, signal.SIGKILL, 0.0)
        self._unwatch(each.keeper)
        each.close()
        self._all.remove(each)

    # Telling, watching

    def _report(self) -> None:
        used = sum(each.memory_bytes() for each in self._all if not each.is_retired)
        count, told = len(self._by_key), self._told
        if count != told[0] or abs(used - told[1]) >= _NOTICEABLE_BYTES:
            self._told = count, used
            self._gateway.tell("zygotes", count=count, bytes=used)

    def log(self, each: Zygote, state: str, reason: str) -> None:
        """Tell what happened to a zygote."""
        self._report_at = 0.0
        self._gateway.tell("zygote", zygote=each.key, state=state, reason=reason)

    def _watch(self, source: socket.socket, on_readable: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, on_readable)

    def _unwatch(self, source: socket.socket) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(source)


def _is_ending(each: Zygote) -> bool:
    return each.has_fallen or (each.is_retired and not each.slots and not each.births)
