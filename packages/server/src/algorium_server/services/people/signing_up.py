"""
Signing up with an invite: whoever knows its code becomes a user.

A code is good until it expires or is deleted, for as many as know it. Strangers ask here, so wrong
codes are counted by address like wrong passwords, and all wrong codes are told the same.

Source: wire specification, "Invites"; the address is ours, the old service had a form.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import InvalidInput, MalformedUser, SignUpRefused
from algorium_server.domain.identity import AccountKind, Principal
from algorium_server.domain.users import User, UserProfile, WantedUser, check_wanted
from algorium_server.services.auditing import record
from algorium_server.services.people.accounts import NewKey, default_key, new_account
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
        passwords: Hashes passwords, and counts attempts.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        users: Users,
        passwords: Passwords,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._users = users
        self._passwords = passwords
        self._clock = clock

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
            TooManyRequests: There were too many from there.
        """
        self._passwords.count_attempt("sign-up", address)
        async with self._database.reading() as connection:  # before any work is done
            await self._check_code(connection, wanted.code)
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
            encoded = await self._passwords.hashed(wanted.password)
        except (InvalidInput, MalformedUser) as error:
            raise SignUpRefused(error.message) from error
        user = User(account=account, profile=UserProfile(account_id=account.account_id))
        key = default_key(account, now=self._clock())
        async with self._database.transaction() as connection:
            await self._users.add(connection, user, key)
            shown = await self._check_code(connection, wanted.code)  # it may be gone meanwhile
            await password_rows.set_password(
                connection, account.account_id, encoded=encoded, changed_at=self._clock()
            )
            await record(
                connection,
                Principal(account=account),
                AuditAction.USER_CREATED,
                f"user:{account.username}",
                detail={"by": "invite", "invite": shown},
            )
        self._users.show(user, key)
        return user, key

    async def _check_code(self, connection: AsyncConnection, code: str) -> str:
        """Return what of the code may be shown."""
        invite = await invite_rows.invite(connection, code)
        if invite is None or not invite.signs_up(self._clock()):
            raise SignUpRefused(
                "There is no invite with this code, or not any more.",
                hint="Ask an administrator of this server for one, or for an account.",
            )
        return invite.hidden.code
