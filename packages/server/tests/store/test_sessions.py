"""Sessions on both databases: kept, used, ended, and told to others."""

import asyncio
from datetime import timedelta

import pytest
import rows

from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.limits import SESSION_USE_WRITE_S
from algorium_server.domain.sessions import SignInMethod, new_session
from algorium_server.services.directory import Directory
from algorium_server.services.following import Following
from algorium_server.store import accounts, changes, sessions
from algorium_server.store.database import Database

JANE, JOE = rows.account("jane"), rows.account("joe")
LATER = rows.NOW + timedelta(seconds=SESSION_USE_WRITE_S)


def session(account=JANE, *, now=rows.NOW):
    return new_session(
        session_id=rows.new_id(),
        account_id=account.account_id,
        method=SignInMethod.PASSWORD,
        now=now,
        address="127.0.0.1",
        user_agent="Mozilla\x00/5.0 \ud800",
    )


async def add(database: Database, *made) -> None:
    async with database.transaction() as connection:
        for number, each in enumerate(made):
            await sessions.add_session(connection, each, digest=f"{number:064d}")


@pytest.fixture
def filled(database: Database, runner: asyncio.Runner) -> Database:
    async def fill():
        async with database.transaction() as connection:
            for account in (JANE, JOE):
                await accounts.add_account(connection, account)

    runner.run(fill())
    return database


def test_sessions_are_kept_as_they_are(filled: Database, runner: asyncio.Runner):
    first, second = session(), session(JOE, now=LATER)

    async def scenario():
        await add(filled, first, second)
        async with filled.reading() as connection:
            return (
                await sessions.sessions(connection),
                await sessions.sessions(connection, account_id=JOE.account_id),
                await sessions.sessions(connection, ids=[first.session_id]),
            )

    everything, joes, one = runner.run(scenario())

    assert everything == [(first, "0" * 64), (second, f"{1:064d}")]
    assert joes == everything[1:]
    assert one == everything[:1]
    assert first.user_agent == "Mozilla/5.0 "


def test_the_latest_use_is_noted_and_an_earlier_one_is_not(
    filled: Database, runner: asyncio.Runner
):
    made = session()

    async def scenario():
        await add(filled, made)
        async with filled.transaction() as connection:
            await sessions.note_uses(connection, {made.session_id: LATER, rows.new_id(): LATER})
            await sessions.note_uses(connection, {made.session_id: rows.NOW})
        async with filled.reading() as connection:
            return (await sessions.sessions(connection))[0][0]

    assert runner.run(scenario()).used_at == LATER


def test_what_has_ended_is_removed_and_nothing_else(filled: Database, runner: asyncio.Runner):
    old, idle, fresh = session(), session(), session(now=LATER)

    async def scenario():
        await add(filled, old, idle, fresh)
        async with filled.transaction() as connection:
            await sessions.note_uses(connection, {old.session_id: LATER})
            by_age = await sessions.remove_ended(
                connection, expired_before=rows.NOW, idle_since=LATER - timedelta(seconds=1)
            )
            by_end = await sessions.remove_ended(
                connection,
                expired_before=old.expires_at + timedelta(seconds=1),
                idle_since=rows.NOW,
            )
            return by_age, by_end, await sessions.sessions(connection)

    by_age, by_end, left = runner.run(scenario())

    assert by_age == [idle.session_id]
    assert by_end == [old.session_id]
    assert [each for each, _ in left] == [fresh]


def test_all_of_an_account_end_and_every_end_is_told(filled: Database, runner: asyncio.Runner):
    made = [session(), session(), session(JOE)]

    async def scenario():
        await add(filled, *made)
        other = Directory(filled, clock=lambda: rows.NOW)
        following = Following(filled, other, position=await other.load())
        before = len(other.sessions)
        async with filled.transaction() as connection:
            ended = await sessions.remove_sessions_of(connection, JANE.account_id)
        await following.catch_up()
        async with filled.reading() as connection:
            told = await changes.after(connection, 0, limit=100)
        return before, ended, len(other.sessions), told

    before, ended, after, told = runner.run(scenario())

    assert (before, after) == (3, 1)
    assert ended == sorted(each.session_id for each in made[:2])
    noted = {change.subject for change in told if change.kind is ChangeKind.SESSION}
    assert set(ended) <= noted


def test_sessions_go_with_their_account(filled: Database, runner: asyncio.Runner):
    async def scenario():
        await add(filled, session(), session(JOE))
        async with filled.transaction() as connection:
            await sessions.take_groups(connection, JANE.account_id, issued_at=rows.NOW)
            await accounts.delete_account(connection, JANE.account_id)
            return await sessions.sessions(connection)

    assert [each.account_id for each, _ in runner.run(scenario())] == [JOE.account_id]


def test_of_several_tokens_the_newest_decides(filled: Database, runner: asyncio.Runner):
    async def scenario():
        async with filled.transaction() as connection:
            return [
                await sessions.take_groups(connection, JANE.account_id, issued_at=at)
                for at in (rows.NOW, LATER, rows.NOW, LATER)
            ]

    assert runner.run(scenario()) == [True, True, False, True]
