"""
What must not be in a process whose forks are to serve different callers.

A fork has only the thread that called it: whatever others held or were about to do is lost. It
shares open descriptions, with their offsets and their peers, and shared mappings, with their
contents. So a process that is going to be forked may have one thread, no descriptors beside the
expected ones, no children, no shared memory, no device, and no handlers of signals.

Everything that counts is read from `/proc`, so that a process can be looked at from outside as
well as from inside. Standard library only, Python 3.8+.

Source: runtime design, "Zygote"; fork(2), proc_pid_maps(5).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from importlib import util
from typing import Collection

DENIED = frozenset({"grpc", "jax", "jaxlib", "ray", "tensorflow"})
"""Known not to survive a fork, even where nothing of it shows."""
_CUDA = re.compile(r"^cuda\b[^=\n]*=\s*['\"]", re.MULTILINE)
"""In the file `torch/version.py` of a build that uses graphics cards."""
_MAPPING = re.compile(rb"^[0-9a-f]+-[0-9a-f]+ ")
_SHARED = re.compile(rb"^[0-9a-f]+-[0-9a-f]+ ...s", re.MULTILINE)
_MEMORY_ONLY = ("/dev/zero", "/dev/shm/")  # noqa: S108 - names in a listing

THREADS = "opens threads"
PROCESSES = "starts processes"
SHARED_MEMORY = "shares memory"
SIGNALS = "handles signals"
UNSAFE = "does not survive a fork"


def faults(pid: int | str = "self", *, kept: Collection[int] = (0, 1, 2)) -> list[str]:
    """
    Say what is wrong with a process, in a few words each; nothing if it may be forked.

    Args:
        pid: Which process; our own if not given.
        kept: Descriptors that it may have.

    Raises:
        OSError: It is gone, or not ours to look at.
    """
    found = []
    tasks = os.listdir(f"/proc/{pid}/task")
    if len(tasks) != 1:
        found.append(THREADS)
    for task in tasks:
        with open(f"/proc/{pid}/task/{task}/children") as file:
            if file.read().strip():
                found.append(PROCESSES)
                break
    found += _descriptors(pid, kept)
    found += _devices(pid)
    if shares_memory(pid):
        found.append(SHARED_MEMORY)
    return found


def descriptors(pid: int | str = "self") -> dict[int, str]:
    """Return the open descriptors of a process, and what each leads to."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
    return found


def shares_memory(pid: int | str = "self") -> bool:
    """Whether a process has memory that another one could write to, or it for another."""
    with open(f"/proc/{pid}/maps", "rb") as file:
        if not _SHARED.search(file.read()):
            return False
    # What is mapped from a file that may only be read can never become writable.
    is_shared = False
    with open(f"/proc/{pid}/smaps", "rb") as file:
        for line in file:
            if line.startswith(b"VmFlags:"):
                if is_shared and b"mw" in line.split():
                    return True
            elif _MAPPING.match(line):
                is_shared = bool(_SHARED.match(line))
    return False


def handlers() -> dict[int, object]:
    """Return how this process handles signals, to be compared with later."""
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def is_denied(name: str) -> bool:
    """Whether a module must not be imported ahead at all; decided without importing it."""
    top = name.partition(".")[0]
    return top in DENIED or (top == "torch" and _uses_cuda())


def loaded_denied() -> str | None:
    """Return the first package that is loaded and should not be, None if there is none."""
    for name in list(sys.modules):
        if "." not in name and (name in DENIED or (name == "torch" and _uses_cuda())):
            return name
    return None


def _descriptors(pid: int | str, kept: Collection[int]) -> list[str]:
    found = set()
    for number, target in descriptors(pid).items():
        if number in kept:
            continue
        if target.startswith("socket:"):
            found.add("keeps a socket open")
        elif target.startswith("/dev/"):
            found.add(f"keeps a device open ({target})")
        else:
            found.add(f"keeps a file open ({target})")
    return sorted(found)


def _devices(pid: int | str) -> list[str]:
    found = set()
    with open(f"/proc/{pid}/maps") as file:
        for line in file:
            fields = line.split(None, 5)
            path = fields[5].strip() if len(fields) > 5 else ""
            if path.startswith("/dev/") and not path.startswith(_MEMORY_ONLY):
                found.add(f"maps a device ({path})")
    return sorted(found)


def _uses_cuda() -> bool:
    spec = util.find_spec("torch")  # of a package at the top, this imports nothing
    if spec is None or not spec.origin:
        return False
    try:
        with open(os.path.join(os.path.dirname(spec.origin), "version.py")) as file:
            return _CUDA.search(file.read()) is not None
    except OSError:
        return True  # an unusual build: better not
