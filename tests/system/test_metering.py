"""Every admitted call leaves one usage record, whatever its end; strangers do not see it."""

import json
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from people import add_user
from projects import write_examples
from running import RunningServer
from waiting import wait_until

END_S = 20
SERVER_TIMING = re.compile(
    r"queue;dur=(?P<queue>[\d.]+), load;dur=(?P<load>[\d.]+), run;dur=(?P<run>[\d.]+)"
)

# Does what the input says. "wait" says that it runs, and goes on for as long as it is let.
WORK = """
import ctypes, os, subprocess, sys, time, urllib.request

KEPT = []

def busy(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def begun(name):
    url = os.environ["ALGORITHMIA_API"] + "/v1/data/.my/metering/" + name
    urllib.request.urlopen(urllib.request.Request(url, data=b"x", method="PUT"))

def apply(input):
    what, *rest = input if isinstance(input, list) else [input]
    if what == "cpu":
        busy(rest[0])
    if what == "child":
        code = f"import time\\nwhile time.process_time() < {rest[0]}: pass"
        subprocess.run([sys.executable, "-c", code])
    if what == "memory":
        KEPT.append(bytearray(rest[0]))
    if what == "fail":
        raise ValueError("as told")
    if what == "exit":
        busy(rest[0])
        os._exit(3)
    if what == "wait":
        begun(rest[0])
        time.sleep(600)
    if what == "large":
        return "x" * rest[0]
    return "done"
"""

PARENT = """
import json, os, urllib.request

def apply(input):
    url = os.environ["ALGORITHMIA_API"] + "/v1/algo/meter/Work"
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=json.dumps(input).encode(), headers=headers)
    return urllib.request.urlopen(request).read().decode()
"""


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = {"meter/Work": WORK, "meter/Parent": PARENT}
    return write_examples(tmp_path_factory.mktemp("examples"), sources)


