"""`algorium serve` as its operator sees it: starting, starting again, refusing, stopping."""

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from processes import processes_with
from projects import write_examples
from running import RunningServer
from waiting import wait_until

START_S = 60

HELLO = """
def apply(input):
    return f"Hello {input}"
"""

# Importing it never ends, so neither does its build.
ENDLESS = """
import time
time.sleep(600)
def apply(input):
    return input
"""


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with one algorithm, freshly started for the first time."""
    place = tmp_path_factory.mktemp("serve")
    examples = write_examples(place / "examples", {"serve/Hello": HELLO})
    with RunningServer(place / "home", "--demo", "--examples-dir", str(examples)) as running:
        yield running


def refused(server: RunningServer, *, exit_code: int = 1) -> list[str]:
    """Start a server that must not start, and return its complaint."""
    done = subprocess.run(server.command, capture_output=True, text=True, timeout=START_S)
    assert (done.returncode, done.stdout) == (exit_code, "")
    return done.stderr.splitlines()


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port: int = listening.getsockname()[1]
        return port


class TestTheHost:
    def ask(self, server: RunningServer, key: str, method: str = "GET") -> httpx2.Response:
        headers = {"Authorization": f"Simple {server.credentials[key]}"} if key else {}
        return httpx2.request(method, f"{server.api}/v1/admin/host", headers=headers)

    def test_administrators_see_what_it_offers(self, hello: RunningServer) -> None:
        answer = self.ask(hello, "admin_api_key")

        report = answer.json()
        assert answer.status_code == 200
        assert report["level"] == httpx2.get(f"{hello.api}/readyz").json()["sandbox"]["level"]
        found = {each["what"]: each for each in report["findings"]}
        assert {"sandbox level", "control groups", "network access", "language java"} <= set(found)
        for each in found.values():
            assert each["state"] in {"ok", "in part", "missing"}
            assert each["found"]

    def test_nobody_else_does(self, hello: RunningServer) -> None:
        assert self.ask(hello, "").status_code == 401
        refused = self.ask(hello, "api_key")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, 2001)

    def test_it_can_only_be_read(self, hello: RunningServer) -> None:
        assert self.ask(hello, "admin_api_key", "DELETE").status_code == 405


class TestStarting:
    def test_it_says_where_it_is_and_where_its_keys_are(self, hello: RunningServer) -> None:
        endpoint = json.loads((hello.home / "endpoint.json").read_text())

        assert endpoint == {"api": hello.api, "pid": hello.pid}
        said = [line for line in hello.lines if line.startswith("ready ")]
        assert said == [f"ready {hello.api}"]
        assert any(hello.key in line for line in hello.lines)
        assert "credentials.json" in "\n".join(hello.lines)

    def test_what_it_keeps_is_for_its_user_alone(self, hello: RunningServer) -> None:
        assert stat.S_IMODE(hello.home.stat().st_mode) == 0o700
        assert stat.S_IMODE((hello.home / "credentials.json").stat().st_mode) == 0o600

    def test_the_second_start_builds_nothing_and_shows_no_key(self, hello: RunningServer) -> None:
        before = hello.credentials
        assert any("serve/Hello" in line for line in hello.lines), "the first one told"

        assert hello.stop() == 0
        assert not (hello.home / "endpoint.json").exists()
        hello.start()

        assert not [line for line in hello.lines if "serve/Hello" in line]
        assert hello.credentials == before
        assert hello.key not in "\n".join(hello.lines)
        assert hello.call("serve/Hello", "again").json()["result"] == "Hello again"


class TestRefusing:
    def test_a_port_in_use(self, tmp_path: Path) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as listening:
            port = listening.getsockname()[1]
            complaint = refused(RunningServer(tmp_path / "home", port=port))

        assert complaint == [
            f"algorium: Cannot listen on 127.0.0.1:{port}: Address already in use",
            "Give another --port; 0 picks a free one.",
        ]

    def test_a_home_that_another_server_uses(self, hello: RunningServer) -> None:
        assert refused(RunningServer(hello.home)) == [
            f"algorium: Another server is running on {hello.home}",
            "Stop it, or give this one another --home.",
        ]
        endpoint = json.loads((hello.home / "endpoint.json").read_text())
        assert endpoint["pid"] == hello.pid
        assert hello.call("serve/Hello", "still").json()["result"] == "Hello still"

    def test_a_home_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        home = tmp_path / "file" / "home"

        first, *_ = refused(RunningServer(home))

        assert first == f"algorium: Cannot use {home}: Not a directory"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_home_that_cannot_be_written(self, tmp_path: Path) -> None:
        home = tmp_path / "home"
        home.mkdir(mode=0o500)

        first, *_ = refused(RunningServer(home))

        assert first == f"algorium: Cannot use {home}: Permission denied"

    def test_examples_that_are_not_there(self, tmp_path: Path) -> None:
        missing = tmp_path / "missing"
        options = ("--demo", "--examples-dir", str(missing))

        said = refused(RunningServer(tmp_path / "home", *options))

        # It had begun: its log may say so before.
        (complaint,) = (line for line in said if line.startswith("algorium: "))
        assert str(missing) in complaint

    def test_wrong_usage_is_exit_code_2(self, tmp_path: Path) -> None:
        server = RunningServer(tmp_path / "home", "--slots-max", "0")

        complaint = refused(server, exit_code=2)

        assert "--slots-max must be at least 1" in complaint[0]
        assert not (tmp_path / "home").exists()


class TestWhileTheDemoIsBuilt:
    @pytest.fixture
    def building(self, tmp_path: Path) -> Iterator[RunningServer]:
        examples = write_examples(tmp_path / "examples", {"serve/Endless": ENDLESS})
        options = ("--demo", "--examples-dir", str(examples))
        server = RunningServer(tmp_path / "home", *options, port=free_port())
        server.launch()
        address = f"http://127.0.0.1:{server.port}"
        wait_until(lambda: is_alive(address), timeout_s=START_S, what="/healthz answers")
        server.api = address
        yield server
        server.kill()

    def test_it_is_alive_and_not_ready(self, building: RunningServer) -> None:
        alive = httpx2.get(f"{building.api}/healthz")
        ready = httpx2.get(f"{building.api}/readyz")

        assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
        assert ready.status_code == 503
        assert (ready.json()["status"], ready.json()["demo"]) == ("starting", "building")
        assert not (building.home / "endpoint.json").exists()
        assert not [line for line in building.lines if line.startswith("ready")]

    @pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
    def test_it_can_be_stopped(self, building: RunningServer, signum: signal.Signals) -> None:
        wait_until(
            lambda: [line for line in building.lines if "serve/Endless" in line], timeout_s=START_S
        )
        assert building.process is not None

        building.process.send_signal(signum)

        assert building.process.wait(START_S) == 0
        assert not (building.home / "endpoint.json").exists()
        wait_until(lambda: not processes_with(str(building.home)), timeout_s=30)


class TestStopping:
    @pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
    def test_it_ends_with_0_and_leaves_nothing_behind(
        self, hello: RunningServer, signum: signal.Signals
    ) -> None:
        hello.call("serve/Hello", "warm")
        assert hello.process is not None

        hello.process.send_signal(signum)

        assert hello.process.wait(START_S) == 0
        assert not (hello.home / "endpoint.json").exists()
        assert not processes_with(str(hello.home))
        hello.start()


def is_alive(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/healthz").status_code == 200
    except httpx2.TransportError:
        return False
