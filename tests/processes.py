"""The processes of this host as `/proc` shows them, those inside sandboxes included."""

import os
from pathlib import Path


def processes_with(text: str) -> list[int]:
    """List the processes, this one excepted, whose command line or environment holds *text*."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            told = _read(f"/proc/{entry}/cmdline") + _read(f"/proc/{entry}/environ")
            if text.encode() in told:
                found.append(int(entry))
    return found


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:  # it has ended, or belongs to somebody else
        return b""
