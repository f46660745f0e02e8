"""`kill -9` at any moment of queue and build: every build that was asked for ends, exactly once."""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx2
import pytest
from build_author import HELLO, BuildAuthor
from running import RunningServer
from waiting import wait_until

from algorium_server.engine.processes import children

ROUNDS = 2
NAMES = ("One", "Two", "Three")
PATIENCE_S = 120
SEED = 11


class Asking(threading.Thread):
    """Commits and asks for builds until nobody answers; remembers what was promised."""

    def __init__(self, author: BuildAuthor, promised: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self.author = author
        self.promised = promised
        self.random = random.Random(SEED)
        self.enough = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.enough.wait(0.2):
            name = self.random.choice(NAMES)
            number += 1
            files = {f"src/{name}.py": f"# {len(self.promised)} {number}\n{HELLO}"}
            try:
                answer = self.author.commit(name, files, build=True)
            except (httpx2.HTTPError, AssertionError):
                continue  # it is just being killed
            self.promised[answer["build"]["build_id"]] = name


@pytest.fixture(params=[(), ("--workers", "2")], ids=["one gateway", "two gateways"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(tmp_path / "home", "--builds-max", "2", *request.param) as running:
        yield running


def test_every_build_ends_exactly_once_and_nothing_is_left(server: RunningServer) -> None:
    author = BuildAuthor(lambda: server.api, server.key)
    for name in NAMES:
        author.begin(name, {f"src/{name}.py": HELLO})
    chance = random.Random(SEED)
    promised: dict[str, str] = {}
    asking = Asking(author, promised)
    asking.start()
    for _ in range(ROUNDS):
        wait_until(partial(_are_more, promised, len(promised)), timeout_s=PATIENCE_S)
        threading.Event().wait(chance.uniform(0, 1.5))
        if "--workers" in server.options:
            os.kill(chance.choice(gateways(server)), signal.SIGKILL)
            wait_until(lambda: len(gateways(server)) == 2, timeout_s=PATIENCE_S)
        else:
            server.kill()
            server.start()
    asking.enough.set()
    asking.join(PATIENCE_S)
    ended = {build_id: author.ended(name, build_id) for build_id, name in promised.items()}

    assert Counter(build["status"] for build, _ in ended.values()) == {"succeeded": len(promised)}
    for build_id, (_, log) in ended.items():
        # Killed between its last word and the row that says so, a build is done once more.
        attempts = 1 + log.count("the build begins again\n")
        assert log.endswith("Build succeeded\n"), log
        assert log.count("Build succeeded\n") <= attempts, log
        assert log.count("Beginning container customization\n") == 1, log
        path = author.path(promised[build_id], f"/builds/{build_id}/logs")
        assert author.told("GET", path)["logs"] == log
    for name in NAMES:
        listed = author.told("GET", author.path(name, "/builds?limit=100"))["results"]
        assert {each["status"] for each in listed} == {"succeeded"}
        assert author.call(f"{name}/{listed[0]['commit_sha']}", "you") == "Hello you"
    everything = {
        each["build_id"]
        for name in NAMES
        for each in author.told("GET", author.path(name, "/builds?limit=100"))["results"]
    }
    assert {path.name for path in (server.home / "builds").iterdir()} == everything
    assert list((server.home / "logs" / "builds").iterdir()) == []


def _are_more(promised: dict[str, str], known: int) -> bool:
    return len(promised) > known + 1


def gateways(server: RunningServer) -> list[int]:
    """Return the processes of all gateways."""
    return [
        pid
        for pid in children(server.pid)
        if b"algorium_server.member" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
