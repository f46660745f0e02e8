"""Whole directories up, down and across, and kept alike."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standin import Directory, Fault, StandIn

import algorium
from algorium import Progress, SyncReport, _downloads, _uploads
from algorium._trees import TreeFile, is_surely_same

MODIFIED_S = 1584550833.0
"""When the stand-in says that every file was written."""


@pytest.fixture(autouse=True)
def photos(stand_in: StandIn) -> dict[str, bytes]:
    directory = Directory(read=[])
    stand_in.directories["photos"] = directory
    return directory.files


@pytest.fixture
def local(tmp_path: Path) -> Path:
    root = tmp_path / "local"
    root.mkdir()
    for number in range(7):
        (root / f"{number}.txt").write_text(f"file {number}")
    return root


def make_older(root: Path) -> None:
    for path in root.rglob("*"):
        os.utime(path, (MODIFIED_S - 5, MODIFIED_S - 5))


def texts(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def puts(stand_in: StandIn) -> list[str]:
    return sorted(r.path.rpartition("/")[2] for r in stand_in.requests if r.method == "PUT")


def test_a_directory_goes_up_and_comes_back(
    client: Any, stand_in: StandIn, local: Path, tmp_path: Path
) -> None:
    seen: list[Progress] = []

    report = client.dir("data://.my/new").upload_dir(local, on_progress=seen.append)

    assert stand_in.directories["new"].files == texts(local)
    assert report == SyncReport(
        copied=tuple(sorted(texts(local))), copied_bytes=sum(map(len, texts(local).values()))
    )
    assert (seen[-1].files_done, seen[-1].files_total) == (7, 7)
    assert seen[-1].bytes_done == seen[-1].bytes_total == report.copied_bytes

    back = tmp_path / "deep" / "back"
    client.dir("data://.my/new").download_dir(back)
    assert texts(back) == texts(local)
    assert {path.stat().st_mtime for path in back.iterdir()} == {MODIFIED_S}


def test_large_files_of_a_directory_go_in_parts(
    client: Any, stand_in: StandIn, local: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_uploads, "UPLOAD_PART_BYTES", 1000)
    monkeypatch.setattr(_downloads, "DOWNLOAD_PART_BYTES", 1000)
    for number in range(4):
        (local / f"large{number}").write_bytes(os.urandom(5500))
    seen: list[Progress] = []

    client.dir("data://.my/new").upload_dir(local, parallel=3, on_progress=seen.append)
    client.dir("data://.my/new").download_dir(tmp_path / "back", parallel=3)

    assert texts(tmp_path / "back") == texts(local)
    assert seen[-1].bytes_done == seen[-1].bytes_total


def test_directories_of_directories_are_collections(
    client: Any, stand_in: StandIn, local: Path, tmp_path: Path
) -> None:
    (local / "a").mkdir()
    (local / "empty").mkdir()
    (local / "a" / "x").write_text("x")
    for path in local.glob("*.txt"):
        path.rename(local / "a" / path.name)
    stand_in.directories.clear()

    client.dir("data://.my").upload_dir(local)

    assert stand_in.directories["a"].files == texts(local / "a")
    assert stand_in.directories["empty"].files == {}
    client.dir("data://.my").download_dir(tmp_path / "back")
    assert texts(tmp_path / "back") == texts(local)
    assert (tmp_path / "back" / "empty").is_dir()


def test_too_deep_is_refused_before_anything_is_sent(
    client: Any, stand_in: StandIn, local: Path
) -> None:
    (local / "a" / "b").mkdir(parents=True)

    with pytest.raises(algorium.InvalidInput, match="no directories"):
        client.dir("data://.my/photos").upload_dir(local)

    assert puts(stand_in) == []


def test_only_what_is_new_or_different_goes_up(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    make_older(local)
    photos.update(texts(local))
    photos["1.txt"] = b"longer than before"
    photos["more"] = b"more"
    (local / "2.txt").write_text("FILE 2")  # as long as before, and newer than what is there
    (local / "3.txt").touch()

    planned = client.dir("data://.my/photos").sync_from(local, delete=True, dry_run=True)
    assert puts(stand_in) == []
    assert "more" in photos
    done = client.dir("data://.my/photos").sync_from(local, delete=True)

    assert planned == done
    assert done.copied == ("1.txt", "2.txt")
    assert (done.deleted, done.unchanged_count) == (("more",), 5)
    assert photos == texts(local)
    assert puts(stand_in) == ["1.txt", "2.txt"]


def test_nothing_is_deleted_unasked(client: Any, photos: dict[str, bytes], local: Path) -> None:
    photos["more"] = b"more"

    report = client.dir("data://.my/photos").sync_from(local)

    assert report.deleted == ()
    assert photos["more"] == b"more"


def test_checksums_find_what_times_hide(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    photos.update(texts(local))
    photos["1.txt"] = b"FILE 1"
    make_older(local)
    directory = client.dir("data://.my/photos")

    assert directory.sync_from(local).copied == ()
    assert directory.sync_from(local, checksum=True).copied == ("1.txt",)


def test_only_what_is_new_or_different_comes_down(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    photos.update(texts(local))
    directory = client.dir("data://.my/photos")
    directory.sync_to(local)
    photos["1.txt"] = b"FILE 1 is longer"
    photos["new"] = b"new"
    del photos["2.txt"]
    (local / "3.txt").write_text("EDIT 3")
    (local / "gone").mkdir()
    (local / "gone" / "x").write_text("x")
    stand_in.requests.clear()

    planned = directory.sync_to(local, delete=True, dry_run=True)
    done = directory.sync_to(local, delete=True)

    assert planned == done
    assert done.copied == ("1.txt", "3.txt", "new")
    assert done.deleted == ("2.txt", "gone", "gone/x")
    assert texts(local) == photos
    assert not (local / "gone").exists()


def test_directories_on_the_server_are_kept_alike(
    client: Any, stand_in: StandIn, photos: dict[str, bytes]
) -> None:
    photos.update({"a": b"a", "b": b"b"})
    stand_in.directories["copy"] = Directory(read=[], files={"b": b"B", "c": b"c"})

    report = client.dir("data://.my/copy").sync_from(client.dir("data://.my/photos"), delete=True)

    assert stand_in.directories["copy"].files == photos
    assert (report.copied, report.deleted) == (("a", "b"), ("c",))


def test_a_missing_source_deletes_nothing(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path, tmp_path: Path
) -> None:
    photos["a"] = b"a"

    with pytest.raises(FileNotFoundError):
        client.dir("data://.my/photos").sync_from(tmp_path / "missing", delete=True)
    with pytest.raises(algorium.PathNotFound):
        client.dir("data://.my/missing").sync_to(local, delete=True)

    assert photos == {"a": b"a"}
    assert len(texts(local)) == 7


def test_the_first_error_ends_it_and_is_raised(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    stand_in.faults.append(Fault(status=507, when=lambda r: r.path.endswith("/3.txt")))

    with pytest.raises(algorium.OutOfSpace):
        client.dir("data://.my/photos").sync_from(local, parallel=2)
    client.dir("data://.my/photos").sync_from(local)

    assert photos == texts(local)


def test_a_file_is_no_directory(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    photos["clash"] = b"a file"
    (local / "clash").mkdir()

    with pytest.raises(algorium.AlreadyExists, match="clash"):
        client.dir("data://.my/photos").sync_to(local)


def test_only_regular_files_go_up(
    client: Any, photos: dict[str, bytes], local: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (local / "link").symlink_to(local / "0.txt")
    (local / "nowhere").symlink_to(local / "missing")
    os.mkfifo(local / "pipe")
    (local / ".x.0123456789ab.part").write_text("half a download")
    (local / "directory-link").symlink_to(outside)

    client.dir("data://.my/photos").upload_dir(local)

    assert sorted(photos) == [*(f"{number}.txt" for number in range(7)), "link"]


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../escape"])
def test_no_name_leads_out_of_the_directory(
    client: Any, stand_in: StandIn, tmp_path: Path, name: str
) -> None:
    listing = f'{{"folders":[],"files":[{{"filename":"{name}","size":1,"last_modified":""}}]}}'
    stand_in.faults.append(
        Fault(
            status=200,
            headers={"Content-Type": "application/json"},
            body=listing.replace('""', '"2020-03-18T17:00:33.000Z"').encode(),
        )
    )

    with pytest.raises(algorium.UnexpectedResponse):
        client.dir("data://.my/photos").download_dir(tmp_path / "into")


def test_names_that_are_no_text_are_told(client: Any, local: Path) -> None:
    (local / os.fsdecode(b"\xff")).write_text("x")

    with pytest.raises(algorium.InvalidInput, match="UTF-8"):
        client.dir("data://.my/photos").upload_dir(local)


def test_a_clock_that_is_ahead_hides_no_changes(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    stand_in.clock_ahead_s = 3600.0
    photos.update(texts(local))
    (local / "3.txt").write_text("EDIT 3")
    for path in local.iterdir():  # half an hour before it was stored there, as that server tells
        os.utime(path, (MODIFIED_S - 1800, MODIFIED_S - 1800))

    assert client.dir("data://.my/photos").sync_from(local).copied == ("3.txt",)


def cases() -> Iterator[tuple[float | None, float | None, bool, bool]]:
    yield 10.0, 20.0, False, True  # not changed since it was stored
    yield 20.5, 20.0, False, False  # within the same second: who knows
    yield 30.0, 20.0, False, False
    yield None, 20.0, False, False
    yield 20.0, 20.0, True, True
    yield 20.0, 20.7, True, False  # changed within the second in which it was downloaded
    yield 20.0, 10.0, True, False
    yield 20.0, 30.0, True, False


@pytest.mark.parametrize(("source_s", "target_s", "is_download", "expected"), list(cases()))
def test_times_tell_what_is_surely_the_same(
    source_s: float | None, target_s: float | None, is_download: bool, expected: bool
) -> None:
    source = TreeFile(size_bytes=1, modified_s=source_s)
    target = TreeFile(size_bytes=1, modified_s=target_s)

    assert is_surely_same(source, target, is_download=is_download) is expected
    longer = TreeFile(size_bytes=2, modified_s=target_s)
    assert not is_surely_same(source, longer, is_download=is_download)
