"""Signing up with an invite, on both databases."""

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher

from algorium_server.domain.audit import AuditFilter
from algorium_server.domain.errors import (
    AlgoriumError,
    EmailTaken,
    InvalidInput,
    SignUpRefused,
    TooManyRequests,
    UsernameTaken,
)
from algorium_server.domain.installation import Invite
from algorium_server.domain.limits import PASSWORD_FAILURES_PER_ADDRESS_MAX, SIGN_UPS_WAITING_MAX
from algorium_server.services.directory import Directory
from algorium_server.services.people.administrators import Administrators
from algorium_server.services.people.guessing import Guessing, OwnGuesses
from algorium_server.services.people.installation import Installation
from algorium_server.services.people.passwords import Passwords
from algorium_server.services.people.signing_up import SignUp, SignUps
from algorium_server.services.people.users import Users
from algorium_server.store import audit, installation
from algorium_server.store.database import Database, sqlite_url

NOW = datetime(2026, 1, 2, tzinfo=UTC)
QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
HERE = "203.0.113.7"
MIA = SignUp(
    code="welcome-2026",
    username="mia",
    email="mia@example.com",
    password="correct horse battery",
    fullname="Mia",
)


class Door:
    """A server with some invites."""

    def __init__(self, database: Database, hasher: PasswordHasher = QUICK) -> None:
        self.database = database
        self.now = NOW
        self.directory = Directory(database)
        guessing = Guessing(OwnGuesses())
        self.passwords = Passwords(
            database, self.directory, guessing=guessing, hasher=hasher, now=lambda: 1.0
        )
        self.administrators = Administrators(self.directory)
        users = Users(database, self.directory, self.administrators, None)  # deletes nobody
        self.sign_ups = SignUps(
            database, users, self.passwords, guessing, clock=lambda: self.now, now=lambda: 1.0
        )

    async def open(self) -> None:
        async with self.database.transaction() as connection:
            for code, expires_at in (
                ("welcome-2026", NOW + timedelta(days=1)),
                ("for-ever-and-ever", None),
                ("short", None),
            ):
                invite = Invite(code=code, expires_at=expires_at, created_at=NOW, created_by="root")
                assert await installation.add_invite(connection, invite)

    async def refusal(self, wanted: SignUp, address: str = HERE) -> AlgoriumError:
        with pytest.raises(AlgoriumError) as refused:
            await self.sign_ups.sign_up(wanted, address=address)
        assert wanted.username is MIA.username or not self.directory.account_named(wanted.username)
        return refused.value


def test_whoever_knows_the_code_becomes_a_user(database, runner):
    async def story():
        door = Door(database)
        await door.open()
        user, key = await door.sign_ups.sign_up(MIA, address=HERE)
        with_password = await door.passwords.account("mia", MIA.password, address=HERE)
        again = Directory(database)
        await again.load()
        async with database.reading() as connection:
            entries = await audit.page(connection, AuditFilter(), before=None, limit=5)
        taken = [
            await door.refusal(replace(MIA, email="other@example.com")),
            await door.refusal(replace(MIA, username="ida")),
        ]
        await door.sign_ups.sign_up(
            replace(MIA, username="ida", email="ida@example.com"), address=HERE
        )
        return user, with_password, again.principal_of_key(key.secret), entries, taken

    user, with_password, by_key, entries, taken = runner.run(story())

    assert (user.account.username, user.account.fullname) == ("mia", "Mia")
    assert (user.account.is_admin, user.account.is_viewer) == (False, False)
    assert with_password == by_key.account == user.account
    assert [type(error) for error in taken] == [UsernameTaken, EmailTaken]
    (entry,) = [each.entry for each in entries]
    assert (entry.actor, entry.target) == ("mia", "user:mia")
    assert entry.detail == {"by": "invite", "invite": "we…"}


def test_a_code_that_is_none_signs_nobody_up(database, runner):
    async def story():
        door = Door(database)
        await door.open()
        wrong = [
            await door.refusal(replace(MIA, code=code))
            for code in (
                "",
                "unknown-code",
                "WELCOME-2026",
                "short",
                "welcome-2026 ",
                "\0",
                "\ud800",
            )
        ]
        door.now += timedelta(days=1)
        wrong.append(await door.refusal(MIA))
        await door.sign_ups.sign_up(replace(MIA, code="for-ever-and-ever"), address=HERE)
        return wrong

    wrong = runner.run(story())

    assert {type(error) for error in wrong} == {SignUpRefused}
    assert len({error.message for error in wrong}) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"username": "not a name"},
        {"username": ""},
        {"email": "nobody"},
        {"email": ""},
        {"password": "short"},
        {"fullname": "x" * 1000},
    ],
    ids=str,
)
def test_what_is_filled_in_wrong_is_said(sqlite_file, runner, changed):
    async def story():
        async with await Database.open(sqlite_url(sqlite_file)) as database:
            door = Door(database)
            await door.open()
            refused = await door.refusal(replace(MIA, **changed))
            async with database.reading() as connection:
                return refused, await audit.page(connection, AuditFilter(), before=None, limit=5)

    refused, entries = runner.run(story())

    assert (refused.code, refused.status) == (3009, 400)
    assert refused.message
    assert entries == []


