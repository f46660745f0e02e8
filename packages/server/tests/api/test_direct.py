"""
Calls whose head was seen before, on real connections; the engine's part is played by the tests.

Every test sends a first call the long way, so that what follows takes the short one.
"""

import asyncio
import base64
import itertools
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
import rows
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from algorium.wire.refs import AlgorithmRef
from algorium_server import spool
from algorium_server.api.calls import CallFace
from algorium_server.api.credentials import Credentials
from algorium_server.api.direct import DirectProtocol
from algorium_server.api.forwarding import forwarding
from algorium_server.api.heads import Head, Heads
from algorium_server.api.router import build_router
from algorium_server.domain.algorithms import BuildStatus, Callability
from algorium_server.domain.calls import CallOptions, CallSuccess, ContentType, Timings, content_of
from algorium_server.domain.errors import Unavailable
from algorium_server.domain.identity import DEFAULT_KEY_PERMISSIONS, KeyPermissions, Principal
from algorium_server.domain.limits import CALLS_IN_FLIGHT_PER_ACCOUNT_MAX
from algorium_server.domain.proxies import NO_PROXIES, Proxies, parse_proxies
from algorium_server.services.calling.calls import CallService
from algorium_server.services.directory import Directory, key_digest

SECRET = "simSECRET"
DEADLINE_S = 20


class PlayedEngine:
    """Answers with the input, unless told to keep a call; counts what it was given."""

    def __init__(self) -> None:
        self.submitted = 0
        self.kept: dict[bytes, Callable] = {}
        self.cancelled = threading.Event()
        self.failing: Exception | None = None

    def submit(self, program, flight, call_input, on_outcome):
        self.submitted += 1
        body = content_of(call_input.body)
        timings = Timings(queue_s=0.0, load_s=0.0, run_s=0.1)
        outcome = self.failing or CallSuccess(
            content_type=call_input.content_type, body=call_input.body, timings=timings
        )
        if body.startswith(b'"keep'):
            self.kept[body] = partial(on_outcome, outcome)
        else:
            asyncio.get_running_loop().call_soon(on_outcome, outcome)
        return self

    def cancel(self):
        self.cancelled.set()


class CountedFace(CallFace):
    """Counts what takes the long way."""

    taken = 0

    async def __call__(self, scope, receive, send) -> None:
        self.taken += 1
        await super().__call__(scope, receive, send)


class Site:
    """A server with one algorithm."""

    def __init__(self) -> None:
        self.engine = PlayedEngine()
        self.directory = Directory(database=None)
        self.account = rows.account("jane")
        self.directory.put_account(self.account)
        self.key = rows.key(self.account.account_id, permissions=DEFAULT_KEY_PERMISSIONS)
        self.directory.put_key(self.key, digest=key_digest(SECRET))
        algorithm = rows.algorithm(self.account.account_id)
        build = rows.build(
            algorithm.algorithm_id, status=BuildStatus.SUCCEEDED, environment="e", entry="src.x"
        )
        self.directory.put_algorithm(algorithm)
        self.directory.put_build(build)
        self.directory.put_version(rows.version(build, "1.0.0", callability=Callability.PUBLIC))
        self.ended: list[str] = []
        self.session_gate = asyncio.Event()
        self.session_gate.set()
        self.calls = CallService(
            directory=self.directory,
            engine=self.engine,
            builds_dir=Path("/builds"),
            environments_dir=Path("/envs"),
            end_session=self.end_session,
        )
        self.credentials = Credentials(self.directory)
        self.proxies = NO_PROXIES
        self.face = CountedFace(self.calls, None, self.credentials)
        self.router = build_router(
            calls=self.face, data=None, health=None, usage=None, admin=None, storage=None
        )
        self.port = 0
        self.connections = ExitStack()
        self.loop: asyncio.AbstractEventLoop | None = None

    def end_session(self, tree_id):
        async def end():
            self.ended.append(tree_id)
            await self.session_gate.wait()

        return end()

    def connect(self, *, source: str = "127.0.0.1") -> "Connection":
        return self.connections.enter_context(closing(Connection(self.port, source=source)))

    def in_loop(self, act: Callable[[], object]) -> None:
        """Do something where the server runs, and wait until it is done."""
        done = threading.Event()
        assert self.loop is not None
        self.loop.call_soon_threadsafe(lambda: (act(), done.set()))
        assert done.wait(DEADLINE_S)


