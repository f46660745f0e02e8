"""Repositories over HTTP: the real git against a real server."""

import asyncio
import gzip
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from git_client import GitClient, git_url
from processes import processes_with
from projects import write_examples
from running import RunningServer
from waiting import wait_until

from algorium_server.build.source.push_notes import PushNotes
from algorium_server.domain.identity import KeyPermissions, Role
from algorium_server.services.directory import Directory
from algorium_server.services.people.accounts import create_account, create_key, ensure_organization
from algorium_server.store import accounts
from algorium_server.store.database import Database, sqlite_url

PATIENCE_S = 60
PUSH_MIB_MAX = 64
NAMES = ("Hello", "Rewritten")
"""Published already, and open to all; others are created by their tests."""
HELLO = "def apply(input):\n    return f'Hello {input}'\n"


@dataclass
class Site:
    """
    A server with algorithms of an organization, and people who have to do with it.

    Attributes:
        keys: Their API keys: `alice` owns the organization, `eve` may call what it has, `bob` is
            a stranger, and `weak` is a key of alice that does not manage.
    """

    server: RunningServer
    keys: dict[str, str]

    def url(self, ref: str, user: str = "alice", *, secret: str = "") -> str:
        return git_url(self.server.api, ref, user=user, secret=secret or self.keys[user])

    def ask(self, method: str, path: str, user: str = "alice", **options: Any) -> httpx2.Response:
        return httpx2.request(
            method,
            f"{self.server.api}{path}",
            headers={"Authorization": f"Simple {self.keys[user]}", **options.pop("headers", {})},
            timeout=PATIENCE_S,
            **options,
        )

    def create(self, name: str) -> None:
        settings = {"language": "python3", "environment": "cpu", "license": "apl"}
        settings |= {"network_access": "isolated"}
        body = {"name": name, "details": {"label": name}, "settings": settings}
        answer = self.ask("POST", "/v1/algorithms/team", json=body)
        assert answer.status_code == 201, answer.text

    def set_password(self, whose: str, user: str, password: str = "long enough, I hope") -> int:
        path = f"/v1/users/{whose}/password"
        return self.ask("PUT", path, user, json={"password": password}).status_code

    def call(self, ref: str, value: Any, user: str = "alice") -> Any:
        return self.ask("POST", f"/v1/algo/{ref}", user, json=value).json()

    def result(self, ref: str, value: Any) -> Any:
        told = self.call(ref, value)
        assert "result" in told, told
        return told["result"]

    def repository(self, name: str) -> Path:
        algorithm_id = self.ask("GET", f"/v1/algorithms/team/{name}").json()["id"]
        (found,) = (self.server.home / "repos").glob(f"*/{algorithm_id}.git")
        return found


async def populate(home: Path) -> dict[str, str]:
    """Make accounts in a home that no server has used yet."""
    home.mkdir()
    now = datetime.now(UTC)
    keys = {}
    async with await Database.open(sqlite_url(home / "algorium.db")) as database:
        directory = Directory(database)
        people = {}
        for name in ("alice", "bob", "eve"):
            people[name], key = await create_account(database, directory, username=name, now=now)
            keys[name] = key.secret
        weak = await create_key(
            database,
            directory,
            account=people["alice"],
            label="weak",
            now=now,
            permissions=KeyPermissions(allow_algo=True, algo_acl=("algo://*",)),
        )
        keys["weak"] = weak.secret
        team = await ensure_organization(
            database, directory, name="team", owner=people["alice"], now=now
        )
        async with database.transaction() as connection:
            await accounts.set_membership(
                connection,
                organization_id=team.account_id,
                user_id=people["eve"].account_id,
                role=Role.EXECUTOR,
            )
    return keys


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("git")
    keys = asyncio.run(populate(place / "home"))
    examples = write_examples(place / "examples", {f"team/{name}": HELLO for name in NAMES})
    options = ("--demo", "--examples-dir", str(examples), "--push-mib-max", str(PUSH_MIB_MAX))
    with RunningServer(place / "home", *options) as server:
        yield Site(server, {**keys, "root": server.credentials["admin_api_key"]})


@pytest.fixture
def git(tmp_path: Path) -> GitClient:
    return GitClient(tmp_path / "user")


