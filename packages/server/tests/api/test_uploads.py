"""Bytes on their way: clients that leave, that go on sending, that read slowly."""

import asyncio
import os
import time
import tracemalloc
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import httpx2
import pytest
from data_site import running_site

from algorium_server.domain.limits import (
    BLOB_CHUNK_BYTES,
    FILE_IN_ROW_BYTES_MAX,
    MIB,
    REFUSED_UPLOAD_BYTES_MAX,
    SENDING_THREADS_MAX,
)
from algorium_server.store.database import sqlite_url

DEADLINE_S = 30.0


@pytest.fixture
def site(sqlite_file, tmp_path, runner):
    stack = AsyncExitStack()
    site = running_site(sqlite_url(sqlite_file), tmp_path / "blobs")
    yield runner.run(stack.enter_async_context(site))
    runner.run(stack.aclose())


@pytest.fixture
def jane(site, runner):
    client = site.client()
    runner.run(client.post("/v1/data/.my", json={"name": "c"}))
    yield client
    runner.run(client.aclose())


@asynccontextmanager
async def connection(site):
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def wait_until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def head(method, path, *headers):
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Authorization: Simple jane-key", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


async def read_answer(reader):
    raw = await reader.readuntil(b"\r\n\r\n")
    lines = raw.decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    body = await reader.readexactly(int(fields.get("content-length", 0)))
    return int(lines[0].split()[1]), fields, body


async def read_head(reader):
    raw = await reader.readuntil(b"\r\n\r\n")
    lines = raw.decode().split("\r\n")
    return int(lines[0].split()[1]), lines[1:], b""


async def names(jane):
    return [f["filename"] for f in (await jane.get("/v1/data/.my/c")).json()["files"]]


def open_blobs(site):
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            continue
    return [link for link in links if link.startswith(str(site.blobs_dir))]


# Clients that leave

LENGTH = f"Content-Length: {8 * MIB}"
CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize("framing", [LENGTH, CHUNKED])
@pytest.mark.parametrize("ending", ["close", "half-close", "reset"])
def test_a_client_that_leaves_during_an_upload_leaves_nothing(site, jane, runner, framing, ending):
    async def scenario():
        old = b"old" * FILE_IN_ROW_BYTES_MAX  # too long for its row
        await jane.put("/v1/data/.my/c/f", content=old)
        async with connection(site) as (_, writer):
            writer.write(head("PUT", "/v1/data/.my/c/f", framing))
            data = bytes(3 * MIB)
            writer.write(b"%x\r\n%s\r\n" % (len(data), data) if framing == CHUNKED else data)
            await writer.drain()
            await wait_until(lambda: len(site.blob_files()) == 2)
            if ending == "half-close":
                writer.write_eof()
                await wait_until(lambda: len(site.blob_files()) == 1)
            elif ending == "reset":
                writer.transport.abort()
        await wait_until(lambda: len(site.blob_files()) == 1)
        assert (await jane.get("/v1/data/.my/c/f")).content == old

    runner.run(scenario())


def test_a_malformed_chunk_stores_nothing(site, jane, runner):
    async def scenario():
        async with connection(site) as (reader, writer):
            writer.write(head("PUT", "/v1/data/.my/c/f", CHUNKED) + b"5\r\nhello\r\nzz\r\n")
            status, _, _ = await read_answer(reader)
        assert status == 400
        await wait_until(lambda: site.blob_files() == [])
        assert await names(jane) == []

    runner.run(scenario())


def test_an_upload_is_not_visible_before_its_end(site, jane, runner):
    data = os.urandom(3 * MIB)

    async def scenario():
        async with connection(site) as (reader, writer):
            length = f"Content-Length: {len(data)}"
            writer.write(head("PUT", "/v1/data/.my/c/f", length) + data[:-1])
            await wait_until(site.blob_files)
            assert (await jane.head("/v1/data/.my/c/f")).status_code == 404
            assert await names(jane) == []
            writer.write(data[-1:])
            status, _, body = await read_answer(reader)
        assert (status, body) == (200, b'{"result":"data://.my/c/f"}')
        assert (await jane.get("/v1/data/.my/c/f")).content == data

    runner.run(scenario())


# Refusals before the end of the body


def test_a_client_still_sending_gets_the_refusal_at_once(site, runner):
    async def scenario():
        async with connection(site) as (reader, writer):
            writer.write(head("PUT", "/v1/data/.my/absent/f", LENGTH) + bytes(MIB))
            answer = await read_answer(reader)
            writer.write(bytes(7 * MIB))
            await writer.drain()
            rest = await reader.read()
        return answer, rest

    (status, fields, body), rest = runner.run(scenario())
    assert (status, body) == (404, b'{"error":{"message":"path not found"}}')
    assert fields["connection"] == "close"
    assert fields["x-error-message"] == "path not found"
    assert rest == b""


