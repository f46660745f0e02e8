"""Failures of disks, in our own words."""

import errno

from algorium_server.domain.errors import AlgoriumError, InternalError, OutOfSpace


def storage_failure(error: OSError) -> AlgoriumError:
    """Return what is to be raised because the operating system refused."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return OutOfSpace(
            hint="Delete files, or ask the operator for more space, then try again.",
            detail=str(error),
        )
    return InternalError("storage failure; nothing was changed", detail=str(error))
