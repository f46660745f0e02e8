"""The home directory as one server's own: its lock, and the file that says where it answers."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from algorium_server.domain.errors import Unavailable
from algorium_server.durable import write_file

ENDPOINT_FILE: Final = "endpoint.json"


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """
    Hold the home directory: two servers on one home would overwrite each other's work.

    Raises:
        Unavailable: It cannot be used, or another server runs on it.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"Cannot use {home}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Unavailable(
            f"Another server is running on {home}",
            hint="Stop it, or give this one another --home.",
        ) from error
    try:
        yield
    finally:
        (home / ENDPOINT_FILE).unlink(missing_ok=True)
        os.close(descriptor)


def write_endpoint(home: Path, api: str) -> None:
    """Say where the server on this home answers, for programs on this machine."""
    write_file(home / ENDPOINT_FILE, json.dumps({"api": api, "pid": os.getpid()}) + "\n")
