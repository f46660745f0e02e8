"""The collection that an algorithm calls its default one."""

from contextlib import AsyncExitStack

import pytest
from data_site import Web, running_site

from algorium_server.domain.identity import KeyPermissions

DEFAULT = "/v1/data/.algo/default"


@pytest.fixture
def site(database_url, tmp_path, runner):
    stack = AsyncExitStack()
    yield runner.run(stack.enter_async_context(running_site(database_url, tmp_path / "blobs")))
    runner.run(stack.aclose())


@pytest.fixture
def web(site, runner):
    """Return a client for the key of somebody, or for a principal inside a slot."""
    made = []

    def make(who="jane"):
        client = site.client(who) if isinstance(who, str) else site.client_inside(who)
        made.append(client)
        return Web(runner, client)

    yield make
    for client in made:
        runner.run(client.aclose())


def collections(web):
    for path, name in (("jane", "c"), ("jane", "d"), ("lab", "e")):
        assert web.post(f"/v1/data/{path}", json={"name": name}).status_code == 200
    hosted = web.get("/v1/hostedData").json()["result"]
    return {one["collection_name"]: one["id"] for one in hosted}


def test_an_algorithm_has_the_collection_that_it_was_given_last(site, web):
    jane, inside = web(), web(site.inside("bob", site.secret))
    ids = collections(jane)
    address = f"/v1/algorithms/{site.secret.algorithm_id}/collections"
    jane.put("/v1/data/.my/d/f", content=b"x")

    assert inside.get(DEFAULT).status_code == 404
    for name in ("c", "d"):
        given = jane.post(f"{address}/{ids[name].upper()}")
        assert (given.status_code, given.content) == (200, b"")
    assert inside.get(f"{DEFAULT}/f").content == b"x"
    assert inside.head(DEFAULT).headers["x-data-type"] == "directory"
    listing = inside.get(f"{DEFAULT}?acl=true").json()
    assert [file["filename"] for file in listing["files"]] == ["f"]
    assert "acl" not in listing
    put = inside.put(f"{DEFAULT}/g", content=b"y")
    assert put.json() == {"result": "data://.algo/default/g"}
    assert jane.get("/v1/data/.my/d/g").content == b"y"
    assert inside.delete(f"{DEFAULT}/g").json() == {"result": {"deleted": 1}}
    for refused in (inside.delete(DEFAULT), inside.patch(DEFAULT, json={"acl": {"read": []}})):
        assert refused.status_code == 400
    assert jane.get(DEFAULT).status_code == 400
    assert jane.delete("/v1/data/.my/d?force=true").status_code == 200
    assert inside.get(DEFAULT).status_code == 404


def test_it_reads_for_everybody_and_writes_what_its_owner_may_write(site, web):
    jane, ids = web(), collections(web())
    jane.put("/v1/data/jane/c/f", content=b"hers")
    jane.patch("/v1/data/jane/c", json={"acl": {"read": []}})
    address = f"/v1/algorithms/{site.hello.algorithm_id}/collections"

    assert jane.post(f"{address}/{ids['c']}").status_code == 200
    for caller in ("jane", "bob"):
        inside = web(site.inside(caller))
        assert inside.get(f"{DEFAULT}/f").content == b"hers"
        assert inside.put(f"{DEFAULT}/f", content=b"its").status_code == 403  # it is the lab's
        assert inside.delete(f"{DEFAULT}/f").status_code == 403
    assert web(site.inside("bob")).get("/v1/data/jane/c/f").status_code == 403
    assert jane.post(f"{address}/{ids['e']}").status_code == 200
    assert web(site.inside("bob")).put(f"{DEFAULT}/f", content=b"its").status_code == 200
    assert jane.get("/v1/data/lab/e/f").content == b"its"


def test_who_may_give_what(site, web, runner):
    jane, bob, nobody = web(), web("bob"), web("")
    ids = collections(jane)
    bob.post("/v1/data/.my", json={"name": "b"})
    his = bob.get("/v1/hostedData").json()["result"][0]["id"]
    hello, secret = site.hello.algorithm_id, site.secret.algorithm_id
    runner.run(site.add_key("jane", "plain-key", permissions=KeyPermissions(allow_data_write=True)))

    def give(who, algorithm, collection):
        answer = who.post(f"/v1/algorithms/{algorithm}/collections/{collection}")
        return answer.status_code

    assert give(nobody, secret, ids["c"]) == 401
    assert give(bob, secret, his) == 404  # he may not even know of it
    assert give(bob, hello, his) == 403  # an executor manages nothing
    assert give(web("plain"), secret, ids["c"]) == 403
    assert give(web(site.inside("jane", site.secret)), secret, ids["c"]) == 403
    assert give(jane, secret, his) == 403
    assert give(jane, secret, ids["e"]) == 200
    for algorithm, collection in (
        (secret, hello),
        (ids["c"], ids["c"]),
        ("nonsense", ids["c"]),
        (secret, "..%2F"),
        (secret, "%00"),
        ("%00", ids["c"]),
    ):
        assert give(jane, algorithm, collection) == 404
    address = f"/v1/algorithms/{secret}/collections/{ids['c']}"
    assert jane.get(address).headers["allow"] == "POST"
    assert jane.get("/v1/algorithms").status_code == 404