def test_what_is_pushed_is_built_and_can_be_called(site: Site, git: GitClient) -> None:
    clone = git.clone(site.url("TEAM/hello"), "clone")
    commit = git.commit(clone, {"src/Hello.py": HELLO.replace("Hello {", "Hi {")})

    said = git("push", cwd=clone)

    assert "remote: Beginning container customization" in said
    assert "remote: Built. This commit can be called now:" in said
    assert f"{site.server.api}/v1/algo/team/Hello/{commit}" in said
    assert site.result(f"team/Hello/{commit}", "you") == "Hi you"
    builds = site.ask("GET", "/v1/algorithms/team/Hello/builds").json()["results"]
    assert (builds[0]["commit_sha"], builds[0]["trigger"]) == (commit, "push")

    other = git.clone(site.url("team/Hello").removesuffix(".git"), "other")
    commit = git.commit(other, {"notes.txt": "more"})
    assert "is queued" in git("push", "--push-option", "no-wait", cwd=other)
    git("pull", "--quiet", cwd=clone)
    assert git.head(clone) == commit
    assert "origin/master" in git("fetch", "--all", "--verbose", cwd=clone)
    wait_until(
        lambda: "result" in site.call(f"team/Hello/{commit}", "you"),
        timeout_s=PATIENCE_S,
        what="the build that nobody waited for",
    )


def test_a_shallow_clone_pushes_as_well(site: Site, git: GitClient) -> None:
    clone = git.clone(site.url("team/Hello"), "shallow", "--depth", "1")
    assert git("rev-list", "--count", "HEAD", cwd=clone).strip() == "1"
    commit = git.commit(clone, {"b": "2"})

    git("push", "--quiet", "origin", "HEAD:refs/heads/shallow", cwd=clone)

    assert commit in git("ls-remote", "origin", "shallow", cwd=clone)


def test_a_failing_build_says_why_and_the_push_succeeds(site: Site, git: GitClient) -> None:
    clone = begun(site, git, "Fails")
    commit = git.commit(clone, {"src/Fails.py": "def apply(\n"})

    said = git("push", cwd=clone)

    assert "SyntaxError" in said
    assert said.count("Build failed: ") == 1
    assert "The commit is stored all the same" in said
    assert commit in git("ls-remote", "origin", "master", cwd=clone)


def test_only_one_branch_is_built(site: Site, git: GitClient) -> None:
    clone = git.clone(site.url("team/Hello"), "clone")
    git.commit(clone, {"branch.txt": "1"})
    before = site.ask("GET", "/v1/algorithms/team/Hello/builds").json()["results"][0]["build_id"]

    side = git("push", "origin", "HEAD:idea", cwd=clone)
    main = git("push", "origin", "HEAD:main", cwd=clone)
    git("tag", "v1", cwd=clone)
    git("push", "--quiet", "origin", "v1", cwd=clone)
    git("push", "--quiet", "--force", "origin", "HEAD~1:idea", cwd=clone)
    git("push", "--quiet", "origin", ":idea", ":main", ":v1", cwd=clone)

    assert "Nothing is built: master is the branch that is built, not idea." in side
    assert "To build it: git push origin main:master" in main
    newest = site.ask("GET", "/v1/algorithms/team/Hello/builds").json()["results"][0]
    assert newest["build_id"] == before


def test_history_is_replaced_only_where_that_is_allowed(site: Site, git: GitClient) -> None:
    config = site.repository("Rewritten") / "config"  # as it was made once
    for name in ("core.fsyncObjectFiles", "receive.denyNonFastForwards", "receive.denyDeletes"):
        git("config", "--file", config, name, "true")
    clone = git.clone(site.url("team/Rewritten"), "clone")
    published = git.head(clone)
    pushed = git.commit(clone, {"a": "1"})
    git("push", "--quiet", "--push-option", "no-wait", cwd=clone)
    git("commit", "--quiet", "--amend", "--message", "Another", cwd=clone)

    refused = git.run("push", "--force", cwd=clone)
    deleted = git.run("push", "origin", ":master", cwd=clone)

    assert refused.returncode != 0
    assert "The history of master cannot be replaced" in refused.stderr
    assert deleted.returncode != 0
    assert "cannot be deleted" in deleted.stderr

    answer = site.ask(
        "PUT", "/v1/algorithms/team/Rewritten", json={"settings": {"rewriting_enabled": True}}
    )
    assert answer.status_code == 200, answer.text
    git("push", "--quiet", "--force", "--push-option", "no-wait", cwd=clone)
    assert pushed not in git("ls-remote", "origin", cwd=clone)
    git("checkout", "--quiet", "--orphan", "fresh", cwd=clone)
    git.commit(clone, {"b": "2"})
    assert "deprecated" not in git("fetch", cwd=clone)
    lost = git.run("push", "--force", "origin", "fresh:master", cwd=clone)
    assert lost.returncode != 0
    assert "Published versions come from commits that would be gone from master: 1.0.0" in (
        lost.stderr
    )
    git("fetch", "--quiet", "origin", published, cwd=clone)


