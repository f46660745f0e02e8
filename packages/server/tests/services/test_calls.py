"""Admission, limits, rights and outcomes of calls, with an engine whose part the tests play."""

import asyncio
from pathlib import Path

import pytest
import rows

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain.algorithms import BuildStatus, Callability, NetworkAccess
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.calls import (
    CallFailure,
    CallInput,
    CallOptions,
    CallSuccess,
    ContentType,
    Output,
    Timings,
)
from algorium_server.domain.errors import (
    AlgorithmNotFound,
    NotAuthorized,
    TooManyRequests,
    Unavailable,
)
from algorium_server.domain.identity import (
    DEFAULT_KEY_PERMISSIONS,
    AccountKind,
    ActingAlgorithm,
    KeyPermissions,
    Principal,
    Role,
)
from algorium_server.domain.limits import (
    CALL_OUTPUT_BYTES_MAX,
    CALLS_IN_FLIGHT_PER_ACCOUNT_MAX,
    CHILD_CALLS_PER_TREE_MAX,
)
from algorium_server.domain.usage import UsageRecord
from algorium_server.jobs.retry import GiveUp
from algorium_server.services.auditing import entry_of
from algorium_server.services.authoring.gate import Gate
from algorium_server.services.calling.calls import CallService
from algorium_server.services.calling.void_calls import VoidCalls
from algorium_server.services.directory import Directory
from algorium_server.store import accounts, jobs
from algorium_server.store.database import Database

TIMINGS = Timings(queue_s=0.0, load_s=0.0, run_s=0.1)
INPUT = CallInput(content_type=ContentType.JSON, body=b"1")
REF = AlgorithmRef(owner="lab", name="Hello")


class PlayedEngine:
    """Answers with `outcome`, or raises it; remembers flights."""

    def __init__(self) -> None:
        self.outcome: object = CallSuccess(
            content_type=ContentType.JSON, body=b"1", timings=TIMINGS, stdout="printed"
        )
        self.flights: list = []

    def submit(self, program, flight, call_input, on_outcome):
        self.flights.append(flight)
        asyncio.get_running_loop().call_soon(on_outcome, self.outcome)
        return self

    def check_network(self):
        raise Unavailable("no network_access=full here")

    def cancel(self):
        raise AssertionError("nobody gives up in these tests")


class Site:
    """A directory with one algorithm of an organization, and a service over it."""

    def __init__(self, *, network=NetworkAccess.ISOLATED, is_pipeline_enabled=True) -> None:
        self.engine = PlayedEngine()
        self.ended: list[str] = []
        self.directory = Directory(database=None)
        self.lab = rows.account("lab", kind=AccountKind.ORGANIZATION)
        self.member = rows.account("member")
        self.stranger = rows.account("stranger")
        self.admin = rows.account("root", is_admin=True)
        for account in (self.lab, self.member, self.stranger, self.admin):
            self.directory.put_account(account)
        self.directory.put_membership(
            organization_id=self.lab.account_id, user_id=self.member.account_id, role=Role.MEMBER
        )
        self.algorithm = rows.algorithm(self.lab.account_id)
        build = rows.build(
            self.algorithm.algorithm_id,
            status=BuildStatus.SUCCEEDED,
            environment="e",
            entry="src.x",
        )
        self.directory.put_algorithm(self.algorithm)
        self.directory.put_build(build)
        for number, callability in (("1.0.0", Callability.PUBLIC), ("2.0.0", Callability.PRIVATE)):
            self.directory.put_version(
                rows.version(
                    build,
                    number,
                    callability=callability,
                    network_access=network,
                    is_pipeline_enabled=is_pipeline_enabled,
                )
            )
        self.calls = CallService(
            directory=self.directory,
            engine=self.engine,
            builds_dir=Path("/builds"),
            environments_dir=Path("/envs"),
            end_session=self.end_session,
        )

    def end_session(self, tree_id: str):
        self.ended.append(tree_id)

    def principal(self, account, permissions=DEFAULT_KEY_PERMISSIONS) -> Principal:
        key = rows.key(account.account_id, permissions=permissions)
        roles = self.directory.roles_of(account.account_id)
        return Principal(account=account, key=key, roles=roles)

    def open(self, account=None, ref=REF, request_id="req-1", **options):
        principal = account if isinstance(account, Principal) else None
        principal = principal or self.principal(account or self.stranger)
        options = CallOptions(**options)
        grant = self.calls.grant(principal, ref, wants_sudo=options.is_sudo)
        return self.calls.open(grant, options, request_id)

    def run(self, call):
        async def go():
            outcome = None
            try:
                outcome = await self.calls.run(call, INPUT)
            finally:
                assert self.calls.close(call, outcome) is None
            return outcome

        return asyncio.run(go())


