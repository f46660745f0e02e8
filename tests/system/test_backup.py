"""Backups as an operator has them: taken in a storm, restored elsewhere, before upgrades."""

import hashlib
import itertools
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from git_client import GitClient
from projects import write_examples
from running import ALGORIUM, RunningServer

KEEPER = """
import os

def apply(input):
    return f"{input} {os.environ.get('TOKEN')}"
"""
SEALED = {
    "/v1/algorithms/keep/Keeper/secrets": {
        "short_name": "token",
        "description": " ",
        "secret_key": "TOKEN",
        "secret_value": "hush",
    },
    "/v1/users/admin/connectors": {
        "username": "admin",
        "protocol": "s3",
        "cred_type": "iam",
        "cred_data": {"access_key_id": "A" * 20, "secret_access_key": "S" * 40},
        "label": "warehouse",
    },
}
LARGE_BYTES = 300_000
"""More than fits into a row."""


def algorium(*arguments: object, env: dict[str, str] | None = None) -> Any:
    """Run a command to its end, and return it."""
    return subprocess.run(
        [ALGORIUM, *map(str, arguments)],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )


def done(*arguments: object, **options: Any) -> str:
    """Run a command that must succeed, and return what it printed."""
    ended = algorium(*arguments, **options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return str(ended.stdout)


class Storm:
    """
    Clients that write without a pause: new files, and the same files again and again.

    Attributes:
        kept: Digests of files that are never touched again, by path, as they were acknowledged.
        sent: Digests of everything that was ever sent to a path that is used again.
    """

    def __init__(self, server: RunningServer, key: str) -> None:
        self.kept: dict[str, str] = {}
        self.sent: dict[str, set[str]] = {}
        self.is_over = threading.Event()
        self.is_under_way = threading.Semaphore(0)
        self.failures: list[str] = []
        self._http = client_of(server, key)
        for name in ("kept", "churn"):
            assert self._http.post("/v1/data/.my", json={"name": name}).status_code == 200
        work = (self._keep, self._churn, self._churn)
        self._threads = [
            threading.Thread(target=each, args=(number,)) for number, each in enumerate(work)
        ]

    def __enter__(self) -> "Storm":
        for thread in self._threads:
            thread.start()
        for _ in self._threads:  # each has written a few times
            assert self.is_under_way.acquire(timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        for thread in self._threads:
            thread.join(60)
        self._http.close()

    def _keep(self, _: int) -> None:
        for number in self._rounds():
            path = f"/v1/data/.my/kept/{number}"
            body = os.urandom((100, LARGE_BYTES)[number % 2])
            if self._put(path, body):
                self.kept[path] = digest(body)

    def _churn(self, writer: int) -> None:
        for number in self._rounds():
            path = f"/v1/data/.my/churn/{writer}-{number % 3}"
            body = os.urandom((LARGE_BYTES, 100, LARGE_BYTES)[number % 3])
            self.sent.setdefault(path, set()).add(digest(body))
            self._put(path, body)
            if number % 7 == 6:
                with suppress(httpx2.TransportError):  # the server has been killed
                    self._http.delete(path)

    def _rounds(self) -> Iterator[int]:
        for number in itertools.count():
            if self.is_over.is_set():
                return
            if number == 8:
                self.is_under_way.release()
            yield number

    def _put(self, path: str, body: bytes) -> bool:
        try:
            answer = self._http.put(path, content=body)
        except httpx2.TransportError:
            return False
        if answer.status_code != 200:
            self.failures.append(answer.text)
        return answer.status_code == 200


def client_of(server: RunningServer, key: str) -> httpx2.Client:
    return httpx2.Client(
        base_url=server.api, headers={"Authorization": f"Simple {key}"}, timeout=60
    )


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.mark.slow
def test_what_was_acknowledged_before_a_backup_comes_back_elsewhere(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    examples = write_examples(tmp_path / "examples", {"keep/Keeper": KEEPER})
    git = GitClient(tmp_path / "user")
    with RunningServer(home, "--demo", "--examples-dir", str(examples)) as server:
        jane = server.add_user("jane")
        with client_of(server, server.key) as admin:
            for path, body in SEALED.items():
                made = admin.post(path, json=body)
                assert made.status_code == 200, made.text
        assert server.call("keep/Keeper", "said").json()["result"] == "said hush"
        address = server.api.replace("://", f"://admin:{server.key}@")
        clone = git.clone(f"{address}/git/keep/Keeper.git", "clone")
        head = git.head(clone)

        with Storm(server, jane) as storm:
            before = dict(storm.kept)
            archive = tmp_path / "backup.tar.gz"
            told = json.loads(done("backup", archive, "--home", home, "--json"))
            server.kill()

    assert not storm.failures, storm.failures[:3]
    assert told["missing"] == 0
    assert archive.stat().st_mode & 0o077 == 0
    assert "whole" in done("backup", "--check", archive)
    assert "clean" in done("restore", archive, "--home", elsewhere)
    for repository in (elsewhere / "repos").glob("*/*.git"):
        git("fsck", "--strict", cwd=repository)
    with RunningServer(elsewhere) as server:
        with client_of(server, jane) as http:
            found = {path: digest(http.get(path).content) for path in before}
            assert found == before
            for path, sent in storm.sent.items():
                answer = http.get(path)
                assert answer.status_code == 404 or digest(answer.content) in sent
        assert server.call("keep/Keeper", "said").json()["result"] == "said hush"
        with client_of(server, server.key) as admin:
            connectors = admin.get("/v1/users/admin/connectors").json()["results"]
        assert [each["label"] for each in connectors] == ["warehouse"]
        address = server.api.replace("://", f"://admin:{server.key}@")
        assert git.head(git.clone(f"{address}/git/keep/Keeper.git", "again")) == head
