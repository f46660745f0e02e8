import asyncio
import errno
import hashlib
import os
import resource
import stat
import subprocess
import tracemalloc
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from blake3 import blake3

from algorium_server.data.blobs import BlobMissing
from algorium_server.data.local import LocalBlobs
from algorium_server.domain.errors import InternalError, OutOfSpace
from algorium_server.domain.limits import BLOB_CHUNK_BYTES, MIB


async def pieces(*chunks):
    for chunk in chunks:
        yield chunk


async def read(store, blob):
    reader = await store.open(blob.key, size_bytes=blob.size_bytes)
    try:
        return b"".join([chunk async for chunk in reader.chunks()])
    finally:
        await reader.close()


def files_in(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


@pytest.fixture
def store(tmp_path):
    store = LocalBlobs(tmp_path / "blobs")
    yield store
    store.close()


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [b""],
        [b"hello"],
        [b"he", b"", b"llo"],
        [b"x"] * 10_000,
        [os.urandom(MIB)] * 3,
        [b"a" * length for length in (20_000, 1, 16_383, 1, 16_384, 0, 7, 300_000, 15_000)] * 5,
    ],
    ids=["nothing", "empty", "one", "some", "many small", "large", "mixed"],
)
def test_what_is_written_is_read_back(store, runner, chunks):
    blob = runner.run(store.write(pieces(*chunks)))
    data = b"".join(chunks)

    assert blob.size_bytes == len(data)
    assert blob.md5 == hashlib.md5(data).hexdigest()
    assert blob.checksum == f"blake3:{blake3(data).hexdigest()}"
    assert runner.run(read(store, blob)) == data


def test_a_disk_that_takes_a_part_at_a_time_gets_all_of_it(store, runner, monkeypatch):
    write, counts = os.write, []

    def a_part(descriptor, views):
        data = b"".join(views)[: 12_345 + len(counts)]
        counts.append(write(descriptor, data))
        return counts[-1]

    monkeypatch.setattr(os, "writev", a_part)
    chunks = [os.urandom(length) for length in (20_000, 1, 40_000, 12_346, 100_000)]

    blob = runner.run(store.write(pieces(*chunks)))

    assert runner.run(read(store, blob)) == b"".join(chunks)
    assert len(counts) > len(chunks)


