"""Builds on a real server: the words when they fail, live logs, their end before the end."""

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from build_author import HELLO, BuildAuthor
from package_index import PASSWORD, USERNAME, PackageIndex, wheel
from processes import processes_with
from running import RunningServer
from searching import files_holding
from waiting import wait_until

from algorium_server.build.interpreters import Interpreter, known_interpreters

PATIENCE_S = 60
TIMEOUT_S = 15.0
_KEYS: dict[str, str] = {}
"""Of others than the administrator."""


@pytest.fixture(scope="module")
def index() -> Iterator[PackageIndex]:
    with PackageIndex() as running:
        yield running


@pytest.fixture(scope="module")
def server(
    index: PackageIndex, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    home = tmp_path_factory.mktemp("builds") / "home"
    options = ("--connector-allow", index.address, "--build-timeout-s", str(TIMEOUT_S))
    # A thief that finds no way is not to look for it again and again.
    with RunningServer(home, *options, env={"UV_HTTP_RETRIES": "1"}) as running:
        _KEYS["stranger"] = running.add_user("stranger")
        yield running


@pytest.fixture(scope="module")
def author(server: RunningServer) -> BuildAuthor:
    return BuildAuthor(server.api, server.key)


def trees(server: RunningServer) -> set[str]:
    return {path.name for path in (server.home / "builds").glob("*")}


def evil_archive(name: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        entry = tarfile.TarInfo(f"{name}-1.0/../../../../../../../../tmp/{name}-was-here")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"evil"))
    return content.getvalue()


LOCAL = "--no-index\n--find-links ./wheels\n"
HANGING = """\
def build_wheel(directory, config_settings=None, metadata_directory=None):
    import time
    print("hanging in there", flush=True)
    time.sleep(3600)
"""


def hanging_source() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("hanging-1.0/backend.py", HANGING)
        archive.writestr(
            "hanging-1.0/pyproject.toml",
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
            '[project]\nname = "hanging"\nversion = "1.0"\n',
        )
    return content.getvalue()


FAILURES: dict[str, tuple[dict[str, str | bytes | None], str, list[str]]] = {
    "MissingPackage": (
        {"requirements.txt": "--no-index\nno-such-package-anywhere\n"},
        "the requirements in requirements.txt cannot be resolved",
        ["no-such-package-anywhere was not found"],
    ),
    "SyntaxFault": (
        {"src/SyntaxFault.py": "def apply(input):\n    return (\n"},
        "src.SyntaxFault cannot be loaded (exit code 1)",
        ["SyntaxError: '(' was never closed", "line 2"],
    ),
    "FailingTest": (
        {"src/FailingTest_test.py": "def test_sum():\n    assert 1 + 1 == 3\n"},
        "the tests failed (exit code 1)",
        ["E assert (1 + 1) == 3", "FailingTest_test.py"],
    ),
    "NoEntry": (
        {"src/NoEntry.py": None, "src/a.py": HELLO, "src/b.py": HELLO},
        "no entry point: expected src/NoEntry.py, src/Algorithm.py, or a single module in src/ "
        "(there are 2: a, b)",
        [],
    ),
    "EvilWheel": (
        {
            "src/EvilWheel.py": f"import evilwheel\n{HELLO}",
            "requirements.txt": f"{LOCAL}evilwheel\n",
            "wheels/evilwheel-1.0-py3-none-any.whl": wheel(
                {
                    "../../../../../../../../tmp/evilwheel-was-here": "evil",
                    "../evilwheel.py": "evil = True",
                },
                "evilwheel",
                "1.0",
            ),
        },
        # uv installs what of it belongs into the environment, which is nothing.
        "src.EvilWheel cannot be loaded (exit code 1)",
        ["No module named 'evilwheel'"],
    ),
    "EvilSource": (
        {
            "requirements.txt": f"{LOCAL}evilsource\n",
            "wheels/evilsource-1.0.tar.gz": evil_archive("evilsource"),
        },
        "the requirements in requirements.txt cannot be resolved",
        ["evilsource-1.0"],
    ),
    "Loud": (
        {
            "src/Loud.py": "import os\nline = b'0123456789abcde\\n' * 65536\n"
            "for _ in range(200):\n    os.write(1, line)\nos._exit(7)\n"
        },
        "src.Loud cannot be loaded (exit code 7)",
        ["bytes of output left out", "0123456789abcde"],
    ),
    "Demanding": (
        {"pyproject.toml": "[project]\nname='d'\nversion='1'\nrequires-python='>=3.99'\n"},
        "the project requires Python >=3.99, and this server has",
        [],
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.network if name == "FailingTest" else ())
        for name in FAILURES
    ],
)
def test_a_build_that_fails_says_why_and_leaves_nothing(
    name: str, author: BuildAuthor, server: RunningServer
) -> None:
    files, failure, words = FAILURES[name]
    before = trees(server)
    build_id = author.begin(name, {f"src/{name}.py": HELLO, **files})
    build, log = author.ended(name, build_id)

    assert build["status"] == "failed"
    assert build["failure"].startswith(failure)
    assert log.endswith(f"Build failed: {build['failure']}\n")
    assert all(word in " ".join(log.split()) for word in words), log[-3000:]
    assert len(log.encode()) < 17 * 1024 * 1024
    assert author.told("GET", author.path(name, f"/builds/{build_id}/logs"))["logs"] == log
    assert author.ask("POST", f"/v1/algo/admin/{name}/{build['commit_sha']}").status_code == 404
    assert trees(server) == before
    assert not list((server.home / "logs" / "builds").iterdir())
    assert not list((server.home / "envs").glob(".resolve-*"))
    assert not list(Path("/tmp").glob("evil*-was-here"))


