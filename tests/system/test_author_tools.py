"""An author at work: the command `algo` with real git, and both clients."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from running import ALGORIUM, RunningServer

from algorium import (
    AlgorithmNotFound,
    Algorium,
    AsyncAlgorium,
    BuildFailed,
    BuildNotFound,
    ConditionFailed,
    VersionAlreadyPublished,
    VersionNotFound,
)

ALGO = ALGORIUM.with_name("algo")
GIT = shutil.which("git") or "git"
COUNT = """
def apply(input):
    if not input:
        raise ValueError("no words")
    return len(input.split())
"""
BROKEN = "def apply(input): return oops("


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    error: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Somebody's machine: a home, a working directory, git that writes its arguments down."""

    home: Path
    server: RunningServer
    key: str
    cwd: Path = field(default_factory=Path)

    def algo(self, *arguments: str | Path, stdin: str = "") -> Done:
        environment = {
            "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "GIT_CONFIG_SYSTEM": os.devnull,
            "ALGORITHMIA_API": self.server.api,
            "ALGORITHMIA_API_KEY": self.key,
        }
        done = subprocess.run(
            [ALGO, *arguments],
            env=environment,
            cwd=self.home / self.cwd,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert 'Traceback (most recent call last):\n  File "/' not in done.stderr, done.stderr
        assert self.key not in done.stdout + done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def at(self, name: str) -> "Desk":
        return Desk(home=self.home, server=self.server, key=self.key, cwd=self.cwd / name)

    def write(self, path: str, text: str) -> None:
        (self.home / self.cwd / path).write_text(text)

    def empty(self, name: str, source: str = COUNT) -> None:
        """Make of a template what needs no packages."""
        self.write(f"src/{name}.py", source)
        self.write("requirements.txt", "")
        (self.home / self.cwd / "src" / f"{name}_test.py").unlink()


@pytest.fixture(scope="module")
def desk(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    home = tmp_path_factory.mktemp("desk")
    program = home / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {home}/arguments\nexec {GIT} "$@"\n')
    program.chmod(0o755)
    return Desk(home=home, server=server, key=server.key)


@pytest.fixture
def client(server: RunningServer) -> Iterator[Algorium]:
    with Algorium(server.key, server.api) as client:
        yield client


def test_a_story_from_create_to_delete(desk: Desk, client: Algorium) -> None:
    created = desk.algo("create", "Story", "--tagline", "Counts words")
    cloned = desk.algo("clone", "admin/Story")
    here = desk.at("Story")
    here.empty("Story")
    pushed = here.algo("push", "-m", "Count words")

    assert (created.code, created.out) == (0, "admin/Story\n")
    assert (cloned.code, cloned.out) == (0, f"{desk.home}/Story\n")
    assert pushed.code == 0, pushed.error
    ref = pushed.out.strip()
    assert ref.startswith("admin/Story/")
    assert len(ref) == len("admin/Story/") + 40
    assert "Beginning container customization" in pushed.error
    assert desk.algo("run", ref, "-d", "one two").out == "2\n"

    logged = here.algo("logs")
    (built,) = here.algo("builds", "--json").json()
    assert "Build succeeded" in logged.out
    assert (built["status"], f"admin/Story/{built['commit']}") == ("succeeded", ref)
    assert here.algo("logs", "--build", built["build_id"], "--json").json()["log"] == logged.out

    published = here.algo("publish", "-m", "The first one.", "--sample", "a b c")
    assert (published.code, published.out) == (0, "admin/Story/0.1.0\n"), published.error
    again = here.algo("publish")
    assert (again.code, again.out) == (1, "")
    assert again.error.splitlines()[-1].startswith("hint: Push a change")
    rebuilt = here.algo("build", "--quiet")
    assert (rebuilt.code, rebuilt.out) == (0, f"{ref}\n")
    major = here.algo("publish", "--type", "major", "--public", "--json").json()
    assert (major["version"]["number"], major["callability"]) == ("1.0.0", "public")
    listed = here.algo("versions", "--json").json()
    assert [each["version"]["number"] for each in listed] == ["1.0.0", "0.1.0"]
    assert listed[1]["version"]["sample_output"] == "3"
    assert here.algo("info", "admin/Story/0.1.0", "--json").json()["version"]["number"] == "0.1.0"
    assert here.algo("open", "--json").json()["call"] == f"{desk.server.api}/v1/algo/admin/Story"

    failed = desk.algo("run", "admin/Story", "-d", "")
    (error,) = here.algo("errors", "--json").json()
    assert failed.code == 1
    assert (error["message"], error["version"]) == ("no words", "1.0.0")
    assert "in apply" in here.algo("errors", "--stack").out
    mine = desk.algo("errors", "--mine", "--json").json()
    assert error in mine

    refused = desk.algo("delete", "admin/Story")
    assert (refused.code, refused.out) == (2, "")
    assert client.algorithms.exists("admin/Story")


def test_the_key_is_nowhere_it_could_be_read(desk: Desk) -> None:
    key = desk.key.encode()
    files = [path for path in desk.home.rglob("*") if path.is_file()]

    assert (desk.home / "arguments").read_text().count("push")
    assert [path for path in files if key in path.read_bytes()] == []


def test_a_project_begins_here_and_is_created_by_its_first_push(
    desk: Desk, client: Algorium
) -> None:
    begun = desk.algo("init", "Begun", "work/begun")
    here = desk.at("work/begun")
    assert (begun.code, begun.out) == (0, f"{desk.home}/work/begun\n"), begun.error
    assert "def apply" in (desk.home / "work/begun/src/Begun.py").read_text()
    assert not client.algorithms.exists("admin/Begun")
    assert desk.algo("init", "Begun", "work/begun").code == 2

    here.empty("Begun", BROKEN)
    broken = here.algo("push")
    mended = here.algo("push", "--json")  # nothing new: the build of before is told
    rebuilt = here.algo("build")
    here.write("src/Begun.py", COUNT)
    pushed = here.algo("push", "--no-wait", "--json")
    followed = here.algo("logs", "--follow")

    assert (broken.code, broken.out) == (1, "")
    assert "SyntaxError" in broken.error
    assert "created admin/Begun" in broken.error
    assert broken.error.splitlines()[-1].startswith("hint: ")
    assert (mended.code, mended.json()["status"]) == (1, "failed")
    assert (rebuilt.code, rebuilt.out) == (1, "")
    assert rebuilt.error.count("SyntaxError") == 1, "what the build says, once"
    assert pushed.code == 0, pushed.error
    assert pushed.json()["commit"] == client.algorithms("admin/Begun").commits()[0].commit
    assert "Build succeeded" in followed.out
    assert here.algo("delete", "admin/Begun", "--yes") == Done(0, "", "deleted admin/Begun\n")
    gone = here.algo("info")
    assert (gone.code, gone.out) == (1, "")
    assert gone.error.startswith("error: No such algorithm\n")


def test_a_push_without_news_builds_what_was_never_built(desk: Desk, client: Algorium) -> None:
    client.algorithms.create("admin/Unbuilt")
    handle = client.algorithms("admin/Unbuilt")
    handle.commit(
        {"src/Unbuilt.py": COUNT, "requirements.txt": "", "src/Unbuilt_test.py": None},
        message="Count words",
    )
    assert desk.algo("clone", "admin/Unbuilt").code == 0

    pushed = desk.at("Unbuilt").algo("push")

    assert pushed.code == 0, pushed.error
    assert "Build succeeded" in pushed.error
    assert client.algo(pushed.out.strip()).pipe("a b").as_json() == 2


def test_other_branches_are_pushed_and_not_built(desk: Desk, client: Algorium) -> None:
    client.algorithms.create("admin/Branchy")
    desk.algo("clone", "Branchy")
    here = desk.at("Branchy")
    subprocess.run([GIT, "checkout", "-q", "-b", "topic"], cwd=desk.home / "Branchy", check=True)
    here.write("notes.txt", "later")

    pushed = here.algo("push", "-m", "Think")

    assert (pushed.code, pushed.out) == (0, "")
    assert "not topic" in pushed.error
    branchy = client.algorithms("admin/Branchy")
    assert "notes.txt" in [file.path for file in branchy.source(at="topic").files]
    assert list(branchy.builds()) == []
    branchy.delete()


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["info"], 2, "error: this is no project"),
        (["push"], 2, "error: this is no project"),
        (["info", "admin/Nothing"], 1, "error: No such algorithm"),
        (["clone", "admin/Nothing", "nothing"], 1, "error: No such algorithm"),
        (["create", "admin/not-a-name"], 2, "error: "),
        (["create", "admin/Cobol", "--language", "cobol"], 1, "error: "),
        (["logs", "admin/Nothing"], 1, "error: No such algorithm"),
        (["builds", "admin/Nothing", "--limit", "0"], 2, "error: --limit"),
        (["publish", "x/y", "--sample", "a", "--sample-json", "1"], 2, "error: choose one"),
        (["publish", "x/y", "--sample-json", "{"], 2, "error: the sample is not JSON"),
        (["errors", "a/b", "--mine"], 2, "error: choose one"),
        (["publish", "a/b/1.0.0"], 2, "error: this is about all of it"),
        (["delete", "admin/Nothing/1.0.0", "--yes"], 2, "error: versions are not deleted"),
    ],
)
def test_what_cannot_be_done_says_why(
    desk: Desk, arguments: list[str], code: int, error: str
) -> None:
    done = desk.algo(*arguments)

    assert (done.code, done.out) == (code, "")
    told = [line for line in done.error.splitlines() if not line.startswith(("remote:", "fatal:"))]
    assert told[0].startswith(error)
    assert told[-1].startswith("hint: ")


