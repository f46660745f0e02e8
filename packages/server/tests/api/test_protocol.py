import asyncio
import json
import select
import threading

import pytest

from algorium_server.api.http import encode_json, read_body, respond
from algorium_server.api.protocol import OneSegment

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


async def tell(scope, receive, send):
    """Answer with the path."""
    await respond(send, 200, encode_json({"raw_path": scope["raw_path"].decode()}))


def request(target, method=b"GET"):
    return method + b" " + target + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def test_raw_bytes_in_a_path_count_as_percent_encoded(serve):
    answer = serve(tell).exchange(request("/v1/data/.my/dir/nü.txt".encode()))

    assert answer.endswith(b'{"raw_path":"/v1/data/.my/dir/n%C3%BC.txt"}')


def test_raw_bytes_in_a_body_are_left_alone(serve):
    async def echo(scope, receive, send):
        body = await read_body(scope, receive, bytes_max=9000, too_large="too large")
        await respond(send, 200, body)

    body = bytes(range(256)) * 20
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    last = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 4\r\n\r\nlast"
    with serve(echo).connect() as connection:
        # The head of the second request comes with the first, its body later and in pieces.
        connection.sendall(head + body + head)
        connection.sendall(body[:7])
        connection.sendall(body[7:] + last)
        answers = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answers.count(body) == 2
    assert answers.endswith(b"\r\n\r\nlast")


def test_what_is_no_http_is_refused_in_json(serve):
    answer = serve(tell).exchange(b"\x16\x03\x01 hello\r\n\r\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"content-type: application/json" in head
    assert b"x-error-message: Invalid HTTP request" in head
    assert json.loads(body)["error"]["code"] == 2015


def test_a_body_that_takes_its_time_does_not_hold_its_head_back(serve):
    head_has_come = threading.Event()

    async def slow(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.to_thread(head_has_come.wait, 20)
        await send({"type": "http.response.body", "body": b"late"})

    with serve(slow).connect() as connection:
        connection.sendall(request(b"/"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        head_has_come.set()
        rest = b"".join(iter(lambda: connection.recv(65536), b""))

    assert b"late" in rest


class Recorder:
    """A transport that notes what it is given together."""

    def __init__(self):
        self.segments = []
        self.is_closed = False

    def write(self, data):
        self.segments.append(data)

    def writelines(self, pieces):
        self.segments.append(b"".join(pieces))

    def close(self):
        self.is_closed = True

    def is_closing(self):
        return self.is_closed


def segments_of(steps):
    async def play():
        recorder = Recorder()
        await steps(OneSegment(recorder, asyncio.get_running_loop()))
        await asyncio.sleep(0)
        return recorder.segments

    return asyncio.run(play())


def test_head_and_body_leave_together():
    async def steps(transport):
        for _ in range(2):  # pipelined answers in the same turn
            transport.write(HEAD)
            transport.write(b"hi")

    assert segments_of(steps) == [HEAD + b"hi"] * 2


def test_the_rest_of_a_body_is_not_held_back():
    async def steps(transport):
        for piece in (HEAD, b"one", b"two"):
            transport.write(piece)

    assert segments_of(steps) == [HEAD + b"one", b"two"]


def test_a_head_alone_leaves_within_a_turn():
    async def steps(transport):
        transport.write(HEAD)
        await asyncio.sleep(0)
        transport.write(b"hi")

    assert segments_of(steps) == [HEAD, b"hi"]


def test_nothing_is_lost_when_the_connection_closes():
    async def steps(transport):
        transport.write(HEAD)
        transport.close()
        assert transport.is_closing()

    assert segments_of(steps) == [HEAD]


def test_a_body_that_looks_like_a_head_arrives_in_order():
    async def steps(transport):
        for piece in (HEAD, HEAD, b"x", HEAD):
            transport.write(piece)

    assert b"".join(segments_of(steps)) == HEAD + HEAD + b"x" + HEAD


OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAA\r\n"


@pytest.mark.parametrize("cut", [None, 3, 40, 90, -9, -8, -1])
def test_an_offer_of_another_protocol_costs_no_body(serve, cut):
    async def echo(scope, receive, send):
        body = await read_body(scope, receive, bytes_max=100, too_large="too large")
        await respond(send, 200, scope["raw_path"] + body)

    first = (
        b"POST /first?a=1 HTTP/1.1\r\n" + OFFER + b"host: x\r\ncontent-length: 8\r\n\r\nHAL 9000"
    )
    last = b"POST /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 4\r\n\r\nlast"
    with serve(echo).connect() as connection:
        if cut is None:
            connection.sendall(first + last)
        else:
            connection.sendall(first[:cut])
            assert not select.select([connection], [], [], 0.05)[0]
            connection.sendall(first[cut:] + last)
        answers = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert b"/firstHAL 9000" in answers
    assert answers.endswith(b"/lastlast")


def test_an_offer_with_a_body_in_chunks(serve):
    async def echo(scope, receive, send):
        body = await read_body(scope, receive, bytes_max=100, too_large="too large")
        await respond(send, 200, body)

    head = b"POST / HTTP/1.1\r\nhost: x\r\n" + OFFER + b"transfer-encoding: chunked\r\n\r\n"
    with serve(echo).connect() as connection:
        connection.sendall(head + b"3\r\nHAL\r\n5\r\n 9000\r\n0\r\n\r\n" + request(b"/"))
        answers = b"".join(iter(lambda: connection.recv(65536), b""))

    assert b"\r\n\r\nHAL 9000HTTP/1.1" in answers


def kept(target=b"/", *fields):
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"host: x", *fields, b"", b""])


@pytest.mark.parametrize(
    ("behind", "shown"),
    [
        (b"\0 no HTTP\r\n\r\n", b"the whole"),
        (kept(b"/", b"transfer-encoding: chunked") + b"zz\r\n", b"the "),
    ],
)
def test_a_refusal_never_gets_into_the_answer_before_it(serve, behind, shown):
    may_end = threading.Event()

    async def slow(scope, receive, send):
        head = [(b"content-length", b"9")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b"the ", "more_body": True})
        await asyncio.to_thread(may_end.wait, 20)
        await send({"type": "http.response.body", "body": b"whole"})

    with serve(slow).connect() as connection:
        connection.sendall(kept())
        answer = b""
        while b"the " not in answer:
            answer += connection.recv(65536)
        connection.sendall(behind)
        serve(tell).exchange(request(b"/"))  # what was sent before has arrived then
        may_end.set()
        answer += b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.count(b"HTTP/1.1") == 1
    assert answer.partition(b"\r\n\r\n")[2] == shown


def test_a_body_that_was_not_asked_for_is_no_request_and_the_next_request_no_body(serve):
    with serve(tell).connect() as connection:
        connection.sendall(kept(b"/a", b"expect: 100-continue", b"content-length: 999"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.endswith(b'{"raw_path":"/a"}')