@pytest.fixture(scope="module")
def site(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    home = tmp_path_factory.mktemp("metering") / "home"
    options = ("--demo", "--examples-dir", str(examples), "--slots-max", "2")
    with RunningServer(home, *options) as running:
        make_collection(running)
        yield running


def make_collection(site: RunningServer) -> None:
    headers = {"Authorization": f"Simple {site.key}"}
    made = httpx2.post(f"{site.api}/v1/data/.my", json={"name": "metering"}, headers=headers)
    assert made.status_code == 200


def get(site: RunningServer, path: str, key: str = "") -> httpx2.Response:
    headers = {"Authorization": f"Simple {key or site.key}"}
    return httpx2.get(f"{site.api}{path}", headers=headers, timeout=60)


def records(site: RunningServer) -> dict[str, dict[str, Any]]:
    """All records of the administrator's account, by request id; each id must be there once."""
    found: list[dict[str, Any]] = []
    path = "/v1/usage?limit=1000"
    while path:
        page = get(site, path).json()
        found += page["results"]
        link = urlsplit(page["next_link"] or "")
        path = f"{link.path}?{link.query}" if link.path else ""
    by_id = {row["request_id"]: row for row in found}
    assert len(by_id) == len(found)
    return by_id


def record(site: RunningServer, answer: httpx2.Response) -> dict[str, Any]:
    return records(site)[answer.headers["x-request-id"]]


def is_begun(site: RunningServer, name: str) -> bool:
    return get(site, f"/v1/data/.my/metering/{name}").status_code == 200


class Caller:
    """A caller on a bare socket that may go away before the answer comes."""

    def __init__(self, site: RunningServer, *headers: str) -> None:
        self.name = f"call-{uuid.uuid4()}"
        address = urlsplit(site.api)
        body = json.dumps(["wait", self.name])
        lines = [
            "POST /v1/algo/meter/Work HTTP/1.1",
            f"Host: {address.netloc}",
            f"Authorization: Simple {site.key}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *headers,
        ]
        self.socket = socket.create_connection((address.hostname, address.port), timeout=END_S)
        self.socket.sendall("\r\n".join([*lines, "", body]).encode())
        wait_until(lambda: is_begun(site, self.name), timeout_s=END_S, what="the call has begun")

    def close(self) -> None:
        self.socket.close()


def test_a_success_tells_what_it_took(site: RunningServer) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    first = site.call("meter/Work", ["cpu", 0.2], output="raw")
    second = site.call("meter/Work", "hello", output="raw")

    cold, warm = record(site, first), record(site, second)

    assert before <= datetime.fromisoformat(cold["started_at"]) <= datetime.now(UTC)
    assert cold["tree_id"] == cold["request_id"]
    assert (cold["account"], cold["algorithm"], cold["version"]) == (
        "admin",
        "meter/Work",
        "1.0.0",
    )
    assert len(cold["commit"]) == 40
    assert (cold["outcome"], cold["error_type"], cold["is_void"]) == ("success", "", False)
    assert (cold["input_bytes"], cold["output_bytes"]) == (len('["cpu", 0.2]'), len("done"))
    assert cold["load_s"] > 0 == warm["load_s"]
    assert cold["run_s"] >= 0.2
    assert cold["cpu_s"] >= 0.2, "the call and, as it was the first, loading"
    assert warm["cpu_s"] < 0.2
    assert cold["peak_memory_bytes"] > 1_000_000


def test_processes_and_memory_count(site: RunningServer) -> None:
    child = record(site, site.call("meter/Work", ["child", 0.3]))
    # The peak is looked up at most every tenth of a second.
    slow = record(site, site.call("meter/Work", ["memory", 64 * 2**20]))
    later = record(site, site.call("meter/Work", ["cpu", 0.15]))

    assert child["cpu_s"] >= 0.25, "told in ticks of the kernel"
    assert max(slow["peak_memory_bytes"], later["peak_memory_bytes"]) > 64 * 2**20


@pytest.mark.parametrize(
    ("value", "options", "outcome", "error_type"),
    [
        (["fail"], {}, "error", "AlgorithmError"),
        (["exit", 0.2], {}, "error", "SystemExit"),
        (["large", 15_000_001], {"output": "raw"}, "error", "TooLargeError"),
        (["wait", "timeout"], {"timeout": 1.0}, "timeout", "TimeoutError"),
    ],
)
def test_failures_are_told_apart(
    site: RunningServer, value: Any, options: dict[str, Any], outcome: str, error_type: str
) -> None:
    row = record(site, site.call("meter/Work", value, **options))

    assert (row["outcome"], row["error_type"]) == (outcome, error_type)
    assert row["output_bytes"] == 0
    assert row["input_bytes"] == len(json.dumps(value))
    if value[0] == "exit":
        assert row["cpu_s"] >= 0.2, "to the end of the slot"
    if outcome == "timeout":
        assert 0.5 < row["queue_s"] + row["load_s"] + row["run_s"] < 3


@pytest.mark.parametrize(
    ("body", "content_type", "error_type"),
    [
        (b"{", "application/json", "MalformedJson"),
        (b"x", "image/png", None),
        (b"x" * (10 * 2**20 + 1), "text/plain", "TooLarge"),
    ],
)
def test_what_was_admitted_and_could_not_run_is_refused(
    site: RunningServer, body: bytes, content_type: str, error_type: str | None
) -> None:
    headers = {"Authorization": f"Simple {site.key}", "Content-Type": content_type}
    answer = httpx2.post(
        f"{site.api}/v1/algo/meter/Work", content=body, headers=headers, timeout=60
    )

    assert answer.status_code in {400, 413, 415}
    if error_type is None:  # known from the head alone: it was not admitted
        assert answer.headers["x-request-id"] not in records(site)
        return
    row = record(site, answer)
    assert (row["outcome"], row["error_type"]) == ("refused", error_type)
    assert row["run_s"] == 0


def test_what_was_not_admitted_leaves_nothing(site: RunningServer) -> None:
    before = len(records(site))

    assert site.call("meter/Nothing").status_code == 404
    assert httpx2.post(f"{site.api}/v1/algo/meter/Work").status_code == 401

    assert len(records(site)) == before


def test_a_caller_that_goes_away_has_cancelled(site: RunningServer) -> None:
    known = set(records(site))
    caller = Caller(site)

    caller.close()

    (row,) = wait_until(
        lambda: [row for name, row in records(site).items() if name not in known], timeout_s=END_S
    )
    assert (row["outcome"], row["error_type"]) == ("cancelled", "")
    assert row["run_s"] > 0
    assert row["input_bytes"] > 0 == row["output_bytes"]


def test_a_call_that_goes_on_alone_is_recorded_as_it_ends(site: RunningServer) -> None:
    site.call("meter/Work", "so that a slot is warm")
    known = set(records(site))
    address = urlsplit(site.api)
    body = json.dumps(["cpu", 1.0])
    with socket.create_connection((address.hostname, address.port), timeout=END_S) as connection:
        lines = [
            "POST /v1/algo/meter/Work?on_disconnect=continue HTTP/1.1",
            f"Host: {address.netloc}",
            f"Authorization: Simple {site.key}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        connection.sendall("\r\n".join([*lines, "", body]).encode())

    (row,) = wait_until(
        lambda: [row for name, row in records(site).items() if name not in known], timeout_s=END_S
    )
    assert (row["outcome"], row["output_bytes"]) == ("success", len("done"))
    assert row["run_s"] >= 1


def test_a_caller_that_goes_away_during_its_upload_has_cancelled(site: RunningServer) -> None:
    site.call("meter/Work", "so that its head may be known")
    known = set(records(site))
    address = urlsplit(site.api)
    with socket.create_connection((address.hostname, address.port), timeout=END_S) as connection:
        lines = [
            "POST /v1/algo/meter/Work HTTP/1.1",
            f"Host: {address.netloc}",
            f"Authorization: Simple {site.key}",
            "Content-Type: application/json",
            "Content-Length: 1000",
        ]
        connection.sendall("\r\n".join([*lines, "", '"not all']).encode())

    (row,) = wait_until(
        lambda: [row for name, row in records(site).items() if name not in known], timeout_s=END_S
    )
    assert (row["outcome"], row["run_s"]) == ("cancelled", 0)


def test_calls_of_algorithms_are_billed_to_who_called_first(site: RunningServer) -> None:
    answer = site.call("meter/Parent", "hello")

    rows = [
        row for row in records(site).values() if row["tree_id"] == record(site, answer)["tree_id"]
    ]

    assert {row["algorithm"]: row["account"] for row in rows} == {
        "meter/Parent": "admin",
        "meter/Work": "admin",
    }
    assert len({row["request_id"] for row in rows}) == 2


@pytest.mark.parametrize(
    ("value", "outcome"), [("hello", "success"), (["fail"], "error"), (["exit", 0], "error")]
)
def test_a_void_call_is_recorded_once_it_has_run(
    site: RunningServer, value: Any, outcome: str
) -> None:
    answer = site.call("meter/Work", value, output="void")
    name = answer.json()["request_id"]

    row = wait_until(lambda: records(site).get(name), timeout_s=END_S)

    assert (row["outcome"], row["is_void"]) == (outcome, True)
    assert row["input_bytes"] == len(json.dumps(value))
    assert row["queue_s"] >= 0


@pytest.mark.parametrize(
    ("value", "options"),
    [("hello", {}), ("hello", {"output": "raw"}), (["fail"], {}), (["fail"], {"output": "raw"})],
)
def test_an_answer_tells_where_its_time_went(
    site: RunningServer, value: Any, options: dict[str, str]
) -> None:
    for _ in range(2):  # the long way, and the way of a head that is known
        answer = site.call("meter/Work", value, **options)

        told = SERVER_TIMING.fullmatch(answer.headers["server-timing"])
        assert told is not None
        row = record(site, answer)
        for name, text in told.groupdict().items():
            assert abs(float(text) / 1000 - row[f"{name}_s"]) < 0.0001


def test_answers_without_a_run_have_no_times(site: RunningServer) -> None:
    void = site.call("meter/Work", "hello", output="void")
    for answer in (void, site.call("meter/Nothing")):
        assert "server-timing" not in answer.headers
    name = void.json()["request_id"]
    wait_until(lambda: name in records(site), timeout_s=END_S)  # others count what there is


def test_many_calls_at_once_leave_as_many_records(site: RunningServer) -> None:
    known = len(records(site))
    headers = {"Authorization": f"Simple {site.key}", "Content-Type": "application/json"}
    with (
        httpx2.Client(base_url=site.api, headers=headers, timeout=60) as http,
        ThreadPoolExecutor(16) as pool,
    ):
        path = "/v1/algo/meter/Work"
        answers = list(pool.map(lambda n: http.post(path, content=b"%d" % n), range(300)))

    assert all(answer.status_code == 200 for answer in answers)
    rows = records(site)
    assert len(rows) == known + len(answers)
    assert {answer.headers["x-request-id"] for answer in answers} <= set(rows)
    totals = get(site, "/v1/usage/totals").json()["results"]
    assert totals[0]["calls"] == len(rows)


def test_the_command_shows_it(site: RunningServer) -> None:
    site.call("meter/Work", "hello")
    program = [str(Path(sys.executable).with_name("algo")), "usage", "--api-address", site.api]
    env = {"ALGORITHMIA_API_KEY": site.key, "PATH": "", "HOME": str(site.home)}

    shown = subprocess.run(
        [*program, "--by", "algorithm", "--json"], env=env, capture_output=True, check=True
    )

    by_name = {row["algorithm"]: row["calls"] for row in json.loads(shown.stdout)}
    assert by_name["meter/Work"] >= 1


def test_a_stop_interrupts_what_still_runs_and_strangers_see_nothing_of_it(
    examples: Path, tmp_path: Path
) -> None:
    options = ("--demo", "--examples-dir", str(examples), "--shutdown-grace-s", "1")
    with RunningServer(tmp_path / "home", *options) as server:
        make_collection(server)
        with closing(Caller(server)):
            void = server.call("meter/Work", ["wait", "void"], output="void").json()["request_id"]
            wait_until(lambda: is_begun(server, "void"), timeout_s=END_S)
            assert server.stop() == 0
        assert not list((server.home / "usage").glob("*.journal"))
        key = add_user(server.home, "stranger")
        server.start()

        rows = records(server)
        own = get(server, "/v1/usage", key)
        others = get(server, "/v1/usage?account=admin", key)
        admin = get(server, "/v1/usage", server.credentials["admin_api_key"])

    assert [row["outcome"] for row in rows.values()] == ["interrupted"] * 2
    assert rows[void]["is_void"]
    assert (own.status_code, own.json()["results"]) == (200, [])
    assert others.status_code == 404
    assert {row["request_id"] for row in admin.json()["results"]} == set(rows)
