"""
The hold: while a backup is copying, nothing is removed that it may be about to copy.

Everywhere here rows go first and bytes after them, so bytes that nobody removes any more are
garbage, which the next sweep finds. That makes the protocol short. A backup locks the file `hold`
in the home directory, then looks at the rows. Whoever is about to remove bytes looks at the lock
*after* the rows are gone:

- locked: the backup may have seen the rows. The bytes stay, as if we had crashed here.
- not locked: a backup that begins from now on does not see the rows.

The kernel ends the lock with the process that has it: a backup that was killed holds nothing up.

Everything here blocks, but only `held` for long.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from algorium_server.domain.errors import Unavailable
from algorium_server.domain.limits import BACKUP_HOLD_WAIT_S

HOLD_FILE: Final = "hold"
_LOOK_EVERY_S: Final = 0.01


def is_held(directory: Path) -> bool:
    """Whether a backup is copying the home that *directory* lies in, directly."""
    try:
        descriptor = os.open(directory.with_name(HOLD_FILE), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # there has never been a backup
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def held(home: Path) -> Iterator[None]:
    """
    Hold a home directory: what is not removed yet stays until the block ends.

    Raises:
        Unavailable: Another backup holds it, or it cannot be written to.
    """
    try:
        descriptor = os.open(home / HOLD_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"Cannot use {home}: {error.strerror}") from error
    try:
        _lock(descriptor, home)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, home: Path) -> None:
    # Those who look at the lock have it for a moment, too.
    until = time.monotonic() + BACKUP_HOLD_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise Unavailable(
                    f"A backup of {home} is running", hint="Wait for its end, then try again."
                ) from error
            time.sleep(_LOOK_EVERY_S)