def test_guessing_codes_is_stopped(sqlite_file, runner):
    async def story():
        async with await Database.open(sqlite_url(sqlite_file)) as database:
            door = Door(database)
            await door.open()
            for number in range(PASSWORD_FAILURES_PER_ADDRESS_MAX):
                await door.refusal(replace(MIA, code=f"wrong-code-{number}"))
            stopped = await door.refusal(MIA)
            return stopped, await door.sign_ups.sign_up(MIA, address="198.51.100.1")

    stopped, elsewhere = runner.run(story())

    assert isinstance(stopped, TooManyRequests)
    assert stopped.retry_after_s == 6
    assert elsewhere


def test_many_codes_at_once_are_not_more_than_one_after_the_other(sqlite_file, runner):
    async def story():
        async with await Database.open(sqlite_url(sqlite_file)) as database:
            door = Door(database)
            await door.open()
            codes = [f"wrong-code-{n}" for n in range(2 * PASSWORD_FAILURES_PER_ADDRESS_MAX)]
            tried = [door.refusal(replace(MIA, code=code)) for code in codes]
            return [type(error) for error in await asyncio.gather(*tried)]

    told = runner.run(story())

    assert told.count(SignUpRefused) == PASSWORD_FAILURES_PER_ADDRESS_MAX
    assert told.count(TooManyRequests) == PASSWORD_FAILURES_PER_ADDRESS_MAX


class HeldHasher(PasswordHasher):
    """Hashes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=64, parallelism=1)
        self.go_on = threading.Event()

    def hash(self, password, *, salt=None) -> str:
        self.go_on.wait(30)
        return super().hash(password, salt=salt)


def test_those_who_sign_up_leave_room_for_those_who_sign_in(sqlite_file, runner):
    hasher = HeldHasher()

    async def story():
        async with await Database.open(sqlite_url(sqlite_file)) as database:
            door = Door(database, hasher)
            await door.open()
            tried = [
                asyncio.create_task(door.sign_ups.sign_up(MIA, address=HERE))
                for _ in range(SIGN_UPS_WAITING_MAX + 1)
            ]
            (refused,), waiting = await asyncio.wait(tried, return_when=asyncio.FIRST_COMPLETED)
            signed_in = await door.passwords.account("nobody", MIA.password, address=HERE)
            hasher.go_on.set()
            told = await asyncio.gather(*waiting, return_exceptions=True)
            return refused.exception(), signed_in, [type(each) for each in told]

    refused, signed_in, told = runner.run(story())

    assert isinstance(refused, TooManyRequests)
    assert signed_in is None, "it was looked at"
    assert told.count(UsernameTaken) == SIGN_UPS_WAITING_MAX - 1


def test_a_whole_class_signs_up_from_one_address(sqlite_file, runner):
    async def story():
        async with await Database.open(sqlite_url(sqlite_file)) as database:
            door = Door(database)
            await door.open()
            for number in range(PASSWORD_FAILURES_PER_ADDRESS_MAX + 5):
                await door.refusal(replace(MIA, username=f"not a name {number}"))
            return await door.sign_ups.sign_up(MIA, address=HERE)

    assert runner.run(story())


@pytest.mark.parametrize(
    ("code", "shown"), [("8letters", "…"), ("9-letters", "…"), ("10-letters", "10…")]
)
def test_what_is_hidden_of_a_code_is_a_code_in_itself(code, shown):
    invite = Invite(code=code, created_at=NOW, created_by="root")

    assert invite.hidden.code == shown


def test_an_invite_that_could_sign_nobody_up_is_not_made(sqlite_file, runner):
    async def story():
        async with await Database.open(sqlite_url(sqlite_file)) as database:
            door = Door(database)
            await door.open()
            user, _ = await door.sign_ups.sign_up(MIA, address=HERE)
            root = door.directory.principal_of(replace(user.account, is_admin=True))
            with pytest.raises(InvalidInput, match="8 to 100"):
                await Installation(database, door.administrators).invite(
                    root, "7-chars", signup_credits=0, comments="", expires_at=None
                )

    runner.run(story())


def test_those_who_only_look_are_shown_no_codes(sqlite_file, runner):
    async def story():
        async with await Database.open(sqlite_url(sqlite_file)) as database:
            door = Door(database)
            await door.open()
            user, _ = await door.sign_ups.sign_up(MIA, address=HERE)
            seen = Installation(database, door.administrators)
            shown = {}
            for role in ("is_viewer", "is_admin"):
                account = replace(user.account, **{role: True})
                principal = door.directory.principal_of(account)
                shown[role] = {each.code for each in await seen.invites(principal)}
            return shown

    shown = runner.run(story())

    assert shown["is_viewer"] == {"we…", "fo…", "…"}
    assert shown["is_admin"] == {"welcome-2026", "for-ever-and-ever", "short"}
