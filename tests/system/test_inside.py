"""What an algorithm sees of the platform: its caller's identity, data, and other algorithms."""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from people import add_user
from projects import write_examples
from running import RunningServer
from waiting import wait_until

API = """
import json, os, urllib.error, urllib.request

def ask(method, path, body=None, key=""):
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if key:
        headers["Authorization"] = "Simple " + key
    request = urllib.request.Request(
        os.environ["ALGORITHMIA_API"] + path, data=body, method=method, headers=headers
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
"""

SOURCES = {
    "Ask": API
    + """
def apply(input):
    return ask(input[0], input[1], input[2].encode() if len(input) > 2 else None)
""",
    "AskWithKey": API
    + """
def apply(input):
    return ask("GET", input[0], key=input[1])
""",
    "Count": """
calls = 0
def apply(input):
    global calls
    calls += 1
    return calls
""",
    "Parent": API
    + """
def apply(input):
    ask("PUT", "/v1/data/.session/note", b"from the parent")
    return json.loads(ask("POST", "/v1/algo/in/Child", b"null")[1])["result"]
""",
    "Child": API
    + """
def apply(input):
    return ask("GET", "/v1/data/.session/note")[1]
""",
    "Fan": API
    + """
from concurrent.futures import ThreadPoolExecutor
def apply(input):
    def child(_):
        return ask("POST", "/v1/algo/in/Nap", b"2")[0]
    with ThreadPoolExecutor(input) as threads:
        return sorted(threads.map(child, range(input)))
""",
    "Nap": """
import time
def apply(input):
    time.sleep(input)
    return input
""",
    "Deeper": API
    + """
def apply(input):
    if input == 0:
        return 0
    status, body = ask("POST", "/v1/algo/in/Deeper", json.dumps(input - 1).encode())
    return json.loads(body).get("result", body) + 1
""",
    "Short": API
    + """
def apply(input):
    return json.loads(ask("POST", "/v1/algo/in/Nap?timeout=100", b"60")[1])
""",
    "Meet": API
    + """
import time
def apply(input):
    own, others = input
    ask("PUT", "/v1/data/.my/meeting/" + own, b"here")
    while any(ask("GET", "/v1/data/.my/meeting/" + other)[0] != 200 for other in others):
        time.sleep(0.05)
    return "met"
""",
    "Watch": API
    + """
import threading
refusals = []
def watch():
    while not refusals:
        status, body = ask("GET", "/v1/data/.my")
        if status != 200:
            refusals.append([status, body])
def apply(input):
    if input == "start":
        threading.Thread(target=watch, daemon=True).start()
    return refusals
""",
    "Store": API
    + """
import time
def apply(input):
    time.sleep(0.3)
    ask("PUT", "/v1/data/.my/kept/" + input, b"done")
""",
    "Prints": """
import subprocess, sys
def apply(input):
    print("to stdout", input)
    print("to stderr", input, file=sys.stderr)
    subprocess.run(["echo", "from a child"])
    return None
""",
    "Environment": """
import os
def apply(input):
    return dict(os.environ)
""",
    "LoadsFromData": API
    + """
def load():
    return ask("GET", "/v1/data/.my")[0]
def apply(input, loaded):
    return loaded
""",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    place = tmp_path_factory.mktemp("inside")
    examples = write_examples(place / "examples", {f"in/{n}": s for n, s in SOURCES.items()})
    server = RunningServer(place / "home", "--demo", "--examples-dir", str(examples))
    server.start()
    assert server.stop() == 0
    (place / "jane.key").write_text(add_user(server.home, "jane"))
    server.start()
    yield server
    assert server.stop() == 0


@pytest.fixture
def jane(site: RunningServer) -> str:
    return (site.home.parent / "jane.key").read_text()


Call = Callable[..., Any]


@pytest.fixture
def call(site: RunningServer) -> Call:
    def make(name: str, value: Any = None, *, key: str = "", **options: Any) -> Any:
        answer = httpx2.post(
            f"{site.api}/v1/algo/in/{name}",
            json=value,
            headers={"Authorization": f"Simple {key or site.key}"},
            params=options,
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        assert "error" not in answer.json(), answer.text
        return answer.json()["result"]

    return make


def test_the_algorithm_acts_for_its_caller(call: Call, jane: str) -> None:
    assert json.loads(call("Ask", ["GET", "/v1/data/"])[1])["folders"][0] == {"name": "admin"}
    assert json.loads(call("Ask", ["GET", "/v1/data/"], key=jane)[1])["folders"] == [
        {"name": "jane"}
    ]


def test_accounts_never_share_a_slot(call: Call, jane: str) -> None:
    mine = [call("Count") for _ in range(3)]
    hers = [call("Count", key=jane) for _ in range(3)]

    assert mine == [1, 2, 3]
    assert hers == [1, 2, 3]


def test_a_key_of_its_own_counts(call: Call, jane: str) -> None:
    status, body = call("AskWithKey", ["/v1/data/", jane])

    assert status == 200
    assert json.loads(body)["folders"] == [{"name": "jane"}]


def test_an_unknown_key_is_ignored(call: Call) -> None:
    # Old clients send whatever the environment or a left-over profile holds.
    status, body = call("AskWithKey", ["/v1/data/", "simUnknownUnknownUnknown1234"])

    assert status == 200
    assert json.loads(body)["folders"][0] == {"name": "admin"}


def test_a_session_lasts_as_long_as_its_call_tree(call: Call) -> None:
    assert call("Parent") == "from the parent"
    assert call("Child").startswith('{"error"')


def test_short_names_of_its_own_collections(site: RunningServer, call: Call, jane: str) -> None:
    stored = call("Ask", ["PUT", "/v1/data/.algo/temp/mine.txt", "hers"], key=jane)
    own = httpx2.get(
        f"{site.api}/v1/data/.algo/in/Ask/temp/mine.txt",
        headers={"Authorization": f"Simple {jane}"},
    )
    others = httpx2.get(
        f"{site.api}/v1/data/.algo/in/Ask/temp/mine.txt",
        headers={"Authorization": f"Simple {site.key}"},
    )

    assert stored[0] == 200
    assert own.text == "hers"
    assert others.status_code == 404


def test_other_algorithms_of_the_tree_cannot_read_them(call: Call) -> None:
    call("Ask", ["PUT", "/v1/data/.algo/temp/private.txt", "x"])

    status, _ = call("Ask", ["GET", "/v1/data/.algo/in/Count/temp/private.txt"])

    assert status == 404


def test_calls_nest_deeper_than_there_are_slots(call: Call) -> None:
    assert call("Deeper", 10, timeout=50) == 10


def test_a_call_has_24_children_at_most(call: Call) -> None:
    statuses = call("Fan", 30, timeout=50)

    assert statuses.count(429) >= 1
    assert statuses.count(200) >= 24


def test_children_inherit_the_deadline(site: RunningServer) -> None:
    began = time.monotonic()
    answer = site.call("in/Short", None, timeout=2)

    assert answer.json()["error"]["error_type"] == "TimeoutError"
    assert time.monotonic() - began < 5


def test_between_calls_nobody_is_asking(call: Call) -> None:
    call("Watch", "start")

    # Each look is a call, during which the thread acts for its caller; the pauses are not.
    refusals = wait_until(lambda: call("Watch", "look"), timeout_s=20, what="a refusal")

    status, body = refusals[0]
    assert status == 401
    assert json.loads(body)["error"] == {"code": 2002, "message": "authorization required"}


def test_calls_of_an_account_run_side_by_side(site: RunningServer, call: Call) -> None:
    headers = {"Authorization": f"Simple {site.key}"}
    made = httpx2.post(f"{site.api}/v1/data/.my", json={"name": "meeting"}, headers=headers)
    assert made.status_code == 200
    names = [f"call{number}" for number in range(6)]

    with ThreadPoolExecutor(len(names)) as threads:
        # Each waits for all others: one after the other none would ever end.
        results = list(threads.map(lambda name: call("Meet", [name, names], timeout=50), names))

    assert results == ["met"] * len(names)


def test_output_is_that_of_this_call(site: RunningServer, call: Call, jane: str) -> None:
    for number in range(3):
        answer = site.call("in/Prints", number, stdout=True).json()
        assert sorted(answer["metadata"]["stdout"].splitlines()) == [
            "from a child", f"to stderr {number}", f"to stdout {number}",
        ]  # fmt: skip
    hers = httpx2.post(
        f"{site.api}/v1/algo/in/Prints?stdout=true", json=1, timeout=60,
        headers={"Authorization": f"Simple {jane}"},
    )  # fmt: skip
    assert "stdout" not in hers.json()["metadata"]


def test_the_environment_holds_no_secret(site: RunningServer, call: Call) -> None:
    environment = call("Environment")

    assert environment["ALGORITHMIA_API"].startswith("http://127.0.0.1:")
    assert "ALGORITHMIA_API_KEY" not in environment
    assert environment["LANG"] == "C.UTF-8"
    assert not [name for name in environment if name.startswith("ALGORIUM_")]
    assert str(Path.home()) not in environment["PATH"] or os.environ["HOME"] == "/"


def test_load_acts_for_the_caller_as_well(call: Call) -> None:
    assert call("LoadsFromData") == 200


def test_void_calls_survive_a_clean_restart(site: RunningServer) -> None:
    headers = {"Authorization": f"Simple {site.key}"}
    made = httpx2.post(f"{site.api}/v1/data/.my", json={"name": "kept"}, headers=headers)
    assert made.status_code == 200

    def send(number: int) -> int:
        return site.call("in/Store", f"f{number}", output="void").status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(send, range(60))) == {200}
    assert site.stop() == 0
    site.start()

    def stored() -> int:
        return len(httpx2.get(f"{site.api}/v1/data/.my/kept", headers=headers).json()["files"])

    wait_until(lambda: stored() == 60, timeout_s=120, what="all 60 calls were run")
