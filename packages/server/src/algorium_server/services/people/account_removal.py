"""
Deleting accounts with all they own.

First nobody can act as the account any more: its keys and memberships go in one transaction, with
what must hold before anything is lost. Then its algorithms and data go, step by step, then the
account. A crash in between leaves an account that nobody can use; deleting it again goes on.

Source: wire specification, "Users", "Ambiguities" A11.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from algorium.wire.refs import AlgorithmRef
from algorium_server.data.blobs import BlobStore
from algorium_server.data.clearing import delete_all
from algorium_server.data.owned import Owned
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import (
    InvalidInput,
    LastOwner,
    NoSuchAlgorithm,
    NotAuthorized,
    PathNotFound,
    StillInUse,
    Unavailable,
)
from algorium_server.domain.identity import Account, AccountKind, Principal
from algorium_server.domain.limits import DELETED_ACCOUNT_PASSES_MAX
from algorium_server.services.auditing import record
from algorium_server.services.authoring.algorithms import Algorithms
from algorium_server.services.directory import Directory
from algorium_server.store import accounts as rows
from algorium_server.store import algorithms as algorithm_rows
from algorium_server.store import files, installation
from algorium_server.store import keys as key_rows
from algorium_server.store import organizations as organization_rows
from algorium_server.store import sessions as session_rows
from algorium_server.store.database import AsyncConnection, Database


class AccountRemoval:
    """
    Deletes users and organizations.

    Args:
        database: Where rows are.
        directory: Told of what is gone.
        algorithms: Deletes algorithms with their source.
        blobs: Where bytes of files are.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        algorithms: Algorithms,
        blobs: BlobStore,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._algorithms = algorithms
        self._blobs = blobs
        self._clock = clock

    async def remove(self, account: Account, by: Principal | None = None) -> None:
        """
        Delete an account; one that is gone already is fine.

        Args:
            account: Which.
            by: Who wants it, and may do so; None for the server itself.

        Raises:
            StillInUse: It owns an algorithm that was published for all.
            LastOwner: It is the last owner of an organization.
            InvalidInput: It is the last administrator.
            Unavailable: Others keep adding to what it owns.
        """
        if not await self._close(account, by):
            self._directory.remove_account(account.account_id)
            return
        for _ in range(DELETED_ACCOUNT_PASSES_MAX):
            await self._clear(account, by)
            if await self._finish(account):
                self._directory.remove_account(account.account_id)
                return
        raise Unavailable(f"{account.username} is still being used; try again")

    async def _close(self, account: Account, by: Principal | None = None) -> bool:
        """Let nobody act as an account any more; return whether there is one."""
        async with self._database.transaction() as connection:
            held = await rows.hold_account(connection, account.account_id)
            if held is None:
                return False
            await self._check(connection, held)
            keys = await key_rows.remove_keys_of(connection, held.account_id)
            members = await rows.end_memberships(connection, held.account_id)
            sessions = await session_rows.remove_sessions_of(connection, held.account_id)
            is_user = held.kind is AccountKind.USER
            await record(
                connection,
                by,
                AuditAction.USER_DELETED if is_user else AuditAction.ORGANIZATION_DELETED,
                f"{held.kind.value}:{held.username}",
                about=held.account_id,
                detail={"keys": str(len(keys)), "memberships": str(len(members))},
            )
        self._directory.sessions.remove(sessions)
        for key_id in keys:
            self._directory.remove_key(key_id)
        for organization_id, user_id in members:
            self._directory.put_membership(
                organization_id=organization_id, user_id=user_id, role=None
            )
        return True

    async def _check(self, connection: AsyncConnection, account: Account) -> None:
        owned = await algorithm_rows.algorithms_of(connection, account.account_id)
        for algorithm in owned:
            versions = await algorithm_rows.versions(
                connection, algorithm_id=algorithm.algorithm_id
            )
            if any(version.is_public for version in versions):
                raise StillInUse(
                    f"{account.username} owns {algorithm.name}, which was published for all: "
                    "delete that first, as an administrator"
                )
        if account.kind is AccountKind.ORGANIZATION:
            return
        for organization_id in await organization_rows.owned_by(connection, account.account_id):
            owners = await organization_rows.owners_of(connection, organization_id)
            if owners == {account.account_id}:
                found = await rows.accounts(connection, ids=[organization_id])
                name = found[0].username if found else organization_id
                raise LastOwner(f"{account.username} is the last owner of {name}")
        holders = (await rows.lasting_admin_keys(connection)).values()
        if account.is_admin and set(holders) <= {account.account_id}:
            raise InvalidInput(
                f"{account.username} is the last administrator with an admin key: give one to"
                " another administrator first"
            )

    async def _clear(self, account: Account, by: Principal | None) -> None:
        # It acts for itself here: everything below was decided in `_close`.
        principal = self._directory.principal_of(account)
        async with self._database.reading() as connection:
            algorithms = await algorithm_rows.algorithms_of(connection, account.account_id)
        for algorithm in algorithms:
            self._directory.put_algorithm(algorithm)  # another gateway may have just created it
            with suppress(NoSuchAlgorithm):
                try:
                    ref = AlgorithmRef(algorithm_id=algorithm.algorithm_id)
                    await self._algorithms.delete(principal, ref, by=by)
                except NotAuthorized as error:
                    raise StillInUse(f"{algorithm.name} has just been published for all") from error
        async with self._database.reading() as connection:
            collections = await files.all_collections_of(connection, account.account_id)
        for collection in collections:
            owned = Owned(collection, check=lambda _: None, clock=self._clock)
            with suppress(PathNotFound):
                await delete_all(self._database, self._blobs, owned, is_forced=True)

    async def _finish(self, account: Account) -> bool:
        """Delete the account itself; return whether it was possible."""
        try:
            async with self._database.transaction() as connection:
                await rows.delete_account(connection, account.account_id)
                await installation.remove_features_of(connection, account.account_id)
        except StillInUse:
            return False
        return True
