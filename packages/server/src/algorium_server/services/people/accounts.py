"""
Accounts and keys: the first start, new accounts, new keys, organizations of the demo.

A key's secret exists in two places only: where it was handed out, and as its SHA-256 here.

Source: wire specification, "Users", "Organizations", "API keys".
"""

import asyncio
import json
import secrets
import string
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import AlreadyExists, EmailTaken
from algorium_server.domain.identity import (
    DEFAULT_KEY_PERMISSIONS,
    Account,
    AccountKind,
    ApiKey,
    KeyKind,
    KeyPermissions,
    Role,
)
from algorium_server.domain.keys import DEFAULT_KEY_LABEL, implied_permissions, mask_of
from algorium_server.domain.names import check_account_name
from algorium_server.durable import write_file
from algorium_server.services.auditing import record
from algorium_server.services.directory import Directory, key_digest
from algorium_server.store import accounts as rows
from algorium_server.store.database import AsyncConnection, Database
from algorium_server.store.users import take_email

CREDENTIALS_FILE: Final = "credentials.json"

_BASE62: Final = string.ascii_letters + string.digits
_SECRET_RANDOM_CHARS: Final = 25
"""149 bits. With the prefix 28 characters, the only form the old command line accepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdministratorCredentials:
    """What `credentials.json` holds: the administrator's name and keys."""

    username: str
    api_key: str
    admin_api_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key and, this once, its secret."""

    key: ApiKey
    secret: str

    async def store(self, connection: AsyncConnection) -> None:
        """Add it, without its secret."""
        mask = mask_of(self.secret)
        await rows.add_key(connection, self.key, digest=key_digest(self.secret), mask=mask)

    def put_into(self, directory: Directory) -> None:
        """Let it be found from now on."""
        directory.put_key(self.key, digest=key_digest(self.secret))


async def create_account(
    database: Database,
    directory: Directory,
    *,
    username: str,
    now: datetime,
    email: str = "",
    fullname: str = "",
) -> tuple[Account, NewKey]:
    """
    Create a user with a `default-key`.

    Raises:
        InvalidInput: The name cannot be an account's.
        AlreadyExists: A user or organization has it, or had it.
        EmailTaken: Another user has the address, or had it.
    """
    account = new_account(AccountKind.USER, username, now=now, email=email, fullname=fullname)
    new = default_key(account, now=now)
    async with database.transaction() as connection:
        await rows.add_account(connection, account)
        if email and not await take_email(connection, email, account_id=account.account_id):
            raise EmailTaken
        await new.store(connection)
        await _record(connection, AuditAction.USER_CREATED, account)
    directory.put_account(account)
    new.put_into(directory)
    return account, new


async def create_key(
    database: Database,
    directory: Directory,
    *,
    account: Account,
    label: str,
    now: datetime,
    kind: KeyKind = KeyKind.STANDARD,
    permissions: KeyPermissions | None = None,
) -> NewKey:
    """
    Create a key; the secret is returned here and nowhere else again.

    Args:
        database: Where it is kept.
        directory: Where it is looked up from now on.
        account: The user or organization it acts as.
        label: What people call it; `default-key` gives the default permissions.
        now: Creation time.
        kind: What it is for.
        permissions: What it may do; by default what its label and kind imply.
    """
    if permissions is None:
        permissions = implied_permissions(label, kind)
    new = new_key(account, label=label, kind=kind, permissions=permissions, now=now)
    async with database.transaction() as connection:
        await new.store(connection)
        await record(
            connection,
            None,
            AuditAction.KEY_CREATED,
            f"key:{account.username}/{new.key.key_id}",
            about=account.account_id,
            detail={"label": label, "kind": kind.value},
        )
    new.put_into(directory)
    return new


async def ensure_organization(
    database: Database, directory: Directory, *, name: str, owner: Account, now: datetime
) -> Account:
    """
    Return the organization called *name*; if there is none, create it for *owner*.

    Raises:
        InvalidInput: The name cannot be an account's.
        AlreadyExists: A user has it.
    """
    existing = directory.account_named(name)
    if existing is not None:
        if existing.kind is not AccountKind.ORGANIZATION:
            raise AlreadyExists(f"{name} is the name of a user, not of an organization")
        return existing
    organization = new_account(AccountKind.ORGANIZATION, name, now=now)
    async with database.transaction() as connection:
        await rows.add_account(connection, organization)
        await rows.set_membership(
            connection,
            organization_id=organization.account_id,
            user_id=owner.account_id,
            role=Role.OWNER,
        )
        await _record(connection, AuditAction.ORGANIZATION_CREATED, organization)
    directory.put_account(organization)
    directory.put_membership(
        organization_id=organization.account_id, user_id=owner.account_id, role=Role.OWNER
    )
    return organization


async def first_start(
    database: Database,
    directory: Directory,
    *,
    home: Path,
    admin_username: str,
    now: datetime,
) -> AdministratorCredentials | None:
    """
    Create the administrator with a default key and an admin key, unless there is one.

    The keys are in `credentials.json` before the rows are committed. Whenever the process dies,
    either the file opens the account, or there is no account yet and the next start writes the
    file anew.

    Returns:
        The new credentials, to be shown once; None if this was not the first start.
    """
    account = new_account(AccountKind.USER, admin_username, now=now, is_admin=True)
    default = default_key(account, now=now)
    admin = new_key(
        account, label="admin-key", kind=KeyKind.ADMIN, permissions=KeyPermissions(), now=now
    )
    credentials = AdministratorCredentials(
        username=account.username, api_key=default.secret, admin_api_key=admin.secret
    )
    async with database.transaction() as connection:
        if any(existing.is_admin for existing in await rows.accounts(connection)):
            return None
        await rows.add_account(connection, account)
        for new in (default, admin):
            await new.store(connection)
        await _record(connection, AuditAction.USER_CREATED, account)
        text = json.dumps(asdict(credentials), indent=2) + "\n"
        await asyncio.to_thread(write_file, home / CREDENTIALS_FILE, text)
    directory.put_account(account)
    for new in (default, admin):
        new.put_into(directory)
    return credentials


async def _record(connection: AsyncConnection, action: AuditAction, account: Account) -> None:
    target = f"{account.kind.value}:{account.username}"
    await record(connection, None, action, target, about=account.account_id)


def new_account(
    kind: AccountKind,
    username: str,
    *,
    now: datetime,
    email: str = "",
    fullname: str = "",
    is_admin: bool = False,
) -> Account:
    """
    Return an account that is not stored yet.

    Raises:
        InvalidInput: The name cannot be an account's.
    """
    return Account(
        account_id=str(uuid.uuid4()),
        kind=kind,
        username=check_account_name(username),
        email=email,
        fullname=fullname or username,
        is_admin=is_admin,
        created_at=now,
    )


def default_key(account: Account, *, now: datetime) -> NewKey:
    """Return a `default-key` that is not stored yet."""
    return new_key(
        account,
        label=DEFAULT_KEY_LABEL,
        kind=KeyKind.STANDARD,
        permissions=DEFAULT_KEY_PERMISSIONS,
        now=now,
    )


def new_key(
    account: Account,
    *,
    label: str,
    kind: KeyKind,
    permissions: KeyPermissions,
    now: datetime,
    expires_at: datetime | None = None,
    secret: str = "",
) -> NewKey:
    """
    Return a key that is not stored yet.

    Args:
        account: The user or organization it acts as.
        label: What people call it.
        kind: What it is for.
        permissions: What it may do.
        now: Creation time.
        expires_at: When it ends.
        secret: Its value, if it comes from elsewhere.
    """
    key = ApiKey(
        key_id=str(uuid.uuid4()),
        account_id=account.account_id,
        label=label,
        kind=kind,
        permissions=permissions,
        created_at=now,
        expires_at=expires_at,
    )
    random_part = "".join(secrets.choice(_BASE62) for _ in range(_SECRET_RANDOM_CHARS))
    return NewKey(key=key, secret=secret or "sim" + random_part)
