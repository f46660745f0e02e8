"""
Signing up with an invite: whoever knows its code becomes a user.

A code is good until it expires or is deleted, for as many as know it: a class signs up with one, in
a minute and from one address. Strangers ask here as well, so wrong codes are counted by address
like wrong passwords, and all are told the same.

Source: wire specification, "Invites"; the address is ours, the old service had a form.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import (
    InvalidInput,
    MalformedUser,
    SignUpRefused,
    TooManyRequests,
)
from algorium_server.domain.identity import AccountKind, Principal
from algorium_server.domain.installation import Invite
from algorium_server.domain.limits import SIGN_UPS_WAITING_MAX
from algorium_server.domain.users import User, UserProfile, WantedUser, check_wanted
from algorium_server.services.audit_trail import place_of
from algorium_server.services.auditing import record
from algorium_server.services.people.accounts import NewKey, default_key, new_account
from algorium_server.services.people.guessing import Guessing
from algorium_server.services.people.passwords import Passwords
from algorium_server.services.people.users import Users
from algorium_server.store import installation as invite_rows
from algorium_server.store import passwords as password_rows
from algorium_server.store.database import AsyncConnection, Database


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUp:
    """What somebody fills in who signs up."""

    code: str
    username: str
    email: str
    password: str = field(repr=False)
    fullname: str = ""


class SignUps:
    """
    The use case of signing up.

    Args:
        database: Where invites are.
        users: Adds users.
        passwords: Hashes passwords.
        guessing: Says when a code may be tried.
        clock: Says what time it is.
        now: Monotonic seconds, the same for all gateways that count together.
    """

    def __init__(
        self,
        database: Database,
        users: Users,
        passwords: Passwords,
        guessing: Guessing,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._users = users
        self._passwords = passwords
        self._guessing = guessing
        self._clock = clock
        self._now = now
        self._hashing = asyncio.Lock()
        self._waiting = 0

    async def sign_up(self, wanted: SignUp, *, address: str) -> tuple[User, NewKey]:
        """
        Make a user, with a password and a `default-key`.

        Args:
            wanted: Who.
            address: Where from.

        Raises:
            SignUpRefused: The code is none, or something is not as it must be.
            UsernameTaken: A user or organization has that name, or had it.
            EmailTaken: Another user has the address, or had it.
            TooManyRequests: There were too many wrong codes from there, or too many sign up now.
        """
        await self._check_guess(wanted.code, place_of(address))  # before any work is done
        try:
            if not wanted.username or not wanted.email:
                raise InvalidInput("username and email are needed")
            check_wanted(WantedUser(email=wanted.email, fullname=wanted.fullname))
            account = new_account(
                AccountKind.USER,
                wanted.username,
                now=self._clock(),
                email=wanted.email,
                fullname=wanted.fullname,
            )
            async with self._turn():
                encoded = await self._passwords.hashed(wanted.password)
        except (InvalidInput, MalformedUser) as error:
            raise SignUpRefused(error.message) from error
        user = User(account=account, profile=UserProfile(account_id=account.account_id))
        key = default_key(account, now=self._clock())
        async with self._database.transaction() as connection:
            await self._users.add(connection, user, key)
            invite = await self._invite(connection, wanted.code)
            if invite is None:  # it was deleted meanwhile, or has expired
                raise _no_invite()
            await password_rows.set_password(
                connection, account.account_id, encoded=encoded, changed_at=self._clock()
            )
            await record(
                connection,
                Principal(account=account),
                AuditAction.USER_CREATED,
                f"user:{account.username}",
                detail={"by": "invite", "invite": invite.hidden.code},
            )
        self._users.show(user, key)
        return user, key

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """
        Hash one password at a time.

        Whoever has a code can cause that work as often as they like, and people who sign in need
        the same processors.
        """
        if self._waiting >= SIGN_UPS_WAITING_MAX:
            raise TooManyRequests("Too many people sign up; try again.", retry_after_s=1)
        self._waiting += 1
        try:
            async with self._hashing:
                yield
        finally:
            self._waiting -= 1

    async def _check_guess(self, code: str, place: str) -> None:
        self._refuse_guessing(place)
        async with self._database.reading() as connection:
            invite = await self._invite(connection, code)
        self._refuse_guessing(place)  # those that were looked up at the same time may be wrong
        if invite is None:
            self._guessing.fail_code(place, now=self._now())
            raise _no_invite()

    def _refuse_guessing(self, place: str) -> None:
        wait_s = math.ceil(self._guessing.code_wait_s(place, now=self._now()))
        if wait_s:
            raise TooManyRequests(
                f"Too many wrong codes: try again in {wait_s} seconds.", retry_after_s=wait_s
            )

    async def _invite(self, connection: AsyncConnection, code: str) -> Invite | None:
        """Return the invite with which somebody may sign up now."""
        invite = await invite_rows.invite(connection, code)
        return invite if invite is not None and invite.signs_up(self._clock()) else None


def _no_invite() -> SignUpRefused:
    return SignUpRefused(
        "There is no invite with this code, or not any more.",
        hint="Ask an administrator of this server for one, or for an account.",
    )
