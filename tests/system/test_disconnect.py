"""A caller that goes away ends its call, unless it asked that the call go on without it."""

import json
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import httpx2
import pytest
from processes import processes_with
from projects import write_examples
from running import RunningServer
from waiting import wait_until

END_S = 20

# Says that it has begun, waits for leave to go on, and says that it is done. The child carries the
# call's name on its command line, so the call's processes can be found from outside.
WORK = """
import os, subprocess, sys, time, urllib.error, urllib.request

def data(method, name, body=None):
    url = os.environ["ALGORITHMIA_API"] + "/v1/data/.my/work/" + name
    request = urllib.request.Request(url, data=body, method=method)
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code

def apply(input):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", input])
    data("PUT", input + ".begun", b"x")
    while data("HEAD", input + ".leave") != 200:
        time.sleep(0.05)
    data("PUT", input + ".done", b"x")
    child.kill()
    child.wait()
    return input
"""

PARENT = """
import json, os, urllib.request

def apply(input):
    url = os.environ["ALGORITHMIA_API"] + "/v1/algo/gone/Work"
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=json.dumps(input).encode(), headers=headers)
    return urllib.request.urlopen(request).read().decode()
"""

HELLO = """
def apply(input):
    return f"Hello {input}"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    place = tmp_path_factory.mktemp("disconnect")
    sources = {"gone/Work": WORK, "gone/Parent": PARENT, "gone/Hello": HELLO}
    examples = write_examples(place / "examples", sources)
    options = ("--demo", "--examples-dir", str(examples), "--slots-max", "2")
    with RunningServer(place / "home", *options) as running:
        yield running


@pytest.fixture(scope="module")
def data(site: RunningServer) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Simple {site.key}"}
    base = f"{site.api}/v1/data/.my"
    with httpx2.Client(base_url=f"{base}/work", headers=headers, timeout=30) as client:
        assert client.post(base, json={"name": "work"}).status_code == 200
        yield client


class Caller:
    """A caller on a bare socket: it asks, and may go away before the answer comes."""

    def __init__(
        self,
        site: RunningServer,
        *headers: str,
        ref: str = "gone/Work",
        query: str = "",
        name: str = "",
    ) -> None:
        self.name = name or f"work-{uuid.uuid4()}"
        address = urlsplit(site.api)
        body = json.dumps(self.name)
        lines = [
            f"POST /v1/algo/{ref}{query} HTTP/1.1",
            f"Host: {address.netloc}",
            f"Authorization: Simple {site.key}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *headers,
        ]
        self.socket = socket.create_connection((address.hostname, address.port), timeout=END_S)
        self.socket.sendall("\r\n".join([*lines, "", body]).encode())

    def close(self) -> None:
        self.socket.close()


def is_there(data: httpx2.Client, name: str) -> bool:
    return data.head(f"/{name}").status_code == 200


def wait_until_begun(data: httpx2.Client, *callers: Caller) -> None:
    for caller in callers:
        wait_until(lambda c=caller: is_there(data, f"{c.name}.begun"), timeout_s=END_S)
        assert processes_with(caller.name)


@pytest.mark.parametrize("ref", ["gone/Work", "gone/Parent"])
def test_a_caller_that_goes_away_ends_its_call_and_those_below(
    site: RunningServer, data: httpx2.Client, ref: str
) -> None:
    caller = Caller(site, ref=ref)
    wait_until_begun(data, caller)

    caller.close()

    wait_until(lambda: not processes_with(caller.name), timeout_s=END_S, what="the call has ended")
    # Nothing of it is left that could use the leave it would now get.
    assert data.put(f"/{caller.name}.leave", content=b"x").status_code == 200
    assert not is_there(data, f"{caller.name}.done")


def test_one_direction_is_enough(site: RunningServer, data: httpx2.Client) -> None:
    with closing(Caller(site)) as caller:
        wait_until_begun(data, caller)

        caller.socket.shutdown(socket.SHUT_WR)

        wait_until(lambda: not processes_with(caller.name), timeout_s=END_S)


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        (["Algorium-On-Disconnect: continue"], ""),
        (["algorium-on-disconnect: continue"], "?timeout=60"),
        ([], "?on_disconnect=continue"),
    ],
)
def test_a_call_goes_on_alone_when_asked_to(
    site: RunningServer, data: httpx2.Client, headers: list[str], query: str
) -> None:
    stays, ends = Caller(site, *headers, query=query), Caller(site)
    wait_until_begun(data, stays, ends)

    stays.close()
    ends.close()

    # The one that left last has been noticed, so the other one has been as well.
    wait_until(lambda: not processes_with(ends.name), timeout_s=END_S)
    assert processes_with(stays.name)
    assert data.put(f"/{stays.name}.leave", content=b"x").status_code == 200
    wait_until(lambda: is_there(data, f"{stays.name}.done"), timeout_s=END_S)


def test_a_call_with_a_key_goes_on_and_its_answer_is_fetched_later(
    site: RunningServer, data: httpx2.Client
) -> None:
    key = f"Idempotency-Key: {uuid.uuid4()}"
    first = Caller(site, key)
    wait_until_begun(data, first)
    waiting, ends = Caller(site, key, name=first.name), Caller(site)
    wait_until_begun(data, ends)
    for caller in (first, waiting, ends):
        caller.close()
    wait_until(lambda: not processes_with(ends.name), timeout_s=END_S)  # all have been noticed
    again = Caller(site, key, "Connection: close", name=first.name)

    assert processes_with(first.name)
    data.put(f"/{first.name}.leave", content=b"x")

    with closing(again), again.socket.makefile("rb") as answer:
        head, _, body = answer.read().partition(b"\r\n\r\n")
    assert b"\r\nidempotency-replayed: true" in head
    assert json.loads(body)["result"] == first.name


def test_its_slots_are_free_again(site: RunningServer, data: httpx2.Client) -> None:
    with ExitStack() as stack:
        callers = [stack.enter_context(closing(Caller(site))) for _ in range(2)]
        wait_until_begun(data, *callers)  # both slots of this server are taken

    answer = site.call("gone/Hello", "again", timeout=END_S)

    assert answer.json()["result"] == "Hello again"


def test_a_caller_that_stays_gets_its_answer(site: RunningServer, data: httpx2.Client) -> None:
    caller = Caller(site, "Connection: close")
    wait_until_begun(data, caller)

    data.put(f"/{caller.name}.leave", content=b"x")

    with closing(caller), caller.socket.makefile("rb") as answer:
        head, _, body = answer.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert json.loads(body)["result"] == caller.name
