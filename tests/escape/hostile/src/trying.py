"""Trying something forbidden, and telling how it ended."""

import ctypes
import errno
import os

LIBC = ctypes.CDLL(None, use_errno=True)
IS_X86_64 = os.uname().machine == "x86_64"


def outcome(action, *arguments):
    """Return {"refused": NAME OF THE ERROR} or {"done": WHAT CAME OF IT}."""
    try:
        return {"done": repr(action(*arguments))[:500]}
    except OSError as error:
        return {"refused": errno.errorcode.get(error.errno, f"{error}")}
    except Exception as error:
        return {"refused": type(error).__name__}


def checked(result):
    """Raise what the C library left in errno, if *result* says that it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def system_call(number, *arguments):
    """Make a system call by its number; integers and bytes are passed as they are."""
    passed = (each if isinstance(each, bytes) else ctypes.c_long(each) for each in arguments)
    return checked(LIBC.syscall(ctypes.c_long(number), *passed))
