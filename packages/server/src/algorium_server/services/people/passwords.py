"""
Passwords of accounts: set, and checked.

A check takes as long for an account that does not exist, or has no password, as for any other.
Wrong ones are counted, see `guessing.py`; after some, nothing is looked at for a while. Those from
one address are checked one after the other, so that many at once are not more than their count
allows. How many wait and are checked at a time is bounded, since strangers can cause the work.

Source: wire specification, "Internal git hosting".
"""

import asyncio
import hashlib
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from algorium_server.domain.access import Refused
from algorium_server.domain.administration import Action, may_administer
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import NotAuthorized, NotFound, TooManyRequests
from algorium_server.domain.identity import Account, AccountKind, Principal
from algorium_server.domain.limits import (
    PASSWORD_BYTES_MAX,
    PASSWORD_CHECKS_AT_ONCE_MAX,
    PASSWORD_CHECKS_WAITING_MAX,
    PASSWORD_CHECKS_WAITING_PER_ADDRESS_MAX,
    PASSWORD_PROOF_S,
    PASSWORD_PROOFS_MAX,
)
from algorium_server.domain.passwords import check_password
from algorium_server.services.audit_trail import place_of
from algorium_server.services.auditing import record
from algorium_server.services.directory import Directory
from algorium_server.services.people.guessing import Guessing, OwnGuesses
from algorium_server.store import passwords as rows
from algorium_server.store import sessions as session_rows
from algorium_server.store.database import Database

_HASHER: Final = PasswordHasher()
"""Argon2id as RFC 9106 recommends it where memory is scarce: 64 MiB, three passes."""
_NOBODYS: Final = (
    "$argon2id$v=19$m=65536,t=3,p=4$tNX880UCVV5ioxAKZVaT6A"
    "$v1F85w6jLr3cxhNJAtwW5bHZ4f3Hbd+o0O885VU+s28"
)
"""Of no password that anybody knows: what is checked where there is nothing to check."""
_HOW_TO_SET_ONE: Final = (
    "A password opens all of the account: set it when you are signed in, or with a management key"
    " that may call everything and write data, and does not end; as an administrator, with an"
    " admin key."
)


