"""
The process that starts, watches and ends sandboxes: the privileged part, kept small.

The gateway starts one supervisor and talks to it over a socket that keeps message boundaries.
Each message is JSON; descriptors travel beside it:

    gateway -> supervisor                       supervisor -> gateway
    configure {config}  + two seccomp programs  ready    {cgroups}
    start     {id, spec, api_path_prefix}       started  {id, pid} + channel, stdout, stderr[, slot]
                                                refused  {id, message}
    kill      {id, grace_s}                     exited   {id, code, signal, was_oom, ...}

One thread, one loop, no data of any call: after `started` the supervisor only waits for ends.

**Ends.** A sandbox has ended when its root (see `launcher.py`) is reaped, every process that
became ours when the root died is reaped too, and its control group is empty. Only then is
`exited` sent, so that "exited" means "nothing of it runs".

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
from dataclasses import dataclass, field
from typing import Any, Final

from algorium_server.engine import (
    cgroups,
    confinement,
    launcher,
    processes,
    sandbox,
    scratch,
    watch,
)
from algorium_server.engine.confinement import SlotDir
from algorium_server.engine.descriptors import Descriptors
from algorium_server.engine.sandbox import HostLayout, Mechanism, SandboxSpec

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
_DISK_TICKS: Final = 10
_SHUTDOWN_S: Final = 3.0


@dataclass(slots=True, kw_only=True)
class _Sandbox:
    id: int
    root: int
    group: cgroups.Group | None
    slot: SlotDir | None
    watched: watch.Watched
    strays: set[int] = field(default_factory=set)
    status: int | None = None
    kill_at: float | None = None
    is_ending: bool = False
    excess: watch.Excess | None = None
    peak_bytes: int = 0


class Supervisor:
    """All sandboxes of one server."""

    def __init__(self, control: socket.socket, config: dict[str, Any], filters: list[int]) -> None:
        self._control = control
        self._mechanism = Mechanism(config["mechanism"])
        self._layout = HostLayout.from_dict(config["layout"])
        self._bwrap: str = config["bwrap"]
        self._filters = dict(zip(("isolated", "host"), filters, strict=True))
        self._cgroups = cgroups.Cgroups.find() if config["uses_cgroups"] else None
        self._scratch = scratch.make_scratch(config["state_dir"])
        self._sandboxes: dict[int, _Sandbox] = {}
        self._removers: set[int] = set()
        self._is_stopping = False
        self._ticks = 0
        self._next_tick_at = 0.0
        self._tasks_seen = 0
        self._send(
            "ready", cgroups=self._cgroups and [self._cgroups.version, *self._cgroups.controllers]
        )

    def run(self) -> None:
        """Serve until the gateway is gone or SIGTERM comes, then leave nothing behind."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_is_stopping", True))
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while not self._is_stopping:
                for key, _ in selector.select(self._patience_s()):
                    if key.fileobj is self._control:
                        self._receive()
                    else:
                        os.read(woken, 4096)
                self._advance()
            selector.unregister(self._control)
            self._shut_down(selector, woken)

    def _patience_s(self) -> float | None:
        if not self._sandboxes and not self._removers:
            return None
        if any(each.is_ending for each in self._sandboxes.values()):
            return _ENDING_TICK_S
        now = time.monotonic()
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
                self._start(message)
            case "kill" if message["id"] in self._sandboxes:
                self._end(self._sandboxes[message["id"]], message["grace_s"])

    def _start(self, message: dict[str, Any]) -> None:
        with Descriptors() as descriptors:
            try:
                started = self._launch(message, descriptors)
            except (OSError, ValueError) as error:
                self._discard(message["id"])
                self._send("refused", id=message["id"], message=f"{error}")
                return
            self._sandboxes[started.id] = started
            self._send("started", descriptors.theirs, id=started.id, pid=started.root)

    def _launch(self, message: dict[str, Any], descriptors: Descriptors) -> _Sandbox:
        number: int = message["id"]
        spec = confinement.with_defaults(SandboxSpec.from_dict(message["spec"]))
        steps = sandbox.root_steps(spec, self._layout)
        slot = uid = None
        if not self._mechanism.has_own_root:
            slot = SlotDir(path=f"{self._scratch}/{number}")
            if self._mechanism is Mechanism.LANDLOCK:
                uid = scratch.own_user(spec, number, scratch=self._scratch, layout=self._layout)
            spec = confinement.translated(spec, slot, self._layout)
            scratch.make_slot(slot, spec, uid)
        plan = confinement.confinement(
            spec,
            self._layout,
            mechanism=self._mechanism,
            slot=slot,
            uid=uid,
            api_path_prefix=message["api_path_prefix"],
            tasks_of_host=processes.tasks_of_host(),
        )
        argv = sandbox.confine_argv(self._layout, has_own_root=self._mechanism.has_own_root)
        if self._mechanism is Mechanism.BUBBLEWRAP:
            argv = sandbox.bwrap_argv(self._bwrap, spec, self._layout, command=argv)
        group = self._cgroups.create(str(number), spec.limits) if self._cgroups else None
        controllers = self._cgroups.controllers if self._cgroups else ()
        root = launcher.start(
            launcher.Launch(
                mechanism=self._mechanism,
                argv=argv,
                descriptors=descriptors.open_for(
                    plan, self._filters[spec.network], has_slot_socket=spec.has_slot_socket
                ),
                entrances=group.entrances if group else (),
                steps=steps,
                has_own_network=spec.network == "isolated",
            )
        )
        return _Sandbox(
            id=number,
            root=root,
            group=group,
            slot=slot,
            watched=watch.Watched(
                root=root,
                limits=spec.limits,
                memory="memory" not in controllers,
                processes="pids" not in controllers,
                private=()
                if slot
                else tuple(step.target for step in steps if step.kind == "tmpfs"),
            ),
        )

    def _discard(self, number: int) -> None:
        shutil.rmtree(f"{self._scratch}/{number}", ignore_errors=True)
        if self._cgroups:
            self._cgroups.discard(str(number))

    def _end(self, ended: _Sandbox, grace_s: float) -> None:
        if ended.is_ending:
            return
        if grace_s <= 0:
            self._destroy(ended)
            return
        # not to the root: our own processes have no reason to leave early
        processes.send(processes.descendants(ended.root), signal.SIGTERM)
        kill_at = time.monotonic() + grace_s
        ended.kill_at = kill_at if ended.kill_at is None else min(kill_at, ended.kill_at)

    def _destroy(self, ended: _Sandbox) -> None:
        ended.is_ending = True
        if ended.group:
            ended.group.kill()
        if ended.status is None:
            if not self._mechanism.has_own_root:
                processes.kill_descendants(ended.root)
            processes.send([ended.root], signal.SIGKILL)

    def _advance(self) -> None:
        self._reap()
        now = time.monotonic()
        if now >= self._next_tick_at:
            self._next_tick_at = now + _TICK_S
            self._ticks += 1
            self._tasks_seen = processes.tasks_of_host()
            for each in self._sandboxes.values():
                self._watch(each)
        else:
            self._glance()
        for each in list(self._sandboxes.values()):
            if each.kill_at is not None and now >= each.kill_at and not each.is_ending:
                self._destroy(each)
            if each.status is not None:
                self._finish(each)

    def _reap(self) -> None:
        by_root = {each.root: each for each in self._sandboxes.values()}
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                self._removers.discard(pid)
                if pid in by_root:
                    by_root[pid].status = status
                    self._destroy(by_root[pid])
                for each in self._sandboxes.values():
                    each.strays.discard(pid)
        ending = [each for each in self._sandboxes.values() if each.status is not None]
        if not ending:
            return
        # Whatever became our child without being started as one belonged to a root that died.
        known = self._removers | {each.root for each in self._sandboxes.values()}
        for stray in set(processes.children(os.getpid())) - known:
            processes.kill_descendants(stray)
            processes.send([stray], signal.SIGKILL)
            for each in ending:
                each.strays.add(stray)

    def _glance(self) -> None:
        counted = [each for each in self._sandboxes.values() if each.watched.processes]
        if not counted or (tasks := processes.tasks_of_host()) <= self._tasks_seen + _SURGE_TASKS:
            return
        self._tasks_seen = tasks
        for each in counted:
            if not each.is_ending and watch.has_too_many(each.watched):
                each.excess = "processes"
                self._destroy(each)

    def _watch(self, each: _Sandbox) -> None:
        if each.is_ending:
            return
        if each.watched.memory or each.watched.processes:
            used, each.excess = watch.look(each.watched)
            each.peak_bytes = max(each.peak_bytes, used)
        if each.slot and self._ticks % _DISK_TICKS == 0 and not each.excess:
            each.excess = "disk" if watch.is_full(each.slot.path, each.watched.limits) else None
        if each.excess or (each.group and each.group.has_lost_one()):
            self._destroy(each)  # half a tree is of no use to anybody

    def _finish(self, each: _Sandbox) -> None:
        if each.strays or (each.group and each.group.members()):
            if each.group:
                each.group.kill()
            return
        assert each.status is not None
        code, number = _decoded(each.status)
        usage = each.group.usage() if each.group else None
        if each.group and not each.group.remove():
            return
        del self._sandboxes[each.id]
        if each.slot:
            self._remove(each.slot.path)
        self._send(
            "exited",
            id=each.id,
            code=code,
            signal=number,
            was_oom=each.excess == "memory" or bool(usage and usage.was_oom),
            was_process_limit=each.excess == "processes" or bool(usage and usage.was_process_limit),
            was_disk_limit=each.excess == "disk",
            peak_memory_bytes=(usage and usage.peak_memory_bytes) or each.peak_bytes or None,
        )

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

    def _send(self, event: str, descriptors: "list[int] | None" = None, **fields: Any) -> None:
        data = json.dumps({"event": event, **fields}).encode()
        try:
            socket.send_fds(self._control, [data], descriptors or [])
        except OSError:
            self._is_stopping = True

    def _shut_down(self, selector: selectors.BaseSelector, woken: int) -> None:
        for each in self._sandboxes.values():
            self._destroy(each)
        deadline = time.monotonic() + _SHUTDOWN_S
        while (self._sandboxes or self._removers) and time.monotonic() < deadline:
            for _ in selector.select(_ENDING_TICK_S):
                os.read(woken, 4096)
            self._advance()
        shutil.rmtree(self._scratch, ignore_errors=True)
        if self._cgroups:
            self._cgroups.close()


def _decoded(status: int) -> tuple[int | None, int | None]:
    """Return exit code and signal; roots report a signal as 128 and its number."""
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    code = os.WEXITSTATUS(status)
    return (None, code - 128) if 128 < code < 128 + signal.NSIG else (code, None)


def main() -> None:
    """Serve the gateway on the descriptor given as first argument; the rest is for `ps` only."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the gateway decides when it is over
    launcher.adopt_orphans()
    data, filters, _, _ = socket.recv_fds(
        control, MESSAGE_BYTES_MAX, 2, flags=socket.MSG_CMSG_CLOEXEC
    )
    if data:
        Supervisor(control, json.loads(data), filters).run()


if __name__ == "__main__":
    main()
