import io
import json
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standin import Directory, Fault, StandIn

import algorium
from algorium import DataAcl, ReadAcl


@pytest.fixture(autouse=True)
def photos(stand_in: StandIn) -> dict[str, bytes]:
    directory = Directory(read=[])
    stand_in.directories["photos"] = directory
    return directory.files


def test_a_directory_is_created_once(client: Any, stand_in: StandIn) -> None:
    directory = client.dir("data://.my/img_directory")

    assert not directory.exists()
    directory.create(DataAcl.from_read(ReadAcl.PUBLIC))
    assert directory.exists()
    assert stand_in.directories["img_directory"].read == ["user://*"]

    with pytest.raises(algorium.AlreadyExists):
        directory.create()
    directory.create(exist_ok=True)


def test_a_directory_without_acl_is_for_my_algorithms(client: Any, stand_in: StandIn) -> None:
    directory = client.dir("data://.my/plain")
    directory.create()

    assert "acl" not in json.loads(stand_in.last.body)
    assert directory.acl() == DataAcl(read=ReadAcl.MY_ALGORITHMS)


@pytest.mark.parametrize("acl", list(ReadAcl))
def test_access_lists_can_be_changed(client: Any, acl: ReadAcl) -> None:
    directory = client.dir("data://.my/photos")

    directory.set_acl(acl)

    assert directory.acl() == DataAcl(read=acl)


def test_places_without_access_lists_have_none(client: Any) -> None:
    assert client.dir("data://.my").acl() is None


def test_an_unknown_directory_is_a_path_not_found(client: Any) -> None:
    missing = client.dir("data://.my/missing")

    with pytest.raises(algorium.PathNotFound, match="path not found"):
        list(missing.list())
    with pytest.raises(algorium.PathNotFound):
        missing.file("a").put(b"")
    with pytest.raises(algorium.PathNotFound):
        missing.delete()


def test_the_root_cannot_be_created(client: Any) -> None:
    with pytest.raises(ValueError, match="root"):
        client.dir("data://").create()


def test_a_bad_name_is_refused_by_the_server(client: Any) -> None:
    with pytest.raises(algorium.InvalidInput, match="directory name") as caught:
        client.dir("data://.my/a-b").create()

    assert caught.value.code_name == "InputValidationError"


@pytest.mark.parametrize("content", [b"", b"bytes", bytearray(b"array"), memoryview(b"view")])
def test_bytes_are_written_and_read(client: Any, content: Any) -> None:
    file = client.file("data://.my/photos/a.bin")

    file.put(content)

    assert file.exists()
    assert file.read() == bytes(content)


def test_text_and_json_are_read_as_such(client: Any) -> None:
    file = client.file("data://.my/photos/a.json")
    file.put('{"Пароход": 1}')

    assert file.read_text() == '{"Пароход": 1}'
    assert file.read_json() == {"Пароход": 1}


@pytest.mark.parametrize("name", ["Пароход.png", "a b+c%20d.txt", "100%.txt", "~!@#$&*()=:;,?.x"])
def test_any_name_reaches_the_server(
    client: Any, photos: dict[str, bytes], name: str, stand_in: StandIn
) -> None:
    client.dir("data://.my/photos").file(name).put(name)

    assert photos == {name: name.encode()}
    assert client.dir("data://.my/photos").file(name).read_text() == name


def test_connectors_keep_their_label(client: Any, stand_in: StandIn) -> None:
    with pytest.raises(algorium.PathNotFound):
        client.file("s3+my_label://bucket/dir/key").read()

    assert stand_in.last.path == "/v1/connector/s3+my_label/bucket/dir/key"


