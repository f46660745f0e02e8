"""
Calls with an idempotency key; the engine's part is played by the tests.

On both databases where the database decides anything.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import rows

from algorium_server.api.calls import CallFace
from algorium_server.api.credentials import Credentials
from algorium_server.api.keyed_calls import KeyedCalls
from algorium_server.domain.algorithms import BuildStatus, Callability
from algorium_server.domain.calls import (
    CALL_TIMEOUT_S_MAX,
    CallFailure,
    CallSuccess,
    ContentType,
    Timings,
    content_of,
)
from algorium_server.domain.errors import TooManyRequests, Unavailable
from algorium_server.domain.identity import DEFAULT_KEY_PERMISSIONS, ActingAlgorithm, Principal
from algorium_server.domain.limits import (
    CALL_BODY_IN_MEMORY_BYTES_MAX,
    CALL_LEASE_SPARE_S,
    KEPT_CALLS_S,
)
from algorium_server.services.calling import kept_calls, kept_room
from algorium_server.services.calling.calls import CallService
from algorium_server.services.calling.kept_calls import KeptCalls
from algorium_server.services.calling.void_calls import VoidCalls
from algorium_server.services.directory import Directory, key_digest
from algorium_server.store import accounts
from algorium_server.store import kept_calls as kept_rows
from algorium_server.store.database import Database

TIMINGS = Timings(queue_s=0.0, load_s=0.0, run_s=0.125, cpu_s=0.01)
FAILED = CallFailure(
    message="no\ud7ff luck", error_type="InputError", timings=TIMINGS, stacktrace="line 1"
)


on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what no database decides."""


class PlayedEngine:
    """Answers with its input, unless told otherwise; counts what has reached a slot."""

    def __init__(self) -> None:
        self.ran: list[bytes] = []
        self.outcome: CallSuccess | CallFailure | Exception | None = None
        self.refuses_with: Exception | None = None
        self.delivers = True
        self.holds = False
        self.held: list[Callable[[], None]] = []
        self.arrived = asyncio.Event()

    def submit(self, program, flight, call_input, on_outcome):
        if self.refuses_with is not None:
            raise self.refuses_with
        body = content_of(call_input.body)
        if self.delivers:
            self.ran.append(body)
            if flight.on_delivery is not None:
                flight.on_delivery()
        outcome = self.outcome or CallSuccess(
            content_type=call_input.content_type, body=body, timings=TIMINGS, stdout="printed"
        )
        end = partial(on_outcome, outcome)
        if self.holds:
            self.held.append(end)
        else:
            asyncio.get_running_loop().call_soon(end)
        self.arrived.set()
        return self

    def timings(self):
        return TIMINGS

    def cancel(self):
        pass


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def is_replayed(self) -> bool:
        return self.headers.get("idempotency-replayed") == "true"

    @property
    def code(self) -> int | None:
        return json.loads(self.body)["error"].get("code")


class People:
    """Two accounts and an algorithm, the same for all gateways."""

    def __init__(self) -> None:
        self.jane, self.joe = rows.account("jane"), rows.account("joe")
        self.key = rows.key(self.jane.account_id, permissions=DEFAULT_KEY_PERMISSIONS)
        self.joes_key = rows.key(self.joe.account_id, permissions=DEFAULT_KEY_PERMISSIONS)
        self.algorithm = rows.algorithm(self.jane.account_id)
        self.build = rows.build(
            self.algorithm.algorithm_id,
            status=BuildStatus.SUCCEEDED,
            environment="e",
            entry="src.x",
        )