def test_who_may_not_is_told_so(site: Site, git: GitClient) -> None:
    def said(*arguments: str, url: str) -> str:
        done = git.run(*arguments, url, cwd=git.home)
        assert done.returncode != 0
        return done.stderr

    site.create("Secret")
    unknown = said("ls-remote", url=site.url("team/Nothing", "bob"))
    hidden = said("ls-remote", url=site.url("team/Secret", "bob"))
    wrong = said("ls-remote", url=site.url("team/Hello", secret="no such key"))
    borrowed = said("ls-remote", url=site.url("team/Hello", "alice", secret=site.keys["bob"]))
    none = said("ls-remote", url=git_url(site.server.api, "team/Hello"))
    clone = git.clone(site.url("team/Hello", "eve"), "clone")
    git.commit(clone, {"eve": "1"})
    called = git.run("push", cwd=clone).stderr
    weak = git.run("push", site.url("team/Hello", secret=site.keys["weak"]), cwd=clone).stderr

    assert "There is no repository team/Nothing, or it is not yours to see." in unknown
    assert hidden == unknown.replace("Nothing", "Secret")
    assert "Wrong name, API key or password" in wrong
    assert "This API key is of the account bob" in borrowed
    assert "could not read Username" in none
    assert "eve may not push to team/Hello" in called
    assert "allow_algo_management" in weak


def test_every_way_to_show_who_one_is(site: Site, git: GitClient) -> None:
    key = site.keys["alice"]
    quoted = "".join(f"%{ord(character):02X}" for character in key)
    plain = git_url(site.server.api, "team/Hello")
    assert site.set_password("alice", "root", "open sesame, please") == 204

    git("ls-remote", git_url(site.server.api, "team/Hello", user="ALICE", secret=key))
    git("ls-remote", git_url(site.server.api, "team/Hello", user="alice", secret=quoted))
    git("ls-remote", site.url("team/Hello", secret="open sesame, please"))
    for value in (f"Simple {key}", f"Bearer {key}", key):
        git("-c", f"http.extraHeader=Authorization: {value}", "ls-remote", plain)

    challenge = httpx2.get(f"{plain}/info/refs?service=git-upload-pack")
    assert challenge.status_code == 401
    assert challenge.headers["www-authenticate"].startswith("Basic ")
    assert challenge.headers["content-type"].startswith("text/plain")


def test_requests_may_be_compressed(site: Site) -> None:
    answer = site.ask(
        "POST",
        "/git/team/Hello/git-upload-pack",
        content=gzip.compress(b"0014command=ls-refs\n0000"),
        headers={
            "Content-Type": "application/x-git-upload-pack-request",
            "Content-Encoding": "gzip",
            "Git-Protocol": "version=2",
        },
    )

    assert answer.status_code == 200
    assert b"refs/heads/master" in answer.content


def test_without_hooks_nothing_is_pushed(site: Site, git: GitClient) -> None:
    clone = git.clone(site.url("team/Hello"), "clone")
    git.commit(clone, {"unjudged": "1"})
    hook = site.server.home / "git" / "hooks" / "pre-receive"
    hook.chmod(0o600)
    try:
        refused = git.run("push", cwd=clone)
    finally:
        hook.chmod(0o700)

    assert refused.returncode != 0
    assert "remote: Nothing can be pushed" in refused.stderr
    assert git.head(clone) not in git("ls-remote", "origin", cwd=clone)


def test_a_password_is_set_with_a_key_that_may_as_much(site: Site) -> None:
    permissions = {
        "algo_acl": ["algo://*"],
        "allow_data": True,
        "allow_data_write": True,
        "allow_algo_management": True,
    }
    body = {"key_type": "ManagementKey", "permissions": permissions}
    made = site.ask("POST", "/v1/users/bob/keys", "root", json=body)
    site.keys["bob's house"] = made.json()["api_key"]

    assert site.set_password("bob", "alice") == 403
    assert site.set_password("nobody", "alice") == 403
    assert site.set_password("alice", "weak") == 403
    assert site.set_password("bob", "bob") == 403
    assert site.set_password("bob", "bob's house", "short") == 400
    assert site.set_password("bob", "bob's house") == 204


