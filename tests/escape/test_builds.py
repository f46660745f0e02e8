"""Artifacts and builds: neither what is built nor what builds it gets out."""

import asyncio
import io
import json
import os
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from processes import processes_with
from waiting import wait_until

from algorium_server.domain.algorithms import Build, BuildStatus
from algorium_server.engine.host import SandboxHost
from algorium_server.services.authoring import confining, disk_use

from .building import HELLO, SourcePackage, Wheel, Workshop
from .conftest import SECRET
from .outside import Host

MIB = 1024 * 1024
PLAIN_BACKEND = """
def build_wheel(directory, config_settings=None, metadata_directory=None):
    return make_wheel(directory, {"pkg.py": ""})
"""


@pytest.fixture(scope="module")
def _workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    # Not below /tmp: what is mounted there could be told from its private /tmp by a look only.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place, asyncio.Runner() as runner:
        Path(place).chmod(0o755)
        home, index = Path(place) / "home", Path(place) / "index"
        index.mkdir()
        host = runner.run(SandboxHost.start("auto", home / "sandboxes", allowed=()))
        if host.level != "full":
            runner.run(host.close())
            pytest.skip(f"sandboxes of level full are not possible here. {host.report.remedy}")
        yield Workshop(home=home, index=index, runner=runner, host=host)
        runner.run(host.close())
        assert not list((home / "sandboxes").glob("slots-*"))


@pytest.fixture
def workshop(
    _workshop: Workshop, host: Host, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workshop]:
    monkeypatch.setenv("SECRET", SECRET)
    before = _looks(_workshop.home)

    yield _workshop

    assert host.is_untouched()
    assert before.items() <= _looks(_workshop.home).items(), "what was there is as it was"
    assert not [path for path in _workshop.home.rglob("*") if "escaped" in path.name]


def _looks(home: Path) -> dict[str, tuple[int, int, int]]:
    """Return what finished builds and environments look like."""
    found = {}
    for top in (home / "builds", home / "envs"):
        for folder, names, files in os.walk(top):
            names[:] = [name for name in names if name != ".cache"]
            for name in files:
                status = os.lstat(os.path.join(folder, name))
                looks = (status.st_mode, status.st_size, status.st_mtime_ns)
                found[os.path.join(folder, name)] = looks
    return found


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([(b"link", 0o120000, b"/etc/passwd")], "symbolic link"),
        ([(b"src", 0o120000, b"/etc")], "symbolic link"),
        ([(b"a", 0o120000, b"../../../..")], "symbolic link"),
        ([(b"src", 0o040000, [(b"link", 0o120000, b"../../../algorium.db")])], "symbolic link"),
        ([(b"..", 0o040000, [(b"escaped", 0o100644, b"x")])], "cannot be the name"),
        ([(b"../escaped", 0o100644, b"x")], "cannot be the name"),
        ([(b"/tmp/escaped", 0o100644, b"x")], "cannot be the name"),
        ([(b"a", 0o040000, [(b"..", 0o040000, [(b"escaped", 0o100644, b"")])])], "cannot be"),
        ([(b"", 0o100644, b"x")], "cannot be the name"),
        ([(b".git", 0o040000, [(b"config", 0o100644, b"")])], "cannot be the name"),
        ([(b".GIT", 0o040000, [(b"hooks", 0o100755, b"")])], "cannot be the name"),
        ([(b"module", 0o160000, b"")], "submodule"),
        ([(b"device", 0o020666, b"")], "only files"),
        ([(b"pipe", 0o010666, b"")], "only files"),
        ([(b"x" * 300, 0o100644, b"")], "cannot be the name"),
    ],
)
def test_trees_that_lead_elsewhere_are_not_checked_out(
    workshop: Workshop, entries: list[object], complaint: str
) -> None:
    project = [
        (b"algorithmia.conf", 0o100644, b"{}"),
        *(
            []
            if entries[0][0] == b"src"
            else [(b"src", 0o040000, [(b"Hello.py", 0o100644, HELLO)])]
        ),
    ]

    build = workshop.build_forged([*project, *entries])

    assert build.status is BuildStatus.FAILED
    assert complaint in build.log
    assert not list((workshop.home / "builds").glob(f"{build.build_id}*"))


