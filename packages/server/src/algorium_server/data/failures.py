"""Failures of disks, in our own words, and how to avoid the worst of them."""

import errno
import os
from pathlib import Path
from typing import Final

from algorium_server.domain.errors import AlgoriumError, InternalError, OutOfSpace
from algorium_server.domain.limits import DISK_RESERVE_BYTES

_RESERVE_PART: Final = 16
"""Of a small disk the reserve is this part."""
_HINT: Final = "Delete files, or ask the operator for more space, then try again."


def storage_failure(error: OSError) -> AlgoriumError:
    """Return what is to be raised because the operating system refused."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return OutOfSpace(hint=_HINT, detail=str(error))
    return InternalError("storage failure; nothing was changed", detail=str(error))


def check_disk(path: Path) -> None:
    """
    Refuse to fill the disk at *path* so far that nothing could be deleted any more.

    Raises:
        OutOfSpace: Little more than the reserve is left.
    """
    disk = os.statvfs(path)
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < min(DISK_RESERVE_BYTES, disk.f_blocks * disk.f_frsize // _RESERVE_PART):
        raise OutOfSpace(hint=_HINT, detail=f"{free_bytes} bytes are free")
