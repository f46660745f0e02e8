"""
Repositories that no algorithm has: left by a crash between making one and writing its row.

Source: design, "Bytes and rows": a crash leaves garbage, which is swept, never a lie.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from algorium_server.telemetry import logger

_log = logger(__name__)


async def sweep_repositories(
    directory: Path, known: Callable[[], Awaitable[Collection[str]]], *, before: datetime
) -> None:
    """
    Remove what is no algorithm's.

    Args:
        directory: Holds the repositories, as `OWNER_ID/ALGORITHM_ID.git`.
        known: Returns the ids of all algorithms; asked after the directory has been listed.
        before: Only what has not been touched since; what is younger may just be in the making.
    """
    found = await asyncio.to_thread(_older, directory, before.timestamp())
    ids = await known() if found else ()
    garbage = [path for path in found if path.stem not in ids]
    for path in garbage:
        _log.info("a repository without an algorithm is removed", path=str(path))
    await asyncio.to_thread(_remove, garbage)


def _older(directory: Path, timestamp: float) -> list[Path]:
    found = []
    for path in directory.glob("*/*"):
        with suppress(FileNotFoundError):  # it is just being removed, or has got its real name
            if path.stat().st_mtime < timestamp:
                found.append(path)
    return found


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
