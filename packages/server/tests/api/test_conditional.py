"""Files in part, under conditions and with digests: over HTTP, on a real server."""

import asyncio
import base64
import hashlib
from contextlib import AsyncExitStack
from datetime import timedelta
from email.utils import format_datetime

import pytest
from data_site import Web, running_site
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from algorium_server.domain.limits import BLOB_CHUNK_BYTES
from algorium_server.store.database import sqlite_url

F = "/v1/data/.my/c/f"
DATA = bytes(range(256)) * 4096
"""A megabyte: several pieces of a stream."""


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def site(runner, tmp_path_factory):
    """One installation for all these tests."""
    place = tmp_path_factory.mktemp("conditional")
    stack = AsyncExitStack()
    site = running_site(sqlite_url(place / "algorium.db"), place / "blobs")
    yield runner.run(stack.enter_async_context(site))
    runner.run(stack.aclose())


@pytest.fixture
def jane(site, runner):
    jane = Web(runner, site.client())
    for name in ("c", "d"):
        jane.delete(f"/v1/data/.my/{name}?force=true")
    assert jane.post("/v1/data/.my", json={"name": "c"}).status_code == 200
    yield jane
    runner.run(jane.client.aclose())


def refused(response, status):
    error = response.json()["error"]
    assert response.status_code == status, response.text
    assert response.headers["x-error-message"] == error["message"]
    return error


# Reading


def test_a_file_tells_its_version_and_its_digest(jane):
    put = jane.put(F, content=DATA)

    assert put.content == b'{"result":"data://.my/c/f"}'
    md5 = hashlib.md5(DATA)
    for answer in (jane.get(F), jane.head(F)):
        assert answer.status_code == 200
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["etag"] == put.headers["etag"]
        assert answer.headers["x-content-md5"] == put.headers["x-content-md5"] == md5.hexdigest()
        digest = base64.b64encode(md5.digest()).decode()
        assert answer.headers["repr-digest"] == f"md5=:{digest}:"
    assert jane.put(F, content=DATA).headers["etag"] != put.headers["etag"]


@pytest.mark.parametrize("data", [b"0123456789", DATA], ids=["short", "long"])
@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [("0-4", 0, 5), ("3-", 3, None), ("-4", -4, None), ("0-", 0, None), ("9-9", 9, 10)],
)
def test_a_part_of_a_file(jane, data, wanted, start, end):
    jane.put(F, content=data)
    got = jane.get(F, headers={"range": f"bytes={wanted}"})

    part = data[start:end]
    first = start if start >= 0 else len(data) + start
    assert got.status_code == 206
    assert got.content == part
    assert got.headers["content-length"] == str(len(part))
    assert got.headers["content-range"] == f"bytes {first}-{first + len(part) - 1}/{len(data)}"
    assert got.headers["x-data-type"] == "file"
    assert got.headers["content-type"] == "application/octet-stream"


def test_parts_over_the_borders_of_pieces(jane):
    jane.put(F, content=DATA)
    for start in (BLOB_CHUNK_BYTES - 1, BLOB_CHUNK_BYTES, 2 * BLOB_CHUNK_BYTES + 7):
        end = start + BLOB_CHUNK_BYTES + 1
        got = jane.get(F, headers={"range": f"bytes={start}-{end}"})
        assert got.content == DATA[start : end + 1]


def test_no_such_part(jane):
    jane.put(F, content=b"0123456789")
    got = jane.get(F, headers={"range": "bytes=10-"})

    error = refused(got, 416)
    assert error["size_bytes"] == 10
    assert got.headers["content-range"] == "bytes */10"
    assert "x-data-type" not in got.headers


@pytest.mark.parametrize("wanted", ["bytes=0-1,4-5", "bytes=5-1", "lines=1-2", "nonsense"])
def test_other_ranges_give_the_whole_file(jane, wanted):
    jane.put(F, content=b"0123456789")
    got = jane.get(F, headers={"range": wanted})

    assert (got.status_code, got.content) == (200, b"0123456789")
    assert "content-range" not in got.headers


def test_a_range_says_nothing_about_directories_and_heads(jane):
    jane.put(F, content=b"x")

    assert jane.get("/v1/data/.my/c", headers={"range": "bytes=0-1"}).json()["files"]
    assert jane.get("/v1/data/.my", headers={"if-match": '"x"'}).status_code == 200
    assert jane.get("/v1/data/", headers={"range": "bytes=0-1"}).status_code == 200
    assert jane.head(F, headers={"range": "bytes=0-0"}).status_code == 200


