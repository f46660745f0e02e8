"""
Signing in and out with a browser, and the sessions that come of it.

Whoever signs in gets a value that exists in two places only: in the browser's cookie, and as its
SHA-256 here. Every sign-in has a new one, so none that a stranger might have planted counts later.

Source: wire specification, "Common request rules", "Cookie".
"""

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from algorium_server.domain.administration import Action
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import (
    NotAuthenticated,
    NotFound,
    UserNotFound,
)
from algorium_server.domain.identity import Account, AccountKind, Principal
from algorium_server.domain.limits import DENIED_SIGN_INS_KEPT_MAX, SESSIONS_PER_ACCOUNT_MAX
from algorium_server.domain.sessions import Session, SignInMethod, new_session, session_digest
from algorium_server.domain.users import User, email_key
from algorium_server.services.auditing import record
from algorium_server.services.directory import Directory
from algorium_server.services.people.administrators import Administrators
from algorium_server.services.people.passwords import Passwords
from algorium_server.store import accounts as account_rows
from algorium_server.store import passwords as password_rows
from algorium_server.store import sessions as rows
from algorium_server.store import users as user_rows
from algorium_server.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """
    Who signs in, as far as that can be seen.

    Attributes:
        address: Where the request comes from.
        user_agent: What the browser calls itself.
        cookie: The value of the session that it has already; empty without one.
    """

    address: str = ""
    user_agent: str = ""
    cookie: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """
    A session and, this once, the value of its cookie.

    Attributes:
        principal: Who it makes of whoever shows that.
    """

    principal: Principal
    session: Session
    cookie: str


