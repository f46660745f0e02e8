"""Files through fsspec, as pandas and others open them."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from standin import KEY, Directory, StandIn

import algorium

fsspec = pytest.importorskip("fsspec", reason="pip install 'algorium[fsspec]'")


@pytest.fixture(autouse=True)
def photos(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    monkeypatch.setenv("ALGORITHMIA_API", stand_in.address)
    monkeypatch.setenv("ALGORITHMIA_API_KEY", KEY)
    directory = Directory(read=[])
    stand_in.directories["photos"] = directory
    return directory.files


@pytest.fixture
def fs() -> Iterator[Any]:
    # Instances are kept by their arguments; each test has a server of its own.
    yield fsspec.filesystem("algorium")
    fsspec.get_filesystem_class("algorium").clear_instance_cache()


def test_nothing_has_to_be_imported(stand_in: StandIn, photos: dict[str, bytes]) -> None:
    photos["people.csv"] = b"name,age\nAda,36\nGrace,85\n"
    program = """
import fsspec
with fsspec.open("data://.my/photos/people.csv", "rt") as file:
    assert file.readline() == "name,age\\n"
with fsspec.open("data://.my/photos/new.txt", "wt") as file:
    file.write("new")
with fsspec.open("data:text/plain,hello%20there") as file:
    assert file.read() == b"hello there"
