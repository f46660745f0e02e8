import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain.algorithms import (
    Algorithm,
    Build,
    BuildStatus,
    Callability,
    NetworkAccess,
    Version,
)
from algorium_server.domain.identity import (
    DEFAULT_KEY_PERMISSIONS,
    Account,
    AccountKind,
    ApiKey,
    KeyKind,
    Principal,
    Role,
)
from algorium_server.domain.versions import SemanticVersion
from algorium_server.services.directory import Directory, key_digest
from algorium_server.store import accounts as account_rows
from algorium_server.store import algorithms as algorithm_rows
from algorium_server.store.database import Database, sqlite_url

NOW = datetime(2022, 1, 1, tzinfo=UTC)
SHA = "0123456789abcdef0123456789abcdef01234567"


def uuid(number):
    return f"00000000-0000-4000-8000-{number:012d}"


JANE = Account(account_id=uuid(1), kind=AccountKind.USER, username="Jane", created_at=NOW)
BOB = Account(account_id=uuid(2), kind=AccountKind.USER, username="bob", created_at=NOW)
LAB = Account(account_id=uuid(3), kind=AccountKind.ORGANIZATION, username="lab", created_at=NOW)
KEY = ApiKey(
    key_id=uuid(11),
    account_id=JANE.account_id,
    label="default-key",
    kind=KeyKind.STANDARD,
    permissions=DEFAULT_KEY_PERMISSIONS,
    created_at=NOW,
)
HELLO = Algorithm(algorithm_id=uuid(21), owner_id=LAB.account_id, name="Hello", created_at=NOW)


def build_of(number, status=BuildStatus.SUCCEEDED, minutes=0, sha=SHA):
    return Build(
        build_id=uuid(number),
        algorithm_id=HELLO.algorithm_id,
        commit_sha=sha,
        status=status,
        environment="env",
        entry="src.Hello",
        lock="numpy==2\n" * 100,
        log="talk\n" * 1000,
        started_at=NOW + timedelta(minutes=minutes),
        finished_at=NOW + timedelta(minutes=minutes + 1),
    )


def version_of(text, build, callability=Callability.PUBLIC):
    semantic = SemanticVersion.parse(text)
    return Version(
        version_id=uuid(1000 + 100 * semantic.major + 10 * semantic.minor + semantic.revision),
        algorithm_id=HELLO.algorithm_id,
        build_id=build.build_id,
        semantic_version=semantic,
        commit_sha=build.commit_sha,
        callability=callability,
        network_access=NetworkAccess.ISOLATED,
        is_pipeline_enabled=True,
        published_at=NOW,
    )


OLD = build_of(31, minutes=0)
NEW = build_of(32, minutes=10)
FAILED = build_of(33, BuildStatus.FAILED, minutes=20)
V010 = version_of("0.1.0", OLD)
V011 = version_of("0.1.1", NEW)
V020 = version_of("0.2.0", NEW, Callability.PRIVATE)
VERSIONS = (V010, V011, V020)


@pytest.fixture
def directory():
    directory = Directory(None)  # filled here, not loaded
    for account in (JANE, BOB, LAB):
        directory.put_account(account)
    directory.put_key(KEY, digest=key_digest("simJane"))
    directory.put_membership(
        organization_id=LAB.account_id, user_id=JANE.account_id, role=Role.MEMBER
    )
    directory.put_algorithm(HELLO)
    for build in (NEW, OLD, FAILED):
        directory.put_build(build)
    for version in VERSIONS:
        directory.put_version(version)
    return directory


@pytest.fixture
def jane(directory):
    return directory.principal_of(JANE)


@pytest.fixture
def bob(directory):
    return directory.principal_of(BOB)


def resolved(directory, text, principal, **options):
    found = directory.resolve(AlgorithmRef.parse(text), principal, **options)
    return str(found.version.semantic_version) if found and found.version else found


def test_a_key_is_found_by_its_secret(directory):
    principal = directory.principal_of_key("simJane")

    assert principal == Principal(account=JANE, key=KEY, roles={LAB.account_id: Role.MEMBER})
    assert directory.principal_of_key("simJane") is principal
    assert directory.principal_of_key("simjane") is None
    assert directory.principal_of_key("") is None
    assert directory.principal_of_key("\udcff") is None


def test_names_are_found_in_any_case(directory):
    assert directory.account_named("jANE") == JANE
    assert directory.account(JANE.account_id) == JANE
    assert directory.account_named("nobody") is None
    for text in ("lab/Hello", "LAB/hello", f"{HELLO.algorithm_id}", "lab/Hello/9.9.9"):
        assert directory.algorithm(AlgorithmRef.parse(text)) == HELLO
    assert directory.algorithm(AlgorithmRef.parse("lab/Helo")) is None
    assert directory.owner_name(HELLO) == "lab"


