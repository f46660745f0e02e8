"""
Quotas of accounts: shown to those whose they are, changed by administrators.

Source: wire specification, "Roles and rights" (work limits); how it is asked is ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from algorium_server.domain.administration import Action
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import UserNotFound
from algorium_server.domain.identity import Account, AccountKind, Principal
from algorium_server.domain.quotas import (
    MONTHLY,
    Limits,
    QuotaName,
    QuotaState,
    changed,
    check_limits,
    minute_of,
    month_ends,
    month_of,
)
from algorium_server.services.allowances import Allowances
from algorium_server.services.auditing import record
from algorium_server.services.authoring import builds
from algorium_server.services.calling import void_calls
from algorium_server.services.calling.admission import Admission
from algorium_server.services.calling.rates import Rates
from algorium_server.services.directory import Directory
from algorium_server.services.people.administrators import Administrators
from algorium_server.store import jobs, storage, uploads
from algorium_server.store import quotas as rows
from algorium_server.store.database import Database

_MINUTE_S: Final = 60


class ComputeUse(Protocol):
    """Knows how long calls ran in this month: `services.calling.budgets`."""

    async def used_s(self, account_id: str) -> float:
        """Return it, of an account."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaReport:
    """What an account may use, and what it has used, in the order of `QuotaName`."""

    account: Account
    states: tuple[QuotaState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLimits:
    """The limits of an account that are not the server's."""

    account: Account
    limits: Limits


class QuotaService:
    """
    Use cases of quotas.

    Args:
        database: Where limits are, and most of what is used.
        directory: Which accounts there are.
        administrators: Says who may do what.
        allowances: The limits in memory.
        admission: Counts open calls.
        rates: Counts calls by minute.
        compute: Adds up how long calls ran.
        clock: Says what time it is.
    """

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        administrators: Administrators,
        allowances: Allowances,
        admission: Admission,
        rates: Rates,
        compute: ComputeUse,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._administrators = administrators
        self._allowances = allowances
        self._admission = admission
        self._rates = rates
        self._compute = compute
        self._clock = clock

    # For administrators

    async def page(self, principal: Principal, *, after: str, limit: int) -> list[OwnLimits]:
        """Return accounts with limits of their own behind the one called *after*, by name."""
        self._administrators.check(principal, Action.SEE_ALL)
        async with self._database.reading() as connection:
            found = await rows.accounts_with_limits(connection, after=after, limit=limit)
            limits = {each: await rows.limits(connection, each) for each in found}
        accounts = (self._directory.account(account_id) for account_id in found)
        return [
            OwnLimits(account=account, limits=limits[account.account_id])
            for account in accounts
            if account is not None
        ]

    async def of(self, principal: Principal, name: str) -> QuotaReport:
        """Return what any account may use; `UserNotFound` if there is none."""
        self._administrators.check(principal, Action.SEE_ALL)
        return await self._report(self._account(name))

    async def change(
        self, principal: Principal, name: str, wanted: Mapping[str, object]
    ) -> QuotaReport:
        """
        Set limits of an account; those not named stay as they are.

        Args:
            principal: Who asks.
            name: Name or id of a user or an organization.
            wanted: By name: a number, `unlimited`, or None for the limit of the server.

        Raises:
            NotAuthorized: The caller is no administrator.
            UserNotFound: There is no such account.
            InvalidInput: There is no such quota, or it cannot be that.
        """
        self._administrators.check(principal, Action.DECIDE)
        account = self._account(name)
        read = check_limits(wanted)
        await self._write(principal, account, lambda own: changed(own, read))
        return await self._report(account)

    async def clear(self, principal: Principal, name: str) -> QuotaReport:
        """Give an account the limits of the server; `UserNotFound` if there is none."""
        self._administrators.check(principal, Action.DECIDE)
        account = self._account(name)
        await self._write(principal, account, lambda _own: {})
        return await self._report(account)

    async def _write(
        self,
        principal: Principal,
        account: Account,
        change: Callable[[Limits], Mapping[QuotaName, int | None]],
    ) -> None:
        async with self._database.transaction() as connection:
            if not await rows.hold(connection, account.account_id):
                raise _no_account(account.username)
            before = await rows.limits(connection, account.account_id)
            after = change(before)
            if after != before:
                await rows.set_limits(connection, account.account_id, after)
                await record(
                    connection,
                    principal,
                    AuditAction.QUOTA_CHANGED if after else AuditAction.QUOTA_DELETED,
                    f"quota:{account.username}",
                    detail=_told(before, after),
                    about=account.account_id,
                )
        self._allowances.put(account.account_id, after)

    # For everybody

    async def of_user(self, principal: Principal, name: str) -> QuotaReport:
        """Return what a user may use; `NotAuthorized` unless it is the caller's own."""
        account = self._administrators.user(principal, name, Action.SEE_USER)
        return await self._report(account)

    async def of_organization(self, principal: Principal, name: str) -> QuotaReport:
        """Return what an organization may use; `NotAuthorized` unless the caller is in it."""
        account = self._administrators.organization(principal, name, Action.SEE_ORGANIZATION)
        return await self._report(account)

    async def _report(self, account: Account) -> QuotaReport:
        account_id = account.account_id
        quotas = self._allowances.quotas_of(account_id)
        own = self._allowances.own_of(account_id)
        now = self._clock()
        used = await self._used(account_id, now)
        if quotas.calls_per_minute is None:
            used[QuotaName.CALLS_PER_MINUTE] = None
        return QuotaReport(
            account=account,
            states=tuple(
                QuotaState(
                    name=name,
                    limit=quotas.limit(name),
                    used=used[name],
                    renews_at=self._renewal(name, now),
                    is_default=name not in own,
                )
                for name in QuotaName
            ),
        )

    async def _used(self, account_id: str, now: datetime) -> dict[QuotaName, float | None]:
        async with self._database.reading() as connection:
            stored = await storage.use_of(connection, account_id)
            arriving = await uploads.bytes_of_parts(connection, account_id)
            waiting = {
                kind: await jobs.count_unfinished(connection, account_id=account_id, kind=kind)
                for kind in (void_calls.JOB_KIND, builds.JOB_KIND)
            }
            build_s = await rows.build_seconds(connection, account_id, month_of(now))
        minute = minute_of(now.timestamp())
        return {
            QuotaName.CONCURRENT_CALLS: self._admission.open_calls(account_id),
            QuotaName.CALLS_PER_MINUTE: self._rates.counted(account_id, minute),
            QuotaName.VOID_CALLS_WAITING: waiting[void_calls.JOB_KIND],
            QuotaName.BUILDS_WAITING: waiting[builds.JOB_KIND],
            QuotaName.STORAGE_BYTES: stored.bytes + arriving,
            QuotaName.STORAGE_FILES: stored.files,
            QuotaName.BUILD_MINUTES_PER_MONTH: round(build_s / 60, 2),
            QuotaName.COMPUTE_SECONDS_PER_MONTH: round(await self._compute.used_s(account_id), 3),
        }

    def _renewal(self, name: QuotaName, now: datetime) -> datetime | None:
        if name in MONTHLY:
            return month_ends(now)
        if name is QuotaName.CALLS_PER_MINUTE:
            next_minute = (minute_of(now.timestamp()) + 1) * _MINUTE_S
            return datetime.fromtimestamp(next_minute, UTC)
        return None

    def _account(self, name: str) -> Account:
        for kind in AccountKind:
            found = self._administrators.find(name, kind)
            if found is not None:
                return found
        raise _no_account(name)


def _no_account(name: str) -> UserNotFound:
    return UserNotFound(f"there is no user or organization {name[:100]!r}")


def _told(before: Limits, after: Limits) -> dict[str, str]:
    """Return what has changed, old and new."""
    names = [name for name in QuotaName if before.get(name, "") != after.get(name, "")]
    return {name.value: f"{_text(before, name)} -> {_text(after, name)}" for name in names}


def _text(limits: Limits, name: QuotaName) -> str:
    if name not in limits:
        return "default"
    limit = limits[name]
    return "unlimited" if limit is None else str(limit)
