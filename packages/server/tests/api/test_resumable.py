"""Uploads that go on after a cut: over HTTP, against a real server, rows and files."""

import asyncio
import hashlib
import os
import random
from contextlib import AsyncExitStack

import pytest
from data_site import Web, running_site

from algorium_server.data.parts import PartFiles
from algorium_server.domain.errors import QuotaExceeded
from algorium_server.domain.limits import (
    BLOB_WRITE_BYTES,
    UPLOAD_AGE_S,
    UPLOAD_PART_BYTES,
    UPLOAD_PART_BYTES_MIN,
    UPLOAD_PARTS_MAX,
)
from algorium_server.domain.storage import Quota
from algorium_server.services.files.resumable import ResumableUploads
from algorium_server.store import uploads as upload_rows

PART = UPLOAD_PART_BYTES_MIN
DATA = os.urandom(4 * PART + 123)
PARTS = [DATA[start : start + PART] for start in range(0, len(DATA), PART)]
MD5 = hashlib.md5(DATA).hexdigest()
F = "/v1/data/.my/c/f"
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what does not depend on the database."""


@pytest.fixture
def site(database_url, tmp_path, runner):
    stack = AsyncExitStack()
    yield runner.run(stack.enter_async_context(running_site(database_url, tmp_path / "blobs")))
    runner.run(stack.aclose())


@pytest.fixture
def jane(site, runner):
    jane = Web(runner, site.client())
    assert jane.post("/v1/data/.my", json={"name": "c"}).status_code == 200
    yield jane
    runner.run(jane.client.aclose())


def begin(web, uri="data://.my/c/f", headers=None, **fields):
    answer = web.post(
        "/v1/uploads", json={"uri": uri, "part_bytes": PART, **fields}, headers=headers
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["upload_id"]


def put_part(web, upload, number, data=None, **options):
    data = PARTS[number - 1] if data is None else data
    return web.put(f"/v1/uploads/{upload}/parts/{number}", content=data, **options)


def complete(web, upload, count=5, **fields):
    return web.post(f"/v1/uploads/{upload}/complete", json={"parts_count": count, **fields})


def refused(response, status):
    error = response.json()["error"]
    assert response.status_code == status, response.text
    assert response.headers["x-error-message"] == error["message"]
    return error["message"]


def staged(site):
    return sorted(path.name for path in site.blobs_dir.with_name("uploads").iterdir())


def test_a_file_in_parts_in_any_order(site, jane, runner):
    answer = jane.post(
        "/v1/uploads", json={"uri": "data://jane/C/f", "size_bytes": len(DATA), "part_bytes": PART}
    )
    begun = answer.json()
    upload = begun["upload_id"]
    numbers = list(range(1, len(PARTS) + 1))
    random.Random(4).shuffle(numbers)

    assert answer.status_code == 201
    assert begun["uri"] == "data://jane/c/f"
    assert (begun["part_bytes"], begun["parts_max"]) == (PART, UPLOAD_PARTS_MAX)

    async def send():
        path = f"/v1/uploads/{upload}/parts"
        puts = (jane.client.put(f"{path}/{n}", content=PARTS[n - 1]) for n in numbers)
        return [answer.json() for answer in await asyncio.gather(*puts)]

    parts = runner.run(send())
    assert {part["number"]: part["md5"] for part in parts} == {
        number: hashlib.md5(data).hexdigest() for number, data in enumerate(PARTS, 1)
    }
    assert jane.get(f"/v1/uploads/{upload}").json()["parts"] == sorted(
        parts, key=lambda part: part["number"]
    )
    assert jane.head(F).status_code == 404
    done = complete(jane, upload, md5=MD5.upper())
    assert done.json() == {
        "result": "data://jane/c/f",
        "etag": jane.head(F).headers["etag"].strip('"'),
        "md5": MD5,
        "size_bytes": len(DATA),
    }
    assert jane.get(F).content == DATA
    assert staged(site) == []
    assert complete(jane, upload).json() == done.json()
    assert jane.get("/v1/uploads").json() == {"results": []}
    assert jane.delete(f"/v1/uploads/{upload}").status_code == 204
    refused(jane.get(f"/v1/uploads/{upload}"), 404)
    assert jane.get(F).content == DATA


def test_parts_are_told_apart_from_what_is_missing_and_sent_again(site, jane):
    upload = begin(jane)
    put_part(jane, upload, 1)
    put_part(jane, upload, 4)
    put_part(jane, upload, 5)

    assert refused(complete(jane, upload), 400) == "2 of 5 parts are missing: 2, 3"
    put_part(jane, upload, 2, os.urandom(PART))
    put_part(jane, upload, 3, PARTS[2][:-1])
    assert "part 3 is not the last one" in refused(complete(jane, upload), 400)
    put_part(jane, upload, 3)
    refused(complete(jane, upload, 4), 400)
    assert "md5" in refused(complete(jane, upload, md5=MD5), 400)
    assert jane.head(F).status_code == 404
    put_part(jane, upload, 2)
    assert complete(jane, upload, md5=MD5).status_code == 200
    assert jane.get(F).content == DATA
    refused(put_part(jane, upload, 2), 400)
    assert jane.get(F).content == DATA


@ON_SQLITE
def test_an_empty_file_has_no_parts_or_an_empty_one(jane):
    assert complete(jane, begin(jane), 0).json()["size_bytes"] == 0
    assert jane.get(F).content == b""
    upload = begin(jane, "data://.my/c/g", size_bytes=0)
    assert put_part(jane, upload, 1, b"").json()["size_bytes"] == 0
    assert complete(jane, upload, 1).status_code == 200


@ON_SQLITE
def test_a_shorter_part_leaves_nothing_of_the_longer_one_before_it(jane):
    upload = begin(jane)
    put_part(jane, upload, 1)
    put_part(jane, upload, 2)
    put_part(jane, upload, 2, b"end")

    assert complete(jane, upload, 2).json()["size_bytes"] == PART + 3
    assert jane.get(F).content == PARTS[0] + b"end"


@ON_SQLITE
def test_what_is_wrong_with_a_part(site, jane):
    upload = begin(jane, size_bytes=PART + 10)
    wrong = {"content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="}

    async def chunks(size_bytes):
        yield bytes(size_bytes)

    refused(put_part(jane, upload, 1, headers=wrong), 400)
    refused(put_part(jane, upload, 1, bytes(PART + 1)), 413)
    refused(put_part(jane, upload, 1, chunks(PART + 1)), 413)
    refused(put_part(jane, upload, 1, bytes(PART - 1)), 400)
    refused(put_part(jane, upload, 1, chunks(PART - 1)), 400)
    refused(put_part(jane, upload, 2, bytes(11)), 413)
    for number in (0, 3, UPLOAD_PARTS_MAX + 1, "x", "-1", "1" * 30):
        refused(put_part(jane, upload, number, b"x"), 400)
    assert jane.get(f"/v1/uploads/{upload}").json()["parts"] == []


@ON_SQLITE
@pytest.mark.parametrize(
    "body",
    [
        b"nonsense",
        b"{}",
        b'{"uri": 1}',
        b'{"uri": "ftp://x"}',
        b'{"uri": "data://.my/c"}',
        b'{"uri": "data://.my/c/f", "size_bytes": -1}',
        b'{"uri": "data://.my/c/f", "size_bytes": 99999999999999999999}',
        b'{"uri": "data://.my/c/f", "part_bytes": 10}',
        b'{"uri": "data://.my/c/f", "size_bytes": "x"}',
    ],
)
def test_what_is_wrong_with_a_beginning(site, jane, body):
    refused(jane.post("/v1/uploads", content=body), 400)
    assert staged(site) == []


@ON_SQLITE
def test_long_files_have_longer_parts(jane):
    def parts(**fields):
        answer = jane.post("/v1/uploads", json={"uri": "data://.my/c/f", **fields})
        return answer.json().get("part_bytes", answer.status_code)

    assert parts() == parts(size_bytes=3 * 2**30) == UPLOAD_PART_BYTES
    assert parts(size_bytes=UPLOAD_PART_BYTES * UPLOAD_PARTS_MAX + 1) == 2 * UPLOAD_PART_BYTES
    assert parts(size_bytes=2**60) == 413
    assert parts(size_bytes=PART * UPLOAD_PARTS_MAX + 1, part_bytes=PART) == 413


@ON_SQLITE
def test_addresses_and_verbs_that_are_none(jane):
    upload = begin(jane)

    assert jane.put("/v1/uploads").headers["allow"] == "GET, POST"
    assert jane.put(f"/v1/uploads/{upload}").headers["allow"] == "GET, DELETE"
    assert jane.get(f"/v1/uploads/{upload}/complete").headers["allow"] == "POST"
    refused(jane.get(f"/v1/uploads/{upload}/nonsense"), 404)
    refused(jane.get("/v1/uploads/../../etc/passwd"), 404)
    refused(jane.get("/v1/uploads/%2e%2e"), 404)


@ON_SQLITE
def test_only_who_began_it_knows_of_it(site, jane, runner):
    bob, nobody = Web(runner, site.client("bob")), Web(runner, site.client(""))
    reader = Web(runner, site.client("reading"))
    inside = Web(runner, site.client_inside(site.inside("jane")))
    upload, hers = begin(jane), begin(inside)

    for who, one, status in (
        (bob, upload, 404),
        (inside, upload, 404),
        (jane, hers, 404),
        (reader, upload, 403),
        (nobody, upload, 401),
    ):
        refused(who.get(f"/v1/uploads/{one}"), status)
        refused(put_part(who, one, 1), status)
        refused(complete(who, one), status)
        refused(who.delete(f"/v1/uploads/{one}"), status)
    listed = [one["upload_id"] for one in jane.get("/v1/uploads").json()["results"]]
    assert listed == [upload]
    refused(bob.post("/v1/uploads", json={"uri": "data://jane/c/f"}), 403)
    refused(bob.post("/v1/uploads", json={"uri": "data://.my/absent/f"}), 404)
    assert put_part(inside, hers, 1, b"x").status_code == 200
    assert complete(inside, hers, 1).status_code == 200
    for who in (bob, nobody, reader, inside):
        runner.run(who.client.aclose())


def test_what_was_demanded_must_hold_at_the_end(jane):
    refused(
        jane.post("/v1/uploads", json={"uri": "data://.my/c/f"}, headers={"if-match": '"x"'}), 412
    )
    upload = begin(jane, headers={"if-none-match": "*"})
    put_part(jane, upload, 1, b"new")
    etag = jane.put(F, content=b"old").headers["etag"]

    refused(complete(jane, upload, 1), 412)
    assert jane.get(F).content == b"old"
    jane.delete(F)
    assert complete(jane, upload, 1).status_code == 200
    upload = begin(jane, headers={"if-match": jane.head(F).headers["etag"]})
    put_part(jane, upload, 1, b"newer")
    assert complete(jane, upload, 1).status_code == 200
    assert jane.get(F).content == b"newer"
    assert etag != jane.head(F).headers["etag"]


@ON_SQLITE
def test_the_right_to_write_must_hold_at_the_end(site, jane, runner):
    upload = begin(jane)
    put_part(jane, upload, 1, b"x")
    jane.delete("/v1/data/.my/c")
    refused(complete(jane, upload, 1), 404)
    jane.post("/v1/data/.my", json={"name": "c"})
    assert complete(jane, upload, 1).status_code == 200


@pytest.mark.parametrize("upload", ["absent", "%00", "..%2F..%2Fetc", "%ED%A0%80", "x" * 5000])
def test_ids_that_are_none(jane, upload):
    refused(jane.get(f"/v1/uploads/{upload}"), 404)
    refused(jane.delete(f"/v1/uploads/{upload}"), 404)
    refused(put_part(jane, upload, 1), 404)
    refused(complete(jane, upload), 404)


def limit_to(site, quota):
    site.uploads._quota_of = site.data._commits.quota_of = lambda _account_id: quota


def test_parts_that_wait_count_towards_the_quota(site, jane, runner):
    quota = Quota(bytes_max=3 * PART)
    limit_to(site, quota)
    too_long = jane.post("/v1/uploads", json={"uri": "data://.my/c/f", "size_bytes": 3 * PART + 1})
    refused(too_long, 507)
    upload, other = begin(jane), begin(jane, "data://.my/c/g")
    put_part(jane, upload, 1)
    put_part(jane, other, 1)

    assert put_part(jane, upload, 2).status_code == 200
    assert put_part(jane, upload, 2).status_code == 200  # again, instead of itself
    over = put_part(jane, upload, 3)
    refused(over, 507)
    error = over.json()["error"]
    assert (error["limit"], error["used"], error["unit"]) == (3 * PART, 3 * PART, "bytes")
    assert staged(site) == sorted([upload, other])
    assert jane.delete(f"/v1/uploads/{other}").status_code == 204
    assert put_part(jane, upload, 3).status_code == 200
    assert complete(jane, upload, 3).status_code == 200
    refused(jane.post("/v1/uploads", json={"uri": "data://.my/c/g", "size_bytes": 1}), 507)
    jane.delete(F)
    upload = begin(jane, size_bytes=PART)
    jane.put("/v1/data/.my/c/other", content=bytes(2 * PART + 1))
    refused(put_part(jane, upload, 1), 507)


@ON_SQLITE
def test_a_part_that_is_refused_takes_no_space(site, jane):
    upload = begin(jane)
    file = site.blobs_dir.with_name("uploads") / upload

    async def chunks(count):
        for _ in range(count):
            yield bytes(range(256)) * 16

    def disk_bytes():
        return file.stat().st_blocks * 512

    assert put_part(jane, upload, 1).status_code == 200
    kept_bytes = disk_bytes()
    assert put_part(jane, upload, 2).status_code == 200
    assert put_part(jane, upload, 2, b"").status_code == 200  # instead of itself
    long = begin(jane, "data://.my/c/h", part_bytes=2 * BLOB_WRITE_BYTES)
    wrong = {"content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="}
    refused(put_part(jane, long, 2, bytes(2 * BLOB_WRITE_BYTES), headers=wrong), 400)
    begun = begin(jane, "data://.my/c/g", size_bytes=len(DATA))
    refused(put_part(jane, begun, 1, chunks(5)), 400)
    limit_to(site, Quota(bytes_max=PART + 4095))
    refused(put_part(jane, upload, 4, chunks(5)), 507)

    assert disk_bytes() == kept_bytes
    assert file.with_name(long).stat().st_size > BLOB_WRITE_BYTES
    assert file.with_name(long).stat().st_blocks == 0
    assert file.with_name(begun).stat().st_blocks == 0


@ON_SQLITE
def test_a_part_of_unknown_length_is_not_read_beyond_the_quota(site, jane, runner):
    limit_to(site, Quota(bytes_max=10_000))
    upload = begin(jane)
    sent_bytes = 0

    async def chunks():
        nonlocal sent_bytes
        for _ in range(PART // 4096):
            yield bytes(4096)
            sent_bytes += 4096

    async def put():
        hers = site.principal("jane")
        with pytest.raises(QuotaExceeded):
            await site.uploads.put_part(hers, upload, 1, chunks())

    runner.run(put())

    assert sent_bytes == 8192


def test_it_goes_on_after_a_restart(site, jane, runner):
    upload = begin(jane)
    for number in (2, 1, 3):
        put_part(jane, upload, number)
    # As after a crash: nothing but rows and files is left.
    parts = PartFiles(site.blobs_dir.with_name("uploads"))
    anew = ResumableUploads(site.database, site.blobs, parts, site.data, clock=site.clock)
    hers = site.principal("jane")

    async def rest():
        for number in (4, 5):

            async def chunks(data=PARTS[number - 1]):
                yield data

            await anew.put_part(hers, upload, number, chunks())
        return await anew.complete(hers, upload, parts_count=5, md5=MD5)

    assert runner.run(rest()).size_bytes == len(DATA)
    assert complete(jane, upload, md5=MD5).status_code == 200
    assert jane.get(F).content == DATA
    parts.close()


def test_a_part_that_breaks_off_is_missing_even_if_it_was_there(site, jane, runner):
    upload = begin(jane)
    put_part(jane, upload, 1)

    async def broken():
        yield b"half"
        raise OSError("the line is cut")

    with pytest.raises(OSError, match="cut"):
        runner.run(site.uploads.put_part(site.principal("jane"), upload, 1, broken()))
    assert jane.get(f"/v1/uploads/{upload}").json()["parts"] == []
    put_part(jane, upload, 1, b"whole")
    assert complete(jane, upload, 1).status_code == 200
    assert jane.get(F).content == b"whole"


@ON_SQLITE
@pytest.mark.parametrize("by", ["itself", "another process"])
def test_a_part_sent_anew_takes_the_place_of_one_that_hangs(site, jane, runner, by):
    upload = begin(jane)
    hers = site.principal("jane")
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def hanging():
        yield b"x" * (2 * PART // 3)
        has_begun.set()
        await may_end.wait()
        yield b"x" * 10

    async def anew():
        yield PARTS[0]

    async def scenario():
        service = site.uploads
        if by != "itself":
            parts = PartFiles(site.blobs_dir.with_name("uploads"))
            service = ResumableUploads(
                site.database, site.blobs, parts, site.data, clock=site.clock
            )
        first = asyncio.ensure_future(service.put_part(hers, upload, 1, hanging()))
        await has_begun.wait()
        second = asyncio.ensure_future(site.uploads.put_part(hers, upload, 1, anew()))
        if by == "itself":
            await second
        may_end.set()
        outcomes = await asyncio.gather(first, second, return_exceptions=True)
        if by != "itself":
            parts.close()
        return [type(outcome).__name__ for outcome in outcomes]

    outcomes = runner.run(scenario())
    assert outcomes == (["AlreadyExists" if by == "itself" else "UploadPart", "UploadPart"])
    assert complete(jane, upload, 1).status_code == 200
    assert jane.get(F).content == PARTS[0]


def test_finishing_waits_for_parts_and_happens_once(site, jane, runner):
    upload = begin(jane)
    for number in range(1, 6):
        put_part(jane, upload, number)

    async def scenario():
        path = f"/v1/uploads/{upload}/complete"
        ends = (jane.client.post(path, json={"parts_count": 5}) for _ in range(6))
        return await asyncio.gather(*ends)

    answers = runner.run(scenario())
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["etag"] for answer in answers}) == 1
    refused(complete(jane, upload, md5="0" * 32), 400)
    assert jane.get(F).content == DATA
    assert len(site.blob_files()) == 1


@ON_SQLITE
def test_nobody_writes_into_a_file_that_is_finished(site, jane, runner):
    upload = begin(jane)
    put_part(jane, upload, 1)

    async def late():
        complete_path = f"/v1/uploads/{upload}/complete"
        answer = await jane.client.post(complete_path, json={"parts_count": 1})
        assert answer.status_code == 200
        yield b"late"

    async def scenario():
        # It has looked at the upload before, and opens the file after it is finished.
        begun = await site.uploads._of(site.principal("jane"), upload)
        async with site.uploads._parts.whole(upload):
            pass
        await jane.client.post(f"/v1/uploads/{upload}/complete", json={"parts_count": 1})
        site.uploads._of = lambda *_: _done(begun)
        try:
            await site.uploads.put_part(site.principal("jane"), upload, 1, late())
        finally:
            del site.uploads._of

    async def _done(value):
        return value

    with pytest.raises(Exception, match="not found"):
        runner.run(scenario())
    assert jane.get(F).content == PARTS[0]


def test_what_is_given_up_or_forgotten_leaves_nothing(site, jane, runner):
    given_up, forgotten, finished, kept = (begin(jane, f"data://.my/c/{n}") for n in "abcd")
    for upload in (given_up, forgotten, finished):
        put_part(jane, upload, 1, b"x")
    complete(jane, finished, 1)
    assert jane.delete(f"/v1/uploads/{given_up}").status_code == 204
    assert staged(site) == sorted([forgotten, kept])

    async def lengthen():
        async with site.database.transaction() as connection:
            await connection.execute(
                upload_rows.table.update()
                .where(upload_rows.table.c.upload_id == kept)
                .values(expires_at=site.clock.now.replace(year=site.clock.now.year + 1))
            )

    runner.run(lengthen())
    site.clock.advance(seconds=UPLOAD_AGE_S + 1)
    refused(jane.get(f"/v1/uploads/{forgotten}"), 404)
    (site.blobs_dir.with_name("uploads") / "garbage").write_bytes(b"of a crash")
    runner.run(site.uploads.sweep(site.clock.now))
    assert staged(site) == [kept]
    assert [one["upload_id"] for one in jane.get("/v1/uploads").json()["results"]] == [kept]
    assert jane.get("/v1/data/.my/c/c").content == b"x"
