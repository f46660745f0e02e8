"""Both of our clients against a real server: one suite, walked blocking and with asyncio."""

import asyncio
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from running import RunningServer

from algorium import (
    AlgorithmNotFound,
    AlgorithmTimeout,
    Algorium,
    AlreadyExists,
    AsyncAlgorium,
    DataAcl,
    InputError,
    NotAuthenticated,
    PathNotFound,
    ReadAcl,
)
from algorium_server.domain.limits import LISTING_ENTRIES_MAX

sys.path.append(str(Path(__file__).parents[2] / "packages" / "client" / "tests"))

from blocking import blocking


def clients_of(address: str, key: str, kind: str) -> Iterator[Any]:
    if kind == "blocking":
        with Algorium(key, address) as client:
            yield client
        return
    with asyncio.Runner() as runner:
        client = blocking(AsyncAlgorium(key, address), runner)
        yield client
        client.aclose()


@pytest.fixture(params=["blocking", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def client(server: RunningServer, kind: str) -> Iterator[Any]:
    yield from clients_of(server.api, server.key, kind)


@pytest.fixture
def photos(client: Any, kind: str) -> Iterator[Any]:
    directory = client.dir(f"data://.my/photos_{kind}")
    directory.create(DataAcl.from_read(ReadAcl.PUBLIC))
    yield directory
    directory.delete(force=True)


class TestCalls:
    @pytest.mark.parametrize(
        ("value", "content_type"),
        [("text", "text"), (b"\x00\xff", "binary"), ({"a": [1, None]}, "json"), (None, "json")],
    )
    def test_a_value_comes_back_as_it_went(
        self, client: Any, value: object, content_type: str
    ) -> None:
        response = client.algo("util/Echo").pipe(value)

        assert response.result == value
        assert response.metadata.content_type == content_type
        assert response.metadata.duration > 0
        assert response.metadata.request_id.startswith("req-")

    def test_options(self, client: Any) -> None:
        handle = client.algo("demo/Hello").timeout(10).stdout(True).timing(True)

        response = handle.pipe("HAL 9001")

        assert response.as_string() == "Hello HAL 9001"
        assert response.metadata.stdout == ""
        assert response.metadata.timing["total"] >= response.metadata.timing["running"] > 0

    @pytest.mark.parametrize("value", ["text", b"\x00\xff", [1]])
    def test_raw_output_is_the_same_result(self, client: Any, value: object) -> None:
        assert client.algo("util/Echo").output("raw").pipe(value).result == value

    def test_a_void_call_gives_a_receipt(self, client: Any) -> None:
        assert client.algo("demo/Hello").send("nobody hears").request_id.startswith("req-")

    def test_what_the_algorithm_refuses(self, client: Any) -> None:
        with pytest.raises(InputError) as failed:
            client.algo("util/Sleep").pipe("nonsense")

        assert failed.value.request_id.startswith("req-")

    def test_what_takes_too_long(self, client: Any) -> None:
        with pytest.raises(AlgorithmTimeout):
            client.algo("util/Sleep").timeout(0.5).pipe(30)

    def test_what_is_not_there(self, client: Any) -> None:
        with pytest.raises(AlgorithmNotFound) as failed:
            client.algo("util/WhoopsWrongAlgo").pipe("Hello, world!")

        assert str(failed.value) == "algorithm algo://util/WhoopsWrongAlgo not found"
        assert (failed.value.status, failed.value.code) == (404, 1000)
        assert failed.value.request_id.startswith("req-")

    def test_whom_nobody_knows(self, server: RunningServer, kind: str) -> None:
        for client in clients_of(server.api, "simNobody", kind):
            with pytest.raises(NotAuthenticated):
                client.algo("demo/Hello").pipe("x")


class TestData:
    def test_a_directory_from_beginning_to_end(self, client: Any, kind: str) -> None:
        username = next(iter(client.dir("data://").dirs())).name
        directory = client.dir(f"data://{username}/whole_{kind}")
        assert not directory.exists()

        directory.create(DataAcl.from_read(ReadAcl.PUBLIC))
        with pytest.raises(AlreadyExists):
            directory.create()
        assert directory.exists()
        assert directory.acl().read is ReadAcl.PUBLIC
        directory.set_acl(DataAcl.from_read(ReadAcl.PRIVATE))
        assert directory.acl().read is ReadAcl.PRIVATE
        client.file(f"data://.my/whole_{kind}/a.txt").put("text")
        assert directory.delete(force=True) == 2

        assert not directory.exists()

    def test_a_file_from_beginning_to_end(self, client: Any, photos: Any, tmp_path: Path) -> None:
        photo, copy = tmp_path / "friends.jpg", tmp_path / "copy.jpg"
        photo.write_bytes(bytes(range(256)) * 5000)
        file = photos.file("friends of mine.jpg")
        assert not file.exists()

        file.put_file(photo)
        file.get_file(copy)

        assert file.exists()
        assert copy.read_bytes() == file.read() == photo.read_bytes()
        assert [(entry.name, entry.size_bytes) for entry in photos.files()] == [
            ("friends of mine.jpg", 256 * 5000)
        ]
        file.put("shorter")
        assert file.read() == b"shorter"
        file.delete()
        with pytest.raises(PathNotFound):
            file.read()

    @pytest.mark.slow
    def test_listings_go_over_several_pages(self, client: Any, crowd: tuple[str, int]) -> None:
        uri, count = crowd

        names = [file.name for file in client.dir(uri).files()]

        assert names == [f"file{number:04d}" for number in range(count)]


@pytest.fixture(scope="module")
def crowd(server: RunningServer) -> Iterator[tuple[str, int]]:
    """A directory of one file more than fits on a page."""
    count = LISTING_ENTRIES_MAX + 1
    with Algorium(server.key, server.api) as client, ThreadPoolExecutor(8) as threads:
        directory = client.dir("data://.my/crowd")
        directory.create()
        files = [directory.file(f"file{number:04d}") for number in range(count)]
        list(threads.map(lambda file: file.put(b""), files))
        yield str(directory.uri), count
        directory.delete(force=True)


@pytest.mark.network
@pytest.mark.slow
def test_the_guide_reaches_its_picture(
    whole_demo: RunningServer, kind: str, tmp_path: Path
) -> None:
    from PIL import Image
    from skimage import data

    photo, picture = tmp_path / "friends.jpg", f"data://.algo/temp/{kind}.png"
    Image.fromarray(data.astronaut()).save(photo, quality=95)
    for client in clients_of(whole_demo.api, whole_demo.key, kind):
        topics = client.algo("nlp/LDA/1.0.0").pipe({"docsList": ["The apples", "The pears"]})
        directory = client.dir(f"data://.my/guide_{kind}")
        directory.create()
        directory.file("friends.jpg").put_file(photo)
        image = {"url": str(directory.file("friends.jpg").uri), "output": picture}
        found = client.algo("dlib/FaceDetection/0.2.1").pipe({"images": [image]}).result
        drawn = client.file(f"data://.algo/dlib/FaceDetection/temp/{kind}.png").read()

    assert {word for topic in topics.result for word in topic} == {"apples", "pears"}
    assert len(found["images"][0]["detected_faces"]) == 1
    assert drawn.startswith(b"\x89PNG")
