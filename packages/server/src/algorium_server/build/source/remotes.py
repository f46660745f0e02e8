"""
Repositories elsewhere: how git gets there, and what it may do and take on its way.

A repository elsewhere is a stranger's: it can be endless, slow, or wrong on purpose, and so can the
server that it is on. Hence no hooks, no submodules, no configuration but ours, no file systems or
helpers as transports, and limits of bytes, memory and time.

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

from algorium_server.build.providers.provider import GitLogin
from algorium_server.build.source.git import CONFIG
from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.limits import (
    GIT_PROCESS_MEMORY_BYTES,
    MIB,
    SCM_CONNECT_S,
    SCM_LOOK_S_MAX,
    SCM_WORDS_CHARS_MAX,
)

_INHERITED: Final = (
    *("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"),
    *("ALL_PROXY", "all_proxy", "GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""How this network is left, and whom it trusts; the rest of the server's environment stays here."""
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
_LIMITS: Final = (
    # Without the signal git says what is wrong: parts of it would die without a word.
    'trap "" XFSZ; ulimit -c 0; ulimit -v "$1" 2>&-; ulimit -f "$0" && shift && exec git "$@"'
)
_SETTINGS: Final = {
    **CONFIG,
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
    "protocol.ssh.allow": "always",
    "protocol.https.allow": "always",
    "protocol.http.allow": "always",
    "protocol.file.allow": "never",
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


class RemoteGit:
    """
    Runs git against repositories elsewhere.

    Args:
        directory: Of our own: who hosts are, and for moments keys.
        inherited: Environment; only what says how this network is left is used of it.
        bytes_max: What git may bring at a time.
        check: Raises an error if an address may not be reached.
    """

    def __init__(
        self,
        directory: Path,
        *,
        inherited: Mapping[str, str],
        bytes_max: int,
        check: Callable[[str], Awaitable[None]] | None,
    ) -> None:
        self._directory = directory
        self._inherited = {name: inherited[name] for name in _INHERITED if name in inherited}
        if "SSL_CERT_FILE" in inherited:
            self._inherited.setdefault("GIT_SSL_CAINFO", inherited["SSL_CERT_FILE"])
        self._bytes_max = bytes_max
        self._check = check

    def prepare(self) -> None:
        """Make the directory; remove keys that a crash has left, if nobody else uses it now."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._directory.glob("git-*"):
            shutil.rmtree(left, ignore_errors=True)

    async def there(
        self, remote: Remote, *arguments: str, timeout_s: float, cwd: Path | None = None
    ) -> str:
        """
        Run git with the way into a repository elsewhere, and return what it printed.

        Args:
            remote: Which one; its address is among the *arguments*.
            arguments: Of git.
            timeout_s: How long it may take.
            cwd: One of our repositories, if it works on one.

        Raises:
            FetchFailed: It did not do it, or the repository may not be reached.
        """
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

    async def here(self, repository: Path, *arguments: str, said: str = "") -> str:
        """
        Run git on a repository of ours alone, and return what it printed.

        Raises:
            FetchFailed: It did not do it.
        """
        return await self._run(
            *arguments, env={}, timeout_s=SCM_LOOK_S_MAX, cwd=repository, said=said
        )

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
            *("sh", "-c", _LIMITS),
            str(self._bytes_max // _BLOCK_BYTES),
            str(GIT_PROCESS_MEMORY_BYTES // 1024),
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
                f"the repository brings more than {self._bytes_max // MIB} MiB at a time"
            )
        if "out of memory" in errors.lower() or "cannot allocate memory" in errors.lower():
            return FetchFailed(
                f"the repository takes more than {GIT_PROCESS_MEMORY_BYTES // MIB} MiB of memory"
                " to be read"
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


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


async def _beginning(stream: asyncio.StreamReader) -> str:
    kept = bytearray()
    while chunk := await stream.read(_OUTPUT_BYTES_MAX):
        kept += chunk[: _OUTPUT_BYTES_MAX - len(kept)]
    return kept.decode("utf-8", "replace")
