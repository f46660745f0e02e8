"""`kill -9` of the server in the middle of pushes, builds and publications, on one home."""

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from git_client import GitClient
from running import RunningServer
from waiting import wait_until

ROUNDS = 2
LIFE_S_MAX = 6.0
"""A version takes two seconds or so: kills fall into pushes, builds and publications alike."""
SOURCE = "def apply(input):\n    return {number}\n"
NAMES = ("Left", "Right")


class Author(threading.Thread):
    """Pushes, compiles and publishes until the server is gone, and remembers what was promised."""

    def __init__(self, server: RunningServer, git: GitClient, name: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.git = git
        self.name_of_algorithm = name
        self.random = random.Random(seed)
        self.pushed: list[str] = []
        self.published: list[tuple[str, str]] = []
        self.unexpected: list[str] = []

    def run(self) -> None:
        try:
            with manager(self.server) as http:
                while self.work(http):
                    pass
        except httpx2.HTTPError:
            return

    def work(self, http: httpx2.Client) -> bool:
        """Make one version; returns whether the server was there to the end."""
        clone = self.git.home / self.name_of_algorithm
        number = self.random.randrange(10**9)
        path = f"src/{self.name_of_algorithm}.py"
        sha = self.git.commit(clone, {path: SOURCE.format(number=number)})
        pushed = self.git.run("push", "--quiet", "origin", "master", cwd=clone)
        if pushed.returncode != 0:
            return False
        self.pushed.append(sha)
        answers = [publish(http, self.name_of_algorithm, sha)]
        if self.random.random() < 0.5:  # the same commit again is another build, another version
            http.post(f"/v1/algorithms/admin/{self.name_of_algorithm}/compile").json()
            answers.append(publish(http, self.name_of_algorithm, sha))
        for answer in answers:
            if answer.status_code != 200:
                self.unexpected.append(answer.text)
                continue
            info = answer.json()["version_info"]
            self.published.append((info["semantic_version"], info["git_hash"]))
        return True


def publish(http: httpx2.Client, name: str, sha: str) -> httpx2.Response:
    body = {"version_info": {"git_hash": sha, "version_type": "revision"}}
    return http.post(f"/v1/algorithms/admin/{name}/versions", json=body)


def manager(server: RunningServer) -> httpx2.Client:
    headers = {"Authorization": f"Simple {server.key}"}
    return httpx2.Client(base_url=server.api, headers=headers, timeout=60)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(tmp_path / "home") as server:
        yield server


@pytest.mark.slow
def test_versions_are_there_and_callable_or_not_there_at_all(
    server: RunningServer, tmp_path: Path
) -> None:
    git = GitClient(tmp_path / "author")
    with manager(server) as http:
        for name in NAMES:
            create(http, git, server, name)
    chance = random.Random()
    for _ in range(ROUNDS):
        authors = [Author(server, git, name, chance.randrange(10**9)) for name in NAMES]
        for author in authors:
            author.start()
        time.sleep(chance.uniform(0.2, LIFE_S_MAX))  # not for anything: the moment of the kill
        server.kill()
        for author in authors:
            author.join(60)
            assert not author.is_alive()
        server.port = int(server.api.rpartition(":")[2])  # clones keep their remote
        server.start()

        for author in authors:
            assert not author.unexpected
            with manager(server) as http:
                check(http, git, author)
    left = {path.name for path in (server.home / "builds").iterdir()}
    with manager(server) as http:
        assert left == {each["build_id"] for name in NAMES for each in succeeded(http, name)}


def create(http: httpx2.Client, git: GitClient, server: RunningServer, name: str) -> None:
    settings = {"language": "python3", "network_access": "isolated"}
    body = {"name": name, "details": {"label": name}, "settings": settings}
    answer = http.post("/v1/algorithms/admin", json=body)
    assert answer.status_code == 201, answer.text
    clone = git.clone(
        server.api.replace("//", f"//admin:{server.key}@") + f"/git/admin/{name}.git", name
    )
    git("rm", "--quiet", "-r", ".", cwd=clone)
    git.commit(clone, {f"src/{name}.py": SOURCE.format(number=0)})


def check(http: httpx2.Client, git: GitClient, author: Author) -> None:
    """What was promised is there; what is there is whole; and the work goes on."""
    name = author.name_of_algorithm
    clone = git.home / name
    path = f"/v1/algorithms/admin/{name}"

    def ended() -> list[dict[str, Any]]:
        found = pages(http, f"{path}/builds")
        return [] if any(each["status"] == "in-progress" for each in found) else found

    builds = wait_until(ended, timeout_s=60, what="the end of all builds") if author.pushed else []
    assert set(author.pushed) <= {each["commit_sha"] for each in builds}
    git("fetch", "--quiet", cwd=clone)
    for sha in author.pushed:
        git("merge-base", "--is-ancestor", sha, "origin/master", cwd=clone)
    versions = pages(http, f"{path}/versions", published="true")
    there = {
        (each["version_info"]["semantic_version"], each["version_info"]["git_hash"])
        for each in versions
    }
    assert set(author.published) <= there
    assert len({number for number, _ in there}) == len(there)
    for number, sha in random.sample(sorted(there), min(len(there), 3)):
        text = git("show", f"{sha}:src/{name}.py", cwd=clone)
        answer = http.post(f"/v1/algo/admin/{name}/{number}", json=None)
        assert answer.json().get("result") == int(text.split()[-1]), answer.text


def succeeded(http: httpx2.Client, name: str) -> list[dict[str, Any]]:
    found = pages(http, f"/v1/algorithms/admin/{name}/builds")
    return [each for each in found if each["status"] == "succeeded"]


def pages(http: httpx2.Client, path: str, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    marker = None
    while True:
        page = http.get(path, params={**query, **({"marker": marker} if marker else {})}).json()
        found += page["results"]
        marker = page["marker"]
        if not marker:
            return found
