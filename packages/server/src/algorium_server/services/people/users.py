"""
Users: created, changed, disabled, deleted; and their roles in the installation.

Source: wire specification, "Users", "Roles and rights".
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from algorium_server.domain.administration import Action
from algorium_server.domain.audit import AuditAction, changed_names
from algorium_server.domain.errors import (
    AlreadyExists,
    EmailChangeRefused,
    EmailTaken,
    InconsistentUsername,
    InvalidInput,
    MissingFields,
    NotAuthorized,
    UsernameTaken,
    UserNotFound,
)
from algorium_server.domain.identity import Account, AccountKind, Principal
from algorium_server.domain.users import User, UserProfile, WantedUser, check_wanted
from algorium_server.services.auditing import record
from algorium_server.services.directory import Directory
from algorium_server.services.people.account_removal import AccountRemoval
from algorium_server.services.people.accounts import NewKey, default_key, new_account
from algorium_server.services.people.administrators import Administrators
from algorium_server.store import accounts as account_rows
from algorium_server.store import sessions as session_rows
from algorium_server.store import users as rows
from algorium_server.store.database import AsyncConnection, Database


class Users:
    """
    Use cases around users.

    Every method raises `NotAuthorized` if the caller may not do it, and those that name a user
    raise `UserNotFound` if there is none.

    Args:
        database: Where they are.
        directory: Told of everything new.
        administrators: Says who may do what.
        removal: Deletes accounts.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        administrators: Administrators,
        removal: AccountRemoval,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._administrators = administrators
        self._removal = removal
        self._clock = clock

    async def page(self, principal: Principal, *, after: str, limit: int) -> list[User]:
        """Return at most *limit* users behind the one called *after*, by name."""
        self._administrators.check(principal, Action.SEE_ALL)
        async with self._database.reading() as connection:
            accounts = await account_rows.page_of_accounts(
                connection, AccountKind.USER, after=after, limit=limit
            )
            return await rows.with_profiles(connection, accounts)

    async def user(self, principal: Principal, name: str) -> User:
        """Return a user by name or id."""
        account = self._administrators.user(principal, name, Action.SEE_USER)
        return await self._whole(account)

    async def create(self, principal: Principal, wanted: WantedUser) -> tuple[User, NewKey]:
        """
        Create a user with a `default-key`, whose value is returned here and nowhere else.

        Raises:
            MissingFields: No name, or no e-mail address.
            MalformedUser: A text is too long, or no address.
            InvalidInput: Nobody can be called so.
            UsernameTaken: A user or organization has that name, or had it.
            EmailTaken: Another user has the address, or had it.
            AlreadyExists: Another user has the external id.
        """
        self._administrators.check(principal, Action.DECIDE)
        if not wanted.username or not wanted.email:
            raise MissingFields(f"{'email' if wanted.username else 'username'} is missing")
        check_wanted(wanted)
        account = new_account(
            AccountKind.USER,
            wanted.username,
            now=self._clock(),
            email=wanted.email,
            fullname=wanted.fullname or "",
        )
        account = replace(account, is_disabled=bool(wanted.is_disabled))
        profile = _changed(UserProfile(account_id=account.account_id), wanted)
        key = default_key(account, now=self._clock())
        async with self._database.transaction() as connection:
            await self.add(connection, User(account=account, profile=profile), key)
            await record(
                connection,
                principal,
                AuditAction.USER_CREATED,
                f"user:{account.username}",
                about=account.account_id,
            )
        user = User(account=account, profile=profile)
        self.show(user, key)
        return user, key

    async def add(self, connection: AsyncConnection, user: User, key: NewKey) -> None:
        """
        Add a user with a key, within a transaction; the caller records it, and shows it afterwards.

        Raises:
            UsernameTaken: A user or organization has that name, or had it.
            EmailTaken: Another user has the address, or had it.
            AlreadyExists: Another user has the external id.
        """
        try:
            await account_rows.add_account(connection, user.account)
        except AlreadyExists as error:
            raise UsernameTaken(error.message) from error
        await self._take(connection, user.account, user.profile)
        await rows.put_profile(connection, user.profile)
        await key.store(connection)

    def show(self, user: User, key: NewKey) -> None:
        """Let a user that was added be found."""
        self._directory.put_account(user.account)
        self._directory.links.put(user.account.account_id, user.profile.external_id)
        key.put_into(self._directory)

    async def update(self, principal: Principal, name: str, wanted: WantedUser) -> User:
        """
        Change what is said of a user; the rest stays.

        Raises:
            InconsistentUsername: The body names another user.
            EmailChangeRefused: Only administrators change addresses.
            MalformedUser: A text is too long, or no address.
            EmailTaken: Another user has the address, or had it.
            AlreadyExists: Another user has the external id.
            InvalidInput: It would disable the last administrator.
        """
        account = self._administrators.user(principal, name, Action.CHANGE_USER)
        if wanted.username is not None and wanted.username.lower() != account.username.lower():
            raise InconsistentUsername(
                f"{account.username} cannot be renamed to {wanted.username[:100]!r}: users keep"
                " their names"
            )
        self._check_decided(principal, account, wanted)
        if wanted.email == "":  # objects of users without one are sent back as they were read
            wanted = replace(wanted, email=None)
        check_wanted(wanted)
        async with self._database.transaction() as connection:
            held = await account_rows.hold_account(connection, account.account_id)
            if held is None:
                raise UserNotFound
            (known,) = await rows.with_profiles(connection, [held])
            changed = replace(
                held,
                email=held.email if wanted.email is None else wanted.email,
                fullname=wanted.fullname or held.fullname,
                is_disabled=held.is_disabled if wanted.is_disabled is None else wanted.is_disabled,
            )
            if held.is_admin and changed.is_disabled:
                await self._check_other_administrator(connection, held)
            profile = _changed(known.profile, wanted)
            await self._take(connection, changed, profile)
            await account_rows.update_account(connection, changed)
            await rows.put_profile(connection, profile)
            was_linked_to = known.profile.external_id
            is_somebody_else = bool(was_linked_to) and was_linked_to != profile.external_id
            ended = (
                await session_rows.remove_sessions_of(connection, held.account_id)
                if changed.is_disabled or is_somebody_else
                else []
            )
            await _record_changes(connection, principal, (held, changed), (known.profile, profile))
        self._directory.put_account(changed)
        self._directory.links.put(changed.account_id, profile.external_id)
        self._directory.sessions.remove(ended)
        return User(account=changed, profile=profile)

    async def delete(self, principal: Principal, name: str) -> None:
        """
        Delete a user with what it owns; neither its name nor its address can be used again.

        Raises:
            LastOwner: It is the last owner of an organization.
            StillInUse: It owns an algorithm that was published for all.
            InvalidInput: It is the last administrator.
        """
        account = self._administrators.user(principal, name, Action.DECIDE)
        await self._removal.remove(account, principal)

    async def set_role(
        self,
        principal: Principal,
        name: str,
        *,
        is_admin: bool | None = None,
        is_viewer: bool | None = None,
    ) -> None:
        """
        Give a user a role in the installation, or take it.

        Raises:
            InvalidInput: Nobody would be administrator any more.
        """
        account = self._administrators.user(principal, name, Action.DECIDE)
        async with self._database.transaction() as connection:
            held = await account_rows.hold_account(connection, account.account_id)
            if held is None:
                raise UserNotFound
            if held.is_admin and is_admin is False:
                await self._check_other_administrator(connection, held)
            changed = replace(
                held,
                is_admin=held.is_admin if is_admin is None else is_admin,
                is_viewer=held.is_viewer if is_viewer is None else is_viewer,
            )
            await account_rows.update_account(connection, changed)
            await record(
                connection,
                principal,
                AuditAction.USER_ROLES_CHANGED,
                f"user:{held.username}",
                about=held.account_id,
                detail={"before": _roles(held), "after": _roles(changed)},
            )
        self._directory.put_account(changed)

    def _check_decided(self, principal: Principal, account: Account, wanted: WantedUser) -> None:
        """Refuse what only administrators decide of a user."""
        if self._administrators.may(principal, Action.DECIDE):
            return
        if wanted.email not in {None, "", account.email}:
            raise EmailChangeRefused("only an administrator can change an e-mail address")
        if wanted.external_id is not None or wanted.is_disabled is not None:
            raise NotAuthorized(detail="only administrators decide about this")

    async def _take(
        self, connection: AsyncConnection, account: Account, profile: UserProfile
    ) -> None:
        if account.email and not await rows.take_email(
            connection, account.email, account_id=account.account_id
        ):
            raise EmailTaken
        if profile.external_id:
            holder = await rows.user_of_external_id(connection, profile.external_id)
            if holder not in {None, account.account_id}:
                raise AlreadyExists("another user has this external_id")

    async def _check_other_administrator(
        self, connection: AsyncConnection, account: Account
    ) -> None:
        holders = (await account_rows.lasting_admin_keys(connection)).values()
        if set(holders) <= {account.account_id}:
            raise InvalidInput(
                f"{account.username} is the last administrator with an admin key: give one to"
                " another administrator first"
            )

    async def _whole(self, account: Account) -> User:
        async with self._database.reading() as connection:
            (user,) = await rows.with_profiles(connection, [account])
        return user


