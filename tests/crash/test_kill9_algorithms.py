"""`kill -9` of the server while algorithms are created, changed and deleted, on one home."""

import random
import threading
import time
from pathlib import Path

import httpx2
import pytest
from running import RunningServer
from waiting import wait_until

ROUNDS = 2
ACTS = 6
"""Of each author before a kill; an act takes some hundredths of a second."""
LATE_S_MAX = 0.3
SETTINGS = {"language": "python3", "network_access": "isolated"}
GONE = '{"error":"No such algorithm"}'


class Author(threading.Thread):
    """Makes and deletes algorithms of its own names until the server is gone."""

    def __init__(self, server: RunningServer, number: int, promised: dict[str, str | None]) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.number = number
        self.promised = promised
        """By name, the summary that was acknowledged last; None for what is deleted."""
        self.unexpected: list[str] = []
        self.count = 0

    def run(self) -> None:
        try:
            with manager(self.server) as http:
                while True:
                    self.live(http, f"A{self.number}_{self.count % 7}")
                    self.count += 1
        except httpx2.HTTPError:
            return

    def live(self, http: httpx2.Client, name: str) -> None:
        """Create an algorithm, or change it, or delete it, in turns."""
        path = f"/v1/algorithms/admin/{name}"
        known = self.promised.pop(name, None)  # nothing is promised while it is under way
        summary = f"{random.randrange(10**9)}"
        if known is None:
            body = {"name": name, "details": {"label": "", "summary": summary}}
            answer = http.post("/v1/algorithms/admin", json=body | {"settings": SETTINGS})
            if answer.status_code == 400 and answer.json()["error"]["code"] == 1002:
                answer = http.get(path)  # made before a kill, but not acknowledged
                summary = answer.json()["details"]["summary"]
        elif random.random() < 0.5:
            answer = http.put(path, json={"details": {"summary": summary}})
        else:
            answer = http.delete(path)
            summary = ""
        if not answer.is_success:
            self.unexpected.append(answer.text)
        self.promised[name] = summary or None


def manager(server: RunningServer) -> httpx2.Client:
    headers = {"Authorization": f"Simple {server.key}"}
    return httpx2.Client(base_url=server.api, headers=headers, timeout=60)


@pytest.mark.slow
def test_an_algorithm_is_there_as_acknowledged_or_not_at_all(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "home")
    promised: list[dict[str, str | None]] = [{}, {}]
    for _ in range(ROUNDS):
        server.start()
        authors = [Author(server, number, each) for number, each in enumerate(promised)]
        for author in authors:
            author.start()
        for author in authors:
            wait_until(lambda a=author: a.count >= ACTS, timeout_s=60, what="some acts")
        time.sleep(random.uniform(0, LATE_S_MAX))  # kills at random moments: the test's purpose
        server.kill()
        for author in authors:
            author.join()
            assert author.unexpected == []
    with server, manager(server) as http:
        ids = set()
        for name, summary in (pair for each in promised for pair in each.items()):
            answer = http.get(f"/v1/algorithms/admin/{name}")
            if summary is None:
                assert answer.text == GONE
            else:
                assert answer.json()["details"]["summary"] == summary
        for listed in http.get("/v1/users/admin/algorithms").json():
            ids.add(listed["id"])
            commits = http.get(f"/v1/algorithms/admin/{listed['algoname']}/log").json()["commits"]
            assert len(commits) == 1
        assert {path.stem for path in server.home.glob("repos/*/*")} == ids
