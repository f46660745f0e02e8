"""The Data API as its clients use it: over HTTP, against a real server, rows and files."""

import os
import re
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
import rows
from data_site import running_site
from sqlalchemy import insert

from algorium_server.domain.identity import Role
from algorium_server.domain.limits import LISTING_ENTRIES_MAX, MIB
from algorium_server.store import columns
from algorium_server.store import files as file_rows
from algorium_server.store.database import sqlite_url
from algorium_server.store.tables.files import files as files_table

JAVA = {"user-agent": "algorithmia-java/1.3.8"}


@pytest.fixture
def site(sqlite_file, tmp_path, runner):
    stack = AsyncExitStack()
    site = running_site(sqlite_url(sqlite_file), tmp_path / "blobs")
    yield runner.run(stack.enter_async_context(site))
    runner.run(stack.aclose())


class Web:
    """Somebody with a client."""

    def __init__(self, runner, client):
        self._runner, self.client = runner, client

    def __getattr__(self, method):
        def send(path, **options):
            return self._runner.run(self.client.request(method.upper(), path, **options))

        return send


@pytest.fixture
def web(site, runner):
    """Return a client for the key of somebody, or for a principal inside a slot."""
    clients = []

    def make(who="jane"):
        client = site.client(who) if isinstance(who, str) else site.client_inside(who)
        clients.append(client)
        return Web(runner, client)

    yield make
    for client in clients:
        runner.run(client.aclose())


@pytest.fixture
def jane(web):
    jane = web()
    assert jane.post("/v1/data/.my", json={"name": "c"}).status_code == 200
    return jane


def refused(response, status, message, code=None):
    error = response.json()["error"]
    assert response.status_code == status
    assert error["message"] == message
    assert error.get("code") == code
    assert response.headers["x-error-message"] == message
    assert response.headers["content-type"] == "application/json"
    assert "x-data-type" not in response.headers
    return True


def head_refused(response, status, message):
    assert response.status_code == status
    assert response.headers["x-error-message"] == message
    assert response.content == b""
    return True


PATH_NOT_FOUND = (404, "path not found")
FORBIDDEN = (403, "Caller is not authorized to perform the operation", 2001)


# Files


@pytest.mark.parametrize("data", [b"", b"hello", os.urandom(MIB + 1)], ids=["0", "5", "1M"])
def test_a_file_comes_back_as_it_went(jane, data):
    put = jane.put("/v1/data/.my/c/f", content=data)
    got = jane.get("/v1/data/.my/c/f")
    head = jane.head("/v1/data/.my/c/f")

    assert put.status_code == 200
    assert put.content == b'{"result":"data://.my/c/f"}'
    assert put.headers["content-type"] == "application/json"
    assert got.content == data
    for answer in (got, head):
        assert answer.status_code == 200
        assert answer.headers["x-data-type"] == "file"
        assert answer.headers["content-length"] == str(len(data))
        assert answer.headers["content-type"] == "application/octet-stream"
        assert "transfer-encoding" not in answer.headers
        assert "x-error-message" not in answer.headers
        modified = parsedate_to_datetime(answer.headers["last-modified"])
        assert abs((datetime.now(UTC) - modified).total_seconds()) < 60
    assert head.content == b""