def test_builds_are_kept_without_their_log_and_lock(directory):
    kept = directory.build(NEW.build_id)

    assert kept == replace(NEW, log="", lock="")
    assert directory.newest_build_of_commit(HELLO.algorithm_id, SHA) == kept


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("lab/Hello", "0.1.1"),
        ("LAB/hello/latest", "0.1.1"),
        ("lab/Hello/0.1.0", "0.1.0"),
        ("lab/Hello/0.1", "0.1.1"),
        ("lab/Hello/0.1.*", "0.1.1"),
        ("lab/Hello/0", "0.1.1"),
        (f"{HELLO.algorithm_id}/0.1.0", "0.1.0"),
        ("lab/Hello/0.2.0", None),
        ("lab/Hello/0.2", None),
        ("lab/Hello/latestPrivate", None),
        (f"lab/Hello/{V010.version_id}", None),
        (f"lab/Hello/{SHA}", None),
        ("lab/Hello/1", None),
        ("lab/Hello/nonsense", None),
        ("lab/Other", None),
        ("nobody/Hello", None),
        (uuid(99), None),
    ],
)
def test_strangers_get_public_versions_only(directory, bob, text, version):
    assert resolved(directory, text, bob) == version
    assert resolved(directory, text, bob) == version  # again, now remembered


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("lab/Hello", "0.1.1"),
        ("lab/Hello/0.2.0", "0.2.0"),
        ("lab/Hello/latestPrivate", "0.2.0"),
        ("lab/Hello/0.2", None),
        (f"lab/Hello/{V010.version_id}", "0.1.0"),
    ],
)
def test_members_and_sudo_get_private_versions_too(directory, jane, bob, text, version):
    assert resolved(directory, text, jane) == version
    assert resolved(directory, text, bob, is_sudo=True) == version


def test_what_a_member_resolved_stays_hidden_from_strangers(directory, jane, bob):
    assert resolved(directory, "lab/Hello/0.2.0", jane) == "0.2.0"

    assert resolved(directory, "lab/Hello/0.2.0", bob) is None


def test_a_commit_is_its_newest_successful_build(directory, jane):
    found = directory.resolve(AlgorithmRef.parse(f"lab/Hello/{SHA.upper()}"), jane)

    assert found.version is None
    assert found.build.build_id == NEW.build_id
    assert found.algorithm == HELLO
    assert found.owner == LAB


def test_a_running_build_is_not_callable_until_it_succeeds(directory, jane):
    ref = AlgorithmRef.parse("lab/Hello/" + "f" * 40)
    running = build_of(34, BuildStatus.IN_PROGRESS, sha="f" * 40)
    directory.put_build(running)
    assert directory.resolve(ref, jane) is None

    directory.put_build(replace(running, status=BuildStatus.SUCCEEDED))

    assert directory.resolve(ref, jane).build.build_id == running.build_id


def test_a_new_version_is_resolved_at_once(directory, bob):
    assert resolved(directory, "lab/Hello", bob) == "0.1.1"

    directory.put_version(version_of("0.1.2", NEW))

    assert resolved(directory, "lab/Hello", bob) == "0.1.2"
    assert len(directory.versions_of(HELLO.algorithm_id)) == 4


def test_a_changed_algorithm_is_seen_at_once(directory, bob):
    ref = AlgorithmRef.parse("lab/Hello")
    directory.resolve(ref, bob)

    directory.put_algorithm(replace(HELLO, label="Greets"))

    assert directory.resolve(ref, bob).algorithm.label == "Greets"


def test_a_role_counts_from_its_change_on(directory):
    before = directory.generation
    directory.put_membership(
        organization_id=LAB.account_id, user_id=BOB.account_id, role=Role.EXECUTOR
    )
    assert directory.roles_of(BOB.account_id) == {LAB.account_id: Role.EXECUTOR}
    assert directory.generation > before

    directory.put_membership(organization_id=LAB.account_id, user_id=BOB.account_id, role=None)

    assert directory.roles_of(BOB.account_id) == {}


def test_what_was_resolved_can_be_found_again(directory, bob):
    found = directory.resolve(AlgorithmRef.parse("lab/Hello"), bob)

    again = directory.resolved_build(found.build.build_id, version_id=found.version.version_id)

    assert again == found
    assert directory.resolved_build(uuid(99), version_id="") is None


def test_everything_is_read_from_the_store(sqlite_file, directory, bob):
    async def store_and_load():
        async with await Database.open(sqlite_url(sqlite_file)) as database:
            async with database.transaction() as connection:
                for account in (JANE, BOB, LAB):
                    await account_rows.add_account(connection, account)
                await account_rows.add_key(connection, KEY, digest=key_digest("simJane"))
                await account_rows.set_membership(
                    connection,
                    organization_id=LAB.account_id,
                    user_id=JANE.account_id,
                    role=Role.MEMBER,
                )
                await algorithm_rows.add_algorithm(connection, HELLO)
                for build in (OLD, NEW, FAILED):
                    await algorithm_rows.add_build(connection, build)
                for version in VERSIONS:
                    await algorithm_rows.add_version(connection, version)
            loaded = Directory(database)
            await loaded.load()
            return loaded

    loaded = asyncio.run(store_and_load())

    assert loaded.principal_of_key("simJane") == directory.principal_of_key("simJane")
    assert set(loaded.accounts()) == set(directory.accounts())
    for text in ("lab/hello", "lab/Hello/0.1.0", "lab/Hello/0.2.0"):
        ref = AlgorithmRef.parse(text)
        assert loaded.resolve(ref, bob) == directory.resolve(ref, bob)