def test_an_installation_that_hangs_is_stopped_at_the_deadline(author: BuildAuthor) -> None:
    files = {"requirements.txt": f"{LOCAL}hanging\n", "wheels/hanging-1.0.zip": hanging_source()}
    build_id = author.begin("Hanging", {"src/Hanging.py": HELLO, **files})
    build, log = author.ended("Hanging", build_id)

    assert build["failure"] == f"the build took longer than {TIMEOUT_S:g} s"
    assert "stopped: not done after" in log
    assert processes_with("hanging-1.0") == []


SLOW = """\
import os, time
print("first words", flush=True)
while not os.path.exists("/tmp/never"):
    time.sleep(0.05)
"""


def test_a_log_is_heard_while_it_is_said_and_a_build_can_be_cancelled(
    author: BuildAuthor, server: RunningServer
) -> None:
    stranger = BuildAuthor(server.api, _KEYS["stranger"])
    build_id = author.begin("Slow", {"src/Slow.py": SLOW})
    heard, ends, cancelled = "", [], None
    for name, _, data in author.events("Slow", build_id):
        if name == "end":
            ends.append(data)
            break
        heard += data
        if "first words" in heard and cancelled is None:
            path = author.path("Slow", f"/builds/{build_id}")
            assert author.ask("GET", f"{path}/logs").status_code == 404
            assert stranger.ask("POST", f"{path}/cancel").status_code in {403, 404}
            assert stranger.ask("GET", f"{path}/logs/stream").status_code in {403, 404}
            cancelled = author.told("POST", f"{path}/cancel")
            assert cancelled["status"] in {"in-progress", "failed"}
    (build,) = ends

    assert (build["status"], build["failure"]) == ("failed", "cancelled by admin")
    assert heard.endswith("first words\nBuild failed: cancelled by admin\n")
    assert build_id not in trees(server)
    wait_until(lambda: not processes_with(build_id), timeout_s=PATIENCE_S, what="no process")


def test_a_stream_goes_on_where_a_reader_stopped(author: BuildAuthor) -> None:
    build_id = author.begin("Streamed", {"src/Streamed.py": "print('é' * 99)\n" + HELLO})
    author.ended("Streamed", build_id)
    log: str = author.told("GET", author.path("Streamed", f"/builds/{build_id}/logs"))["logs"]
    middle = len(log.encode()) // 2
    while log.encode()[middle] & 0xC0 == 0x80:
        middle += 1
    path = author.path("Streamed", f"/builds/{build_id}/logs/stream")
    events = list(author.events("Streamed", build_id, **{"Last-Event-ID": str(middle)}))

    assert (
        "".join(data for name, _, data in events if name == "log") == log.encode()[middle:].decode()
    )
    assert events[-1][:2] == ("end", len(log.encode()))
    assert author.ask("GET", path, headers={"Last-Event-ID": "x"}).status_code == 400
    missing = author.path("Streamed", "/builds/none/logs/stream")
    assert author.ask("GET", missing).json()["error"]["code"] == 1010


