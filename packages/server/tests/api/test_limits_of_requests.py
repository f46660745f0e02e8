"""Requests that are too long or too slow, on raw sockets."""

import contextlib
import time

import pytest

from algorium_server.api import protocol
from algorium_server.api.http import read_body, respond


async def answer(scope, receive, send):
    body = await read_body(scope, receive, bytes_max=10**6, too_large="no")
    await respond(send, 200, body)


def exchange(server, *parts: bytes) -> bytes:
    """Send parts, as far as the server takes them, and read until it closes."""
    with server.connect() as connection, contextlib.suppress(OSError):
        with contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
        received = b""
        with contextlib.suppress(OSError):
            while chunk := connection.recv(65536):
                received += chunk
        return received


@pytest.fixture
def server(serve, monkeypatch):
    monkeypatch.setattr(protocol, "REQUEST_HEAD_S_MAX", 0.5)
    monkeypatch.setattr(protocol, "REQUEST_BODY_STALL_S_MAX", 0.5)
    return serve(answer)


def test_a_head_without_end_is_refused_early(server):
    began = time.monotonic()
    received = exchange(server, b"GET / HTTP/1.1\r\nX: ", b"a" * 1_000_000)

    assert received.startswith(b"HTTP/1.1 431 ")
    assert b'"code":2015' in received
    assert time.monotonic() - began < 10


def test_a_long_head_is_fine_up_to_its_limit(server):
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\nX: "

    received = exchange(server, head + b"a" * 60_000 + b"\r\n\r\n{}")

    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"{}")


def test_a_large_body_right_behind_the_head_is_no_head(server):
    body = b"{" + b" " * 200_000 + b"}"
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"

    received = exchange(server, head % len(body) + body)

    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(body)


def test_a_slow_head_ends(server):
    assert exchange(server, b"GET / HTT").startswith(b"HTTP/1.1 408 ")


def test_a_silent_connection_ends(server):
    assert exchange(server) == b""


def test_a_body_that_stalls_ends(server):
    received = exchange(server, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab")

    assert received.startswith(b"HTTP/1.1 408 ")


def test_requests_on_one_connection_are_counted_one_by_one(server):
    one = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nX: " + b"a" * 40_000 + b"\r\n\r\n{}"
    last = one.replace(b"Host: x", b"Host: x\r\nConnection: close")

    assert exchange(server, one, one, last).count(b"HTTP/1.1 200 ") == 3
