"""
What all benchmarks share: servers to measure, rounds in turn, and a table of the medians.

Rounds are interleaved, since shared machines drift: every contestant is measured once before
anybody is measured again.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from build_author import BuildAuthor as BuildAuthor  # noqa: E402, PLC0414 - of the tests
from load import Measured, Target, measure  # noqa: E402 - found beside this file
from people import add_user as add_user  # noqa: E402, PLC0414 - of the tests
from projects import write_examples  # noqa: E402 - of the tests

ALGORIUM = Path(sys.executable).with_name("algorium")
MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Server:
    """
    A running `algorium serve`.

    Attributes:
        api: Base address.
        key: The administrator's.
        pid: Of the gateway.
        home: Its directory.
    """

    api: str
    key: str
    pid: int
    home: Path

    def target(
        self, ref: str, body: bytes, *, kind: str = "application/json", query: str = ""
    ) -> Target:
        """Return a call of an algorithm."""
        return Target(
            url=f"{self.api}/v1/algo/{ref}{query}",
            body=body,
            headers={"Content-Type": kind, "Authorization": f"Simple {self.key}"},
        )


@contextmanager
def serving(
    scratch: Path,
    sources: Mapping[str, str],
    *options: str,
    name: str = "home",
    requirements: str = "",
) -> Iterator[Server]:
    """
    Start a server that has published *sources*, by `owner/name`.

    Args:
        scratch: Where its home directory goes.
        sources: Text of each algorithm's only module; none for a home that has them already.
        options: Further ones of `serve`.
        name: Of the home directory.
        requirements: What all of them need.
    """
    home = scratch / name
    command = [str(ALGORIUM), "serve", "--home", str(home), "--port", "0", "--log-level", "error"]
    command += options
    if sources:
        examples = write_examples(scratch / f"{name}-examples", sources, requirements)
        command += ["--demo", "--examples-dir", str(examples)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("ready "):
                api = line.split()[1]
                break
        else:
            raise SystemExit("bench: the server did not start")
        credentials = json.loads((home / "credentials.json").read_text(encoding="utf-8"))
        yield Server(api=api, key=credentials["api_key"], pid=process.pid, home=home)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def bare_echo() -> Iterator[str]:
    """Start a bare uvicorn that answers a POST with its body; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "bench"), "echo_app:app"]
    options = ["--port", str(port), "--no-access-log", "--log-level", "error", "--no-server-header"]
    process = subprocess.Popen([*command, *options])
    try:
        wait_for(f"http://127.0.0.1:{port}/")
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(url: str, *, timeout_s: float = 20.0, body: bytes = b"1") -> None:
    """Wait until a POST to *url* succeeds."""
    deadline = time.monotonic() + timeout_s
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(request, timeout=5).read()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"bench: {url} does not answer")


def call(target: Target) -> bytes:
    """Make one request and return the answer's body."""
    request = urllib.request.Request(target.url, data=target.body, headers=target.headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        body: bytes = answer.read()
        return body


def in_turn(contestants: Mapping[str, Callable[[], Any]], *, rounds: int) -> dict[str, list[Any]]:
    """Measure all contestants in each round, one after the other, beginning with another each."""
    found: dict[str, list[Any]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            found[name].append(contestants[name]())
    return found


def load_in_turn(
    targets: Mapping[str, Target], *, connections: int, seconds: float, rounds: int
) -> dict[str, Measured]:
    """Load all targets in turn, after a second of warming up each; returns medians."""
    for target in targets.values():
        measure(target, connections=connections, seconds=1)

    def loading(target: Target) -> Callable[[], Measured]:
        return lambda: measure(target, connections=connections, seconds=seconds)

    found = in_turn({name: loading(t) for name, t in targets.items()}, rounds=rounds)
    return {name: median(runs) for name, runs in found.items()}


def median(runs: Sequence[Measured]) -> Measured:
    """Return the median of each number."""
    return Measured(*(statistics.median(column) for column in zip(*runs, strict=True)))


def resident_bytes(pid: int) -> int:
    """Return the memory of a process that is really there."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def options_of(program: str | None, *, rounds: int = 3, seconds: float = 4.0) -> Any:
    """Return a parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=(program or "").strip().partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument(
        "--seconds", type=float, default=seconds, help="length of one measurement, whole seconds"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--quick", action="store_true", help="one round of a second: only shows that it works"
    )
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line."""
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1.0
    return options


def show(results: list[dict[str, Any]], options: argparse.Namespace) -> int:
    """Print rows as a table, or as JSON if that was asked for."""
    print(json.dumps(results, indent=2) if options.json else _table(results))
    return 0


def _table(results: list[dict[str, Any]]) -> str:
    rows = [list(results[0]), *([str(value) for value in row.values()] for row in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
