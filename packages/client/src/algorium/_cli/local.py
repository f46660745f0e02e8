"""What `algo dev` and `algo test` share: a project in its environment, with its variables."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from algorium._cli.git import Git
from algorium._cli.program import Failed, Server, UsageError, note
from algorium._cli.projects import project_here
from algorium._config import Connection
from algorium._errors import ConfigurationError
from algorium._local.environment import CACHE, Environment, Installation
from algorium._local.source import NotHere, Source, read_source
from algorium._local.variables import VariablesError, parse_variables
from algorium._local.worker import Worker

VARIABLES: Final = ".env"
_VARIABLES_BYTES_MAX: Final = 1 << 20
_NOT_PASSED_ON: Final = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV")
_CONNECTION: Final = (
    "ALGORITHMIA_API",
    "ALGORITHMIA_API_KEY",
    "ALGORITHMIA_BEARER_TOKEN",
)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """
    Where the project of the working directory is run.

    Attributes:
        python: As `--python` says it.
        installs: Whether anything may be installed.
        variables: The file of variables that was named, None for `.env` if there is one.
        server: Which server the code may ask.
    """

    python: str
    installs: bool
    variables: Path | None
    server: Server | None

    def source(self) -> Source:
        """
        Return what to run.

        Raises:
            UsageError: There is no project here.
            Failed: It cannot run here.
        """
        project = project_here(self.server)
        try:
            return read_source(project.root, project.ref, language=project.language)
        except NotHere as error:
            raise Failed(str(error), hint=error.hint) from error

    def installation(self, source: Source) -> Installation:
        """Return what finds or makes the environment."""
        return Installation(source.root, python=self.python, installs=self.installs, say=note)

    def environment(self, source: Source) -> Environment:
        """
        Find or make the environment.

        Raises:
            Failed: It cannot be had.
        """
        try:
            return self.installation(source).provide()
        except NotHere as error:
            raise Failed(str(error), hint=error.hint) from error

    def variables_file(self, root: Path) -> Path | None:
        """Return the file of variables, if there is one."""
        if self.variables is not None:
            return self.variables.absolute()
        return root / VARIABLES if (root / VARIABLES).is_file() else None

    def process_variables(self, source: Source, environment: Environment) -> dict[str, str]:
        """
        Return all variables of processes that run the project.

        Raises:
            UsageError: The file of variables cannot be read.
        """
        found = {k: v for k, v in os.environ.items() if k not in {*_NOT_PASSED_ON, *_CONNECTION}}
        found |= {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8"}
        # What Python compiles stays out of the source: `algo push` takes all that is there.
        cache = source.root / CACHE
        if cache.is_dir():
            found["PYTHONPYCACHEPREFIX"] = str(cache / "compiled")
        else:
            found["PYTHONDONTWRITEBYTECODE"] = "1"
        if environment.directory is not None:
            found["VIRTUAL_ENV"] = str(environment.directory)
            programs = str(environment.python.parent)
            found["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", "")])
        found |= _of_connection(self.server)
        if (path := self.variables_file(source.root)) is not None:
            found |= _read_variables(path)
        return found

    def worker(self, source: Source, environment: Environment) -> Worker:
        """Return what calls the algorithm; nothing is started yet."""
        variables = self.process_variables(source, environment)
        return Worker(source, environment.python, variables, lambda line: note(f"  | {line}"))

    def warn(self, source: Source) -> None:
        """Say what a push would give away."""
        path = self.variables_file(source.root)
        if path is None or not (source.root / ".git").exists():
            return
        git = Git(directory=source.root, connection=Connection(api_address=""))
        if path.is_relative_to(source.root) and not git.knows("check-ignore", "-q", str(path)):
            name = path.relative_to(source.root)
            note(f"warning: `algo push` would push {name}: add it to .gitignore")


def _read_variables(path: Path) -> dict[str, str]:
    try:
        content = path.read_bytes()
        if len(content) > _VARIABLES_BYTES_MAX:
            raise UsageError(f"{path} is no file of variables: it has {len(content)} bytes")
        return parse_variables(content.decode(), name=path.name)
    except (VariablesError, UnicodeDecodeError) as error:
        raise UsageError(str(error)) from None


def _of_connection(server: Server | None) -> dict[str, str]:
    """Return by what a client inside finds the server; nothing without a key."""
    try:
        connection = (server or Server()).connection()
    except ConfigurationError:
        if server is not None and server.profile is not None:
            raise
        return {}
    kind, _, secret = connection.authorization.partition(" ")
    if not secret:
        return {}
    name = "ALGORITHMIA_API_KEY" if kind == "Simple" else "ALGORITHMIA_BEARER_TOKEN"
    found = {"ALGORITHMIA_API": connection.api_address, name: secret}
    if connection.ca_cert:
        found["REQUESTS_CA_BUNDLE"] = connection.ca_cert
    return found
