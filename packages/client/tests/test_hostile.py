"""Servers that mean no good, and local places that are not what they seem."""

import errno
import gzip
import io
import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from standin import KEY, Directory, Fault, StandIn
from standin_data import Upload, md5

import algorium
from algorium import SyncReport, _downloads, _trees, _uploads

JSON = {"Content-Type": "application/json", "X-Data-Type": "directory"}
A_FILE = {"ETag": '"x"', "X-Data-Type": "file"}
PART = 1000


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_uploads, "UPLOAD_PART_BYTES", PART)
    monkeypatch.setattr(_downloads, "DOWNLOAD_PART_BYTES", PART)


@pytest.fixture(autouse=True)
def photos(stand_in: StandIn) -> dict[str, bytes]:
    directory = Directory(read=[])
    stand_in.directories["photos"] = directory
    return directory.files


def page(**listing: Any) -> Fault:
    return Fault(status=200, headers=JSON, body=json.dumps(listing).encode())


def test_a_listing_that_goes_round_in_circles_is_given_up(
    client: Any, stand_in: StandIn, tmp_path: Path
) -> None:
    circle = [page(folders=[], files=[], marker=marker) for marker in "abab"]

    stand_in.faults.extend(circle)
    with pytest.raises(algorium.UnexpectedResponse, match="advance"):
        list(client.dir("data://.my/photos").list())
    stand_in.faults.clear()
    stand_in.faults.extend(circle)
    with pytest.raises(algorium.UnexpectedResponse, match="advance"):
        client.dir("data://.my/photos").download_dir(tmp_path / "into")


def test_directories_without_end_are_given_up(
    client: Any, stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_trees, "_DEPTH_MAX", 20)
    stand_in.faults.extend([page(folders=[{"name": "deeper"}], files=[])] * 100)

    with pytest.raises(algorium.UnexpectedResponse, match="deep"):
        client.dir("data://.my/photos").download_dir(tmp_path / "into")


@pytest.mark.parametrize("name", ["\ud800", "a\0b"])
def test_a_listing_with_names_that_are_none_is_not_believed(
    client: Any, stand_in: StandIn, name: str
) -> None:
    stand_in.faults.append(page(folders=[{"name": name}], files=[]))

    with pytest.raises(algorium.UnexpectedResponse):
        list(client.dir("data://.my/photos").list())


def test_a_file_that_claims_any_size_takes_no_memory(
    client: Any, stand_in: StandIn, tmp_path: Path
) -> None:
    headers = {**A_FILE, "Content-Range": f"bytes 0-{PART - 1}/9999999999999999999"}
    stand_in.faults.append(Fault(status=206, headers=headers, body=bytes(PART)))

    with pytest.raises((algorium.AlgoriumError, OSError)):
        client.file("data://.my/photos/a").get_file(tmp_path / "b")

    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("last", [3, 20])
def test_a_part_that_is_shorter_or_longer_than_asked_for_is_not_believed(
    client: Any, stand_in: StandIn, last: int
) -> None:
    headers = {**A_FILE, "Content-Range": f"bytes 1-{last}/100"}
    stand_in.faults.extend([Fault(status=206, headers=headers, body=bytes(last))] * 2)
    file = client.file("data://.my/photos/a")

    with pytest.raises(algorium.UnexpectedResponse):
        file.read(start=1, end=11)
    with pytest.raises(algorium.UnexpectedResponse), file.get(start=1, end=11) as reader:
        reader.read()


@pytest.mark.parametrize("size_bytes", [9, 11])
def test_a_part_must_be_as_long_as_it_says(client: Any, stand_in: StandIn, size_bytes: int) -> None:
    headers = {**A_FILE, "Content-Range": "bytes 1-10/100"}
    stand_in.faults.extend([Fault(status=206, headers=headers, body=bytes(size_bytes))] * 2)
    file = client.file("data://.my/photos/a")

    with pytest.raises(algorium.ContentMismatch):
        file.read(start=1, end=11)
    with pytest.raises(algorium.ContentMismatch), file.get(start=1, end=11) as reader:
        reader.read()


def test_nothing_is_unpacked(client: Any, stand_in: StandIn, tmp_path: Path) -> None:
    bomb = Fault(status=200, headers={"Content-Encoding": "gzip"}, body=gzip.compress(bytes(10**6)))
    stand_in.faults.extend([bomb] * 3)
    file = client.file("data://.my/photos/a")

    for transfer in (client.dir().exists, file.read, lambda: file.get_file(tmp_path / "b")):
        with pytest.raises(algorium.UnexpectedResponse, match="compressed"):
            transfer()
    assert stand_in.last.headers["accept-encoding"] == "identity"


