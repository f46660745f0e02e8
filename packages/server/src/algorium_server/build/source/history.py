"""
The history of a repository: which commits there are, newest first.

Source: wire specification, "Builds".
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from algorium_server.build.source.commits import check_repository
from algorium_server.build.source.git import ask_git
from algorium_server.domain.errors import NotFound, Unavailable
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
    check_repository(repository)
    if not _SHA.fullmatch(commit_sha):
        return False
    _, kind = await ask_git(repository, "cat-file", "-t", commit_sha)
    return kind.strip() == b"commit"


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
        Unavailable: They cannot be listed in time.
    """
    for commit_sha in (until, *([since] if since else [])):
        if not await has_commit(repository, commit_sha):
            raise NotFound(f"there is no commit {commit_sha[:100]!r}")
    before = [f"^{since}^@"] if since else []
    status, told = await ask_git(
        repository, "log", "-z", "--encoding=UTF-8", f"--max-count={entries_max}",
        "--format=tformat:%H%x00%an <%ae>%x00%B", until, *before,
    )  # fmt: skip
    if status != 0:
        raise Unavailable("the history cannot be read: the repository is damaged")
    fields = told.decode("utf-8", "replace").split("\0")[:-1]
    return [
        HistoryEntry(commit_sha=commit_sha, author=author, message=message)
        for commit_sha, author, message in zip(fields[::3], fields[1::3], fields[2::3], strict=True)
    ]
