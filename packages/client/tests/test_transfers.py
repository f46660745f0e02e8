"""Files in parts, up and down: side by side, cut off, gone on with, and never mixed."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from standin import Directory, Fault, Recorded, StandIn
from standin_data import etag, md5

import algorium
from algorium import Progress, _downloads, _uploads

CONTENT = bytes(range(256)) * 40 + b"the end"
PART = 1000
PARTS = 11


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_uploads, "UPLOAD_PART_BYTES", PART)
    monkeypatch.setattr(_downloads, "DOWNLOAD_PART_BYTES", PART)


@pytest.fixture(autouse=True)
def photos(stand_in: StandIn) -> dict[str, bytes]:
    directory = Directory(read=[])
    stand_in.directories["photos"] = directory
    return directory.files


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(CONTENT)
    return path


def is_part(*numbers: int) -> Callable[[Recorded], bool]:
    """Tell requests that send or fetch one of these parts, numbered from 1."""

    def matches(request: Recorded) -> bool:
        starts = [f"bytes={(number - 1) * PART}-" for number in numbers]
        return any(request.path.endswith(f"/parts/{number}") for number in numbers) or any(
            request.headers.get("range", "").startswith(start) for start in starts
        )

    return matches


def parts_sent(stand_in: StandIn) -> list[int]:
    return sorted(
        int(request.path.rpartition("/")[2])
        for request in stand_in.requests
        if "/parts/" in request.path
    )


def test_a_large_file_goes_in_parts(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    seen: list[Progress] = []

    stored = client.file("data://.my/photos/a").put_file(local, on_progress=seen.append)

    assert photos["a"] == CONTENT
    assert (stored.size_bytes, stored.etag, stored.md5) == (
        *(len(CONTENT), etag(CONTENT), md5(CONTENT)),
    )
    assert parts_sent(stand_in) == list(range(1, PARTS + 1))
    assert md5(CONTENT) in stand_in.last.body.decode()
    assert (seen[-1].bytes_done, seen[-1].bytes_total) == (len(CONTENT), len(CONTENT))
    assert (seen[-1].files_done, seen[-1].files_total) == (1, 1)


def test_a_small_file_goes_in_one_piece_with_its_digest(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"small")

    client.file("data://.my/photos/a").put_file(path)

    (request,) = stand_in.requests
    assert (request.method, photos["a"]) == ("PUT", b"small")
    assert request.headers["content-md5"] == "61wTmahxIRx+ftcy0V46iw=="


def test_an_old_server_gets_it_in_one_piece(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path, tmp_path: Path
) -> None:
    stand_in.is_old = True
    file = client.file("data://.my/photos/a")

    file.put_file(local)
    back = file.get_file(tmp_path / "back")

    assert photos["a"] == CONTENT == back.read_bytes()
    assert stand_in.last.method == "GET"
    assert [r.method for r in stand_in.requests] == ["GET", "POST", "PUT", "GET"]


def test_a_server_with_something_else_there_gets_it_in_one_piece(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    page = Fault(status=200, body=b"<html>welcome</html>")
    stand_in.faults.extend([page, page])

    client.file("data://.my/photos/a").put_file(local)

    assert photos["a"] == CONTENT
    assert [r.method for r in stand_in.requests] == ["GET", "POST", "PUT"]


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(drops=True)])
def test_a_part_is_sent_again(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path, fault: Fault
) -> None:
    seen: list[Progress] = []
    fault = Fault(status=fault.status, drops=fault.drops, when=is_part(3))
    stand_in.faults.append(fault)

    client.file("data://.my/photos/a").put_file(local, on_progress=seen.append)

    assert photos["a"] == CONTENT
    assert seen[-1].bytes_done == len(CONTENT)
    assert parts_sent(stand_in).count(3) == 2


def test_an_upload_that_was_cut_off_goes_on(
    make_client: Callable[..., Any], stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    stand_in.faults.append(Fault(drops=True, when=is_part(PARTS)))
    client = make_client(retries_max=0)
    file = client.file("data://.my/photos/a")

    with pytest.raises(algorium.ConnectionLost):
        file.put_file(local, parallel=1)
    assert "a" not in photos
    (unfinished,) = client.unfinished_uploads()
    assert (unfinished.uri, unfinished.size_bytes) == ("data://.my/photos/a", len(CONTENT))
    assert unfinished.expires_at.year == 2030
    stand_in.requests.clear()
    file.put_file(local)

    assert photos["a"] == CONTENT
    assert parts_sent(stand_in) == [PARTS]
    assert len(stand_in.uploads) == 1


def test_going_on_is_not_fooled_by_parts_of_another_file(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    other = local.with_name("other")
    other.write_bytes(bytes(reversed(CONTENT)))
    stand_in.faults.extend([Fault(status=503, when=is_part(5))] * 3)

    with pytest.raises(algorium.Unavailable):
        client.file("data://.my/photos/a").put_file(other, parallel=1)
    assert len(stand_in.uploads) == 1
    client.file("data://.my/photos/a").put_file(local)

    assert photos["a"] == CONTENT


def test_an_upload_that_is_given_up_meanwhile_begins_again(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    def give_up(request: Recorded) -> bool:
        if is_part(4)(request) and len(stand_in.uploads) == 1:
            stand_in.uploads.clear()
            stand_in.uploads["somebody-elses"] = stand_in_upload
        return False

    stand_in_upload: Any = type("Other", (), {"result": {"result": "done"}})()
    stand_in.faults.append(Fault(when=give_up))

    client.file("data://.my/photos/a").put_file(local, parallel=1)

    assert photos["a"] == CONTENT


def test_a_file_that_changes_while_it_is_sent_is_not_stored(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    photos["a"] = b"old"

    def change(progress: Progress) -> None:
        local.write_bytes(bytes([progress.bytes_done % 251]) * len(CONTENT))

    with pytest.raises(algorium.ContentMismatch) as caught:
        client.file("data://.my/photos/a").put_file(local, on_progress=change, parallel=1)

    assert "change" in caught.value.hint
    assert photos["a"] == b"old"
    assert stand_in.uploads == {}


def test_an_upload_that_was_cut_off_can_be_given_up(
    make_client: Callable[..., Any], stand_in: StandIn, local: Path
) -> None:
    stand_in.faults.append(Fault(drops=True, when=is_part(3)))
    client = make_client(retries_max=0)
    with pytest.raises(algorium.ConnectionLost):
        client.file("data://.my/photos/a").put_file(local)

    (unfinished,) = client.unfinished_uploads()
    client.abandon_upload(unfinished)
    client.abandon_upload(unfinished)

    assert client.unfinished_uploads() == []
    assert stand_in.uploads == {}


def test_an_upload_that_is_refused_leaves_nothing_behind(
    client: Any, stand_in: StandIn, local: Path
) -> None:
    stand_in.faults.append(Fault(status=507, when=is_part(5)))

    with pytest.raises(algorium.OutOfSpace):
        client.file("data://.my/photos/a").put_file(local)

    assert stand_in.uploads == {}


def test_completing_is_repeated_when_the_answer_is_lost(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    stand_in.faults.append(Fault(drops=True, when=lambda r: r.path.endswith("/complete")))

    client.file("data://.my/photos/a").put_file(local)

    assert photos["a"] == CONTENT
    assert [r.path.endswith("/complete") for r in stand_in.requests].count(True) == 2


def test_a_part_that_is_still_arriving_is_waited_for(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    seen: list[Progress] = []
    stand_in.faults.extend([Fault(status=409, when=is_part(3))])
    stand_in.faults.append(Fault(status=409, when=lambda r: r.path.endswith("/complete")))

    client.file("data://.my/photos/a").put_file(local, on_progress=seen.append)

    assert photos["a"] == CONTENT
    assert seen[-1].bytes_done == len(CONTENT)


def test_a_local_file_that_is_none_is_an_os_error(client: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.file("data://.my/photos/a").put_file(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        client.file("data://.my/photos/a").put_file(tmp_path)


def test_conditions_decide_whether_a_file_is_written(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    file = client.file("data://.my/photos/a")

    first = file.put("one", create_only=True)
    with pytest.raises(algorium.ConditionFailed):
        file.put("two", create_only=True)
    second = file.put("two", if_match=first.etag)
    with pytest.raises(algorium.ConditionFailed):
        file.put("three", if_match=first.etag)
    with pytest.raises(algorium.ConditionFailed):
        file.put_file(local, create_only=True)
    with pytest.raises(algorium.ConditionFailed):
        file.delete(if_match=first.etag)
    with pytest.raises(algorium.ConditionFailed):
        file.get(if_match=first.etag).__enter__()
    with pytest.raises(ValueError, match="exclude"):
        file.put("", if_match="x", create_only=True)
    with pytest.raises(ValueError, match="no entity tag"):
        file.put("", if_match="x\r\nEvil: 1")
    with pytest.raises(ValueError, match="parallel"):
        file.put_file(local, parallel=0)

    assert photos["a"] == b"two"
    file.put_file(local, if_match=second.etag)
    assert photos["a"] == CONTENT
    file.delete(if_match=etag(CONTENT))
    assert photos == {}


def test_a_write_with_a_condition_is_never_sent_twice(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(Fault(drops=True))

    with pytest.raises(algorium.ConnectionLost):
        client.file("data://.my/photos/a").put("one", create_only=True)

    assert len(stand_in.requests) == 1


def test_a_condition_that_fails_at_the_end_gives_the_upload_up(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], local: Path
) -> None:
    def interfere(request: Recorded) -> bool:
        photos["a"] = b"somebody else's"
        return False

    stand_in.faults.append(Fault(when=lambda r: is_part(2)(r) and interfere(r)))

    with pytest.raises(algorium.ConditionFailed):
        client.file("data://.my/photos/a").put_file(local, create_only=True)

    assert photos["a"] == b"somebody else's"
    assert stand_in.uploads == {}


def test_a_large_file_comes_in_parts(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], tmp_path: Path
) -> None:
    photos["a"] = CONTENT
    seen: list[Progress] = []

    path = client.file("data://.my/photos/a").get_file(tmp_path, on_progress=seen.append)

    assert path.read_bytes() == CONTENT
    ranges = sorted(int(r.headers["range"][6:].partition("-")[0]) for r in stand_in.requests)
    assert ranges == [number * PART for number in range(PARTS)]
    assert all(r.headers["if-range"] == f'"{etag(CONTENT)}"' for r in stand_in.requests[1:])
    assert (seen[-1].bytes_done, seen[-1].bytes_total) == (len(CONTENT), len(CONTENT))
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["a"]


@pytest.mark.parametrize("content", [b"", b"x", b"y" * PART, b"z" * (PART + 1)])
def test_files_of_any_size_come_back(
    client: Any, photos: dict[str, bytes], tmp_path: Path, content: bytes
) -> None:
    photos["a"] = content

    assert client.file("data://.my/photos/a").get_file(tmp_path / "b").read_bytes() == content


@pytest.mark.parametrize("number", [1, 4])
def test_a_download_that_breaks_off_goes_on_within_its_part(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], tmp_path: Path, number: int
) -> None:
    photos["a"] = CONTENT
    start = (number - 1) * PART
    headers = {
        "Content-Range": f"bytes {start}-{start + PART - 1}/{len(CONTENT)}",
        "ETag": f'"{etag(CONTENT)}"',
        "X-Content-MD5": md5(CONTENT),
        "X-Data-Type": "file",
    }
    stand_in.faults.append(
        Fault(
            status=206,
            headers=headers,
            body=CONTENT[start : start + 300],
            claims_bytes=PART,
            when=is_part(number),
        )
    )
    seen: list[Progress] = []

    path = client.file("data://.my/photos/a").get_file(tmp_path / "b", on_progress=seen.append)

    assert path.read_bytes() == CONTENT
    assert seen[-1].bytes_done == len(CONTENT)
    assert any(r.headers["range"].startswith(f"bytes={start + 300}-") for r in stand_in.requests)


def test_versions_are_never_mixed(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], tmp_path: Path
) -> None:
    photos["a"] = CONTENT
    new = bytes(reversed(CONTENT))

    def change(request: Recorded) -> bool:
        if is_part(6)(request):
            photos["a"] = new
        return False

    stand_in.faults.append(Fault(when=change))

    path = client.file("data://.my/photos/a").get_file(tmp_path / "b")

    assert path.read_bytes() == new
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["b"]


def test_a_file_that_always_changes_is_given_up(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], tmp_path: Path
) -> None:
    photos["a"] = CONTENT

    def change(request: Recorded) -> bool:
        if is_part(2)(request):
            photos["a"] = photos["a"][1:] + b"x"
        return False

    stand_in.faults.append(Fault(when=change))

    with pytest.raises(algorium.ConditionFailed, match="changed each time"):
        client.file("data://.my/photos/a").get_file(tmp_path / "b", parallel=1)

    assert not [each for each in tmp_path.iterdir() if each.is_file()]


@pytest.fixture
def cut_off(
    make_client: Callable[..., Any], stand_in: StandIn, photos: dict[str, bytes], tmp_path: Path
) -> Any:
    """A file of which all parts but the ninth and those after it are in `tmp_path` already."""
    photos["a"] = CONTENT
    stand_in.faults.append(Fault(drops=True, when=is_part(9)))
    file = make_client(retries_max=0).file("data://.my/photos/a")

    with pytest.raises(algorium.ConnectionLost):
        file.get_file(tmp_path / "b", parallel=1)

    assert not (tmp_path / "b").exists()
    stand_in.requests.clear()
    return file


def test_a_download_that_was_cut_off_goes_on(
    cut_off: Any, stand_in: StandIn, tmp_path: Path
) -> None:
    seen: list[Progress] = []

    cut_off.get_file(tmp_path / "b", on_progress=seen.append)

    assert (tmp_path / "b").read_bytes() == CONTENT
    assert len(stand_in.requests) == 1 + 3
    assert seen[-1].bytes_done == len(CONTENT)
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["b"]


def test_going_on_is_not_fooled_by_a_damaged_part(
    cut_off: Any, stand_in: StandIn, tmp_path: Path
) -> None:
    (part,) = tmp_path.glob(".b.*.part")
    damaged = bytearray(part.read_bytes())
    damaged[3500] ^= 1
    part.write_bytes(damaged)

    cut_off.get_file(tmp_path / "b")

    assert (tmp_path / "b").read_bytes() == CONTENT


def test_another_version_does_not_go_on(
    cut_off: Any, stand_in: StandIn, photos: dict[str, bytes], tmp_path: Path
) -> None:
    photos["a"] = bytes(reversed(CONTENT))

    cut_off.get_file(tmp_path / "b")

    assert (tmp_path / "b").read_bytes() == photos["a"]


def test_what_arrives_must_be_what_was_announced(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], tmp_path: Path
) -> None:
    file = client.file("data://.my/photos/a")
    headers = {"X-Content-MD5": md5(b"right"), "ETag": '"x"', "X-Data-Type": "file"}
    wrong = Fault(status=200, headers=headers, body=b"wrong")
    stand_in.faults.extend([wrong] * 6)

    with pytest.raises(algorium.ContentMismatch):
        file.read()
    with pytest.raises(algorium.ContentMismatch), file.get() as reader:
        reader.read()
    with pytest.raises(algorium.ContentMismatch):
        file.get_file(tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert file.read(verify=False) == b"wrong"
    with file.get(verify=False) as reader:
        assert reader.read() == b"wrong"
    assert file.get_file(tmp_path / "b", verify=False).read_bytes() == b"wrong"


@pytest.mark.parametrize("is_old", [False, True])
def test_parts_can_be_read(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], is_old: bool
) -> None:
    stand_in.is_old = is_old
    photos["a"] = CONTENT
    file = client.file("data://.my/photos/a")

    assert file.read(start=3, end=7) == CONTENT[3:7]
    assert file.read(start=len(CONTENT) - 2) == CONTENT[-2:]
    with file.get(start=100, end=2000) as reader:
        assert reader.size_bytes == 1900
        assert reader.read() == CONTENT[100:2000]
    with file.get(start=10_000, end=99_000) as reader:
        assert reader.read() == CONTENT[10_000:]
    with pytest.raises(ValueError, match="part"):
        file.read(start=5, end=5)


def test_a_part_behind_the_end_is_an_error(client: Any, photos: dict[str, bytes]) -> None:
    photos["a"] = b"short"

    with pytest.raises(algorium.RangeNotSatisfiable):
        client.file("data://.my/photos/a").read(start=5)


def test_stat_tells_what_there_is(client: Any, photos: dict[str, bytes], stand_in: StandIn) -> None:
    photos["a"] = b"abc"
    file = client.file("data://.my/photos/a")

    stat = file.stat()
    assert (stat.size_bytes, stat.etag, stat.md5) == (3, etag(b"abc"), md5(b"abc"))
    assert stat.modified_at.isoformat() == "2020-03-18T17:00:33+00:00"

    stand_in.is_old = True
    stat = file.stat()
    assert (stat.size_bytes, stat.etag, stat.md5, stat.modified_at) == (3, "", "", None)
    with pytest.raises(algorium.PathNotFound):
        client.file("data://.my/photos").stat()


@pytest.mark.parametrize("is_old", [False, True])
def test_files_are_copied_and_moved(
    client: Any, stand_in: StandIn, photos: dict[str, bytes], is_old: bool
) -> None:
    stand_in.is_old = is_old
    photos["a b+ü%"] = b"content"
    file = client.file("data://.my/photos/a b+ü%")

    copied = file.copy("data://.my/photos/c")
    assert str(copied) == "data://.my/photos/c"
    assert photos == {"a b+ü%": b"content", "c": b"content"}
    moved = file.move(client.file("data://.my/photos/d"))
    assert moved.read() == b"content"
    assert photos == {"c": b"content", "d": b"content"}
    if not is_old:
        assert not any(request.body for request in stand_in.requests)
        with pytest.raises(algorium.ConditionFailed):
            moved.copy("data://.my/photos/c", create_only=True)
    with pytest.raises(algorium.PathNotFound):
        file.copy("data://.my/photos/e")


def test_a_move_is_never_sent_twice(
    client: Any, stand_in: StandIn, photos: dict[str, bytes]
) -> None:
    photos["a"] = b"content"
    stand_in.faults.append(Fault(drops=True, when=lambda r: "x-move-from" in r.headers))

    with pytest.raises(algorium.ConnectionLost):
        client.file("data://.my/photos/a").move("data://.my/photos/b")

    assert photos == {"a": b"content"}
    assert [request.method for request in stand_in.requests] == ["HEAD", "PUT"]


@pytest.mark.parametrize(
    "content_range",
    ["", "bytes */10", "bytes 5-9/20", "bytes 0-99/50", "bytes 0-9/10, 3-4/10", "bytes 0-9/*"],
)
def test_a_server_that_sends_other_parts_is_not_believed(
    client: Any, stand_in: StandIn, tmp_path: Path, content_range: str
) -> None:
    headers = {"Content-Range": content_range, "ETag": '"x"', "X-Data-Type": "file"}
    stand_in.faults.extend([Fault(status=206, headers=headers, body=b"0123456789")] * 2)

    with pytest.raises(algorium.UnexpectedResponse):
        client.file("data://.my/photos/a").get_file(tmp_path / "b")
    with pytest.raises(algorium.UnexpectedResponse):
        client.file("data://.my/photos/a").read(start=1)

    assert not [each for each in tmp_path.iterdir() if each.is_file()]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_breaks_doing_it_again_ends_well(
    make_client: Callable[..., Any],
    stand_in: StandIn,
    photos: dict[str, bytes],
    local: Path,
    tmp_path: Path,
    seed: int,
) -> None:
    chance = random.Random(seed)
    file = make_client(retries_max=0).file("data://.my/photos/a")
    half = Fault(status=206, headers={"Content-Range": "bytes 0-9/10"}, body=b"x", claims_bytes=10)
    kinds = (Fault(drops=True), Fault(status=503), Fault(status=500), half)

    def again_and_again(transfer: Callable[[], Any]) -> None:
        for kind in chance.choices(kinds, k=6):
            fault = replace(kind, when=lambda request: chance.random() < 0.3)
            stand_in.faults.append(fault)
        while True:
            left = len(stand_in.faults)
            try:
                transfer()
                return
            except algorium.AlgoriumError:
                assert len(stand_in.faults) < left, "it failed without a reason"

    again_and_again(lambda: file.put_file(local, parallel=3))
    assert photos["a"] == CONTENT
    again_and_again(lambda: file.get_file(tmp_path / "b", parallel=3))
    assert (tmp_path / "b").read_bytes() == CONTENT
    stand_in.faults.clear()
