"""
Git, with the key of a profile.

Git asks a credential helper for it, which is a line of shell that reads two variables of its
environment: the key is in no argument, no file and no URL. It is offered to the server of the
profile only, whatever a repository says.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from algorium._cli.program import Failed
from algorium._config import Connection
from algorium.wire.refs import AlgorithmRef

DEFAULT_BRANCH: Final = "master"
"""What the server builds."""

_HELPER: Final = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n"'
    ' "$ALGO_GIT_USERNAME" "$ALGO_GIT_PASSWORD"; }; f'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """
    Runs git in a directory.

    Attributes:
        directory: Where.
        connection: The server that gets the key.
        username: Of the account whose key it is.
    """

    directory: Path
    connection: Connection
    username: str = "algo"

    def run(self, *arguments: str, is_quiet: bool = False) -> None:
        """
        Run git and let it speak for itself.

        Args:
            arguments: Of git.
            is_quiet: Show nothing unless it fails.

        Raises:
            Failed: It did.
        """
        done = self._start(arguments, captures=is_quiet)
        if done.returncode != 0:
            told = (done.stderr or "").strip() if is_quiet else ""
            raise Failed(told or f"git {arguments[0]} has failed", hint=_hint(arguments[0]))

    def ask(self, *arguments: str) -> str:
        """
        Return what git says on standard output, without the line end.

        Raises:
            Failed: It refuses.
        """
        done = self._start(arguments, captures=True)
        if done.returncode != 0:
            raise Failed(done.stderr.strip() or f"git {arguments[0]} has failed")
        text: str = done.stdout.rstrip("\n")
        return text

    def knows(self, *arguments: str) -> bool:
        """Whether git says yes."""
        return self._start(arguments, captures=True).returncode == 0

    def _start(
        self, arguments: Sequence[str], *, captures: bool
    ) -> "subprocess.CompletedProcess[str]":
        program = shutil.which("git")
        if program is None:
            raise Failed("there is no git on this machine", hint="Install git 2.31 or newer.")
        return subprocess.run(
            [program, *arguments],
            cwd=self.directory,
            env={**os.environ, **self._environment()},
            check=False,
            text=True,
            capture_output=captures,
            stdin=subprocess.DEVNULL,
        )

    def _environment(self) -> dict[str, str]:
        scheme, _, secret = self.connection.authorization.partition(" ")
        address = self.connection.api_address
        settings = [(f"credential.{address}.helper", "")]  # not what this machine asks otherwise
        environment = {"GIT_TERMINAL_PROMPT": "0"}
        if scheme == "Bearer":
            settings.append((f"http.{address}.extraHeader", f"Authorization: Bearer {secret}"))
        elif secret:
            settings.append((f"credential.{address}.helper", _HELPER))
            environment |= {"ALGO_GIT_USERNAME": self.username, "ALGO_GIT_PASSWORD": secret}
        if self.connection.ca_cert:
            settings.append((f"http.{address}.sslCAInfo", self.connection.ca_cert))
        return environment | _as_variables(settings)


def repository_url(connection: Connection, ref: AlgorithmRef) -> str:
    """Return where the source of an algorithm can be cloned."""
    return f"{connection.api_address}/git/{ref.owner}/{ref.name}.git"


def identity(username: str, connection: Connection) -> tuple[str, ...]:
    """Return options for git with an author, for who has never told git who they are."""
    host = urlsplit(connection.api_address).hostname or "localhost"
    return ("-c", f"user.name={username}", "-c", f"user.email={username}@{host}")


def _as_variables(settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return settings as git reads them from its environment, after those that are there."""
    known = os.environ.get("GIT_CONFIG_COUNT", "")
    first = int(known) if known.isascii() and known.isdigit() else 0
    variables = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (name, value) in enumerate(settings, first):
        variables[f"GIT_CONFIG_KEY_{number}"] = name
        variables[f"GIT_CONFIG_VALUE_{number}"] = value
    return variables


def _hint(command: str) -> str:
    if command == "push":
        return "What git says above tells why; `git pull --rebase` if the server has more commits."
    return "What git says above tells why."
