"""
A load of small files by `wrk`: uploads of names that are new, downloads of what was uploaded.

A client in Python takes most of a machine that it shares with the server; wrk takes little.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sites import Site

SMALL_BYTES = 4096
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SCRIPT = """
local body = {body}
local number = -1  -- wrk asks once before it begins, and does not send that
{headers}
function request()
  local name = "{prefix}" .. number % {names}
  number = number + 1
  return wrk.format("{method}", name, nil, body)
end
"""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """
    What a measurement took.

    Attributes:
        amount: How many MiB or files were moved.
        processor_s: Of the server, all its processes together.
    """

    amount: float
    seconds: float
    processor_s: float

    @property
    def rate_per_s(self) -> float:
        """MiB or files per second."""
        return self.amount / self.seconds

    @property
    def processor_ms(self) -> float:
        """Processor time of a MiB or a file."""
        return self.processor_s * 1000 / self.amount


@contextmanager
def spending(pid: int) -> Iterator[Callable[[float], Spent]]:
    """Measure the block; what it yields tells afterwards what an amount took."""
    began, used = time.perf_counter(), _processor_s(pid)
    ended: list[float] = []

    def spent(amount: float) -> Spent:
        return Spent(amount=amount, seconds=ended[0], processor_s=ended[1])

    yield spent
    ended += [time.perf_counter() - began, _processor_s(pid) - used]


def has_wrk() -> bool:
    """Whether the load generator is installed."""
    return shutil.which("wrk") is not None


class SmallFiles:
    """
    Small files at a site.

    Args:
        site: Where.
        connections: How many at a time.
        seconds: How long each measurement takes.
    """

    def __init__(self, site: Site, *, connections: int, seconds: float) -> None:
        self.site = site
        self._connections = connections
        self._seconds = seconds
        self._prefix = ""
        self._stored = 0

    def move(self, way: str) -> Spent:
        """Bring files up, or those down again that were brought up last."""
        if way == "up":
            self._prefix = f"small{uuid4().hex[:8]}_"
        with spending(self.site.pid) as spent:
            moved = self._load(way)
            if way == "up":
                self.site.flush()
        if way == "up":
            # Those under way at the end may be there or not.
            self._stored = max(moved - 4 * self._connections, 1)
        return spent(moved)

    def _load(self, way: str) -> int:
        headers = "".join(
            f'wrk.headers["{name}"] = "{value}"\n' for name, value in self.site.headers.items()
        )
        script = _SCRIPT.format(
            body=f'string.rep("\\165", {SMALL_BYTES})' if way == "up" else "nil",
            headers=headers,
            method="PUT" if way == "up" else "GET",
            prefix=self.site.prefix + self._prefix,
            names=self._stored if way == "down" else 10**9,
        )
        host, port = self.site.address
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "script.lua"
            path.write_text(script, encoding="utf-8")
            command = ["wrk", "-t1", f"-c{self._connections}", f"-d{self._seconds:.0f}s"]
            command += ["--timeout", "60s", "-s", str(path), f"http://{host}:{port}"]
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = re.search(r"(\d+) requests in", text)
        if found is None or "Non-2xx" in text or "Socket errors" in text:
            raise SystemExit(f"bench: errors from {host}:{port}:\n{text}")
        return int(found[1])


def _processor_s(pid: int) -> float:
    """Return what a process and its children, and theirs, have used so far."""
    ticks: dict[int, int] = {}
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name of the program comes in parentheses, and may hold anything.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(entry.name)] = int(fields[1])
        ticks[int(entry.name)] = int(fields[11]) + int(fields[12])
    family, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return sum(ticks.get(member, 0) for member in family) / _TICKS_PER_S
