"""Accounts, memberships and keys on both databases."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
import rows

from algorium_server.domain.errors import AlreadyExists, Unavailable
from algorium_server.domain.identity import (
    DEFAULT_KEY_PERMISSIONS,
    AccountKind,
    KeyKind,
    KeyPermissions,
    Role,
)
from algorium_server.store import accounts
from algorium_server.store.database import Database


def test_accounts_come_back_as_they_were_by_name(database: Database, runner: asyncio.Runner):
    jane = rows.account("Jane", email="j@x", fullname="Jané\0", is_admin=True)
    firm = rows.account("firm", kind=AccountKind.ORGANIZATION)
    z_last = rows.account("Z_last")

    async def scenario():
        async with database.transaction() as connection:
            for account in (jane, z_last, firm):
                await accounts.add_account(connection, account)
        async with database.reading() as connection:
            return await accounts.accounts(connection)

    assert runner.run(scenario()) == [firm, jane, z_last]


def test_account_names_are_unique_whatever_their_case(database: Database, runner: asyncio.Runner):
    async def scenario():
        async with database.transaction() as connection:
            await accounts.add_account(connection, rows.account("Jane"))
            with pytest.raises(AlreadyExists, match="JANE"):
                await accounts.add_account(connection, rows.account("JANE"))
            await accounts.add_account(connection, rows.account("joe"))
        async with database.reading() as connection:
            return [account.username for account in await accounts.accounts(connection)]

    assert runner.run(scenario()) == ["Jane", "joe"]


def test_times_keep_their_moment_and_come_back_as_utc(database: Database, runner: asyncio.Runner):
    moment = datetime(2026, 10, 25, 2, 30, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    account = replace(rows.account(), created_at=moment)

    async def scenario():
        async with database.transaction() as connection:
            await accounts.add_account(connection, account)
        async with database.reading() as connection:
            return (await accounts.accounts(connection))[0].created_at

    read = runner.run(scenario())

    assert read == moment
    assert read.tzinfo is UTC


def test_times_without_a_zone_are_refused(database: Database, runner: asyncio.Runner):
    account = replace(rows.account(), created_at=datetime(2026, 1, 1))

    async def scenario():
        async with database.transaction() as connection:
            await accounts.add_account(connection, account)

    with pytest.raises(Exception, match="without a time zone"):
        runner.run(scenario())


def test_keys_come_back_with_their_permissions(database: Database, runner: asyncio.Runner):
    jane = rows.account()
    first = rows.key(jane.account_id, permissions=DEFAULT_KEY_PERMISSIONS)
    second = rows.key(
        jane.account_id,
        label='"quoted"\0',
        kind=KeyKind.ADMIN,
        permissions=KeyPermissions(algo_acl=("algo://a/*", "algo://ü/ß"), referer_host="x.y"),
    )

    async def scenario():
        async with database.transaction() as connection:
            await accounts.add_account(connection, jane)
            await accounts.add_key(connection, first, digest="1" * 64)
            await accounts.add_key(connection, second, digest="2" * 64)
        async with database.reading() as connection:
            return await accounts.keys(connection)

    assert runner.run(scenario()) == [(first, "1" * 64), (second, "2" * 64)]


def test_a_key_needs_an_account(database: Database, runner: asyncio.Runner):
    async def scenario():
        async with database.transaction() as connection:
            await accounts.add_key(connection, rows.key(rows.new_id()), digest="1" * 64)

    with pytest.raises(Unavailable):
        runner.run(scenario())


def test_a_membership_is_set_and_changed(database: Database, runner: asyncio.Runner):
    jane, joe = rows.account("jane"), rows.account("joe")
    firm = rows.account("firm", kind=AccountKind.ORGANIZATION)

    async def set_role(user, role: Role) -> None:
        async with database.transaction() as connection:
            await accounts.set_membership(
                connection, organization_id=firm.account_id, user_id=user.account_id, role=role
            )

    async def scenario():
        async with database.transaction() as connection:
            for account in (jane, joe, firm):
                await accounts.add_account(connection, account)
        await set_role(joe, Role.MEMBER)
        await set_role(jane, Role.EXECUTOR)
        await set_role(jane, Role.OWNER)
        async with database.reading() as connection:
            return await accounts.memberships(connection)

    assert runner.run(scenario()) == [
        (firm.account_id, jane.account_id, Role.OWNER),
        (firm.account_id, joe.account_id, Role.MEMBER),
    ]