def test_a_part_only_of_the_version_that_is_known(jane):
    first = jane.put(F, content=b"0123456789").headers["etag"]
    modified = jane.head(F).headers["last-modified"]
    part = {"range": "bytes=5-"}

    assert jane.get(F, headers=part | {"if-range": first}).content == b"56789"
    assert jane.get(F, headers=part | {"if-range": modified}).status_code == 206
    assert jane.get(F, headers=part | {"if-range": f"W/{first}"}).status_code == 200
    jane.put(F, content=b"abcdefghij")
    changed = jane.get(F, headers=part | {"if-range": first})
    assert (changed.status_code, changed.content) == (200, b"abcdefghij")


def test_what_is_known_already_is_not_sent_again(jane, site):
    etag = jane.put(F, content=b"x").headers["etag"]
    modified = jane.head(F).headers["last-modified"]
    later = format_datetime(site.clock.now + timedelta(hours=1), usegmt=True)

    for headers in (
        {"if-none-match": etag},
        {"if-none-match": f'"other", W/{etag}'},
        {"if-none-match": "*"},
        {"if-modified-since": modified},
        {"if-modified-since": later},
    ):
        for method in (jane.get, jane.head):
            answer = method(F, headers=headers)
            assert (answer.status_code, answer.content) == (304, b""), headers
            assert answer.headers["etag"] == etag
    for headers in (
        {"if-none-match": '"other"'},
        {"if-modified-since": "yesterday"},
        {"if-modified-since": "Sun, 29 Mar 2015 12:00:00 GMT"},
        {"if-none-match": '"other"', "if-modified-since": later},
    ):
        assert jane.get(F, headers=headers).content == b"x", headers


def test_a_demand_on_what_is_read(jane):
    etag = jane.put(F, content=b"x").headers["etag"]
    old = "Sun, 29 Mar 2015 12:00:00 GMT"

    assert jane.get(F, headers={"if-match": f'"other", {etag}'}).content == b"x"
    assert jane.get(F, headers={"if-match": "*"}).content == b"x"
    for headers in (
        {"if-match": '"other"'},
        {"if-match": f"W/{etag}"},
        {"if-unmodified-since": old},
    ):
        refused(jane.get(F, headers=headers), 412)
        assert jane.head(F, headers=headers).status_code == 412
    assert refused(jane.get(F, headers={"if-match": "unquoted"}), 400)["code"] == 2015
    refused(jane.get("/v1/data/.my/c/absent", headers={"if-match": "*"}), 404)


# Writing


def test_create_only(jane):
    assert jane.put(F, content=b"1", headers={"if-none-match": "*"}).status_code == 200
    refused(jane.put(F, content=b"2", headers={"if-none-match": "*"}), 412)
    assert jane.get(F).content == b"1"


def test_compare_and_swap(jane):
    absent = refused(jane.put(F, content=b"0", headers={"if-match": '"x"'}), 412)
    assert absent["message"] == "there is no file of this name"
    first = jane.put(F, content=b"1").headers["etag"]
    second = jane.put(F, content=b"2", headers={"if-match": first}).headers["etag"]

    refused(jane.put(F, content=b"3", headers={"if-match": first}), 412)
    assert jane.get(F).content == b"2"
    assert jane.put(F, content=b"4", headers={"if-match": "*"}).status_code == 200
    refused(jane.delete(F, headers={"if-match": second}), 412)
    current = jane.head(F).headers["etag"]
    assert jane.delete(F, headers={"if-match": current}).json() == {"result": {"deleted": 1}}
    refused(jane.delete(F, headers={"if-match": current}), 412)


@pytest.mark.parametrize("size_bytes", [10, 100_000])
def test_of_many_only_one_swaps(jane, site, runner, size_bytes):
    etag = jane.put(F, content=b"0").headers["etag"]
    bodies = [bytes([number]) * size_bytes for number in range(12)]

    async def race(headers):
        puts = (jane.client.put(F, content=body, headers=headers) for body in bodies)
        return [answer.status_code for answer in await asyncio.gather(*puts)]

    swapped = runner.run(race({"if-match": etag}))
    assert sorted(swapped) == [200] + 11 * [412]
    assert jane.get(F).content == bodies[swapped.index(200)]
    jane.delete(F)
    created = runner.run(race({"if-none-match": "*"}))
    assert sorted(created) == [200] + 11 * [412]
    assert jane.get(F).content == bodies[created.index(200)]
    assert len(site.blob_files()) == (1 if size_bytes == 100_000 else 0)


