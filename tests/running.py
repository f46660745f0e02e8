"""A real server on a real port, as a user would start it, for tests of the whole product."""

import asyncio
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import httpx2

from algorium_server.store.database import Database, sqlite_url

ALGORIUM = Path(sys.executable).with_name("algorium")
START_TIMEOUT_S = 240
"""Below pytest's own timeout: what the server said so far is then shown, not lost."""
STOP_TIMEOUT_S = 60


@functools.cache
def empty_tables() -> bytes:
    """Return a database as a first start makes it, before anything is in it."""

    async def made(path: Path) -> bytes:
        async with await Database.open(sqlite_url(path)):
            pass
        return path.read_bytes()

    with tempfile.TemporaryDirectory() as scratch:
        return asyncio.run(made(Path(scratch, "algorium.db")))


class RunningServer:
    """
    `algorium serve` as a child process.

    A home that is not there yet gets its empty tables from here: migrations take a second of every
    first start, are the same each time, and have tests of their own.

    Args:
        home: Its home directory.
        options: Further options of `serve`.
        prefix: A command that starts it, such as one that makes a namespace.
        env: Further environment variables.
        port: Where to listen; 0 picks a free port.

    Attributes:
        api: Base address, without a trailing slash; known from the `ready` line on.
        lines: What it has said so far, on standard output and standard error.
    """

    def __init__(
        self,
        home: Path,
        *options: str,
        prefix: Sequence[str] = (),
        env: dict[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.home = home
        self.prefix = prefix
        self.options = options
        self.env = env or {}
        self.port = port
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []
        self.api = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait for the `ready` line."""
        ready = self.launch()
        if not ready.wait(START_TIMEOUT_S) or not self.api:
            self.kill()
            raise AssertionError("the server did not start:\n" + "\n".join(self.lines[-60:]))

    def launch(self) -> threading.Event:
        """Start; the event is set by the `ready` line, or by the end of the process."""
        self.lines = []
        self.api = ""
        if not self.home.exists() and "--database" not in self.options:
            self.home.mkdir(mode=0o700, parents=True)
            (self.home / "algorium.db").write_bytes(empty_tables())
        self.process = subprocess.Popen(
            self.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, **self.env},
        )
        ready = threading.Event()
        threading.Thread(target=self._read, args=(self.process, ready), daemon=True).start()
        return ready

    def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """Send SIGKILL to the server's own process only, as the kernel would."""
        return self._end(signal.SIGKILL)

    @property
    def command(self) -> list[str]:
        """The command line that starts it."""
        serve = [str(ALGORIUM), "serve", "--home", str(self.home), "--port", str(self.port)]
        return [*self.prefix, *serve, *self.options]

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self.process is not None
        return self.process.pid

    @property
    def credentials(self) -> dict[str, str]:
        """What the first start wrote."""
        found: dict[str, str] = json.loads((self.home / "credentials.json").read_text())
        return found

    @property
    def key(self) -> str:
        """The administrator's default key."""
        return self.credentials["api_key"]

    def add_user(self, username: str) -> str:
        """Create a user as the administrator does, and return its first key."""
        made = httpx2.post(
            f"{self.api}/v1/users",
            json={"username": username, "email": f"{username}@example.com"},
            headers={"Authorization": f"Simple {self.credentials['admin_api_key']}"},
            timeout=60,
        )
        assert made.status_code == 200, made.text
        key: str = made.json()["api_key"]
        return key

    def call(self, ref: str, value: Any = None, **options: Any) -> httpx2.Response:
        """Post JSON to an algorithm."""
        return httpx2.post(
            f"{self.api}/v1/algo/{ref}",
            content=json.dumps(value),
            headers={"Authorization": f"Simple {self.key}", "Content-Type": "application/json"},
            params=options,
            timeout=120,
        )

    def _end(self, signum: int) -> int:
        process = self.process
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(signum)
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("the server did not stop:\n" + "\n".join(self.lines)) from None

    def _read(self, process: "subprocess.Popen[str]", ready: threading.Event) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.lines.append(line.rstrip("\n"))
                if line.startswith("ready "):
                    self.api = line.split()[1]
                    ready.set()
        ready.set()
