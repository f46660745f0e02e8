"""
What every storage for blobs must do; each implementation passes this suite.

The emulator of Google's storage has a front for the requests that it lacks; see `gs_front.py`.
"""

import asyncio
import hashlib
import json
import os
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from blake3 import blake3
from peers import AZURE_ACCOUNT, running_azure, running_gs, running_s3

from algorium_server.data.blobs import BlobMissing, in_row, keep
from algorium_server.data.bucket import BucketBlobs
from algorium_server.data.local import LocalBlobs
from algorium_server.data.storage_url import StorageUrl
from algorium_server.domain.errors import InternalError, Unavailable
from algorium_server.domain.limits import (
    BLOB_CHUNK_BYTES,
    FILE_IN_ROW_BYTES_MAX,
    MIB,
)

PART_BYTES = 5 * MIB
"""As short as S3 allows: less to carry about in tests."""
LARGE = 2 * PART_BYTES + 1
"""Three parts in an object store."""


def bucket_blobs(url, env):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        return BucketBlobs(StorageUrl.parse(url))


def local(_stack, directory):
    return LocalBlobs(directory / "blobs")


def s3(stack, directory):
    peer = stack.enter_context(running_s3(directory))
    return bucket_blobs(
        f"s3://bucket/some/where?endpoint={peer.endpoint}&allow_http=true",
        {
            "AWS_ACCESS_KEY_ID": peer.credentials["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": peer.credentials["secret_access_key"],
        },
    )


def gs(stack, directory):
    peer = stack.enter_context(running_gs(directory))
    # The emulator asks for no credentials, so the key is only read.
    service_account = {**peer.credentials, "client_email": peer.credentials["email"]}
    return bucket_blobs(
        f"gs://bucket/some/where?endpoint={peer.endpoint}&allow_http=true",
        {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps({**service_account, "disable_oauth": True})},
    )


def azure(stack, directory):
    peer = stack.enter_context(running_azure(directory))
    return bucket_blobs(
        f"az://container/some/where?endpoint={peer.endpoint}&allow_http=true",
        {
            "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT,
            "AZURE_STORAGE_SAS_TOKEN": peer.credentials["sas_token"],
        },
    )


@pytest.fixture(scope="module", params=[local, s3, gs, azure], ids=lambda make: make.__name__)
def store(request, tmp_path_factory):
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr("algorium_server.data.bucket.BUCKET_PART_BYTES", PART_BYTES)
        store = request.param(stack, tmp_path_factory.mktemp("store"))
        yield store
        store.close()


async def pieces(data, size=MIB):
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def read(store, key, size_bytes, **part):
    reader = await store.open(key, size_bytes=size_bytes, **part)
    try:
        chunks = [chunk async for chunk in reader.chunks()]
        assert all(0 < len(chunk) <= BLOB_CHUNK_BYTES for chunk in chunks)
        assert sum(map(len, chunks)) == reader.size_bytes
        return b"".join(chunks)
    finally:
        await reader.close()
        await reader.close()


async def keys(store):
    return {blob.key: blob.size_bytes async for blob in store.found()}


@pytest.mark.parametrize("size_bytes", [0, 1, LARGE])
def test_what_is_written_is_read_back_and_told(store, runner, size_bytes):
    data = os.urandom(size_bytes)

    async def scenario():
        blob = await store.write(pieces(data))
        assert blob.size_bytes == size_bytes
        assert blob.md5 == hashlib.md5(data).hexdigest()
        assert blob.checksum == f"blake3:{blake3(data).hexdigest()}"
        assert await read(store, blob.key, size_bytes) == data
        assert (await keys(store))[blob.key] == size_bytes
        await store.delete(blob.key)
        assert blob.key not in await keys(store)
        with pytest.raises(BlobMissing):
            await store.open(blob.key, size_bytes=size_bytes)
        await store.delete(blob.key, "0" * 32)

    runner.run(scenario())


def test_parts_are_read_alone(store, runner):
    data = os.urandom(3 * MIB)

    async def scenario():
        blob = await store.write(pieces(data))
        for start, end in ((0, 1), (5, MIB + 5), (3 * MIB - 1, None), (7, 99 * MIB), (3 * MIB, 9)):
            assert await read(store, blob.key, len(data), start=start, end=end) == data[start:end]

    runner.run(scenario())


def test_another_length_is_damage(store, runner):
    async def scenario():
        blob = await store.write(pieces(b"hello"))
        with pytest.raises(InternalError, match="damaged"):
            await store.open(blob.key, size_bytes=4)

    runner.run(scenario())


@pytest.mark.parametrize("size_bytes", [MIB, LARGE])
def test_an_error_of_the_source_is_raised_and_leaves_nothing(store, runner, size_bytes):
    async def broken():
        async for piece in pieces(bytes(size_bytes)):
            yield piece
        raise ConnectionError("gone")

    async def scenario():
        before = await keys(store)
        with pytest.raises(ConnectionError, match="gone"):
            await store.write(broken())
        assert await keys(store) == before

    runner.run(scenario())


def test_a_cancelled_write_leaves_nothing(store, runner):
    async def scenario():
        before = await keys(store)
        is_waiting = asyncio.Event()

        async def stalling():
            async for piece in pieces(bytes(LARGE)):
                yield piece
            is_waiting.set()
            await asyncio.Event().wait()

        writing = asyncio.ensure_future(store.write(stalling()))
        async with asyncio.timeout(60):
            await is_waiting.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert await keys(store) == before

    runner.run(scenario())


def test_a_duplicate_has_a_life_of_its_own(store, runner):
    async def scenario():
        blob = await store.write(pieces(b"hello"))
        key = await store.duplicate(blob.key)
        assert key != blob.key
        await store.delete(blob.key)
        assert await read(store, key, 5) == b"hello"
        with pytest.raises(BlobMissing):
            await store.duplicate(blob.key)

    runner.run(scenario())


def test_a_file_is_adopted(store, runner, tmp_path):
    path = tmp_path / "finished"
    path.write_bytes(bytes(LARGE))

    async def scenario():
        key = await store.adopt(path)
        path.unlink()
        assert await read(store, key, LARGE) == bytes(LARGE)
        with pytest.raises(BlobMissing):
            await store.adopt(path)

    runner.run(scenario())


def test_what_no_row_points_to_is_swept_sooner_or_later(store, runner):
    async def scenario():
        live = await store.write(pieces(b"live"))
        await store.write(pieces(b"dead"))
        for _ in range(2):
            await store.sweep({live.key}, before=datetime.now(UTC))
        assert await keys(store) == {live.key: 4}

    runner.run(scenario())


def test_short_content_needs_no_blob(store, runner):
    async def scenario():
        before = await keys(store)
        short = await keep(store, pieces(b"x" * FILE_IN_ROW_BYTES_MAX, 1000))
        assert short.content == b"x" * FILE_IN_ROW_BYTES_MAX
        assert await keys(store) == before
        await store.delete(short.key)

        long = await keep(store, pieces(b"x" * (FILE_IN_ROW_BYTES_MAX + 1), 1000))
        assert long.content is None
        assert await read(store, long.key, long.size_bytes) == b"x" * long.size_bytes
        expected = in_row(b"x" * long.size_bytes)
        assert (long.md5, long.checksum) == (expected.md5, expected.checksum)

    runner.run(scenario())


def test_a_store_that_does_not_answer_is_found_out_at_once(runner):
    store = bucket_blobs(
        "s3://bucket?endpoint=http://127.0.0.1:1&allow_http=true",
        {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "very secret"},
    )

    with pytest.raises(Unavailable, match="cannot use the object store") as caught:
        runner.run(store.check())
    assert "very secret" not in caught.value.message
