"""Failed calls are in the error log of whoever may read them, and nowhere else."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from people import add_user
from projects import write_examples
from running import RunningServer
from waiting import wait_until

FIELDS = {
    "created_at",
    "request_id",
    "username",
    "algoname",
    "algoversion",
    "input",
    "error",
    "error_type",
    "billable_to",
    "worker",
}
SEEN_S = 20

WORK = """
import os, time

def apply(input):
    if input == "exit":
        os._exit(3)
    if input == "sleep":
        time.sleep(600)
    if input == "large":
        return "x" * 15_000_001
    if input == "fine":
        return "fine"
    raise ValueError("as told: " + str(input)[:20])
"""
LOADLESS = """
def load():
    raise RuntimeError("no model here")

def apply(input):
    return input
"""


class Site(RunningServer):
    """A server with algorithms that fail."""

    def errors(self, path: str, key: str = "") -> list[dict[str, Any]]:
        answer = self.get(f"{path}/errors", key)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()
        assert all(set(row) == FIELDS for row in found)
        times = [row["created_at"] for row in found]
        assert times == sorted(times, reverse=True)
        return found

    def get(self, path: str, key: str = "") -> httpx2.Response:
        headers = {"Authorization": f"Simple {key or self.key}"}
        return httpx2.get(f"{self.api}/v1/{path}", headers=headers, timeout=60)

    def row(self, answer: httpx2.Response, path: str = "algorithms/logs/Work") -> dict[str, Any]:
        name = answer.headers["x-request-id"]
        found = [row for row in self.errors(path) if row["request_id"] == name]
        assert len(found) == 1
        return found[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("errors")
    sources: dict[str, str | Path] = {"logs/Work": WORK, "logs/Loadless": LOADLESS}
    write_examples(place / "examples", sources)
    options = ("--demo", "--examples-dir", str(place / "examples"))
    with Site(place / "home", *options) as running:
        yield running


def test_a_failure_is_told_whole(site: Site) -> None:
    before_ms = time.time_ns() // 1_000_000
    for _ in range(2):  # the long way, and the way of a head that is known
        answer = site.call("logs/Work", "ü" * 200)

        row = site.row(answer)

        assert before_ms <= row.pop("created_at") <= time.time_ns() // 1_000_000
        text = row.pop("error")
        message = "as told: " + "ü" * 20
        assert text.startswith(f"error:\n{message}\nstacktrace:\nSome(")
        assert text.endswith(")")
        assert "in apply" in text
        assert row == {
            "request_id": answer.headers["x-request-id"],
            "username": "logs",
            "algoname": "Work",
            "algoversion": "1.0.0",
            "input": json.dumps("ü" * 200)[:128],
            "error_type": "AlgorithmError",
            "billable_to": "admin",
            "worker": "gateway-0",
        }


@pytest.mark.parametrize(
    ("value", "options", "error_type"),
    [
        ("exit", {}, "SystemExit"),
        ("sleep", {"timeout": 1}, "TimeoutError"),
        ("large", {}, "TooLargeError"),
    ],
)
def test_every_way_to_fail_is_recorded(
    site: Site, value: str, options: dict[str, Any], error_type: str
) -> None:
    row = site.row(site.call("logs/Work", value, **options))

    assert row["error_type"] == error_type
    assert row["error"].startswith("error:\n")
    assert row["input"] == json.dumps(value)


def test_a_load_that_fails_is_recorded(site: Site) -> None:
    row = site.row(site.call("logs/Loadless", 1), "algorithms/logs/Loadless")

    assert row["error_type"] == "LoadingError"
    assert "no model here" in row["error"]


def test_successes_and_refusals_are_not(site: Site) -> None:
    known = site.errors("algorithms/logs/Work")

    assert site.call("logs/Work", "fine").json()["result"] == "fine"
    headers = {"Authorization": f"Simple {site.key}", "Content-Type": "application/json"}
    assert httpx2.post(f"{site.api}/v1/algo/logs/Work", content=b"{", headers=headers).is_error

    assert site.errors("algorithms/logs/Work") == known


def test_a_void_call_is_recorded_when_it_has_failed(site: Site) -> None:
    name = site.call("logs/Work", "later", output="void").json()["request_id"]

    def is_there() -> bool:
        return name in {row["request_id"] for row in site.errors("algorithms/logs/Work")}

    wait_until(is_there, timeout_s=SEEN_S)


def test_the_log_survives_a_stop_and_each_sees_what_is_theirs(site: Site) -> None:
    at_the_end = site.call("logs/Work", "at the end")
    site.stop()
    stranger = add_user(site.home, "stranger")
    site.start()
    assert site.row(at_the_end)["error_type"] == "AlgorithmError"

    headers = {"Authorization": f"Simple {stranger}", "Content-Type": "text/plain"}
    answer = httpx2.post(
        f"{site.api}/v1/algo/logs/Work", content=b"secret", headers=headers, timeout=60
    )
    name = answer.headers["x-request-id"]
    (mine,) = site.errors("users/Stranger", stranger)
    theirs = [row for row in site.errors("organizations/logs") if row["request_id"] == name]
    by_admin = site.errors("users/stranger", site.credentials["admin_api_key"])

    assert (mine["request_id"], mine["input"]) == (name, "secret")
    assert mine["error"].startswith("error:\nas told: secret\nstacktrace:"), "its source is open"
    assert (theirs[0]["input"], theirs[0]["billable_to"]) == ("secret", "stranger")
    assert [row["request_id"] for row in by_admin] == [name]
    assert site.errors("organizations/logs", stranger) == []
    assert site.errors("users/admin", stranger) == site.errors("users/nobody_at_all") == []
    refused = site.get("algorithms/logs/Work/errors", stranger)
    missing = site.get("algorithms/logs/Nothing/errors", stranger)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, 2001)
    assert (missing.status_code, missing.content) == (404, b'{"error":"No such algorithm"}')


@pytest.mark.network
def test_the_official_client_reads_it(site: Site, official: Path) -> None:
    site.call("logs/Work", "for the official client")
    algorithm_id = site.get("algorithms/logs/Work").json()["id"]
    script = Path(__file__).with_name("official_errors.py")
    arguments = [site.api, site.key, algorithm_id, "admin", "logs"]

    done = subprocess.run(
        [str(official), str(script), *arguments], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["algorithm"] == site.errors("algorithms/logs/Work")
    assert told["user"] == site.errors("users/admin")
    assert told["organization"] == site.errors("organizations/logs")
    assert told["nobody"] == []
