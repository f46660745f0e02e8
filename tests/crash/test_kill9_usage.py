"""`kill -9` of a server under load: which calls it had recorded, and that none comes twice."""

import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from processes import processes_with
from projects import write_examples
from running import RunningServer
from waiting import wait_until

sys.path.append(str(Path(__file__).parents[2] / "packages" / "server" / "tests"))

from postgres import running_postgres

CALLERS = 4
ROUNDS = 2
LOSS_S = 0.2
"""What a crash of the server may cost."""
HELLO = """
import subprocess, sys

def apply(input):
    if input.startswith("wait"):  # the child carries it on its command line, to be seen by
        subprocess.run([sys.executable, "-c", "import time; time.sleep(600)", input])
    return input
"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database(request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    """Options that choose the database."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield ()
            return
        server = stack.enter_context(running_postgres())
        yield ("--database", server.new_database())


class Caller(threading.Thread):
    """Calls until the server is gone; remembers when each answer came, by request id."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.answered: dict[str, float] = {}
        self.slowest_s = 0.0

    def run(self) -> None:
        headers = {"Authorization": f"Simple {self.server.key}", "Content-Type": "text/plain"}
        try:
            with httpx2.Client(base_url=self.server.api, headers=headers, timeout=30) as http:
                while True:
                    began = time.monotonic()
                    answer = http.post("/v1/algo/crash/Hello", content=b"x")
                    ended = time.monotonic()
                    if self.answered:  # the first one starts a slot
                        self.slowest_s = max(self.slowest_s, ended - began)
                    self.answered[answer.headers["x-request-id"]] = ended
        except httpx2.HTTPError:
            return

    def promised(self, now: float) -> set[str]:
        """Calls whose records must survive a crash at *now*."""
        # A machine that stalls shows it in its answers, and may write as much later.
        before = now - LOSS_S - self.slowest_s
        return {name for name, at in tuple(self.answered.items()) if at < before}


def start_void_call(server: RunningServer) -> str:
    """Start a call for which nobody waits, and return its id once it runs."""
    name = f"wait-{uuid.uuid4()}"
    request_id: str = server.call("crash/Hello", name, output="void").json()["request_id"]
    wait_until(lambda: processes_with(name), timeout_s=60, what="the void call runs")
    return request_id


def recorded(server: RunningServer) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Simple {server.key}"}
    found: list[dict[str, Any]] = []
    path = "/v1/usage?limit=1000"
    with httpx2.Client(base_url=server.api, headers=headers, timeout=60) as http:
        while path:
            page = http.get(path).json()
            found += page["results"]
            link = urlsplit(page["next_link"] or "")
            path = f"{link.path}?{link.query}" if link.path else ""
    return found


@pytest.mark.slow
def test_a_crash_costs_at_most_the_last_records_and_repeats_none(
    tmp_path: Path, database: tuple[str, ...]
) -> None:
    home = tmp_path / "home"
    examples = write_examples(tmp_path / "examples", {"crash/Hello": HELLO})
    options = ("--demo", "--examples-dir", str(examples), *database)
    with RunningServer(home, *options) as server:
        answered: dict[str, float] = {}
        promised: set[str] = set()
        for _ in range(ROUNDS):
            callers = [Caller(server) for _ in range(CALLERS)]
            for caller in callers:
                caller.start()
            wait_until(
                lambda c=callers: all(len(each.promised(time.monotonic())) > 50 for each in c),
                timeout_s=60,
            )

            void = start_void_call(server)

            killed_at = time.monotonic()
            server.kill()
            for caller in callers:
                caller.join(timeout=60)

            for caller in callers:
                answered |= caller.answered
                promised |= caller.promised(killed_at)
            wait_until(lambda: not processes_with(str(home)), timeout_s=20)
            server.start()

            rows = recorded(server)
            if not database:  # among several servers, a job is an orphan when its lease has ended
                (void_row,) = [row for row in rows if row["request_id"] == void]
                assert (void_row["outcome"], void_row["is_void"]) == ("interrupted", True)
            rows = [row for row in rows if not row["is_void"]]
            names = [row["request_id"] for row in rows]
            assert len(names) == len(set(names))
            assert promised <= set(names)
            # Calls that had ended inside the server, but whose answers were still under way.
            assert len(set(names) - set(answered)) <= CALLERS * ROUNDS
            assert {row["outcome"] for row in rows} == {"success"}
        assert len(promised) > CALLERS * ROUNDS * 50
        assert server.stop() == 0
        assert not list((home / "usage").glob("*.journal"))
