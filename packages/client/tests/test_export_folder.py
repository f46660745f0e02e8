"""What `algo export` writes is read back as it was, or refused."""

import json
from pathlib import Path

import pytest

from algorium._cli.export_folder import Manifest, begin, digests, read, verify, write
from algorium._cli.program import Failed, UsageError

SERVER = "http://127.0.0.1:1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with one collection of two files."""
    root = tmp_path / "export"
    begin(root, server=SERVER, account="ada")
    place = root / "data" / "photos"
    place.mkdir(parents=True)
    (place / "a").write_bytes(b"A")
    (place / "ü b").write_bytes(b"")
    files = digests(root, [place])
    collections = {"photos": ("user://*",)}
    write(
        root,
        Manifest(
            server=SERVER, account="ada", is_complete=True, collections=collections, files=files
        ),
    )
    return root


def test_a_folder_is_read_back(folder: Path) -> None:
    manifest = read(folder)
    verify(folder, manifest)

    assert manifest.is_complete
    assert list(manifest.files) == ["data/photos/a", "data/photos/ü b"]
    assert manifest.files["data/photos/ü b"][0] == 0
    assert not list(folder.glob("*.part"))


def test_a_folder_that_is_written_again_is_incomplete_until_it_is_done(folder: Path) -> None:
    begin(folder, server=SERVER, account="ada")

    assert not read(folder).is_complete


@pytest.mark.parametrize(
    ("name", "content", "refusal"),
    [
        ("a", b"B", "a is not what was exported"),
        ("a", b"", "a is not what was exported"),
        ("a", None, "a is missing"),
        ("c", b"C", "c is not part of the export"),
    ],
    ids=["changed", "cut", "missing", "more"],
)
def test_what_does_not_fit_is_named(
    folder: Path, name: str, content: bytes | None, refusal: str
) -> None:
    path = folder / "data" / "photos" / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)

    with pytest.raises(Failed, match=f"data/photos/{refusal}"):
        verify(folder, read(folder))


@pytest.mark.parametrize("place", ["data", "data/photos", "data/photos/a"])
def test_links_are_not_followed(folder: Path, tmp_path: Path, place: str) -> None:
    (folder / place).rename(tmp_path / "elsewhere")
    (folder / place).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(Failed, match=r"leads somewhere else|neither a file nor a directory"):
        verify(folder, read(folder))


@pytest.mark.parametrize("place", ["data", "data/lost"])
def test_links_that_lead_nowhere_are_not_taken_for_nothing(folder: Path, place: str) -> None:
    (folder / "data").rename(folder / "moved")
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).symlink_to("nowhere")

    with pytest.raises(Failed, match="lost leads somewhere else"):
        verify(folder, Manifest(server=SERVER, account="ada", collections={"lost": ()}))


def test_a_file_in_the_place_of_a_collection_is_refused(folder: Path) -> None:
    (folder / "data" / "flat").write_bytes(b"")

    with pytest.raises(Failed, match="flat is no directory"):
        verify(folder, Manifest(server=SERVER, account="ada", collections={"flat": ()}))


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"../a": {"bytes": 1, "sha256": "x"}}},
        {"files": {"data/photos/a": {}}},
        {"files": {"data/photos/a": {"bytes": float("inf"), "sha256": "x"}}},
        {"files": {"data/photos/a": {"bytes": -1, "sha256": "x"}}},
        {"files": []},
        {"collections": {"photos": None}},
        {"algorithms": 1},
        {"format": "zip"},
        {"format_version": 2},
    ],
    ids=[
        "outside",
        "no-size",
        "infinite",
        "negative",
        "list",
        "no-readers",
        "number",
        "zip",
        "newer",
    ],
)
def test_a_damaged_manifest_is_refused(folder: Path, change: dict[str, object]) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))

    with pytest.raises(UsageError, match=r"manifest\.json is"):
        read(folder)


@pytest.mark.parametrize(
    "name",
    ["..", ".", "", "a/b", "a\\b", "a\0b", "\udc80", "é" * 128],
    ids=["up", "here", "empty", "slash", "backslash", "zero", "half", "long"],
)
def test_no_name_is_more_than_one_in_the_folder(folder: Path, name: str) -> None:
    with pytest.raises(Failed, match="cannot be the name"):
        verify(folder, Manifest(server=SERVER, account="ada", collections={name: ()}))