def test_set_user_id_bits_are_not_checked_out(workshop: Workshop) -> None:
    entries = [
        (b"algorithmia.conf", 0o100644, b"{}"),
        (b"src", 0o040000, [(b"Hello.py", 0o106755, HELLO), (b"x", 0o102777, b"")]),
    ]

    build = workshop.build_forged(entries)

    for path in (workshop.home / "builds").rglob("*"):
        assert not path.lstat().st_mode & 0o6002, path
    assert build.status in {BuildStatus.SUCCEEDED, BuildStatus.FAILED}


REQUIREMENTS = [
    "-r /etc/shadow",
    "-r {home}/credentials.json",
    "-r ../../credentials.json",
    "-c {canary}",
    "--find-links {folder}\n--no-index\nnothing",
    "-e ../..",
    "{canary}",
    "file://{canary}",
    "x @ file://{home}/repos",
    "git+file://{home}/repos/jane/algorithm.git",
    "x @ git+ssh://127.0.0.1/x",
    "--extra-index-url file://{home}/\n--no-index\nnothing",
    "nothing; $(touch {folder}/escaped)",
    "--config-settings=x\n`touch {folder}/escaped`",
    "x @ file:///proc/self/environ",
]


@pytest.mark.parametrize("lines", REQUIREMENTS)
def test_requirements_tell_nothing_about_the_host(
    workshop: Workshop, host: Host, lines: str
) -> None:
    (workshop.home / "credentials.json").write_text(json.dumps({"api_key": SECRET}))
    text = lines.format(home=workshop.home, canary=host.canary, folder=host.folder)

    build = workshop.build({"requirements.txt": text.encode()})

    assert build.status is BuildStatus.FAILED
    for hidden in (SECRET, host.marker, "root:"):
        assert hidden not in build.log


def _outside(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = link
    member.mode = 0o6777
    return member


@pytest.mark.parametrize(
    "members",
    [
        [_outside("pkg-1.0/../../../../../../../../tmp/escaped")],
        [_outside("/tmp/escaped")],
        [_outside("../escaped")],
        [_outside("pkg-1.0/a", tarfile.SYMTYPE, "/etc"), _outside("pkg-1.0/a/escaped")],
        [_outside("pkg-1.0/a", tarfile.SYMTYPE, "../../../.."), _outside("pkg-1.0/a/escaped")],
        [_outside("pkg-1.0/a", tarfile.SYMTYPE, "/etc/passwd"), _outside("pkg-1.0/a")],
        [_outside("pkg-1.0/a", tarfile.LNKTYPE, "../../../../etc/passwd"), _outside("pkg-1.0/a")],
        [_outside("pkg-1.0/a", tarfile.LNKTYPE, "/etc/shadow")],
        [_outside("pkg-1.0/a", tarfile.CHRTYPE), _outside("pkg-1.0/b", tarfile.FIFOTYPE)],
    ],
    ids=["up", "root", "beside", "link", "far link", "file", "hard link", "secret", "device"],
)
def test_archives_are_unpacked_where_they_belong(
    workshop: Workshop, members: list[tarfile.TarInfo]
) -> None:
    def add(archive: tarfile.TarFile, top: str) -> None:
        for member in members:
            member.name = member.name.replace("pkg-1.0", top)
            member.size = 7 if member.type == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"escaped") if member.size else None)

    passwd = Path("/etc/passwd").read_bytes()

    workshop.build_with(SourcePackage(backend=PLAIN_BACKEND, add=add))

    assert Path("/etc/passwd").read_bytes() == passwd
    for place in ("/tmp/escaped", "/etc/escaped", "/escaped"):
        assert not Path(place).exists()
    for path in workshop.home.rglob("*"):
        assert not path.lstat().st_mode & 0o6000, path
        assert not path.is_fifo()
        assert not path.is_char_device()


