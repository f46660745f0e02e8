"""Restoring refuses what is damaged or hostile, and leaves nothing of it."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from backup_home import NOW, Home, made_home
from blake3 import blake3

from algorium_server.backup.records import (
    Entry,
    Header,
    Sum,
    check_path,
    encode_line,
    entries,
    quoted,
    unquoted,
)
from algorium_server.backup.restoring import restore, verify
from algorium_server.backup.taking import take
from algorium_server.domain.errors import AlgoriumError, InvalidInput, Unavailable
from algorium_server.home import locked

FILE = b"content"


@pytest.fixture
def home(tmp_path: Path, sqlite_file: Path) -> Home:
    return made_home(tmp_path / "home", template=sqlite_file)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "elsewhere"
    place.mkdir()
    return place


def entry(path: str, **fields: object) -> Entry:
    facts = {"size": len(FILE), "digest": blake3(FILE).hexdigest(), "mode": 0o600}
    return Entry(path=path, **({} if fields.get("kind") else facts), **fields)


def archive(path: Path, *named: Entry, members: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    """Write an archive as somebody hostile would: everything fits, but for what it names."""
    lines = b"".join(encode_line(each) for each in named)
    size = sum(each.size for each in named)
    last = Sum(entries=len(named), bytes=size, digest=blake3(lines).hexdigest())
    header = Header(format=1, version="0.1.0", schema="0011", made_at="now", database="postgresql")

    def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))

    with tarfile.open(path, "w") as tar:
        add(tar, "algorium-backup.json", encode_line(header))
        for each in named:
            if each.kind == "file":
                add(tar, f"home/{each.path}", FILE)
        for member in members:
            tar.addfile(member)
        add(tar, "manifest.jsonl", lines + encode_line(last))
    return path


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


HOSTILE: dict[str, tuple[tuple[Entry, ...], tuple[tarfile.TarInfo, ...]]] = {
    "above": ((entry("../stolen"),), ()),
    "above later": ((entry("a/../../stolen"),), ()),
    "absolute": ((entry("/tmp/stolen"),), ()),
    "nothing": ((entry("."),), ()),
    "twice": ((entry("a"), entry("a")), ()),
    "below a file": ((entry("a"), entry("a/b")), ()),
    "a link over a file": ((entry("x/a"), entry("x/a", kind="link", target="/etc")), ()),
    "a link, and a file below it": (
        (entry("x/a", kind="link", target="/tmp"), entry("x/a/stolen")),
        (),
    ),
    "a link, and a link below it": (
        (
            entry("x", kind="directory", mode=0o700),
            entry("x/a", kind="link", target="/tmp"),
            entry("x/a/stolen", kind="link", target="/etc/passwd"),
        ),
        (),
    ),
    "a link to another database": ((entry("algorium.db", kind="link", target="/tmp/other"),), ()),
    "a link in place of a directory": ((entry("logs", kind="link", target="/etc"),), ()),
    "a link above": ((entry("../stolen", kind="link", target="x"),), ()),
    "a directory above": ((entry("../stolen", kind="directory", mode=0o700),), ()),
    "a device": ((), (member("home/device", tarfile.CHRTYPE),)),
    "a pipe": ((), (member("home/pipe", tarfile.FIFOTYPE),)),
    "a hard link": ((), (member("home/hard", tarfile.LNKTYPE, "/etc/passwd"),)),
    "outside of home": ((), (member("etc", tarfile.DIRTYPE),)),
    "a set-user-id program": ((Entry(path="a", mode=0o4755),), ()),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_refused(tmp_path: Path, place: Path, case: str) -> None:
    named, members = HOSTILE[case]
    source = archive(tmp_path / "a.tar", *named, members=members)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(InvalidInput):
        restore(source, place, database_url="postgresql:///nowhere")

    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / "stolen").exists()
    assert not Path("/tmp/stolen").exists()


def shorter(data: bytes) -> bytes:
    return data[: len(data) // 2]


def changed(data: bytes) -> bytes:
    at = data.index(b"def apply") + 2
    return data[:at] + b"X" + data[at + 1 :]


def without_manifest(data: bytes) -> bytes:
    at = data.index(b"manifest.jsonl") // 512 * 512
    return data[:at] + bytes(10240 - at % 10240)


def with_another_digest(data: bytes) -> bytes:
    at = data.index(b'"digest":"', data.index(b"manifest.jsonl")) + 10
    return data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :]


@pytest.mark.parametrize("damage", [shorter, changed, without_manifest, with_another_digest])
def test_a_damaged_backup_is_refused_and_leaves_nothing(
    home: Home, tmp_path: Path, place: Path, damage: Callable[[bytes], bytes]
) -> None:
    take(home.wanted(), tmp_path / "a.tar", now=NOW)
    source = tmp_path / "damaged.tar"
    source.write_bytes(damage((tmp_path / "a.tar").read_bytes()))

    with pytest.raises(InvalidInput):
        verify(source)
    with pytest.raises(InvalidInput):
        restore(source, place)

    assert list(place.iterdir()) == []


@pytest.mark.parametrize("packed", ["a.tar.gz", "a.tar.zst"])
def test_a_packed_backup_that_is_cut_off_is_refused(
    home: Home, tmp_path: Path, place: Path, packed: str
) -> None:
    take(home.wanted(), tmp_path / packed, now=NOW)
    source = tmp_path / packed
    source.write_bytes(shorter(source.read_bytes()))

    with pytest.raises(InvalidInput):
        restore(source, place)

    assert list(place.iterdir()) == []


def test_a_directory_that_misses_a_file_is_refused(home: Home, tmp_path: Path, place: Path) -> None:
    take(home.wanted(), tmp_path / "saved", now=NOW)
    (tmp_path / "saved" / "home" / "credentials.json").unlink()

    with pytest.raises(InvalidInput, match=r"credentials\.json is missing"):
        restore(tmp_path / "saved", place)

    assert list(place.iterdir()) == []


def test_a_directory_in_which_a_file_became_a_link_is_refused(
    home: Home, tmp_path: Path, place: Path
) -> None:
    take(home.wanted(), tmp_path / "saved", now=NOW)
    (tmp_path / "saved" / "home" / "credentials.json").unlink()
    (tmp_path / "saved" / "home" / "credentials.json").symlink_to("/etc/passwd")

    with pytest.raises(AlgoriumError):
        restore(tmp_path / "saved", place)

    assert list(place.iterdir()) == []


@pytest.mark.parametrize("name", ["nothing", "text", "empty"])
def test_what_is_no_backup_is_refused(tmp_path: Path, place: Path, name: str) -> None:
    (tmp_path / "text").write_text("hello\n" * 2000)
    (tmp_path / "empty").mkdir()

    with pytest.raises(AlgoriumError):
        restore(tmp_path / name, place)

    assert list(place.iterdir()) == []


def test_only_an_empty_home_is_filled(home: Home, tmp_path: Path, place: Path) -> None:
    take(home.wanted(), tmp_path / "a.tar", now=NOW)
    (place / "precious").write_text("mine")

    with pytest.raises(InvalidInput, match="not empty"):
        restore(tmp_path / "a.tar", place)

    assert (place / "precious").read_text() == "mine"


KILLED = """
import os, pathlib, signal, sys
from algorium_server.backup.restoring import restore