@pytest.mark.skipif(len(known_interpreters()) < 2, reason="this host has one Python only")
def test_an_algorithm_runs_on_the_python_that_its_author_chose(author: BuildAuthor) -> None:
    own = Interpreter.of_this_process()
    other = next(each for each in reversed(known_interpreters()) if each.minor != own.minor)
    wish = f"python{''.join(map(str, other.minor))}"
    source = "import sys\ndef apply(input):\n    return '%d.%d' % sys.version_info[:2]\n"
    build, log = author.ended(
        "Other", author.begin("Other", {"src/Other.py": source}, package_set=wish)
    )

    assert build["status"] == "succeeded", log
    assert f"With Python {other.version}\n" in log
    assert author.call(f"Other/{build['commit_sha']}") == "{}.{}".format(*other.minor)


def test_pyproject_and_its_lock_say_what_is_installed(author: BuildAuthor) -> None:
    pyproject = "[project]\nname='p'\nversion='1'\nrequires-python='>=3.8'\ndependencies=[]\n"
    lock = 'version = 1\nrevision = 3\nrequires-python = ">=3.8"\n\n[[package]]\nname = "p"\n'
    lock += 'version = "1"\nsource = { virtual = "." }\n'
    files = {"src/Locked.py": HELLO, "pyproject.toml": pyproject, "uv.lock": lock}
    build_id = author.begin("Locked", files)
    build, log = author.ended("Locked", build_id)

    assert build["status"] == "succeeded", log
    told = author.ask("GET", author.path("Locked", f"/builds/{build_id}/lock"))
    assert told.headers["content-type"] == "text/plain; charset=utf-8"
    assert told.text == ""


TELLTALE = """\
import base64, os, pathlib, zipfile

def everything():
    yield repr(dict(os.environ))
    for place in pathlib.Path("/proc").glob("[0-9]*"):
        for name in ("environ", "cmdline"):
            try:
                yield (place / name).read_bytes().decode("latin-1")
            except OSError:
                pass

def build_wheel(directory, config_settings=None, metadata_directory=None):
    seen = base64.b64encode("".join(everything()).encode()).decode()
    name = "telltale-1.0-py3-none-any.whl"
    with zipfile.ZipFile(directory + "/" + name, "w") as wheel:
        wheel.writestr("telltale.py", f"SEEN = {seen!r}")
        wheel.writestr("telltale-1.0.dist-info/METADATA",
                       "Metadata-Version: 2.1\\nName: telltale\\nVersion: 1.0\\n")
        wheel.writestr("telltale-1.0.dist-info/WHEEL",
                       "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("telltale-1.0.dist-info/RECORD", "telltale.py,,\\n")
    return name
"""


