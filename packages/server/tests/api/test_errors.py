import io
import json

import pytest

from algorium.wire.codes import BY_NUMBER
from algorium_server import telemetry
from algorium_server.api.errors import error_body, header_text, send_error
from algorium_server.domain.errors import (
    AlgorithmNotFound,
    AlgoriumError,
    InternalError,
    InvalidInput,
    MethodNotAllowed,
    NotAuthenticated,
    PartlyDeleted,
    PathNotFound,
    RequestTimedOut,
    ScmNeedsConnecting,
    TooLarge,
    Unavailable,
    UnknownScm,
    UnsupportedContentType,
)

# Wire specification, "Platform errors": these share a code whose own status is another.
BORROWED_CODES = {
    MethodNotAllowed: 405,
    RequestTimedOut: 408,
    UnsupportedContentType: 415,
    TooLarge: 413,
    Unavailable: 503,
    UnknownScm: 400,
    ScmNeedsConnecting: 400,
}


def tree(base=AlgoriumError):
    for child in base.__subclasses__():
        yield child
        yield from tree(child)


def raising(error, **options):
    async def app(scope, receive, send):
        await send_error(scope, send, error, **options)

    return app


@pytest.mark.parametrize("kind", list(tree()))
def test_status_and_code_agree_with_the_table(kind):
    error = kind()

    assert 400 <= kind.status < 600
    assert error.message
    if kind.code is not None:
        assert kind.status == BORROWED_CODES.get(kind, BY_NUMBER[kind.code].status)


@pytest.mark.parametrize("kind", list(tree()))
def test_every_error_has_the_one_shape(serve, kind):
    with serve(raising(kind("what, which, what to do", hint="do this"))).client() as client:
        answer = client.get("/")

    assert answer.status_code == kind.status
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-error-message"] == "what, which, what to do"
    error = answer.json()["error"]
    assert error["message"] == "what, which, what to do"
    assert error["hint"] == "do this"
    assert error.get("code") == kind.code
    assert all(isinstance(value, str | int | float | bool) for value in error.values())


def test_absent_members_are_left_out_and_the_body_is_compact():
    assert error_body(PathNotFound()) == b'{"error":{"message":"path not found"}}'
    assert (
        error_body(NotAuthenticated("authorization required"))
        == b'{"error":{"code":2002,"message":"authorization required"}}'
    )


def test_fields_and_error_type_reach_the_wire():
    class OutOfCredit(InvalidInput):
        error_type = "PaymentRequiredError"

    body = json.loads(error_body(OutOfCredit("no credit", fields={"id": "7", "balance": 0.5})))
    assert list(body["error"]) == ["id", "code", "message", "error_type", "balance"]

    partly = json.loads(error_body(PartlyDeleted("one is busy", fields={"deleted": 3})))
    assert partly == {"error": {"message": "one is busy", "deleted": 3}}


def test_head_has_the_message_in_its_header_only(serve):
    answer = serve(raising(PathNotFound(), closes=True)).exchange(
        b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n"
    )

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"x-error-message: path not found" in head
    assert body == b""


def test_the_connection_can_be_closed(serve):
    answer = serve(raising(PathNotFound(), closes=True)).exchange(
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    )

    assert answer.lower().count(b"connection: close") == 1


def test_further_headers_and_the_request_id_are_sent(serve):
    app = raising(PathNotFound(), request_id="req-5", headers=[(b"allow", b"POST")])
    with serve(app).client() as client:
        answer = client.get("/")

    assert answer.headers["x-request-id"] == "req-5"
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("plain", b"plain"),
        ("two\r\nx-evil: 1\nlines\x7f", b"two  x-evil: 1 lines"),
        ("naïve", b"na\xefve"),
        ("日本", b"??"),
        ("lone \udcff", b"lone ?"),
        ("x" * 1_000_000, b"x" * 1021 + b"..."),
    ],
)
def test_header_texts_are_one_line_of_latin_1(message, expected):
    assert header_text(message) == expected


@pytest.mark.parametrize("name", ["日本", "two\r\nlines", "nul\0", "lone \udcff", '"quoted"'])
def test_any_text_survives_in_an_error(serve, name):
    with serve(raising(AlgorithmNotFound(f"algorithm {name} not found"))).client() as client:
        answer = client.get("/")

    expected = name.encode("utf-8", "replace").decode()
    assert answer.json()["error"]["message"] == f"algorithm {expected} not found"
    assert "\n" not in answer.headers["x-error-message"]


def test_what_is_not_ours_becomes_an_internal_error_with_an_id_in_the_log(serve):
    log = io.StringIO()
    telemetry.configure("info", "json", file=log)

    with serve(raising(ZeroDivisionError("secret detail"))).client() as client:
        answer = client.get("/")

    error = answer.json()["error"]
    assert answer.status_code == 500
    assert error["code"] == 5001
    assert error["message"] == "There was an internal error."
    assert "secret detail" not in answer.text
    line = json.loads(log.getvalue().splitlines()[0])
    assert line["id"] == error["id"]
    assert "ZeroDivisionError: secret detail" in line["exception"]


def test_an_internal_error_of_ours_gets_an_id_and_keeps_its_detail_to_the_log(serve):
    log = io.StringIO()
    telemetry.configure("info", "json", file=log)

    with serve(raising(InternalError(detail="disk sda1"))).client() as client:
        answer = client.get("/")

    assert answer.json()["error"]["id"]
    assert "sda1" not in answer.text
    assert json.loads(log.getvalue())["detail"] == "disk sda1"