class Gateway:
    """One gateway, as far as calls are concerned."""

    def __init__(self, database: Database, people: People, clock: Clock, *, name: str) -> None:
        self.engine = PlayedEngine()
        self.metered: list = []
        self.people = people
        self.directory = directory = Directory(database)
        for account in (people.jane, people.joe):
            directory.put_account(account)
        directory.put_key(people.key, digest=key_digest("simJANE"))
        directory.put_key(people.joes_key, digest=key_digest("simJOE"))
        directory.put_algorithm(people.algorithm)
        directory.put_build(people.build)
        directory.put_version(rows.version(people.build, "1.0.0", callability=Callability.PUBLIC))
        calls = CallService(
            directory=directory,
            engine=self.engine,
            builds_dir=Path("/builds"),
            environments_dir=Path("/envs"),
            end_session=lambda _tree: None,
            meter=self,
            errors=self,
        )
        self.failed: list = []
        self.waiting: list = []
        void_calls = VoidCalls(
            calls=calls,
            database=database,
            directory=directory,
            wake=lambda: self.waiting.append(1),
            record=self.metered.append,
        )
        self.kept = KeptCalls(database, gateway=name, is_alone=False, clock=clock)
        self.credentials = Credentials(directory)
        self.face = CallFace(
            calls, void_calls, self.credentials, keyed=KeyedCalls(calls, void_calls, self.kept)
        )

    # What a meter and an error log are to the service
    is_full = False
    is_stopping = False

    def record(self, *what) -> None:
        (self.metered if len(what) == 1 else self.failed).append(what)

    async def call(
        self,
        key: str | None = "k-1",
        body: bytes = b'"HAL"',
        *,
        query: bytes = b"",
        secret: str = "simJANE",
        ref: bytes = b"jane/Hello",
        headers: tuple[tuple[bytes, bytes], ...] = (),
        principal: Principal | None = None,
    ) -> Answer:
        named = [(b"authorization", f"Simple {secret}".encode()), *headers]
        if not any(name == b"content-type" for name, _ in headers):
            named.append((b"content-type", b"application/json"))
        if key is not None:
            named.append((b"idempotency-key", key.encode("latin-1")))
        scope = {
            "type": "http",
            "method": "POST",
            "raw_path": b"/v1/algo/" + ref,
            "query_string": query,
            "headers": named,
            "client": ("127.0.0.1", 1),
        }
        sent: list = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        if principal is not None:
            self.credentials.principal = lambda _scope: principal  # as inside a slot
        try:
            await self.face(scope, receive, send)
        finally:
            vars(self.credentials).pop("principal", None)
        fields = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        content = b"".join(message["body"] for message in sent[1:])
        return Answer(sent[0]["status"], fields, content)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told(database: Database, runner: asyncio.Runner, clock: Clock):
    """Run a story with as many gateways as it takes."""

    def run(story, *names: str):
        async def scenario():
            people = People()
            async with database.transaction() as connection:
                await accounts.add_account(connection, people.jane)
                await accounts.add_account(connection, people.joe)
            names_or_one = names or ("gateway 0",)
            sites = [Gateway(database, people, clock, name=name) for name in names_or_one]
            return await story(*sites)

        return runner.run(scenario())

    return run


@pytest.mark.parametrize(
    ("query", "outcome"),
    [
        (b"", None),
        (b"output=raw", None),
        (b"stdout=true&timing=1", None),
        (b"", FAILED),
        (b"output=raw", FAILED),
        (
            b"output=raw",
            CallSuccess(content_type=ContentType.BINARY, body=b"\x00", timings=TIMINGS),
        ),
        (b"", CallSuccess(content_type=ContentType.VOID, body=b"", timings=TIMINGS)),
    ],
    ids=["envelope", "raw", "extras", "failed", "failed-raw", "binary", "nothing"],
)
@on_sqlite
def test_a_repetition_gets_the_same_bytes_and_runs_nothing(told, query: bytes, outcome) -> None:
    async def story(site: Gateway):
        site.engine.outcome = outcome
        first, second = await site.call(query=query), await site.call('"k-1"', query=query)

        assert (second.status, second.body) == (first.status, first.body)
        assert second.headers == {**first.headers, "idempotency-replayed": "true"}
        assert not first.is_replayed
        assert len(site.engine.ran) == 1
        assert len(site.metered) == 1
        assert len(site.failed) == (outcome is FAILED)

    told(story)


@on_sqlite
def test_without_a_key_every_call_runs(told) -> None:
    async def story(site: Gateway):
        await site.call(None)
        answer = await site.call(None)

        assert not answer.is_replayed
        assert len(site.engine.ran) == 2

    told(story)