def test_a_refused_verb_names_the_allowed_ones_also_before_the_end_of_the_body(site, runner):
    async def scenario():
        async with connection(site) as (reader, writer):
            writer.write(head("PUT", "/v1/hostedData", LENGTH) + bytes(MIB))
            return await read_answer(reader)

    status, fields, _ = runner.run(scenario())
    assert status == 405
    assert fields["allow"] == "get"


@pytest.mark.parametrize("framing", [LENGTH, CHUNKED])
def test_a_client_that_sends_all_before_it_reads_gets_the_refusal(site, jane, runner, framing):
    async def chunks():
        for _ in range(8):
            yield bytes(MIB)

    async def scenario():
        body = {"content": bytes(8 * MIB)} if framing == LENGTH else {"content": chunks()}
        return await jane.put("/v1/data/nobody/absent/f", **body)

    response = runner.run(scenario())
    assert response.status_code == 404
    assert response.json() == {"error": {"message": "path not found"}}
    assert site.blob_files() == []


def test_a_refused_client_is_not_listened_to_for_ever(site, runner):
    async def scenario():
        announced = f"Content-Length: {1024 * REFUSED_UPLOAD_BYTES_MAX}"
        async with connection(site) as (reader, writer):
            writer.write(head("PUT", "/v1/data/.my/absent/f", announced))
            status, _, _ = await read_answer(reader)
            sent_bytes = 0
            try:
                while True:
                    writer.write(bytes(MIB))
                    await writer.drain()
                    sent_bytes += MIB
            except ConnectionError:
                return status, sent_bytes

    status, sent_bytes = runner.run(scenario())
    assert status == 404
    assert sent_bytes < 8 * REFUSED_UPLOAD_BYTES_MAX


def test_a_refused_short_upload_keeps_the_connection(site, runner):
    async def scenario():
        async with connection(site) as (reader, writer):
            request = head("PUT", "/v1/data/.my/absent/f", "Content-Length: 5") + b"hello"
            writer.write(request)
            first = await read_answer(reader)
            writer.write(request)
            return first, await read_answer(reader)

    for status, fields, _ in runner.run(scenario()):
        assert status == 404
        assert "connection" not in fields


def test_a_client_that_waits_for_the_word_is_not_told_to_send_in_vain(site, jane, runner):
    async def scenario(path):
        async with connection(site) as (reader, writer):
            writer.write(head("PUT", path, LENGTH, "Expect: 100-continue"))
            status, fields, _ = await read_answer(reader)
            if status == 100:
                writer.write(bytes(8 * MIB))
                return status, await read_answer(reader)
            return status, fields["connection"], await reader.read()

    assert runner.run(scenario("/v1/data/.my/absent/f")) == (404, "close", b"")
    word, (status, _, _) = runner.run(scenario("/v1/data/.my/c/f"))
    assert (word, status) == (100, 200)


# Downloads


