"""
The zygote of an environment: imports third-party modules once, then forks slots that have them.

Started like a slot, in a sandbox of its own that shows the environment and no algorithm, with a
socket to the server on descriptor 3. Messages keep their boundaries:

    server -> zygote     {"modules": [...]}           what to import ahead
    zygote -> server     R {"modules": ...}           imported, and fit to be forked
                         E text                       not; the zygote ends
    server -> zygote     S and a socket               a slot is wanted; over it goes the rest

The zygote forks and forgets. What it forked becomes the slot in three steps, each a process that
is the parent of the next, as in a cold start (`launcher.py` of the server):

    server -> slot       {"steps": [...]}       what to mount
    slot -> server       B                      has namespaces of its own, but no users in them yet
    server -> slot       g                      now it has, and is in its control group
                                                forks the init of its process namespace, and ends
                                                mounts, loopback; forks the program; is init
    server -> slot       {"plan", "entry"}      what to run, at last, with its descriptors
    slot -> server       L and a socket, R      nothing is left to give up (`confine.enclose`)
    server -> slot       g                      the kernel says so, too
                                                variables, fresh random numbers; the algorithm

A slot may wait for its order for hours. Until the last `g` nothing of an author has run; if
anything goes wrong before, the server starts the slot cold.

The zygote never returns to what it was: there is one thread, no garbage collection, nothing is
written to that could be left alone, so that the pages stay shared.

Standard library only, Python 3.8+.

Source: runtime design, "Zygote".
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import signal
import socket
import struct
import sys
import time
from typing import Any, Dict, NoReturn

from algorium_runtime import archive, confine, guard, namespaces, preloading

READY, ERROR, START = b"R", b"E", b"S"
BORN, GO = b"B", b"g"
HIDE = signal.SIGUSR1
"""Tells the init of a slot that it was looked at, and shall not be looked at any more."""
ARCHIVE_FD = confine.CHANNEL_FD + 1
"""The first of them."""
DESCRIPTORS_MAX = 16
MESSAGE_BYTES_MAX = 1024 * 1024
_SPARE_FD = 64
_HIDING_S = 1.0
_LOOK_AGAIN_S = 0.0005
_COVER = "/tmp/cover"  # noqa: S108 - gone before anybody else can be there
_INT = struct.Struct("i")

Order = Dict[str, Any]


def wait_for_birth(descriptor: int = confine.SLOT_FD) -> str:
    """
    Be the zygote; returns in every slot that it forked, and there only.

    Returns:
        The module that the slot serves.
    """
    given = dict(os.environ)
    control = socket.socket(fileno=descriptor)
    wanted = json.loads(control.recv(MESSAGE_BYTES_MAX))
    imported = preloading.import_ahead(wanted["modules"], is_stepwise=False)
    if imported.fault is not None:
        control.send(ERROR + imported.fault.what.encode())
        os._exit(1)
    said = {"modules": len(imported.names), "left_out": len(imported.left_out)}
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here asks how the first process ended
    gc.collect()
    gc.freeze()
    gc.disable()
    control.send(READY + json.dumps(said).encode())
    while True:
        message, descriptors = _receive(control)
        if not message:
            os._exit(0)
        birth = socket.socket(fileno=descriptors[0])
        if _fork() == 0:
            control.close()
            return _be_born(birth, given)
        birth.close()


def _fork() -> int:
    try:
        return os.fork()
    except OSError:
        return -1  # no room for another process: the server finds the socket closed


def _be_born(birth: socket.socket, given: dict[str, str]) -> str:
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        birth = _place(birth.detach(), confine.CHANNEL_FD)
        steps = json.loads(birth.recv(MESSAGE_BYTES_MAX))["steps"]
        namespaces.unshare(namespaces.NEW_ALL)
        birth.send(BORN)
        _await_leave(birth)
        settled, unsettled = os.pipe()
        if os.fork():
            os._exit(0)
        _furnish(steps)
        program = os.fork()
        if program:
            _be_init(program, unsettled)
        os.setsid()
        os.close(unsettled)
        os.read(settled, 1)  # ends when those before us have left, or closed all they had
        message, descriptors = _receive(birth)
        if not message:
            os._exit(confine.FAILED)  # not wanted after all
        order = json.loads(message)
        _take(descriptors)
        confine.drop_bounding_set()
        env = confine.enclose(order["plan"], confine.read_all(confine.FILTER_FD), _unpack)
        birth.send(READY)
        _await_leave(birth)
        birth.close()
        _await_hidden_init()
        _settle(env, given)
    except BaseException as error:
        confine.fail(error)
    entry: str = order["entry"]
    return entry


def _receive(source: socket.socket) -> tuple[bytes, list[int]]:
    """Return a message and the descriptors beside it; nothing at the end of the stream."""
    room = socket.CMSG_SPACE(DESCRIPTORS_MAX * _INT.size)
    message, ancillary, _, _ = source.recvmsg(MESSAGE_BYTES_MAX, room)
    descriptors: list[int] = []
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors += (fd for (fd,) in _INT.iter_unpack(content))
    return message, descriptors


def _place(birth: int, number: int) -> socket.socket:
    """Move the one descriptor that matters to its *number*, and close all others but 0, 1, 2."""
    moved = fcntl.fcntl(birth, fcntl.F_DUPFD, _SPARE_FD)
    os.dup2(moved, number)
    for fd in guard.descriptors():
        if fd not in {0, 1, 2, number}:
            os.close(fd)
    return socket.socket(fileno=number)


def _take(descriptors: list[int]) -> None:
    """Give the descriptors of the program their numbers, in the order in which they come."""
    numbers = [1, 2, confine.SLOT_FD, confine.FILTER_FD]
    numbers += range(ARCHIVE_FD, ARCHIVE_FD + len(descriptors) - len(numbers))
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, _SPARE_FD) for fd in descriptors]
    for fd, number in zip(moved, numbers):
        os.dup2(fd, number)
    for fd in guard.descriptors():
        if fd not in {0, confine.CHANNEL_FD, *numbers}:
            os.close(fd)


def _await_leave(birth: socket.socket) -> None:
    if birth.recv(len(GO)) != GO:
        os._exit(confine.FAILED)  # the server has other plans


def _await_hidden_init() -> None:
    """
    Wait until the init's memory cannot be read any more, where only that protects it.

    The server has told it by now. It is under a looser filter of system calls than the program.
    Whether its directories can be listed says nothing: they belong to root then, whom a server of
    root's gives its slots as their own user. What it runs is told to those who may trace it.
    """
    ends_at = time.monotonic() + _HIDING_S
    while time.monotonic() < ends_at:
        try:
            os.readlink("/proc/1/exe")
        except PermissionError:
            return
        time.sleep(_LOOK_AGAIN_S)


def _furnish(steps: list[tuple[str, str, int, int]]) -> None:
    """
    Cover all that the zygote could write to, and whatever shows its processes.

    Args:
        steps: Kind, place, size and mode; parents first. What can only be read and would be covered
            is shown again; what nobody shall read is hidden.
    """
    namespaces.unshare(namespaces.NEW_CGROUP)
    namespaces.raise_loopback()
    shown = {step[1]: os.open(step[1], os.O_PATH) for step in steps if step[0] == "show"}
    for kind, target, size_bytes, mode in steps:
        if kind == "proc":
            flags = namespaces.PROC_FLAGS | namespaces.MS_RDONLY
            namespaces.mount("proc", target, "proc", flags)
        elif kind == "tmpfs":
            namespaces.mount_tmpfs(target, size_bytes=size_bytes, mode=mode)
        elif kind == "show":
            namespaces.bind(f"/proc/self/fd/{shown[target]}", target)
        else:
            _hide(target)
    for fd in shown.values():
        os.close(fd)


def _hide(target: str) -> None:
    """Cover a file with an empty one that nobody may open, and that has no other name."""
    cover = _COVER
    os.close(os.open(cover, os.O_CREAT | os.O_EXCL, 0))
    namespaces.bind(cover, target)
    os.unlink(cover)


def _be_init(program: int, unsettled: int) -> NoReturn:
    """
    Reap everything until *program* ends, and end like it.

    Args:
        program: Our child.
        unsettled: What it waits for: closed when all that we had is given up.
    """
    confine.drop_capabilities()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which an init does not even notice
    signal.signal(HIDE, lambda *_: namespaces.hide_memory())  # not before we were looked at
    for fd in guard.descriptors():
        if fd != unsettled:
            os.close(fd)
    os.close(unsettled)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == program:
            killed = os.WIFSIGNALED(status)
            os._exit(128 + os.WTERMSIG(status) if killed else os.WEXITSTATUS(status))


def _unpack(number: str, target: str) -> None:
    archive.unpack(ARCHIVE_FD + int(number), target)


def _settle(env: dict[str, str], given: dict[str, str]) -> None:
    """
    Become a process like any other: what was shared so far and must not be is made anew.

    Args:
        env: The variables of the slot.
        given: Those of the zygote at first. What its modules changed since then stays changed.
    """
    for fd in guard.descriptors():
        if fd > confine.SLOT_FD:
            os.close(fd)
    for name in given.keys() - env.keys():
        os.environ.pop(name, None)
    os.environ.update({name: value for name, value in env.items() if given.get(name) != value})
    time.tzset()
    gc.enable()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None:
        multiprocessing.current_process().authkey = os.urandom(32)
