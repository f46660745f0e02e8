"""
Work at source hosts in the name of accounts: with what they have given, and fresh tokens.

Tokens of OAuth end after hours; whoever has the refresh token gets the next one, once.
"""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from weakref import WeakValueDictionary

import msgspec

from algorium_server.build.providers.calling import Caller, api_of, oauth_of
from algorium_server.build.providers.provider import Operation, ProviderApi
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import ScmForbids, ScmNotConnected, ScmRejectsCredentials
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import TOKEN_EARLY_S
from algorium_server.domain.scms import Scm, ScmConnection, ScmCredentials, ScmProfile
from algorium_server.sealing import Seal
from algorium_server.services.auditing import record
from algorium_server.services.source.scms import Scms
from algorium_server.store import scms as rows
from algorium_server.store.database import Database

T = TypeVar("T")


class ScmAccess:
    """
    Talks to hosts in the name of accounts.

    Args:
        database: Where connections are kept.
        scms: Which hosts there are.
        seal: Seals what accounts give.
        caller: Talks to hosts.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        scms: Scms,
        seal: Seal,
        caller: Caller,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._scms = scms
        self._seal = seal
        self._caller = caller
        self._clock = clock
        self._refreshing: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def keep(
        self, account_id: str, scm: Scm, given: ScmCredentials, *, by: Principal | None
    ) -> ScmProfile:
        """
        Keep what an account gives for a host, if the host knows it; return whose it is there.

        Args:
            account_id: Which account.
            scm: Which host.
            given: What it gives.
            by: Who says so; None for a browser that has proved to be the one that began.

        Raises:
            AlgoriumError: The host refuses, fails, or does not answer.
        """
        profile = await self.ask_with(given, scm, lambda api, c: api.profile(c))
        given = replace(given, username=given.username or profile.username)
        made = ScmConnection(
            account_id=account_id,
            scm_id=scm.scm_id,
            profile=profile,
            sealed=self._sealed(account_id, scm, given),
            revision=str(uuid.uuid4()),
            created_at=self._clock(),
        )
        async with self._database.transaction() as connection:
            await rows.put_connection(connection, made)
            await record(
                connection,
                by,
                AuditAction.SCM_CONNECTED,
                f"scm:{scm.scm_id}",
                about=account_id,
                detail={"there": profile.username, "through": "key" if by else "browser"},
            )
        return profile

    async def made(self, account_id: str, scm: Scm) -> ScmConnection | None:
        """Return what an account has given for a host, sealed."""
        async with self._database.reading() as connection:
            return await rows.connection_of(connection, account_id=account_id, scm_id=scm.scm_id)

    async def profile_of(self, account_id: str, scm: Scm) -> ScmProfile | None:
        """Return what an account was at a host when it was connected; None if it is not."""
        made = await self.made(account_id, scm)
        return made.profile if made is not None else None

    async def ask(
        self,
        account_id: str,
        scm: Scm,
        operation: Callable[[ProviderApi, ScmCredentials], Operation[T]],
    ) -> T:
        """
        Do something at a host in an account's name.

        Raises:
            ScmNotConnected: The account has not connected the host.
            AlgoriumError: The host refuses, fails, or does not answer.
        """
        credentials = await self.credentials(account_id, scm)
        try:
            return await self.ask_with(credentials, scm, operation)
        except ScmRejectsCredentials:
            if not credentials.refresh_token:
                raise
        credentials = await self.credentials(account_id, scm, refused=credentials)
        return await self.ask_with(credentials, scm, operation)

    async def ask_with(
        self,
        credentials: ScmCredentials,
        scm: Scm,
        operation: Callable[[ProviderApi, ScmCredentials], Operation[T]],
    ) -> T:
        """Do something at a host with these credentials; errors as in `ask`."""
        return await self._caller.run(
            operation(api_of(scm), credentials), secrets=credentials.secrets
        )

    async def credentials(
        self, account_id: str, scm: Scm, *, refused: ScmCredentials | None = None
    ) -> ScmCredentials:
        """
        Return what an account has given for a host, with a token that has not ended.

        Args:
            account_id: Whose.
            scm: For which host.
            refused: What the host did not accept just now.

        Raises:
            ScmNotConnected: The account has given nothing.
            ScmRejectsCredentials: There is no other token to be had.
        """
        # A refresh token is used once: two requests at a time would end the connection.
        lock = self._refreshing.setdefault((account_id, scm.scm_id), asyncio.Lock())
        async with lock:
            made = await self.made(account_id, scm)
            if made is None:
                raise ScmNotConnected(f"connect {scm.name or scm.scm_id} first")
            known = self.opened(made)
            early = self._clock() + timedelta(seconds=TOKEN_EARLY_S)
            has_ended = known.expires_at is not None and known.expires_at <= early
            if not known.refresh_token or (known != refused and not has_ended):
                return known
            return await self._refreshed(made, known, scm)

    def opened(self, made: ScmConnection) -> ScmCredentials:
        """Return what an account has given."""
        name = f"connection {made.scm_id}"
        text = self._seal.unseal(made.sealed, owner=made.account_id, name=name)
        return msgspec.json.decode(text, type=ScmCredentials)

    async def _refreshed(
        self, made: ScmConnection, known: ScmCredentials, scm: Scm
    ) -> ScmCredentials:
        secret = self._scms.client_secret(scm)
        try:
            fresh = await self._caller.run(
                oauth_of(scm).refresh(known, secret=secret, now=self._clock()),
                secrets=(secret, *known.secrets),
            )
        except (ScmRejectsCredentials, ScmForbids):
            # Another gateway may have been quicker: what it got is in the row by now.
            newest = await self.made(made.account_id, scm)
            if newest is None or newest.revision == made.revision:
                raise
            return self.opened(newest)
        fresh = replace(
            fresh,
            refresh_token=fresh.refresh_token or known.refresh_token,
            username=known.username,
        )
        changed = replace(
            made,
            sealed=self._sealed(made.account_id, scm, fresh),
            revision=str(uuid.uuid4()),
        )
        async with self._database.transaction() as connection:
            await rows.replace_connection(connection, changed, revision=made.revision)
        return fresh

    def _sealed(self, account_id: str, scm: Scm, credentials: ScmCredentials) -> bytes:
        text = msgspec.json.encode(credentials)
        return self._seal.seal(text, owner=account_id, name=f"connection {scm.scm_id}")
