"""`kill -9` of the server while a call with an idempotency key runs: nothing runs twice."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from projects import write_examples
from running import RunningServer
from waiting import wait_until

from algorium import Algorium, CallOutcomeUnknown

# Each run leaves a file of its own; one that is asked to wait does not end.
WORK = """
import os, time, urllib.request, uuid

def apply(input):
    url = os.environ["ALGORITHMIA_API"] + f"/v1/data/.my/{input}/{uuid.uuid4()}"
    urllib.request.urlopen(urllib.request.Request(url, data=b"x", method="PUT"))
    if input == "lost":
        time.sleep(600)
    return [input, str(uuid.uuid4())]
"""
START_S = 240


def call(server: RunningServer, key: str, word: str) -> httpx2.Response:
    headers = {"Authorization": f"Simple {server.key}", "Idempotency-Key": key}
    return httpx2.post(
        f"{server.api}/v1/algo/once/Work", json=word, headers=headers, timeout=START_S
    )


@pytest.mark.slow
def test_who_retries_is_told_and_the_algorithm_has_run_once(tmp_path: Path) -> None:
    examples = write_examples(tmp_path / "examples", {"once/Work": WORK})
    server = RunningServer(tmp_path / "home", "--demo", "--examples-dir", str(examples))
    with ThreadPoolExecutor(1) as pool, server:
        server.port = urlsplit(server.api).port or 0
        # The server is away for as long as it takes to start, which is long on a busy machine.
        with Algorium(server.key, server.api, retries_max=1000) as client:
            for name in ("done", "lost"):
                client.dir(f"data://.my/{name}").create()
            before = call(server, "key-1", "done")
            work = client.algo("once/Work").timeout(START_S).idempotent()
            lost = pool.submit(work.pipe, "lost")
            runs = client.dir("data://.my/lost")
            wait_until(lambda: len(list(runs.files())) == 1, timeout_s=60)

            server.kill()
            server.start()

            with pytest.raises(CallOutcomeUnknown):
                lost.result(START_S)
            after = call(server, "key-1", "done")
            assert len(list(runs.files())) == 1
            assert len(list(client.dir("data://.my/done").files())) == 1

    assert (before.status_code, after.content) == (200, before.content)
    assert after.headers["idempotency-replayed"] == "true"
    assert after.headers["x-request-id"] == before.headers["x-request-id"]