@asynccontextmanager
async def large_file(site, jane, size_bytes=32 * MIB):
    async def chunks():
        for _ in range(size_bytes // MIB):
            yield bytes(MIB)

    await jane.put("/v1/data/.my/c/large", content=chunks())
    yield "/v1/data/.my/c/large"


def test_a_client_that_leaves_during_a_download_lets_go_of_the_file(site, jane, runner):
    async def scenario():
        async with large_file(site, jane) as path, connection(site) as (reader, writer):
            writer.write(head("GET", path))
            await reader.readexactly(MIB)
            assert len(open_blobs(site)) == 1
            writer.transport.abort()
            await wait_until(lambda: open_blobs(site) == [])

    runner.run(scenario())


def test_a_file_is_whole_even_if_it_is_replaced_and_deleted_under_a_slow_reader(site, jane, runner):
    async def scenario():
        async with large_file(site, jane) as path:
            async with jane.stream("GET", path) as response:
                stream = response.aiter_raw()
                read_bytes = len(await anext(stream))
                await jane.put(path, content=b"new")
                assert (await jane.get(path)).content == b"new"
                await jane.delete("/v1/data/.my/c?force=true")
                assert site.blob_files() == []
                async for chunk in stream:
                    read_bytes += len(chunk)
            assert read_bytes == int(response.headers["content-length"]) == 32 * MIB
            await wait_until(lambda: open_blobs(site) == [])

    runner.run(scenario())


def test_a_damaged_file_is_an_error_before_and_a_broken_connection_after_the_start(
    site, jane, runner
):
    async def read_while_it_is_cut(path, blob):
        async with jane.stream("GET", path) as response:
            stream = response.aiter_raw()
            await anext(stream)
            os.truncate(blob, 16 * MIB)
            async for _ in stream:
                pass

    async def scenario():
        async with large_file(site, jane) as path:
            (blob,) = site.blob_files()
            with pytest.raises(httpx2.RemoteProtocolError):
                await read_while_it_is_cut(path, blob)
            refused = await jane.get(path)
            assert refused.status_code == 500
            assert refused.json()["error"]["message"] == "storage failure: the file is damaged"
            assert "id" in refused.json()["error"]

    runner.run(scenario())


def test_many_slow_readers_hold_up_neither_each_other_nor_the_threads(site, jane, runner):
    data = os.urandom(6 * MIB)

    async def read_slowly(path):
        async with connection(site) as (reader, writer):
            writer.write(head("GET", path))
            await reader.readuntil(b"\r\n\r\n")
            received = bytearray()
            while len(received) < len(data):
                received += await reader.read(MIB)
                await asyncio.sleep(0)
            writer.write(head("HEAD", path))  # the connection lives on
            status, _, _ = await read_head(reader)
            return bytes(received), status

    async def scenario():
        path = "/v1/data/.my/c/large"
        await jane.put(path, content=data)
        async with AsyncExitStack() as stack:
            # These never read on, and are more than there are threads.
            for _ in range(3 * SENDING_THREADS_MAX):
                reader, writer = await stack.enter_async_context(connection(site))
                writer.write(head("GET", path))
                await reader.readuntil(b"\r\n\r\n")
            return await asyncio.gather(*(read_slowly(path) for _ in range(6)))

    assert runner.run(scenario()) == 6 * [(data, 200)]


def test_several_requests_at_once_are_answered_in_their_order(site, jane, runner):
    data = os.urandom(2 * MIB)

    async def scenario():
        path = "/v1/data/.my/c/large"
        await jane.put(path, content=data)
        async with connection(site) as (reader, writer):
            writer.write(3 * head("GET", path) + head("GET", "/v1/data/.my/absent/f"))
            return [await read_answer(reader) for _ in range(4)]

    *files, missing = runner.run(scenario())
    assert [(status, body) for status, _, body in files] == 3 * [(200, data)]
    assert missing[0] == 404


def test_a_part_of_a_long_file_goes_the_same_way(site, jane, runner):
    data = os.urandom(4 * MIB)

    async def scenario():
        path = "/v1/data/.my/c/large"
        await jane.put(path, content=data)
        return await jane.get(path, headers={"range": f"bytes=1001-{3 * MIB}"})

    assert runner.run(scenario()).content == data[1001 : 3 * MIB + 1]


def test_readers_see_whole_versions_while_a_file_is_replaced(site, jane, runner):
    versions = [bytes([number]) * (2 * BLOB_CHUNK_BYTES + number) for number in range(6)]

    async def scenario():
        path = "/v1/data/.my/c/f"
        await jane.put(path, content=versions[0])
        is_done = asyncio.Event()

        async def write():
            for version in versions * 2:
                await jane.put(path, content=version)
            is_done.set()

        async def read():
            seen = []
            while not is_done.is_set():
                seen.append(await jane.get(path))
            return seen

        _, *readers = await asyncio.gather(write(), read(), read(), read())
        return [response for seen in readers for response in seen]

    responses = runner.run(scenario())
    assert responses
    assert {response.status_code for response in responses} == {200}
    assert all(response.content in versions for response in responses)
    assert len(site.blob_files()) == 1


@pytest.mark.slow
def test_memory_does_not_depend_on_the_size_of_a_file(site, jane, runner):
    size_bytes = 96 * MIB

    async def scenario():
        async with large_file(site, jane, size_bytes) as path:
            read_bytes = 0
            async with jane.stream("GET", path) as response:
                async for chunk in response.aiter_raw():
                    read_bytes += len(chunk)
        return read_bytes

    tracemalloc.start()
    try:
        assert runner.run(scenario()) == size_bytes
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 16 * MIB


def test_others_are_served_while_large_files_move(site, jane, runner):
    async def scenario():
        is_done = asyncio.Event()
        waits_s = []

        async def ask():
            while not is_done.is_set():
                began = time.monotonic()
                assert (await jane.head("/v1/data/.my/c")).status_code == 200
                waits_s.append(time.monotonic() - began)

        async def move():
            async with large_file(site, jane) as path, jane.stream("GET", path) as response:
                async for _ in response.aiter_raw():
                    pass
            is_done.set()

        await asyncio.gather(move(), ask())
        return waits_s

    waits_s = sorted(runner.run(scenario()))
    assert len(waits_s) > 10
    assert waits_s[len(waits_s) // 2] < 0.5


@pytest.mark.parametrize("count", [1, 30])
def test_uploads_to_one_name_leave_one_whole_file(site, jane, runner, count):
    bodies = [bytes([number]) * 100_000 for number in range(count)]

    async def scenario():
        path = "/v1/data/.my/c/f"
        answers = await asyncio.gather(*(jane.put(path, content=body) for body in bodies))
        assert {answer.status_code for answer in answers} == {200}
        return (await jane.get(path)).content

    assert runner.run(scenario()) in bodies
    assert len(site.blob_files()) == 1
