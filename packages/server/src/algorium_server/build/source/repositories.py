"""
Source repositories: bare git, one per algorithm.

Commits are made here (`commits`) or pushed from outside; builds check them out (`checkout`).

Source: wire specification, "Internal git hosting".
"""

import asyncio
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from dulwich.repo import Repo

from algorium_server.build.source.checkout import Checkout, check_out
from algorium_server.build.source.commits import (
    FileChange,
    Signature,
    commit_changes,
    commit_files,
    head_of,
)
from algorium_server.domain.pushes import BRANCH
from algorium_server.durable import flush_directory, write_file
from algorium_server.holding import is_held

__all__ = ["Checkout", "FileChange", "Repositories", "Signature"]

_OUTDATED: Final = "fsyncobjectfiles"
"""Since git 2.36 there is another setting; it warns of this one in every answer."""


class Repositories:
    """
    The repositories below one directory: `OWNER_ID/ALGORITHM_ID.git`.

    dulwich blocks, so every method runs it in a thread.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._committing: defaultdict[Path, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def directory(self) -> Path:
        """Where all of them are."""
        return self._directory

    def path(self, owner_id: str, algorithm_id: str) -> Path:
        """Return where a repository is, or would be."""
        return self._directory / owner_id / f"{algorithm_id}.git"

    async def create(self, owner_id: str, algorithm_id: str) -> None:
        """Create an empty repository; one that exists already is left as it is."""
        await asyncio.to_thread(_create, self.path(owner_id, algorithm_id))

    async def renew(self, owner_id: str, algorithm_id: str) -> None:
        """Take out of the configuration of an older repository what git complains about."""
        await asyncio.to_thread(_renew, self.path(owner_id, algorithm_id) / "config")

    async def remove(self, owner_id: str, algorithm_id: str) -> None:
        """
        Remove a repository with all its history.

        Its algorithm's row is gone already, or was never written. While a backup is copying it
        stays, for the sweep of the next start.
        """
        await asyncio.to_thread(_remove, self._directory, self.path(owner_id, algorithm_id))

    async def commit(
        self,
        owner_id: str,
        algorithm_id: str,
        files: Mapping[str, bytes],
        *,
        author: Signature,
        message: str,
    ) -> str:
        """
        Make *files* the newest state of the default branch.

        Args:
            owner_id: Whose repository.
            algorithm_id: Which one.
            files: The whole tree, by path with slashes; what is not in it is gone afterwards.
            author: Who commits.
            message: What changed, and why.

        Returns:
            The commit. If the tree is that of the newest one already, that one.

        Raises:
            NotFound: There is no such repository.
            InvalidInput: A path or a size is not acceptable.
        """
        path = self.path(owner_id, algorithm_id)
        async with self._committing[path]:
            return await asyncio.to_thread(commit_files, path, files, author, message)

    async def change(
        self,
        owner_id: str,
        algorithm_id: str,
        changes: Sequence[FileChange],
        *,
        parent: str = "",
        author: Signature,
        message: str,
    ) -> str:
        """
        Change some files of the newest state of the default branch: all of them, or none.

        Args:
            owner_id: Whose repository.
            algorithm_id: Which one.
            changes: One for each file.
            parent: Which commit must be the newest one; empty if whatever is there will do.
            author: Who commits.
            message: What changed, and why.

        Returns:
            The commit. If nothing changes, the one that was the newest already.

        Raises:
            NotFound: There is no such repository.
            ConditionFailed: Another commit than *parent* is the newest one.
            InvalidInput: A path is not acceptable, or there is nothing to delete.
        """
        path = self.path(owner_id, algorithm_id)
        async with self._committing[path]:
            return await asyncio.to_thread(
                commit_changes, path, changes, parent=parent, author=author, message=message
            )

    async def head(self, owner_id: str, algorithm_id: str) -> str | None:
        """
        Return the newest commit of the default branch, None if there is none yet.

        Raises:
            NotFound: There is no such repository.
        """
        return await asyncio.to_thread(head_of, self.path(owner_id, algorithm_id))

    async def check_out(
        self, owner_id: str, algorithm_id: str, commit_sha: str, target: Path
    ) -> Checkout:
        """
        Write the files of a commit into the new directory *target*; on errors nothing is left.

        Raises:
            NotFound: There is no such repository or commit.
            BuildFailed: The tree holds what is not checked out: links, submodules, odd names,
                or more than the limits allow.
        """
        repository = self.path(owner_id, algorithm_id)
        return await asyncio.to_thread(check_out, repository, commit_sha, target)


def _remove(directory: Path, path: Path) -> None:
    if not is_held(directory):
        shutil.rmtree(path, ignore_errors=True)


def _create(path: Path) -> None:
    if (path / "HEAD").exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    # Its configuration says nothing of what may be pushed, and how: see `git.CONFIG`.
    Repo.init_bare(half, mkdir=True, default_branch=BRANCH.encode()).close()
    half.rename(path)
    flush_directory(path.parent)


def _renew(config: Path) -> None:
    try:
        lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return
    kept = [line for line in lines if _OUTDATED not in line.lower()]
    if kept != lines:
        write_file(config, "".join(kept))