@pytest.mark.parametrize(
    ("files", "links"),
    [
        ({"../../../../../../escaped.py": "x"}, {}),
        ({"/tmp/escaped.py": "x"}, {}),
        ({"pkg-VERSION.data/data/../../../escaped": "x"}, {}),
        ({"pkg-VERSION.data/scripts/../../../../escaped": "x"}, {}),
        ({"pkg-VERSION.data/headers/../../../escaped.h": "x"}, {}),
        ({}, {"pkg/secrets": "/etc/shadow", "pkg/up": "../../../../../.."}),
        ({"pkg/up/escaped": "x"}, {"pkg/up": "../../../../../.."}),
    ],
)
def test_wheels_are_unpacked_where_they_belong(
    workshop: Workshop, files: dict[str, str], links: dict[str, str]
) -> None:
    build = workshop.build_with(Wheel(files={"pkg.py": "", **files}, links=links))

    assert not Path("/tmp/escaped.py").exists()
    if build.status is BuildStatus.SUCCEEDED:
        top = (workshop.home / "envs" / build.environment).resolve()
        for path in top.rglob("*"):
            allowed = (
                top,
                Path(os.path.realpath("/usr")),
                Path(os.path.realpath(os.__file__)).parents[2],
            )
            assert any(path.resolve().is_relative_to(each) for each in allowed), path


ZEROS = "\0" * (16 * MIB)


def _bomb_of(kind: str) -> SourcePackage | Wheel:
    if kind == "wheel":
        return Wheel(files={"pkg.py": "", **{f"zeros{n}": ZEROS for n in range(24)}})
    if kind == "many files":
        return Wheel(files={"pkg.py": "", **{f"d{n % 50}/{n}": "" for n in range(8000)}})

    def add(archive: tarfile.TarFile, top: str) -> None:
        for number in range(24):
            member = tarfile.TarInfo(f"{top}/zeros{number}")
            member.size = len(ZEROS)
            archive.addfile(member, io.BytesIO(ZEROS.encode()))

    if kind == "archive":
        return SourcePackage(backend=PLAIN_BACKEND, add=add)
    assert kind == "backend"
    backend = """
def build_wheel(directory, config_settings=None, metadata_directory=None):
    number = 0
    while True:
        number += 1
        with open(directory + "/zeros%d" % number, "wb") as file:
            file.write(bytes(16 * 1024 * 1024))
"""
    return SourcePackage(backend=backend)