def test_an_overwrite_answers_like_a_first_upload(jane):
    first = jane.put("/v1/data/jane/c/f", content=b"old")
    second = jane.put("/v1/data/jane/c/f", content=b"new")

    assert first.status_code == second.status_code == 200
    assert first.content == second.content == b'{"result":"data://jane/c/f"}'
    assert jane.get("/v1/data/jane/c/f").content == b"new"


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense", None],
)
def test_the_type_of_an_upload_is_ignored(jane, content_type):
    headers = {"content-type": content_type} if content_type else {}
    jane.put("/v1/data/.my/c/f", content=b'{"not": json', headers=headers)
    got = jane.get("/v1/data/.my/c/f")

    assert got.content == b'{"not": json'
    assert got.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("text/plain", "text/plain"),
        ("application/json", "application/json"),
        ("application/octet-stream", "application/octet-stream"),
        ("*/*", "application/octet-stream"),
        ("text/html", "application/octet-stream"),
        ("application/json, text/xml, application/xml, */*", "application/octet-stream"),
        ("text/plain;q=0.9", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_the_type_of_a_file_is_what_is_asked_for_if_it_is_one_of_three(jane, accept, content_type):
    jane.put("/v1/data/.my/c/f", content=b"{}")

    for method in (jane.get, jane.head):
        answer = method("/v1/data/.my/c/f", headers={"accept": accept})
        assert answer.headers["content-type"] == content_type


def test_chunked_uploads_are_stored(jane):
    async def chunks():
        for number in range(100):
            yield b"%03d" % number

    assert jane.put("/v1/data/.my/c/f", content=chunks()).status_code == 200
    assert len(jane.get("/v1/data/.my/c/f").content) == 300


def test_answers_are_never_compressed(jane):
    jane.put("/v1/data/.my/c/f", content=b"x" * 10_000)
    got = jane.get("/v1/data/.my/c/f", headers={"accept-encoding": "gzip, br"})

    assert "content-encoding" not in got.headers
    assert got.headers["content-length"] == "10000"


# Paths as clients write them


@pytest.mark.parametrize(
    ("raw_path", "headers", "name"),
    [
        ("/v1/data/.my/c/a%20b", {}, "a b"),
        ("/v1/data/.my/c/a+b", {}, "a+b"),
        ("/v1/data/.my/c/100%25", {}, "100%"),
        ("/v1/data/.my/c/%D0%9F%D0%B0%D1%80.png", {}, "Пар.png"),
        ("/v1/data/.my%2Fc%2Fa+b", {}, "a b"),
        ("/v1/data/.my%2Fc%2Fa%2Bb", JAVA, "a+b"),
        ("/v1/data/.my/c/a+b", JAVA, "a b"),
        ("/v1/data/data://.my/c/f", {}, "f"),
        ("/v1/data/.my//c//f/", {}, "f"),
        ("/v1/connector/data/.my/c/f", {}, "f"),
        ("/v1/connector/data/v1/connector/data/.my/c/f", {}, "f"),
    ],
)
def test_old_spellings_of_paths(jane, raw_path, headers, name):
    put = jane.put(raw_path, content=b"x", headers=headers)

    assert put.json() == {"result": f"data://.my/c/{name}"}
    assert jane.get(raw_path, headers=headers).content == b"x"
    assert [f["filename"] for f in jane.get("/v1/data/.my/c").json()["files"]] == [name]


@pytest.mark.parametrize("path", ["/v1/data/.my/c/", "/v1/data/.my%2Fc%2F", "/v1/data//.my//c"])
def test_a_trailing_slash_does_not_matter(jane, path):
    assert jane.get(path).status_code == 200
    assert jane.head(path).headers["x-data-type"] == "directory"


@pytest.mark.parametrize(
    "path", ["/v1/data/http://x/y", "/v1/connector/ftp/x", "/v1/data/.my/c/%FF", "/v1/data/a%00"]
)
def test_paths_that_cannot_be_are_refused(jane, path):
    for method in (jane.get, jane.put, jane.delete):
        answer = method(path)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == 6001
    assert jane.head(path).status_code == 400


@pytest.mark.parametrize(
    "path", ["/v1/data/s3://b/k", "/v1/connector/gs+l/b", "/v1/data/dropbox:/"]
)
def test_sources_that_are_not_connected(jane, path):
    for method in (jane.get, jane.put, jane.delete):
        assert refused(method(path), 404, "connector not found")
    assert refused(jane.post(path, json={"name": "x"}), 404, "connector not found")
    no_acl = (400, "ACLs are not supported for this path", 6001)
    assert refused(jane.patch(path, json={"acl": {"read": []}}), *no_acl)
    assert head_refused(jane.head(path), 404, "connector not found")


# Directories


def test_the_root(jane):
    answer = jane.get("/v1/data")

    assert answer.content == b'{"folders":[{"name":"jane"},{"name":"lab"}],"files":[]}'
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-data-type"] == "directory"


def test_an_owner(jane):
    jane.post("/v1/data/jane", json={"name": "b"})

    for path in ("/v1/data/.my", "/v1/data/jane", "/v1/data/JANE/", "/v1/connector/data/jane"):
        assert jane.get(path).content == b'{"folders":[{"name":"b"},{"name":"c"}],"files":[]}'


def test_a_collection(jane):
    jane.put("/v1/data/.my/c/b", content=b"hello")
    jane.put("/v1/data/.my/c/a", content=b"")
    answer = jane.get("/v1/data/.my/c")

    assert answer.headers["x-data-type"] == "directory"
    assert re.fullmatch(
        r'{"folders":\[\],"files":\['
        r'{"filename":"a","size":0,"last_modified":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z"},'
        r'{"filename":"b","size":5,"last_modified":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z"}\]}',
        answer.text,
    )


def test_an_empty_collection_has_both_arrays_and_no_marker(jane):
    assert jane.get("/v1/data/.my/c").content == b'{"folders":[],"files":[]}'


def test_swift_lists_with_a_type_and_an_empty_body(jane):
    answer = jane.get("/v1/connector/data/.my/c", headers={"content-type": "text/plain"})

    assert answer.status_code == 200


DIRECTORIES = ["", "/.my", "/jane", "/jane/c", "/lab", "/.algo/lab/Hello", "/.algo/lab/Hello/temp"]


@pytest.mark.parametrize("path", DIRECTORIES)
def test_every_level_answers_head(jane, path):
    for raw_path in (f"/v1/data{path}", f"/v1/data{path}/", f"/v1/connector/data{path}"):
        answer = jane.head(raw_path)
        assert answer.status_code == 200
        assert answer.headers["x-data-type"] == "directory"
        assert answer.content == b""


@pytest.mark.parametrize("path", ["/nobody", "/jane/absent", "/jane/c/f", "/jane/c/f/g", "/.algo"])
def test_what_is_missing(jane, path):
    assert refused(jane.get(f"/v1/data{path}"), *PATH_NOT_FOUND)
    assert refused(jane.delete(f"/v1/data{path}"), *PATH_NOT_FOUND)
    assert head_refused(jane.head(f"/v1/data{path}"), *PATH_NOT_FOUND)


def test_long_listings_come_in_pages(jane, site, runner):
    names = sorted(f"file {number:04}" for number in range(1100))
    runner.run(add_rows(site, "c", names))
    first = jane.get("/v1/data/.my/c").json()
    assert re.fullmatch(r"[A-Za-z0-9_-]+", first["marker"])
    # Nothing but the marker, and as it is: no client encodes it.
    second = jane.get(f"/v1/data/.my/c?marker={first['marker']}").json()

    assert len(first["files"]) == LISTING_ENTRIES_MAX
    assert [f["filename"] for f in first["files"] + second["files"]] == names
    assert list(second) == ["folders", "files"]
    assert jane.delete("/v1/data/.my/c?force=true").content == b'{"result":{"deleted":1101}}'


async def add_rows(site, collection, names):
    async with site.database.transaction() as connection:
        owner_id = site.accounts["jane"].account_id
        found = await file_rows.collection(connection, owner_id=owner_id, name=collection)
        await connection.execute(
            insert(files_table),
            [columns.row_of(rows.file(found.collection_id, name)) for name in names],
        )


def test_many_collections_come_in_pages(jane, site, runner):
    async def add_collections():
        async with site.database.transaction() as connection:
            for number in range(LISTING_ENTRIES_MAX):
                row = rows.collection(site.accounts["jane"].account_id, f"d{number:04}")
                await file_rows.add_collection(connection, row)

    runner.run(add_collections())
    first = jane.get("/v1/data/.my").json()
    second = jane.get(f"/v1/data/.my?marker={first['marker']}").json()

    assert [f["name"] for f in first["folders"] + second["folders"]] == [
        "c",
        *(f"d{number:04}" for number in range(LISTING_ENTRIES_MAX)),
    ]
    assert "marker" not in second


def test_an_unknown_marker_is_refused(jane):
    assert refused(
        jane.get("/v1/data/.my/c?marker=bogus"),
        400,
        "'bogus' is not a marker of a listing",
        5002,
    )


def test_an_empty_marker_is_none(jane):
    assert jane.get("/v1/data/.my/c?marker=").status_code == 200


def test_scala_asks_for_the_acl_by_the_name_of_the_marker(jane):
    assert jane.get("/v1/data/.my/c?marker=true").json()["acl"] == {"read": ["algo://.my/*"]}
    assert "acl" not in jane.get("/v1/data/.my/c?marker=false").json()


# ACLs


@pytest.mark.parametrize(
    ("acl", "read"),
    [
        ({"read": []}, []),
        ({"read": ["algo://.my/*"]}, ["algo://.my/*"]),
        ({"read": ["user://*"], "_dummy": None}, ["user://*"]),
        ({"read": None}, ["algo://.my/*"]),
        ({}, ["algo://.my/*"]),
        (None, ["algo://.my/*"]),
    ],
)
def test_a_directory_is_created_with_its_acl(jane, acl, read):
    created = jane.post("/v1/data/.my", json={"name": "d", "acl": acl, "more": 1})

    assert created.content == b'{"result":"data://.my/d"}'
    for query in ("acl=true", "acl=True", "acl=TRUE", "acl=1", "marker=&acl=true", "x=1?acl=true"):
        assert jane.get(f"/v1/data/.my/d?{query}").json() == {
            "folders": [],
            "files": [],
            "acl": {"read": read},
        }
    for query in ("", "acl=false", "acl=False", "acl="):
        assert "acl" not in jane.get(f"/v1/data/.my/d?{query}").json()


def test_only_collections_of_accounts_have_an_acl(jane):
    for path in ("", "/.my", "/.algo/lab/Hello", "/.algo/lab/Hello/perm"):
        assert "acl" not in jane.get(f"/v1/data{path}?acl=true").json()


@pytest.mark.parametrize("read", [[], ["algo://.my/*"], ["user://*"]])
def test_an_acl_is_changed(jane, read):
    changed = jane.patch("/v1/data/.my/c", json={"acl": {"read": read}})

    assert changed.status_code == 200
    assert changed.content == b""
    assert changed.headers["content-length"] == "0"
    assert jane.get("/v1/data/.my/c?acl=true").json()["acl"] == {"read": read}


@pytest.mark.parametrize(
    "body",
    [
        {"acl": {"read": ["user://jane"]}},
        {"acl": {"read": ["user://*", "algo://.my/*"]}},
        {"acl": {"read": "user://*"}},
        {"acl": {"read": [1]}},
        {"acl": {"read": None}},
        {"acl": {}},
        {"acl": []},
        {"acl": None},
        {},
        [],
    ],
)
def test_other_acls_are_refused(jane, body):
    changed = jane.patch("/v1/data/.my/c", json=body)

    assert changed.status_code == 400
    assert changed.json()["error"]["code"] == 6001
    assert jane.get("/v1/data/.my/c?acl=true").json()["acl"] == {"read": ["algo://.my/*"]}


@pytest.mark.parametrize("path", ["", "/.my", "/.my/c/f", "/.algo/lab/Hello/perm"])
def test_places_without_acls(jane, path):
    changed = jane.patch(f"/v1/data{path}", json={"acl": {"read": []}})

    assert refused(changed, 400, "ACLs are not supported for this path", 6001)


def test_the_acl_decides_who_reads(jane, web):
    bob = web("bob")
    jane.put("/v1/data/.my/c/f", content=b"x")
    assert refused(bob.get("/v1/data/jane/c/f"), *FORBIDDEN)
    assert head_refused(bob.head("/v1/data/jane/c"), *FORBIDDEN[:2])

    jane.patch("/v1/data/.my/c", json={"acl": {"read": ["user://*"]}})
    assert bob.get("/v1/data/jane/c/f").content == b"x"
    assert bob.get("/v1/data/jane").json()["folders"] == [{"name": "c"}]


# POST


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"name":"d"}', "application/json"),
        (b'{"name":"d"}', "application/x-www-form-urlencoded"),
        (b'{"name":"d"}', None),
        (b'{"name":"d"}', "text/plain; charset=utf-8"),
        (b' {"name":"d","acl":{"read":[],"_dummy":null}}', "text/plain"),
        (b"d", "text/plain"),
        (b"d\n", "TEXT/PLAIN; charset=UTF-8"),
    ],
)
def test_a_directory_is_named_by_json_or_text(jane, body, content_type):
    headers = {"content-type": content_type} if content_type else {}
    created = jane.post("/v1/data/.my/", content=body, headers=headers)

    assert created.status_code == 200
    assert created.content == b'{"result":"data://.my/d"}'
    assert created.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"d", "application/json", 2013),
        (b"", "application/json", 2013),
        (b"{", "text/plain", 2013),
        (b"\xff", "application/json", 2013),
        (b'{"x":' + b"[" * 60_000, "application/json", 2013),
        (b'"d"', "application/json", 6001),
        (b"{}", "application/json", 6001),
        (b'{"name":1}', "application/json", 6001),
        (b'{"name":"d","acl":[]}', "application/json", 6001),
        (b'{"name":"d","acl":{"read":["x"]}}', "application/json", 6001),
        (b'{"name":"a b"}', "application/json", 6001),
        (b'{"name":""}', "application/json", 6001),
        (b"a/b", "text/plain", 6001),
        (b"", "text/plain", 6001),
        (b"\xff", "text/plain", 6001),
    ],
)
def test_other_bodies_create_nothing(jane, body, content_type, code):
    created = jane.post("/v1/data/.my", content=body, headers={"content-type": content_type})

    assert created.status_code == 400
    assert created.json()["error"]["code"] == code
    assert jane.get("/v1/data/.my").json()["folders"] == [{"name": "c"}]


