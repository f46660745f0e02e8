"""Connectors in the database."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import rows

from algorium_server.domain.connectors import (
    ConnectorOptions,
    StorageProtocol,
    StoredConnector,
)
from algorium_server.domain.errors import AlreadyExists, NotFound
from algorium_server.store import accounts
from algorium_server.store import connectors as store

JANE, BOB = rows.account("jane"), rows.account("bob")


def connector(label: str, **fields) -> StoredConnector:
    values = {
        "connector_id": str(uuid4()),
        "owner_id": JANE.account_id,
        "protocol": StorageProtocol.S3,
        "label": label,
        "options": ConnectorOptions(endpoint="https://s3.example.com", kms_key_id="k"),
        "path": "bucket/ü*",
        "sealed": b"\x00\xff sealed",
        "revision": str(uuid4()),
        "created_at": datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
    }
    return StoredConnector(**(values | fields))


@pytest.fixture
def run(database, runner):
    async def fill():
        async with database.transaction() as connection:
            for account in (JANE, BOB):
                await accounts.add_account(connection, account)

    def in_transaction(work):
        async def within():
            async with database.transaction() as connection:
                return await work(connection)

        return runner.run(within())

    runner.run(fill())
    return in_transaction


def named(label, *, owner=JANE, protocol=StorageProtocol.S3):
    return lambda c: store.connector_named(
        c, owner_id=owner.account_id, protocol=protocol, label=label
    )


def test_a_connector_comes_back_as_it_was(run):
    stored = connector("x", is_default=True, is_writeable=True)
    run(lambda c: store.add_connector(c, stored))

    assert run(named("x")) == stored
    assert run(named("")) == stored
    found = run(
        lambda c: store.connector(c, owner_id=JANE.account_id, connector_id=stored.connector_id)
    )
    assert found == stored


@pytest.mark.parametrize(
    "work",
    [
        named("X"),
        named(""),
        named("x", owner=BOB),
        named("x", protocol=StorageProtocol.GS),
        lambda c: store.connector(c, owner_id=JANE.account_id, connector_id=str(uuid4())),
    ],
)
def test_what_is_not_there_is_not_found(run, work):
    run(lambda c: store.add_connector(c, connector("x")))

    with pytest.raises(NotFound, match="connector not found"):
        run(work)


@pytest.mark.parametrize("connector_id", ["", "\0", "a\0b", "x" * 5000, "é"])
def test_an_id_that_cannot_be_is_not_found(run, connector_id):
    with pytest.raises(NotFound):
        run(lambda c: store.connector(c, owner_id=JANE.account_id, connector_id=connector_id))


def test_nobody_finds_the_connector_of_another_by_its_id(run):
    stored = connector("x")
    run(lambda c: store.add_connector(c, stored))

    with pytest.raises(NotFound):
        run(lambda c: store.connector(c, owner_id=BOB.account_id, connector_id=stored.connector_id))


def test_labels_are_unique_for_each_owner_and_protocol(run):
    run(lambda c: store.add_connector(c, connector("x")))
    for other in (
        connector("x", owner_id=BOB.account_id),
        connector("x", protocol=StorageProtocol.DROPBOX),
        connector("X"),
    ):
        run(lambda c, other=other: store.add_connector(c, other))

    with pytest.raises(AlreadyExists):
        run(lambda c: store.add_connector(c, connector("x")))
    assert run(lambda c: store.count_connectors(c, JANE.account_id)) == 3


def test_a_new_default_takes_the_place_of_the_old_one(run):
    run(lambda c: store.add_connector(c, connector("a", is_default=True)))
    elsewhere = connector("e", is_default=True, protocol=StorageProtocol.GS)
    run(lambda c: store.add_connector(c, elsewhere))
    run(lambda c: store.add_connector(c, connector("b", is_default=True)))

    assert run(named("")).label == "b"
    assert not run(named("a")).is_default
    assert run(named("", protocol=StorageProtocol.GS)) == elsewhere


def test_a_default_that_could_not_be_created_changes_nothing(run):
    run(lambda c: store.add_connector(c, connector("a", is_default=True)))
    run(lambda c: store.add_connector(c, connector("b")))

    with pytest.raises(AlreadyExists):
        run(lambda c: store.add_connector(c, connector("b", is_default=True)))
    assert run(named("")).label == "a"


def test_two_that_want_to_be_the_default_at_once_both_get_in(run, database, runner):
    async def add(made):
        async with database.transaction() as connection:
            await store.add_connector(connection, made)
            await asyncio.sleep(0)

    async def add_all():
        await asyncio.gather(
            *(add(connector(f"label{number}", is_default=True)) for number in range(8))
        )

    runner.run(add_all())

    found = run(lambda c: store.connectors_of(c, JANE.account_id, limit=10))
    assert len(found) == 8
    assert sum(each.is_default for each in found) == 1


def test_a_change_counts_only_on_what_it_was_made_of(run):
    old = connector("a")
    run(lambda c: store.add_connector(c, old))
    new = replace(old, label="b", is_default=True, revision=str(uuid4()))

    assert run(lambda c: store.change_connector(c, new, revision=old.revision))
    assert run(named("b")) == new
    assert not run(lambda c: store.change_connector(c, old, revision=old.revision))
    assert run(named("b")) == new


def test_a_change_made_of_a_former_default_does_not_make_it_the_default_again(run):
    old, new = connector("old", is_default=True), connector("new", is_default=True)
    run(lambda c: store.add_connector(c, old))
    run(lambda c: store.add_connector(c, new))

    changed = replace(old, path="other/*", revision=str(uuid4()))
    assert not run(lambda c: store.change_connector(c, changed, revision=old.revision))
    found = run(lambda c: store.connectors_of(c, JANE.account_id, limit=10))
    assert [each.label for each in found if each.is_default] == ["new"]


def test_a_change_that_comes_too_late_leaves_the_default(run):
    late = connector("late")
    run(lambda c: store.add_connector(c, late))
    run(lambda c: store.add_connector(c, connector("default", is_default=True)))
    run(lambda c: store.remove_connector(c, late.connector_id))

    changed = replace(late, is_default=True, revision=str(uuid4()))
    assert not run(lambda c: store.change_connector(c, changed, revision=late.revision))
    assert run(named("")).label == "default"


def test_a_change_to_a_label_that_is_taken_is_refused(run):
    for label in ("a", "b"):
        run(lambda c, label=label: store.add_connector(c, connector(label)))
    old = run(named("a"))
    new = replace(old, label="b", revision=str(uuid4()))

    with pytest.raises(AlreadyExists):
        run(lambda c: store.change_connector(c, new, revision=old.revision))
    assert run(named("a")) == old


def test_lists_are_in_order_and_go_on_where_they_ended(run):
    for label in ("b", "a", "B"):
        run(lambda c, label=label: store.add_connector(c, connector(label)))
    other = connector("z", protocol=StorageProtocol.DROPBOX)
    run(lambda c: store.add_connector(c, other))
    run(lambda c: store.add_connector(c, connector("q", owner_id=BOB.account_id)))

    def page(after):
        found = run(lambda c: store.connectors_of(c, JANE.account_id, limit=2, after=after))
        return [(each.protocol.value, each.label) for each in found]

    assert page(None) == [("dropbox", "z"), ("s3", "B")]
    assert page(("s3", "B")) == [("s3", "a"), ("s3", "b")]
    assert page(("s3", "b")) == []


def test_a_removed_connector_is_gone(run):
    stored = connector("a")
    run(lambda c: store.add_connector(c, stored))

    assert run(lambda c: store.remove_connector(c, stored.connector_id))
    assert not run(lambda c: store.remove_connector(c, stored.connector_id))
    assert run(lambda c: store.count_connectors(c, JANE.account_id)) == 0
