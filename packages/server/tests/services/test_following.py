"""What one process writes reaches the directories of the others, and nothing older covers it."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import rows
from sqlalchemy import delete

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain.algorithms import BuildStatus, Callability
from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.identity import Role
from algorium_server.domain.limits import CHANGES_AT_ONCE_MAX
from algorium_server.domain.users import UserProfile
from algorium_server.services.directory import Directory
from algorium_server.services.following import Following
from algorium_server.services.people.accounts import create_account, create_key, ensure_organization
from algorium_server.store import accounts, algorithms, changes, users
from algorium_server.store.database import Database
from algorium_server.store.tables.accounts import accounts as account_table


class Gateway:
    """A directory that follows."""

    def __init__(self, database: Database, directory: Directory, position: int) -> None:
        self.database = database
        self.directory = directory
        self.following = Following(database, directory, position=position)

    @classmethod
    async def load(cls, database: Database) -> "Gateway":
        directory = Directory(database)
        return cls(database, directory, await directory.load())


def run(runner: asyncio.Runner, url: str, story: Callable[[Gateway, Gateway], Awaitable]):
    """Tell a story of two gateways: one that writes, and one that follows."""

    async def tell():
        async with await Database.open(url) as one, await Database.open(url) as other:
            return await story(await Gateway.load(one), await Gateway.load(other))

    return runner.run(tell())


def contents(directory: Directory) -> dict[str, object]:
    """Everything a directory holds, and what it derives from it."""
    facts = (
        "_accounts",
        "_accounts_by_name",
        "_roles",
        "_algorithms",
        "_algorithms_by_name",
    )
    found = {name: getattr(directory, name) for name in facts}
    found["keys"] = directory._keys._keys
    found["builds"] = directory._builds._builds, directory._builds._newest
    found["links"] = directory.links._external_ids
    found["_versions"] = {
        name: sorted(versions, key=lambda version: version.version_id)
        for name, versions in directory._versions.items()
    }
    return found


async def write(gateway: Gateway, writing: Callable[..., Awaitable], *values, **options) -> None:
    async with gateway.database.transaction() as connection:
        await writing(connection, *values, **options)


def test_a_new_key_is_known_and_a_revoked_one_is_not(
    database_url: str, runner: asyncio.Runner
) -> None:
    async def story(writer: Gateway, follower: Gateway):
        jane, first = await create_account(
            writer.database, writer.directory, username="jane", now=rows.NOW
        )
        second = await create_key(
            writer.database, writer.directory, account=jane, label="second", now=rows.NOW
        )
        await follower.following.catch_up()
        known = [follower.directory.principal_of_key(key.secret) for key in (first, second)]
        generation = follower.directory.generation
        await write(writer, accounts.remove_key, second.key.key_id)
        await follower.following.catch_up()
        assert follower.directory.generation > generation, "whoever keeps principals must see it"
        return (
            [principal.account.username for principal in known],
            follower.directory.principal_of_key(first.secret) is not None,
            follower.directory.principal_of_key(second.secret),
        )

    assert run(runner, database_url, story) == (["jane", "jane"], True, None)


def test_a_role_is_given_changed_and_taken(database_url: str, runner: asyncio.Runner) -> None:
    async def story(writer: Gateway, follower: Gateway):
        jane, _ = await create_account(
            writer.database, writer.directory, username="jane", now=rows.NOW
        )
        lab = await ensure_organization(
            writer.database, writer.directory, name="lab", owner=jane, now=rows.NOW
        )
        member = {"organization_id": lab.account_id, "user_id": jane.account_id}
        seen = []
        for role in (Role.OWNER, Role.EXECUTOR):
            await write(writer, accounts.set_membership, **member, role=role)
            await follower.following.catch_up()
            seen.append(follower.directory.roles_of(jane.account_id))
        return lab.account_id, seen

    lab_id, seen = run(runner, database_url, story)

    assert seen == [{lab_id: Role.OWNER}, {lab_id: Role.EXECUTOR}]


def test_what_a_user_is_called_elsewhere_is_known_and_forgotten(
    database_url: str, runner: asyncio.Runner
) -> None:
    async def story(writer: Gateway, follower: Gateway):
        jane, _ = await create_account(
            writer.database, writer.directory, username="jane", now=rows.NOW
        )
        seen = []
        for external_id in ("j.doe", "jane.2", ""):
            async with writer.database.transaction() as connection:
                await accounts.update_account(connection, jane)
                profile = UserProfile(account_id=jane.account_id, external_id=external_id)
                await users.put_profile(connection, profile)
            await follower.following.catch_up()
            loaded = await Gateway.load(follower.database)
            seen += [each.directory.links.of(jane.account_id) for each in (follower, loaded)]
        return seen

    assert run(runner, database_url, story) == ["j.doe", "j.doe", "jane.2", "jane.2", "", ""]


def test_a_version_can_be_called_once_it_is_published(
    database_url: str, runner: asyncio.Runner
) -> None:
    async def story(writer: Gateway, follower: Gateway):
        jane = rows.account("jane")
        hello = rows.algorithm(jane.account_id)
        build = rows.build(hello.algorithm_id)
        done = replace(
            build, status=BuildStatus.SUCCEEDED, finished_at=rows.NOW + timedelta(minutes=1)
        )
        version = rows.version(done, "1.0.0", callability=Callability.PUBLIC)
        ref = AlgorithmRef(owner="jane", name="Hello")

        def resolved():
            principal = follower.directory.principal_of(jane)
            found = follower.directory.resolve(ref, principal)
            return found and str(found.version.semantic_version)

        seen = []
        for step in (
            lambda c: accounts.add_account(c, jane),
            lambda c: algorithms.add_algorithm(c, hello),
            lambda c: algorithms.add_build(c, build),
            lambda c: algorithms.update_build(c, done),
            lambda c: algorithms.add_version(c, version),
        ):
            await write(writer, step)
            await follower.following.catch_up()
            seen.append(resolved())
        await follower.directory.load()
        return seen, resolved()

    assert run(runner, database_url, story) == ([None] * 4 + ["1.0.0"], "1.0.0")


def test_what_a_process_wrote_itself_is_no_news_to_it(
    database_url: str, runner: asyncio.Runner
) -> None:
    async def story(writer: Gateway, _: Gateway):
        await create_account(writer.database, writer.directory, username="jane", now=rows.NOW)
        revision = writer.directory.revision
        await writer.following.catch_up()
        await writer.following.catch_up()
        return writer.directory.revision - revision

    assert run(runner, database_url, story) == 0


def test_following_looks_by_itself(database_url: str, runner: asyncio.Runner) -> None:
    async def story(writer: Gateway, follower: Gateway):
        follower.following.start(every_s=0.01)
        _, key = await create_account(
            writer.database, writer.directory, username="jane", now=rows.NOW
        )
        async with asyncio.timeout(30):
            while follower.directory.principal_of_key(key.secret) is None:
                await asyncio.sleep(0.01)
        await follower.following.stop()
        await follower.following.stop()

    run(runner, database_url, story)


@pytest.mark.parametrize("way", ["pruned", "too many", "deleted"])
def test_what_cannot_be_followed_is_read_anew(
    way: str, database_url: str, runner: asyncio.Runner
) -> None:
    async def story(writer: Gateway, follower: Gateway):
        jane, _ = await create_account(
            writer.database, writer.directory, username="jane", now=rows.NOW
        )
        match way:
            case "pruned":
                await write(writer, accounts.add_account, rows.account("bob"))
                await write(writer, changes.prune, keep=1)
            case "too many":
                async with writer.database.transaction() as connection:
                    for number in range(CHANGES_AT_ONCE_MAX):
                        await accounts.add_account(connection, rows.account(f"user{number}"))
            case "deleted":
                await follower.following.catch_up()
                async with writer.database.transaction() as connection:
                    await changes.note(connection, ChangeKind.ACCOUNT, jane.account_id)
                    await connection.execute(
                        delete(account_table).where(account_table.c.account_id == jane.account_id)
                    )
        await follower.following.catch_up()
        await writer.directory.load()
        assert contents(follower.directory) == contents(writer.directory)
        await write(writer, accounts.add_account, rows.account("later"))
        await follower.following.catch_up()
        return follower.directory.account_named("later") is not None

    assert run(runner, database_url, story)


class Interrupted:
    """A database that lets something happen between the end of a read and its use."""

    def __init__(self, database: Database, happening: Callable[[], Awaitable[None]]) -> None:
        self._database = database
        self._happening: Callable[[], Awaitable[None]] | None = happening

    @asynccontextmanager
    async def reading(self):
        async with self._database.reading() as connection:
            yield connection
        if self._happening is not None:
            happening, self._happening = self._happening, None
            await happening()


def test_what_a_process_writes_while_it_reads_stays(
    database_url: str, runner: asyncio.Runner
) -> None:
    """A revoked key must not come back, not even for a moment."""

    async def story(writer: Gateway, follower: Gateway):
        _, key = await create_account(
            writer.database, writer.directory, username="jane", now=rows.NOW
        )

        async def revoke() -> None:
            await write(follower, accounts.remove_key, key.key.key_id)
            follower.directory.remove_key(key.key.key_id)

        await follower.following.catch_up()
        follower.following._database = Interrupted(follower.database, revoke)
        await follower.following.catch_up()
        return follower.directory.principal_of_key(key.secret)

    assert run(runner, database_url, story) is None


def test_a_late_put_does_not_cover_what_others_wrote(
    database_url: str, runner: asyncio.Runner
) -> None:
    """One gateway commits, another overwrites it, and only then the first one's put comes."""

    async def story(writer: Gateway, follower: Gateway):
        jane = rows.account("jane")
        hello = rows.algorithm(jane.account_id, summary="first")
        await write(writer, accounts.add_account, jane)
        await write(writer, algorithms.add_algorithm, hello)
        newer = replace(hello, summary="second")
        await write(writer, algorithms.update_algorithm, newer)
        await follower.following.catch_up()
        follower.directory.put_algorithm(hello)
        await follower.following.catch_up()
        return follower.directory.algorithm_by_id(hello.algorithm_id).summary

    assert run(runner, database_url, story) == "second"