def die(files, size):
    if files == 3:
        os.kill(os.getpid(), signal.SIGKILL)

restore(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), on_progress=die)
"""


@pytest.mark.slow
def test_a_half_restored_home_is_known_and_not_used(
    home: Home, tmp_path: Path, place: Path
) -> None:
    take(home.wanted(), tmp_path / "a.tar", now=NOW)

    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a.tar", place], check=False)

    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(Unavailable, match="has not finished"), locked(place):
        pass
    with pytest.raises(Unavailable, match="has not finished"):
        restore(tmp_path / "a.tar", place)


def test_a_backup_of_a_newer_release_is_refused(home: Home, tmp_path: Path, place: Path) -> None:
    take(home.wanted(), tmp_path / "saved", now=NOW)
    header = tmp_path / "saved" / "algorium-backup.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"schema": "9999"}))

    with pytest.raises(Unavailable, match="restore it with that release"):
        restore(tmp_path / "saved", place)

    assert list(place.iterdir()) == []


@pytest.mark.parametrize("path", ["a", "a/b c", "caf\udce9", "100%", "日本", '"', "a\nb"])
def test_every_name_of_a_file_has_a_line(path: str) -> None:
    line = encode_line(Entry(path=path))
    last = encode_line(Sum(entries=1, bytes=0, digest=blake3(line).hexdigest()))

    assert unquoted(quoted(path)) == path
    assert [each.path for each in entries(io.BytesIO(line + last))] == [path]


@pytest.mark.parametrize(
    "path", ["", "/", ".", "..", "a/../b", "a//b", "a/", "/a", "a/./b", "a\0b"]
)
def test_a_path_that_leads_elsewhere_is_none(path: str) -> None:
    with pytest.raises(InvalidInput):
        check_path(path)


def test_modes_and_owners_are_the_servers_own(home: Home, tmp_path: Path, place: Path) -> None:
    take(home.wanted(), tmp_path / "a.tar", now=NOW)

    restore(tmp_path / "a.tar", place)

    assert (place / "builds" / "one" / "run").stat().st_mode & 0o777 == 0o755
    assert (place / "secrets").stat().st_mode & 0o777 == 0o700
    assert all(path.lstat().st_uid == os.getuid() for path in place.rglob("*"))
