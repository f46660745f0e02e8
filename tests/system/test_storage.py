"""Storage as users and operators meet it: quotas, a full disk, a check, an object store."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from running import ALGORIUM, RunningServer

MIB = 1024 * 1024
DISK_BYTES = 48 * MIB


@contextmanager
def client(server: RunningServer) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Simple {server.key}"}
    with httpx2.Client(base_url=server.api, headers=headers, timeout=60) as http:
        assert http.post("/v1/data/.my", json={"name": "c"}).status_code == 200
        yield http


def fsck(home: Path, *options: str) -> tuple[int, dict]:
    command = [str(ALGORIUM), "fsck", "--home", str(home), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_quota_is_told_and_kept(tmp_path: Path) -> None:
    options = ("--account-bytes-max", "100000", "--account-files-max", "3")
    with RunningServer(tmp_path / "home", *options) as server, client(server) as http:
        assert http.put("/v1/data/.my/c/a", content=bytes(60_000)).status_code == 200
        told = http.get("/v1/storage").json()
        assert told == {
            "username": "admin",
            "bytes": 60_000,
            "files": 1,
            "bytes_max": 100_000,
            "files_max": 3,
        }

        refused = http.put("/v1/data/.my/c/b", content=bytes(50_000))
        assert refused.status_code == 507
        error = refused.json()["error"]
        assert (error["limit"], error["used"], error["unit"]) == (100_000, 60_000, "bytes")
        assert http.get("/v1/data/.my/c/b").status_code == 404

        assert http.put("/v1/data/.my/c/b", content=bytes(40_000)).status_code == 200
        assert http.put("/v1/data/.my/c/d", content=b"").status_code == 200
        assert http.put("/v1/data/.my/c/e", content=b"").status_code == 507
        assert http.delete("/v1/data/.my/c/a").status_code == 200
        assert http.put("/v1/data/.my/c/e", content=bytes(60_000)).status_code == 200
        assert http.get("/v1/storage?account=nobody").status_code == 404
        assert http.post("/v1/storage").status_code == 405


@pytest.mark.slow
def test_on_a_full_disk_nothing_is_lost_and_the_server_lives_on(small_disk: Path) -> None:
    home = small_disk / "home"
    stored: dict[str, str] = {}
    refused: list[httpx2.Response] = []
    with RunningServer(home) as server, client(server) as http:

        def put(name: str, data: bytes) -> bool:
            answer = http.put(f"/v1/data/.my/c/{name}", content=data)
            if answer.status_code == 200:
                stored[name] = hashlib.sha256(data).hexdigest()
            else:
                refused.append(answer)
            return answer.status_code == 200

        for number in range(DISK_BYTES // MIB):
            put(f"large{number}", os.urandom(4 * MIB))
            if len(refused) > 2:
                break
        while put(f"small{len(stored)}", os.urandom(10_000)):
            assert len(stored) < DISK_BYTES // 10_000
        put("large0", os.urandom(4 * MIB))
        put("small0", b"x")

        assert {answer.status_code for answer in refused} == {507}
        messages = {answer.json()["error"]["message"] for answer in refused}
        assert messages == {"the server's storage is full; nothing was changed"}
        listed = http.get("/v1/data/.my/c").json()["files"]
        assert {entry["filename"] for entry in listed} == set(stored)
        for name, digest in stored.items():
            body = http.get(f"/v1/data/.my/c/{name}").content
            assert hashlib.sha256(body).hexdigest() == digest
        for number in range(3):
            assert http.delete(f"/v1/data/.my/c/large{number}").status_code == 200
            del stored[f"large{number}"]
        assert put("after", os.urandom(2 * MIB))
        assert server.stop() == 0
    code, report = fsck(home)
    assert (code, report["files"], report["is_clean"]) == (0, len(stored), True)


def test_a_check_tells_by_its_exit_code(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with RunningServer(home) as server, client(server) as http:
        for name in ("a", "b"):
            assert http.put(f"/v1/data/.my/c/{name}", content=bytes(100_000)).status_code == 200
        code, report = fsck(home)
        assert (code, report["files"], report["is_clean"]) == (0, 2, True), "beside the server"
        refused = subprocess.run(
            [str(ALGORIUM), "fsck", "--home", str(home), "--repair"], capture_output=True, text=True
        )
        assert refused.returncode == 1
        assert "Another server is running" in refused.stderr
    blob = next(path for path in (home / "blobs").glob("??/*"))
    with blob.open("r+b") as file:
        file.write(b"damage")

    shown = subprocess.run(
        [str(ALGORIUM), "fsck", "--home", str(home)], capture_output=True, text=True
    )
    assert shown.returncode == 1
    assert "account:c/" in shown.stdout
    assert "checksum" in shown.stdout
    assert shown.stdout.endswith("not clean\n")
