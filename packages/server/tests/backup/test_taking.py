"""Backups are whole, whatever happens while they are taken."""

import asyncio
import os
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
from backup_home import LARGE, NOW, Home, described, made_home

from algorium_server import holding
from algorium_server.backup.restoring import restore, verify
from algorium_server.backup.rooms import room_beside
from algorium_server.backup.taking import take
from algorium_server.domain.errors import InvalidInput, Unavailable
from algorium_server.holding import held, is_held
from algorium_server.store.engines import sqlite_path

FORMS = ("a.tar", "a.tar.gz", "a.tar.zst", "directory")
NOT_IN_BACKUPS = (
    "algorium.db",
    "algorium.db-shm",
    "algorium.db-wal",
    "blobs/incoming",
    "builds/two.work",
    "endpoint.json",
    "envs/.cache",
    "envs/half",
    "hold",
    "lock",
    "models",
    "uploads",
)


@pytest.fixture
def home(tmp_path: Path, sqlite_file: Path) -> Home:
    return made_home(tmp_path / "home", template=sqlite_file)


def restored(source: Path, place: Path) -> Path:
    place.mkdir()
    restore(source, place)
    return place


def git(*arguments: object) -> str:
    command = ["git", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def kept(found: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    def is_left_out(name: str) -> bool:
        in_git = ("/objects/info", "/branches", "/hooks")
        is_named = any(name == each or name.startswith(f"{each}/") for each in NOT_IN_BACKUPS)
        return is_named or any(each in name for each in in_git)

    return {name: facts for name, facts in found.items() if not is_left_out(name)}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_restored_is_what_was_there(home: Home, tmp_path: Path, form: str) -> None:
    taken = take(home.wanted(), tmp_path / form, now=NOW)
    checked = verify(tmp_path / form)
    place = restored(tmp_path / form, tmp_path / "elsewhere")

    assert (checked.files, checked.bytes) == (taken.files, taken.bytes)
    before, after = kept(described(home.path)), kept(described(place))
    assert {**before, **after} == before
    assert before.keys() == after.keys()
    assert (tmp_path / form).stat().st_mode & 0o077 == 0
    assert not any((place / name).exists() for name in NOT_IN_BACKUPS if name != "algorium.db")
    assert sqlite_path(home.url) != place / "algorium.db"
    assert (place / "algorium.db").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([form, "home", "elsewhere"])


def test_environments_whose_interpreter_is_missing_are_named(home: Home, tmp_path: Path) -> None:
    take(home.wanted(), tmp_path / "a.tar", now=NOW)
    (tmp_path / "elsewhere").mkdir()

    done = restore(tmp_path / "a.tar", tmp_path / "elsewhere")

    assert done.unusable == (("done", "/nowhere/python3"),)


def test_a_file_that_is_deleted_meanwhile_is_in_the_backup(home: Home, tmp_path: Path) -> None:
    def delete_once(_files: int, _bytes: int) -> None:
        if not deleted:
            deleted.append(True)
            asyncio.run(home.delete_large())

    deleted: list[bool] = []
    taken = take(home.wanted(), tmp_path / "a.tar", now=NOW, on_progress=delete_once)
    place = restored(tmp_path / "a.tar", tmp_path / "elsewhere")

    assert deleted
    assert taken.missing_count == 0
    assert (place / "blobs" / home.blob[:2] / home.blob).read_bytes() == LARGE
    assert (home.path / "blobs" / home.blob[:2] / home.blob).exists(), "it is garbage now"


def test_a_repository_that_is_deleted_meanwhile_is_in_the_backup(
    home: Home, tmp_path: Path
) -> None:
    def delete(_files: int, _bytes: int) -> None:
        asyncio.run(home.repositories.remove(home.owner_id, home.algorithm_id))

    take(home.wanted(), tmp_path / "a.tar", now=NOW, on_progress=delete)
    restored(tmp_path / "a.tar", tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / home.repository.relative_to(home.path)

    assert git("-C", moved, "rev-parse", "HEAD").strip() == home.commits[-1]
    asyncio.run(home.repositories.remove(home.owner_id, home.algorithm_id))
    assert not home.repository.exists(), "nothing is held any more"


@pytest.mark.parametrize("moment", range(28, 52, 6))
def test_a_repository_that_is_packed_and_pushed_to_meanwhile_is_whole(
    home: Home, tmp_path: Path, moment: int
) -> None:
    seen = 0

    def repack(_files: int, _bytes: int) -> None:
        nonlocal seen
        seen += 1
        if seen >= moment and not (seen - moment) % 5 and len(home.commits) < 5:
            asyncio.run(home.commit(f"commit {seen}"))
            git("-C", home.repository, "-c", "gc.pruneExpire=never", "gc", "--quiet")

    take(home.wanted(), tmp_path / "a.tar", now=NOW, on_progress=repack)
    restored(tmp_path / "a.tar", tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / home.repository.relative_to(home.path)

    assert git("-C", moved, "fsck", "--strict", "--no-dangling") == ""
    head = git("-C", moved, "rev-parse", "HEAD").strip()
    assert head in home.commits[1:]
    for commit in home.commits[:2]:
        git("-C", moved, "cat-file", "-e", f"{commit}^{{tree}}")


def test_keys_can_be_left_out(home: Home, tmp_path: Path) -> None:
    taken = take(home.wanted(has_keys=False), tmp_path / "a.tar", now=NOW)

    with tarfile.open(tmp_path / "a.tar") as archive:
        names = archive.getnames()
    assert not any("secrets" in name or "credentials" in name for name in names)
    assert "cannot be opened" in taken.header.left_out[0]


def test_links_take_no_room_and_are_restored_as_files(home: Home, tmp_path: Path) -> None:
    take(home.wanted(is_linking=True), tmp_path / "linked", now=NOW)
    place = restored(tmp_path / "linked", tmp_path / "elsewhere")
    blob = Path("blobs") / home.blob[:2] / home.blob

    assert (tmp_path / "linked" / "home" / blob).samefile(home.path / blob)
    assert not (place / blob).samefile(home.path / blob)
    assert (place / blob).read_bytes() == LARGE


def test_what_a_crash_has_left_of_the_keys_stays_out(home: Home, tmp_path: Path) -> None:
    names = [f".sealing.json.{1:032x}", f"..sealing.json.{1:032x}.{2:032x}"]
    for name in names:
        (home.path / "secrets" / name).write_text("keys that were forgotten since")

    take(home.wanted(), tmp_path / "a.tar", now=NOW)
    place = restored(tmp_path / "a.tar", tmp_path / "elsewhere")

    assert os.listdir(place / "secrets") == ["sealing.json"]


def test_a_lost_blob_is_told_and_the_rest_is_saved(home: Home, tmp_path: Path) -> None:
    (home.path / "blobs" / home.blob[:2] / home.blob).unlink()

    taken = take(home.wanted(), tmp_path / "a.tar", now=NOW)

    assert (taken.missing_count, taken.missing) == (1, (home.blob,))
    assert verify(tmp_path / "a.tar").files == taken.files


@pytest.mark.parametrize("name", ["a.tar", "home/a.tar", "a.tar.bz2", "home/new"])
def test_a_backup_replaces_nothing_and_stays_out_of_the_home(
    home: Home, tmp_path: Path, name: str
) -> None:
    (tmp_path / "a.tar").write_text("precious")

    with pytest.raises(InvalidInput):
        take(home.wanted(), tmp_path / name, now=NOW)

    assert (tmp_path / "a.tar").read_text() == "precious"


def test_of_two_backups_one_waits_and_then_gives_up(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "BACKUP_HOLD_WAIT_S", 0.05)

    with held(home.path), pytest.raises(Unavailable, match="A backup"):
        take(home.wanted(), tmp_path / "a.tar", now=NOW)

    assert list(tmp_path.iterdir()) == [home.path]


def test_what_the_operator_put_on_other_disks_is_copied(home: Home, tmp_path: Path) -> None:
    before = described(home.path)
    repository = home.repository.relative_to(home.path)
    loose = next((home.repository / "objects").glob("??")).relative_to(home.path)
    moved = (
        *("blobs", f"blobs/{home.blob[:2]}", f"blobs/{home.blob[:2]}/{home.blob}"),
        *("builds/one", "envs/done", "logs/builds", "usage", "usage/a.journal", "secrets"),
        *("secrets/sealing.json", "logs/audit-checkpoints.jsonl", "something"),
        *(repository.parent, repository, repository / "HEAD", repository / "refs"),
        *(repository / "objects", loose),
    )
    (tmp_path / "disk").mkdir()
    for number, name in enumerate(reversed(list(map(str, moved)))):
        (home.path / name).rename(tmp_path / "disk" / str(number))
        (home.path / name).symlink_to(tmp_path / "disk" / str(number))

    assert take(home.wanted(), tmp_path / "a.tar", now=NOW).missing == ()
    place = restored(tmp_path / "a.tar", tmp_path / "elsewhere")

    assert kept(described(place)) == kept(before)
    assert git("-C", place / repository, "rev-parse", "master").strip() == home.commits[-1]


def test_links_in_a_circle_or_to_nowhere_stay_links(home: Home, tmp_path: Path) -> None:
    there = home.path / "something"
    (tmp_path / "disk").mkdir()
    links = {
        "self": "self",
        "up": str(home.path),
        "gone": "/nowhere/at/all",
        "disk/back": str(there),
    }
    (there / "disk").symlink_to(tmp_path / "disk")
    for name, target in links.items():
        (there / name).symlink_to(target)
    (home.repository / "refs" / "up").symlink_to("..")

    take(home.wanted(), tmp_path / "a.tar", now=NOW)
    place = restored(tmp_path / "a.tar", tmp_path / "elsewhere")

    for name in ("self", "up", "gone"):
        assert os.readlink(place / "something" / name) == links[name]
    assert (place / "something" / "disk").is_dir()
    repository = place / home.repository.relative_to(home.path)
    assert os.readlink(repository / "refs" / "up") == ".."


def test_links_of_authors_are_never_followed(home: Home, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "file").write_text("not theirs")
    for where in ("builds/one/stolen", "envs/done/stolen"):
        (home.path / where).symlink_to(tmp_path / "private")

    take(home.wanted(), tmp_path / "a.tar", now=NOW)
    place = restored(tmp_path / "a.tar", tmp_path / "elsewhere")

    for where in ("builds/one/stolen", "envs/done/stolen"):
        assert os.readlink(place / where) == str(tmp_path / "private")


def rooms(directory: Path) -> list[Path]:
    """Return where backups in a directory have what is not complete."""
    return [path for path in directory.iterdir() if path.name.startswith(".")]


KILLED = """
import sys, datetime, pathlib
from algorium_server.backup.taking import Wanted, take

def stop(files, size):
    if files == 5:
        print("copying", flush=True)
        sys.stdin.read()

home, target, url = sys.argv[1:]
wanted = Wanted(home=pathlib.Path(home), database_url=url)
take(wanted, pathlib.Path(target), now=datetime.datetime.now(datetime.UTC), on_progress=stop)
"""


@pytest.mark.slow
def test_a_backup_that_is_killed_holds_nothing_up_and_leaves_no_backup(
    home: Home, tmp_path: Path
) -> None:
    target = tmp_path / "a.tar"
    command = [sys.executable, "-c", KILLED, home.path, target, home.url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "copying\n"
        assert is_held(home.path / "blobs")
        process.send_signal(signal.SIGKILL)
        process.wait(60)

    assert not is_held(home.path / "blobs")
    assert not target.exists()
    assert len(rooms(tmp_path)) == 2
    with room_beside(tmp_path) as beside:
        # What was left is removed already, but not what somebody is at.
        assert rooms(tmp_path) == [beside]
        assert take(home.wanted(), target, now=NOW).files > 5
        assert rooms(tmp_path) == [beside]
    assert rooms(tmp_path) == []


def test_uploads_under_way_do_not_stand_in_the_way(home: Home, tmp_path: Path) -> None:
    # One thread adds blobs while they are being copied.
    stopping = threading.Event()

    def write() -> None:
        number = 0
        while not stopping.is_set():
            number += 1
            shard = home.path / "blobs" / f"{number % 256:02x}"
            shard.mkdir(exist_ok=True)
            (shard / f"{number:032x}").write_bytes(os.urandom(100))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        take(home.wanted(), tmp_path / "a.tar", now=NOW)
    finally:
        stopping.set()
        writer.join()

    assert verify(tmp_path / "a.tar").bytes
