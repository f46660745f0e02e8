"""
A private PostgreSQL for tests: data in a temporary directory, reached by a Unix socket in it.

It never touches a server of the system, opens no port, and dies with the process that started it:
a small shell holds a pipe to us and shuts the server down when the pipe breaks.
"""

import asyncio
import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

HOW_TO_GET = (
    "no PostgreSQL server binaries here; install the package postgresql "
    "(apt-get install postgresql, brew install postgresql)"
)

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 30.0
_USER = "algorium"

# Durability is for servers; these rows live for a second.
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "autovacuum": "off",
}

_DIES_WITH_US = """
directory=$1; shift
"$@" & server=$!
read -r _
kill -INT "$server"
wait "$server"
rm -rf "$directory"
"""


def why_not() -> str:
    """Return why no private server can run here, empty if one can."""
    if find_binaries() is None:
        return HOW_TO_GET
    as_user = _unprivileged()
    if "user" not in as_user:
        return ""
    with tempfile.NamedTemporaryFile() as probe:
        try:
            os.chown(probe.name, as_user["user"], as_user["group"])
        except OSError:
            return "PostgreSQL refuses root, and root cannot become another user here"
    return ""


def find_binaries() -> Path | None:
    """Return the directory of `initdb` and `postgres`, the newest if there are several."""
    candidates = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name)
    )
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run(
            [pg_config, "--bindir"], capture_output=True, text=True, check=False
        )
        candidates.append(Path(answer.stdout.strip()))
    if initdb := shutil.which("initdb"):
        candidates.append(Path(initdb).resolve().parent)
    usable = [path for path in candidates if (path / "initdb").exists()]
    return usable[-1] if usable else None


class PrivatePostgres:
    """A running server; `url` makes a new database in it."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        # Not below pytest's directories: those are closed to the user that the server runs as,
        # and too deep for the 107 bytes of a socket's path.
        self._directory = Path(tempfile.mkdtemp(prefix="algorium-postgres-", dir="/tmp"))
        self._names = (f"test_{number}" for number in itertools.count())
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Create the data directory and start; returns when connections are accepted."""
        as_user = _unprivileged()
        if "user" in as_user:
            shutil.chown(self._directory, as_user["user"], as_user["group"])
        data = self._directory / "data"
        self._initdb(data, as_user)
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        command = [self._binaries / "postgres", "-D", data, "-k", self._directory, *settings]
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", _DIES_WITH_US, "sh", str(self._directory), *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                # An interrupt at the terminal is for the tests; they stop the server themselves.
                start_new_session=True,
                **as_user,
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """Stop the server and remove its files."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def url(self, database: str) -> str:
        """Return the URL of a database of this server."""
        return f"postgresql://{_USER}@/{database}?host={quote(str(self._directory), safe='')}"

    def new_database(self, *, template: str = "template0") -> str:
        """Create a database and return its URL."""
        name = next(self._names)
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def execute(self, statement: str, *, database: str = "postgres") -> None:
        """Run one statement as the superuser."""
        asyncio.run(self._execute(statement, database))

    async def _execute(self, statement: str, database: str) -> None:
        connection = await asyncpg.connect(self.url(database))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _initdb(self, data: Path, as_user: dict[str, object]) -> None:
        # A locale in which "a" < "B" < "c": whoever forgets to ask for byte order, fails.
        locale = ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]
        options = ["-D", data, "-U", _USER, "--auth=trust", "--encoding=UTF8", "--no-sync"]
        for wanted in (locale, ["--no-locale"]):
            answer = subprocess.run(
                [self._binaries / "initdb", *options, *wanted],
                capture_output=True,
                check=False,
                cwd="/",
                **as_user,
            )
            if answer.returncode == 0:
                return
        raise RuntimeError(answer.stderr.decode(errors="replace"))

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_TIMEOUT_S
        ready = [self._binaries / "pg_isready", "-q", "-h", self._directory]
        while subprocess.run(ready, check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._directory / "log").read_text(errors="replace"))
            time.sleep(0.02)


@contextlib.contextmanager
def running_postgres() -> Iterator[PrivatePostgres]:
    """Run a private server for as long as the block lasts; skips the test where none can run."""
    if reason := why_not():
        pytest.skip(reason)
    binaries = find_binaries()
    assert binaries is not None
    server = PrivatePostgres(binaries)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root; return what makes it somebody else."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
