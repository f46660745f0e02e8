"""
What accounts store, and how much they may.

Source: ours; the old service had nothing like it.
"""

from dataclasses import dataclass

from algorium_server.domain.access import Refused, is_cluster_admin, may_use_data
from algorium_server.domain.errors import NotAuthorized, NotFound
from algorium_server.domain.identity import Account, Principal
from algorium_server.domain.storage import Quota, QuotaOf, StorageUse
from algorium_server.services.directory import Directory
from algorium_server.store import storage, uploads
from algorium_server.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageReport:
    """What an account stores, and what it may."""

    account: Account
    use: StorageUse
    quota: Quota


class StorageService:
    """
    Tells what accounts store.

    Args:
        database: Where it is counted.
        directory: Names and roles.
        quota_of: Says what an account may store.
    """

    def __init__(self, database: Database, directory: Directory, *, quota_of: QuotaOf) -> None:
        self._database = database
        self._directory = directory
        self._quota_of = quota_of

    async def report(self, principal: Principal, *, account: str = "") -> StorageReport:
        """
        Tell what an account stores.

        Args:
            principal: Who asks.
            account: Name of one of the asker's organizations, and for administrators of any
                account; empty for the asker's own.

        Raises:
            NotAuthorized: The key does not open data.
            NotFound: There is no such account, or the asker has nothing to do with it.
        """
        verdict = may_use_data(principal, for_writing=False)
        if isinstance(verdict, Refused):
            raise NotAuthorized(detail=verdict.reason)
        found = self._directory.account_named(account) if account else principal.account
        if found is None or not self._may_see(principal, found):
            raise NotFound(f"account {account} not found")
        async with self._database.reading() as connection:
            use = await storage.use_of(connection, found.account_id)
            arriving = await uploads.bytes_of_parts(connection, found.account_id)
        return StorageReport(
            account=found,
            use=use + StorageUse(bytes=arriving),
            quota=self._quota_of(found.account_id),
        )

    def _may_see(self, principal: Principal, account: Account) -> bool:
        account_id = account.account_id
        if account_id == principal.account.account_id or account_id in principal.roles:
            return True
        return is_cluster_admin(principal)
