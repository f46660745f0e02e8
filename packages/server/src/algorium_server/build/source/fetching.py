"""
Commits from repositories elsewhere, brought by git itself into our bare ones.

A repository elsewhere is a stranger's: it can be endless, slow, or wrong on purpose, and so can the
server that it is on. Hence no hooks, no submodules, no configuration but ours, no file systems or
helpers as transports, and limits of bytes and time. What comes is kept under names of our choosing.

Over SSH git shows the algorithm's own deploy key; who the server is, is learned on first contact
and must stay so (`known_hosts`: a file for each host, which operators may also write). Over HTTP
it asks a program of ours for name and token. Neither is ever an argument, or part of an address.
"""

import asyncio
import os
import re
import shlex
import shutil
import signal
import stat
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from algorium_server.build.providers.provider import GitLogin
from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.limits import (
    MIB,
    SCM_CONNECT_S,
    SCM_FETCH_BYTES_MAX,
    SCM_FETCH_S_MAX,
    SCM_LOOK_S_MAX,
    SCM_WORDS_CHARS_MAX,
)
from algorium_server.domain.pushes import BRANCH
from algorium_server.domain.scms import is_branch, is_sha

_INHERITED: Final = (
    *("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"),
    *("ALL_PROXY", "all_proxy", "GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""How this network is left, and whom it trusts; the rest of the server's environment stays here."""
_OURS: Final = f"refs/heads/{BRANCH}"
_INCOMING: Final = "refs/incoming/head"
_OUTPUT_BYTES_MAX: Final = 64 * 1024
"""Kept of what git says; servers can have it say anything, without end."""
_BLOCK_BYTES: Final = 512
"""What `ulimit -f` counts in."""
_ASKPASS: Final = """#!/bin/sh
case "$1" in
Username*) cat "${0%/*}/username" ;;
*) cat "${0%/*}/password" ;;
esac
"""
_SETTINGS: Final = {
    "core.hooksPath": "/dev/null",
    "core.askPass": "",
    "credential.helper": "",
    "http.followRedirects": "false",  # the token would go along
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "fetch.fsckObjects": "true",
    # Faults of old versions of git that many long-lived histories have.
    "fetch.fsck.zeroPaddedFilemode": "ignore",
    "fetch.fsck.missingSpaceBeforeDate": "ignore",
    "fetch.fsck.badTimezone": "ignore",
    "fetch.recurseSubmodules": "false",
    "fetch.unpackLimit": "1",  # one file, which the limit of bytes holds for
    "submodule.recurse": "false",
    "transfer.bundleURI": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "protocol.allow": "never",
    "protocol.ssh.allow": "always",
    "protocol.https.allow": "always",
    "protocol.http.allow": "always",
    "protocol.file.allow": "never",
    "safe.directory": "*",
}
_SSH: Final = {
    "BatchMode": "yes",
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "StrictHostKeyChecking": "accept-new",
    "GlobalKnownHostsFile": "/dev/null",
    "UpdateHostKeys": "no",
    "HashKnownHosts": "no",
    "PreferredAuthentications": "publickey",
    "ForwardAgent": "no",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
    "ControlMaster": "no",
    "ControlPath": "none",
    "ConnectTimeout": f"{SCM_CONNECT_S:.0f}",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",
    "LogLevel": "ERROR",
}
_REFUSED: Final = re.compile(
    r"permission denied|authentication failed|access denied|unauthorized|could not read"
    r"|not found|does not exist|could not be found|invalid credentials|terminal prompts disabled"
    r"|requested url returned error: 40[134]",
    re.IGNORECASE,
)
_NOISE: Final = re.compile(
    r"and the repository exists\.|please make sure you have the correct access rights"
    r"|could not read from remote repository|^warning: permanently added",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """
    A repository elsewhere, and how git gets there.

    Attributes:
        url: Of `ssh`, `https` or `http`.
        known_hosts: Name of the file with the keys of the host's servers.
        private_key: For SSH.
        login: For HTTP.
    """

    url: str
    known_hosts: str
    private_key: str = field(default="", repr=False)
    login: GitLogin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteHead:
    """The newest commit of a default branch; an empty *branch* if it is detached."""

    branch: str
    sha: str


class FetchFailed(Exception):
    """
    Git did not get what it should.

    Attributes:
        reason: In git's and the host's words, one line.
        is_refused: The host does not let us in, or says that there is no such repository, which
            is the same to whoever may not see it.
    """

    def __init__(self, reason: str, *, is_refused: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_refused = is_refused


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
        self._check = check
        self._directory = directory
        source = os.environ if inherited is None else inherited
        self._inherited = {name: source[name] for name in _INHERITED if name in source}
        if "SSL_CERT_FILE" in source:
            self._inherited.setdefault("GIT_SSL_CAINFO", source["SSL_CERT_FILE"])
        self._fetch_bytes_max = fetch_bytes_max

    def prepare(self) -> None:
        """Make the directory; remove keys that a crash has left, if nobody else uses it now."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._directory.glob("git-*"):
            shutil.rmtree(left, ignore_errors=True)

    async def head(self, remote: Remote) -> RemoteHead | None:
        """
        Return the default branch and its newest commit, None of an empty repository.

        Raises:
            FetchFailed: It cannot be reached.
        """
        output = await self._git(
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
            await self._git(
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
        new = (await self._local(repository, "rev-parse", "--verify", _INCOMING)).strip()
        if new == old:
            return new
        orders = [f"update {_OURS} {new}"]
        if old and not await self._is_ancestor(repository, old, new):
            orders.insert(0, f"update refs/rewritten/{old} {old}")
        await self._local(repository, "update-ref", "--stdin", said="\n".join(orders) + "\n")
        return new

    async def push(self, repository: Path, remote: Remote, *, branch: str) -> None:
        """
        Bring our default branch to an empty repository elsewhere, as *branch*.

        Raises:
            FetchFailed: The host does not take it.
        """
        await self._git(
            remote,
            *("push", "--no-verify", "--", remote.url, f"{_OURS}:refs/heads/{branch}"),
            timeout_s=SCM_FETCH_S_MAX,
            cwd=repository,
        )

    async def has_pointers(self, repository: Path, sha: str) -> bool:
        """Whether files of a commit are kept in Git LFS: what is fetched are pointers to them."""
        try:
            text = await self._local(repository, "show", f"{sha}:.gitattributes")
        except FetchFailed:
            return False
        return "filter=lfs" in text

    async def _ours(self, repository: Path) -> str:
        with suppress(FetchFailed):
            return (await self._local(repository, "rev-parse", "--verify", _OURS)).strip()
        return ""

    async def _is_ancestor(self, repository: Path, old: str, new: str) -> bool:
        try:
            await self._local(repository, "merge-base", "--is-ancestor", old, new)
        except FetchFailed:
            return False
        return True

    async def _local(self, repository: Path, *arguments: str, said: str = "") -> str:
        return await self._run(
            *arguments, env={}, timeout_s=SCM_LOOK_S_MAX, cwd=repository, said=said
        )

    async def _git(
        self, remote: Remote, *arguments: str, timeout_s: float, cwd: Path | None = None
    ) -> str:
        if self._check is not None:
            try:
                await self._check(remote.url)
            except AlgoriumError as error:
                raise FetchFailed(f"{error.message}. {error.hint}".strip()) from error
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        private = Path(tempfile.mkdtemp(prefix="git-", dir=self._directory))
        try:
            env = self._access(remote, private)
            return await self._run(*arguments, env=env, timeout_s=timeout_s, cwd=cwd or private)
        finally:
            shutil.rmtree(private, ignore_errors=True)

    def _access(self, remote: Remote, private: Path) -> dict[str, str]:
        if remote.login is not None:
            _write_private(private / "username", remote.login.username)
            _write_private(private / "password", remote.login.password)
            askpass = private / "askpass"
            _write_private(askpass, _ASKPASS)
            askpass.chmod(stat.S_IRWXU)
            return {"GIT_ASKPASS": str(askpass)}
        key = private / "key"
        _write_private(key, remote.private_key)
        known_hosts = self._directory / f"{remote.known_hosts}.known_hosts"
        options = {**_SSH, "UserKnownHostsFile": f'"{known_hosts}"'}
        words = ["ssh", "-F", "/dev/null", "-i", str(key)]
        for name, value in options.items():
            words += ["-o", f"{name}={value}"]
        return {"GIT_SSH_COMMAND": shlex.join(words), "GIT_SSH_VARIANT": "ssh"}

    async def _run(
        self,
        *arguments: str,
        env: Mapping[str, str],
        timeout_s: float,
        cwd: Path,
        said: str = "",
    ) -> str:
        settings = [word for k, v in _SETTINGS.items() for word in ("-c", f"{k}={v}")]
        process = await asyncio.create_subprocess_exec(
            # Without the signal git says what is wrong: parts of it would die without a word.
            *("sh", "-c", 'trap "" XFSZ && ulimit -f "$0" && exec git "$@"'),
            str(self._fetch_bytes_max // _BLOCK_BYTES),
            *("-C", str(cwd)),  # git says it, if that was removed just now
            *settings,
            *arguments,
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(self._directory),
                "LC_ALL": "C",
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_CONFIG_GLOBAL": "/dev/null",
                "GIT_TERMINAL_PROMPT": "0",
                "GIT_LFS_SKIP_SMUDGE": "1",
                **self._inherited,
                **env,
            },
            stdin=asyncio.subprocess.PIPE if said else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(timeout_s):
                if process.stdin is not None:
                    # uvloop says a RuntimeError of a process that has ended already.
                    with suppress(ConnectionError, RuntimeError):
                        process.stdin.write(said.encode())
                        process.stdin.close()
                output, errors = await asyncio.gather(
                    _beginning(process.stdout), _beginning(process.stderr)
                )
                code = await process.wait()
        except TimeoutError:
            raise FetchFailed(f"the host takes longer than {timeout_s:.0f} s") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if code:
            raise self._failure(errors, code)
        return output

    def _failure(self, errors: str, code: int) -> FetchFailed:
        if "File too large" in errors:
            return FetchFailed(
                f"the repository brings more than {self._fetch_bytes_max // MIB} MiB at a time"
            )
        if "cannot run ssh" in errors or "ssh: not found" in errors:
            return FetchFailed("ssh is not installed on this server: install openssh-client")
        lines = [" ".join(line.split()) for line in errors.splitlines()]
        told = [line for line in lines if line and not _NOISE.search(line)]
        words = "; ".join(dict.fromkeys(told)) or f"git ended with status {code}"
        words = "".join(character for character in words if character.isprintable())
        return FetchFailed(
            words[:SCM_WORDS_CHARS_MAX],
            is_refused="host key verification failed" not in errors.lower()
            and _REFUSED.search(errors) is not None,
        )


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


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


async def _beginning(stream: asyncio.StreamReader) -> str:
    kept = bytearray()
    while chunk := await stream.read(_OUTPUT_BYTES_MAX):
        kept += chunk[: _OUTPUT_BYTES_MAX - len(kept)]
    return kept.decode("utf-8", "replace")


def _remove_halves(repository: Path) -> None:
    """Remove what a fetch that was cut off has left; nobody else fetches into it meanwhile."""
    for left in (repository / "objects" / "pack").glob("tmp_*"):
        left.unlink(missing_ok=True)