class Passwords:
    """
    Use cases of passwords.

    Args:
        database: Where hashes are.
        directory: Who there is.
        guessing: Says when one may be tried; None for a count of its own.
        hasher: Makes and checks hashes.
        now: Monotonic seconds, the same for all gateways that count together.

    Attributes:
        on_denied: Told which name was given with a wrong password, and from where.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        *,
        guessing: Guessing | None = None,
        hasher: PasswordHasher = _HASHER,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._directory = directory
        self._hasher = hasher
        self._now = now
        self._guessing = guessing or Guessing(OwnGuesses())
        self._proofs = _Proofs()
        self._turns: dict[str, _Turn] = {}
        self.on_denied: Callable[[str, str], None] = lambda _username, _address: None
        self._checks = asyncio.Semaphore(PASSWORD_CHECKS_AT_ONCE_MAX)
        self._waiting = 0

    async def change(self, principal: Principal, username: str, password: str) -> None:
        """
        Set the password of the caller's own account, or as an administrator of any user.

        Raises:
            NotAuthorized: It is somebody else's, or the key may less than the password would.
            NotFound: There is no such user; told to administrators only.
            InvalidInput: The password is too short or too long.
        """
        account = self._directory.account_named(username)
        about = account.account_id if account is not None else ""
        verdict = may_administer(principal, Action.SET_PASSWORD, about)
        if isinstance(verdict, Refused):
            is_own = about == principal.account.account_id and principal.acting is None
            raise NotAuthorized(detail=verdict.reason, hint=_HOW_TO_SET_ONE if is_own else "")
        await self.set(username, password, by=principal)

    def user(self, username: str) -> Account:
        """
        Return the user of a name, in any case.

        Raises:
            NotFound: There is none; organizations have no password.
        """
        account = self._directory.account_named(username)
        if account is None or account.kind is not AccountKind.USER:
            raise NotFound(f"there is no user {username!r}")
        return account

    async def set(self, username: str, password: str, *, by: Principal | None = None) -> Account:
        """
        Set the password of a user, whoever asks; all its sessions end.

        Args:
            username: Of the user, in any case.
            password: The new one.
            by: Who asks; None for whoever runs the server.

        Returns:
            The user.

        Raises:
            NotFound: There is no such user.
            InvalidInput: The password is too short or too long.
        """
        account = self.user(username)
        encoded = await self.hashed(password)
        async with self._database.transaction() as connection:
            await rows.set_password(
                connection, account.account_id, encoded=encoded, changed_at=datetime.now(UTC)
            )
            ended = await session_rows.remove_sessions_of(connection, account.account_id)
            await record(
                connection,
                by,
                AuditAction.PASSWORD_SET,
                f"user:{account.username}",
                about=account.account_id,
                detail={"sessions_ended": str(len(ended))},
            )
        self._directory.sessions.remove(ended)
        return account

    async def hashed(self, password: str) -> str:
        """Return the hash of a new password; `InvalidInput` if it is too short or too long."""
        check_password(password)
        async with self._checks:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def account(
        self, username: str, password: str, *, address: str, typed: str = ""
    ) -> Account | None:
        """
        Return the user whose name and password these are, None if there is none or it is disabled.

        Args:
            username: In any case.
            password: As typed.
            address: Who says so.
            typed: What was typed for the username, if it was something else.

        Raises:
            TooManyRequests: There were too many wrong ones, or too many wait for an answer.
        """
        account = self._directory.account_named(username)
        if account is not None and account.is_disabled:
            account = None
        place = place_of(address)
        counted = typed or username  # never what was found: that would tell who has which address
        self._refuse_guessing(counted, place, account)
        async with self._database.reading() as connection:  # for whoever: it takes its time
            encoded = await rows.password(connection, "" if account is None else account.account_id)
        if not self._is_proven(encoded, password):
            async with self._turn(place):
                self._refuse_guessing(counted, place, account)  # those before may have been wrong
                is_right = self._is_proven(encoded, password) or await self._check(
                    encoded or _NOBODYS, password
                )
                if account is None or encoded is None or not is_right:
                    self._guessing.fail(counted, place, now=self._now())
                    self.on_denied(username, address)
                    return None
        if account is None or encoded is None:
            return None
        self._guessing.succeed(counted, place)
        self._proofs.add(encoded, password, now=self._now())
        self._guessing.note_home(account.account_id, place, now=self._now())
        return account

    async def encoded(self, username: str) -> str | None:
        """Return the hash of a user's password, to tell later whether it is still the same."""
        account = self._directory.account_named(username)
        async with self._database.reading() as connection:
            return await rows.password(connection, "" if account is None else account.account_id)

    def _refuse_guessing(self, typed: str, place: str, account: Account | None) -> None:
        wait_s = self._guessing.wait_s(
            typed,
            place,
            now=self._now(),
            is_at_home=account is not None and self._is_at_home(account, place),
        )
        if wait_s:
            raise TooManyRequests(
                f"Too many wrong passwords: try again in {math.ceil(wait_s)} seconds, or use an API"
                " key as the password.",
                retry_after_s=math.ceil(wait_s),
            )

    def _is_at_home(self, account: Account, place: str) -> bool:
        if self._guessing.is_home(account.account_id, place):
            return True
        sessions = self._directory.sessions.addresses_of(account.account_id)
        return any(place_of(address) == place for address in sessions)

    def _is_proven(self, encoded: str | None, password: str) -> bool:
        return encoded is not None and self._proofs.has(encoded, password, now=self._now())

    @asynccontextmanager
    async def _turn(self, place: str) -> AsyncIterator[None]:
        """Wait until nobody else's password from there is being checked."""
        turn = self._turns.get(place)
        waiting = turn.waiting if turn is not None else 0
        if (
            self._waiting >= PASSWORD_CHECKS_WAITING_MAX
            or waiting >= PASSWORD_CHECKS_WAITING_PER_ADDRESS_MAX
        ):
            raise TooManyRequests(
                "Too many passwords are being checked; try again.", retry_after_s=1
            )
        if turn is None:
            turn = self._turns[place] = _Turn()
        self._waiting += 1
        turn.waiting += 1
        try:
            async with turn.lock:
                yield
        finally:
            self._waiting -= 1
            turn.waiting -= 1
            if not turn.waiting:
                del self._turns[place]

    async def _check(self, encoded: str, password: str) -> bool:
        async with self._checks:
            return await asyncio.to_thread(_is_right, self._hasher, encoded, password)


@dataclass(slots=True)
class _Turn:
    """Whose turn it is at one address."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class _Proofs:
    """
    Right passwords of the last minute: git shows the same one with each of its requests.

    What is kept says nothing without a key that only this process has. A changed password has
    another hash, so the old one is not found.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def has(self, encoded: str, password: str, *, now: float) -> bool:
        return self._until.get(self._proof(encoded, password), 0.0) > now

    def add(self, encoded: str, password: str, *, now: float) -> None:
        self._until[self._proof(encoded, password)] = now + PASSWORD_PROOF_S
        while len(self._until) > PASSWORD_PROOFS_MAX:
            self._until.popitem(last=False)

    def _proof(self, encoded: str, password: str) -> bytes:
        text = f"{encoded}\0{password}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._key, digest_size=32).digest()


def _is_right(hasher: PasswordHasher, encoded: str, password: str) -> bool:
    raw = password.encode("utf-8", "surrogatepass")[: PASSWORD_BYTES_MAX + 1]
    try:
        return hasher.verify(encoded, raw)
    except (VerificationError, InvalidHashError):
        return False
