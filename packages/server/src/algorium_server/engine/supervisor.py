"""
The process that starts, watches and ends sandboxes: the privileged part, kept small.

The gateway starts one supervisor and talks to it over a socket that keeps message boundaries.
Each message is JSON; descriptors travel beside it:

    gateway -> supervisor                       supervisor -> gateway
    configure {config}  + seccomp programs      ready    {cgroups}
    start     {id, spec, api_path_prefix}       started  {id, pid} + channel, stdout, stderr[, slot]
                                                refused  {id, message}
    kill      {id, grace_s}                     exited   {id, code, signal, was_oom, ...}
    prepare   {spec}                            zygote   {zygote, state, reason}
                                                zygotes  {count, bytes}

One thread, one loop, no data of any call: after `started` the supervisor only waits for ends.

**Starts.** A sandbox is started cold (`running.py`) or forked by a zygote (`zygotes.py`). From
then on there is no difference.

**Ends.** A sandbox has ended when its root (see `launcher.py`) is reaped, every process that
became ours when the root died is reaped too, and its control group is empty. Only then is
`exited` sent, so that "exited" means "nothing of it runs". The root of a forked one is not ours
to reap: the zygote's keeper does it and tells.

**Deaths.** When the gateway dies, however it dies, its socket closes: everything is killed, groups
and directories are removed, the supervisor leaves. When the supervisor dies, the kernel signals
the roots; what it leaves behind on disk the next supervisor sweeps, known by pid and start time.

Imports the standard library and the few modules beside it that do the same, nothing with data.
"""

import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any, Final

from algorium_server.engine import cgroups, confinement, launcher, processes, scratch
from algorium_server.engine.attestation import Born
from algorium_server.engine.births import Birth
from algorium_server.engine.descriptors import Descriptors
from algorium_server.engine.nat import Nat
from algorium_server.engine.running import Running, Starts
from algorium_server.engine.sandbox import HostLayout, Mechanism, SandboxSpec
from algorium_server.engine.templates import ZygoteLimits
from algorium_server.engine.uplinks import Uplinks
from algorium_server.engine.zygote import Zygote
from algorium_server.engine.zygotes import Zygotes

MESSAGE_BYTES_MAX: Final = 1024 * 1024
"""A message is one packet; arguments and environment are all that can make it large."""
_TICK_S: Final = 0.2
_GLANCE_S: Final = 0.02
_SURGE_TASKS: Final = 64
"""So many more tasks on this machine since the last look, and the next one comes at once: a
program that only lives to multiply is stopped before it has doubled too often. Where control groups
count processes nobody glances."""
_ENDING_TICK_S: Final = 0.01
"""Nobody tells when the last process leaves a control group."""
_FILTERS_MAX: Final = 8
_SHUTDOWN_S: Final = 3.0


