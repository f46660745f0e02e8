import io
import json

import pytest
from fastapi import APIRouter

from algorium_server import telemetry
from algorium_server.api.health import HealthFace, Readiness
from algorium_server.api.http import Disconnected, encode_json, respond
from algorium_server.api.management import build_management
from algorium_server.api.router import build_router
from algorium_server.domain.errors import TooManyRequests


def named(name):
    """A face that tells its name and the path it sees."""

    async def face(scope, receive, send):
        seen = {"face": name, "raw_path": scope["raw_path"].decode(), "path": scope["path"]}
        await respond(send, 200, encode_json(seen))

    return face


def router_of(calls=None, data=None, management=None):
    return build_router(
        calls=calls or named("calls"),
        data=data or named("data"),
        health=HealthFace(lambda: Readiness(is_ready=True)),
        usage=named("usage"),
        admin=named("admin"),
        storage=named("storage"),
        **({} if management is None else {"management": management}),
    )


def request(target, method=b"GET"):
    return method + b" " + target + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def answer_of(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.lower(), body


@pytest.mark.parametrize(
    ("target", "face", "raw_path"),
    [
        ("/v1/algo/demo/Hello", "calls", "/v1/algo/demo/Hello"),
        ("/v1/algo/demo/Hello/?timeout=3", "calls", "/v1/algo/demo/Hello/"),
        ("/v1/algo/algo://demo/Hello", "calls", "/v1/algo/algo://demo/Hello"),
        ("//v1/algo/demo/Hello", "calls", "/v1/algo/demo/Hello"),
        ("///v1//algo/demo//Hello", "calls", "/v1/algo/demo//Hello"),
        ("/v1/algo", "calls", "/v1/algo"),
        ("/v1/algo/", "calls", "/v1/algo/"),
        ("/v1/web/algo/demo/Hello", "calls", "/v1/web/algo/demo/Hello"),
        ("/v1/data", "data", "/v1/data"),
        ("/v1/data/", "data", "/v1/data/"),
        ("/v1/data/s3://bucket/key", "data", "/v1/data/s3://bucket/key"),
        ("//v1/data/s3://bucket//key", "data", "/v1/data/s3://bucket//key"),
        ("/v1/data/.my%2Fdir%2Ffile", "data", "/v1/data/.my%2Fdir%2Ffile"),
        ("/v1/data/%zz%", "data", "/v1/data/%zz%"),
        ("/v1/connector/data/.my", "data", "/v1/connector/data/.my"),
        ("/v1/hostedData", "data", "/v1/hostedData"),
        ("/v1/usage", "usage", "/v1/usage"),
        ("/v1/admin/host", "admin", "/v1/admin/host"),
        ("//v1//admin/host/", "admin", "/v1/admin/host/"),
        ("/v1/usage/totals?by=day", "usage", "/v1/usage/totals"),
        ("//v1/admin//usage/users", "usage", "/v1/admin/usage/users"),
    ],
)
def test_paths_go_to_their_face(serve, target, face, raw_path):
    status, _, body = answer_of(serve(router_of()).exchange(request(target.encode())))

    seen = json.loads(body)
    assert status == 200
    assert (seen["face"], seen["raw_path"]) == (face, raw_path)


def test_a_path_and_its_raw_form_stay_the_same_place(serve):
    _, _, body = answer_of(serve(router_of()).exchange(request(b"//v1/data/a%20b%2Fc")))

    assert json.loads(body)["path"] == "/v1/data/a b/c"


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/v1",
        b"/v1/",
        b"/v1/algorithms/demo/Hello",
        b"/v1/algorithm",
        b"/v1/database",
        b"/v1/users",
        b"/v2/algo/demo/Hello",
        b"/healthzz",
        b"/favicon.ico",
        b"/%ff",
        b"/a%0d%0ab",
        b"*",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS", b"DELETE"])
def test_everything_else_is_404_in_json(serve, target, method):
    status, head, body = answer_of(serve(router_of()).exchange(request(target, method)))

    assert status == 404
    assert b"content-type: application/json" in head
    assert b"x-error-message: " in head
    assert json.loads(body)["error"]["message"]


def test_errors_of_a_face_are_answered(serve):
    async def busy(scope, receive, send):
        raise TooManyRequests("come back later")

    status, _, body = answer_of(
        serve(router_of(calls=busy)).exchange(request(b"/v1/algo/demo/Hello", b"POST"))
    )

    assert status == 429
    assert json.loads(body) == {"error": {"message": "come back later"}}


def test_a_bug_of_ours_is_500_with_an_id(serve):
    telemetry.configure("info", "json", file=io.StringIO())

    async def broken(scope, receive, send):
        raise KeyError("oops")

    routes = APIRouter()
    routes.get("/v1/broken")(lambda: {}["oops"])
    app = router_of(data=broken, management=build_management(None, routes))
    for target in (b"/v1/data/.my/x", b"/v1/broken"):
        status, _, body = answer_of(serve(app).exchange(request(target)))

        assert status == 500
        assert json.loads(body)["error"]["code"] == 5001
        assert json.loads(body)["error"]["id"]


def test_an_answer_that_breaks_off_is_not_mistaken_for_a_whole_one(serve):
    telemetry.configure("info", "json", file=io.StringIO())

    async def half(scope, receive, send):
        headers = [(b"content-length", b"10")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"01234", "more_body": True})
        raise OSError("the disk is gone")

    raw = serve(router_of(data=half)).exchange(request(b"/v1/data/.my/x"))

    assert raw.startswith(b"HTTP/1.1 200")
    assert raw.endswith(b"01234")


def test_a_face_whose_client_left_says_nothing(serve):
    async def left(scope, receive, send):
        raise Disconnected

    address = serve(router_of(calls=left))
    with address.connect() as connection:
        connection.sendall(b"POST /v1/algo/a/b HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n")
    with address.client() as client:
        assert client.get("/healthz").status_code == 200


def test_a_lifespan_is_accepted(serve_with_lifespan):
    with serve_with_lifespan(router_of()).client() as client:
        assert client.get("/healthz").status_code == 200


def test_websockets_are_refused(serve):
    raw = serve(router_of()).exchange(
        b"GET /v1/algo/demo/Hello HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\n"
        b"upgrade: websocket\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )

    assert raw.startswith(b"HTTP/1.1 403")