def acting(site, tree_id, *, is_pipeline_enabled=True):
    return ActingAlgorithm(
        algorithm_id=site.algorithm.algorithm_id,
        owner_id=site.lab.account_id,
        tree_id=tree_id,
        deadline_at=10.0,
        depth=1,
        is_pipeline_enabled=is_pipeline_enabled,
    )


def test_a_stranger_gets_the_public_version_and_nothing_else():
    site = Site()

    assert str(site.open().grant.resolved.version.semantic_version) == "1.0.0"
    for version in ("2.0.0", "latestPrivate"):
        with pytest.raises(AlgorithmNotFound):
            site.open(ref=AlgorithmRef(owner="lab", name="Hello", version=version))


def test_a_key_without_the_right_may_not_call():
    site = Site()
    for permissions in (KeyPermissions(), KeyPermissions(allow_algo=False, algo_acl=("algo://*",))):
        with pytest.raises(NotAuthorized):
            site.open(site.principal(site.stranger, permissions))


def test_only_administrators_may_use_sudo():
    site = Site()
    private = AlgorithmRef(owner="lab", name="Hello", version="2.0.0")

    call = site.open(site.principal(site.admin), ref=private, is_sudo=True)
    assert call.grant.runs_as.account == site.lab
    assert call.grant.caller.account == site.admin
    with pytest.raises(AlgorithmNotFound):
        site.open(ref=private, is_sudo=True)


def test_what_is_done_under_sudo_is_the_administrators_in_the_owners_place():
    site = Site()
    root = site.principal(site.admin)
    inside = site.open(root, is_sudo=True).inside()
    deeper = site.open(inside, request_id="req-2")

    for principal in (inside, deeper.inside()):
        entry = entry_of(principal, AuditAction.DIRECTORY_DELETED, "data://lab/box")
        assert principal.account == site.lab
        assert (entry.actor, entry.actor_id) == ("root", site.admin.account_id)
        assert (entry.behalf, entry.behalf_id) == ("lab", site.lab.account_id)
        assert entry.account_id == site.lab.account_id
        assert entry.algorithm_id == site.algorithm.algorithm_id
    assert deeper.grant.subject.caller == "root"  # who is billed
    plain = entry_of(site.open(root).inside(), AuditAction.DIRECTORY_DELETED, "data://root/box")
    assert (plain.actor, plain.behalf) == ("root", "")
    assert plain.algorithm_id == site.algorithm.algorithm_id


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_void_calls_made_under_sudo_run_as_what_they_are(
    database: Database, runner: asyncio.Runner
):
    site = Site()
    metered: list[UsageRecord] = []
    void_calls = VoidCalls(
        calls=site.calls,
        database=database,
        directory=site.directory,
        wake=lambda: None,
        record=metered.append,
    )
    inside = site.open(site.principal(site.admin), is_sudo=True).inside()

    async def story() -> Principal:
        async with database.transaction() as connection:
            await accounts.add_account(connection, site.lab)
        await void_calls.accept(site.open(inside, request_id="req-2", output=Output.VOID), INPUT)
        async with database.reading() as connection:
            job = await jobs.job(connection, "req-2")
        assert job is not None
        await void_calls.run(job)
        void_calls.given_up(job, GiveUp(reason="interrupted"))
        return site.engine.flights[-1].inside()

    principal = runner.run(story())

    assert (principal.account, principal.person) == (site.lab, site.admin)
    assert metered[0].subject.caller == "root"  # who is billed


def test_stdout_is_for_those_who_own_the_algorithm_and_ask():
    site = Site()
    member = site.principal(site.member)

    assert site.run(site.open(member, wants_stdout=True)).stdout == "printed"
    assert site.run(site.open(member)).stdout == ""
    assert site.run(site.open(wants_stdout=True)).stdout == ""


def test_stack_traces_are_for_those_who_may_see_the_source():
    site = Site()
    site.engine.outcome = CallFailure(
        message="no", error_type="AlgorithmError", timings=TIMINGS, stacktrace="line 1"
    )

    assert site.run(site.open(site.principal(site.member))).stacktrace == "line 1"
    assert site.run(site.open()).stacktrace == ""


