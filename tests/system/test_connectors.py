"""Connectors as people use them: created, tried out, read and written by callers and algorithms."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from people import add_user
from projects import write_examples
from running import RunningServer

sys.path.append(str(Path(__file__).parents[2] / "packages" / "server" / "tests"))

import peers
from fake_dropbox import running_dropbox

from algorium.cli import main

ALGORITHM = """
import os, urllib.error, urllib.request

def apply(input):
    method, path = input[0], input[1]
    body = input[2].encode() if len(input) > 2 else None
    request = urllib.request.Request(
        os.environ["ALGORITHMIA_API"] + path, data=body, method=method
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
"""


@dataclass
class World:
    server: RunningServer
    s3: peers.Peer
    dropbox: peers.Peer
    bob: str

    def client(self, key: str = "") -> httpx2.Client:
        headers = {"authorization": f"Simple {key or self.server.key}"}
        return httpx2.Client(base_url=self.server.api, headers=headers, timeout=60)

    def body(self, peer: peers.Peer | None = None, **fields: Any) -> dict[str, Any]:
        peer = peer or self.s3
        return {
            "username": "admin",
            "protocol": "s3" if peer is self.s3 else "dropbox",
            "cred_type": peer.cred_type,
            "cred_data": peer.credentials,
            "options": peer.options,
            **fields,
        }

    def create(self, peer: peers.Peer | None = None, *, key: str = "", **fields: Any) -> str:
        body = self.body(peer, **fields)
        with self.client(key) as client:
            answer = client.post(f"/v1/users/{body['username']}/connectors", json=body)
        assert answer.status_code == 200, answer.text
        created: str = answer.json()["connector_id"]
        return created


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place = tmp_path_factory.mktemp("connectors")
    examples = write_examples(place / "examples", {"ada/Ask": ALGORITHM})
    with ExitStack() as stack:
        (place / "s3").mkdir()
        (place / "dropbox").mkdir()
        s3 = stack.enter_context(peers.running_s3(place / "s3", buckets=("bucket", "second")))
        dropbox = stack.enter_context(running_dropbox(place / "dropbox"))
        ports = [peer.endpoint.rpartition(":")[2] for peer in (s3, dropbox)]
        allowed = ",".join(f"127.0.0.1:{port}" for port in ports)
        options = ("--connector-allow", allowed, "--log-format", "json", "--log-level", "debug")
        with RunningServer(place / "home"):
            pass
        bob = add_user(place / "home", "bob")
        server = RunningServer(
            place / "home",
            *("--demo", "--examples-dir", str(examples), *options),
            env={"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "AWS_SESSION_TOKEN": "operator"},
        )
        with server:
            yield World(server, s3, dropbox, bob)


@pytest.fixture
def client(world: World) -> Iterator[httpx2.Client]:
    with world.client() as client:
        yield client
        for each in client.get("/v1/users/admin/connectors").json()["results"]:
            client.delete(f"/v1/users/admin/connectors/{each['connector_id']}")


def test_a_connector_is_created_as_the_old_service_did(world, client):
    answer = client.post(
        "/v1/users/admin/connectors", json=world.body(label="x", writeable=True, is_default=True)
    )
    created = answer.json()

    assert answer.status_code == 200
    assert created == {
        "connector_id": created["connector_id"],
        "username": "admin",
        "label": "x",
        "protocol": "s3",
        "is_default": True,
        "permissions": ["read", "write"],
    }
    shown = client.get(f"/v1/users/admin/connectors/{created['connector_id']}").json()
    assert shown == {
        **created,
        "path": "*",
        "options": world.s3.options,
        "created_at": shown["created_at"],
    }
    assert client.get("/v1/users/admin/connectors").json() == {"results": [shown]}


def test_a_label_is_made_up_and_one_that_is_taken_refused(world, client):
    plain = world.body()
    del plain["options"]
    labels = {
        client.post("/v1/users/admin/connectors", json=plain).json()["label"] for _ in range(3)
    }
    client.post("/v1/users/admin/connectors", json=world.body(label="taken"))
    again = client.post("/v1/users/admin/connectors", json=world.body(label="taken"))

    assert len(labels) == 3
    assert all(labels)
    assert again.status_code == 409
    assert again.json() == {"error": {"message": "there is a connector s3+taken already"}}


@pytest.mark.parametrize(
    "changed",
    [
        {"username": "bob"},
        {"protocol": "ftp"},
        {"protocol": None},
        {"cred_type": "sas"},
        {"cred_type": None},
        {"cred_data": {"access_key_id": "only-this-one-SECRET"}},
        {"cred_data": "only-this-one-SECRET"},
        {"cred_data": {"access_key_id": ["only-this-one-SECRET"]}},
        {"cred_data": None},
        {"label": "a b"},
        {"path": ""},
        {"writeable": "yes"},
        {"options": {"endpoint": "http://169.254.169.254", "allow_http": True}},
        {"options": {"endpoint": "https://127.0.0.1:1"}},
        {"options": {"endpoint": "https://localhost"}},
        {"options": {"endpoint": "http://example.com"}},
        {"options": {"region": "../x"}},
        {"options": {"ca_certificate": "nonsense"}},
    ],
)
def test_a_connector_that_cannot_be_right_is_refused(world, client, changed):
    answer = client.post("/v1/users/admin/connectors", json=world.body(**changed))

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"]
    assert "SECRET" not in answer.text
    assert client.get("/v1/users/admin/connectors").json() == {"results": []}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff"])
def test_a_body_that_is_no_description_is_refused(client, content):
    assert client.post("/v1/users/admin/connectors", content=content).status_code == 400


def test_nobody_sees_or_changes_the_connectors_of_another(world, client):
    connector_id = world.create(label="x")
    path = "/v1/users/admin/connectors"
    with world.client(world.bob) as bob:
        answers = [
            bob.get(path),
            bob.post(path, json=world.body()),
            bob.get(f"{path}/{connector_id}"),
            bob.put(f"{path}/{connector_id}", json={"label": "y"}),
            bob.delete(f"{path}/{connector_id}"),
            bob.post(f"{path}/{connector_id}/test"),
        ]
        elsewhere = bob.get(f"/v1/users/bob/connectors/{connector_id}")
        used = bob.get("/v1/data/s3+x://bucket")

    assert {answer.status_code for answer in answers} == {403}
    assert elsewhere.status_code == 404
    assert (used.status_code, used.json()["error"]["message"]) == (404, "connector not found")
    assert httpx2.get(f"{world.server.api}{path}").status_code == 401
    assert client.get("/v1/users/nobody/connectors").status_code == 403  # nor who there is


def test_files_and_directories_of_a_source_are_served_like_hosted_ones(world, client):
    world.create(label="x", is_default=True, writeable=True)

    stored = client.put("/v1/connector/s3/bucket/dir/a%20b.txt", content=b"hello")
    assert stored.json() == {"result": "s3://bucket/dir/a b.txt"}
    assert client.post("/v1/data/s3+x://bucket", json={"name": "empty"}).json() == {
        "result": "s3+x://bucket/empty"
    }
    assert client.post("/v1/data/S3+x://bucket", json={"name": "empty"}).status_code == 409

    file = client.get("/v1/data/s3://bucket/dir/a%20b.txt", headers={"range": "bytes=1-3"})
    assert (file.status_code, file.content) == (206, b"ell")
    assert file.headers["x-data-type"] == "file"
    assert file.headers["content-range"] == "bytes 1-3/5"
    unchanged = client.get(
        "/v1/data/s3://bucket/dir/a%20b.txt", headers={"if-none-match": file.headers["etag"]}
    )
    assert unchanged.status_code == 304

    roots = client.get("/v1/connector/s3").json()
    assert roots == {"folders": [{"name": "bucket"}, {"name": "second"}], "files": []}
    listing = client.get("/v1/connector/s3/bucket/")
    assert listing.headers["x-data-type"] == "directory"
    assert listing.json()["folders"] == [{"name": "dir"}, {"name": "empty"}]
    inner = client.get("/v1/connector/s3/bucket/dir?acl=true").json()
    assert "acl" not in inner
    assert [(each["filename"], each["size"]) for each in inner["files"]] == [("a b.txt", 5)]

    for path, kind in (("", "directory"), ("/bucket", "directory"), ("/bucket/dir", "directory")):
        head = client.head(f"/v1/connector/s3{path}")
        assert (head.status_code, head.headers["x-data-type"]) == (200, kind)
    assert client.head("/v1/connector/s3/bucket/absent").status_code == 404
    assert client.patch("/v1/connector/s3/bucket", json={"acl": {"read": []}}).status_code == 400

    full = client.delete("/v1/connector/s3/bucket/dir")
    assert (full.status_code, full.json()["error"]["message"]) == (400, "directory not empty")
    gone = client.delete("/v1/connector/s3/bucket/dir?force=true")
    assert gone.json() == {"result": {"deleted": 2}}
    assert client.delete("/v1/connector/s3/bucket/empty").json() == {"result": {"deleted": 1}}


def test_files_move_between_sources(world, client):
    world.create(label="x", is_default=True, writeable=True)
    world.create(world.dropbox, is_default=True, writeable=True)
    client.post("/v1/data/.my", json={"name": "moving"})
    client.put("/v1/data/.my/moving/file", content=b"bytes")

    for source, target in (
        ("data://.my/moving/file", "s3://bucket/moved"),
        ("s3://bucket/moved", "dropbox://dir/moved"),
        ("dropbox://dir/moved", "data://.my/moving/back"),
    ):
        answer = client.put(f"/v1/data/{target}", headers={"x-move-from": source}, content=b"")
        assert answer.status_code == 200, answer.text
        assert client.head(f"/v1/data/{source}").status_code == 404
    assert client.get("/v1/data/.my/moving/back").content == b"bytes"
    client.delete("/v1/data/.my/moving?force=true")


def test_a_connector_is_read_only_unless_it_is_writeable(world, client):
    (world.s3.directory / "second" / "file").write_bytes(b"old")
    connector_id = world.create(is_default=True)
    path = "/v1/connector/s3/second"

    assert client.get(f"{path}/file").content == b"old"
    answers = [
        client.put(f"{path}/file", content=b"new"),
        client.delete(f"{path}/file"),
        client.post(path, json={"name": "dir"}),
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert (world.s3.directory / "second" / "file").read_bytes() == b"old"

    changed = client.put(f"/v1/users/admin/connectors/{connector_id}", json={"writeable": True})
    assert changed.json()["permissions"] == ["read", "write"]
    assert client.put(f"{path}/file", content=b"new").status_code == 200


def test_outside_its_path_a_connector_opens_nothing(world, client):
    second = world.s3.directory / "second"
    for name in ("open/a/in.txt", "open/b.txt", "opener.txt", "closed.txt"):
        (second / name).parent.mkdir(parents=True, exist_ok=True)
        (second / name).write_bytes(b"x")
    world.create(is_default=True, writeable=True, path="second/open/*")
    world.create(label="begin", path="second/open*")
    base = "/v1/connector/s3"

    assert client.get(f"{base}/second/open/a/in.txt").status_code == 200
    assert len(client.get(f"{base}/second/open").json()["files"]) == 1
    for path in ("", "/bucket", "/second", "/second/closed.txt", "/second/opener.txt"):
        assert client.get(f"{base}{path}").status_code == 403
        assert client.head(f"{base}{path}").status_code == 403
    assert client.put(f"{base}/second/closed.txt", content=b"y").status_code == 403
    assert client.delete(f"{base}/second?force=true").status_code == 403
    assert client.get(f"{base}+begin/second/opener.txt").status_code == 200
    assert client.get(f"{base}+begin/second/closed.txt").status_code == 403
    assert client.delete(f"{base}/second/open?force=true").json() == {"result": {"deleted": 4}}
    assert sorted(path.name for path in second.glob("*.txt")) == ["closed.txt", "opener.txt"]


def test_a_connector_is_tried_out(world, client):
    connector_id = world.create(is_default=True, writeable=True, path="bucket/*")
    reading = world.create(label="reading")
    wrong = {**world.s3.credentials, "secret_access_key": "wrong-secret-0123456789"}
    broken = world.create(label="broken", cred_data=wrong, writeable=True)
    boxed = world.create(world.dropbox, writeable=True)

    def trial(which: str) -> dict[str, Any]:
        answer = client.post(f"/v1/users/admin/connectors/{which}/test")
        assert answer.status_code == 200
        assert "wrong-secret" not in answer.text
        found: dict[str, Any] = answer.json()
        return found

    for which in (connector_id, boxed):
        assert all(each["ok"] and each["message"] for each in trial(which).values())
    found = trial(reading)
    assert (found["list"]["ok"], found["read"]["ok"]) == (True, True)
    assert (found["write"], found["delete"]) == (None, None)
    found = trial(broken)
    assert not any(each["ok"] for each in found.values())
    assert "signature" in found["list"]["message"]
    assert list((world.s3.directory / "bucket").glob("algorium-test-*")) == []


@pytest.mark.parametrize("path", ["bucket*", "bucket/tried*", "bucket/tried/*", "bucket/fi*", "*"])
def test_a_trial_keeps_to_what_a_connector_opens(world, client, path):
    top = world.s3.directory / "bucket"
    (top / "tried").mkdir(exist_ok=True)
    (top / "tried" / "file").touch()
    connector_id = world.create(writeable=True, path=path)

    found = client.post(f"/v1/users/admin/connectors/{connector_id}/test").json()

    assert all(each["ok"] for each in found.values()), found
    assert not list(world.s3.directory.rglob("*algorium-test-*"))


def test_a_trial_only_reads_the_one_file_that_a_connector_opens(world, client):
    (world.s3.directory / "bucket" / "one").write_text("one")
    for name, is_ok in (("one", True), ("none", False)):
        connector_id = world.create(writeable=True, path=f"bucket/{name}")

        found = client.post(f"/v1/users/admin/connectors/{connector_id}/test").json()

        assert (found["list"]["ok"], found["read"]["ok"]) == (True, is_ok)
        assert (found["write"], found["delete"]) == (None, None)


def test_a_connector_is_made_and_tried_from_the_shell(world, client, monkeypatch, capfd, tmp_path):
    monkeypatch.setenv("ALGORITHMIA_API", world.server.api)
    monkeypatch.setenv("ALGORITHMIA_API_KEY", world.server.key)
    key_file = tmp_path / "key.json"
    key_file.write_text(json.dumps(world.s3.credentials))
    options = [f"--option={name}={value}" for name, value in world.s3.options.items()]

    def algo(*words):
        code = main(["connector", *words])
        return code, *capfd.readouterr()

    code, out, error = algo(
        *("create", "s3", "--label", "shell", "--credentials", str(key_file), "--writeable"),
        *("--path", "bucket/*", "--default", "--test", "--json", *options),
    )
    made = json.loads(out)
    assert (code, made["uri"], made["path"], made["test"]["ok"]) == (
        *(0, "s3+shell://", "bucket/*"),
        True,
    ), error
    code, out, _ = algo("show", "s3", "--json")
    assert (code, json.loads(out)) == (0, {name: made[name] for name in made if name != "test"})
    assert algo("update", "s3+shell", "--path", "absent/*", "--label", "other")[0] == 0
    code, out, error = algo("test", "s3+other")
    assert (code, "s3+other:// does not" in error) == (1, True), out
    code, _, error = algo("update", "s3+other", "--option", "endpoint=https://example.com")
    assert (code, "error:" in error) == (1, True)
    assert algo("delete", "s3+other")[0] == 0
    assert world.s3.credentials["secret_access_key"] not in json.dumps(made)


def test_a_default_is_pinned_and_moves(world, client):
    first = world.create(label="a", is_default=True)
    world.create(label="b", is_default=True)

    def defaults() -> list[str]:
        found = client.get("/v1/users/admin/connectors").json()["results"]
        return [each["label"] for each in found if each["is_default"]]

    assert defaults() == ["b"]
    client.put(f"/v1/users/admin/connectors/{first}", json={"is_default": True})
    assert defaults() == ["a"]
    assert client.delete(f"/v1/users/admin/connectors/{first}").status_code == 204
    assert client.get("/v1/connector/s3").status_code == 404
    assert client.get("/v1/connector/s3+b").status_code == 200


def test_credentials_are_not_sent_to_another_endpoint_than_they_were_given_for(world, client):
    connector_id = world.create(world.dropbox, is_default=True)
    moved = {**world.dropbox.options, "endpoint": world.s3.endpoint.replace("http:", "https:")}
    path = f"/v1/users/admin/connectors/{connector_id}"

    refused = client.put(path, json={"options": moved})
    assert refused.status_code == 400
    assert "cred_data" in refused.json()["error"]["message"]
    assert client.put(path, json={"label": "renamed"}).status_code == 200
    assert client.get("/v1/data/dropbox+renamed://").status_code == 200


def test_an_algorithm_uses_the_connectors_of_its_caller(world, client):
    (world.s3.directory / "bucket" / "mine").write_bytes(b"the caller's")
    world.create(is_default=True, writeable=True, path="bucket/*")

    def ask(key: str, *request: str) -> Any:
        with world.client(key) as caller:
            answer = caller.post("/v1/algo/ada/Ask", json=request)
            assert answer.status_code == 200, answer.text
            return answer.json()["result"]

    assert ask("", "GET", "/v1/data/s3://bucket/mine") == [200, "the caller's"]
    assert ask("", "PUT", "/v1/data/s3://bucket/made", "inside")[0] == 200
    assert (world.s3.directory / "bucket" / "made").read_bytes() == b"inside"
    assert ask("", "GET", "/v1/data/s3://second")[0] == 403
    # Nobody's connectors but the caller's, and never what opens them.
    assert ask(world.bob, "GET", "/v1/data/s3://bucket/mine")[0] == 404
    assert ask("", "GET", "/v1/users/admin/connectors")[0] == 403


def test_a_source_that_does_not_answer_is_not_our_failure(world, client):
    started = time.monotonic()
    gone = {"endpoint": world.s3.endpoint, "allow_http": True, "region": "us-east-1"}
    wrong = {"access_key_id": "AKIDNOBODY0123456789", "secret_access_key": "not-this-0123456789"}
    world.create(is_default=True, options=gone, cred_data=wrong)
    answer = client.get("/v1/connector/s3/bucket")

    assert answer.status_code in {404, 502}  # this server says 404 to keys that it does not know
    assert "not-this" not in answer.text
    assert time.monotonic() - started < 30


def test_connectors_outlive_a_restart_and_their_secrets_are_nowhere(world):
    world.create(label="kept", is_default=True, writeable=True)
    world.create(world.dropbox, label="kept", is_default=True)
    with world.client() as client:
        client.put("/v1/connector/s3/bucket/kept", content=b"kept")
        client.get("/v1/connector/dropbox")
    earlier = list(world.server.lines)
    world.server.kill()
    world.server.start()
    with world.client() as client:
        assert client.get("/v1/connector/s3/bucket/kept").content == b"kept"
        assert client.get("/v1/connector/dropbox").status_code == 200
        listed = client.get("/v1/users/admin/connectors").text
    world.server.stop()

    secrets = {*world.s3.secrets, *world.dropbox.secrets, "wrong-secret-0123456789"}
    told = [listed, *earlier, *world.server.lines]
    assert not [line for line in told if any(secret in line for secret in secrets)]
    kept = [path for path in world.server.home.iterdir() if path.name.startswith("algorium.db")]
    assert kept
    for path in kept:
        assert not [secret for secret in secrets if secret.encode() in path.read_bytes()]
    assert json.loads((world.server.home / "secrets" / "sealing.json").read_text())["current"]