assert fsspec.open("data:text/plain;base64,aGVsbG8=").open().read() == b"hello"
"""

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert photos["new.txt"] == b"new"


def test_pandas_reads_and_writes_tables(
    fs: Any, photos: dict[str, bytes], stand_in: StandIn
) -> None:
    pandas = pytest.importorskip("pandas")
    photos["people.csv"] = b"name,age\nAda,36\nGrace,85\n"
    options = {"api_key": KEY, "api_address": stand_in.address}

    table = pandas.read_csv("data://.my/photos/people.csv", storage_options=options)
    assert list(table["age"]) == [36, 85]
    table.to_csv("data://.my/photos/copy.csv", index=False, storage_options=options)
    assert photos["copy.csv"] == photos["people.csv"]
    again = pandas.read_csv("algorium://.my/photos/copy.csv", storage_options=options)
    assert again.equals(table)


@pytest.mark.parametrize(
    ("text", "path", "uri"),
    [
        ("data://.my/photos/a.jpg", ".my/photos/a.jpg", "data://.my/photos/a.jpg"),
        ("algorium://.my/photos/", ".my/photos", "data://.my/photos"),
        ("algorium://data://ada/x", "ada/x", "data://ada/x"),
        ("algorium://s3+old://b/k/x", "s3+old://b/k/x", "algorium://s3+old://b/k/x"),
        ("s3+old://", "s3+old://", "algorium://s3+old://"),
        ("data://", "", "data://"),
        ("data:,a//b", "data:,a//b", "data:,a//b"),
    ],
)
def test_paths_and_uris_lead_to_each_other(fs: Any, text: str, path: str, uri: str) -> None:
    assert fs._strip_protocol(text) == path
    assert fs.unstrip_protocol(path) == uri
    assert fs._strip_protocol(uri) == path


def test_parents_stay_in_their_source(fs: Any) -> None:
    assert fs._parent("s3+old://b/k") == "s3+old://b"
    assert fs._parent("s3+old://b") == "s3+old://"
    assert fs._parent(".my/photos") == ".my"
    assert fs._parent(".my") == ""


def test_directories_are_looked_at(fs: Any, photos: dict[str, bytes]) -> None:
    photos.update({f"{number}.txt": b"x" * number for number in range(5)})

    assert fs.ls("data://.my/photos", detail=False) == [f".my/photos/{n}.txt" for n in range(5)]
    assert fs.ls("data://.my/photos/3.txt")[0]["size"] == 3
    assert fs.glob("data://.my/photos/[12].txt") == [".my/photos/1.txt", ".my/photos/2.txt"]
    assert fs.find("data://.my") == [f".my/photos/{n}.txt" for n in range(5)]
    assert fs.du("data://.my/photos") == 10
    assert fs.isdir("data://.my/photos")
    assert fs.isfile("data://.my/photos/1.txt")
    assert not fs.exists("data://.my/photos/9.txt")
    assert fs.modified("data://.my/photos/1.txt").year == 2020
    with pytest.raises(FileNotFoundError):
        fs.ls("data://.my/missing")
    with pytest.raises(FileNotFoundError):
        fs.info("data://.my/photos/9.txt")
    with pytest.raises(algorium.NotAuthenticated):
        fsspec.filesystem("data", api_key="wrong").exists("data://.my/photos")


def test_files_are_read_anywhere(fs: Any, photos: dict[str, bytes], stand_in: StandIn) -> None:
    photos["a"] = bytes(range(256)) * 100

    with fs.open("data://.my/photos/a", block_size=1000, cache_type="none") as file:
        file.seek(-10, os.SEEK_END)
        assert file.read() == photos["a"][-10:]
        file.seek(5)
        assert file.read(7) == photos["a"][5:12]
    assert all("range" in r.headers for r in stand_in.requests if r.method == "GET")
    assert fs.cat_file("data://.my/photos/a", start=-4, end=-2) == photos["a"][-4:-2]
    assert fs.cat_file("data://.my/photos/a", start=9, end=9) == b""
    assert fs.head("data://.my/photos/a", 3) == photos["a"][:3]
    assert fs.cat(["data://.my/photos/a"]) == {".my/photos/a": photos["a"]}


def test_an_open_file_does_not_become_another(fs: Any, photos: dict[str, bytes]) -> None:
    photos["a"] = b"a" * 3000

    with fs.open("data://.my/photos/a", block_size=1000, cache_type="none") as file:
        assert file.read(1000) == b"a" * 1000
        photos["a"] = b"b" * 3000
        with pytest.raises(OSError, match="has changed"):
            file.read(1000)


def test_files_are_written_whole_or_not_at_all(fs: Any, photos: dict[str, bytes]) -> None:
    with fs.open("data://.my/photos/a", "wb") as file:
        file.write(b"one ")
        assert "a" not in photos
        file.write(b"two")
    assert photos["a"] == b"one two"
    with fs.open("data://.my/photos/a", "ab") as file:
        file.write(b" three")
    assert photos["a"] == b"one two three"
    with suppress(RuntimeError), fs.open("data://.my/photos/a", "wb") as file:
        file.write(b"half")
        raise RuntimeError
    forgotten = fs.open("data://.my/photos/a", "wb")
    forgotten.write(b"never closed")
    del forgotten
    with pytest.raises(FileExistsError), fs.open("data://.my/photos/a", "xb") as file:
        file.write(b"new")
    assert photos == {"a": b"one two three"}


def test_transactions_write_at_their_end(fs: Any, photos: dict[str, bytes]) -> None:
    with fs.transaction:
        with fs.open("data://.my/photos/a", "wb") as file:
            file.write(b"a")
        assert photos == {}
    assert photos == {"a": b"a"}
    with suppress(RuntimeError), fs.transaction:
        with fs.open("data://.my/photos/b", "wb") as file:
            file.write(b"b")
        raise RuntimeError
    assert photos == {"a": b"a"}


def test_files_are_copied_moved_and_deleted(
    fs: Any, photos: dict[str, bytes], stand_in: StandIn
) -> None:
    fs.pipe("data://.my/photos/a", b"a")
    fs.cp("data://.my/photos/a", "data://.my/photos/b")
    fs.mv("data://.my/photos/b", "data://.my/photos/c")
    assert photos == {"a": b"a", "c": b"a"}
    fs.rm("data://.my/photos/a")
    assert photos == {"c": b"a"}
    fs.touch("data://.my/photos/empty")
    assert photos["empty"] == b""
    fs.makedirs("data://.my/new", exist_ok=True)
    fs.makedirs("data://.my/new", exist_ok=True)
    fs.makedirs("data://.my", exist_ok=True)
    with pytest.raises(FileExistsError):
        fs.mkdir("data://.my/new")
    fs.rmdir("data://.my/new")
    fs.rm("data://.my/pho*", recursive=True)
    assert stand_in.directories == {}


def test_directories_go_up_and_down(
    fs: Any, photos: dict[str, bytes], stand_in: StandIn, tmp_path: Path
) -> None:
    local = tmp_path / "local"
    local.mkdir()
    (local / "a").write_bytes(b"a")
    (local / "b").write_bytes(b"b" * 100)
    callback = fsspec.callbacks.Callback()

    fs.put(f"{local}/", "data://.my/album", recursive=True)
    assert stand_in.directories["album"].files == {"a": b"a", "b": b"b" * 100}
    fs.get("data://.my/album/", str(tmp_path / "back"), recursive=True)
    assert (tmp_path / "back" / "b").read_bytes() == b"b" * 100
    fs.get_file("data://.my/album/b", str(tmp_path / "one"), callback=callback)
    assert (callback.size, callback.value) == (100, 100)


def test_file_systems_travel_between_processes(fs: Any, photos: dict[str, bytes]) -> None:
    photos["a"] = b"a"

    copy = pickle.loads(pickle.dumps(fs))

    assert copy.cat("data://.my/photos/a") == b"a"
    file = fsspec.open("data://.my/photos/a")
    with pickle.loads(pickle.dumps(file)) as opened:
        assert opened.read() == b"a"
