"""Accounts: users, organizations, their keys and passwords."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    String,
    Table,
    Text,
    false,
)

from algorium_server.domain.identity import (
    AccountKind,
    KeyKind,
    KeyPermissions,
    Role,
)
from algorium_server.store.columns import (
    EnumText,
    FreeText,
    JsonText,
    OptionalFreeText,
    OptionalText,
    UtcTimestamp,
    byte_ordered_text,
)
from algorium_server.store.tables.metadata import metadata

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", String(36), primary_key=True),
    Column("kind", EnumText(AccountKind), nullable=False),
    Column("username", Text, nullable=False),
    Column("username_key", byte_ordered_text(), nullable=False, unique=True),
    Column("email", FreeText, nullable=False),
    Column("fullname", FreeText, nullable=False),
    Column("is_admin", Boolean, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("is_viewer", Boolean, nullable=False, server_default=false()),
    Column("is_disabled", Boolean, nullable=False, server_default=false()),
)

user_profiles = Table(
    "user_profiles",
    metadata,
    Column("account_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), primary_key=True),
    Column("company_name", FreeText, nullable=False),
    Column("company_role", FreeText, nullable=False),
    Column("external_id", OptionalText(255), unique=True),
)

# Rows stay when accounts go: nobody else is ever called the same.
taken_names = Table(
    "taken_names",
    metadata,
    Column("name_key", byte_ordered_text(), primary_key=True),
    Column("account_id", String(36), nullable=False),
)

# The same for addresses, of which only a digest is kept: those who left have left.
taken_emails = Table(
    "taken_emails",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("account_id", String(36), nullable=False),
)

organization_types = Table(
    "organization_types",
    metadata,
    Column("type_id", String(36), primary_key=True),
    Column("name", Text, nullable=False),
    Column("name_key", byte_ordered_text(), nullable=False, unique=True),
)

# Those that the demo makes have no row: all of it is as if nothing had been said.
organizations = Table(
    "organizations",
    metadata,
    Column(
        "organization_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), primary_key=True
    ),
    Column("contact_name", FreeText, nullable=False),
    Column("url", FreeText, nullable=False),
    Column("type_id", ForeignKey(organization_types.c.type_id), nullable=False, index=True),
    Column("external_id", OptionalText(255), index=True),
    Column("external_admin_group", FreeText, nullable=False),
    Column("external_member_group", FreeText, nullable=False),
    Column("external_executor_group", FreeText, nullable=False),
)

# Users of the host: kept for those who ask, and not used.
organization_hosts = Table(
    "organization_hosts",
    metadata,
    Column(
        "organization_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), primary_key=True
    ),
    Column("information_id", String(36), nullable=False),
    Column("host_username", FreeText, nullable=False),
    Column("host_user_id", FreeText, nullable=False),
)

memberships = Table(
    "memberships",
    metadata,
    Column(
        "organization_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), primary_key=True
    ),
    Column(
        "user_id",
        ForeignKey(accounts.c.account_id, ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
    Column("role", EnumText(Role), nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String(36), primary_key=True),
    Column(
        "account_id",
        ForeignKey(accounts.c.account_id, ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("label", FreeText, nullable=False),
    Column("kind", EnumText(KeyKind), nullable=False),
    Column("permissions", JsonText(KeyPermissions), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("expires_at", UtcTimestamp),
    # What may be shown of the value; unknown for keys from before it was kept.
    Column("mask", OptionalFreeText),
)

key_uses = Table(
    "key_uses",
    metadata,
    Column("key_id", ForeignKey(api_keys.c.key_id, ondelete="CASCADE"), primary_key=True),
    Column("used_at", UtcTimestamp, nullable=False),
)

passwords = Table(
    "passwords",
    metadata,
    Column("account_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), primary_key=True),
    Column("encoded", Text, nullable=False),
    Column("changed_at", UtcTimestamp, nullable=False),
)