def test_a_demand_that_fails_is_told_before_the_body_is_asked_for(jane, site, runner):
    jane.put(F, content=b"1")

    async def scenario():
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        head = [f"PUT {F} HTTP/1.1", "Host: x", "Authorization: jane-key", "If-None-Match: *"]
        head += ["Content-Length: 9999999", "Expect: 100-continue", "", ""]
        writer.write("\r\n".join(head).encode())
        answer = await reader.read()
        writer.close()
        return answer

    assert runner.run(scenario()).startswith(b"HTTP/1.1 412 ")


def b64(digest):
    return base64.b64encode(digest).decode()


SHA256 = b64(hashlib.sha256(DATA).digest())
MD5 = b64(hashlib.md5(DATA).digest())


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("content-md5", MD5, b64(bytes(16))),
        ("digest", f"SHA-256={SHA256},MD5={MD5}", f"SHA-256={SHA256},MD5={b64(bytes(16))}"),
        ("content-digest", f"sha-256=:{SHA256}:", f"sha-256=:{b64(bytes(32))}:"),
        (
            "repr-digest",
            f"md5=:{MD5}:, sha-512=:{b64(hashlib.sha512(DATA).digest())}:, crc32c=:AAAA:",
            f"md5=:{MD5}:, sha-512=:{b64(bytes(64))}:",
        ),
    ],
)
def test_digests_must_be_right(jane, site, name, right, wrong):
    async def chunks():
        for start in range(0, len(DATA), 100_000):
            yield DATA[start : start + 100_000]

    assert jane.put(F, content=chunks(), headers={name: right}).status_code == 200
    before = site.blob_files()
    error = refused(jane.put(F, content=DATA, headers={name: wrong}), 400)
    assert name in error["message"]
    assert jane.get(F).content == DATA
    assert site.blob_files() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content-md5", "nonsense"),
        ("digest", "md5=AAAA"),
        ("repr-digest", "sha-256=::"),
        ("digest", ";"),
    ],
)
def test_digests_of_a_wrong_form_are_refused(jane, name, value):
    assert refused(jane.put(F, content=b"x", headers={name: value}), 400)["code"] == 2015
    assert jane.head(F).status_code == 404


def test_a_part_alone_is_not_mistaken_for_the_file(jane):
    jane.put(F, content=b"0123456789")
    refused(jane.put(F, content=b"56789", headers={"content-range": "bytes 5-9/10"}), 400)
    assert jane.get(F).content == b"0123456789"


HEADERS = (
    *("range", "if-range", "content-range", "if-match", "if-none-match"),
    *("if-modified-since", "if-unmodified-since"),
    *("content-md5", "digest", "content-digest", "repr-digest", "x-copy-from", "x-move-from"),
)
PIECES = [*'"*,=:;-/ ', "W/", "bytes", "0", "9" * 30, "md5", "sha-256", "data://", ".my/c/f", "%FF"]
PIECES += ["Sun, 29 Mar 2026 12:00:00 GMT", "\xff", "AAAAAAAAAAAAAAAAAAAAAA=="]
NONSENSE = st.lists(st.sampled_from(PIECES), max_size=8).map(lambda parts: "".join(parts).strip())


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.sampled_from(HEADERS), NONSENSE, max_size=3))
def test_no_header_is_more_than_the_server_can_take(jane, headers):
    jane.put(F, content=b"0123456789")
    raw = {name: value.encode("latin-1") for name, value in headers.items()}

    for method in ("get", "head", "put", "delete"):
        answer = getattr(jane, method)(F, headers=raw)
        assert answer.status_code < 500, (method, headers)
        if method == "get" and answer.status_code == 200:
            assert answer.content == b"0123456789"


@pytest.mark.parametrize("value", ['"a"' + 60_000 * " " + "x", 15_000 * '"a",' + "x", 60_000 * '"'])
def test_long_etags_take_no_time(jane, value):
    jane.put(F, content=b"x")

    assert jane.get(F, headers={"if-none-match": value}).status_code in {200, 400}


# Copying and moving


@pytest.fixture(params=[b"short", DATA], ids=["short", "long"])
def data(request):
    return request.param


def test_the_source_of_a_copy_may_be_plain_utf8(jane):
    jane.put("/v1/data/.my/c/n%C3%BC%20%25", content=b"x")

    for name in ("nü %25".encode(), b"n%C3%BC%20%25"):
        headers = {"x-copy-from": b"data://.my/c/" + name}
        assert jane.put("/v1/data/.my/c/g", headers=headers).status_code == 200


