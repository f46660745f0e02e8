"""The error log: what is kept of a storm, what survives a lost database, who reads what."""

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager

import pytest
import rows
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain.algorithms import AlgorithmSettings, SourceVisibility
from algorium_server.domain.call_errors import (
    INPUT_HEAD_BYTES,
    CallError,
    shown_input,
    shown_stacktrace,
)
from algorium_server.domain.calls import ContentType
from algorium_server.domain.errors import NoSuchAlgorithm, NotAuthorized, Unavailable
from algorium_server.domain.identity import (
    DEFAULT_KEY_PERMISSIONS,
    AccountKind,
    ActingAlgorithm,
    KeyKind,
    KeyPermissions,
    Principal,
    Role,
)
from algorium_server.domain.limits import (
    CALL_ERROR_INPUT_CHARS,
    CALL_ERROR_STACKTRACE_CHARS_MAX,
    CALL_ERRORS_HELD_MAX,
    CALL_ERRORS_HELD_PER_ALGORITHM_MAX,
    CALL_ERRORS_KEEP_S,
    CALL_ERRORS_PER_ALGORITHM_MAX,
    CALL_ERRORS_SHOWN_MAX,
)
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.authoring.reading_errors import FailedCallReader
from algorium_server.services.calling.error_log import ErrorLog
from algorium_server.services.directory import Directory
from algorium_server.store import call_errors as error_rows
from algorium_server.store.database import Database
from algorium_server.store.tables import records

SQLITE_ONLY = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def failed(number: int = 0, **fields) -> CallError:
    defaults = {
        "request_id": f"req-{rows.new_id()}",
        "created_us": time.time_ns() // 1000 + number,
        "algorithm_id": "algorithm",
        "owner_id": "owner",
        "owner": "lab",
        "name": "Hello",
        "version": "1.0.0",
        "account_id": "caller",
        "caller": "jane",
        "is_nested": False,
        "error_type": "AlgorithmError",
        "message": "no",
        "stacktrace": "at line 1",
        "input": "1",
        "worker": "gateway-0",
    }
    return CallError(**(defaults | fields))


async def stored(database: Database) -> Counter:
    """How many there are of each algorithm."""
    table = records.call_errors
    statement = select(table.c.algorithm_id, func.count()).group_by(table.c.algorithm_id)
    async with database.reading() as connection:
        found = await connection.execute(statement)
        return Counter(dict(map(tuple, found)))


async def newest(database: Database, algorithm_id: str = "algorithm", limit=1000):
    async with database.reading() as connection:
        return await error_rows.of_algorithm(connection, algorithm_id, since_us=0, limit=limit)


def test_a_failed_call_comes_back_as_it_went(database: Database, runner: asyncio.Runner):
    log = ErrorLog(database)
    error = failed(message="no\x00\ud800", stacktrace="\x1b[31m" + "ü" * 100, input="\x00")

    log.put(error)
    log.put(error)
    runner.run(log.flush())
    log.put(error)
    runner.run(log.flush())

    assert runner.run(newest(database)) == [error]


def test_a_storm_keeps_the_newest_and_counts_the_rest(database: Database, runner: asyncio.Runner):
    log = ErrorLog(database)
    rounds = CALL_ERRORS_PER_ALGORITHM_MAX // CALL_ERRORS_HELD_PER_ALGORITHM_MAX + 1
    sent = []
    for _ in range(rounds):
        for _ in range(CALL_ERRORS_HELD_PER_ALGORITHM_MAX + 10):
            sent.append(failed(len(sent)))
            log.put(sent[-1])
        quiet = failed(algorithm_id="quiet")
        log.put(quiet)
        runner.run(log.flush())

    kept = runner.run(newest(database, limit=CALL_ERRORS_SHOWN_MAX))

    assert kept == sent[: -CALL_ERRORS_SHOWN_MAX - 1 : -1]
    assert log.dropped == 10 * rounds
    assert runner.run(stored(database)) == {
        "algorithm": CALL_ERRORS_PER_ALGORITHM_MAX,
        "quiet": rounds,
    }


