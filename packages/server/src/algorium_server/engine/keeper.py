"""
The init of a zygote's sandbox: adopts the slots, tells how they ended, and keeps them together.

A zygote is not trusted, so what the supervisor must be able to rely on is done here, by code of
ours that runs nothing foreign and listens to the supervisor alone. Messages are JSON, one packet
each; process ids are those of the zygote's own process namespace:

    keeper -> supervisor                      supervisor -> keeper
    zygote  {pid}                             map    {pid}   give its new user namespace its user
    mapped  {pid, error}                      retire {}      end the zygote; slots live on
    ended   {pid, status, cpu_s}

A slot's first process loses its parent at once (see `zygote.py` of the runtime) and becomes our
child. What ended is told after it was reaped, and then nothing of its process namespace runs.
When this process ends, everything in the sandbox ends, slots included: it leaves when the
supervisor closes the socket, and dies with the process that watches over it.

Source: pid_namespaces(7), user_namespaces(7), "User and group ID mappings".
"""

import json
import os
import random
import select
import signal
import socket
from contextlib import suppress
from typing import Any, Final, NoReturn

from algorium_runtime import confine
from algorium_server.engine.sandbox import UID

MESSAGE_BYTES_MAX: Final = 4096
_FIRST_ID, _LAST_ID = 10_000, 30_000
"""Below what every system allows."""
_MAPS: Final = (("setgroups", "deny"), ("uid_map", f"{UID} {UID} 1"), ("gid_map", f"{UID} {UID} 1"))


def skip_process_ids(proc: int) -> None:
    """
    Let the next process of this namespace have an id that no process of a slot will have soon.

    Many libraries notice a fork by a changed process id, and draw fresh random numbers then. Slots
    have process namespaces of their own in which they count from 1, like we do here.

    Args:
        proc: A writable process file system, as a descriptor.
    """
    with suppress(OSError):  # an older kernel: then ids of a slot's own processes may meet ours
        _write("sys/kernel/ns_last_pid", str(random.randrange(_FIRST_ID, _LAST_ID)), proc)  # noqa: S311


def keep(control: int, proc: int, *, zygote: int) -> NoReturn:
    """
    Serve the supervisor until it has no more use for this sandbox.

    Args:
        control: The socket to the supervisor.
        proc: A writable process file system, as a descriptor.
        zygote: The process that is the zygote, or about to become it.
    """
    os.closerange(0, control)
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    supervisor = socket.socket(fileno=control)
    _tell(supervisor, "zygote", pid=zygote)
    is_alive = True
    while True:
        is_alive &= zygote not in _reap(supervisor)
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            os.read(woken, MESSAGE_BYTES_MAX)
        if control in ready:
            message = json.loads(supervisor.recv(MESSAGE_BYTES_MAX) or b'{"op": "leave"}')
            match message["op"]:
                case "map":
                    _tell(
                        supervisor, "mapped", pid=message["pid"], error=_map(message["pid"], proc)
                    )
                case "retire":
                    if is_alive:
                        os.kill(zygote, signal.SIGKILL)
                case _:
                    os._exit(0)


def _reap(supervisor: socket.socket) -> set[int]:
    reaped = set()
    with suppress(ChildProcessError):
        while True:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if not pid:
                break
            reaped.add(pid)
            _tell(supervisor, "ended", pid=pid, status=status, cpu_s=used.ru_utime + used.ru_stime)
    return reaped


def _map(pid: int, proc: int) -> str:
    """Let the user namespace of *pid*, which it has just made, know the one user there is."""
    try:
        for name, text in _MAPS:
            _write(f"{pid}/{name}", text, proc)
    except OSError as error:
        return f"{error.strerror}: {error.filename}"
    return ""


def _write(path: str, text: str, proc: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW, dir_fd=proc)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _tell(supervisor: socket.socket, event: str, **fields: Any) -> None:
    try:
        supervisor.send(json.dumps({"event": event, **fields}).encode())
    except OSError:
        os._exit(confine.FAILED)  # the supervisor is gone
