"""`algorium serve --workers 2`: two gateways that are one server to everybody who uses it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from processes import processes_with
from projects import write_examples
from running import RunningServer
from store_of import changing
from waiting import wait_until

from algorium_server.domain.limits import CALLS_IN_FLIGHT_PER_ACCOUNT_MAX
from algorium_server.domain.versions import SemanticVersion
from algorium_server.engine.processes import children, descendants
from algorium_server.services.people.accounts import create_key
from algorium_server.store import accounts, algorithms

sys.path.append(str(Path(__file__).parents[2] / "packages" / "server" / "tests"))

from postgres import running_postgres

PATIENCE_S = 60
LIMIT = CALLS_IN_FLIGHT_PER_ACCOUNT_MAX

ALGORITHMS = {
    "workers/Hello": "def apply(input):\n    return f'Hello {input}'\n",
    "workers/Wait": "import time\ndef apply(input):\n    time.sleep(input)\n    return input\n",
}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_examples(tmp_path_factory.mktemp("examples"), ALGORITHMS)


@pytest.fixture(scope="module")
def server(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    home = tmp_path_factory.mktemp("workers") / "home"
    with fleet(home, examples) as running:
        yield running


def fleet(home: Path, examples: Path, **options: Any) -> RunningServer:
    arguments = ("--workers", "2", "--slots-max", "4", "--demo", "--examples-dir", str(examples))
    return RunningServer(home, *arguments, **options)


class Caller:
    """A connection to one gateway: who is asked stays the same."""

    def __init__(self, server: RunningServer) -> None:
        self.http = httpx2.Client(
            base_url=server.api,
            headers={"Authorization": f"Simple {server.key}"},
            limits=httpx2.Limits(max_connections=1),
            timeout=PATIENCE_S,
        )
        self.gateway: int = self.readiness()["gateways"]["this"]

    def readiness(self) -> dict:
        return self.http.get("/readyz").json()

    def call(self, ref: str, value: object, **headers: str) -> httpx2.Response:
        content = json.dumps(value)
        headers = {"Content-Type": "application/json", **headers}
        return self.http.post(f"/v1/algo/{ref}", content=content, headers=headers)


@contextmanager
def both(server: RunningServer) -> Iterator[tuple[Caller, Caller]]:
    """Yield a connection to each gateway."""
    with ExitStack() as stack:
        callers: dict[int, Caller] = {}
        for _ in range(200):  # whoever has few connections gets the next ones
            caller = Caller(server)
            stack.callback(caller.http.close)
            callers.setdefault(caller.gateway, caller)
            if len(callers) == 2:
                break
        yield callers[0], callers[1]


class WaitingCall:
    """A call on a connection of its own that takes minutes, and is ended by closing it."""

    def __init__(self, server: RunningServer) -> None:
        body = b"280"
        host, port = server.api.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.sendall(
            b"POST /v1/algo/workers/Wait HTTP/1.1\r\nHost: here\r\nConnection: keep-alive\r\n"
            b"Authorization: Simple %b\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (server.key.encode(), len(body), body)
        )
        self.socket.setblocking(False)

    def status(self) -> int | None:
        """Return the status of the answer, None while there is none, 0 if there will be none."""
        try:
            head = self.socket.recv(65536, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except ConnectionError:
            return 0
        return int(head.split()[1]) if head else 0

    def close(self) -> None:
        self.socket.close()


@contextmanager
def waiting_calls(server: RunningServer, count: int) -> Iterator[list[WaitingCall]]:
    calls = [WaitingCall(server) for _ in range(count)]
    try:
        yield calls
    finally:
        for call in calls:
            call.close()


def refused(calls: list[WaitingCall]) -> int:
    return sum(call.status() == 429 for call in calls)


def wait_for_refusals(calls: list[WaitingCall], count: int) -> None:
    """Wait until exactly so many of *calls* were refused."""
    try:
        wait_until(lambda: refused(calls) == count, timeout_s=PATIENCE_S)
    except AssertionError as error:
        statuses = Counter(call.status() for call in calls)
        raise AssertionError(f"{count} were to be refused: {statuses}") from error


def is_full(*callers: Caller) -> bool:
    """Whether no gateway admits one more call; those that are admitted are no JSON, and end."""
    path, as_json = "/v1/algo/workers/Hello", {"Content-Type": "application/json"}
    asked = [caller.http.post(path, content="{", headers=as_json) for caller in callers]
    assert {answer.status_code for answer in asked} <= {400, 429}
    return all(answer.status_code == 429 for answer in asked)


def wait_for_room(server: RunningServer) -> None:
    """Wait until the calls of a test are gone."""
    with both(server) as (one, other):
        wait_until(lambda: not is_full(one), timeout_s=PATIENCE_S)
        assert not is_full(other)
        for caller in (one, other):
            assert caller.call("workers/Hello", "?").status_code == 200


def gateways(server: RunningServer) -> dict[int, int]:
    """Return the process of each gateway by its number."""
    found = {}
    for pid in children(server.pid):
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"algorium_server.member" in arguments:
            number = next(a for a in arguments if a.startswith(b"gateway-"))
            found[int(number.removeprefix(b"gateway-"))] = pid
    return found


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def serves_with_all(server: RunningServer) -> bool:
    """Whether both gateways serve; the server is ready all the time, whoever is asked."""
    try:
        answer = httpx2.get(f"{server.api}/readyz")
    except httpx2.HTTPError:  # the connection was on its way to a gateway that died
        return False
    assert answer.status_code == 200, answer.text
    told: dict[str, int] = answer.json()["gateways"]
    return told["serving"] == 2


def test_it_is_one_server(server: RunningServer) -> None:
    endpoint = json.loads((server.home / "endpoint.json").read_text())

    assert endpoint == {"api": server.api, "pid": server.pid}
    assert server.lines.count(f"ready {server.api}") == 1
    assert sum("published" in line for line in server.lines) == len(ALGORITHMS)
    assert sorted(gateways(server)) == [0, 1]
    with both(server) as callers:
        for caller in callers:
            assert caller.http.get("/healthz").json() == {"status": "ok"}
            told = caller.readiness()
            assert told["status"] == "ready"
            assert told["demo"] == "published"
            assert told["gateways"] == {"wanted": 2, "serving": 2, "this": caller.gateway}
            assert caller.call("workers/Hello", "there").json()["result"] == "Hello there"


def test_no_process_shows_keys(server: RunningServer) -> None:
    seen = 0
    for pid in (server.pid, *descendants(server.pid)):
        for what in ("cmdline", "environ"):
            with suppress(OSError):  # of a slot that has ended, or belongs to somebody else
                told = Path(f"/proc/{pid}/{what}").read_bytes()
                assert server.key.encode() not in told
                seen += 1
    assert seen >= 6, "of the parent and of both gateways"


def test_connections_are_spread(server: RunningServer) -> None:
    with ExitStack() as stack:
        callers = [Caller(server) for _ in range(16)]
        for caller in callers:
            stack.callback(caller.http.close)
        shares = [sum(caller.gateway == number for caller in callers) for number in (0, 1)]

    assert min(shares) >= 6, shares


def test_data_written_at_one_gateway_is_read_at_the_other(server: RunningServer) -> None:
    with both(server) as (one, other):
        made = one.http.post("/v1/data/.my", json={"name": "shared"})
        assert made.status_code == 200
        for number, (writer, reader) in enumerate([(one, other), (other, one)]):
            body = bytes([number]) * 100_000
            assert writer.http.put("/v1/data/.my/shared/f", content=body).status_code == 200
            assert reader.http.get("/v1/data/.my/shared/f").content == body


def test_eighty_open_calls_are_eighty_on_both_together(server: RunningServer) -> None:
    with both(server) as callers, waiting_calls(server, LIMIT + 20) as calls:
        wait_for_refusals(calls, 20)
        assert is_full(*callers)
        assert refused(calls) == 20
        assert sum(call.status() is None for call in calls) == LIMIT

        first = next(call for call in calls if call.status() is None)
        first.close()
        calls.remove(first)
        wait_until(lambda: not is_full(*callers), timeout_s=PATIENCE_S, what="a place is free")
        with waiting_calls(server, 2) as two:
            wait_for_refusals(two, 1)
            assert is_full(*callers)
            assert refused(two) == 1
    wait_for_room(server)


def test_new_and_revoked_keys_reach_both(server: RunningServer) -> None:
    with both(server) as callers, changing(server.home) as store:
        admin = store.directory.account_named("admin")

        def statuses(secret: str) -> list[int]:
            authorization = f"Simple {secret}"
            return [
                caller.call("workers/Hello", "?", Authorization=authorization).status_code
                for caller in callers
            ]

        for _ in range(3):
            new = store.run(
                create_key(
                    store.database,
                    store.directory,
                    account=admin,
                    label="default-key",
                    now=datetime.now(UTC),
                )
            )
            header = {"Authorization": f"Simple {new.secret}"}
            data = [caller.http.get("/v1/data/", headers=header) for caller in callers]
            assert 401 not in {answer.status_code for answer in data}, "the first request of all"
            wait_until(lambda s=new.secret: statuses(s) == [200, 200], timeout_s=PATIENCE_S)
            store.write(accounts.remove_key, new.key.key_id)
            wait_until(lambda s=new.secret: statuses(s) == [401, 401], timeout_s=PATIENCE_S)


def test_who_is_shut_out_at_one_gateway_is_shut_out_at_the_other(server: RunningServer) -> None:
    admin = {"Authorization": server.credentials["admin_api_key"]}
    with both(server) as (one, other):

        def ask(method: str, path: str, body: object = None) -> Any:
            answer = one.http.request(method, path, headers=admin, json=body)
            assert answer.is_success, answer.text
            return answer.json() if answer.content else None

        def status(secret: str) -> int:
            headers = {"Authorization": secret}
            return other.http.get("/v1/data", headers=headers).status_code

        for number, shut_out in enumerate(
            (
                lambda user, key: ask("DELETE", f"/v1/users/{user}/keys/{key}"),
                lambda user, key: ask(
                    "POST", f"/v1/users/{user}/keys/{key}/rotate", {"grace_seconds": 0}
                ),
                lambda user, _: ask("PUT", f"/v1/users/{user}", {"disabled": True}),
                lambda user, _: ask("DELETE", f"/v1/users/{user}"),
            )
        ):
            user = f"shut{number}"
            ask("POST", "/v1/users", {"username": user, "email": f"{user}@example.com"})
            key = ask("POST", f"/v1/users/{user}/keys", {"permissions": {"allow_data": True}})
            secret = key["api_key"]
            wait_until(lambda s=secret: status(s) == 200, timeout_s=PATIENCE_S)
            shut_out(user, key["key_id"])
            # The other looks four times a second; how soon it gets to that, the machine says.
            wait_until(lambda s=secret: status(s) == 401, timeout_s=PATIENCE_S)


def test_a_published_version_can_be_called_at_both(server: RunningServer) -> None:
    with both(server) as callers, changing(server.home) as store:
        (first,) = (
            version
            for versions in store.directory._versions.values()
            for version in versions
            if store.directory.algorithm_by_id(version.algorithm_id).name == "Hello"
        )
        for minor in (1, 2, 3):
            new = replace(
                first, version_id=str(uuid4()), semantic_version=SemanticVersion(1, minor, 0)
            )
            ref = f"workers/Hello/1.{minor}.0"
            assert [caller.call(ref, "?").status_code for caller in callers] == [404, 404]
            store.write(algorithms.add_version, new)
            wait_until(
                lambda r=ref: [c.call(r, "?").status_code for c in callers] == [200, 200],
                timeout_s=PATIENCE_S,
            )


def test_every_call_runs_once_and_is_recorded_once(server: RunningServer) -> None:
    with both(server) as callers:
        answers = [
            caller.call(f"workers/Hello?output={output}", number)
            for caller in callers
            for output in ("raw", "void")
            for number in range(5)
        ]
        assert {answer.status_code for answer in answers} == {200}
        called = sorted(answer.headers["x-request-id"] for answer in answers)

        def recorded() -> list[str]:
            page = callers[0].http.get("/v1/usage", params={"limit": 1000}).json()
            assert not page.get("marker")
            found = [record["request_id"] for record in page["results"]]
            return sorted(request_id for request_id in found if request_id in called)

        wait_until(lambda: len(recorded()) >= len(called), timeout_s=PATIENCE_S)
        assert recorded() == called


def test_a_gateway_that_is_killed_takes_nothing_along_but_its_own_calls(
    server: RunningServer,
) -> None:
    before = gateways(server)
    with both(server) as (doomed, survivor), waiting_calls(server, LIMIT + 5) as calls:
        wait_for_refusals(calls, 5)
        assert is_full(doomed, survivor)
        inside = descendants(before[0])
        assert inside, "it has a supervisor, and slots"
        said = len(server.lines)

        os.kill(before[0], signal.SIGKILL)

        # Connections are closed one after the other; when nothing else is left of it, all are.
        wait_until(lambda: not is_alive(before[0]), timeout_s=PATIENCE_S)
        wait_until(lambda: any(call.status() == 0 for call in calls), timeout_s=PATIENCE_S)
        lost = [call for call in calls if call.status() == 0]
        assert 0 < len(lost) < LIMIT
        wait_until(lambda: not is_full(survivor), timeout_s=PATIENCE_S, what="its calls are free")
        assert survivor.http.get("/v1/data/.my").status_code == 200
        wait_until(lambda: not any(map(is_alive, inside)), timeout_s=PATIENCE_S)
        wait_until(lambda: serves_with_all(server), timeout_s=PATIENCE_S, what="it is back")
        after = gateways(server)
        assert after[1] == before[1]
        assert after[0] != before[0]
        with waiting_calls(server, len(lost) + 5) as more:
            wait_for_refusals(more, 5)
            with both(server) as callers:
                assert is_full(*callers)
            assert refused(more) == 5
        assert {call.status() for call in calls} <= {0, 429, None}
    assert any("has the duties now" in line and "gateway=1" in line for line in server.lines[said:])
    wait_for_room(server)


def test_a_killed_parent_leaves_nothing_behind(server: RunningServer) -> None:
    assert server.call("workers/Hello", "warm").status_code == 200
    family = descendants(server.pid)
    assert len(family) >= 4, "gateways and supervisors"

    server.kill()

    wait_until(lambda: not any(map(is_alive, family)), timeout_s=PATIENCE_S)
    wait_until(lambda: not processes_with(str(server.home)), timeout_s=PATIENCE_S)
    server.start()
    assert server.call("workers/Hello", "again").json()["result"] == "Hello again"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly(server: RunningServer, signum: signal.Signals) -> None:
    assert server.call("workers/Hello", "warm").status_code == 200
    family = descendants(server.pid)
    assert server.process is not None

    server.process.send_signal(signum)

    assert server.process.wait(PATIENCE_S) == 0, server.lines
    assert not any(map(is_alive, family))
    assert not processes_with(str(server.home))
    assert not (server.home / "endpoint.json").exists()
    server.start()


def test_building_goes_on_when_the_gateway_that_builds_is_killed(tmp_path: Path) -> None:
    endless = "import time\ntime.sleep(600)\ndef apply(input):\n    return input\n"
    examples = write_examples(tmp_path / "examples", {"workers/Endless": endless})
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    server = fleet(tmp_path / "home", examples, port=port)
    server.launch()

    def times_begun() -> int:
        return sum("importing src.Endless" in line for line in server.lines)

    try:
        wait_until(lambda: times_begun() == 1, timeout_s=PATIENCE_S)
        readiness = httpx2.get(f"http://127.0.0.1:{port}/readyz")
        assert readiness.status_code == 503
        assert (readiness.json()["status"], readiness.json()["demo"]) == ("starting", "building")
        led = next(line for line in server.lines if "has the duties now" in line)
        leader = int(led.partition("gateway=")[2].split()[0])

        os.kill(gateways(server)[leader], signal.SIGKILL)

        wait_until(lambda: times_begun() == 2, timeout_s=PATIENCE_S)
        assert not server.api, "it is not ready"
    finally:
        assert server.stop() == 0
    wait_until(lambda: not processes_with(str(server.home)), timeout_s=PATIENCE_S)
    assert not (server.home / "endpoint.json").exists()


def test_nobody_else_may_use_its_home(server: RunningServer) -> None:
    again = subprocess.run(
        RunningServer(server.home, "--workers", "2").command,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith(f"algorium: Another server is running on {server.home}\n")


def test_a_gateway_that_dies_at_once_again_and_again_fails_the_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "blobs").touch()  # a gateway cannot cope with that, and does not know why

    done = subprocess.run(
        RunningServer(home, "--workers", "2").command,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "algorium: A gateway does not start; see the log"
    assert not processes_with(str(home))


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    options = ("--workers", "2", "--demo", "--examples-dir", str(missing))
    server = RunningServer(tmp_path / "home", *options)

    done = subprocess.run(server.command, capture_output=True, text=True, timeout=PATIENCE_S)

    assert (done.returncode, done.stdout) == (1, "")
    assert [line for line in done.stderr.splitlines() if line.startswith("algorium: ")]
    assert str(missing) in done.stderr
    assert not processes_with(str(server.home))


def test_of_calls_with_one_key_at_both_one_runs(server: RunningServer) -> None:
    key = str(uuid4())
    with both(server) as callers, ThreadPoolExecutor(2) as pool:
        attempts = [
            pool.submit(caller.call, "workers/Hello", "once", **{"Idempotency-Key": key})
            for _ in range(4)
            for caller in callers
        ]
        answers = [attempt.result(PATIENCE_S) for attempt in attempts]
        ran = [answer for answer in answers if answer.status_code == 200]
        again = [
            caller.call("workers/Hello", "once", **{"Idempotency-Key": key}) for caller in callers
        ]

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.headers["x-request-id"] for answer in [*ran, *again]}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in ran) == 1
    assert {answer.content for answer in again} == {ran[0].content}


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    with running_postgres() as server:
        yield server.new_database()


@pytest.mark.postgresql
@pytest.mark.slow
def test_it_is_the_same_on_postgresql(tmp_path: Path, examples: Path, database_url: str) -> None:
    home = tmp_path / "home"
    with fleet(home, examples, env={"ALGORIUM_DATABASE": database_url}) as server:
        with both(server) as callers, changing(home, database_url) as store:
            new = store.run(
                create_key(
                    store.database,
                    store.directory,
                    account=store.directory.account_named("admin"),
                    label="default-key",
                    now=datetime.now(UTC),
                )
            )
            authorization = f"Simple {new.secret}"

            def statuses() -> list[int]:
                return [
                    caller.call("workers/Hello", "?", Authorization=authorization).status_code
                    for caller in callers
                ]

            wait_until(lambda: statuses() == [200, 200], timeout_s=PATIENCE_S)
            store.write(accounts.remove_key, new.key.key_id)
            wait_until(lambda: statuses() == [401, 401], timeout_s=PATIENCE_S)
            for caller in callers:
                assert caller.call("workers/Hello?output=void", "later").status_code == 200
            for pid in gateways(server).values():
                for what in ("cmdline", "environ"):
                    told = Path(f"/proc/{pid}/{what}").read_text()
                    assert database_url not in told, "it may hold a password"
        assert server.stop() == 0
    assert not processes_with(str(home))
