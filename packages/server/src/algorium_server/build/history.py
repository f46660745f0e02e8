"""
The history of a repository: which commits there are, newest first.

Source: wire specification, "Builds".
"""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dulwich.errors import NotGitRepository
from dulwich.objects import Commit, ObjectID
from dulwich.repo import Repo

from algorium_server.domain.errors import NotFound
from algorium_server.domain.limits import COMMITS_LISTED_MAX

_SHA: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """
    A commit, as people read of it.

    Attributes:
        author: `Name <address>`.
    """

    commit_sha: str
    message: str
    author: str

    @property
    def subject(self) -> str:
        """The first line of its message."""
        return self.message.strip().partition("\n")[0]


async def has_commit(repository: Path, commit_sha: str) -> bool:
    """
    Return whether a repository has a commit.

    Raises:
        NotFound: There is no such repository.
    """
    return await asyncio.to_thread(_has_commit, repository, commit_sha)


async def history(
    repository: Path, *, until: str, since: str = "", entries_max: int = COMMITS_LISTED_MAX
) -> list[HistoryEntry]:
    """
    Return commits, newest first.

    Args:
        repository: Where it is.
        until: The newest one, inclusive.
        since: The oldest one, inclusive; everything if empty.
        entries_max: The oldest ones beyond are left out.

    Raises:
        NotFound: There is no such repository, or it has no such commit.
    """
    return await asyncio.to_thread(_history, repository, until, since, entries_max)


def _open(path: Path) -> Repo:
    try:
        return Repo(str(path), bare=True)
    except NotGitRepository as error:
        raise NotFound("the algorithm has no source repository") from error


def _has_commit(path: Path, commit_sha: str) -> bool:
    with _open(path) as repository:
        return _commit(repository, commit_sha) is not None


def _commit(repository: Repo, commit_sha: str) -> Commit | None:
    if not _SHA.fullmatch(commit_sha):
        return None
    try:
        found: object = repository.object_store[ObjectID(commit_sha.encode())]
    except KeyError:
        return None
    return found if isinstance(found, Commit) else None


def _demanded(repository: Repo, commit_sha: str) -> Commit:
    commit = _commit(repository, commit_sha)
    if commit is None:
        raise NotFound(f"there is no commit {commit_sha[:100]!r}")
    return commit


def _history(path: Path, until: str, since: str, entries_max: int) -> list[HistoryEntry]:
    with _open(path) as repository:
        newest = _demanded(repository, until).id
        before = _demanded(repository, since).parents if since else []
        return list(_walk(repository, newest, before, entries_max))


def _walk(
    repository: Repo, newest: ObjectID, before: list[ObjectID], entries_max: int
) -> Iterator[HistoryEntry]:
    walker = repository.get_walker(include=[newest], exclude=before, max_entries=entries_max)
    for entry in walker:
        commit = entry.commit
        yield HistoryEntry(
            commit_sha=commit.id.decode(),
            message=commit.message.decode("utf-8", "replace"),
            author=commit.author.decode("utf-8", "replace"),
        )
