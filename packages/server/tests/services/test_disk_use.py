"""What a job adds to a disk: counted by its own files, whatever they pretend."""

import os

import pytest

from algorium_server.services.authoring.disk_use import DiskUse

KIB = 1024


@pytest.fixture
def use(tmp_path):
    (tmp_path / "before").write_bytes(os.urandom(512 * KIB))
    os.utime(tmp_path / "before", (1, 1))
    return _begun_later(tmp_path)


def _begun_later(directory, **limits):
    """Watch from a moment at which everything that is there is old."""
    use = DiskUse([directory], **{"bytes_max": 256 * KIB, "files_max": 10, **limits})
    newest = max((path.lstat().st_ctime_ns for path in directory.rglob("*")), default=0)
    use._began_ns = newest + 1
    probe = directory.parent / f"{directory.name}.probe"
    while True:  # until the coarse clock of the file system has moved on
        probe.touch()
        if probe.stat().st_ctime_ns > newest:
            return use


def test_what_was_there_does_not_count(use):
    assert not use.is_over()


def test_new_bytes_count(use, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a").write_bytes(os.urandom(300 * KIB))

    assert use.is_over()


def test_a_forged_time_does_not_help(use, tmp_path):
    (tmp_path / "a").write_bytes(os.urandom(300 * KIB))
    os.utime(tmp_path / "a", (1, 1))

    assert use.is_over()


def test_new_files_count(use, tmp_path):
    for number in range(11):
        (tmp_path / f"new{number}").touch()

    assert use.is_over()


def test_a_file_with_two_names_counts_once(use, tmp_path):
    (tmp_path / "a").write_bytes(os.urandom(200 * KIB))
    os.link(tmp_path / "a", tmp_path / "b")

    assert not use.is_over()


def test_holes_take_no_room(use, tmp_path):
    with open(tmp_path / "a", "wb") as file:
        file.truncate(10**9)

    assert not use.is_over()


def test_links_are_not_followed(use, tmp_path):
    (tmp_path / "up").symlink_to("/")

    assert not use.is_over()


def test_only_a_disk_that_shrank_calls_for_a_look(use, tmp_path, monkeypatch):
    assert not use.may_be_over()
    room = [(bytes_, files) for bytes_, files in use._room]
    monkeypatch.setattr(
        use, "_rooms", lambda: [(bytes_ - 257 * KIB, files) for bytes_, files in room]
    )

    assert use.may_be_over()
    assert not use.is_over()
    assert not use.may_be_over(), "it was somebody else, so only more of it calls again"


def test_what_was_unpacked_goes_and_the_rest_stays(tmp_path):
    for name in (".tmpOld", "cache/archive-v0/old"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "cache/archive-v0/old/x").write_bytes(os.urandom(64 * KIB))
    (tmp_path / "cache/wheels-v8/index").mkdir(parents=True)
    (tmp_path / "cache/wheels-v8/index/old").touch()
    use = _begun_later(tmp_path)
    (tmp_path / "cache/wheels-v8/index/new").touch()
    for name in ("large", "small"):
        (tmp_path / "cache/archive-v0" / name).mkdir()
    (tmp_path / "cache/archive-v0/large/x").write_bytes(os.urandom(64 * KIB))
    (tmp_path / "cache/sdists-v9/a/b/src").mkdir(parents=True)
    (tmp_path / "cache/sdists-v9/a/b/src/x").write_bytes(os.urandom(64 * KIB))
    (tmp_path / "cache/.tmpNew/deep").mkdir(parents=True)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/x").write_bytes(os.urandom(64 * KIB))

    use.remove_excess()

    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    expected = {".tmpOld", "cache", "cache/archive-v0", "cache/archive-v0/old"}
    expected |= {"cache/archive-v0/old/x", "cache/archive-v0/small", "cache/sdists-v9"}
    expected |= {"cache/wheels-v8", "cache/wheels-v8/index", "cache/wheels-v8/index/old"}
    expected |= {"cache/sdists-v9/a", "cache/sdists-v9/a/b", "src", "src/x"}
    assert left == expected
