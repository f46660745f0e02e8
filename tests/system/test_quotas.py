"""Quotas and reservations as users and operators meet them, on a server with two gateways."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import pytest
from projects import write_examples
from running import ALGORIUM, RunningServer
from waiting import wait_until

ALGORITHMS = {
    "demo/Sleep": "import time\ndef apply(input):\n    time.sleep(input)\n    return input\n",
    "demo/Began": "import time\nBEGAN = time.time()\ndef apply(input):\n    return BEGAN\n",
}
PATIENCE_S = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    examples = write_examples(tmp_path_factory.mktemp("examples"), ALGORITHMS)
    home = tmp_path_factory.mktemp("quotas") / "home"
    options = ("--workers", "2", "--demo", "--examples-dir", str(examples), "--log-level=debug")
    with RunningServer(home, *options) as running:
        yield running


@pytest.fixture
def admin(server: RunningServer) -> Iterator[httpx2.Client]:
    key = server.credentials["admin_api_key"]
    with client(server, key) as http:
        yield http


def client(server: RunningServer, key: str) -> httpx2.Client:
    """Return a client with one connection, so always of one gateway."""
    return httpx2.Client(
        base_url=server.api,
        headers={"Authorization": f"Simple {key}"},
        limits=httpx2.Limits(max_connections=1),
        timeout=PATIENCE_S,
    )


@contextmanager
def both(server: RunningServer, key: str) -> Iterator[list[httpx2.Client]]:
    """Yield a client of each gateway."""
    with ExitStack() as stack:
        found: dict[int, httpx2.Client] = {}
        for _ in range(200):  # whoever has few connections gets the next ones
            http = stack.enter_context(client(server, key))
            found.setdefault(http.get("/readyz").json()["gateways"]["this"], http)
            if len(found) == 2:
                break
        yield [found[0], found[1]]


def call(http: httpx2.Client, name: str, value: object = 0) -> httpx2.Response:
    return http.post(f"/v1/algo/demo/{name}", json=value)


def quotas(http: httpx2.Client, path: str) -> dict[str, Any]:
    answer = http.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["quotas"]
    return found


def compute(http: httpx2.Client) -> dict[str, Any]:
    found: dict[str, Any] = quotas(http, "/v1/users/compute/quotas")
    return found["compute_seconds_per_month"]


def put(admin: httpx2.Client, account: str, **limits: object) -> None:
    answer = admin.put(f"/v1/admin/quotas/{account}", json=limits)
    assert answer.status_code == 200, answer.text


def test_calls_of_a_minute_are_exact_on_all_gateways(
    server: RunningServer, admin: httpx2.Client
) -> None:
    for attempt in range(3):  # a minute may end in between; the next try has a whole one
        name = f"rate{attempt}"
        key = server.add_user(name)
        put(admin, name, calls_per_minute=5)
        with both(server, key) as https:
            for http in https:  # who is asked this way catches up first
                assert quotas(http, f"/v1/users/{name}/quotas")["calls_per_minute"]["limit"] == 5
            minute = time.time() // 60
            answers = [call(https[number % 2], "Sleep") for number in range(9)]
            used = quotas(https[0], f"/v1/users/{name}/quotas")["calls_per_minute"]
            if time.time() // 60 == minute:
                break
    else:
        pytest.skip("this machine takes longer than a minute for nine calls")

    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 4
    error = answers[-1].json()["error"]
    assert (error["quota"], error["limit"]) == ("calls_per_minute", 5)
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert (used["limit"], used["used"]) == (5, 5)


def test_a_new_limit_of_open_calls_reaches_every_gateway(
    server: RunningServer, admin: httpx2.Client
) -> None:
    key = server.add_user("open")
    with both(server, key) as https:
        assert [call(http, "Sleep").status_code for http in https] == [200, 200]
        put(admin, "open", concurrent_calls=0)
        for http in https:
            wait_until(lambda http=http: call(http, "Sleep").status_code == 429, timeout_s=30)
        refused = call(https[0], "Sleep")
        assert "retry-after" not in refused.headers, "trying again is of no use"
        assert refused.json()["error"]["message"].startswith("Too many requests")

        assert admin.delete("/v1/admin/quotas/open").json()["quotas"]["concurrent_calls"][
            "is_default"
        ]
        for http in https:
            wait_until(lambda http=http: call(http, "Sleep").status_code == 200, timeout_s=30)


def test_who_has_used_up_the_compute_budget_must_wait_for_the_next_month(
    server: RunningServer, admin: httpx2.Client
) -> None:
    key = server.add_user("compute")
    with both(server, key) as https:
        assert call(https[0], "Sleep", 0.3).status_code == 200
        put(admin, "compute", compute_seconds_per_month=1)
        assert call(https[0], "Sleep", 0.8).status_code == 200
        for http in https:
            wait_until(lambda http=http: call(http, "Sleep").status_code == 402, timeout_s=20)
        error = call(https[1], "Sleep").json()["error"]
        for http in https:  # what was used before there was a budget counts as well
            wait_until(lambda http=http: compute(http)["used"] >= 1.1, timeout_s=30)
        state = compute(https[1])

    assert error["error_type"] == "PaymentRequiredError"
    assert (error["quota"], error["limit"]) == ("compute_seconds_per_month", 1)
    assert error["used"] >= 1
    assert error["renews_at"].endswith("-01T00:00:00Z")
    assert state["limit"] == 1
    assert state["renews_at"].endswith("-01T00:00:00.000Z")


def test_storage_and_builds_have_their_own_limits(
    server: RunningServer, admin: httpx2.Client
) -> None:
    with client(server, server.add_user("author")) as http:
        put(admin, "author", storage_bytes=10, build_minutes_per_month=0)
        # Whoever is asked this way catches up first: with the new key, and with its limits.
        assert quotas(http, "/v1/users/author/quotas")["storage_bytes"]["limit"] == 10
        assert http.post("/v1/data/.my", json={"name": "c"}).status_code == 200
        assert http.put("/v1/data/.my/c/a", content=bytes(10)).status_code == 200
        full = http.put("/v1/data/.my/c/b", content=b"x")
        assert (full.status_code, full.json()["error"]["limit"]) == (507, 10)

        made = http.post(
            "/v1/algorithms/author",
            json={"name": "New", "details": {"label": "New"}, "settings": {"language": "python3"}},
        )
        assert made.status_code == 201, made.text
        refused = http.post("/v1/algorithms/author/New/compile")
        assert refused.status_code == 402, refused.text
        assert "build minutes" in refused.json()["error"]["message"]
        put(admin, "author", build_minutes_per_month=None, builds_waiting=0)
        busy = http.post("/v1/algorithms/author/New/compile")
        assert (busy.status_code, busy.headers.get("retry-after")) == (429, None)
        put(admin, "author", builds_waiting=None)
        built = http.post("/v1/algorithms/author/New/compile")
        assert built.status_code == 200, built.text
        used = quotas(http, "/v1/users/author/quotas")
        assert used["build_minutes_per_month"]["used"] > 0
        assert (used["storage_bytes"]["used"], used["storage_files"]["used"]) == (10, 1)


def test_who_may_not_hears_no_and_wrong_limits_change_nothing(
    server: RunningServer, admin: httpx2.Client
) -> None:
    with client(server, server.add_user("plain")) as http:
        assert http.get("/v1/admin/quotas/plain").status_code == 403
        assert http.put("/v1/admin/quotas/plain", json={}).status_code == 403
        assert http.get("/v1/users/admin/quotas").status_code == 403
        assert http.get("/v1/admin/reservations").status_code == 403
        for wrong in ({"calls": 1}, {"calls_per_minute": -1}, {"builds_waiting": "unlimited"}):
            refused = admin.put("/v1/admin/quotas/plain", json={"storage_bytes": 1, **wrong})
            assert refused.status_code == 400
            assert refused.json()["error"]["code"] == 6001
        assert quotas(http, "/v1/users/plain/quotas")["storage_bytes"]["limit"] is None
    assert admin.get("/v1/admin/quotas/nobody").status_code == 404
    listed = admin.get("/v1/admin/quotas?limit=1").json()
    assert len(listed["results"]) == 1
    assert listed["next_link"]


def test_reserved_slots_are_warm_for_the_account_they_are_kept_for(
    server: RunningServer, admin: httpx2.Client
) -> None:
    key = server.add_user("warm")
    body = {
        "username": "demo",
        "algoname": "Began",
        "calling_user": "warm",
        "version_type": "Latest PUBLIC version",
        "num_slots": 2,
    }
    was = sum("a slot is warm" in line for line in server.lines)
    made = admin.post("/v1/admin/reservations", json=body)
    assert (made.status_code, made.content) == (200, b"")
    (there,) = admin.get("/v1/admin/reservations").json()
    assert (there["username"], there["algoname"], there["billable_to"], there["num_slots"]) == (
        "demo",
        "Began",
        "warm",
        2,
    )
    assert len(there["version_hash"]) == 40
    wait_until(
        lambda: sum("a slot is warm" in line for line in server.lines) >= was + 2,
        timeout_s=PATIENCE_S,
    )
    now = time.time()
    with client(server, key) as http:
        assert call(http, "Began").json()["result"] < now

    assert admin.post("/v1/admin/reservations", json={**body, "num_slots": 0}).status_code == 400
    path = f"/v1/admin/reservations/{there['reservation_id']}"
    gone = admin.delete(path)
    assert (gone.status_code, gone.content) == (200, b"")
    assert admin.delete(path).status_code == 400
    assert admin.get("/v1/admin/reservations").json() == []


def test_the_command_works_beside_the_server(server: RunningServer) -> None:
    key = server.add_user("cli")
    command = [ALGORIUM, "quota", "set", "cli", "calls_per_minute=0", "--home", server.home]
    done = subprocess.run([*command, "--json"], capture_output=True, check=True, timeout=120)

    assert json.loads(done.stdout)["quotas"]["calls_per_minute"]["limit"] == 0
    with client(server, key) as http:
        wait_until(lambda: call(http, "Sleep").status_code == 429, timeout_s=30)