def test_a_name_is_taken_once(jane):
    assert refused(jane.post("/v1/data/.my", json={"name": "C"}), 409, "directory already exists")


def test_a_name_has_its_limits(jane):
    long = "x" * 70_000
    assert jane.post("/v1/data/.my", json={"name": "x" * 101}).status_code == 400
    assert jane.post("/v1/data/.my", json={"name": long}).status_code == 413


@pytest.mark.parametrize("path", ["", "/.my/c", "/.my/c/f", "/.algo/lab/Hello"])
def test_directories_are_created_below_owners_only(jane, path):
    created = jane.post(f"/v1/data{path}", json={"name": "d"})

    assert created.status_code == 400
    assert created.json()["error"]["code"] == 6001


def test_parents_that_are_missing_or_somebody_elses(jane, web):
    assert refused(jane.post("/v1/data/nobody", json={"name": "d"}), *PATH_NOT_FOUND)
    assert refused(web("bob").post("/v1/data/jane", json={"name": "d"}), *FORBIDDEN)
    assert refused(web("bob").post("/v1/data/lab", json={"name": "d"}), *FORBIDDEN)


# DELETE


def test_a_file_is_deleted(jane):
    jane.put("/v1/data/.my/c/f", content=b"x")

    assert jane.delete("/v1/data/.my/c/f").content == b'{"result":{"deleted":1}}'
    assert refused(jane.delete("/v1/data/.my/c/f"), *PATH_NOT_FOUND)