@settings(max_examples=20)  # each takes thousands of failed calls
@given(st.lists(st.integers(0, 60), max_size=4000))
def test_memory_is_bounded_and_quiet_algorithms_are_spared(algorithms: list[int]):
    log = ErrorLog(database=None)
    burst = [0] * 300 + algorithms
    for number, algorithm in enumerate(burst * (1 + CALL_ERRORS_HELD_MAX // len(burst))):
        log.put(failed(number, algorithm_id=str(algorithm)))

    sizes = {name: len(errors) for name, errors in log._held.items()}

    assert sum(sizes.values()) == log._count <= CALL_ERRORS_HELD_MAX
    assert max(sizes.values()) <= CALL_ERRORS_HELD_PER_ALGORITHM_MAX
    assert all(sizes.values()), "of each that failed, the newest"


@SQLITE_ONLY
def test_what_the_database_does_not_take_waits(database: Database, runner: asyncio.Runner):
    class Broken:
        @asynccontextmanager
        async def transaction(self):
            raise Unavailable("The database does not answer.")
            yield

    log = ErrorLog(Broken())
    early, late = failed(1), failed(2)

    log.put(early)
    with pytest.raises(Unavailable):
        runner.run(log.flush())
    log.put(late)
    log._database = database
    runner.run(log.close())

    assert runner.run(newest(database)) == [late, early]


@SQLITE_ONLY
def test_it_writes_by_itself(database: Database, runner: asyncio.Runner):
    async def story() -> None:
        log = ErrorLog(database)
        log.start()
        log.put(failed())
        async with asyncio.timeout(20):
            while not await stored(database):
                await asyncio.sleep(0.01)
        await log.close()

    runner.run(story())


def test_old_ones_are_deleted_in_steps(
    database: Database, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("algorium_server.services.calling.error_log.CALL_ERRORS_PRUNE_ROWS_MAX", 2)
    log = ErrorLog(database)
    week_us = int(CALL_ERRORS_KEEP_S * 1_000_000)
    for _ in range(5):
        log.put(failed(-week_us - 1_000_000))
    log.put(recent := failed(60_000_000 - week_us))
    runner.run(log.flush())

    assert runner.run(log.prune()) == 5
    assert runner.run(newest(database)) == [recent]


@given(st.text(max_size=300))
def test_of_a_text_the_first_characters_are_shown(text: str):
    encoded = text.encode("utf-8", "replace")
    shown = shown_input(ContentType.TEXT, encoded[:INPUT_HEAD_BYTES])

    assert shown == encoded.decode()[:CALL_ERROR_INPUT_CHARS]


def test_of_bytes_the_first_ones_are_shown_as_base64():
    assert shown_input(ContentType.BINARY, b"\xff\x00") == "/wA="
    assert len(shown_input(ContentType.BINARY, b"x" * INPUT_HEAD_BYTES)) == CALL_ERROR_INPUT_CHARS


def test_of_a_long_stack_trace_both_ends_are_shown():
    trace = "begin" + "x" * CALL_ERROR_STACKTRACE_CHARS_MAX + "end"

    shown = shown_stacktrace(trace)

    assert shown.startswith("begin")
    assert shown.endswith("end")
    assert "[... 8 characters left out ...]" in shown


def test_the_text_is_that_of_the_old_service():
    assert failed(message="no", stacktrace="").text == "error:\nno"
    assert failed(message="no", stacktrace="at 1").text == "error:\nno\nstacktrace:\nSome(at 1)"


class Site:
    """An organization with an algorithm, and everybody who may or may not read its log."""

    def __init__(self, database: Database, source: SourceVisibility) -> None:
        self.directory = directory = Directory(database=None)
        self.lab = rows.account("lab", kind=AccountKind.ORGANIZATION)
        self.people = {
            name: rows.account(name)
            for name in ("owner", "member", "executor", "caller", "stranger")
        }
        self.people["admin"] = rows.account("admin", is_admin=True)
        for account in (self.lab, *self.people.values()):
            directory.put_account(account)
        for role in Role:
            directory.put_membership(
                organization_id=self.lab.account_id,
                user_id=self.people[role.value].account_id,
                role=role,
            )
        self.algorithm = rows.algorithm(
            self.lab.account_id, settings=AlgorithmSettings(source_visibility=source)
        )
        directory.put_algorithm(self.algorithm)
        self.log = ErrorLog(database)
        self.reader = FailedCallReader(database, directory, Authors(directory), self.log)

    def fail(self, caller: str, **fields) -> CallError:
        account = self.people[caller]
        error = failed(
            algorithm_id=self.algorithm.algorithm_id,
            owner_id=self.lab.account_id,
            account_id=account.account_id,
            caller=caller,
            **fields,
        )
        self.log.put(error)
        return error

    def who(self, name: str, **fields) -> Principal:
        account = self.people[name]
        is_admin = name == "admin"
        key = rows.key(
            account.account_id,
            kind=KeyKind.ADMIN if is_admin else KeyKind.STANDARD,
            permissions=DEFAULT_KEY_PERMISSIONS,
        )
        roles = self.directory.roles_of(account.account_id)
        return Principal(account=account, roles=roles, **({"key": key} | fields))


@pytest.fixture(params=SourceVisibility)
def site(database: Database, request: pytest.FixtureRequest) -> Site:
    return Site(database, request.param)


REF = AlgorithmRef(owner="LAB", name="hello")


@SQLITE_ONLY
def test_the_owners_side_reads_everything(site: Site, runner: asyncio.Runner):
    error = site.fail("caller", is_nested=True)

    for name in ("owner", "member", "executor", "admin"):
        who = site.who(name)
        assert runner.run(site.reader.of_algorithm(who, REF)) == [error]
        assert runner.run(site.reader.of_organization(who, "Lab")) == [error]
        assert runner.run(site.reader.of_organization(who, site.lab.account_id)) == [error]
        assert runner.run(site.reader.of_user(who, "lab")) == [], "it is no user"


def test_a_caller_reads_its_own_and_only_what_it_may_see(site: Site, runner: asyncio.Runner):
    mine = site.fail("caller", input="mine", message="failed")
    site.fail("caller", is_nested=True)
    site.fail("stranger")
    caller = site.who("caller")

    (seen,) = runner.run(site.reader.of_user(caller, "caller"))

    is_open = site.algorithm.settings.source_visibility is SourceVisibility.OPEN
    assert (seen.request_id, seen.input, seen.message) == (mine.request_id, "mine", "failed")
    assert seen.stacktrace == (mine.stacktrace if is_open else "")
    assert seen.worker == ""
    assert runner.run(site.reader.of_user(caller, caller.account.account_id)) == [seen]
    assert runner.run(site.reader.of_organization(caller, "lab")) == []
    with pytest.raises(NotAuthorized):
        runner.run(site.reader.of_algorithm(caller, REF))


@SQLITE_ONLY
def test_others_find_nothing(site: Site, runner: asyncio.Runner):
    site.fail("caller")
    stranger, admin = site.who("stranger"), site.who("admin")

    assert runner.run(site.reader.of_user(stranger, "caller")) == []
    assert runner.run(site.reader.of_user(stranger, "nobody")) == []
    assert runner.run(site.reader.of_user(admin, "nobody")) == []
    assert len(runner.run(site.reader.of_user(admin, "caller"))) == 1
    with pytest.raises(NoSuchAlgorithm):
        runner.run(site.reader.of_algorithm(stranger, AlgorithmRef(owner="lab", name="Other")))


@SQLITE_ONLY
def test_weak_keys_and_algorithms_read_nothing(site: Site, runner: asyncio.Runner):
    weak = rows.key(site.people["owner"].account_id, permissions=KeyPermissions())
    acting = ActingAlgorithm(
        algorithm_id="a",
        owner_id="b",
        tree_id="req",
        deadline_at=0.0,
        depth=1,
        is_pipeline_enabled=True,
    )
    for fields in ({"key": weak}, {"acting": acting}):
        who = site.who("owner", **fields)
        for attempt in (
            site.reader.of_algorithm(who, REF),
            site.reader.of_user(who, "owner"),
            site.reader.of_organization(who, "lab"),
        ):
            with pytest.raises(NotAuthorized):
                runner.run(attempt)
