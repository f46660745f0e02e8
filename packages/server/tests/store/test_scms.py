"""Source hosts, connections and links in the store; what one gateway writes reaches the others."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
import rows
from rows import NOW

from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.errors import ScmConflict, ScmInUse, ScmNotFound
from algorium_server.domain.jobs import JobState
from algorium_server.domain.scms import (
    LinkStatus,
    OAuthState,
    Provider,
    Scm,
    ScmConnection,
    ScmLink,
    ScmOrganization,
    ScmProfile,
    ScmUrls,
)
from algorium_server.services.directory import Directory
from algorium_server.services.following import Following
from algorium_server.services.source.scm_directory import ScmDirectory
from algorium_server.store import accounts, algorithms, jobs, scms
from algorium_server.store.database import Database

URLS = ScmUrls(web="https://x", api="https://x", ssh="ssh://git@x")
_numbers = count()


def scm(scm_id: str = "hub", **fields) -> Scm:
    created_at = NOW + timedelta(seconds=next(_numbers))
    return Scm(scm_id=scm_id, provider=Provider.GITHUB, urls=URLS, created_at=created_at, **fields)


def link(algorithm_id: str, **fields) -> ScmLink:
    defaults = {"owner": "o", "name": "n", "branch": "main", "created_at": NOW, "sealed": b"\0s"}
    return ScmLink(algorithm_id=algorithm_id, scm_id="hub", **(defaults | fields))


def test_hosts_come_and_go_and_one_is_the_default(database: Database, runner: asyncio.Runner):
    async def story():
        async with database.transaction() as c:
            await scms.add_scm(c, scm(sealed=b"\0secret", client_id="id"))
            await scms.add_scm(c, scm("lab"))
            with pytest.raises(ScmConflict):
                await scms.add_scm(c, scm())
        async with database.transaction() as c:
            for scm_id in ("hub", "lab"):
                await scms.set_default(c, scm_id)
            await scms.update_scm(c, replace(scm("hub"), is_enabled=False, name="N"))
            with pytest.raises(ScmNotFound):
                await scms.update_scm(c, scm("none"))
            assert await scms.scm(c, "no\0ne") is None
        async with database.reading() as c:
            hub, lab = await scms.scms(c)
        assert (hub.is_enabled, hub.is_default, lab.is_default) == (False, False, True)
        async with database.transaction() as c:
            await scms.set_default(c, "")
            await scms.remove_scm(c, "lab")
            assert [one.scm_id for one in await scms.scms(c)] == ["hub"]

    runner.run(story())


def test_a_host_that_is_used_stays(database: Database, runner: asyncio.Runner):
    async def story():
        jane = rows.account()
        hello = rows.algorithm(jane.account_id, scm_id="hub")
        async with database.transaction() as c:
            await accounts.add_account(c, jane)
            await scms.add_scm(c, scm())
            with pytest.raises(ScmNotFound):
                async with c.begin_nested():
                    await scms.add_link(c, replace(link("a"), scm_id="none"))
        async with database.transaction() as c:
            await scms.add_link(c, link("lonely", created_at=NOW - timedelta(hours=2)))
            await scms.add_link(c, link(hello.algorithm_id))
        with pytest.raises(ScmInUse):
            async with database.transaction() as c:
                await scms.remove_scm(c, "hub")
        async with database.transaction() as c:
            await algorithms.add_algorithm(c, hello)
            lonely = await scms.lonely_links(c, created_before=NOW)
            assert [one.algorithm_id for one in lonely] == ["lonely"]
            assert await scms.update_link(
                c, "lonely", status=LinkStatus.DEPLOY_KEY_ERROR, problem="P", head_sha="a" * 40
            )
            assert not await scms.update_link(c, "none", problem="P")
            changed = await scms.link(c, "lonely")
            assert changed is not None
            assert (changed.status, changed.problem) == (LinkStatus.DEPLOY_KEY_ERROR, "P")
            await scms.remove_link(c, "lonely")
            await scms.remove_link(c, hello.algorithm_id)
        with pytest.raises(ScmInUse):
            async with database.transaction() as c:
                await scms.remove_scm(c, "hub")

    runner.run(story())


def test_connections_are_replaced_only_if_they_are_what_they_were(
    database: Database, runner: asyncio.Runner
):
    async def story():
        jane = rows.account()
        profile = ScmProfile(username="j", organizations=(ScmOrganization(name="lab"),))
        made = ScmConnection(
            account_id=jane.account_id,
            scm_id="hub",
            profile=profile,
            sealed=b"\0\1",
            revision="1",
            created_at=NOW,
        )
        key = {"account_id": jane.account_id, "scm_id": "hub"}
        async with database.transaction() as c:
            await accounts.add_account(c, jane)
            await scms.add_scm(c, scm())
        async with database.transaction() as c:
            await scms.put_connection(c, replace(made, sealed=b"old"))
            await scms.put_connection(c, made)
            assert await scms.connection_of(c, **key) == made
            newer = replace(made, revision="2", sealed=b"new")
            assert await scms.replace_connection(c, newer, revision="1")
            assert not await scms.replace_connection(c, made, revision="1")
            assert await scms.connection_of(c, **key) == newer
            assert await scms.remove_connection(c, **key)
            assert not await scms.remove_connection(c, **key)
        with pytest.raises(ScmNotFound):
            async with database.transaction() as c:
                await scms.put_connection(c, replace(made, scm_id="none"))

    runner.run(story())


def test_a_state_is_used_once_and_few_are_kept(database: Database, runner: asyncio.Runner):
    async def story():
        jane = rows.account()
        async with database.transaction() as c:
            await accounts.add_account(c, jane)
            await scms.add_scm(c, scm())
            for number in range(5):
                begun = OAuthState(
                    digest=str(number),
                    scm_id="hub",
                    account_id=jane.account_id,
                    browser="b",
                    expires_at=NOW + timedelta(seconds=number),
                )
                await scms.add_state(c, begun, limit=3)
            assert [await scms.state(c, str(n)) is not None for n in range(5)] == [
                *(False, False),
                *(True, True, True),
            ]
            assert await scms.take_state(c, "4")
            assert not await scms.take_state(c, "4")
            later = NOW + timedelta(seconds=2.5)
            await scms.prune(c, received_before=NOW, expired_before=later)
            assert [await scms.state(c, n) is not None for n in ("2", "3")] == [False, True]

    runner.run(story())


def test_a_message_is_first_once_by_each_of_its_keys(database: Database, runner: asyncio.Runner):
    async def story():
        jane = rows.account()
        hello = rows.algorithm(jane.account_id)
        async with database.transaction() as c:
            await accounts.add_account(c, jane)
            await algorithms.add_algorithm(c, hello)

        async def is_first(*keys: str) -> bool:
            async with database.transaction() as c:
                return await scms.is_first_delivery(c, hello.algorithm_id, keys, now=NOW)

        assert await is_first("a", "1")
        assert not await is_first("a", "1")
        assert not await is_first("a", "2")
        assert not await is_first("b", "1")
        assert await is_first("c")
        async with database.transaction() as c:
            await scms.prune(c, received_before=NOW + timedelta(seconds=1), expired_before=NOW)
        assert await is_first("a", "1")

    runner.run(story())


def test_what_waits_is_hastened_and_what_runs_is_not(database: Database, runner: asyncio.Runner):
    async def story():
        jane = rows.account()
        waiting = rows.job(jane.account_id, queue="fetch 1", due_at=NOW + timedelta(hours=1))
        async with database.transaction() as c:
            await accounts.add_account(c, jane)
            await jobs.enqueue(c, waiting)
            assert await scms.hasten(c, "fetch 1", now=NOW)
            assert not await scms.hasten(c, "fetch 2", now=NOW)
            claimed = await jobs.claim(c, now=NOW, lease_s=9, worker="w")
            assert claimed is not None
            assert claimed.state is JobState.RUNNING
            assert not await scms.hasten(c, "fetch 1", now=NOW)

    runner.run(story())


def test_what_one_gateway_writes_the_others_know(database_url: str, runner: asyncio.Runner):
    async def story():
        async with (
            await Database.open(database_url) as one,
            await Database.open(database_url) as two,
        ):
            known = ScmDirectory(two)
            directory = Directory(two)
            following = Following(two, directory, position=await directory.load())
            await known.load()
            following.listen(ChangeKind.SCM, known.load)
            async with one.transaction() as c:
                await scms.add_scm(c, scm())
                await scms.set_default(c, "hub")
                await scms.add_link(c, link("a"))
            await following.catch_up()
            assert known.default_id == "hub"
            assert known.link("a") == link("a")
            async with one.transaction() as c:
                await scms.update_link(c, "a", branch="trunk")
            await following.catch_up()
            assert known.links()[0].branch == "trunk"
            async with one.transaction() as c:
                await scms.remove_link(c, "a")
                await scms.set_default(c, "")
                await scms.remove_scm(c, "hub")
            await following.catch_up()
            assert (known.scms(), known.links(), known.default_id) == ((), (), "internal")

    runner.run(story())