@pytest.mark.parametrize("query", ["", "?force=true", "?force=false", "?force=TRUE"])
def test_an_empty_collection_is_deleted(jane, query):
    assert jane.delete(f"/v1/data/.my/c{query}").content == b'{"result":{"deleted":1}}'
    assert refused(jane.delete(f"/v1/data/.my/c{query}"), *PATH_NOT_FOUND)


def test_a_collection_with_files_goes_only_by_force(jane):
    for name in "ab":
        jane.put(f"/v1/data/.my/c/{name}", content=b"x")
    for query in ("", "?force=false", "?force="):
        assert refused(jane.delete(f"/v1/data/.my/c{query}"), 400, "directory not empty", 6001)
    assert len(jane.get("/v1/data/.my/c").json()["files"]) == 2

    assert jane.delete("/v1/data/.my/c?force=True").content == b'{"result":{"deleted":3}}'


def test_deleting_what_is_somebody_elses(jane, web):
    jane.put("/v1/data/.my/c/f", content=b"x")

    for path in ("/v1/data/jane/c/f", "/v1/data/jane/c?force=true"):
        assert refused(web("bob").delete(path), *FORBIDDEN)


@pytest.mark.parametrize("path", ["", "/.my", "/.algo/lab/Hello/temp", "/.algo/lab/Hello"])
def test_some_directories_stay(jane, path):
    assert jane.delete(f"/v1/data{path}?force=true").status_code == 400