@pytest.mark.parametrize("outcome", [None, Unavailable("no slot"), RuntimeError("bug")])
def test_whatever_happens_the_account_gets_its_place_back(outcome):
    site = Site()
    if outcome is not None:
        site.engine.outcome = outcome
    principal = site.principal(site.stranger)

    for number in range(CALLS_IN_FLIGHT_PER_ACCOUNT_MAX + 10):
        call = site.open(principal, request_id=f"req-{number}")
        if outcome is None:
            site.run(call)
        else:
            with pytest.raises(type(outcome)):
                site.run(call)

    assert len(site.ended) == CALLS_IN_FLIGHT_PER_ACCOUNT_MAX + 10


def test_an_account_has_a_number_of_open_calls():
    site = Site()
    principal = site.principal(site.stranger)
    calls = [
        site.open(principal, request_id=f"req-{n}") for n in range(CALLS_IN_FLIGHT_PER_ACCOUNT_MAX)
    ]

    with pytest.raises(TooManyRequests, match="concurrent session limit reached"):
        site.open(principal)
    assert site.open(site.principal(site.member))
    site.run(calls[0])
    assert site.open(principal)


def test_a_sample_input_is_among_the_open_calls_of_its_publisher():
    site = Site()
    gate = Gate(site.calls, site.directory)
    publisher = site.principal(site.member)
    calls = [
        site.open(publisher, request_id=f"req-{n}") for n in range(CALLS_IN_FLIGHT_PER_ACCOUNT_MAX)
    ]
    build = calls[0].grant.resolved.build

    refused = asyncio.run(gate.run(build, "1", publisher=publisher))
    site.run(calls[0])
    runs = [asyncio.run(gate.run(build, "1", publisher=publisher)) for _ in range(2)]

    assert refused.warning.startswith("the sample input could not be run: Too many requests")
    assert [(run.output, run.warning) for run in runs] == [("1", "")] * 2


def test_a_tree_has_a_number_of_open_children_and_gets_them_back_when_they_fail():
    site = Site()
    site.engine.outcome = Unavailable("no slot")
    inside = Principal(account=site.stranger, acting=acting(site, "req-root"))

    for _ in range(3):
        children = [site.open(inside) for _ in range(CHILD_CALLS_PER_TREE_MAX)]
        with pytest.raises(TooManyRequests):
            site.open(inside)
        for child in children:
            with pytest.raises(Unavailable):
                site.run(child)
    assert site.ended == [], "only the root ends the session"


def test_children_inherit_deadline_tree_and_key():
    site = Site()
    narrow = rows.key(site.stranger.account_id, permissions=KeyPermissions())
    inside = Principal(account=site.stranger, key=narrow, acting=acting(site, "req-root"))

    call = site.open(inside, timeout_s=3000.0)
    site.run(call)

    acts_as = site.engine.flights[0].inside()
    assert call.deadline_at == 10.0
    assert (acts_as.acting.tree_id, acts_as.acting.depth, acts_as.key) == ("req-root", 2, narrow)


def test_an_algorithm_without_pipeline_calls_nothing():
    site = Site()
    inside = Principal(
        account=site.stranger, acting=acting(site, "req-root", is_pipeline_enabled=False)
    )

    with pytest.raises(NotAuthorized):
        site.open(inside)


def test_the_hosts_network_is_never_given():
    with pytest.raises(Unavailable, match="network_access"):
        Site(network=NetworkAccess.FULL).open()


@pytest.mark.parametrize(
    ("content_type", "output", "size", "is_too_large"),
    [
        (ContentType.JSON, Output.DEFAULT, CALL_OUTPUT_BYTES_MAX, False),
        (ContentType.JSON, Output.DEFAULT, CALL_OUTPUT_BYTES_MAX + 1, True),
        (ContentType.BINARY, Output.RAW, CALL_OUTPUT_BYTES_MAX, False),
        (ContentType.BINARY, Output.DEFAULT, CALL_OUTPUT_BYTES_MAX * 3 // 4, False),
        (ContentType.BINARY, Output.DEFAULT, CALL_OUTPUT_BYTES_MAX * 3 // 4 + 1, True),
    ],
)
def test_the_output_limit_counts_what_is_sent(content_type, output, size, is_too_large):
    site = Site()
    site.engine.outcome = CallSuccess(content_type=content_type, body=bytes(size), timings=TIMINGS)

    outcome = site.run(site.open(output=output))

    assert isinstance(outcome, CallFailure) == is_too_large
    assert not is_too_large or outcome.error_type == "TooLargeError"
