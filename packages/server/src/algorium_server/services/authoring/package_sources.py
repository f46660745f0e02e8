"""
Package sources: kept for accounts, opened for their builds.

Passwords go in and never come out: they are sealed for the account, and only what answers builds
inside of their sandboxes gets to see them.

Source: runtime design, "Environments".
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from algorium_server.domain.access import Refused
from algorium_server.domain.administration import Action, may_administer
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import InvalidInput, NotAuthorized, NotFound
from algorium_server.domain.identity import Account, Principal
from algorium_server.domain.package_sources import (
    PackageSources,
    StoredSources,
    check_sources,
    kept_secrets,
)
from algorium_server.sealing import Seal
from algorium_server.services.auditing import record
from algorium_server.services.directory import Directory
from algorium_server.services.files.reaching import Reach
from algorium_server.store import package_sources as rows
from algorium_server.store.database import Database

_SECRET_NAME = "package sources"  # noqa: S105 - what it is called, not what it is


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSources:
    """
    Package sources with what it takes to use them.

    Attributes:
        owner: Whose they are.
        secrets: Passwords, by place.
    """

    owner: Account
    sources: PackageSources
    secrets: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSources:
    """Package sources as those see them who may manage them; *has_password* holds places."""

    owner: Account
    sources: PackageSources
    has_password: frozenset[str] = frozenset()


class PackageSourceService:
    """
    Use cases of package sources.

    Every method with a principal raises `NotFound` if there is no such account, and `NotAuthorized`
    if the principal may not manage its sources.

    Args:
        database: Where they are.
        directory: Names of accounts.
        seal: Seals passwords.
        reach: Says where indexes may be.
        clock: Tells the time of a change.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        seal: Seal,
        reach: Reach,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._seal = seal
        self._reach = reach
        self._clock = clock

    async def shown(self, principal: Principal, username: str) -> ShownSources:
        """Return the sources of an account; none of its own are empty ones."""
        owner = self._owner(principal, username)
        opened = await self.opened(owner.account_id)
        if opened is None:
            return ShownSources(owner=owner, sources=PackageSources())
        return ShownSources(
            owner=owner, sources=opened.sources, has_password=frozenset(opened.secrets)
        )

    async def put(
        self,
        principal: Principal,
        username: str,
        sources: PackageSources,
        *,
        passwords: Mapping[str, str],
    ) -> ShownSources:
        """
        Replace the sources of an account.

        Args:
            principal: Who asks.
            username: Whose sources.
            sources: All of them.
            passwords: By place; see `kept_secrets` for those that are not given.

        Raises:
            InvalidInput: Something about them is wrong, or a place may not be reached.
        """
        owner = self._owner(principal, username)
        check_sources(sources)
        _check_certificate(sources.ca_certificate)
        for address in sources.addresses:
            await self._reach.checked(address.url)
        known = await self.opened(owner.account_id)
        secrets = kept_secrets(
            sources,
            known.sources if known is not None else PackageSources(),
            given=passwords,
            known=known.secrets if known is not None else {},
        )
        sealed = self._seal.seal(
            msgspec.json.encode(secrets), owner=owner.account_id, name=_SECRET_NAME
        )
        stored = StoredSources(
            owner_id=owner.account_id, sources=sources, sealed=sealed, changed_at=self._clock()
        )
        async with self._database.transaction() as connection:
            await rows.put_sources(connection, stored)
            await record(
                connection,
                principal,
                AuditAction.PACKAGE_SOURCE_CHANGED,
                f"package_sources:{owner.username}",
                about=owner.account_id,
                detail={"addresses": str(len(sources.addresses)), "passwords": str(len(secrets))},
            )
        return ShownSources(owner=owner, sources=sources, has_password=frozenset(secrets))

    async def remove(self, principal: Principal, username: str) -> None:
        """Forget the sources of an account: its builds get packages from where everybody does."""
        owner = self._owner(principal, username)
        async with self._database.transaction() as connection:
            await rows.remove_sources(connection, owner.account_id)
            await record(
                connection,
                principal,
                AuditAction.PACKAGE_SOURCE_DELETED,
                f"package_sources:{owner.username}",
                about=owner.account_id,
            )

    async def opened(self, owner_id: str) -> OpenSources | None:
        """Return the sources of an account for its builds, None if it has none of its own."""
        async with self._database.reading() as connection:
            stored = await rows.sources_of(connection, owner_id)
        owner = self._directory.account(owner_id)
        if stored is None or owner is None:
            return None
        raw = self._seal.unseal(stored.sealed, owner=owner_id, name=_SECRET_NAME)
        secrets = msgspec.json.decode(raw, type=dict[str, str])
        return OpenSources(owner=owner, sources=stored.sources, secrets=secrets)

    async def reached(self, url: str) -> str:
        """
        Return the address to send a request to, for one that an index has named.

        Raises:
            InvalidInput: It may not be reached.
        """
        return await self._reach.checked(url)

    def _owner(self, principal: Principal, username: str) -> Account:
        account = self._directory.account_named(username)
        account_id = "" if account is None else account.account_id
        verdict = may_administer(principal, Action.MANAGE_SOURCES, account_id)
        if isinstance(verdict, Refused):
            raise NotAuthorized(detail=verdict.reason)
        if account is None:  # told to administrators only: names are not to be tried out
            raise NotFound("no such account")
        return account


def _check_certificate(text: str) -> None:
    if text:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError) as error:
            raise InvalidInput(f"ca_certificate cannot be read: {error}") from None
