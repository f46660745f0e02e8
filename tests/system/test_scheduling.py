"""Call trees, shared and reserved slots on a small machine, as callers see them."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from people import add_user
from projects import write_examples
from running import RunningServer
from waiting import wait_until

NEST = """
import json, os, urllib.request

def apply(depth):
    if depth == 0:
        return 0
    request = urllib.request.Request(
        os.environ["ALGORITHMIA_API"] + "/v1/algo/tree/Nest",
        data=json.dumps(depth - 1).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        body = json.load(answer)
    return body["result"] + 1
"""
WHO = """
import os, urllib.request

calls = 0

def load():
    return ask()

def ask():
    url = os.environ["ALGORITHMIA_API"] + "/v1/data/.my/notes/who.txt"
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code

def apply(input, loaded):
    global calls
    calls += 1
    return [calls, ask(), loaded]
"""
WARM = """
import time

def load():
    return {"at": time.time()}

def apply(input, loaded):
    return loaded["at"]
"""
SCALING = {
    "tree/Who": '{isolation = "shared"}',
    "tree/Warm": '{isolation = "shared", slots_min = 1}',
}


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    return {}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, keys: dict[str, str]
) -> Iterator[RunningServer]:
    home = tmp_path_factory.mktemp("home")
    sources = {"tree/Nest": NEST, "tree/Who": WHO, "tree/Warm": WARM}
    examples = write_examples(tmp_path_factory.mktemp("examples"), sources, scaling=SCALING)
    options = ("--slots-max", "2", "--demo", "--examples-dir", str(examples), "--log-level=debug")
    with RunningServer(home, *options):
        pass
    keys.update({name: add_user(home, name) for name in ("ann", "ben")})
    with RunningServer(home, *options) as running:
        yield running


def call(server: RunningServer, name: str, value: Any, *, key: str = "") -> Any:
    answer = httpx2.post(
        f"{server.api}/v1/algo/tree/{name}",
        content=json.dumps(value),
        headers={
            "Authorization": f"Simple {key or server.key}",
            "Content-Type": "application/json",
        },
        timeout=120,
    )
    body = answer.json()
    return body["result"] if "error" not in body else body["error"]["message"]


def test_reserved_slots_are_warm_before_anybody_calls(server: RunningServer) -> None:
    wait_until(
        lambda: any("a slot is warm" in line for line in server.lines),
        timeout_s=60,
        what="a slot is warm",
    )
    began = time.time()

    assert call(server, "Warm", None) < began


def test_deep_call_trees_run_side_by_side_where_there_are_two_slots_for_callers(
    server: RunningServer,
) -> None:
    with ThreadPoolExecutor(4) as threads:
        began = time.monotonic()
        results = list(threads.map(lambda _: call(server, "Nest", 5), range(4)))

    assert results == [5] * 4
    assert time.monotonic() - began < 60


def test_a_shared_slot_acts_for_each_caller_and_loads_for_its_owner(
    server: RunningServer, keys: dict[str, str]
) -> None:
    for name, key in keys.items():
        note = f"{server.api}/v1/connector/data/.my/notes"
        headers = {"Authorization": f"Simple {key}"}
        made = httpx2.post(
            f"{server.api}/v1/connector/data/.my", headers=headers, json={"name": "notes"}
        )
        assert made.status_code == 200, made.text
        put = httpx2.put(f"{note}/who.txt", headers=headers, content=name)
        assert put.status_code == 200, put.text

    first = call(server, "Who", None, key=keys["ann"])
    second = call(server, "Who", None, key=keys["ben"])

    assert (first[1], second[1]) == ("ann", "ben")
    assert (first[0], second[0]) == (1, 2), "one slot served both"
    assert first[2] == second[2]
    assert first[2] not in keys