class Connection:
    """A keep-alive connection that reads one answer at a time."""

    def __init__(self, port: int, *, source: str) -> None:
        self.socket = socket.socket()
        self.socket.bind((source, 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # fills up soon
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(("127.0.0.1", port))
        self.stream = self.socket.makefile("rb")

    def send(self, *requests: bytes) -> None:
        self.socket.sendall(b"".join(requests))

    def answer(self) -> tuple[int, dict[str, str], object]:
        status = int(self.stream.readline().split()[1])
        headers = {}
        while (line := self.stream.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        body = self.stream.read(int(headers["content-length"]))
        return status, headers, json.loads(body)

    def body(self) -> bytes:
        length = 0
        while (line := self.stream.readline().strip()) != b"":
            if line.startswith(b"content-length: "):
                length = int(line.split()[1])
        return self.stream.read(length)

    def result(self) -> object:
        status, _, body = self.answer()
        assert status == 200, body
        return body["result"]

    def close(self) -> None:
        self.stream.close()
        self.socket.close()

    def is_closed(self) -> bool:
        return self.stream.read(1) == b""


def call(body: bytes, *headers: bytes, secret: str = SECRET, length: int | None = None) -> bytes:
    lines = [
        b"POST /v1/algo/jane/Hello HTTP/1.1",
        b"host: x",
        b"content-type: application/json",
        b"authorization: Simple " + secret.encode(),
        b"content-length: %d" % (len(body) if length is None else length),
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@contextmanager
def running(site: Site) -> Iterator[Site]:
    listener = socket.create_server(("127.0.0.1", 0))
    site.port = listener.getsockname()[1]
    heads = Heads(site.calls, site.credentials.sightings, proxies=site.proxies)
    config = uvicorn.Config(
        forwarding(site.router, site.proxies),
        http=partial(DirectProtocol, heads),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    is_up = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            site.loop = asyncio.get_running_loop()
            is_up.set()

    server = Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert is_up.wait(DEADLINE_S)
        yield site
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        listener.close()
    assert not thread.is_alive()


@pytest.fixture
def site() -> Iterator[Site]:
    with running(Site()) as found, found.connections:
        yield found


@pytest.fixture
def connection(site: Site) -> Connection:
    """A connection on which a call with a body of four bytes was answered before."""
    connection = site.connect()
    connection.send(call(b"1000"))
    assert connection.result() == 1000
    assert site.face.taken == 1
    return connection


def test_calls_seen_before_take_the_short_way_and_get_their_own_answers(site, connection):
    ids = set()
    for number in range(1001, 1050):
        connection.send(call(b"%d" % number))
        status, headers, body = connection.answer()
        assert (status, body["result"]) == (200, number)
        assert headers["content-type"] == "application/json"
        assert re.fullmatch(r"req-[0-9a-f-]{36}", headers["x-request-id"])
        assert headers["date"]
        ids.add(headers["x-request-id"])

    assert len(ids) == 49
    assert site.face.taken == 1
    other = site.connect()
    other.send(call(b"2000"))
    assert other.result() == 2000, "what one connection taught is known to all"
    assert site.face.taken == 1


def test_a_key_is_seen_where_a_trusted_proxy_says_both_ways():
    site = Site()
    site.proxies = Proxies(networks=parse_proxies("127.0.0.1"))
    with running(site), site.connections:
        proxy = site.connect()
        for address in (b"203.0.113.7", b"203.0.113.8", b"203.0.113.7", b"nonsense"):
            proxy.send(call(b"1000", b"X-Forwarded-For: 6.6.6.6, " + address))
            assert proxy.result() == 1000
        ways = site.face.taken
        first = {address for _, address in site.credentials.sightings.take()}
        proxy.send(call(b"1000", b"X-Forwarded-For: 6.6.6.6, 203.0.113.8"))
        assert proxy.result() == 1000

    again = {address for _, address in site.credentials.sightings.take()}
    assert (ways, site.face.taken) == (3, 3)
    assert first == {"203.0.113.7", "203.0.113.8", "127.0.0.1"}
    assert again == {"203.0.113.8"}


def test_a_head_that_a_proxy_taught_says_nothing_from_a_stranger():
    site = Site()
    site.proxies = Proxies(networks=parse_proxies("127.0.0.2"))
    request = call(b"1000", b"X-Forwarded-For: 203.0.113.7")
    with running(site), site.connections:
        proxy = site.connect(source="127.0.0.2")
        stranger = site.connect()
        seen = []
        for connection in (proxy, stranger, proxy):
            connection.send(request)
            assert connection.result() == 1000
            seen.append([address for _, address in site.credentials.sightings.take()])

    assert site.face.taken == 1
    assert seen == [["203.0.113.7"], ["127.0.0.1"], ["203.0.113.7"]]


def test_requests_behind_one_another_are_answered_in_order(site, connection):
    requests = [call(b"%d" % number) for number in range(1001, 1100)]
    unknown = call(b"77777")

    connection.send(*requests, unknown, *requests)

    expected = [*range(1001, 1100), 77777, *range(1001, 1100)]
    assert [connection.result() for _ in expected] == expected


@pytest.mark.parametrize("cut", [1, 10, 60, -5, -4, -1])
def test_a_request_may_come_in_pieces(site, connection, cut):
    request = call(b"1234")

    connection.send(request[:cut])
    site.in_loop(lambda: None)  # the first piece is read by itself
    connection.send(request[cut:])

    assert connection.result() == 1234


def test_large_bodies_in_many_pieces_are_whole(site):
    connection = site.connect()
    body = json.dumps("x" * 3_000_000).encode()

    for _ in range(3):
        connection.send(call(body), call(b"1000"))
        assert connection.result() == "x" * 3_000_000
        assert connection.result() == 1000

    assert site.face.taken == 3, "a request behind the long way teaches nothing"


@pytest.mark.parametrize("output", [b"", b"?output=raw"])
@pytest.mark.parametrize("size", [1_048_576, 1_048_577, 5_000_000])
def test_large_binary_results_are_whole_both_ways(site, size, output):
    connection = site.connect()
    body = os.urandom(size)
    request = call(body).replace(b"/Hello", b"/Hello" + output, 1)
    request = request.replace(b"application/json", b"application/octet-stream", 1)

    for _ in range(3):
        connection.send(request)
        if output:
            assert connection.body() == body
        else:
            assert base64.b64decode(connection.result()) == body
    assert site.face.taken == 1


def test_a_large_answer_that_is_not_read_counts_until_it_is_gone(site):
    stuck = [site.connect() for _ in range(CALLS_IN_FLIGHT_PER_ACCOUNT_MAX)]
    request = call(b'"%s"' % (b"x" * 5_000_000))
    stuck[0].send(request)
    assert len(stuck[0].result()) == 5_000_000
    before = site.engine.submitted
    for connection in stuck:
        connection.send(request)
    until(lambda: site.engine.submitted == before + len(stuck))

    other = site.connect()
    other.send(call(b"1"))
    assert other.answer()[0] == 429
    for connection in stuck[1:]:
        connection.close()
    assert len(stuck[0].result()) == 5_000_000
    until(lambda: len(site.ended) >= len(stuck))
    other.send(call(b"1"))
    assert other.result() == 1


def test_bad_input_is_told_and_the_connection_goes_on(connection):
    connection.send(call(b"{]{]"), call(b'"\xff"'.ljust(4)), call(b"1001"))

    for _ in range(2):
        status, headers, body = connection.answer()
        assert status == 400
        assert headers["x-error-message"] == body["error"]["message"]
        assert headers["x-request-id"].startswith("req-")
    assert connection.result() == 1001


def test_an_error_of_the_engine_is_told_in_json(site, connection):
    site.engine.failing = Unavailable("no slot")

    connection.send(call(b"1001"))

    status, _, body = connection.answer()
    assert (status, body["error"]["message"]) == (503, "no slot")


def test_a_key_that_lost_its_rights_is_refused_at_once(site, connection):
    narrow = rows.key(
        site.account.account_id, permissions=KeyPermissions(allow_algo=False), label="narrow"
    )
    site.in_loop(lambda: site.directory.put_key(narrow, digest=key_digest(SECRET)))

    connection.send(call(b"1001"))

    assert connection.answer()[0] in {401, 403}


@pytest.mark.parametrize(
    "header", [b"connection: close", b"expect: 100-continue", b"upgrade: h2c", b"Connection: x"]
)
def test_what_depends_on_more_than_its_bytes_is_not_remembered(site, header):
    for taken in (1, 2):
        connection = site.connect()
        connection.send(call(b"1000", header))
        line = connection.stream.readline()
        assert line.split()[1] in {b"200", b"100"}
        connection.close()
        assert site.face.taken == taken


def test_too_many_calls_are_refused_on_the_short_way_too(site, connection):
    keeping = [site.connect() for _ in range(CALLS_IN_FLIGHT_PER_ACCOUNT_MAX)]
    bodies = [b'"keep%03d"' % number for number in range(len(keeping))]
    connection.send(call(b'"0000000"'))
    assert connection.result() == "0000000"
    for caller, body in zip(keeping, bodies, strict=True):
        caller.send(call(body))
    until(lambda: len(site.engine.kept) == len(keeping))

    connection.send(call(b"1001"))
    assert connection.answer()[0] == 429

    for body in bodies:
        site.in_loop(site.engine.kept[body])
    assert [caller.result() for caller in keeping] == [json.loads(body) for body in bodies]
    connection.send(call(b"1001"))
    assert connection.result() == 1001


def test_a_caller_that_goes_away_ends_its_call_and_gets_its_place_back(site):
    caller = site.connect()
    caller.send(call(b'"0000"'))
    assert caller.result() == "0000"
    caller.send(call(b'"keep"'))
    until(lambda: b'"keep"' in site.engine.kept)

    caller.close()

    assert site.engine.cancelled.wait(DEADLINE_S)
    until(lambda: len(site.ended) == 2)


@pytest.mark.parametrize("behind", [b"\r\n", call(b'"0000"'), call(b'"0000"')[:30]])
def test_a_caller_is_seen_going_away_whatever_it_has_sent_behind_its_call(site, behind):
    caller = site.connect()
    caller.send(call(b'"0000"'))
    assert caller.result() == "0000"
    caller.send(call(b'"keep"') + behind)
    until(lambda: b'"keep"' in site.engine.kept)

    caller.close()

    assert site.engine.cancelled.wait(DEADLINE_S)


@pytest.mark.parametrize("ends", ["answered", "gone"])
def test_large_bodies_are_freed_with_their_call(site, ends):
    caller = site.connect()
    request = call(b'"keep%s"' % (b"x" * 3_000_000))
    caller.send(call(b'"0000"'))
    assert caller.result() == "0000"
    before = spool._reserved_bytes
    caller.send(request)
    until(lambda: len(site.engine.kept) == 1)
    assert spool._reserved_bytes > before

    if ends == "answered":
        site.in_loop(*site.engine.kept.values())
        assert len(caller.result()) == 3_000_004
    else:
        caller.close()

    until(lambda: spool._reserved_bytes == before)


def test_a_caller_may_ask_that_the_call_goes_on_without_it(site):
    alone = b"algorium-on-disconnect: continue"
    caller = site.connect()
    caller.send(call(b'"0000"', alone))
    assert caller.result() == "0000"
    caller.send(call(b'"keep"', alone))
    until(lambda: b'"keep"' in site.engine.kept)
    ended = len(site.ended)

    caller.close()
    site.in_loop(lambda: None)
    assert not site.engine.cancelled.is_set()
    site.in_loop(site.engine.kept[b'"keep"'])

    until(lambda: len(site.ended) == ended + 1)


def test_session_data_has_ended_when_the_answer_comes(site, connection):
    connection.send(call(b"1001"))
    _, headers, _ = connection.answer()

    assert site.ended[-1] == headers["x-request-id"]


def test_a_caller_that_goes_away_while_its_session_ends_gives_back_one_place(site):
    caller, waiting = site.connect(), site.connect()
    caller.send(call(b'"keep00"'))
    until(lambda: len(site.engine.kept) == 1)
    site.in_loop(site.engine.kept.pop(b'"keep00"'))
    assert caller.result() == "keep00"
    kept = [site.connect() for _ in range(CALLS_IN_FLIGHT_PER_ACCOUNT_MAX - 1)]
    for number, connection in enumerate(kept):
        connection.send(call(b'"keep%02d"' % number))
    until(lambda: len(site.engine.kept) == len(kept))
    site.in_loop(site.session_gate.clear)
    ended = len(site.ended)
    caller.send(call(b'"000000"'))
    until(lambda: len(site.ended) == ended + 1)

    caller.close()
    site.in_loop(site.session_gate.set)

    waiting.send(call(b'"keep99"'))
    until(lambda: len(site.engine.kept) == len(kept) + 1)
    other = site.connect()
    other.send(call(b'"000000"'))
    assert other.answer()[0] == 429
    for act in tuple(site.engine.kept.values()):
        site.in_loop(act)


def test_a_server_that_stops_answers_what_is_under_way_and_closes():
    with running(Site()) as site:
        connection = site.connect()
        connection.send(call(b'"0000"'))
        assert connection.result() == "0000"
        connection.send(call(b'"keep"'))
        until(lambda: b'"keep"' in site.engine.kept)
        threading.Timer(0.2, lambda: site.in_loop(site.engine.kept[b'"keep"'])).start()

    with site.connections:
        status, headers, body = connection.answer()
        assert (status, headers["connection"], body["result"]) == (200, "close", "keep")
        assert connection.is_closed()


names = st.sampled_from([b"host", b"content-length", b"Content-Length", b"x-content-length", b"a"])
values = st.sampled_from([b"3", b" 12 ", b"\t7", b"0x1", b"-1", b"99999999999", b"x"])


@given(st.lists(st.tuples(names, values), max_size=5))
def test_a_head_is_remembered_only_with_exactly_one_length(fields):
    head = b"POST /v1/algo/a/b HTTP/1.1\r\n" + b"".join(b"%s:%s\r\n" % f for f in fields) + b"\r\n"
    site = Site()
    heads = Heads(site.calls)
    principal = Principal(account=site.account, key=site.key)
    grant = site.calls.grant(principal, AlgorithmRef(owner="jane", name="Hello"))
    heads.remember(
        head,
        Head(
            grant=grant,
            options=CallOptions(),
            content_type=ContentType.JSON,
            is_base64=False,
            continues_alone=False,
        ),
    )

    lengths = [value.strip() for name, value in fields if name.lower() == b"content-length"]
    known = heads.find(head)
    if len(lengths) == 1 and lengths[0].isdigit() and int(lengths[0]) < 10_000_000:
        assert known is not None
        assert known.body_bytes == int(lengths[0])
    else:
        assert known is None


def until(condition: Callable[[], bool]) -> None:
    for _ in itertools.repeat(None, 2000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come to that")