def test_open_files_are_streamed_with_their_length(
    client: Any, photos: dict[str, bytes], stand_in: StandIn, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 3000
    path = tmp_path / "large.bin"
    path.write_bytes(content)

    client.file("data://.my/photos/a").put_file(path)
    assert photos["a"] == content
    assert stand_in.last.headers["content-length"] == str(len(content))

    with path.open("rb") as file:
        file.seek(100)
        client.file("data://.my/photos/b").put(file)
    assert photos["b"] == content[100:]


def test_pieces_are_sent_in_chunks(
    client: Any, photos: dict[str, bytes], stand_in: StandIn
) -> None:
    client.file("data://.my/photos/a").put(piece for piece in [b"one ", b"two"])

    assert photos["a"] == b"one two"
    assert stand_in.last.headers["transfer-encoding"] == "chunked"


@pytest.mark.parametrize("content", [io.StringIO("text"), 7, {"a": 1}, ["text"]])
def test_what_is_no_bytes_is_refused(client: Any, content: Any) -> None:
    with pytest.raises(TypeError):
        client.file("data://.my/photos/a").put(content)


def test_async_pieces_are_for_the_async_client(client: Any, photos: dict[str, bytes]) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    if isinstance(client, algorium.Algorium):
        with pytest.raises(TypeError):
            client.file("data://.my/photos/a").put(pieces())  # type: ignore[arg-type]  # the point
    else:
        client.file("data://.my/photos/a").put(pieces())
        assert photos["a"] == b"one two"


def test_reading_gives_pieces(client: Any, photos: dict[str, bytes]) -> None:
    content = bytes(range(256)) * 3000
    photos["a"] = content

    with client.file("data://.my/photos/a").get() as reader:
        assert reader.size_bytes == len(content)
        assert reader.read(10) == content[:10]
        assert reader.read(0) == b""
        rest = b"".join(reader.chunks())
        assert reader.read() == b""

    assert rest == content[10:]


def test_iterating_gives_lines(client: Any, photos: dict[str, bytes]) -> None:
    lines = [b"\n", b"two\n", b"x" * 100_000 + b"\n"] * 5 + ["letzte ü".encode()]
    photos["a"] = b"".join(lines)

    with client.file("data://.my/photos/a").get() as reader:
        assert list(reader) == lines


def test_reading_may_stop_early(client: Any, photos: dict[str, bytes]) -> None:
    photos["a"] = b"x" * 1_000_000

    with client.file("data://.my/photos/a").get() as reader:
        assert reader.read(1) == b"x"
    assert client.file("data://.my/photos/a").exists()


def test_a_reader_is_a_file(stand_in: StandIn, photos: dict[str, bytes]) -> None:
    photos["a"] = "erste\nzweite Zeile\nü".encode()
    client = algorium.Algorium("simStandInKey000000000000000", stand_in.address)
    file = client.file("data://.my/photos/a")

    with file.get() as reader, io.BytesIO() as copy:
        shutil.copyfileobj(reader, copy)
        assert copy.getvalue() == photos["a"]
    with file.get() as reader:
        assert reader.readline() == b"erste\n"
        assert reader.peek()[:6] == b"zweite"
        assert reader.readlines() == [b"zweite Zeile\n", "ü".encode()]
    with io.TextIOWrapper(file.get(), encoding="utf-8") as text:
        assert list(text) == ["erste\n", "zweite Zeile\n", "ü"]
    with pytest.raises(ValueError, match="closed"):
        text.read()
    client.file("data://.my/photos/b").put(file.get())
    assert photos["b"] == photos["a"]
    client.close()


def test_a_broken_download_is_an_error_and_leaves_the_old_file(
    client: Any, stand_in: StandIn, tmp_path: Path
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    stand_in.faults.append(Fault(status=200, body=b"half", claims_bytes=1000))

    with pytest.raises(algorium.ConnectionLost):
        client.file("data://.my/photos/a").get_file(path)

    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["a.bin"]


def test_a_download_may_name_a_directory(
    client: Any, photos: dict[str, bytes], tmp_path: Path
) -> None:
    photos["a.txt"] = b"new"

    written = client.file("data://.my/photos/a.txt").get_file(tmp_path)

    assert written == tmp_path / "a.txt"
    assert written.read_bytes() == b"new"


def test_files_and_directories_are_told_apart(client: Any, photos: dict[str, bytes]) -> None:
    photos["a"] = b"{}"

    assert not client.file("data://.my/photos").exists()
    assert not client.dir("data://.my/photos/a").exists()
    with pytest.raises(algorium.PathNotFound, match="is a directory"):
        client.file("data://.my/photos").read()
    with pytest.raises(algorium.PathNotFound, match="is a directory"):
        client.file("data://.my/photos").get()
    with pytest.raises(algorium.PathNotFound, match="is a file"):
        list(client.dir("data://.my/photos/a").list())


def test_listings_page_by_themselves(
    client: Any, photos: dict[str, bytes], stand_in: StandIn
) -> None:
    photos.update({f"{number}.txt": b"x" * number for number in range(8)})

    files = list(client.dir("data://.my/photos").list())

    assert [file.name for file in files] == [f"{number}.txt" for number in range(8)]
    assert [file.size_bytes for file in files] == list(range(8))
    assert files[0].modified_at == datetime(2020, 3, 18, 17, 0, 33, tzinfo=UTC)
    assert str(files[7].uri) == "data://.my/photos/7.txt"
    assert files[7].read() == b"x" * 7
    assert [request.query.get("marker") for request in stand_in.requests[:3]] == [None, "3", "6"]


def test_roots_list_directories(client: Any) -> None:
    assert [entry.name for entry in client.dir().list()] == ["ada"]
    assert [str(entry) for entry in client.dir("data://ada").dirs()] == ["data://ada/photos"]
    assert list(client.dir("data://ada").files()) == []


def test_a_listing_that_does_not_advance_is_given_up(client: Any, stand_in: StandIn) -> None:
    page = Fault(
        status=200,
        headers={"Content-Type": "application/json"},
        body=b'{"folders":[],"files":[],"marker":"again"}',
    )
    stand_in.faults.extend([page, page])

    with pytest.raises(algorium.UnexpectedResponse, match="advance"):
        list(client.dir("data://.my/photos").list())


def test_deleting_counts(client: Any, photos: dict[str, bytes], stand_in: StandIn) -> None:
    photos.update({"a": b"", "b": b"", "c": b""})
    directory = client.dir("data://.my/photos")

    directory.file("c").delete()
    with pytest.raises(algorium.PathNotFound):
        directory.file("c").delete()
    with pytest.raises(algorium.InvalidRequest, match="not empty"):
        directory.delete()

    assert directory.delete(force=True) == 3
    assert not directory.exists()


def test_a_partial_deletion_says_how_much_went(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(
        Fault(
            status=500,
            headers={"Content-Type": "application/json"},
            body=b'{"error":{"deleted":7,"message":"3 files could not be deleted"}}',
        )
    )

    with pytest.raises(algorium.PartlyDeleted) as caught:
        client.dir("data://.my/photos").delete(force=True)

    assert caught.value.deleted == 7


def test_an_exists_that_cannot_be_answered_is_an_error(make_client: Callable[..., Any]) -> None:
    with pytest.raises(algorium.NotAuthenticated, match="authorization required"):
        make_client(api_key=None).file("data://.my/photos/a").exists()


@pytest.mark.parametrize(
    "fault", [Fault(status=502), Fault(status=503), Fault(status=504), Fault(drops=True)]
)
def test_reads_and_whole_writes_are_repeated(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], fault: Fault
) -> None:
    file = client.file("data://.my/photos/a")

    stand_in.faults.append(fault)
    file.put(b"content")
    stand_in.faults.append(fault)
    assert file.exists()
    stand_in.faults.append(fault)
    assert file.read() == b"content"

    assert [request.method for request in stand_in.requests] == [
        *("PUT", "PUT", "HEAD", "HEAD", "GET", "GET")
    ]


def test_streams_and_changes_are_not_repeated(
    client: Any, stand_in: StandIn, photos: dict[str, bytes]
) -> None:
    directory = client.dir("data://.my/photos")
    stand_in.faults.extend([Fault(), Fault(), Fault(), Fault()])

    with pytest.raises(algorium.Unavailable):
        directory.file("a").put(io.BytesIO(b"content"))
    with pytest.raises(algorium.Unavailable):
        directory.set_acl(ReadAcl.PUBLIC)
    with pytest.raises(algorium.Unavailable):
        directory.create()
    with pytest.raises(algorium.Unavailable):
        directory.delete()

    assert len(stand_in.requests) == 4


def test_repeating_has_an_end(make_client: Callable[..., Any], stand_in: StandIn) -> None:
    stand_in.faults.extend([Fault()] * 10)

    with pytest.raises(algorium.Unavailable):
        make_client(retries_max=1).file("data://.my/photos/a").read()

    assert len(stand_in.requests) == 2


def test_threads_share_a_client(stand_in: StandIn, photos: dict[str, bytes]) -> None:
    client = algorium.Algorium("simStandInKey000000000000000", stand_in.address)
    directory = client.dir("data://.my/photos")

    def write(number: int) -> None:
        directory.file(str(number)).put(str(number))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert photos == {str(number): str(number).encode() for number in range(20)}
    client.close()