class Sessions:
    """
    Use cases of sessions.

    Args:
        database: Where they are kept.
        directory: Who there is, and told of everything new.
        passwords: Checks passwords.
        administrators: Says who may see and end whose.
        clock: Says what time it is.

    Attributes:
        denied: How often who was refused from which address, since somebody has emptied it. Not
            written at once: how long an answer takes must not tell who exists.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        passwords: Passwords,
        administrators: Administrators,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._passwords = passwords
        self._administrators = administrators
        self._clock = clock
        self.denied: dict[tuple[str, str], int] = {}

    async def sign_in(self, name: str, password: str, browser: Browser) -> SignedIn:
        """
        Sign a user in with a password.

        Args:
            name: Username or e-mail address, in any case.
            password: As typed.
            browser: Which one.

        Raises:
            NotAuthenticated: They do not belong together, or to nobody; which, is not said.
            TooManyRequests: There were too many wrong ones.
        """
        username = self._username(name)
        encoded = await self._passwords.encoded(username)
        account = await self._passwords.account(
            username, password, address=browser.address, typed=name
        )
        if account is None or account.kind is not AccountKind.USER:
            self._note_denied(username, browser.address)
            raise NotAuthenticated(
                "Wrong name or password.",
                hint="Sign in with your username or e-mail address; an API key is no password.",
            )
        return await self.open(account, SignInMethod.PASSWORD, browser, encoded=encoded)

    async def open(
        self,
        account: Account,
        method: SignInMethod,
        browser: Browser,
        *,
        encoded: str | None = None,
    ) -> SignedIn:
        """
        Begin a session of a user who has shown who they are; the browser's old one ends.

        Args:
            account: The user.
            method: How.
            browser: Which one.
            encoded: Hash of the password that was shown, if one was.

        Raises:
            NotAuthenticated: The account was disabled or deleted, or the password changed.
        """
        cookie = secrets.token_urlsafe(32)
        session = new_session(
            session_id=str(uuid.uuid4()),
            account_id=account.account_id,
            method=method,
            now=self._clock(),
            address=browser.address,
            user_agent=browser.user_agent,
        )
        old = self._directory.sessions.of_cookie(browser.cookie) if browser.cookie else None
        ended = {old.session_id} if old is not None else set()
        async with self._database.transaction() as connection:
            held = await account_rows.hold_account(connection, account.account_id)
            if held is None or held.is_disabled:
                raise NotAuthenticated("The account cannot be used now.")
            if encoded is not None and encoded != await password_rows.password(
                connection, account.account_id
            ):
                raise NotAuthenticated("Wrong name or password.")
            known = [
                each
                for each, _ in await rows.sessions(connection, account_id=account.account_id)
                if each.session_id not in ended
            ]
            known.sort(key=lambda each: self._as_used(each).used_at)
            spare = max(len(known) + 1 - SESSIONS_PER_ACCOUNT_MAX, 0)
            ended.update(each.session_id for each in known[:spare])
            if ended:
                await rows.remove_sessions(connection, ended)
            await rows.add_session(connection, session, digest=session_digest(cookie))
            principal = replace(self._directory.principal_of(held), session_id=session.session_id)
            detail = {"method": method.value, "session": session.session_id}
            await record(
                connection, principal, AuditAction.SIGN_IN, f"user:{held.username}", detail=detail
            )
        self._directory.sessions.remove(ended)
        self._directory.sessions.put(session, digest=session_digest(cookie))
        return SignedIn(principal=principal, session=session, cookie=cookie)

    async def user(self, principal: Principal) -> User:
        """Return the caller's own account as a whole."""
        async with self._database.reading() as connection:
            (user,) = await user_rows.with_profiles(connection, [principal.account])
        return user

    async def current(self, principal: Principal) -> Session:
        """
        Return the session that the caller has shown.

        Raises:
            NotAuthenticated: It has just ended.
        """
        async with self._database.reading() as connection:
            found = await rows.sessions(connection, ids=[principal.session_id])
        if not found:
            raise NotAuthenticated("the session has just ended")
        return self._as_used(found[0][0])

    async def sign_out(self, principal: Principal) -> None:
        """End the session that the caller has shown."""
        await self._end(principal, principal.account, principal.session_id)

    async def listed(
        self, principal: Principal, username: str, *, after: tuple[str, str] | None, limit: int
    ) -> list[Session]:
        """
        Return at most *limit* sessions of a user, oldest first.

        Args:
            principal: Who asks: the user, or an administrator.
            username: Whose, or its id.
            after: Only those behind the one with this time and id.
            limit: So many at most.

        Raises:
            NotAuthorized: Somebody else's, or a key that does not manage.
            UserNotFound: There is no such user; told to administrators only.
        """
        account = self._administrators.user(principal, username, Action.SEE_KEYS)
        async with self._database.reading() as connection:
            found = await rows.sessions(connection, account_id=account.account_id)
        now = self._clock()
        behind = [
            session
            for session in (self._as_used(each) for each, _ in found)
            if not session.has_ended(now)
            and (after is None or (session.created_at.isoformat(), session.session_id) > after)
        ]
        return behind[:limit]

    async def end(self, principal: Principal, username: str, session_id: str) -> None:
        """
        End a session of a user.

        Raises:
            NotAuthorized: Somebody else's, or a key that does not manage.
            UserNotFound: There is no such user; told to administrators only.
            NotFound: The user has no such session.
        """
        account = self._administrators.user(principal, username, Action.MANAGE_KEYS)
        async with self._database.reading() as connection:
            found = await rows.sessions(connection, account_id=account.account_id)
            if all(session.session_id != session_id for session, _ in found):
                raise NotFound("there is no such session; it may have ended")
        await self._end(principal, account, session_id)

    async def end_all(self, principal: Principal, username: str) -> None:
        """
        End all sessions of a user, the caller's own as well.

        Raises:
            NotAuthorized: Somebody else's, or a key that does not manage.
            UserNotFound: There is no such user; told to administrators only.
        """
        account = self._administrators.user(principal, username, Action.MANAGE_KEYS)
        async with self._database.transaction() as connection:
            if await account_rows.hold_account(connection, account.account_id) is None:
                raise UserNotFound
            ended = await rows.remove_sessions_of(connection, account.account_id)
            await record(
                connection,
                principal,
                AuditAction.SESSIONS_ENDED,
                f"user:{account.username}",
                about=account.account_id,
                detail={"sessions_ended": str(len(ended))},
            )
        self._directory.sessions.remove(ended)

    async def _end(self, principal: Principal, account: Account, session_id: str) -> None:
        async with self._database.transaction() as connection:
            await rows.remove_sessions(connection, [session_id])
            await record(
                connection,
                principal,
                AuditAction.SIGN_OUT,
                f"user:{account.username}",
                about=account.account_id,
                detail={"session": session_id},
            )
        self._directory.sessions.remove([session_id])

    def _note_denied(self, username: str, address: str) -> None:
        known = self._directory.account_named(username)
        # What strangers type is not kept: now and then it is a password.
        key = (known.account_id if known is not None else "", address)
        if key[0] and (key in self.denied or len(self.denied) < DENIED_SIGN_INS_KEPT_MAX):
            self.denied[key] = self.denied.get(key, 0) + 1

    def _as_used(self, session: Session) -> Session:
        """Return a session with its last use, noted or not yet."""
        used_at = self._directory.sessions.used.get(session.session_id, session.used_at)
        return replace(session, used_at=max(used_at, session.used_at))

    def _username(self, name: str) -> str:
        """Return the username that somebody means with a name or an e-mail address."""
        if "@" not in name:
            return name
        wanted = email_key(name.strip())
        for account in self._directory.accounts():
            if account.kind is AccountKind.USER and email_key(account.email) == wanted:
                return account.username
        return name
