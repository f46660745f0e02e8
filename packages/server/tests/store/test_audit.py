"""The audit log on both databases: written with the change, in order, and not changed again."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import rows as made_rows
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from algorium_server.domain.audit import AuditAction, AuditEntry, AuditFilter, Outcome
from algorium_server.domain.audit_chain import ChainKeys
from algorium_server.services.people.audit_log import EVERYTHING, batches, examine
from algorium_server.store import accounts
from algorium_server.store import audit as rows
from algorium_server.store.database import Database

KEYS = ChainKeys({"one": b"1" * 32}, current="one")
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def entry(target="user:jane", **values):
    wanted = {"at": NOW, "action": AuditAction.USER_CHANGED.value, **values}
    return AuditEntry(target=target, **wanted)


async def written(url: str, *entries: AuditEntry) -> Database:
    database = await Database.open(url, chain_keys=KEYS)
    for each in entries:
        async with database.transaction() as connection:
            rows.leave(connection, each)
    return database


async def found(database: Database, wanted=EVERYTHING, *, before=None, limit=100):
    async with database.reading() as connection:
        return await rows.page(connection, wanted, before=before, limit=limit)


def test_entries_come_with_the_change_they_tell_of(database_url: str, runner: asyncio.Runner):
    async def scenario():
        database = await written(database_url)
        async with database.transaction() as connection:
            await accounts.add_account(connection, made_rows.account("jane"))
            rows.leave(connection, entry("first"))
            rows.leave(connection, entry("second"))
        with pytest.raises(ZeroDivisionError):
            await fail_after_entry(database)

        async def work(connection):
            rows.leave(connection, entry("third"))

        await database.write(work)
        async with database:
            return await found(database), await examine(database, KEYS, {})

    entries, verdict = runner.run(scenario())

    assert [(each.number, each.entry.target) for each in entries] == [
        (3, "third"),
        (2, "second"),
        (1, "first"),
    ]
    assert verdict.broken is None
    assert verdict.entries == 3


def test_all_of_an_entry_comes_back(database_url: str, runner: asyncio.Runner):
    whole = entry(
        "data://jane/ü",
        at=NOW + timedelta(microseconds=7),
        actor_id="a",
        actor="jane",
        behalf_id="b",
        behalf="joe",
        key_id="k",
        algorithm_id="g",
        account_id="c",
        outcome=Outcome.DENIED,
        request_id="req-1",
        address="2001:db8::/64",
        detail={"b": "é", "a": ""},
    )

    async def scenario():
        async with await written(database_url, whole) as database:
            return await found(database)

    (back,) = runner.run(scenario())

    assert back.entry == whole


def test_writers_of_several_gateways_make_one_chain(database_url: str, runner: asyncio.Runner):
    async def write(database: Database, name: str):
        for number in range(12):
            async with database.transaction() as connection:
                rows.leave(connection, entry(f"{name} {number}"))
                await asyncio.sleep(0)
                rows.leave(connection, entry(f"{name} {number} again"))

    async def scenario():
        async with (
            await Database.open(database_url, is_shared=True, chain_keys=KEYS) as one,
            await Database.open(database_url, is_shared=True, chain_keys=KEYS) as other,
        ):
            writers = [(each, f"{n}") for n, each in enumerate([one, one, other, other])]
            await asyncio.gather(*(write(*each) for each in writers))
            return await examine(one, KEYS, {}), await found(other)

    verdict, entries = runner.run(scenario())

    assert verdict.broken is None
    assert verdict.entries == len(entries) == 96
    # What one transaction left stands together.
    assert all(
        after.entry.target == f"{before.entry.target} again"
        for after, before in zip(entries[::2], entries[1::2], strict=True)
    )


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_entries SET actor = 'joe'", "DELETE FROM audit_entries"],
    ids=["update", "delete"],
)
def test_the_database_refuses_to_change_entries(
    database_url: str, runner: asyncio.Runner, statement: str
):
    async def scenario():
        async with await written(database_url, entry()) as database:
            with pytest.raises(DBAPIError, match="append-only"):
                async with database.transaction() as connection:
                    await connection.execute(text(statement))
            return await examine(database, KEYS, {})

    assert runner.run(scenario()).broken is None


TAMPERING = {
    "an actor": ("UPDATE audit_entries SET actor = 'joe' WHERE number = 2", 2),
    "a time": ("UPDATE audit_entries SET at = '2020-01-01 00:00:00.000000' WHERE number = 1", 1),
    "a removal": ("DELETE FROM audit_entries WHERE number = 2", 2),
    "the first one": ("DELETE FROM audit_entries WHERE number = 1", 1),
    "the end": ("DELETE FROM audit_entries WHERE number = 3", 3),
    "everything": ("DELETE FROM audit_entries", 1),
    "the head": ("DELETE FROM audit_head", 4),
    "the head's number": ("UPDATE audit_head SET number = 2", 3),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_found(database_url: str, runner: asyncio.Runner, what: str):
    statement, first = TAMPERING[what]

    async def scenario():
        async with await written(database_url, entry("1"), entry("2"), entry("3")) as database:
            async with database.transaction() as connection:
                await unlock(connection)
                await connection.execute(text(statement))
            found = await examine(database, KEYS, {})
            if what == "the head":  # work goes on, and does not mend it
                async with database.transaction() as connection:
                    rows.leave(connection, entry("4"))
                assert (await examine(database, KEYS, {})).broken is not None
            return found

    broken = runner.run(scenario()).broken
    assert broken is not None
    assert broken.number == first


def test_the_end_with_its_head_is_found_missing(database_url: str, runner: asyncio.Runner):
    """The newest entry goes, and the head is moved back to the one before."""

    async def scenario():
        async with await written(database_url, entry("1"), entry("2"), entry("3")) as database:
            async with database.transaction() as connection:
                await unlock(connection)
                await connection.execute(text("DELETE FROM audit_entries WHERE number = 3"))
                digest = await connection.scalar(
                    text("SELECT digest FROM audit_entries WHERE number = 2")
                )
                await connection.execute(
                    text("UPDATE audit_head SET number = 2, digest = :digest"), {"digest": digest}
                )
            verdict = await examine(database, KEYS, {})
            async with database.transaction() as connection:
                rows.leave(connection, entry("4"))
            return verdict, await examine(database, KEYS, {})

    verdict, later = runner.run(scenario())

    assert verdict.broken is not None
    assert verdict.broken.number == 3
    assert later.broken is not None  # what is written afterwards does not hide it


def test_entries_are_found_by_what_is_said_of_them(database_url: str, runner: asyncio.Runner):
    entries = [
        entry("user:jane", actor="Jane", actor_id="id-jane", account_id="id-jane"),
        entry("key:jane/1", action="key.created", actor="Jane", account_id="id-jane"),
        entry("key:lab/2", action="key.deleted", actor="joe", account_id="id-lab"),
        entry("keyhole", action="keyhole.seen", outcome=Outcome.DENIED),
        entry("algorithm:jane/A", actor="root", behalf_id="id-jane", at=NOW + timedelta(days=1)),
    ]
    wanted = {
        "actor": AuditFilter(actor="JANE"),
        "actor's id": AuditFilter(actor="id-jane"),
        "action": AuditFilter(action="key."),
        "target": AuditFilter(target="keyhole"),
        "outcome": AuditFilter(outcome=Outcome.DENIED),
        "since": AuditFilter(since=NOW + timedelta(hours=1)),
        "until": AuditFilter(until=NOW + timedelta(hours=1)),
        "account": AuditFilter(account_id="id-lab"),
        "person": AuditFilter(person_id="id-jane"),
        "all at once": AuditFilter(actor="jane", action="key", target="key:jane/1"),
        "strange": AuditFilter(actor="\0"),
        "stranger": AuditFilter(action="key\ud800"),
    }

    async def scenario():
        async with await written(database_url, *entries) as database:
            return {
                name: [each.number for each in await found(database, each_wanted)]
                for name, each_wanted in wanted.items()
            }

    assert runner.run(scenario()) == {
        "actor": [2, 1],
        "actor's id": [1],
        "action": [3, 2],
        "target": [4],
        "outcome": [4],
        "since": [5],
        "until": [4, 3, 2, 1],
        "account": [3],
        "person": [5, 2, 1],
        "all at once": [2],
        "strange": [],
        "stranger": [],
    }


def test_pages_and_batches_go_through_all_of_it(
    database_url: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("algorium_server.services.people.audit_log.AUDIT_BATCH_MAX", 2)

    async def scenario():
        entries = [entry(str(number)) for number in range(5)]
        async with await written(database_url, *entries) as database:
            first = await found(database, limit=3)
            rest = await found(database, before=first[-1].number, limit=3)
            every = [each.number async for batch in batches(database) for each in batch]
            return (
                [each.number for each in (*first, *rest)],
                every,
                await examine(database, KEYS, {5: (await found(database, limit=1))[0].digest}),
            )

    paged, every, verdict = runner.run(scenario())

    assert paged == [5, 4, 3, 2, 1]
    assert every == [1, 2, 3, 4, 5]
    assert verdict.broken is None
    assert (verdict.entries, verdict.checkpoints) == (5, 1)


def test_addresses_of_a_key_are_few_and_the_newest(database_url: str, runner: asyncio.Runner):
    async def scenario():
        database = await written(database_url)
        async with database:
            jane = made_rows.account("jane")
            key = made_rows.key(jane.account_id)
            async with database.transaction() as connection:
                await accounts.add_account(connection, jane)
                await accounts.add_key(connection, key, digest="d" * 64)
                new = [
                    await rows.note_address(
                        connection,
                        key.key_id,
                        address,
                        now=NOW + timedelta(seconds=number),
                        keep=2,
                    )
                    for number, address in enumerate(["a", "b", "a", "c", "b"])
                ]
            async with database.reading() as connection:
                return new, await rows.addresses_of(connection, key.key_id)

    new, left = runner.run(scenario())

    assert new == [True, True, False, True, True]  # b was forgotten for c, and then c's turn came
    assert left == ["b", "c"]


async def fail_after_entry(database: Database) -> None:
    async with database.transaction() as connection:
        rows.leave(connection, entry("never"))
        raise ZeroDivisionError


async def unlock(connection) -> None:
    """Do what somebody does first who has the database and wants to change the log."""
    if connection.dialect.name == "sqlite":
        for event in ("update", "delete"):
            await connection.execute(text(f"DROP TRIGGER audit_entries_no_{event}"))
    else:
        await connection.execute(text("DROP TRIGGER audit_entries_append_only ON audit_entries"))