class Supervisor:
    """All sandboxes of one server."""

    def __init__(self, control: socket.socket, config: dict[str, Any], filters: list[int]) -> None:
        mechanism = Mechanism(config["mechanism"])
        layout = HostLayout.from_dict(config["layout"])
        *by_network, for_zygotes = filters
        self._control = control
        self._cgroups = cgroups.Cgroups.find() if config["uses_cgroups"] else None
        self._scratch = scratch.make_scratch(config["state_dir"])
        self._starts = Starts(
            mechanism,
            layout,
            bwrap=config["bwrap"],
            filters=dict(zip(("isolated", "host"), by_network, strict=True)),
            groups=self._cgroups,
            directory=self._scratch,
        )
        self._sandboxes: dict[int, Running] = {}
        self._removers: set[int] = set()
        self._is_stopping = False
        self._next_tick_at = 0.0
        self._tasks_seen = 0
        self._selector = selectors.DefaultSelector()
        self._uplinks = Uplinks(config["nat"] and Nat(**config["nat"]), self._selector)
        self._zygotes: Zygotes | None = None
        if config["zygotes"] and mechanism.has_own_root:
            self._zygotes = Zygotes(
                self,
                ZygoteLimits(**config["zygotes"]),
                layout=layout,
                mechanism=mechanism,
                filters=(by_network[0], for_zygotes),
                groups=self._cgroups,
                uplinks=self._uplinks,
                selector=self._selector,
            )
        self.tell(
            "ready", cgroups=self._cgroups and [self._cgroups.version, *self._cgroups.controllers]
        )

    def run(self) -> None:
        """Serve until the gateway is gone or SIGTERM comes, then leave nothing behind."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_is_stopping", True))
        with self._selector as selector:
            selector.register(self._control, selectors.EVENT_READ, self._receive)
            selector.register(woken, selectors.EVENT_READ, lambda: os.read(woken, 4096))
            while not self._is_stopping:
                self._wait(self._patience_s())
            selector.unregister(self._control)
            self._shut_down()

    def _wait(self, patience_s: float | None) -> None:
        for key, _ in self._selector.select(patience_s):
            key.data()
        self._advance()

    def _patience_s(self) -> float | None:
        now = time.monotonic()
        until_tick_s = self._zygotes.patience_s(now) if self._zygotes else None
        patience_s = self._patience_for_sandboxes_s(now)
        return min((each for each in (until_tick_s, patience_s) if each is not None), default=None)

    def _patience_for_sandboxes_s(self, now: float) -> float | None:
        if not self._sandboxes and not self._removers:
            return None
        if any(each.is_ending for each in self._sandboxes.values()):
            return _ENDING_TICK_S
        times = [each.kill_at for each in self._sandboxes.values() if each.kill_at is not None]
        times += [now + _GLANCE_S for each in self._sandboxes.values() if each.watched.processes]
        return max(min([self._next_tick_at, *times]) - now, 0.0)

    def _receive(self) -> None:
        try:
            data = self._control.recv(MESSAGE_BYTES_MAX)
        except ConnectionError:
            data = b""
        if not data:
            self._is_stopping = True
            return
        message = json.loads(data)
        match message.pop("op"):
            case "start":
                spec = confinement.with_defaults(SandboxSpec.from_dict(message["spec"]))
                if self._zygotes is None or not self._zygotes.start(message, spec):
                    self.start_cold(message)
            case "prepare" if self._zygotes:
                self._zygotes.prepare(SandboxSpec.from_dict(message["spec"]))
            case "kill" if message["id"] in self._sandboxes:
                self._sandboxes[message["id"]].end(message["grace_s"])

    def start_cold(self, message: dict[str, Any]) -> None:
        """Start a program; the gateway is told how that went."""
        with Descriptors() as descriptors:
            try:
                started = self._starts.start(message, descriptors)
            except (OSError, ValueError) as error:
                self._starts.discard(message["id"])
                self.tell("refused", id=message["id"], message=f"{error}")
                return
            self._sandboxes[started.id] = started
            self._announce(started, descriptors)
            self._uplinks.attend(started)

    def born(self, birth: Birth, born: Born) -> None:
        """Take over a slot that a zygote forked, as if it had been started."""
        started = self._starts.taken_over(birth, born)
        self._sandboxes[started.id] = started
        self._announce(started, birth.descriptors, program=born.program)

    def ended(self, number: int, status: int, cpu_s: float) -> None:
        """Learn how a slot ended that a zygote forked."""
        if number in self._sandboxes:
            self._sandboxes[number].status = status
            self._sandboxes[number].cpu_s += cpu_s
            self._sandboxes[number].destroy()

    def _announce(self, started: Running, descriptors: Descriptors, *, program: int = 0) -> None:
        self._send(
            "started",
            descriptors.theirs,
            id=started.id,
            pid=started.root,
            start_path="zygote" if started.born else "cold",
            program=program,
        )

    def _advance(self) -> None:
        self._reap()
        now = time.monotonic()
        if self._zygotes:
            self._zygotes.tick(now)
        if now >= self._next_tick_at:
            self._next_tick_at = now + _TICK_S
            self._tasks_seen = processes.tasks_of_host()
            for each in self._sandboxes.values():
                each.look()
        else:
            self._glance()
        for each in list(self._sandboxes.values()):
            if each.kill_at is not None and now >= each.kill_at and not each.is_ending:
                each.destroy()
            if exited := each.finished():
                self._finish(each, exited)

    def _reap(self) -> None:
        by_root = {each.root: each for each in self._sandboxes.values() if not each.born}
        strays_s = 0.0
        with suppress(ChildProcessError):
            while True:
                pid, status, used = os.wait4(-1, os.WNOHANG)
                if not pid:
                    break
                spent_s = used.ru_utime + used.ru_stime
                if pid in by_root:
                    by_root[pid].status = status
                    by_root[pid].cpu_s += spent_s
                    by_root[pid].destroy()
                elif pid not in self._removers:
                    strays_s += spent_s
                self._removers.discard(pid)
                self._uplinks.reaped(pid)
                for each in self._sandboxes.values():
                    each.lost(pid)
                if self._zygotes:
                    self._zygotes.reaped(pid)
        ending = [each for each in self._sandboxes.values() if each.status is not None]
        fallen = self._zygotes.fallen() if self._zygotes else []
        if not ending and not fallen:
            return
        if len(ending) == 1 and not fallen:  # of several, nobody knows whose they were
            ending[0].cpu_s += strays_s
        # Whatever became our child without being started as one belonged to a root that died.
        known = self._removers | set(by_root) | self._uplinks.pids()
        known |= self._zygotes.roots() if self._zygotes else set()
        for stray in set(processes.children(os.getpid())) - known:
            processes.kill_descendants(stray)
            processes.send([stray], signal.SIGKILL)
            owners: list[Running | Zygote] = [*ending, *fallen]
            for owner in owners:
                owner.strays.add(stray)

    def _glance(self) -> None:
        counted = [each for each in self._sandboxes.values() if each.watched.processes]
        if not counted or (tasks := processes.tasks_of_host()) <= self._tasks_seen + _SURGE_TASKS:
            return
        self._tasks_seen = tasks
        for each in counted:
            each.glance()

    def _finish(self, each: Running, exited: dict[str, Any]) -> None:
        del self._sandboxes[each.id]
        if each.slot:
            self._remove(each.slot.path)
        self.tell("exited", **exited)

    def _remove(self, directory: str) -> None:
        """Remove a directory in a process of its own: its owner decided how large it became."""
        pid = os.fork()
        if pid:
            self._removers.add(pid)
            return
        try:
            self._control.close()
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os._exit(0)

    def tell(self, event: str, **fields: Any) -> None:
        """Tell the gateway that something happened."""
        self._send(event, [], **fields)

    def _send(self, event: str, descriptors: list[int], **fields: Any) -> None:
        data = json.dumps({"event": event, **fields}).encode()
        try:
            socket.send_fds(self._control, [data], descriptors)
        except OSError:
            self._is_stopping = True

    def _shut_down(self) -> None:
        for each in self._sandboxes.values():
            each.destroy()
        if self._zygotes:
            self._zygotes.close()
        deadline = time.monotonic() + _SHUTDOWN_S
        while self._has_work() and time.monotonic() < deadline:
            self._wait(_ENDING_TICK_S)
        shutil.rmtree(self._scratch, ignore_errors=True)
        if self._cgroups:
            self._cgroups.close()

    def _has_work(self) -> bool:
        has_zygotes = self._zygotes is not None and not self._zygotes.is_empty()
        return bool(self._sandboxes or self._removers or has_zygotes)


def main() -> None:
    """Serve the gateway on the descriptor given as first argument; the rest is for `ps` only."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the gateway decides when it is over
    launcher.adopt_orphans()
    data, filters, _, _ = socket.recv_fds(
        control, MESSAGE_BYTES_MAX, _FILTERS_MAX, flags=socket.MSG_CMSG_CLOEXEC
    )
    if data:
        Supervisor(control, json.loads(data), filters).run()


if __name__ == "__main__":
    main()