@pytest.mark.parametrize("kind", ["wheel", "archive", "backend", "many files"])
def test_what_unpacks_without_measure_is_stopped(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(confining, "BUILD_DISK_BYTES_MAX", 64 * MIB)
    monkeypatch.setattr(confining, "BUILD_DISK_FILES_MAX", 3000)
    # With a limit this low, what others of this machine free would hide what a bomb takes.
    monkeypatch.setattr(disk_use.DiskUse, "may_be_over", lambda _: True)

    build = workshop.build_with(_bomb_of(kind))

    assert build.status is BuildStatus.FAILED
    assert "stopped: over its limit" in build.log
    left = sum(path.lstat().st_blocks * 512 for path in workshop.home.rglob("*"))
    assert left < 64 * MIB, "nothing of it is kept"


SPY = """
import glob, json, os, socket, subprocess, sys

def attempt(action, *arguments):
    try:
        return repr(action(*arguments))[:200]
    except Exception as error:
        return None

def read(path):
    with open(path, "rb") as file:
        return file.read(200)

def write(path):
    with open(path, "w") as file:
        file.write("escaped")

def connect(host, port):
    socket.create_connection((host, port), timeout=2).close()
    return "connected"

def spy(home, canary, addresses, marker):
    told = {}
    for path in [home + "/credentials.json", canary, "/etc/shadow", "/root/.bashrc",
                 home + "/repos/jane", home + "/builds", home + "/sandboxes"]:
        told["read " + path] = attempt(os.listdir if os.path.isdir(path) else read, path)
    for path in [home + "/escaped", "/usr/escaped", "/etc/escaped", canary, "/escaped",
                 home + "/builds/escaped", home + "/envs/escaped",
                 home + "/envs/.cache/uv/escaped", home + "/envs/.cache/uv-jane/escaped"]:
        told["write " + path] = attempt(write, path)
    told["environments"] = len(glob.glob(home + "/envs/*/bin"))
    for host, port in addresses:
        told["connect %s %s" % (host, port)] = attempt(connect, host, port)
    told["environment"] = json.dumps(dict(os.environ))
    told["processes"] = "".join(attempt(read, p) or "" for p in glob.glob("/proc/[0-9]*/cmdline"))
    if os.fork() == 0:
        os.setsid()
        for number in (0, 1, 2):
            os.dup2(os.open("/dev/null", os.O_RDWR), number)
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", marker])
    return json.dumps(told)
"""


@pytest.fixture
def spied(workshop: Workshop, host: Host) -> Callable[..., dict[str, Any]]:
    """Let a spy run in one step of a build, and return what it found."""

    def spy(step: str, *, addresses: Sequence[list[str | int]] = ()) -> dict[str, Any]:
        (workshop.home / "credentials.json").write_text(json.dumps({"api_key": SECRET}))
        hers = workshop.build({}, owner="jane")
        assert hers.status is BuildStatus.SUCCEEDED, hers.log
        marker = f"left-{uuid.uuid4()}"
        call = f"spy({str(workshop.home)!r}, {str(host.canary)!r}, {[*addresses]!r}, {marker!r})"
        build = _build_that_spies(workshop, step, call)
        wait_until(lambda: not processes_with(marker), timeout_s=30, what="nothing is left")
        told: dict[str, Any] = json.loads(_report(workshop, build, step))
        return told

    return spy


def _build_that_spies(workshop: Workshop, step: str, call: str) -> Build:
    if step == "backend":
        backend = f"""
{SPY}
def build_wheel(directory, config_settings=None, metadata_directory=None):
    if open("/proc/net/dev").read().count(":") == 1:
        raise SystemExit("only loopback: maybe there is more at the next attempt")
    return make_wheel(directory, {{"pkg.py": "", "report.json": {call}}})
"""
        return workshop.build_with(SourcePackage(backend=backend))
    spying = f"{SPY}\nprint('REPORT' + {call} + 'END', flush=True)\n".encode()
    if step == "import":
        return workshop.build({"src/Hello.py": HELLO + spying})
    assert step == "tests"
    return workshop.build({"src/Hello_test.py": spying + b"\nassert False\n"})


def _report(workshop: Workshop, build: Build, step: str) -> str:
    if step == "backend":
        assert build.status is BuildStatus.SUCCEEDED, build.log
        return (workshop.site_packages(build) / "report.json").read_text()
    assert "REPORT" in build.log, build.log
    return build.log.partition("REPORT")[2].partition("END")[0]


@pytest.mark.parametrize("step", ["backend", "import"])
def test_what_a_build_runs_sees_nothing_of_the_host(
    spied: Callable[..., dict[str, Any]], workshop: Workshop, host: Host, step: str
) -> None:
    if step == "backend" and (lacking := workshop.host.report.without_network) is not None:
        pytest.skip(f"sandboxes cannot be connected one by one here: {lacking.why}")

    told = spied(step)

    text = json.dumps(told)
    # The directories on the way to what is mounted can be listed, and hold nothing else.
    listed = {name for name in told if name.endswith(("/builds", "/sandboxes"))}
    done = {name for name, said in told.items() if name.startswith(("read ", "write ")) and said}
    assert done <= listed
    assert all((told[name] or "").count("build") <= 2 for name in listed)
    assert told["processes"], "it sees its own"
    assert told["environments"] == 1, "its own as well"
    for hidden in (SECRET, host.marker, "algorium_server"):
        assert hidden not in text


@pytest.mark.parametrize("step", ["import", "backend"])
def test_what_a_build_runs_does_not_reach_the_host(
    spied: Callable[..., dict[str, Any]], host: Host, step: str
) -> None:
    told = spied(step, addresses=host.addresses)
    was_untouched = host.is_untouched()

    assert not [name for name, said in told.items() if name.startswith("connect ") and said]
    assert was_untouched


def test_a_package_cannot_stand_in_for_the_platform(workshop: Workshop) -> None:
    """A wheel may bring an interpreter, path files and a runtime of its own: all in the sandbox."""
    files = {
        "pkg.pth": "import os; os.environ['PATHFILE'] = 'ran'\n",
        "sitecustomize.py": "import os; os.environ['CUSTOMIZED'] = 'ran'\n",
        "algorium_runtime/__init__.py": "raise SystemExit('shadowed')\n",
        "pkg-VERSION.data/scripts/python": "#!/bin/sh\necho shadowed; exit 3\n",
    }

    build = workshop.build_with(Wheel(files=files))

    other = workshop.build({}, owner="jane")
    assert other.status is BuildStatus.SUCCEEDED
    assert "shadowed" not in other.log
    assert build.status is BuildStatus.SUCCEEDED or "shadowed" in build.log or build.log