def test_what_there_is_to_begin_with(desk: Desk) -> None:
    languages = desk.algo("languages", "--json").json()
    environments = desk.algo("environments", "python3", "--json").json()
    templates = desk.algo("templates")

    assert "python3" in [each["name"] for each in languages]
    assert environments[0]["display_name"].startswith("Python 3")
    assert templates.out.splitlines()[0].split() == ["language", "environment"]
    assert desk.algo("environments", "cobol").code == 1


class TestClients:
    def test_everything_an_author_does(self, client: Algorium) -> None:
        made = client.algorithms.create("admin/Made", summary="Counts", sample_input="a b")
        handle = client.algorithms("admin/Made")
        assert (made.version, made.build, made.owner) == (None, None, "admin")
        assert client.algorithms.get(made.algorithm_id).name == "Made"
        assert "Made" in [each.name for each in client.algorithms.list()]

        head = handle.source().commit
        changes = {"src/Made.py": BROKEN, "requirements.txt": b"", "src/Made_test.py": None}
        first = handle.commit(changes, message="Break it", parent=head)
        with pytest.raises(ConditionFailed):
            handle.commit({"a": "b"}, message="Too late", parent=head)
        with pytest.raises(BuildFailed, match="cannot be loaded") as broken:
            handle.compile(commit=first)
        assert "SyntaxError" in broken.value.log
        assert handle.build(broken.value.build_id).status == "failed"

        second = handle.commit({"src/Made.py": COUNT}, message="Mend it\n\nAt last.", build=True)
        newest = next(handle.builds())
        followed = "".join(handle.follow_build(newest.build_id))
        assert (newest.commit, handle.build(newest.build_id).succeeded) == (second, True)
        assert followed == handle.build_log(newest.build_id)
        assert handle.compile().version is not None
        assert client.algo(f"admin/Made/{second}").pipe("a b c").result == 3
        assert handle.source_file("src/Made.py").decode() == COUNT
        assert [each.summary for each in handle.commits()][:2] == ["Mend it", "Break it"]
        assert handle.scm_status().status == "active"

        version = handle.publish(version_type="revision", release_notes="new")
        assert (version.ref, version.version.number) == ("admin/Made/0.0.1", "0.0.1")
        assert version.version.sample_output == "2"
        with pytest.raises(VersionAlreadyPublished):
            handle.publish()
        assert [each.ref for each in handle.versions()] == ["admin/Made/0.0.1"]
        assert handle.version("0.0.1").version == version.version
        with pytest.raises(VersionNotFound):
            handle.version("9.9.9")
        assert handle.update(label="Made well", network_access="full").label == "Made well"
        assert handle.sbom("0.0.1")["bomFormat"] == "CycloneDX"
        assert handle.provenance("0.0.1")["_type"].startswith("https://in-toto.io/")
        assert set(handle.schema("0.0.1")) == {"input", "output"}
        assert handle.lock("0.0.1") == handle.build_lock(newest.build_id)
        assert handle.errors() == []
        handle.cancel_build(newest.build_id)  # it has ended: nothing changes
        with pytest.raises(BuildNotFound):
            handle.build("no-build")

        handle.delete()
        assert not client.algorithms.exists("admin/Made")
        with pytest.raises(AlgorithmNotFound):
            handle.info()

    def test_a_build_is_followed_while_it_runs_and_cancelled(self, client: Algorium) -> None:
        client.algorithms.create("admin/Slow")
        handle = client.algorithms("admin/Slow")
        slow = "import time\n\nprint('begun', flush=True)\ntime.sleep(600)\n"
        changes = {"src/Slow.py": slow, "requirements.txt": "", "src/Slow_test.py": None}
        handle.commit(changes, message="Sleep", build=True)
        newest = next(handle.builds())
        log = ""
        with pytest.raises(BuildNotFound):
            handle.build_log(newest.build_id)

        for text in handle.follow_build(newest.build_id):
            log += text
            if "begun" in log and not handle.build(newest.build_id).is_finished:
                handle.cancel_build(newest.build_id)

        assert "begun" in log
        ended = handle.build(newest.build_id)
        assert (ended.status, ended.is_finished) == ("failed", True)
        assert "cancel" in ended.failure.lower()
        with pytest.raises(VersionAlreadyPublished):
            handle.publish()
        handle.delete()

    def test_everything_with_asyncio(self, server: RunningServer) -> None:
        async def story(client: AsyncAlgorium) -> None:
            await client.algorithms.create("admin/Looped")
            handle = client.algorithms("admin/Looped")
            sha = await handle.commit(
                {"src/Looped.py": COUNT, "requirements.txt": "", "src/Looped_test.py": None},
                message="Count",
                build=True,
            )
            newest = await anext(handle.builds())
            log = "".join([text async for text in handle.follow_build(newest.build_id)])
            assert "Build succeeded" in log
            version = await handle.publish(commit=sha)
            assert (await client.algo(version.ref).pipe("a b")).result == 2
            assert [each.ref async for each in handle.versions()] == [version.ref]
            tree = await handle.source(at=sha)
            assert "src/Looped.py" in [file.path for file in tree.files]
            environments = await client.environments.list("python3")
            specification = environments[0].specification_id
            assert (await client.environments.template(specification)).startswith(b"\x1f\x8b")
            await handle.delete()
            assert not await client.algorithms.exists("admin/Looped")

        async def run() -> None:
            async with AsyncAlgorium(server.key, server.api) as client:
                await story(client)

        asyncio.run(run())