# Who asks


@pytest.mark.parametrize("method", ["get", "put", "post", "patch", "delete"])
@pytest.mark.parametrize("path", ["/v1/data", "/v1/connector/data/.my/c", "/v1/hostedData"])
def test_without_a_key_nothing_is_said(web, method, path):
    answer = getattr(web(""), method)(path)

    assert refused(answer, 401, "authorization required", 2002)


def test_without_a_key_head_has_no_body(web):
    assert head_refused(web("").head("/v1/data/.my"), 401, "authorization required")


def test_a_public_collection_is_not_for_the_anonymous(jane, web):
    jane.patch("/v1/data/.my/c", json={"acl": {"read": ["user://*"]}})

    assert web("").get("/v1/data/jane/c").status_code == 401


def test_a_reading_key_reads(jane, web):
    reading = web("reading")
    jane.put("/v1/data/.my/c/f", content=b"x")

    assert reading.get("/v1/data/.my/c/f").content == b"x"
    assert reading.get("/v1/hostedData").status_code == 200
    for answer in (
        reading.put("/v1/data/.my/c/f", content=b"y"),
        reading.post("/v1/data/.my", json={"name": "d"}),
        reading.patch("/v1/data/.my/c", json={"acl": {"read": []}}),
        reading.delete("/v1/data/.my/c/f"),
    ):
        assert refused(answer, *FORBIDDEN)