def test_packages_of_an_account_are_its_own_and_its_password_is_nowhere(
    author: BuildAuthor, server: RunningServer, index: PackageIndex
) -> None:
    index.add_wheel("privatelib", "1.0", "VALUE = 1\n")
    index.add_wheel("privatelib", "1.1", "VALUE = 11\n", is_absolute=True)
    index.add_source("telltale", "1.0", TELLTALE)
    source = (
        "import base64, privatelib, telltale\n"
        "def apply(input):\n"
        "    return [privatelib.VALUE, base64.b64decode(telltale.SEEN).decode()]\n"
    )
    files: dict[str, Any] = {"requirements.txt": "privatelib\ntelltale\n"}
    url = f"http://{USERNAME}:{quote(PASSWORD, safe='')}@{index.address}/simple/"
    path = "/v1/users/admin/package-sources"
    put = author.told("PUT", path, json={"indexes": [{"url": url}], "replaces_others": True})
    # What was read can be written back, without the password.
    assert author.told("PUT", path, json=author.told("GET", path)) == put
    try:
        build_id = author.begin("Private", {"src/Private.py": source, **files})
        build, log = author.ended("Private", build_id)
        assert build["status"] == "succeeded", log
        value, seen = author.call(f"Private/{build['commit_sha']}")
    finally:
        assert author.ask("DELETE", path).status_code == 204
    lock = author.ask("GET", author.path("Private", f"/builds/{build_id}/lock")).text

    assert put["indexes"] == [
        {"url": f"http://{index.address}/simple", "username": USERNAME, "has_password": True}
    ]
    assert value == 11
    assert "UV_INDEX" in seen or "UV_DEFAULT_INDEX" in seen
    assert "privatelib==1.1" in lock
    for text in (seen, log, lock, "\n".join(server.lines), str(put)):
        assert PASSWORD not in text
        assert quote(PASSWORD, safe="") not in text
    assert all(is_known for path, is_known in index.requests if path.startswith("/simple/p"))
    assert files_holding(server.home, PASSWORD, quote(PASSWORD, safe="")) == []

    # Another account gets nothing of it, from no cache either.
    stranger = BuildAuthor(server.api, _KEYS["stranger"], "stranger")
    lines = f"--index-url http://{index.address}/simple/\nprivatelib==1.1\n"
    refused, log = stranger.ended(
        "Thief", stranger.begin("Thief", {"src/Thief.py": HELLO, "requirements.txt": lines})
    )
    assert refused["status"] == "failed", log


def test_a_wheelhouse_makes_builds_that_need_no_index(author: BuildAuthor) -> None:
    content = wheel({"housed.py": "VALUE = 5\n"}, "housed", "2.0")
    assert author.ask("POST", "/v1/data/.my", json={"name": "wheels"}).is_success
    name = "housed-2.0-py3-none-any.whl"
    assert author.ask("PUT", f"/v1/data/.my/wheels/{name}", content=content).is_success
    path = "/v1/users/admin/package-sources"
    author.told("PUT", path, json={"wheelhouse": "data://admin/wheels", "replaces_others": True})
    try:
        source = "import housed\ndef apply(input):\n    return housed.VALUE\n"
        build_id = author.begin("Housed", {"src/Housed.py": source, "requirements.txt": "housed\n"})
        build, log = author.ended("Housed", build_id)
        absent_id = author.begin(
            "Absent", {"src/Absent.py": HELLO, "requirements.txt": "no_such_package\n"}
        )
        absent, words = author.ended("Absent", absent_id)
    finally:
        assert author.ask("DELETE", path).status_code == 204

    assert build["status"] == "succeeded", log
    assert author.call(f"Housed/{build['commit_sha']}") == 5
    assert absent["failure"] == "the requirements in requirements.txt cannot be resolved"
    assert "no-such-package was not found" in " ".join(words.split())


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"indexes": [{"url": "ftp://host/simple"}]}, "address"),
        ({"indexes": [{"url": "http://10.1.2.3/simple"}]}, "may not be reached"),
        ({"indexes": [{"url": "https://169.254.169.254/simple"}]}, "may not be reached"),
        ({"indexes": [{"url": "https://[::1/simple"}]}, "address"),
        ({"wheelhouse": "s3://bucket/x"}, "wheelhouse"),
        ({"wheelhouse": "data://"}, "wheelhouse"),
        ({"ca_certificate": "none"}, "PEM"),
        (
            {"ca_certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"},
            "ca_certificate cannot be read",
        ),
        ({"indexes": [{}]}, "missing"),
        ({"indexes": 1}, "indexes"),
    ],
)
def test_package_sources_that_cannot_be_are_refused(
    body: dict[str, Any], word: str, author: BuildAuthor
) -> None:
    answer = author.ask("PUT", "/v1/users/admin/package-sources", json=body)

    assert answer.status_code == 400
    assert word in answer.json()["error"]["message"]


def test_nobody_else_sees_or_changes_the_sources_of_an_account(
    author: BuildAuthor, server: RunningServer
) -> None:
    stranger = BuildAuthor(server.api, _KEYS["stranger"])
    path = "/v1/users/admin/package-sources"

    for method in ("GET", "PUT", "DELETE"):
        assert stranger.ask(method, path, json={}).status_code == 403
    unknown = author.ask("GET", "/v1/users/nobody/package-sources")
    assert unknown.status_code == 403, "which names are taken is nobody else's business"
