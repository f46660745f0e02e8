"""Source through the API, as an editor uses it, and passwords from the command line."""

import base64
import io
import random
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from git_client import GitClient, git_url
from projects import write_examples
from running import ALGORIUM, RunningServer
from waiting import wait_until

from algorium_server.domain.limits import GIT_PROCESSES_PER_ACCOUNT_MAX

HELLO = "def apply(input):\n    return f'Hello {input}'\n"
SOURCE = "/v1/algorithms/team/Hello/source"
COMMITS = "/v1/algorithms/team/Hello/commits"
PATIENCE_S = 60


class Editor:
    """Somebody who asks a server for source."""

    def __init__(self, server: RunningServer, key: str) -> None:
        self.server = server
        self.key = key

    def __call__(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {"Authorization": f"Simple {self.key}", **options.pop("headers", {})}
        return httpx2.request(
            method, f"{self.server.api}{path}", headers=headers, timeout=PATIENCE_S, **options
        )

    def commit(self, *changes: dict[str, Any], **wanted: Any) -> httpx2.Response:
        return self("POST", COMMITS, json={"changes": changes, **wanted})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    place = tmp_path_factory.mktemp("source")
    examples = write_examples(place / "examples", {"team/Hello": HELLO})
    with RunningServer(place / "home", "--demo", "--examples-dir", str(examples)) as running:
        yield running


@pytest.fixture
def admin(server: RunningServer) -> Editor:
    return Editor(server, server.key)


def test_an_editor_lists_reads_and_changes_files(admin: Editor) -> None:
    listed = admin("GET", SOURCE).json()
    entry = next(file for file in listed["files"] if file["path"] == "src/Hello.py")
    read = admin("GET", f"{SOURCE}/src/Hello.py")

    assert entry["size"] == len(HELLO)
    assert read.text == HELLO
    assert read.headers["content-type"] == "text/plain; charset=utf-8"
    assert read.headers["x-commit"] == listed["commit"]
    known = {"If-None-Match": read.headers["etag"]}
    assert admin("GET", f"{SOURCE}/src/Hello.py", headers=known).status_code == 304

    binary = bytes(range(256))
    done = admin.commit(
        {"path": "src/Hello.py", "content": HELLO.replace("Hello {", "Bye {")},
        {"path": "data/all bytes", "content_base64": base64.b64encode(binary).decode()},
        {"path": "run.sh", "content": "#!/bin/sh\n", "mode": "100755"},
        message="Say goodbye",
        parent=listed["commit"],
        build=True,
    )
    assert done.status_code == 201, done.text
    sha = done.json()["commit"]
    assert done.json()["build"]["commit_sha"] == sha
    kinds = {file["path"]: file["kind"] for file in admin("GET", SOURCE).json()["files"]}
    assert kinds["run.sh"] == "program"
    found = admin("GET", f"{SOURCE}/data/all%20bytes")
    assert found.content == binary
    assert found.headers["content-type"] == "application/octet-stream"
    assert admin("GET", f"{SOURCE}/src/Hello.py?ref=1.0.0").text == HELLO
    assert admin("GET", f"{SOURCE}/run.sh?ref={listed['commit'][:8]}").status_code == 404
    assert admin("GET", f"{SOURCE}?ref=nothing").status_code == 404
    assert admin("GET", f"{SOURCE}?ref=master@{{1}}").status_code == 404

    wait_until(
        lambda: admin.server.call(f"team/Hello/{sha}", "you").json().get("result") == "Bye you",
        timeout_s=PATIENCE_S,
        what="the build that the commit asked for",
    )
    archive = admin("GET", f"{SOURCE}.tar.gz?ref={sha}").content
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        member = files.extractfile(f"Hello-{sha[:10]}/data/all bytes")
        assert member is not None
        assert member.read() == binary


def test_pages_are_of_one_commit(admin: Editor) -> None:
    path = f"{SOURCE}?limit=2"
    names: list[str] = []
    commits = set()
    while path:
        page = admin("GET", path).json()
        names += [file["path"] for file in page["files"]]
        commits.add(page["commit"])
        path = (page["next_link"] or "").removeprefix(admin.server.api)
        admin.commit({"path": f"page{len(names)}", "content": "x"})

    assert len(commits) == 1
    assert names == sorted(names)
    assert len(names) == page["total"]
    assert admin("GET", f"{SOURCE}?limit=0").status_code == 400
    assert admin("GET", f"{SOURCE}?marker=odd").status_code == 400


def test_what_cannot_be_committed_is_refused_with_words(admin: Editor) -> None:
    head = admin("GET", SOURCE).json()["commit"]
    refused = {
        "nothing": admin.commit(),
        "no content": admin.commit({"path": "a"}),
        "two contents": admin.commit({"path": "a", "content": "1", "delete": True}),
        "no file": admin.commit({"path": "none", "delete": True}),
        "outside": admin.commit({"path": "../a", "content": "1"}),
        "not Base64": admin.commit({"path": "a", "content_base64": "?"}),
        "odd mode": admin.commit({"path": "a", "content": "", "mode": "120000"}),
        "no JSON": admin("POST", COMMITS, content=b"{"),
        "no list": admin("POST", COMMITS, json={"changes": "a"}),
    }
    stale = admin.commit({"path": "a", "content": "1"}, parent="0" * 40)

    assert {name: answer.status_code for name, answer in refused.items()} == dict.fromkeys(
        refused, 400
    )
    assert all(answer.json()["error"]["message"] for answer in refused.values())
    assert stale.status_code == 412
    assert stale.json()["error"]["head"] == head
    assert admin("GET", SOURCE).json()["commit"] == head


def test_nothing_is_lost_when_editors_save_at_once(admin: Editor) -> None:
    with ThreadPoolExecutor(4) as threads:
        answers = list(
            threads.map(
                lambda number: admin.commit({"path": f"many/{number}", "content": str(number)}),
                range(8),
            )
        )

    assert [answer.status_code for answer in answers] == [201] * 8
    assert len({answer.json()["commit"] for answer in answers}) == 8
    paths = {file["path"] for file in admin("GET", SOURCE).json()["files"]}
    assert {f"many/{number}" for number in range(8)} <= paths


def test_archives_that_nobody_reads_are_few(server: RunningServer, admin: Editor) -> None:
    large = random.Random(1).randbytes(15 * 1024 * 1024)  # more than sockets hold
    saved = admin("POST", "/source/team/Hello/large", content=large)
    assert saved.status_code == 200
    with ExitStack() as stack:
        client = stack.enter_context(httpx2.Client(base_url=server.api, timeout=PATIENCE_S))
        client.headers["Authorization"] = admin.key
        for _ in range(GIT_PROCESSES_PER_ACCOUNT_MAX):
            begun = stack.enter_context(client.stream("GET", f"{SOURCE}.tar.gz"))
            assert begun.status_code == 200
        assert admin("GET", f"{SOURCE}.tar.gz").status_code == 429
        assert admin("GET", SOURCE).status_code == 200
    wait_until(
        lambda: len(admin("GET", f"{SOURCE}.tar.gz").content) > len(large), timeout_s=PATIENCE_S
    )
    assert admin.commit({"path": "large", "delete": True}).status_code == 201


def test_one_file_is_saved_as_the_old_editor_did(server: RunningServer) -> None:
    address = f"{server.api}/source/TEAM/hello/src/More.py"
    headers = {
        "Authorization": server.credentials["admin_api_key"],
        "Content-Type": "text/plain; charset=UTF-8",
    }
    saved = httpx2.post(address, content="x = 1\n", headers=headers, timeout=PATIENCE_S)
    unknown = httpx2.post(f"{server.api}/source/team/None/a", content="", headers=headers)
    nobody = httpx2.post(address, content="x = 1\n")

    assert saved.status_code == 200, saved.text
    assert Editor(server, server.key)("GET", f"{SOURCE}/src/More.py").text == "x = 1\n"
    assert (unknown.status_code, unknown.json()) == (404, {"error": "No such algorithm"})
    assert nobody.status_code == 401


def test_an_operator_sets_a_password_while_the_server_runs(
    server: RunningServer, tmp_path: Path
) -> None:
    def set_password(name: str, password: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(ALGORIUM), "password", name, "--home", str(server.home)],
            input=f"{password}\n",
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    done = set_password("ADMIN", "open sesame, please")
    short = set_password("admin", "sesame")
    nobody = set_password("nobody", "open sesame, please")

    assert (done.returncode, done.stdout) == (0, "the password of admin is set\n")
    assert short.returncode == 1
    assert "12 characters" in short.stderr
    assert "sesame" not in short.stderr
    assert nobody.returncode == 1
    git = GitClient(tmp_path / "user")
    git("ls-remote", git_url(server.api, "team/Hello", user="admin", secret="open sesame, please"))
