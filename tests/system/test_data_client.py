"""Files through our own client and command, against a real server: large, cut off, kept alike."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from running import RunningServer

sys.path.append(str(Path(__file__).parents[2] / "packages" / "server" / "tests"))

import peers
from fake_dropbox import running_dropbox

import algorium
from algorium import Algorium, AsyncAlgorium, Progress, _upload_flow

ALGO = Path(sys.executable).with_name("algo")
MIB = 1 << 20
LARGE_BYTES = 50 * MIB + 12345


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of several parts, in both directions, of which no two are alike."""
    path = tmp_path_factory.mktemp("large") / "large.bin"
    path.write_bytes(os.urandom(LARGE_BYTES))
    return path


@pytest.fixture(scope="module")
def dropbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    with running_dropbox(tmp_path_factory.mktemp("dropbox")) as peer:
        yield peer


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, dropbox: peers.Peer
) -> Iterator[RunningServer]:
    # Whatever peers there are listen on this machine, on ports that nobody knows yet.
    home = tmp_path_factory.mktemp("data-client") / "home"
    with RunningServer(home, "--connector-allow", "127.0.0.1") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[Algorium]:
    with Algorium(server.key, server.api) as client:
        yield client


@pytest.fixture
def place(client: Algorium, request: pytest.FixtureRequest) -> Iterator[algorium.DataDirectory]:
    place = client.dir(f"data://.my/client_{abs(hash(request.node.name)) % 10**9}")
    place.create()
    yield place
    place.delete(force=True)