def test_an_answer_of_another_kind_is_no_crash(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(Fault(status=200, headers=JSON, body=b"[]"))

    client.file("data://.my/photos/a").delete()


def test_a_redirect_takes_no_key_along(client: Any, stand_in: StandIn, tmp_path: Path) -> None:
    other = StandIn()
    headers = {"Location": f"{other.address}/v1/connector/data/.my/photos/a"}
    stand_in.faults.extend([Fault(status=307, headers=headers)] * 3)
    file = client.file("data://.my/photos/a")

    for transfer in (lambda: file.put("x"), file.read, lambda: file.get_file(tmp_path / "b")):
        with pytest.raises(algorium.UnexpectedResponse, match="redirects"):
            transfer()

    assert other.requests == []
    other.close()


def test_parts_of_any_size_take_little_memory(
    client: Any,
    stand_in: StandIn,
    photos: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_uploads, "_HELD_BYTES_MAX", PART)
    content = os.urandom(5 * PART)
    (tmp_path / "large").write_bytes(content)
    # Another program began it, with larger parts.
    stand_in.uploads["upload1"] = Upload(
        upload_id="upload1",
        uri="data://.my/photos/a",
        part_bytes=3 * PART,
        size_bytes=len(content),
        conditions={},
        parts={2: content[3 * PART :]},
    )

    client.file("data://.my/photos/a").put_file(tmp_path / "large")

    assert photos["a"] == content
    sent = [request for request in stand_in.requests if "/parts/" in request.path]
    assert [len(request.body) for request in sent] == [3 * PART]


# Local places


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_what_is_no_regular_file_is_not_waited_for(client: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "fifo":
        os.mkfifo(path)
    else:
        os.mknod(path, 0o140600)

    with pytest.raises(OSError, match="no regular file"):
        client.file("data://.my/photos/a").put_file(path)


def test_links_in_circles_are_left_out(
    client: Any, photos: dict[str, bytes], tmp_path: Path
) -> None:
    root = tmp_path / "local"
    root.mkdir()
    (root / "a").write_text("a")
    (root / "self").symlink_to("self")
    (root / "up").symlink_to("..")

    client.dir("data://.my/photos").upload_dir(root)

    assert photos == {"a": b"a"}


def test_nothing_is_written_through_links_to_directories(
    client: Any, stand_in: StandIn, tmp_path: Path
) -> None:
    stand_in.directories["photos"].files["a"] = b"a"
    outside, into = tmp_path / "outside", tmp_path / "into"
    outside.mkdir()
    into.mkdir()
    (into / "photos").symlink_to(outside)

    for transfer in (client.dir("data://.my").download_dir, client.dir("data://.my").sync_to):
        with pytest.raises(algorium.AlreadyExists, match="photos"):
            transfer(into)

    assert list(outside.iterdir()) == []


def test_the_target_itself_may_be_a_link(
    client: Any, photos: dict[str, bytes], tmp_path: Path
) -> None:
    photos["a"] = b"a"
    (tmp_path / "real").mkdir()
    (tmp_path / "into").symlink_to(tmp_path / "real")

    client.dir("data://.my/photos").download_dir(tmp_path / "into")

    assert (tmp_path / "real" / "a").read_bytes() == b"a"


def test_files_go_to_and_come_from_names_that_are_no_text(
    client: Any, photos: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / os.fsdecode(b"\xff" * 200)
    photos["a"] = os.urandom(3 * PART)

    client.file("data://.my/photos/a").get_file(path)
    client.file("data://.my/photos/b").put_file(path)

    assert photos["b"] == photos["a"]
    with pytest.raises(algorium.wire.uris.UriSyntaxError, match="UTF-8"):
        client.file(f"data://.my/photos/{path.name}")


def test_a_file_that_grows_while_it_is_sent_is_sent_as_it_was(
    client: Any, photos: dict[str, bytes]
) -> None:
    class Growing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            piece = super().read(size)
            place = self.tell()
            self.seek(0, io.SEEK_END)
            self.write(b"more")
            self.seek(place)
            return piece

    client.file("data://.my/photos/a").put(Growing(b"as it was"))

    assert photos["a"] == b"as it was"


def test_an_open_file_that_shrinks_is_an_error(client: Any, photos: dict[str, bytes]) -> None:
    class Shrinking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            self.truncate(self.tell())
            return super().read(size)

    with pytest.raises(OSError, match="shorter"):
        client.file("data://.my/photos/a").put(Shrinking(b"as it was"))

    assert "a" not in photos


@pytest.mark.parametrize("size_bytes", [1, 3 * PART])
def test_a_private_file_stays_private(
    client: Any, photos: dict[str, bytes], tmp_path: Path, size_bytes: int
) -> None:
    photos["a"] = bytes(size_bytes)
    (tmp_path / "b").write_text("old")
    (tmp_path / "b").chmod(0o600)

    client.file("data://.my/photos/a").get_file(tmp_path / "b")

    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "b").read_bytes() == photos["a"]


def test_a_full_disk_leaves_the_old_file(
    client: Any, photos: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos["a"] = bytes(3 * PART)
    (tmp_path / "b").write_text("old")

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("algorium._landing._write", full)
        with pytest.raises(OSError, match="No space"):
            client.file("data://.my/photos/a").get_file(tmp_path / "b")

    assert (tmp_path / "b").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["b"]


# Deleting


def test_an_empty_directory_deletes_nothing_elsewhere(
    client: Any, photos: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "wrong").mkdir()
    photos["a"] = b"a"

    with pytest.raises(algorium.InvalidInput, match="empty"):
        client.dir("data://.my/photos").sync_from(tmp_path / "wrong", delete=True)
    assert photos == {"a": b"a"}

    photos.clear()
    assert client.dir("data://.my/photos").sync_from(tmp_path / "wrong", delete=True) == (
        SyncReport()
    )


def test_nobody_loses_a_home_by_a_wrong_target(
    client: Any, photos: dict[str, bytes], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos["a"] = b"a"
    (home / "precious").write_text("x")
    monkeypatch.chdir(home)

    for target in (home, home.parent, Path("/"), Path()):
        with pytest.raises(ValueError, match="delete"):
            client.dir("data://.my/photos").sync_to(target, delete=True, dry_run=True)


def test_a_directory_is_not_brought_into_itself_with_delete(client: Any) -> None:
    inner, outer = client.dir("s3://bucket/a/b"), client.dir("s3://bucket/a")

    with pytest.raises(ValueError, match="within"):
        outer.sync_from(inner.uri, delete=True)
    with pytest.raises(ValueError, match="within"):
        outer.move(inner.uri)


# Processes and threads


def test_errors_go_from_process_to_process(client: Any) -> None:
    errors: list[Exception] = []
    for wrong in ("nonsense://a", "data://.my/photos/missing"):
        with pytest.raises((algorium.AlgoriumError, ValueError)) as caught:
            client.file(wrong).read()
        errors.append(caught.value)

    for error in errors:
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_forks_do_not_get_the_answers_of_others(
    stand_in: StandIn, photos: dict[str, bytes]
) -> None:
    photos.update({name: name.encode() * 100 for name in "abcd"})
    with algorium.Algorium(KEY, api_address=stand_in.address) as client:
        client.file("data://.my/photos/a").read()
        connections = stand_in.connections
        client.file("data://.my/photos/a").read()
        assert stand_in.connections == connections, "it stays open, for this process alone"

        children = []
        for name in "bcd":
            if (child := os.fork()) == 0:
                is_right = False
                try:
                    file = client.file(f"data://.my/photos/{name}")
                    is_right = all(file.read() == photos[name] for _ in range(20))
                finally:
                    os._exit(not is_right)
            children.append(child)
        for _ in range(20):
            assert client.file("data://.my/photos/a").read() == photos["a"]

        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]


def test_who_writes_one_file_at_the_same_time_is_not_in_the_way(
    stand_in: StandIn, photos: dict[str, bytes]
) -> None:
    contents = [os.urandom(4 * PART) for _ in range(4)]
    with (
        algorium.Algorium(KEY, api_address=stand_in.address) as client,
        ThreadPoolExecutor(len(contents)) as pool,
    ):
        for _ in range(5):
            stored = list(pool.map(client.file("data://.my/photos/a").put, contents))
            assert [each.md5 for each in stored] == [md5(content) for content in contents]

    assert photos["a"] in contents
    assert [upload for upload in stand_in.uploads.values() if upload.result is None] == []


def test_large_bytes_go_in_parts(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], tmp_path: Path
) -> None:
    content = os.urandom(5 * PART + 1)

    stored = client.file("data://.my/photos/a").put(content)

    assert photos["a"] == content
    assert (stored.size_bytes, stored.md5) == (len(content), md5(content))
    sent = [request for request in stand_in.requests if "/parts/" in request.path]
    assert [len(request.body) for request in sent].count(PART) == 5


def test_large_bytes_go_in_one_piece_to_an_old_server(
    client: Any, stand_in: StandIn, photos: dict[str, bytes]
) -> None:
    stand_in.is_old = True

    client.file("data://.my/photos/a").put(bytes(5 * PART))

    assert photos["a"] == bytes(5 * PART)
