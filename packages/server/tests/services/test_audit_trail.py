"""What is recorded without a transaction of its own: bounded, and never in anybody's way."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import rows as made_rows

from algorium_server.domain.audit_chain import ChainKeys, checkpoint_seal
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import (
    AUDIT_DENIED_PENDING_MAX,
    AUDIT_DENIED_PER_MINUTE_MAX,
    KEY_ADDRESS_FORGOTTEN_S,
)
from algorium_server.origin import NOWHERE, Origin
from algorium_server.services import audit_checkpoints
from algorium_server.services.audit_checkpoints import (
    Checkpoints,
    checkpoint_file,
    read_checkpoints,
)
from algorium_server.services.audit_trail import AuditTrail, Sightings, place_of
from algorium_server.services.directory import Directory
from algorium_server.services.people.accounts import create_account
from algorium_server.services.people.audit_log import EVERYTHING, examine
from algorium_server.store import audit
from algorium_server.store.database import Database, sqlite_url

KEYS = ChainKeys({"one": b"1" * 32}, current="one")


class World:
    """A database with jane, and a trail whose clock tests advance."""

    def __init__(self, database: Database, directory: Directory, jane: Principal) -> None:
        self.database = database
        self.directory = directory
        self.jane = jane
        self.seconds = 0.0
        self.sightings = Sightings()
        self.trail = AuditTrail(database, directory, self.sightings, now=lambda: self.seconds)

    def refuse(self, times: int, who: Principal | None = None) -> None:
        for number in range(times):
            here = Origin("192.0.2.1", request_id=f"req-{number}")
            here.principal = who or self.jane
            self.trail.denied(here, "DELETE /v1/users/joe", "Not yours")

    async def written(self, action: str) -> list:
        await self.trail.flush()
        async with self.database.reading() as connection:
            found = await audit.page(connection, EVERYTHING, before=None, limit=5000)
        return [each.entry for each in reversed(found) if each.entry.action.startswith(action)]


@pytest.fixture
def world(sqlite_file: Path, runner: asyncio.Runner):
    async def make():
        database = await Database.open(sqlite_url(sqlite_file), chain_keys=KEYS)
        directory = Directory(database)
        await directory.load()
        _, key = await create_account(database, directory, username="jane", now=made_rows.NOW)
        jane = directory.principal_of_key(key.secret)
        return World(database, directory, jane)

    made = runner.run(make())
    yield made
    runner.run(made.database.close())


def test_refusals_of_one_account_are_bounded_and_counted(world: World, runner: asyncio.Runner):
    async def scenario():
        world.refuse(AUDIT_DENIED_PER_MINUTE_MAX + 30)
        first = await world.written("request.")
        world.seconds += 61
        world.refuse(1)
        return first, await world.written("request.")

    first, later = runner.run(scenario())

    assert len(first) == AUDIT_DENIED_PER_MINUTE_MAX
    assert {(e.actor, e.address, e.outcome, e.target) for e in first} == {
        ("jane", "192.0.2.1", "denied", "DELETE /v1/users/joe")
    }
    assert first[3].request_id == "req-3"
    counted, one = later[len(first) :]
    assert counted.detail == {"unrecorded": "30"}
    assert one.target == "DELETE /v1/users/joe"


def test_what_was_left_out_is_told_when_nothing_more_comes(world: World, runner: asyncio.Runner):
    async def scenario():
        world.refuse(AUDIT_DENIED_PER_MINUTE_MAX + 1)
        await world.written("request.")
        world.seconds += 61
        return await world.written("request.")

    assert runner.run(scenario())[-1].detail == {"unrecorded": "1"}


def test_refusals_from_everywhere_do_not_pile_up(world: World, runner: asyncio.Runner):
    async def scenario():
        for number in range(AUDIT_DENIED_PENDING_MAX + 50):
            world.trail.sign_in_denied("nobody", f"2001:db8::{number:x}")
        return await world.written("")

    entries = runner.run(scenario())
    denied = [each for each in entries if each.action == "session.denied"]
    assert len(denied) == AUDIT_DENIED_PENDING_MAX
    assert entries[-1].detail == {"unrecorded": "50"}


def test_strangers_and_the_server_itself_are_not_refused(world: World, runner: asyncio.Runner):
    async def scenario():
        world.trail.denied(Origin("192.0.2.1"), "GET /", "no")
        world.trail.denied(NOWHERE, "GET /", "no")
        return await world.written("request.")

    assert runner.run(scenario()) == []


def test_refusals_wait_for_a_database_that_cannot_write(
    world: World, runner: asyncio.Runner, sqlite_file: Path
):
    async def scenario():
        world.refuse(2)
        with closing(sqlite3.connect(sqlite_file)) as other:
            other.execute("ALTER TABLE audit_head RENAME TO elsewhere")
            await world.trail.close()
            other.execute("ALTER TABLE elsewhere RENAME TO audit_head")
        return await world.written("request.")

    assert len(runner.run(scenario())) == 2


def test_a_key_is_told_of_once_for_each_network(world: World, runner: asyncio.Runner):
    async def scenario():
        for address in ("192.0.2.1", "192.0.2.1", "2001:db8:1:2::1", "2001:db8:1:2:3::4"):
            world.sightings.see(world.jane, address)
        once = await world.written("key.used")
        world.sightings.see(world.jane, "192.0.2.1")
        world.seconds += KEY_ADDRESS_FORGOTTEN_S + 1
        world.sightings.see(world.jane, "192.0.2.1")
        return once, await world.written("key.used")

    once, later = runner.run(scenario())

    assert [each.detail["address"] for each in once] == ["192.0.2.1", "2001:db8:1:2::/64"]
    assert [each.detail["known"] for each in once] == ["0", "1"]
    assert later == once


def test_a_key_that_is_gone_is_not_told_of(world: World, runner: asyncio.Runner):
    async def scenario():
        world.sightings.see(world.jane, "192.0.2.1")
        world.directory.remove_key(world.jane.key.key_id)
        return await world.written("key.used")

    assert runner.run(scenario()) == []


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("somewhere", "somewhere"),
    ],
)
def test_the_place_of_an_address(address: str, place: str):
    assert place_of(address) == place


def test_checkpoints_go_on_behind_half_a_line(world: World, runner: asyncio.Runner, tmp_path: Path):
    async def scenario():
        await Checkpoints(world.database, KEYS, tmp_path).make()
        with checkpoint_file(tmp_path).open("a") as file:
            file.write('{"at": "20')
        world.refuse(1)
        await world.trail.flush()
        again = Checkpoints(world.database, KEYS, tmp_path)
        await again.make()
        await again.make()  # nothing new
        known = read_checkpoints(tmp_path, KEYS)
        return known, await examine(world.database, KEYS, known)

    known, verdict = runner.run(scenario())

    assert sorted(known) == [1, 2]
    assert (verdict.broken, verdict.checkpoints) == (None, 2)
    assert len(checkpoint_file(tmp_path).read_text().splitlines()) == 3


def test_checkpoints_of_others_are_not_believed(
    world: World, runner: asyncio.Runner, tmp_path: Path
):
    async def scenario():
        await Checkpoints(world.database, KEYS, tmp_path).make()

    runner.run(scenario())
    line = json.loads(checkpoint_file(tmp_path).read_text())
    checkpoint_file(tmp_path).write_text(json.dumps(line | {"number": 99}) + "\n")

    assert read_checkpoints(tmp_path, KEYS) == {}
    assert read_checkpoints(tmp_path / "nowhere", KEYS) == {}


def test_a_later_checkpoint_does_not_hide_that_an_older_copy_was_put_back(
    world: World, runner: asyncio.Runner, tmp_path: Path
):
    async def scenario():
        await Checkpoints(world.database, KEYS, tmp_path).make()
        async with world.database.reading() as connection:
            head = await audit.newest(connection)
        path = checkpoint_file(tmp_path)
        made = path.read_text()
        # What was there before the copy was put back had the same number, and another digest.
        before = json.loads(made) | {
            "digest": b"x".hex() * 32,
            "seal": checkpoint_seal(head.number, b"x" * 32, KEYS),
        }
        path.write_text(json.dumps(before) + "\n" + made)
        return head, await examine(world.database, KEYS, read_checkpoints(tmp_path, KEYS))

    head, verdict = runner.run(scenario())

    assert verdict.broken is not None
    assert verdict.broken.number == head.number


def test_a_long_file_of_checkpoints_begins_anew(
    world: World, runner: asyncio.Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(audit_checkpoints, "AUDIT_CHECKPOINT_FILE_BYTES_MAX", 10)

    async def scenario():
        checkpoints = Checkpoints(world.database, KEYS, tmp_path)
        await checkpoints.make()
        world.refuse(1)
        await world.trail.flush()
        await checkpoints.make()

    runner.run(scenario())

    assert sorted(read_checkpoints(tmp_path, KEYS)) == [2]
