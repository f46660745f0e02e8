"""
Namespaces and mounts, by system call: what Python's library does not offer.

Standard library only, Python 3.8+: zygotes use this in an algorithm's interpreter.

Source: namespaces(7), mount(2), netdevice(7).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct

from algorium_runtime.confine import prctl

NEW_CGROUP, NEW_UTS, NEW_IPC, NEW_USER = 0x02000000, 0x04000000, 0x08000000, 0x10000000
NEW_PID, NEW_NET, NEW_MOUNT = 0x20000000, 0x40000000, 0x00020000
NEW_ALL = NEW_UTS | NEW_IPC | NEW_USER | NEW_PID | NEW_NET | NEW_MOUNT
"""Whatever a slot has of its own, except the view of control groups, which comes later."""
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC = 4096, 16384
BIND_FLAGS = MS_BIND | MS_REC
TMPFS_FLAGS = MS_NOSUID | MS_NODEV
PROC_FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC

_PR_SET_DUMPABLE = 4
_SIOCSIFFLAGS = 0x8914
_IFF_UP_RUNNING = 0x41

libc = ctypes.CDLL(None, use_errno=True)


def unshare(kinds: int) -> None:
    """Leave the namespaces of these *kinds* for new ones; raises OSError where refused."""
    checked(libc.unshare(kinds), "unshare")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Mount something; raises OSError with the target in its text."""
    arguments = (os.fsencode(text) or None for text in (source, target, kind))
    result = libc.mount(*arguments, ctypes.c_ulong(flags), options.encode() or None)
    checked(result, f"mount {target}")


def mount_tmpfs(target: str, *, size_bytes: int, mode: int) -> None:
    """Mount an empty file system in memory, of limited size."""
    options = f"size={size_bytes},mode={mode:o}"
    mount("tmpfs", target, "tmpfs", TMPFS_FLAGS, options)


def bind(source: str, target: str) -> None:
    """Show *source*, a directory or a file, also at *target*, which is made."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target, "", BIND_FLAGS)


def raise_loopback() -> None:
    """Turn on the loopback device of this network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP_RUNNING))


def hide_memory() -> None:
    """Let nobody of the same user look into this process."""
    prctl(_PR_SET_DUMPABLE, 0)


def checked(result: int, what: str) -> None:
    """Raise OSError if a call of the C library returned an error."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