def test_guessing_passwords_ends(site: Site, git: GitClient) -> None:
    url = git_url(site.server.api, "team/Hello", user="nobody", secret="guess")
    answers = [
        httpx2.get(f"{url}/info/refs?service=git-upload-pack", timeout=PATIENCE_S)
        for _ in range(11)
    ]

    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert "Too many wrong passwords" in answers[-1].text
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 30
    git("ls-remote", site.url("team/Hello"))


def test_strangers_read_only_what_is_open(site: Site) -> None:
    site.create("Closed")
    source = "/v1/algorithms/team/Hello/source/src/Hello.py"
    change = {"changes": [{"path": "a", "content": "1"}]}

    def status(method: str, path: str, user: str, **options: Any) -> int:
        return site.ask(method, path, user, **options).status_code

    assert "def apply" in site.ask("GET", source, "bob").text
    assert status("POST", "/v1/algorithms/team/Hello/commits", "bob", json=change) == 403
    assert status("POST", "/v1/algorithms/team/Hello/commits", "eve", json=change) == 403
    assert status("POST", "/v1/algorithms/team/Hello/commits", "weak", json=change) == 403
    assert status("GET", "/v1/algorithms/team/Closed/source", "bob") == 403
    assert status("GET", "/v1/algorithms/team/Closed/source", "eve") == 200


def test_files_of_a_repository_are_not_served(site: Site) -> None:
    answers = {
        path: site.ask("GET", f"/git/team/Hello.git/{path}").status_code
        for path in ("HEAD", "config", "objects/info/packs", "info/refs", "git-upload-pack", "")
    }

    assert answers == {
        "HEAD": 404,
        "config": 404,
        "objects/info/packs": 404,
        "info/refs": 403,
        "git-upload-pack": 405,
        "": 404,
    }


def test_large_pushes_stream_and_have_a_limit(site: Site, git: GitClient) -> None:
    fast = ("-c", "core.compression=0", "-c", "core.bigFileThreshold=1m")
    clone = begun(site, git, "Big")
    (clone / "model.bin").write_bytes(random.Random(1).randbytes(60_000_000))
    git(*fast, "add", "model.bin", cwd=clone)
    git("commit", "--quiet", "--message", "Add a model", cwd=clone)

    with watched(lambda: resident_mib(site.server.pid)) as peak:
        git(*fast, "push", "--quiet", "origin", "HEAD:large", cwd=clone)
        git(*fast, "clone", "--quiet", "--branch", "large", site.url("team/Big"), "again")

    assert max(peak) - peak[0] < 32, peak
    assert (git.home / "again" / "model.bin").stat().st_size == 60_000_000

    (clone / "more.bin").write_bytes(random.Random(2).randbytes((PUSH_MIB_MAX + 10) << 20))
    git(*fast, "add", "more.bin", cwd=clone)
    git("commit", "--quiet", "--message", "Add another", cwd=clone)
    refused = git.run(*fast, "push", "origin", "HEAD:large", cwd=clone)
    assert refused.returncode != 0
    assert f"A push is limited to {PUSH_MIB_MAX} MiB." in refused.stderr
    assert git.head(clone) not in git("ls-remote", "origin", cwd=clone)


def test_of_two_pushes_at_once_one_wins(site: Site, git: GitClient) -> None:
    site.create("Raced")
    clones = [git.clone(site.url("team/Raced"), f"clone{number}") for number in range(2)]
    commits = [git.commit(clone, {"requirements.txt": "", "who": clone.name}) for clone in clones]

    pushes = [git.start("push", "--push-option", "no-wait", cwd=clone) for clone in clones]
    said = [push.communicate(timeout=PATIENCE_S)[0] for push in pushes]

    codes = [push.returncode for push in pushes]
    assert sorted(map(bool, codes)) == [False, True], said
    winner = codes.index(0)
    assert "is queued" in said[winner]
    assert any(
        words in said[1 - winner]
        for words in ("Somebody else has pushed to master meanwhile", "fetch first")
    ), said
    assert commits[winner] in git("ls-remote", "origin", "master", cwd=clones[0])