async def _record_changes(
    connection: AsyncConnection,
    principal: Principal,
    accounts: tuple[Account, Account],
    profiles: tuple[UserProfile, UserProfile],
) -> None:
    """Record what becomes of a user: both before and after; what it says stays out of it."""
    before, after = accounts
    target = f"user:{before.username}"
    if before.is_disabled != after.is_disabled:
        switched = AuditAction.USER_DISABLED if after.is_disabled else AuditAction.USER_ENABLED
        await record(connection, principal, switched, target, about=before.account_id)
    rest = changed_names(replace(before, is_disabled=after.is_disabled), after)
    changed = ", ".join(filter(None, (rest, changed_names(*profiles))))
    if changed:
        await record(
            connection,
            principal,
            AuditAction.USER_CHANGED,
            target,
            about=before.account_id,
            detail={"changed": changed},
        )


def _roles(account: Account) -> str:
    roles = {"administrator": account.is_admin, "viewer": account.is_viewer}
    return ", ".join(name for name, has in roles.items() if has) or "none"


def _changed(profile: UserProfile, wanted: WantedUser) -> UserProfile:
    return UserProfile(
        account_id=profile.account_id,
        company_name=_or(wanted.company_name, profile.company_name),
        company_role=_or(wanted.company_role, profile.company_role),
        external_id=_or(wanted.external_id, profile.external_id),
    )


def _or(wanted: str | None, known: str) -> str:
    return known if wanted is None else wanted
