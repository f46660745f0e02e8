"""
Commits from repositories elsewhere, brought by git itself into our bare ones.

How git gets there, and what it may take, is in `remotes`. What comes is kept under names of our
choosing.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from algorium_server.build.source.remotes import FetchFailed, Remote, RemoteGit
from algorium_server.domain.limits import (
    SCM_FETCH_BYTES_MAX,
    SCM_FETCH_S_MAX,
    SCM_LOOK_S_MAX,
)
from algorium_server.domain.pushes import BRANCH
from algorium_server.domain.scm_names import is_branch, is_sha

_OURS: Final = f"refs/heads/{BRANCH}"
_INCOMING: Final = "refs/incoming/head"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteHead:
    """The newest commit of a default branch; an empty *branch* if it is detached."""

    branch: str
    sha: str


class Fetching:
    """
    Runs git against repositories elsewhere.

    Args:
        directory: Of our own: who hosts are, and for moments keys.
        inherited: Environment; the server's own if not given. Only what says how this network is
            left is used of it.
        fetch_bytes_max: What one fetch may bring.
        check: Raises an error if an address may not be reached.
    """

    def __init__(
        self,
        directory: Path,
        *,
        inherited: Mapping[str, str] | None = None,
        fetch_bytes_max: int = SCM_FETCH_BYTES_MAX,
        check: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._git = RemoteGit(
            directory,
            inherited=os.environ if inherited is None else inherited,
            bytes_max=fetch_bytes_max,
            check=check,
        )

    def prepare(self) -> None:
        """Make the directory; remove keys that a crash has left, if nobody else uses it now."""
        self._git.prepare()

    async def head(self, remote: Remote) -> RemoteHead | None:
        """
        Return the default branch and its newest commit, None of an empty repository.

        Raises:
            FetchFailed: It cannot be reached.
        """
        output = await self._git.there(
            remote, "ls-remote", "--symref", "--", remote.url, "HEAD", timeout_s=SCM_LOOK_S_MAX
        )
        branch = sha = ""
        for line in output.splitlines():
            value, _, name = line.partition("\t")
            if name != "HEAD":
                continue
            if value.startswith("ref: refs/heads/"):
                branch = value.removeprefix("ref: refs/heads/")
            elif is_sha(value):
                sha = value
        if branch and not is_branch(branch):
            raise FetchFailed(f"the name of the default branch, {branch[:80]!r}, is not supported")
        return RemoteHead(branch=branch, sha=sha) if sha else None

    async def fetch(
        self, repository: Path, remote: Remote, *, branch: str, newest: str = ""
    ) -> str:
        """
        Make the newest commit of a branch elsewhere that of our default branch.

        Where history was rewritten there, the commits that we had stay under another name.

        Args:
            repository: One of ours, bare.
            remote: Where from.
            branch: Its name there.
            newest: Its newest commit, if that is known: if it is ours as well, nothing is fetched.

        Returns:
            The commit.

        Raises:
            FetchFailed: It cannot be reached, or brings more than it may.
        """
        old = await self._ours(repository)
        if newest and newest == old:
            return newest
        try:
            await self._git.there(
                remote,
                *("fetch", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"),
                *("--no-auto-gc", "--force", "--", remote.url),
                f"refs/heads/{branch}:{_INCOMING}",
                timeout_s=SCM_FETCH_S_MAX,
                cwd=repository,
            )
        except FetchFailed:
            _remove_halves(repository)
            raise
        new = (await self._git.here(repository, "rev-parse", "--verify", _INCOMING)).strip()
        if new == old:
            return new
        orders = [f"update {_OURS} {new}"]
        if old and not await self._is_ancestor(repository, old, new):
            orders.insert(0, f"update refs/rewritten/{old} {old}")
        await self._git.here(repository, "update-ref", "--stdin", said="\n".join(orders) + "\n")
        return new

    async def push(self, repository: Path, remote: Remote, *, branch: str) -> None:
        """
        Bring our default branch to an empty repository elsewhere, as *branch*.

        Raises:
            FetchFailed: The host does not take it.
        """
        await self._git.there(
            remote,
            *("push", "--no-verify", "--", remote.url, f"{_OURS}:refs/heads/{branch}"),
            timeout_s=SCM_FETCH_S_MAX,
            cwd=repository,
        )

    async def has_pointers(self, repository: Path, sha: str) -> bool:
        """Whether files of a commit are kept in Git LFS: what is fetched are pointers to them."""
        try:
            text = await self._git.here(repository, "show", f"{sha}:.gitattributes")
        except FetchFailed:
            return False
        return "filter=lfs" in text

    async def _ours(self, repository: Path) -> str:
        with suppress(FetchFailed):
            return (await self._git.here(repository, "rev-parse", "--verify", _OURS)).strip()
        return ""

    async def _is_ancestor(self, repository: Path, old: str, new: str) -> bool:
        try:
            await self._git.here(repository, "merge-base", "--is-ancestor", old, new)
        except FetchFailed:
            return False
        return True


def new_deploy_key() -> tuple[str, str]:
    """Return a new pair of keys: the private one in OpenSSH's format, and the public one's line."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return private.decode(), public.decode()


def _remove_halves(repository: Path) -> None:
    """Remove what a fetch that was cut off has left; nobody else fetches into it meanwhile."""
    for left in (repository / "objects" / "pack").glob("tmp_*"):
        left.unlink(missing_ok=True)