def algo(server: RunningServer, *words: str) -> subprocess.Popen[bytes]:
    environment = {"ALGORITHMIA_API": server.api, "ALGORITHMIA_API_KEY": server.key}
    return subprocess.Popen(
        [ALGO, *words],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(server: RunningServer, *words: str) -> str:
    out, error = algo(server, *words).communicate(timeout=60)
    assert error == b""
    return out.decode()


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_a_large_file_goes_up_and_comes_back(
    place: algorium.DataDirectory, large: Path, tmp_path: Path
) -> None:
    seen: list[Progress] = []
    file = place.file("Пароход %+ 1.bin")

    stored = file.put_file(large, on_progress=seen.append)
    back = file.get_file(tmp_path / "back")

    assert stored.md5 == md5(large) == md5(back) == file.stat().md5
    assert stored.etag == file.stat().etag
    assert (seen[-1].bytes_done, seen[-1].bytes_total) == (LARGE_BYTES, LARGE_BYTES)
    with large.open("rb") as original:
        original.seek(17 * MIB - 5)
        assert file.read(start=17 * MIB - 5, end=17 * MIB + 5) == original.read(10)


def test_the_async_client_does_the_same(
    server: RunningServer, place: algorium.DataDirectory, large: Path, tmp_path: Path
) -> None:
    async def there_and_back() -> Path:
        async with AsyncAlgorium(server.key, server.api) as client:
            file = client.file(place.uri.child("async.bin"))
            await file.put_file(large)
            moved = await (await file.copy(place.uri.child("copy"))).move(place.uri.child("moved"))
            return await moved.get_file(tmp_path / "back")

    assert md5(asyncio.run(there_and_back())) == md5(large)
    assert sorted(file.name for file in place.files()) == ["async.bin", "moved"]


KILLED_IN_THE_MIDDLE = """
import os, signal, sys
from algorium import Algorium

def die(progress):
    if progress.bytes_done > 30 << 20:
        os.kill(os.getpid(), signal.SIGKILL)

direction, uri, path = sys.argv[1:]
file = Algorium().file(uri)
move = file.put_file if direction == "up" else file.get_file
move(path, on_progress=die, parallel=1)
"""


def killed_in_the_middle(server: RunningServer, *words: str) -> None:
    environment = {"ALGORITHMIA_API": server.api, "ALGORITHMIA_API_KEY": server.key}
    done = subprocess.run(
        [sys.executable, "-c", KILLED_IN_THE_MIDDLE, *words], env={**os.environ, **environment}
    )
    assert done.returncode == -signal.SIGKILL


def test_an_upload_goes_on_after_kill_9(
    server: RunningServer, client: Algorium, place: algorium.DataDirectory, large: Path
) -> None:
    file = place.file("killed.bin")

    def parts_there() -> int:
        begun = client._transport.run(_upload_flow.begun())
        states = [client._transport.run(_upload_flow.state(each.upload_id)) for each in begun]
        return sum(len(state.parts) for state in states if state.uri == str(file.uri))

    killed_in_the_middle(server, "up", str(file.uri), str(large))
    assert parts_there() == 1
    assert not file.exists()
    run(server, "cp", str(large), str(file.uri))

    assert file.stat().md5 == md5(large)
    assert parts_there() == 0


def test_a_download_goes_on_after_kill_9(
    server: RunningServer, place: algorium.DataDirectory, large: Path, tmp_path: Path
) -> None:
    file = place.file("killed.bin")
    file.put_file(large)
    seen: list[Progress] = []

    killed_in_the_middle(server, "down", str(file.uri), str(tmp_path / "back"))
    assert not (tmp_path / "back").exists()
    (pieces,) = tmp_path.glob(".back.*.pieces")
    assert pieces.read_text().split() == ["0", "1", "2"]
    file.get_file(tmp_path / "back", on_progress=seen.append)

    assert md5(tmp_path / "back") == md5(large)
    assert [path.name for path in tmp_path.iterdir()] == ["back"]
    assert seen[-1].bytes_done == LARGE_BYTES


def test_conditions_hold(place: algorium.DataDirectory, large: Path) -> None:
    file, other = place.file("counter"), place.file("other")
    other.put("other")

    first = file.put("1", create_only=True)
    second = file.put("2", if_match=first.etag)
    with pytest.raises(algorium.ConditionFailed):
        file.put("3", create_only=True)
    with pytest.raises(algorium.ConditionFailed):
        file.put("3", if_match=first.etag)
    with pytest.raises(algorium.ConditionFailed):
        file.put_file(large, create_only=True)
    with pytest.raises(algorium.ConditionFailed):
        file.delete(if_match=first.etag)
    with pytest.raises(algorium.ConditionFailed):
        other.move(file, create_only=True)
    with pytest.raises(algorium.ConditionFailed):
        other.copy(file, if_match=first.etag)

    assert (file.read(), other.read()) == (b"2", b"other")
    other.move(file, if_match=second.etag)
    assert (file.read(), other.exists()) == (b"other", False)


def test_directories_are_kept_alike(
    server: RunningServer, place: algorium.DataDirectory, tmp_path: Path
) -> None:
    local, back = tmp_path / "local", tmp_path / "back"
    local.mkdir()
    for number in range(20):
        (local / f"ü {number}+%.txt").write_text(f"file {number}")
    uri = str(place.uri)

    assert len(place.sync_from(local).copied) == 20
    assert place.sync_from(local).copied == ()
    (local / "ü 3+%.txt").write_text("FILE 3")
    (local / "ü 4+%.txt").unlink()
    told = run(server, "sync", "--delete", str(local), uri)
    assert told == "copied ü 3+%.txt\ndeleted ü 4+%.txt\n"
    assert len(place.sync_to(back).copied) == 19
    assert place.sync_to(back, checksum=True).copied == ()
    assert {p.name: p.read_bytes() for p in back.iterdir()} == {
        p.name: p.read_bytes() for p in local.iterdir()
    }
    assert run(server, "ls", f"{uri}/ü 1?+*").count("\n") == 10
    run(server, "mv", f"{uri}/ü 3+%.txt", f"{uri}/moved")
    assert place.file("moved").read_text() == "FILE 3"


@pytest.fixture(params=["s3", "dropbox"])
def connected(
    request: pytest.FixtureRequest, client: Algorium, tmp_path: Path
) -> Iterator[algorium.DataDirectory]:
    """A directory of a connected source; S3 is skipped by name where there is no server of it."""
    with ExitStack() as stack:
        if request.param == "s3":
            peer = stack.enter_context(peers.running_s3(tmp_path / "s3"))
            options = {**peer.options, "region": "us-east-1"}
        else:
            peer = request.getfixturevalue("dropbox")
            options = dict(peer.options)
        connector = client.connectors.create(
            request.param, peer.credentials, label="tests", options=options
        )
        stack.callback(client.connectors.delete, connector)
        report = client.connectors.test(connector)
        assert (report.ok, report.write) == (True, None), report
        connector = client.connectors.update(connector, is_writeable=True)
        report = client.connectors.test(connector)
        assert report.ok, report
        assert report.write is not None
        assert connector in list(client.connectors.list())
        top = client.dir(connector.uri)
        yield top.dir("bucket") if request.param == "s3" else top.dir("folder")


def test_connected_sources_are_used_alike(
    server: RunningServer,
    place: algorium.DataDirectory,
    connected: algorium.DataDirectory,
    large: Path,
    tmp_path: Path,
) -> None:
    fsspec: Any = pytest.importorskip("fsspec")
    local, back = tmp_path / "local", tmp_path / "back"
    (local / "a" / "b ü").mkdir(parents=True)
    (local / "a" / "1.txt").write_text("one")
    (local / "a" / "b ü" / "2+%.txt").write_text("two")
    (local / "empty").mkdir()
    tree = connected.dir("tree")

    assert tree.upload_dir(local).copied == ("a/1.txt", "a/b ü/2+%.txt")
    assert tree.download_dir(back).copied == ("a/1.txt", "a/b ü/2+%.txt")
    assert tree.sync_to(back).copied == ()
    assert tree.sync_from(back).copied == ()
    assert (back / "empty").is_dir()
    (local / "a" / "1.txt").unlink()
    assert tree.sync_from(local, delete=True).deleted == ("a/1.txt",)

    big = connected.file("large.bin")
    big.put_file(large)
    assert md5(big.get_file(tmp_path / "large.back")) == md5(large)
    assert big.read(start=LARGE_BYTES - 3) == large.read_bytes()[-3:]

    hosted = tree.dir("a").dir("b ü").file("2+%.txt").copy(place.file("2+%.txt").uri)
    assert hosted.read() == b"two"
    hosted.move(connected.file("moved.txt").uri)
    assert (hosted.exists(), connected.file("moved.txt").read()) == (False, b"two")

    options = {"api_key": server.key, "api_address": server.api}
    with fsspec.open(f"algorium://{connected.uri}/by-fsspec", "wb", **options) as file:
        file.write(b"written")
    with fsspec.open(f"algorium://{connected.uri}/by-fsspec", **options) as file:
        assert file.read() == b"written"
    run(server, "rm", "-r", str(tree.uri))
    assert not tree.exists()


def test_storage_is_counted(client: Algorium, place: algorium.DataDirectory) -> None:
    before = client.storage()
    place.file("a").put(b"x" * 1000)

    after = client.storage()
    assert (after.bytes - before.bytes, after.files - before.files) == (1000, 1)