def test_a_pusher_who_leaves_does_not_stop_the_build(site: Site, git: GitClient) -> None:
    clone = begun(site, git, "Slow")
    commit = git.commit(clone, {"src/Slow.py": f"import time\ntime.sleep(2)\n{HELLO}"})

    push = git.start("push", cwd=clone)
    assert push.stdout is not None
    seen = next(line for line in push.stdout if "Importing" in line)
    push.kill()
    push.communicate(timeout=PATIENCE_S)

    assert "remote:" in seen
    wait_until(
        lambda: "result" in site.call(f"team/Slow/{commit}", "you"),
        timeout_s=PATIENCE_S,
        what="the build whose pusher left",
    )


def test_hostile_repositories_end_in_words(site: Site, git: GitClient) -> None:
    site.create("Hostile")
    clone = git.clone(site.url("team/Hostile"), "clone")
    master = git.head(clone)

    def pushed(tree: str, parent: str) -> "subprocess.CompletedProcess[str]":
        made = git.run("commit-tree", tree, "-p", parent, "-m", "Attack", cwd=clone)
        return git.run("push", "origin", f"{made.stdout.strip()}:refs/heads/master", cwd=clone)

    def head() -> str:
        return git("ls-remote", "origin", "master", cwd=clone).split()[0]

    (clone / "src" / "passwd").symlink_to("/etc/passwd")
    git("add", "--all", cwd=clone)
    linked = pushed(git("write-tree", cwd=clone).strip(), master)
    blob = git("hash-object", "-w", "--stdin", cwd=clone, input="x").strip()
    named = [pushed(forged(git, clone, name, blob), head()) for name in (".git", "..")]
    bomb = git("mktree", cwd=clone, input=f"100644 blob {blob}\tf\n").strip()
    for _ in range(8):
        bomb = git(
            "mktree", cwd=clone, input="".join(f"040000 tree {bomb}\t{i}\n" for i in range(10))
        ).strip()
    exploded = pushed(bomb, head())
    module = git("mktree", "--missing", cwd=clone, input=f"160000 commit {master}\tm\n").strip()
    submodule = pushed(module, head())

    assert linked.returncode == 0
    assert "is a symbolic link: only files and directories are built" in linked.stderr
    assert [done.returncode != 0 for done in named] == [True, True]
    assert "hasDotgit" in named[0].stderr
    assert "hasDotdot" in named[1].stderr
    assert "Build failed: the source has" in exploded.stderr
    assert "is a submodule" in submodule.stderr
    listing = site.ask("GET", f"/v1/algorithms/team/Hostile/source?ref={head()}")
    assert listing.json()["files"][0]["kind"] == "submodule"
    for branch in ("master/below", "l" * 300):  # no file system can hold these
        done = git.run("push", "origin", f"{master}:refs/heads/{branch}", cwd=clone)
        assert done.returncode != 0
        assert f"cannot lock ref 'refs/heads/{branch}'" in done.stderr, done.stderr


def test_a_server_that_stops_lets_its_pushers_go(site: Site, git: GitClient) -> None:
    clone = begun(site, git, "Stopped")
    commit = git.commit(clone, {"src/Stopped.py": f"import time\ntime.sleep(8)\n{HELLO}"})

    push = git.start("push", cwd=clone)
    assert push.stdout is not None
    next(line for line in push.stdout if "Importing" in line)
    assert site.server.stop() == 0
    said = push.communicate(timeout=PATIENCE_S)[0]
    site.server.start()

    assert push.returncode == 0, said
    assert "The server stops now. The commit is stored" in said
    wait_until(
        lambda: "result" in site.call(f"team/Stopped/{commit}", "you"),
        timeout_s=PATIENCE_S,
        what="the build after the stop",
    )


