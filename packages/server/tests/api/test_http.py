import asyncio

import pytest

from algorium_server.api.errors import send_error
from algorium_server.api.http import (
    Disconnected,
    boolean,
    cors_headers,
    encode_json,
    parse_query,
    read_body,
    respond,
)
from algorium_server.domain.errors import AlgoriumError


async def echo(scope, receive, send):
    """Answer with the body, which may have ten bytes."""
    try:
        body = await read_body(scope, receive, bytes_max=10, too_large="at most 10")
    except AlgoriumError as error:
        await send_error(scope, send, error)
    else:
        await respond(send, 200, body, content_type="text/plain", request_id="req-1")


def test_a_body_comes_back_whole(serve):
    with serve(echo).client() as client:
        answer = client.post("/", content=b"0123456789")

    assert answer.content == b"0123456789"
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["content-length"] == "10"
    assert answer.headers["x-request-id"] == "req-1"


def test_a_chunked_body_comes_back_whole(serve):
    with serve(echo).client() as client:
        answer = client.post("/", content=iter([b"0123", b"", b"456"]))

    assert answer.content == b"0123456"


@pytest.mark.parametrize("content", [b"x" * 11, b"x" * 3_000_000])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_too_large_a_body_is_refused_and_the_connection_survives(serve, content, is_chunked):
    with serve(echo).client() as client:
        refused = client.post("/", content=iter([content]) if is_chunked else content)
        again = client.post("/", content=b"ok")

    assert refused.status_code == 413
    assert refused.json() == {"error": {"code": 6001, "message": "at most 10"}}
    assert again.content == b"ok"


def test_an_announced_excess_is_refused_before_it_is_sent(serve):
    with serve(echo).connect() as connection:
        head = b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 99\r\n\r\n"
        connection.sendall(head)
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_expecting_clients_are_told_to_continue(serve):
    with serve(echo).connect() as connection:
        head = b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        connection.sendall(head)
        interim = connection.recv(65536)
        connection.sendall(b"hi")
        answer = connection.recv(65536)

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.endswith(b"hi")


def test_a_client_that_leaves_in_the_middle_is_noticed():
    messages = iter(
        [
            {"type": "http.request", "body": b"01", "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive():
        return next(messages)

    reading = read_body({"headers": []}, receive, bytes_max=10, too_large="too large")
    with pytest.raises(Disconnected):
        asyncio.run(reading)


def test_no_content_has_neither_body_nor_its_headers(serve):
    async def app(scope, receive, send):
        await respond(send, 204, b"ignored")

    answer = serve(app).exchange(b"DELETE / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert b"content-type" not in head
    assert b"content-length" not in head
    assert b"transfer-encoding" not in head
    assert body == b""


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", {}),
        (b"?", {}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=1?b=2", {"a": "1", "b": "2"}),
        (b"a=1&a=2", {"a": "2"}),
        (b"flag&a=", {"flag": "", "a": ""}),
        (b"&&=&a=b=c", {"": "", "a": "b=c"}),
        (b"a=x+y%20z%2B", {"a": "x y z+"}),
        (b"a=%ff%zz%", {"a": "\ufffd%zz%"}),
        (b"a=\xc3\xa4\xff", {"a": "ä\ufffd"}),
        (b"%61=1", {"a": "1"}),
    ],
)
def test_queries_are_read_whatever_they_hold(query, expected):
    assert parse_query({"query_string": query}) == expected


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", " true "])
def test_flags_that_are_set(text):
    assert boolean(text)


@pytest.mark.parametrize("text", ["", "false", "False", "FALSE", "0", "2", "yes", "\ufffd"])
def test_flags_that_are_not_set(text):
    assert not boolean(text)


def test_json_is_compact_utf8():
    assert encode_json({"a": {"b": 1}, "ä": None}) == '{"a":{"b":1},"ä":null}'.encode()


def test_a_page_may_read_the_answer():
    headers = dict(cors_headers({"headers": [(b"origin", b"https://example.com")]}))

    assert headers[b"access-control-allow-origin"] == b"https://example.com"
    assert headers[b"vary"] == b"origin"
    assert b"access-control-allow-methods" not in headers


def test_a_preflight_is_told_what_it_may_send():
    headers = dict(cors_headers({"headers": []}, is_preflight=True))

    assert headers[b"access-control-allow-origin"] == b"*"
    assert headers[b"access-control-allow-methods"] == b"POST, OPTIONS"
    allowed = headers[b"access-control-allow-headers"]
    assert allowed == b"authorization, content-type, accept, idempotency-key"


def test_an_origin_that_cannot_be_a_header_is_not_echoed():
    headers = dict(cors_headers({"headers": [(b"origin", b"a\x01b")]}))

    assert headers[b"access-control-allow-origin"] == b"*"


def test_a_request_in_pieces_is_understood(serve):
    with serve(echo).connect() as connection:
        for piece in (b"POST / HT", b"TP/1.1\r\nhost: x\r\ncontent-", b"length: 2\r\n\r\nh", b"i"):
            connection.sendall(piece)
        answer = connection.recv(65536)

    assert answer.endswith(b"hi")