def test_gateways_that_write_at_once_end_up_with_the_same(
    database_url: str, runner: asyncio.Runner
) -> None:
    async def busy(gateway: Gateway, seed: int, algorithm_ids: list[str]):
        chance = random.Random(seed)
        database, directory = gateway.database, gateway.directory
        for number in range(25):
            owner, key = await create_account(
                database, directory, username=f"user{seed}x{number}", now=rows.NOW
            )
            if chance.random() < 0.4:
                await write(gateway, accounts.remove_key, key.key.key_id)
                directory.remove_key(key.key.key_id)
            hello = rows.algorithm(owner.account_id)
            await write(gateway, algorithms.add_algorithm, hello)
            directory.put_algorithm(hello)
            algorithm_ids.append(hello.algorithm_id)
            known = directory.algorithm_by_id(chance.choice(algorithm_ids))
            if known is not None:  # maybe another gateway's
                changed = replace(known, summary=f"by {seed}, {number}")
                await write(gateway, algorithms.update_algorithm, changed)
                directory.put_algorithm(changed)

    async def story(one: Gateway, other: Gateway):
        shared: list[str] = []
        for gateway in (one, other):
            gateway.following.start(every_s=0.003)
        await asyncio.gather(busy(one, 1, shared), busy(other, 2, shared))
        for gateway in (one, other):
            await gateway.following.stop()
            await gateway.following.catch_up()
        fresh = await Gateway.load(one.database)
        assert contents(one.directory) == contents(fresh.directory)
        assert contents(other.directory) == contents(fresh.directory)
        return len(fresh.directory.accounts())

    assert run(runner, database_url, story) == 50


def test_whoever_waits_for_a_look_that_begins_later_shares_it(
    database_url: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    after = changes.after

    async def counted(*arguments, **options):
        nonlocal looks
        looks += 1
        return await after(*arguments, **options)

    async def story(writer: Gateway, follower: Gateway):
        monkeypatch.setattr(changes, "after", counted)
        first = asyncio.ensure_future(follower.following.catch_up())
        while not looks:
            await asyncio.sleep(0)
        _, key = await create_account(
            writer.database, writer.directory, username="jane", now=rows.NOW
        )
        crowd = (follower.following.catch_up() for _ in range(50))
        await asyncio.gather(first, *crowd)
        return follower.directory.principal_of_key(key.secret) is not None

    assert run(runner, database_url, story)
    assert looks <= 3, "the first, and for the crowd the one under way and the next"
