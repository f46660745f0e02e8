"""`kill -9` of the server in the middle of uploads and calls, again and again, on one home."""

import hashlib
import random
import threading
import time
from pathlib import Path

import httpx2
import pytest
from processes import processes_with
from projects import write_examples
from running import RunningServer
from waiting import wait_until

ROUNDS = 3
PROCESS_END_S = 10

CALLED = """
import time
def apply(input):
    time.sleep(0.05)
    return input
"""


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_examples(tmp_path_factory.mktemp("examples"), {"crash/Called": CALLED})


class Uploader(threading.Thread):
    """Uploads files of its own names until the server is gone, and remembers what was promised."""

    def __init__(self, server: RunningServer, number: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.number = number
        self.random = random.Random(seed)
        self.tried: dict[str, set[str]] = {}
        self.acknowledged: dict[str, str] = {}

    def run(self) -> None:
        headers = {"Authorization": f"Simple {self.server.key}"}
        try:
            with httpx2.Client(base_url=self.server.api, headers=headers, timeout=30) as http:
                while True:
                    self.upload(http)
        except httpx2.HTTPError:
            return

    def upload(self, http: httpx2.Client) -> None:
        name = f"file{self.number}_{self.random.randrange(4)}.bin"
        body = self.random.randbytes(self.random.choice([10, 100_000, 3_000_000]))
        digest = hashlib.sha256(body).hexdigest()
        self.tried.setdefault(name, set()).add(digest)
        answer = http.put(f"/v1/data/.my/crash/{name}", content=body)
        if answer.status_code == 200:
            self.acknowledged[name] = digest
            self.tried[name] = {digest}


class Caller(threading.Thread):
    """Calls until the server is gone; every answer it gets must be right."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.wrong: list[str] = []
        self.answers = 0

    def run(self) -> None:
        number = 0
        try:
            while True:
                number += 1
                answer = self.server.call("crash/Called", number)
                self.answers += 1
                if answer.status_code == 200 and answer.json().get("result") != number:
                    self.wrong.append(answer.text)
        except httpx2.HTTPError:
            return


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_and_nothing_is_left_behind(
    tmp_path: Path, examples: Path
) -> None:
    home = tmp_path / "home"
    server = RunningServer(home, "--demo", "--examples-dir", str(examples))
    server.start()
    made = httpx2.post(
        f"{server.api}/v1/data/.my",
        json={"name": "crash"},
        headers={"Authorization": f"Simple {server.key}"},
    )
    assert made.status_code == 200
    promised: dict[str, str] = {}
    possible: dict[str, set[str]] = {}
    for attempt in range(ROUNDS):
        chance = random.Random(attempt)
        uploaders = [Uploader(server, n, seed=100 * attempt + n) for n in range(3)]
        callers = [Caller(server) for _ in range(2)]
        for thread in (*uploaders, *callers):
            thread.start()
        wait_until(lambda c=callers: all(caller.answers for caller in c), timeout_s=60)
        time.sleep(chance.uniform(0.2, 1.5))  # the moment of the crash, not a synchronization

        server.kill()
        for thread in (*uploaders, *callers):
            thread.join(timeout=60)

        assert not [wrong for caller in callers for wrong in caller.wrong]
        wait_until(lambda: not processes_with(str(home)), timeout_s=PROCESS_END_S)
        for uploader in uploaders:
            for name, digests in uploader.tried.items():
                possible[name] = digests | (
                    {promised[name]} if name in promised and name not in uploader.acknowledged
                    else set()
                )  # fmt: skip
            promised.update(uploader.acknowledged)
        server.start()
        check_files(server, promised, possible)
        after = server.call("crash/Called", "after")
        assert after.json()["result"] == "after", after.text
    assert server.stop() == 0
    assert not processes_with(str(home))
    assert not list((home / "blobs" / "incoming").glob("*"))


def check_files(
    server: RunningServer, promised: dict[str, str], possible: dict[str, set[str]]
) -> None:
    """Every visible file is whole; every acknowledged one is there, as it was or newer."""
    headers = {"Authorization": f"Simple {server.key}"}
    with httpx2.Client(base_url=server.api, headers=headers, timeout=60) as http:
        listing = http.get("/v1/data/.my/crash").json()
        visible = {entry["filename"]: entry["size"] for entry in listing["files"]}
        assert set(promised) <= set(visible)
        for name, size in visible.items():
            body = http.get(f"/v1/data/.my/crash/{name}").content
            assert len(body) == size
            digest = hashlib.sha256(body).hexdigest()
            assert digest in possible[name]
            promised[name] = digest  # an upload may have been committed without its answer
            possible[name] = {digest}