@pytest.mark.parametrize("query", [b"", b"output=raw"])
def test_a_large_answer_is_replayed_in_pieces(told, query: bytes) -> None:
    large = CallSuccess(
        content_type=ContentType.BINARY,
        body=bytes(range(256)) * (CALL_BODY_IN_MEMORY_BYTES_MAX // 128),
        timings=TIMINGS,
    )

    async def story(site: Gateway):
        site.engine.outcome = large
        first, second = await site.call(query=query), await site.call(query=query)

        assert second.is_replayed
        assert second.body == first.body
        assert len(first.body) > len(large.body) or query

    told(story)


@pytest.mark.parametrize(
    "other",
    [
        {"body": b'"DAVE"'},
        {"query": b"timeout=9"},
        {"query": b"output=raw"},
        {"query": b"output=void"},
        {"ref": b"jane/Hello/1.0.0"},
        {"headers": ((b"content-type", b"text/plain"),)},
    ],
    ids=["input", "timeout", "output", "void", "version", "type"],
)
@on_sqlite
def test_a_key_of_another_call_is_refused(told, other) -> None:
    async def story(site: Gateway):
        await site.call()
        answer = await site.call(**other)

        assert (answer.status, answer.code) == (422, 7001)
        assert len(site.engine.ran) == 1

    told(story)


@on_sqlite
def test_a_key_of_a_call_under_way_is_refused_to_another_one_at_once(told) -> None:
    async def story(site: Gateway):
        site.engine.holds = True
        first = asyncio.create_task(site.call())
        await site.engine.arrived.wait()
        answer = await site.call(body=b'"DAVE"')
        site.engine.held[0]()

        assert answer.code == 7001
        assert (await first).status == 200

    told(story)


@on_sqlite
def test_keys_of_others_are_other_keys(told) -> None:
    async def story(site: Gateway):
        people = site.people
        acting = ActingAlgorithm(
            algorithm_id=people.algorithm.algorithm_id,
            owner_id=people.joe.account_id,
            tree_id="req-tree",
            deadline_at=float("inf"),
            depth=1,
            is_pipeline_enabled=True,
        )
        inside = Principal(account=people.jane, key=people.key, roles={}, acting=acting)
        await site.call()
        answers = [await site.call(secret="simJOE"), await site.call(principal=inside)]

        assert [answer.is_replayed for answer in answers] == [False, False]
        assert (await site.call(principal=inside)).is_replayed
        assert len(site.engine.ran) == 3

    told(story)


@pytest.mark.parametrize("refusal", [TooManyRequests("full"), Unavailable("no slot")])
@on_sqlite
def test_a_call_that_was_refused_leaves_its_key_free(told, refusal: Exception) -> None:
    async def story(site: Gateway):
        site.engine.refuses_with = refusal
        refused = await site.call()
        site.engine.refuses_with = None
        answer = await site.call()

        assert refused.status in {429, 503}
        assert (answer.status, answer.is_replayed) == (200, False)

    told(story)


@pytest.mark.parametrize("outcome", [FAILED, Unavailable("the slot did not start")])
def test_a_call_whose_input_reached_no_slot_leaves_its_key_free(told, outcome) -> None:
    async def story(site: Gateway):
        site.engine.delivers, site.engine.outcome = False, outcome
        await site.call()
        site.engine.delivers, site.engine.outcome = True, None
        answer = await site.call()

        assert (answer.status, answer.is_replayed) == (200, False)

    told(story)


@pytest.mark.parametrize(
    "wrong",
    [
        {"body": b"{"},
        {"secret": "simNOBODY"},
        {"ref": b"jane/Nothing"},
        {"query": b"timeout=soon"},
    ],
    ids=["json", "key", "algorithm", "option"],
)
@on_sqlite
def test_a_wrong_request_leaves_its_key_free(told, wrong) -> None:
    async def story(site: Gateway):
        assert (await site.call(**wrong)).status >= 400
        assert not (await site.call()).is_replayed

    told(story)


@pytest.mark.parametrize("key", ["", '""', "a b", "é", "x" * 256, '"' * 3 + " "])
@on_sqlite
def test_what_is_no_key_is_refused(told, key: str) -> None:
    async def story(site: Gateway):
        answer = await site.call(key)
        if key.startswith('"""'):  # a quote in quotes is a visible character
            assert answer.status == 200
            return
        assert (answer.status, answer.code) == (400, 2015)
        assert not site.engine.ran

    told(story)


@on_sqlite
def test_two_keys_are_refused(told) -> None:
    async def story(site: Gateway):
        answer = await site.call(headers=((b"idempotency-key", b"k-2"),))

        assert (answer.status, answer.code) == (400, 2015)

    told(story)


@on_sqlite
def test_a_repetition_waits_for_the_call_in_its_own_gateway(told) -> None:
    async def story(site: Gateway):
        site.engine.holds = True
        first = asyncio.create_task(site.call())
        await site.engine.arrived.wait()
        others = [asyncio.create_task(site.call()) for _ in range(3)]
        await asyncio.sleep(0)
        site.engine.held.pop()()

        answers = [await first, *[await other for other in others]]
        assert {answer.body for answer in answers} == {answers[0].body}
        assert [answer.is_replayed for answer in answers] == [False, True, True, True]
        assert len(site.engine.ran) == 1

    told(story)


@on_sqlite
def test_who_waits_is_next_when_nothing_ran(told) -> None:
    async def story(site: Gateway):
        site.engine.holds, site.engine.delivers = True, False
        site.engine.outcome = Unavailable("the slot did not start")
        first = asyncio.create_task(site.call())
        await site.engine.arrived.wait()
        second = asyncio.create_task(site.call())
        await asyncio.sleep(0)
        end = site.engine.held.pop()
        site.engine.holds, site.engine.delivers, site.engine.outcome = False, True, None
        end()

        assert (await first).status == 503
        answer = await second
        assert (answer.status, answer.is_replayed) == (200, False)

    told(story)


@on_sqlite
def test_who_has_waited_for_long_enough_is_told_so(told) -> None:
    async def story(site: Gateway):
        site.engine.holds = True
        first = asyncio.create_task(site.call(query=b"timeout=0.05"))
        await site.engine.arrived.wait()
        answer = await site.call(query=b"timeout=0.05")
        site.engine.held.pop()()
        await first

        assert (answer.status, answer.code) == (409, 7002)
        assert answer.headers["retry-after"] == "1"

    told(story)


def test_of_two_gateways_one_runs_the_call(told) -> None:
    async def story(one: Gateway, two: Gateway):
        one.engine.holds = two.engine.holds = True
        calls = [asyncio.create_task(site.call()) for site in (one, two, one, two)]
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert {(each.result().status, each.result().code) for each in done} == {(409, 7002)}
        ran = one.engine.ran + two.engine.ran
        (one if one.engine.held else two).engine.held.pop()()
        answers = [await call for call in calls]

        assert len(ran) == 1
        assert sorted({answer.status for answer in answers}) == [200, 409]
        repeated = [await site.call() for site in (one, two)]
        assert all(answer.is_replayed for answer in repeated)
        assert len(one.engine.ran + two.engine.ran) == 1

    told(story, "gateway 0", "gateway 1")


def test_what_a_gateway_that_died_was_running_is_never_run_again(told, clock: Clock) -> None:
    async def story(dead: Gateway, heir: Gateway, other: Gateway):
        dead.engine.holds = True
        lost = asyncio.create_task(dead.call())
        await dead.engine.arrived.wait()
        before = await other.call()
        await heir.kept.start()
        after = [await heir.call(), await other.call()]

        assert (before.status, before.code) == (409, 7002)
        assert [(answer.status, answer.code) for answer in after] == [(409, 7003)] * 2
        assert "retry-after" not in after[0].headers
        assert not heir.engine.ran + other.engine.ran
        dead.engine.held.pop()()  # it was only thought dead: then its answer counts
        body = (await lost).body
        assert (await other.call()).body == body

    told(story, "gateway 0", "gateway 0", "gateway 1")


@on_sqlite
def test_a_call_that_never_told_its_end_is_given_up_after_its_deadline(told, clock: Clock) -> None:
    async def story(dead: Gateway, other: Gateway):
        dead.engine.holds = True
        lost = asyncio.create_task(dead.call(query=b"timeout=3000"))
        await dead.engine.arrived.wait()
        clock.now += timedelta(seconds=CALL_TIMEOUT_S_MAX - 1)
        before = await other.call(query=b"timeout=3000")
        clock.now += timedelta(seconds=CALL_LEASE_SPARE_S + 2)
        after = await other.call(query=b"timeout=3000")
        dead.engine.held.pop()()
        await lost

        assert (before.code, after.code) == (7002, 7003)

    told(story, "gateway 0", "gateway 1")


def test_a_call_that_broke_inside_the_platform_is_unknown(told) -> None:
    async def story(site: Gateway):
        site.engine.outcome = Unavailable("the slot is gone")
        assert (await site.call()).status == 503
        answer = await site.call()

        assert (answer.status, answer.code) == (409, 7003)
        assert json.loads(answer.body)["error"]["request_id"].startswith("req-")
        assert len(site.engine.ran) == 1

    told(story)


def test_a_void_call_is_accepted_once(told) -> None:
    async def story(site: Gateway):
        answers = [await site.call(query=b"output=void") for _ in range(2)]

        assert answers[0].body == answers[1].body
        assert json.loads(answers[0].body)["request_id"] == answers[1].headers["x-request-id"]
        assert answers[1].is_replayed
        assert len(site.waiting) == 1

    told(story)


def test_a_void_call_that_was_not_accepted_leaves_its_key_free(told) -> None:
    async def story(site: Gateway):
        allowance = site.face._calls._allowances.of(site.people.jane.account_id)
        quotas = allowance.quotas
        allowance.quotas = replace(quotas, void_calls_waiting=0)
        refused = await site.call(query=b"output=void")
        allowance.quotas = quotas
        answer = await site.call(query=b"output=void")

        assert (refused.status, answer.status, answer.is_replayed) == (429, 200, False)

    told(story)


@pytest.mark.parametrize(
    "limit", ["KEPT_CALLS_PER_ACCOUNT_MAX", "KEPT_CALLS_PER_ACCOUNT_BYTES_MAX"]
)
@on_sqlite
def test_who_keeps_too_much_is_told_before_anything_runs(
    told, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(kept_room, limit, 2)

    async def story(site: Gateway):
        numbers = 1 if limit.endswith("BYTES_MAX") else 2
        for number in range(numbers):
            assert (await site.call(f"k-{number}")).status == 200
        refused = await site.call("k-3")

        assert (refused.status, refused.headers["retry-after"]) == (429, "900")
        assert len(site.engine.ran) == numbers
        assert (await site.call("k-0")).is_replayed
        assert (await site.call("k-3", secret="simJOE")).status == 200
        assert (await site.call(None)).status == 200

    told(story)


@on_sqlite
def test_an_account_without_room_is_counted_again_later(
    told, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_room, "KEPT_CALLS_PER_ACCOUNT_MAX", 1)

    async def story(site: Gateway):
        statuses = [(await site.call(f"k-{number}")).status for number in range(3)]
        clock.now += timedelta(seconds=KEPT_CALLS_S + 1)
        await site.kept.prune()
        statuses += [(await site.call(f"k-{number}")).status for number in range(3, 5)]

        assert statuses == [200, 429, 429, 200, 429]

    told(story)


@on_sqlite
def test_much_is_not_counted_before_each_call(told, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = 0
    held = kept_rows.held

    async def counted(*args, **options):
        nonlocal counts
        counts += 1
        return await held(*args, **options)

    monkeypatch.setattr(kept_rows, "held", counted)

    async def story(site: Gateway):
        for number in range(100):
            await site.call(f"k-{number}")

        assert 64 <= counts < 90

    told(story)


def test_answers_are_kept_for_a_day(told, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_calls, "KEPT_CALLS_PRUNED_MAX", 2)

    async def story(site: Gateway, dead: Gateway):
        dead.engine.holds = True
        lost = asyncio.create_task(dead.call("lost"))
        await dead.engine.arrived.wait()
        for number in range(5):
            await site.call(f"k-{number}")
        clock.now += timedelta(seconds=KEPT_CALLS_S - 1)
        await site.kept.prune()
        assert (await site.call("k-0")).is_replayed
        clock.now += timedelta(seconds=CALL_TIMEOUT_S_MAX)
        await site.kept.prune()

        async with site.directory._database.reading() as connection:
            held = await kept_rows.held(connection, account_id=site.people.jane.account_id)
        assert held == (0, 0)
        assert not (await site.call("k-0")).is_replayed
        lost.cancel()

    told(story, "gateway 0", "gateway 1")


@on_sqlite
def test_keys_are_not_stored_as_they_are(told) -> None:
    async def story(site: Gateway):
        await site.call("order-4711")
        async with site.directory._database.reading() as connection:
            found = await connection.exec_driver_sql("SELECT * FROM kept_calls")
            text = repr(found.all())

        assert "order-4711" not in text

    told(story)
