"""
What a push brings, as git itself sees it before it is accepted, and what a crash leaves of it.

Source: git's documentation of hooks, "pre-receive", and of `receive-pack`, "quarantine
environment".
"""

import asyncio
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from algorium_server.build.source.commits import remove_stale_lock
from algorium_server.build.source.git import ask_git
from algorium_server.domain.errors import Unavailable
from algorium_server.domain.limits import REPOSITORY_LOCK_S


async def dropped_commits(
    repository: Path, *, old: str, new: str, environment: Mapping[str, str], only_one: bool
) -> frozenset[str]:
    """
    Return the commits that come before *old* and not before *new*: those a branch would lose.

    Args:
        repository: Which one.
        old: Where the branch is.
        new: Where it is to be.
        environment: Where git finds what has arrived.
        only_one: It matters whether there are any, and not which.

    Raises:
        Unavailable: The history cannot be read.
    """
    count = ("--max-count=1",) if only_one else ()
    status, told = await ask_git(
        repository, "rev-list", *count, old, f"^{new}", environment=environment
    )
    if status != 0:
        raise Unavailable("the history cannot be read: the repository is damaged")
    return frozenset(told.decode().split())


async def count_refs(repository: Path) -> int:
    """Return how many branches and tags there are."""
    _, told = await ask_git(repository, "for-each-ref", "--format=.")
    return told.count(b".")


async def repository_bytes(repository: Path) -> int:
    """Return what a repository takes on the disk, with what has arrived and waits."""
    return await asyncio.to_thread(lambda: sum(_sizes(repository)))


def sweep_incoming(repositories: Path, *, age_s: float) -> None:
    """
    Remove what pushes have left that were killed, if it is older than *age_s*; blocks.

    Args:
        repositories: The directory of all repositories.
        age_s: Older than any push that may still be under way.

    Locks are removed as well: with several gateways, only those that are old enough to be nobody's.
    """
    for pattern in ("*.lock", "refs/*/*.lock", "refs/*/*/*.lock"):
        for path in repositories.glob(f"*/*.git/{pattern}"):
            with suppress(OSError):
                remove_stale_lock(path, age_s=min(age_s, REPOSITORY_LOCK_S))
    until = time.time() - age_s
    for pattern in ("objects/tmp_objdir-*", "objects/incoming-*", "objects/pack/tmp_*"):
        for path in repositories.glob(f"*/*.git/{pattern}"):
            with suppress(OSError):
                if path.stat().st_mtime > until:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def remove_stale_locks(repository: Path, refs: Iterable[str]) -> None:
    """
    Remove locks of processes that were killed, which would keep git from moving *refs*; blocks.

    Args:
        repository: Which one.
        refs: Full names of branches and tags.
    """
    names = ["HEAD", "packed-refs", *refs]
    for name in names:
        if ".." not in name:
            remove_stale_lock(repository / f"{name}.lock")


def _sizes(directory: Path) -> Iterator[int]:
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # git tidies up meanwhile
                if entry.is_dir(follow_symlinks=False):
                    yield from _sizes(Path(entry.path))
                else:
                    yield entry.stat(follow_symlinks=False).st_size