def test_a_copy_is_a_file_of_its_own(jane, data):
    jane.post("/v1/data/.my", json={"name": "d"})
    jane.put("/v1/data/.my/c/a%20b", content=data)
    headers = {"x-copy-from": "data://.my/c/a%20b"}
    copied = jane.put("/v1/data/jane/d/g", headers=headers)

    assert copied.content == b'{"result":"data://jane/d/g"}'
    got = jane.get("/v1/data/.my/d/g")
    assert got.content == jane.get("/v1/data/.my/c/a%20b").content == data
    assert got.headers["etag"] == copied.headers["etag"]
    jane.delete("/v1/data/.my/c/a%20b")
    assert jane.get("/v1/data/.my/d/g").content == data
    assert (
        jane.put("/v1/data/.my/d/g", headers={"x-copy-from": "data://.my/d/g"}).status_code == 200
    )
    assert jane.get("/v1/data/.my/d/g").content == data


def test_a_moved_file_is_at_its_new_place_only(jane, site, data):
    jane.post("/v1/data/.my", json={"name": "d"})
    jane.put(F, content=data)
    jane.put("/v1/data/.my/d/g", content=b"old")
    headers = {"x-move-from": "data://.my/c/f"}

    refused(jane.put("/v1/data/.my/d/g", headers=headers | {"if-none-match": "*"}), 412)
    assert jane.get(F).content == data
    moved = jane.put("/v1/data/.my/d/g", headers=headers)
    assert moved.json() == {"result": "data://.my/d/g"}
    assert moved.headers["x-content-md5"] == hashlib.md5(data).hexdigest()
    assert jane.get("/v1/data/.my/d/g").content == data
    assert jane.head(F).status_code == 404
    onto_itself = jane.put("/v1/data/.my/d/g", headers={"x-move-from": "data://jane/D/g"})
    assert onto_itself.status_code == 200
    assert jane.get("/v1/data/.my/d/g").content == data
    assert len(site.blob_files()) == (1 if data is DATA else 0)


def test_copies_and_moves_that_cannot_be(jane, site, runner):
    bob = Web(runner, site.client("bob"))
    bob.post("/v1/data/.my", json={"name": "b", "acl": {"read": ["user://*"]}})
    bob.put("/v1/data/.my/b/f", content=b"his")
    jane.put(F, content=b"hers")

    def put(path, **headers):
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return jane.put(f"/v1/data/{path}", headers=fields)

    assert put(".my/c/copy", x_copy_from="data://bob/b/f").status_code == 200
    refused(put(".my/c/moved", x_move_from="data://bob/b/f"), 403)
    refused(put("bob/b/g", x_copy_from="data://.my/c/f"), 403)
    refused(put(".my/c/g", x_copy_from="data://.my/c/absent"), 404)
    refused(put(".my/c/g", x_move_from="data://.my/c/absent"), 404)
    refused(put(".my/absent/g", x_move_from="data://.my/c/f"), 404)
    refused(put(".my/c/g", x_copy_from="data://.my/c"), 400)
    refused(put(".my/c", x_copy_from="data://.my/c/f"), 400)
    refused(put(".my/c/g", x_copy_from="ftp://x/y"), 400)
    refused(put(".my/c/g", x_copy_from="data://.my/c/%FF"), 400)
    refused(put(".my/c/g", x_copy_from="data://.my/c/f", x_move_from="data://.my/c/f"), 400)
    with_body = jane.put(
        "/v1/data/.my/c/g", content=b"x", headers={"x-copy-from": "data://.my/c/f"}
    )
    refused(with_body, 400)
    assert jane.get(F).content == b"hers"
    assert bob.get("/v1/data/.my/b/f").content == b"his"
    assert jane.head("/v1/data/.my/c/g").status_code == 404
    runner.run(bob.client.aclose())


def test_two_files_that_change_places_and_many_movers_lose_nothing(jane, runner):
    for name in "abcdef":
        jane.put(f"/v1/data/.my/c/{name}", content=name.encode() * 20_000)

    async def move(source, target):
        headers = {"x-move-from": f"data://.my/c/{source}", "if-none-match": "*"}
        return await jane.client.put(f"/v1/data/.my/c/{target}", headers=headers)

    async def scenario():
        moves = [move(s, t) for s in "abcdef" for t in ("x", "y", s.upper())]
        return [answer.status_code for answer in await asyncio.gather(*moves)]

    statuses = runner.run(scenario())
    files = jane.get("/v1/data/.my/c").json()["files"]
    bodies = [jane.get(f"/v1/data/.my/c/{file['filename']}").content for file in files]
    assert set(statuses) <= {200, 404, 412}
    assert statuses.count(200) == 6
    assert sorted(bodies) == [name.encode() * 20_000 for name in "abcdef"]
