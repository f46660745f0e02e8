"""Quotas and reservations on both databases: set, shown, kept, followed by other gateways."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import rows

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain.algorithms import BuildStatus, Callability
from algorium_server.domain.calls import CallInput, CallOptions, ContentType, Output
from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.errors import (
    BudgetExceeded,
    InvalidInput,
    NotAuthorized,
    OrganizationNotFound,
    TooManyRequests,
    UserNotFound,
)
from algorium_server.domain.identity import ActingAlgorithm, Principal, Role
from algorium_server.domain.quotas import DEFAULT_QUOTAS, QuotaName, Quotas, month_of
from algorium_server.domain.usage import us_of
from algorium_server.services.calling.budgets import Budgets
from algorium_server.services.calling.calls import CallService
from algorium_server.services.calling.meter import Meter
from algorium_server.services.calling.void_calls import VoidCalls
from algorium_server.services.directory import Directory
from algorium_server.services.following import Following
from algorium_server.services.people.accounts import create_account, ensure_organization
from algorium_server.services.people.administrators import Administrators
from algorium_server.services.people.quotas import QuotaService
from algorium_server.services.people.reservations import Reservations, WantedReservation
from algorium_server.store import accounts, algorithms
from algorium_server.store import quotas as quota_rows
from algorium_server.store.database import Database
from algorium_server.wiring.quoting import Quoting

HELLO = AlgorithmRef(owner="jane", name="Hello")
INPUT = CallInput(content_type=ContentType.JSON, body=b"1")


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


class Gateway:
    """One gateway, as far as quotas are concerned."""

    def __init__(self, database: Database, meter: Meter, clock: Clock, defaults: Quotas) -> None:
        self.database, self.meter, self.clock = database, meter, clock
        self.directory = Directory(database)
        self.quoting = Quoting(database, self.directory, meter, defaults)
        self.quoting.budgets = Budgets(database, self.quoting.allowances, meter, clock=clock)
        self.calls = CallService(
            directory=self.directory,
            engine=None,
            builds_dir=Path("/builds"),
            environments_dir=Path("/envs"),
            end_session=lambda _tree: None,
            meter=meter,
            allowances=self.quoting.allowances,
        )
        administrators = Administrators(self.directory)
        self.quotas = QuotaService(
            database=database,
            directory=self.directory,
            administrators=administrators,
            allowances=self.quoting.allowances,
            admission=self.calls.admission,
            rates=self.calls.rates,
            compute=self.quoting.budgets,
            clock=clock,
        )
        self.reservations = Reservations(
            database=database,
            directory=self.directory,
            administrators=administrators,
            reserved=self.quoting.reserved,
        )

    async def begin(self) -> None:
        position = await self.directory.load()
        following = Following(self.database, self.directory, position=position)
        await self.quoting.allowances.load()
        await self.quoting.reserved.load()
        await self.quoting.budgets.begin()
        following.listen(ChangeKind.QUOTA, self.quoting.allowances.load)
        following.listen(ChangeKind.RESERVATION, self.quoting.reserved.load)
        self.catch_up = following.catch_up

    def principal(self, name: str) -> Principal:
        return self.directory.principal_of(self.directory.account_named(name))

    def open(self, name: str = "joe", number: int = 0, *, acting=None, **options):
        principal = replace(self.principal(name), acting=acting)
        grant = self.calls.grant(principal, HELLO)
        return self.calls.open(grant, CallOptions(**options), f"req-{number}")

    async def used(self, name: str, run_s: float, **fields) -> None:
        """Have calls of an account run so long, and wait until that is counted."""
        account_id = self.directory.account_named(name).account_id
        subject = rows.usage_subject(account_id=account_id)
        fields = {"started_us": us_of(self.clock()), **fields}
        self.meter.record(rows.usage_record(subject=subject, run_s=run_s, **fields))
        await self.meter.settle()

    async def states(self, name: str):
        report = await self.quotas.of(self.principal("root"), name)
        return {state.name: state for state in report.states}


@asynccontextmanager
async def gateway(database: Database, place: Path, clock: Clock, defaults: Quotas = DEFAULT_QUOTAS):
    meter = Meter(database, place)
    await meter.start()
    made = Gateway(database, meter, clock, defaults)
    try:
        await made.begin()
        yield made
    finally:
        await made.quoting.budgets.close()
        await meter.close()


async def people(database: Database) -> None:
    """Jane has an algorithm, Joe calls it, both are in the lab, and root administers."""
    directory = Directory(database)
    await directory.load()
    made = [
        (await create_account(database, directory, username=name, now=rows.NOW))[0]
        for name in ("jane", "joe", "root")
    ]
    async with database.transaction() as connection:
        await accounts.update_account(connection, replace(made[2], is_admin=True))
    jane = made[0]
    await ensure_organization(database, directory, name="lab", owner=jane, now=rows.NOW)
    hello = rows.algorithm(jane.account_id)
    build = rows.build(hello.algorithm_id, status=BuildStatus.SUCCEEDED, finished_at=rows.NOW)
    async with database.transaction() as connection:
        await algorithms.add_algorithm(connection, hello)
        await algorithms.add_build(connection, build)
        for number, callability in (("1.0.0", Callability.PUBLIC), ("1.1.0", Callability.PRIVATE)):
            version = rows.version(build, number, callability=callability)
            await algorithms.add_version(connection, version)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told(database: Database, runner: asyncio.Runner, tmp_path: Path, clock: Clock):
    """Run a story with one gateway, and return what it returns."""

    def run(story, defaults: Quotas = DEFAULT_QUOTAS):
        async def scenario():
            await people(database)
            async with gateway(database, tmp_path / "usage", clock, defaults) as site:
                return await story(site)

        return runner.run(scenario())

    return run


ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_limits_are_set_shown_and_given_back(told):
    async def story(site: Gateway):
        root = site.principal("root")
        await site.quotas.change(root, "JOE", {"calls_per_minute": 7, "storage_files": 3})
        await site.quotas.change(root, "joe", {"storage_files": "unlimited"})
        changed = await site.states("joe")
        listed = await site.quotas.page(root, after="", limit=10)
        behind = await site.quotas.page(root, after="JOE", limit=10)
        cleared = await site.quotas.clear(root, "joe")
        with pytest.raises(UserNotFound):
            await site.quotas.change(root, "nobody", {})
        return changed, listed, behind, cleared, await site.quotas.page(root, after="", limit=10)

    changed, listed, behind, cleared, left = told(story)

    rate, files = changed[QuotaName.CALLS_PER_MINUTE], changed[QuotaName.STORAGE_FILES]
    assert (rate.limit, rate.used, rate.is_default) == (7, 0, False)
    assert (files.limit, files.used, files.is_default) == (None, 0, False)
    assert changed[QuotaName.CONCURRENT_CALLS].is_default
    assert [(each.account.username, dict(each.limits)) for each in listed] == [
        ("joe", {QuotaName.CALLS_PER_MINUTE: 7, QuotaName.STORAGE_FILES: None})
    ]
    assert (behind, left) == ([], [])
    assert all(state.is_default for state in cleared.states)


@ON_SQLITE
def test_administrators_set_limits_and_everybody_sees_their_own(told):
    async def story(site: Gateway):
        jane, joe = site.principal("jane"), site.principal("joe")
        for attempt in (
            lambda: site.quotas.change(jane, "jane", {"calls_per_minute": 7}),
            lambda: site.quotas.clear(jane, "jane"),
            lambda: site.quotas.of(jane, "jane"),
            lambda: site.quotas.page(jane, after="", limit=1),
            lambda: site.quotas.of_user(joe, "jane"),
            lambda: site.quotas.of_organization(joe, "lab"),
        ):
            with pytest.raises(NotAuthorized):
                await attempt()
        with pytest.raises(OrganizationNotFound):
            await site.quotas.of_organization(site.principal("root"), "joe")
        own = await site.quotas.of_user(joe, "joe")
        lab = await site.quotas.of_organization(jane, "lab")
        return own.account.username, lab.account.username

    assert told(story) == ("joe", "lab")


def test_calls_of_a_minute_are_counted_and_the_next_ones_refused(told):
    async def story(site: Gateway):
        root = site.principal("root")
        await site.quotas.change(root, "joe", {"calls_per_minute": 2})
        refused = None
        opened = 0
        while refused is None:  # a minute may end meanwhile
            try:
                site.calls.close(site.open(), None)
                opened += 1
            except TooManyRequests as error:
                refused = error
        inside = ActingAlgorithm(
            algorithm_id="a",
            owner_id="o",
            tree_id="req-root",
            deadline_at=float("inf"),
            depth=1,
            is_pipeline_enabled=True,
        )
        site.calls.close(site.open(acting=inside), None)  # part of a call that was admitted
        with pytest.raises(TooManyRequests):
            site.open(acting=inside, output=Output.VOID)
        other = site.open("jane")
        used = (await site.states("joe"))[QuotaName.CONCURRENT_CALLS].used
        site.calls.close(other, None)
        await site.quotas.change(root, "joe", {"calls_per_minute": None})
        site.calls.close(site.open(), None)
        return opened, refused, used

    opened, refused, open_calls = told(story)

    assert opened in {2, 3, 4}
    assert open_calls == 0, "whoever is refused gives its place back"
    assert 1 <= refused.retry_after_s <= 60
    assert refused.fields == {"quota": "calls_per_minute", "limit": 2, "used": 2}


@ON_SQLITE
def test_a_limit_of_open_calls_holds_for_callers_that_are_known_already(told):
    async def story(site: Gateway):
        grant = site.calls.grant(site.principal("joe"), HELLO)
        first = site.calls.open(grant, CallOptions(), "req-1")
        await site.quotas.change(site.principal("root"), "joe", {"concurrent_calls": 1})
        assert site.calls.is_current(grant), "what was remembered stays"
        with pytest.raises(TooManyRequests) as refused:
            site.calls.open(grant, CallOptions(), "req-2")
        states = await site.states("joe")
        site.calls.close(first, None)
        await site.quotas.change(site.principal("root"), "joe", {"concurrent_calls": 0})
        with pytest.raises(TooManyRequests):
            site.calls.open(grant, CallOptions(), "req-2")
        return refused.value, states[QuotaName.CONCURRENT_CALLS]

    refused, state = told(story)

    assert (refused.fields["limit"], refused.retry_after_s) == (1, 1)
    assert (state.limit, state.used) == (1, 1)


def test_a_compute_budget_is_used_up_and_whole_again_next_month(told, clock: Clock):
    async def story(site: Gateway):
        root = site.principal("root")
        await site.used("joe", 4.0)  # before there was a budget
        await site.quotas.change(root, "joe", {"compute_seconds_per_month": 10})
        await until(lambda: site.quoting.budgets._used_us)
        running = site.open()
        await site.used("joe", 5.5)
        site.calls.close(site.open(), None)
        await site.used("joe", 100.0, started_us=us_of(clock() - timedelta(days=32)))
        site.calls.close(site.open(), None)
        await site.used("joe", 0.5)
        with pytest.raises(BudgetExceeded) as refused:
            site.open()
        site.calls.close(running, None)
        states = await site.states("joe")
        site.calls.close(site.open("jane"), None)
        await site.quotas.change(root, "joe", {"compute_seconds_per_month": 11})
        await until(lambda: not site.quoting.allowances.of(joe_id(site)).is_spent)
        site.calls.close(site.open(), None)
        await site.used("joe", 1.0)
        with pytest.raises(BudgetExceeded):
            site.open()
        clock.now += timedelta(days=32)
        later = await site.states("joe")
        site.calls.close(site.open(), None)
        return refused.value, states, later

    refused, states, later = told(story)

    assert refused.fields["used"] == 10.0
    assert refused.fields["renews_at"].endswith("-01T00:00:00Z")
    compute = QuotaName.COMPUTE_SECONDS_PER_MONTH
    assert states[compute].used == 10.0
    assert later[compute].used == 0.0
    assert later[compute].renews_at > states[compute].renews_at


def test_what_ends_while_a_new_budget_is_counted_is_counted_once(told):
    async def story(site: Gateway):
        await site.used("joe", 4.0)
        await site.quotas.change(site.principal("root"), "joe", {"compute_seconds_per_month": 99})
        for _ in range(20):
            await site.used("joe", 0.5)
        await until(lambda: site.quoting.budgets._used_us.get(joe_id(site), 0) >= 14_000_000)
        return (await site.states("joe"))[QuotaName.COMPUTE_SECONDS_PER_MONTH].used

    assert told(story) == 14.0


def joe_id(site: Gateway) -> str:
    return site.directory.account_named("joe").account_id


async def until(condition, *, timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def test_a_start_counts_what_was_used_before(
    database: Database, runner: asyncio.Runner, tmp_path: Path, clock: Clock
):
    async def story():
        await people(database)
        async with gateway(database, tmp_path / "usage", clock) as site:
            await site.used("joe", 3.0)
            await site.used("jane", 1.0)
        budget = Quotas(compute_seconds_per_month=3)
        async with gateway(database, tmp_path / "usage", clock, budget) as site:
            with pytest.raises(BudgetExceeded):
                site.open("joe")
            site.calls.close(site.open("jane"), None)
            return (await site.states("jane"))[QuotaName.COMPUTE_SECONDS_PER_MONTH].used

    assert runner.run(story()) == 1.0


@ON_SQLITE
def test_gateways_tell_one_another_what_was_used(told, clock: Clock):
    async def story(site: Gateway):
        others: list[dict[str, int]] = []
        site.quoting.budgets.tell = others.append
        await site.used("joe", 2.0)
        site.quoting.budgets.hear({joe_id(site): 1_500_000})
        return others, await site.quoting.budgets.used_s(joe_id(site)), joe_id(site)

    told_others, used_s, joe = told(story, Quotas(compute_seconds_per_month=100))

    assert told_others == [{joe: 2_000_000}]
    assert used_s == 3.5


def test_void_calls_wait_in_bounds(told):
    async def story(site: Gateway):
        void_calls = VoidCalls(
            calls=site.calls,
            database=site.database,
            directory=site.directory,
            wake=lambda: None,
            record=site.meter.record,
        )
        await site.quotas.change(site.principal("root"), "joe", {"void_calls_waiting": 2})
        for number in range(2):
            await void_calls.accept(site.open(number=number, output=Output.VOID), INPUT)
        with pytest.raises(TooManyRequests) as refused:
            await void_calls.accept(site.open(number=2, output=Output.VOID), INPUT)
        return refused.value.fields, await site.states("joe")

    fields, states = told(story)

    assert fields == {"quota": "void_calls_waiting", "limit": 2, "used": 2}
    assert states[QuotaName.VOID_CALLS_WAITING].used == 2


def test_build_minutes_add_up_and_outlive_the_algorithm(told, clock: Clock):
    async def story(site: Gateway):
        async with site.database.transaction() as connection:
            for seconds in (30.0, 60.0):
                await quota_rows.add_build_seconds(
                    connection, joe_id(site), month_of(clock()), seconds
                )
            await quota_rows.add_build_seconds(connection, "gone", month_of(clock()), 5.0)
        now = (await site.states("joe"))[QuotaName.BUILD_MINUTES_PER_MONTH].used
        clock.now += timedelta(days=32)
        return now, (await site.states("joe"))[QuotaName.BUILD_MINUTES_PER_MONTH].used

    assert told(story) == (1.5, 0)


def test_other_gateways_follow(
    database_url: str, runner: asyncio.Runner, tmp_path: Path, clock: Clock
):
    async def story():
        async with (
            await Database.open(database_url, is_shared=True) as one,
            await Database.open(database_url, is_shared=True) as two,
        ):
            await people(one)
            async with (
                gateway(one, tmp_path / "usage", clock) as writer,
                gateway(two, tmp_path / "usage", clock) as follower,
            ):
                root = writer.principal("root")
                await writer.quotas.change(root, "joe", {"storage_bytes": 5})
                await writer.reservations.create(root, wanted())
                await follower.catch_up()
                quota = follower.quoting.allowances.storage_of(joe_id(follower))
                kept = [each.num_slots for each in follower.quoting.reserved.all()]
                await writer.quotas.clear(root, "joe")
                (there,) = await writer.reservations.list(root)
                await writer.reservations.delete(root, there.reservation.reservation_id)
                await follower.catch_up()
                cleared = follower.quoting.allowances.storage_of(joe_id(follower))
                return quota.bytes_max, kept, cleared.bytes_max, follower.quoting.reserved.all()

    assert runner.run(story()) == (5, [2], None, ())


def wanted(**fields) -> WantedReservation:
    defaults = {
        "username": "jane",
        "algoname": "hello",
        "calling_user": "joe",
        "version_type": "latest_public",
        "version_identifier": "",
        "num_slots": 2,
    }
    return WantedReservation(**(defaults | fields))


def test_a_reservation_is_made_listed_and_given_up(told):
    async def story(site: Gateway):
        root = site.principal("root")
        await site.reservations.create(root, wanted())
        await site.reservations.create(
            root, wanted(calling_user="jane", version_type="Hash", version_identifier="AB" * 20)
        )
        listed = await site.reservations.list(root)
        await site.quoting.reserved.load()
        again = await site.reservations.list(root)
        for each in listed:
            await site.reservations.delete(root, each.reservation.reservation_id.upper())
        with pytest.raises(InvalidInput, match="no reservation"):
            await site.reservations.delete(root, listed[0].reservation.reservation_id)
        return listed, again, await site.reservations.list(root)

    listed, again, left = told(story)

    assert [(each.owner, each.algorithm, each.account.username) for each in listed] == [
        ("jane", "Hello", "joe"),
        ("jane", "Hello", "jane"),
    ]
    assert [each.version_hash for each in listed] == ["ab" * 20] * 2
    assert again == listed
    assert left == []


@ON_SQLITE
def test_what_nobody_could_use_is_not_reserved(told):
    async def story(site: Gateway):
        root = site.principal("root")
        for wrong in (
            {"algoname": "Nothing"},
            {"username": "a b"},
            {"calling_user": "nobody"},
            {"version_type": "newest"},
            {"version_type": "semantic", "version_identifier": "9.9.9"},
            {"version_type": "semantic", "version_identifier": "1.1.0"},
            {"version_type": "hash", "version_identifier": "ab" * 20},
            {"version_type": "latest_private"},
            {"version_type": "latest"},
            {"num_slots": 0},
        ):
            with pytest.raises(InvalidInput):
                await site.reservations.create(root, wanted(**wrong))
        for attempt in (
            lambda: site.reservations.create(site.principal("jane"), wanted()),
            lambda: site.reservations.list(site.principal("jane")),
            lambda: site.reservations.delete(site.principal("jane"), "x"),
        ):
            with pytest.raises(NotAuthorized):
                await attempt()
        return site.quoting.reserved.all()

    assert told(story) == ()


@ON_SQLITE
def test_what_is_deleted_takes_its_limits_and_reservations_along(told):
    async def story(site: Gateway):
        root = site.principal("root")
        await site.quotas.change(root, "joe", {"storage_bytes": 5})
        await site.reservations.create(root, wanted())
        async with site.database.transaction() as connection:
            await accounts.delete_account(connection, joe_id(site))
        await site.catch_up()
        return await site.quotas.page(root, after="", limit=9), site.quoting.reserved.all()

    assert told(story) == ([], ())


def test_members_do_not_spend_what_the_organization_has(told):
    async def story(site: Gateway):
        lab = site.directory.account_named("lab")
        async with site.database.transaction() as connection:
            await accounts.set_membership(
                connection,
                organization_id=lab.account_id,
                user_id=joe_id(site),
                role=Role.MEMBER,
            )
        await site.catch_up()
        await site.quotas.change(site.principal("root"), "lab", {"concurrent_calls": 0})
        site.calls.close(site.open("joe"), None)
        with pytest.raises(TooManyRequests):
            site.open("lab")

    told(story)