@pytest.mark.parametrize("who", ["no-data", "admin"])
def test_keys_that_are_not_for_data(jane, web, who):
    other = web(who)

    for path in ("/v1/data", "/v1/data/.my/c", "/v1/data/s3://b/k", "/v1/hostedData"):
        assert refused(other.get(path), *FORBIDDEN)
    assert head_refused(other.head("/v1/data/.my"), *FORBIDDEN[:2])
    assert refused(other.put("/v1/data/.my/c/f", content=b"x"), *FORBIDDEN)


@pytest.mark.parametrize("method", ["options", "trace", "mkcol"])
def test_other_methods(jane, method):
    answer = getattr(jane, method)("/v1/data/.my")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, PUT, POST, PATCH, DELETE"
    assert answer.json()["error"]["code"] == 2015
    assert getattr(jane, method)("/v1/hostedData").headers["allow"] == "GET"


def test_an_algorithm_uses_its_callers_data(jane, web, site):
    jane.put("/v1/data/.my/c/in", content=b"x")
    algorithm = web(site.inside("jane"))

    assert algorithm.get("/v1/data/.my/c/in").content == b"x"
    assert algorithm.put("/v1/connector/data/.my/c/out", content=b"y").json() == {
        "result": "data://.my/c/out"
    }
    assert algorithm.put("/v1/data/.algo/temp/t", content=b"z").json() == {
        "result": "data://.algo/lab/Hello/temp/t"
    }
    assert algorithm.put("/v1/data/.session/s", content=b"z").json() == {
        "result": "data://.session/s"
    }
    assert jane.get("/v1/data/.algo/lab/Hello/temp/t").content == b"z"
    assert refused(jane.get("/v1/data/.session/s"), *PATH_NOT_FOUND)
    assert jane.get("/v1/data/.algo/temp/t").status_code == 400
    for path in ("/v1/data/.algo/temp", "/v1/data/.session"):
        assert len(algorithm.get(path).json()["files"]) == 1


def test_organizations_share(jane, web, runner, site):
    assert jane.post("/v1/data/lab", json={"name": "d"}).json() == {"result": "data://lab/d"}
    jane.put("/v1/data/lab/d/f", content=b"x")
    bob = web("bob")
    assert bob.get("/v1/data/lab/d/f").content == b"x"
    assert refused(bob.put("/v1/data/lab/d/f", content=b"y"), *FORBIDDEN)

    runner.run(site.set_role("lab", "bob", Role.MEMBER))
    assert bob.put("/v1/data/lab/d/f", content=b"y").status_code == 200


def test_hosted_data(jane):
    jane.post("/v1/data/.my", json={"name": "d", "acl": {"read": []}})
    jane.post("/v1/data/lab", json={"name": "e", "acl": {"read": ["user://*"]}})
    answer = jane.get("/v1/hostedData")
    first, second, third = answer.json()["result"]

    assert answer.headers["content-type"] == "application/json"
    assert list(first) == ["id", "object_id", "collection_name", "username", "acl", "location"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first["id"])
    assert first["object_id"] == f"collec-{first['id']}"
    assert (first["collection_name"], first["username"]) == ("c", "jane")
    assert first["location"] == "data://jane/c"
    assert first["acl"] == {"read_w": False, "read_g": False, "read_u": True, "read_a": True}
    assert second["acl"] == {"read_w": False, "read_g": False, "read_u": True, "read_a": False}
    assert third["acl"] == {"read_w": True, "read_g": True, "read_u": True, "read_a": True}