def test_a_server_that_is_killed_leaves_a_whole_repository(site: Site, git: GitClient) -> None:
    fast = ("-c", "core.compression=0", "-c", "core.bigFileThreshold=1m")
    clone = begun(site, git, "Killed")
    repository = site.repository("Killed")
    (clone / "big.bin").write_bytes(random.Random(3).randbytes(40_000_000))
    git(*fast, "add", "--all", cwd=clone)
    git("commit", "--quiet", "--message", "Add", cwd=clone)

    push = git.start(*fast, "push", "origin", "HEAD:large", cwd=clone)
    wait_until(
        lambda: list(repository.glob("objects/tmp_objdir-*")),
        timeout_s=PATIENCE_S,
        what="the beginning of a push",
    )
    site.server.kill()
    said, _ = push.communicate(timeout=PATIENCE_S)
    assert push.returncode != 0, said
    wait_until(
        lambda: not processes_with(f"/{repository.name}/git-receive-pack"),
        timeout_s=PATIENCE_S,
        what="the end of the processes of the push",
    )

    # Killed between the branch's move and the request for its build.
    algorithm_id = repository.name.removesuffix(".git")
    commit = git.commit(clone, {"big.bin": "small"}, "Shrink")
    bare = ("--git-dir", repository)
    git(*bare, "fetch", "--quiet", clone, "HEAD:refs/heads/master")
    PushNotes(site.server.home / "git" / "pushes").write(
        algorithm_id=algorithm_id, commit_sha=commit, account_id=""
    )
    site.server.start()

    wait_until(
        lambda: not list(repository.glob("objects/tmp_objdir-*")),
        timeout_s=PATIENCE_S,
        what="what the push has left to be removed",
    )
    git(*bare, "fsck", "--strict")
    assert "large" not in git(*bare, "branch")
    wait_until(
        lambda: "result" in site.call(f"team/Killed/{commit}", "you"),
        timeout_s=PATIENCE_S,
        what="the build that was not asked for before the end",
    )
    assert not list((site.server.home / "git" / "pushes").iterdir())
    git("remote", "set-url", "origin", site.url("team/Killed"), cwd=clone)
    git(*fast, "push", "--quiet", "origin", "HEAD:large", cwd=clone)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    place = tmp_path_factory.mktemp("fleet")
    examples = write_examples(place / "examples", {"team/Hello": HELLO})
    options = ("--workers", "2", "--demo", "--examples-dir", str(examples))
    with RunningServer(place / "home", *options) as server:
        yield server


def test_any_gateway_serves_a_push(fleet: RunningServer, git: GitClient) -> None:
    url = git_url(fleet.api, "team/Hello", user="admin", secret=fleet.key)
    clone = git.clone(url, "fleet")
    for number in range(3):
        commit = git.commit(clone, {"number": str(number)})
        assert "Built. This commit can be called now:" in git("push", cwd=clone)
        # Each call has a connection of its own, so either gateway may get it.
        told = [fleet.call(f"team/Hello/{commit}", "you").json() for _ in range(3)]
        assert [each.get("result") for each in told] == ["Hello you"] * 3, told


def test_what_one_gateway_has_answered_every_other_knows(fleet: RunningServer) -> None:
    settings = {"language": "python3", "network_access": "isolated"}
    headers = {"authorization": fleet.key, "connection": "close"}
    owner = f"/v1/algorithms/{fleet.credentials['username']}"
    with httpx2.Client(base_url=fleet.api, headers=headers, timeout=PATIENCE_S) as client:
        for number in range(4):
            body = {"name": f"A{number}", "details": {"label": ""}, "settings": settings}
            made = client.post(owner, json=body)
            assert made.status_code == 201, made.text
            for _ in range(4):
                assert client.get(f"{owner}/A{number}").json() == made.json()
        for number in range(4):
            assert client.delete(f"{owner}/A{number}").status_code == 204
            for _ in range(4):
                answer = client.get(f"{owner}/A{number}")
                assert answer.text == '{"error":"No such algorithm"}'


def begun(site: Site, git: GitClient, name: str) -> Path:
    """Create an algorithm, and clone it; what is in the clone needs no packages."""
    site.create(name)
    clone = git.clone(site.url(f"team/{name}"), "clone")
    git("rm", "-r", "--quiet", ".", cwd=clone)
    git.commit(clone, {"src/__init__.py": "", f"src/{name}.py": HELLO, "requirements.txt": ""})
    return clone


def forged(git: GitClient, clone: Path, name: str, blob: str) -> str:
    """Write a tree that git itself would not make."""
    tree = f"100644 {name}\0".encode() + bytes.fromhex(blob)
    done = subprocess.run(
        ["git", "hash-object", "-t", "tree", "-w", "--literally", "--stdin"],
        cwd=clone,
        env=git.env,
        input=tree,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().strip()


def resident_mib(pid: int) -> float:
    """Return how much memory a process has in use."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("it has ended")


class watched:  # noqa: N801 - used like a function
    """Ask for a number again and again while a block lasts; the first one is from before it."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._ended = threading.Event()
        self._found: list[float] = []

    def __enter__(self) -> list[float]:
        self._found.append(self._read())
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self._found

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            self._found.append(self._read())