def test_bytes_that_come_two_by_two_take_no_more_room(store, runner):
    async def two_by_two():
        for number in range(100_000):
            yield bytes((number % 256, 1))

    tracemalloc.start()
    try:
        blob = runner.run(store.write(two_by_two()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert blob.size_bytes == 200_000
    assert peak < 2 * MIB


def test_every_blob_has_a_fresh_key_and_is_for_us_only(store, runner, tmp_path):
    first = runner.run(store.write(pieces(b"same")))
    second = runner.run(store.write(pieces(b"same")))

    assert first.key != second.key
    assert len(files_in(tmp_path)) == 2
    for path in files_in(tmp_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_blobs_outlive_their_store(tmp_path, runner):
    first = LocalBlobs(tmp_path)
    blob = runner.run(first.write(pieces(b"hello")))
    first.close()
    second = LocalBlobs(tmp_path)

    assert runner.run(read(second, blob)) == b"hello"
    second.close()


def test_an_error_of_the_source_leaves_nothing(store, runner, tmp_path):
    async def broken():
        yield os.urandom(3 * MIB)
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        runner.run(store.write(broken()))
    assert files_in(tmp_path) == []


def test_a_cancelled_write_leaves_nothing(store, runner, tmp_path):
    async def scenario():
        is_waiting = asyncio.Event()

        async def stalling():
            yield os.urandom(3 * MIB)
            is_waiting.set()
            await asyncio.Event().wait()

        writing = asyncio.ensure_future(store.write(stalling()))
        await is_waiting.wait()
        assert len(files_in(tmp_path)) == 1
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

    runner.run(scenario())
    assert files_in(tmp_path) == []


def test_a_write_cancelled_while_a_thread_works_leaves_nothing(store, runner, tmp_path):
    async def scenario():
        async def endless():
            while True:
                yield bytes(4 * MIB)

        for turns in range(1, 20):
            writing = asyncio.ensure_future(store.write(endless()))
            for _ in range(turns):
                await asyncio.sleep(0)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing

    runner.run(scenario())
    assert files_in(tmp_path) == []


@contextmanager
def files_limited_to(size_bytes):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_failing_disk_is_a_typed_error_and_leaves_nothing(store, runner, tmp_path):
    with files_limited_to(MIB), pytest.raises(InternalError) as caught:
        runner.run(store.write(pieces(bytes(2 * MIB))))

    assert caught.value.message == "storage failure; nothing was changed"
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG
    assert files_in(tmp_path) == []


def test_a_full_disk_is_a_typed_error_and_leaves_the_rest(runner, tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        store = LocalBlobs(tmp_path / "blobs")
        kept = runner.run(store.write(pieces(b"kept")))
        with pytest.raises(OutOfSpace, match="storage is full"):
            runner.run(store.write(pieces(bytes(4 * MIB))))

        assert len(files_in(tmp_path)) == 1
        assert runner.run(read(store, kept)) == b"kept"
        store.close()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_deleted_blob_is_missing_and_deleting_again_is_harmless(store, runner):
    blob = runner.run(store.write(pieces(b"hello")))
    runner.run(store.delete(blob.key))
    runner.run(store.delete(blob.key, "0" * 32))

    with pytest.raises(BlobMissing):
        runner.run(store.open(blob.key, size_bytes=5))


@pytest.mark.parametrize("size_bytes", [5, BLOB_CHUNK_BYTES, 3 * MIB + 1])
def test_a_reader_keeps_what_is_deleted_under_it(store, runner, size_bytes):
    data = os.urandom(size_bytes)

    async def scenario():
        blob = await store.write(pieces(data))
        reader = await store.open(blob.key, size_bytes=size_bytes)
        await store.delete(blob.key)
        assert [len(chunk) <= BLOB_CHUNK_BYTES async for chunk in reader.chunks()]
        await reader.close()

        blob = await store.write(pieces(data))
        reader = await store.open(blob.key, size_bytes=size_bytes)
        await store.delete(blob.key)
        read = b"".join([chunk async for chunk in reader.chunks()])
        await reader.close()
        await reader.close()
        return read

    assert runner.run(scenario()) == data


def test_a_blob_that_is_not_what_its_row_says_is_not_read(store, runner):
    blob = runner.run(store.write(pieces(b"hello")))

    with pytest.raises(InternalError, match="damaged"):
        runner.run(store.open(blob.key, size_bytes=4))


def test_a_blob_cut_short_while_it_is_read_ends_in_an_error(store, runner, tmp_path):
    async def scenario():
        blob = await store.write(pieces(bytes(MIB)))
        reader = await store.open(blob.key, size_bytes=MIB)
        os.truncate(tmp_path / "blobs" / blob.key[:2] / blob.key, BLOB_CHUNK_BYTES)
        try:
            return [len(chunk) async for chunk in reader.chunks()]
        finally:
            await reader.close()

    with pytest.raises(InternalError, match="damaged"):
        runner.run(scenario())


def test_memory_does_not_depend_on_the_size(store, runner):
    size_bytes = 64 * MIB

    async def large():
        for _ in range(size_bytes // 65536):
            yield bytes(65536)

    async def scenario():
        blob = await store.write(large())
        reader = await store.open(blob.key, size_bytes=size_bytes)
        read_bytes = 0
        async for chunk in reader.chunks():
            read_bytes += len(chunk)
        await reader.close()
        return read_bytes

    tracemalloc.start()
    try:
        assert runner.run(scenario()) == size_bytes
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 * MIB


def age(path, **delta):
    then = (datetime.now(UTC) - timedelta(**delta)).timestamp()
    os.utime(path, (then, then))


def test_sweeping_removes_old_garbage_only(store, runner, tmp_path):
    live, dead, young = (runner.run(store.write(pieces(b"x"))) for _ in range(3))
    root = tmp_path / "blobs"
    half = root / "incoming" / "half"
    half.write_bytes(b"half")
    young_half = root / "incoming" / "young"
    young_half.write_bytes(b"half")
    for path in (root / live.key[:2] / live.key, root / dead.key[:2] / dead.key, half):
        age(path, hours=2)

    before = datetime.now(UTC) - timedelta(hours=1)
    assert runner.run(store.sweep({live.key}, before=before)) == 2
    assert {path.name for path in files_in(root)} == {live.key, young.key, "young"}
    assert runner.run(store.sweep({live.key}, before=before)) == 0


@pytest.mark.parametrize("by", ["itself", "another gateway"])
def test_sweeping_spares_an_upload_that_stalls_for_hours(store, runner, tmp_path, by):
    async def scenario():
        sweeper = store if by == "itself" else LocalBlobs(store._root)
        is_stalled, goes_on = asyncio.Event(), asyncio.Event()

        async def slow():
            yield bytes(2 * MIB)
            is_stalled.set()
            await goes_on.wait()

        writing = asyncio.ensure_future(store.write(slow()))
        await is_stalled.wait()
        (half,) = files_in(tmp_path)
        age(half, days=2)
        before = datetime.now(UTC) - timedelta(hours=1)
        assert await sweeper.sweep(set(), before=before) == 0
        goes_on.set()
        blob = await writing
        # Its row is about to be committed: it must not count as hours old either.
        assert await sweeper.sweep(set(), before=before) == 0
        if sweeper is not store:
            sweeper.close()
        return await read(store, blob)

    assert runner.run(scenario()) == bytes(2 * MIB)
