"""What `algo` does on this machine for authors: projects, templates, git, logs."""

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standin import KEY, Fault, StandIn

from algorium._cli import following
from algorium._cli.builds import built
from algorium._cli.following import LogWriter
from algorium._cli.git import Git, repository_url
from algorium._cli.program import Failed, Server, UsageError
from algorium._cli.projects import algorithm_of, project_here, ref_of, unpack
from algorium._config import Connection
from algorium.cli import main
from algorium.wire.authoring import AlgorithmInfo, BuildInfo
from algorium.wire.refs import AlgorithmRef

API = "http://127.0.0.1:1"
CONNECTION = Connection(api_address=API, authorization="Simple simSecret")
SERVER = Server(api_address=API)
ECHO = {
    "id": "21df7a38-eab8-4ac8-954c-41a285535e69",
    "name": "echo",
    "details": {"label": "Echo"},
    "settings": {"language": "python3"},
}
BUILD = {"build_id": "b1", "status": "succeeded", "started_at": "2026-03-29T01:02:03Z"}


@pytest.fixture(autouse=True)
def own_git(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_CONFIG_COUNT", "GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)


def git(directory: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=directory, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def repository(place: Path, origin: str = "", config: Any = None) -> Path:
    place.mkdir(parents=True)
    git(place, "init", "--quiet", "--initial-branch", "main")
    if origin:
        git(place, "remote", "add", "origin", origin)
    if config is not None:
        (place / "algorithmia.conf").write_text(json.dumps(config))
    return place


def archive(*members: tuple[str, bytes | None]) -> bytes:
    """Pack files; None is a symbolic link to /etc/passwd."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as files:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                member.size = len(content)
                member.mode = 0o755 if name.endswith(".sh") else 0o644
            files.addfile(member, io.BytesIO(content or b""))
    return packed.getvalue()


class TestProjects:
    @pytest.mark.parametrize(
        ("origin", "config", "expected"),
        [
            ("http://host/git/ada/Words.git", None, "ada/Words"),
            ("http://host/git/ada/Words", {"username": "bob", "algoname": "Other"}, "ada/Words"),
            ("https://github.com/ada/words.git", {"username": "b", "algoname": "O"}, "b/O"),
            ("", {"username": "bob", "algoname": "Other", "language": "ruby"}, "bob/Other"),
        ],
    )
    def test_a_project_is_found_from_inside(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        origin: str,
        config: Any,
        expected: str,
    ) -> None:
        root = repository(tmp_path / "project", origin, config)
        (root / "src" / "deep").mkdir(parents=True)
        monkeypatch.chdir(root / "src" / "deep")

        found = project_here(SERVER)

        assert (str(found.ref), found.root) == (expected, root)
        assert found.language == (config or {}).get("language", "")
        assert ref_of("x/Y/1.0.0", SERVER) == AlgorithmRef(owner="x", name="Y", version="1.0.0")
        with pytest.raises(UsageError, match="name it as x/Y"):  # `publish` would take the newest
            algorithm_of("x/Y/1.0.0", SERVER)

    @pytest.mark.parametrize("config", [None, [], {}, {"username": 1}, {"algoname": "a b"}])
    def test_what_is_no_project_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Any
    ) -> None:
        monkeypatch.chdir(repository(tmp_path / "project", "https://x/y.git", config))

        with pytest.raises(UsageError, match="no project"):
            project_here(SERVER)

    def test_a_project_within_a_repository_is_not_pushed_with_all_around_it(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        stand_in: StandIn,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        inside = repository(tmp_path / "mono") / "words"
        inside.mkdir()
        config = {"username": "ada", "algoname": "Words"}
        (inside / "algorithmia.conf").write_text(json.dumps(config))
        monkeypatch.chdir(inside)
        monkeypatch.setenv("ALGORITHMIA_API_KEY", KEY)

        assert main(["push", "--api-address", stand_in.address]) == 2
        assert "no repository of its own" in capfd.readouterr().err
        assert git(tmp_path / "mono", "status", "--short") == "?? words/"


class TestTemplates:
    def test_files_are_written_where_they_belong(self, tmp_path: Path) -> None:
        unpack(archive(("src/a.py", b"1"), ("run.sh", b"2")), tmp_path)

        assert (tmp_path / "src/a.py").read_bytes() == b"1"
        assert os.access(tmp_path / "run.sh", os.X_OK)
        assert not os.access(tmp_path / "src/a.py", os.X_OK)

    @pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", ".Git/hooks/pre-commit"])
    def test_paths_that_lead_out_are_refused(self, tmp_path: Path, name: str) -> None:
        target = tmp_path / "in"

        with pytest.raises(Failed, match="no template does"):
            unpack(archive((name, b"x")), target)

        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_links_are_left_out(self, tmp_path: Path) -> None:
        unpack(archive(("link", None), ("file", b"1")), tmp_path / "in")

        assert [path.name for path in (tmp_path / "in").iterdir()] == ["file"]

    @pytest.mark.parametrize(
        "nonsense",
        [b"", b"\x1f\x8b", archive(("a", b"1" * 999))[:-20]],
        ids=["empty", "magic", "cut"],
    )
    def test_what_is_no_archive_is_told(self, tmp_path: Path, nonsense: bytes) -> None:
        with pytest.raises(Failed, match="unpacked"):
            unpack(nonsense, tmp_path)


class TestGit:
    def filled(self, directory: Path, address: str, username: str = "ada") -> str:
        """Ask git what it would send to an address."""
        tool = Git(directory=directory, connection=CONNECTION, username=username)
        done = subprocess.run(
            ["git", "credential", "fill"],
            input=f"url={address}\n\n",
            env={**os.environ, **tool._environment()},
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,  # it fails where nobody can be asked
        )
        return done.stdout

    def test_the_key_is_for_its_own_server(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", "credential.helper")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", "!echo password=wrong; echo username=wrong; :")
        url = repository_url(CONNECTION, AlgorithmRef(owner="ada", name="Words"))

        assert url == f"{API}/git/ada/Words.git"
        told = self.filled(tmp_path, url, "we ird\"'$(x)")
        assert "username=we ird\"'$(x)\npassword=simSecret\n" in told
        assert "simSecret" not in self.filled(tmp_path, "http://elsewhere.example.com/x.git")

    def test_a_failure_is_told_in_its_own_words(self, tmp_path: Path) -> None:
        tool = Git(directory=tmp_path, connection=CONNECTION)

        with pytest.raises(Failed, match="not a git repository"):
            tool.ask("rev-parse", "HEAD")
        assert not tool.knows("rev-parse", "HEAD")


class TestSourceElsewhere:
    def test_a_push_goes_to_its_host_and_the_build_is_waited_for(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        stand_in: StandIn,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        host = tmp_path / "host.git"
        git(tmp_path, "init", "--quiet", "--bare", str(host))
        config = {"username": "ada", "algoname": "echo"}
        root = repository(tmp_path / "echo", str(host), config)
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message", "Begin")
        sha = git(root, "rev-parse", "HEAD")
        source = {"scm": {"id": "hub"}, "repository_default_branch": "main"}
        build = {**BUILD, "commit_sha": sha}
        stand_in.faults.extend(
            json_answer(body)
            for body in (
                {"username": "ada", "bytes": 0, "files": 0},
                {**ECHO, "source": source},
                {"results": []},
                {"results": [{**build, "status": "in-progress"}]},
            )
        )
        events = f"event: log\ndata: {json.dumps('Built.')}\n\nevent: end\ndata: {{}}\n\n"
        headers = {"Content-Type": "text/event-stream"}
        stand_in.faults.append(Fault(status=200, headers=headers, body=events.encode()))
        stand_in.faults.append(json_answer(build))
        monkeypatch.setattr(following, "_POLL_S", 0.01)
        monkeypatch.setenv("ALGORITHMIA_API_KEY", KEY)
        monkeypatch.chdir(root)

        code = main(["push", "--api-address", stand_in.address])

        told = capfd.readouterr()
        assert (code, told.out) == (0, f"ada/echo/{sha}\n"), told.err
        assert "Built.\n" in told.err
        assert git(host, "rev-parse", "main") == sha

    @pytest.mark.parametrize("url", ["ext::sh -c x", "/etc", "-x", None])
    def test_only_addresses_are_cloned(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        stand_in: StandIn,
        capfd: pytest.CaptureFixture[str],
        url: str | None,
    ) -> None:
        source = {"scm": {"id": "hub"}, "repository_https_url": url}
        stand_in.faults.append(json_answer({"username": "ada", "bytes": 0, "files": 0}))
        stand_in.faults.append(json_answer({**ECHO, "source": source}))
        monkeypatch.setenv("ALGORITHMIA_API_KEY", KEY)
        monkeypatch.chdir(tmp_path)

        assert main(["clone", "ada/echo", "--api-address", stand_in.address]) == 1
        assert "does not tell where" in capfd.readouterr().err


class Handle:
    """An algorithm whose builds are *listed*, and of which *compiled* is what compiling answers."""

    def __init__(self, listed: "list[dict[str, Any]]", compiled: "dict[str, Any]") -> None:
        self.listed = [BuildInfo.from_json(build) for build in listed]
        self.compiled = compiled

    def builds(self) -> "Iterator[BuildInfo]":
        return iter(self.listed)

    def compile(self, *, commit: str) -> AlgorithmInfo:
        return AlgorithmInfo.from_json({**ECHO, "build": self.compiled}, owner="ada")

    def build(self, build_id: str) -> BuildInfo:
        return BuildInfo.from_json({**BUILD, "build_id": build_id})


@pytest.mark.parametrize(
    "listed",
    [
        pytest.param([BUILD], id="one that was under way and ends at once"),
        pytest.param([{**BUILD, "build_id": "b2", "status": "in-progress"}], id="another's"),
    ],
)
def test_the_build_that_was_asked_for_is_told(listed: "list[dict[str, Any]]") -> None:
    handle = Handle(listed, BUILD)

    assert built(handle, "", is_quiet=True).build_id == "b1"  # type: ignore[arg-type]  # as much of one as is asked for


def json_answer(body: Any) -> Fault:
    headers = {"Content-Type": "application/json"}
    return Fault(status=200, headers=headers, body=json.dumps(body).encode())


def test_a_log_does_not_command_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    writer = LogWriter(is_result=True)
    for piece in ("one\ntw", "o\r", "\n10%\r50%\rdone\n\x1b[2Jx\n", "rest"):
        writer.write(piece)
    writer.close()

    assert capfd.readouterr().out == "one\ntwo\ndone\n\\x1b[2Jx\nrest\n"
