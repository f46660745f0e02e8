"""Resumable uploads survive `kill -9`: every part that was acknowledged is there, and right."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from running import RunningServer
from waiting import wait_until

PART = 64 * 1024
PARTS = [os.urandom(PART) for _ in range(120)]


def put(client: httpx2.Client, upload: str, number: int) -> bool:
    """Send a part; return whether it was acknowledged."""
    try:
        answer = client.put(f"/v1/uploads/{upload}/parts/{number}", content=PARTS[number - 1])
    except httpx2.TransportError:
        return False
    return answer.status_code == 200


@pytest.mark.slow
def test_an_upload_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "home")
    acknowledged: set[int] = set()

    def client_of(server: RunningServer) -> httpx2.Client:
        return httpx2.Client(base_url=server.api, headers={"authorization": server.key}, timeout=60)

    with server, client_of(server) as client, ThreadPoolExecutor(6) as threads:
        assert client.post("/v1/data/.my", json={"name": "c"}).status_code == 200
        begun = client.post("/v1/uploads", json={"uri": "data://.my/c/f", "part_bytes": PART})
        upload = begun.json()["upload_id"]

        def send(number: int) -> None:
            if put(client, upload, number):
                acknowledged.add(number)

        sent = [threads.submit(send, number) for number in range(1, len(PARTS) + 1)]
        wait_until(lambda: len(acknowledged) >= 8, timeout_s=60)
        server.kill()
        for one in sent:
            one.result()
    assert 8 <= len(acknowledged) < len(PARTS)
    with RunningServer(tmp_path / "home") as server, client_of(server) as client:
        there = client.get(f"/v1/uploads/{upload}").json()["parts"]
        md5s = {part["number"]: part["md5"] for part in there}

        assert acknowledged <= set(md5s)
        assert all(hashlib.md5(PARTS[n - 1]).hexdigest() == md5 for n, md5 in md5s.items())
        for number in set(range(1, len(PARTS) + 1)) - set(md5s):
            assert put(client, upload, number)
        end = client.post(f"/v1/uploads/{upload}/complete", json={"parts_count": len(PARTS)})
        whole = b"".join(PARTS)
        assert end.json()["md5"] == hashlib.md5(whole).hexdigest()
        assert client.get("/v1/data/.my/c/f").content == whole
