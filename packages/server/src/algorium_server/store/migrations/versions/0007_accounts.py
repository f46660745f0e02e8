"""
Accounts: who may do what, and what is kept for them.

Types and names are spelled out, not imported: a migration describes one moment of the past.
"""

import hashlib
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    _extend_accounts()
    _reserve_names()
    _extend_keys()
    _create_organizations()
    _create_hosts()
    _create_installation()
    _create_secrets()


def _extend_accounts() -> None:
    for name in ("is_viewer", "is_disabled"):
        op.add_column(
            "accounts", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())
        )
    op.create_table(
        "user_profiles",
        _account_key("user_profiles", "account_id"),
        sa.Column("company_name", sa.LargeBinary(), nullable=False),
        sa.Column("company_role", sa.LargeBinary(), nullable=False),
        sa.Column("external_id", sa.String(255)),
        sa.PrimaryKeyConstraint("account_id", name="pk_user_profiles"),
        sa.UniqueConstraint("external_id", name="uq_user_profiles_external_id"),
    )


def _reserve_names() -> None:
    byte_ordered = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
    names = op.create_table(
        "taken_names",
        sa.Column("name_key", byte_ordered, nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("name_key", name="pk_taken_names"),
    )
    emails = op.create_table(
        "taken_emails",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_taken_emails"),
    )
    rows = op.get_bind().execute(
        sa.text("SELECT account_id, kind, username_key, email FROM accounts ORDER BY created_at")
    )
    taken_names: dict[str, str] = {}
    taken_emails: dict[str, str] = {}
    for account_id, kind, username_key, email in rows:
        taken_names[username_key] = account_id
        if kind == "user" and email:
            text = bytes(email).decode("utf-8", "surrogatepass").lower()
            digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            taken_emails.setdefault(digest, account_id)
    if taken_names:
        op.bulk_insert(names, [{"name_key": k, "account_id": v} for k, v in taken_names.items()])
    if taken_emails:
        op.bulk_insert(emails, [{"digest": k, "account_id": v} for k, v in taken_emails.items()])


def _extend_keys() -> None:
    op.add_column("api_keys", sa.Column("expires_at", sa.DateTime(timezone=True)))
    op.add_column("api_keys", sa.Column("mask", sa.LargeBinary()))
    op.create_table(
        "key_uses",
        sa.Column(
            "key_id",
            sa.String(36),
            sa.ForeignKey("api_keys.key_id", name="fk_key_uses_key_id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_key_uses"),
    )


def _create_organizations() -> None:
    byte_ordered = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
    types = op.create_table(
        "organization_types",
        sa.Column("type_id", sa.String(36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", byte_ordered, nullable=False),
        sa.PrimaryKeyConstraint("type_id", name="pk_organization_types"),
        sa.UniqueConstraint("name_key", name="uq_organization_types_name_key"),
    )
    built_in = {
        "5f8f3b3e-6a67-4c53-9a2b-0c6a1f8d7e01": "basic",
        "b1d7c8a4-2f0e-4f5d-8a63-7c9b54e2d102": "legacy",
        "e93a6d52-9b41-4e7c-b0f8-3d5a7182c903": "pro",
    }
    op.bulk_insert(
        types, [{"type_id": k, "name": name, "name_key": name} for k, name in built_in.items()]
    )
    op.create_table(
        "organizations",
        _account_key("organizations", "organization_id"),
        sa.Column("contact_name", sa.LargeBinary(), nullable=False),
        sa.Column("url", sa.LargeBinary(), nullable=False),
        sa.Column(
            "type_id",
            sa.String(36),
            sa.ForeignKey("organization_types.type_id", name="fk_organizations_type_id"),
            nullable=False,
        ),
        sa.Column("external_id", sa.String(255)),
        sa.Column("external_admin_group", sa.LargeBinary(), nullable=False),
        sa.Column("external_member_group", sa.LargeBinary(), nullable=False),
        sa.Column("external_executor_group", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name="pk_organizations"),
    )
    for name in ("type_id", "external_id"):
        op.create_index(f"ix_organizations_{name}", "organizations", [name])


def _create_hosts() -> None:
    op.create_table(
        "organization_hosts",
        _account_key("organization_hosts", "organization_id"),
        sa.Column("information_id", sa.String(36), nullable=False),
        sa.Column("host_username", sa.LargeBinary(), nullable=False),
        sa.Column("host_user_id", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name="pk_organization_hosts"),
    )
    op.create_table(
        "algorithm_hosts",
        sa.Column(
            "algorithm_id",
            sa.String(36),
            sa.ForeignKey(
                "algorithms.algorithm_id",
                name="fk_algorithm_hosts_algorithm_id",
                ondelete="CASCADE",
            ),
            nullable=False,
        ),
        sa.Column("functional_id", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("algorithm_id", name="pk_algorithm_hosts"),
    )


def _create_installation() -> None:
    byte_ordered = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
    op.create_table(
        "invites",
        sa.Column("code", byte_ordered, nullable=False),
        sa.Column("signup_credits", sa.BigInteger(), nullable=False),
        sa.Column("comments", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("code", name="pk_invites"),
    )
    op.create_table(
        "features",
        sa.Column("name", sa.String(64), nullable=False),
        # Of whom; empty for everybody.
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", "account_id", name="pk_features"),
    )
    op.create_table(
        "config_entries",
        sa.Column("keyname", byte_ordered, nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("keyname", name="pk_config_entries"),
    )
    op.create_table(
        "images",
        sa.Column("name", sa.String(24), nullable=False),
        sa.Column("media_type", sa.String(64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_images"),
    )


def _account_key(table: str, name: str) -> sa.Column[str]:
    key = sa.ForeignKey("accounts.account_id", name=f"fk_{table}_{name}", ondelete="CASCADE")
    return sa.Column(name, sa.String(36), key, nullable=False)


def _create_secrets() -> None:
    byte_ordered = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
    providers = op.create_table(
        "secret_providers",
        sa.Column("provider_id", sa.String(36), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("description", sa.LargeBinary(), nullable=False),
        sa.Column("module_name", sa.LargeBinary(), nullable=False),
        sa.Column("factory_class_name", sa.LargeBinary(), nullable=False),
        sa.Column("interface_version", sa.LargeBinary(), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.String(36), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("provider_id", name="pk_secret_providers"),
    )
    is_default = sa.column("is_default", sa.Boolean()).is_(True)
    op.create_index(
        "uq_secret_providers_default",
        "secret_providers",
        ["is_default"],
        unique=True,
        sqlite_where=is_default,
        postgresql_where=is_default,
    )
    now = datetime.now(UTC)
    internal = {
        "provider_id": "5ec2e700-0000-4000-8000-000000000000",
        "name": b"internal",
        "description": b"Values are sealed and kept in the server's own database.",
        "module_name": b"internal",
        "factory_class_name": b"internal",
        "interface_version": b"1.0",
        "is_enabled": True,
        "is_default": True,
        "sealed": b"",
        "revision": "5ec2e700-0000-4000-8000-000000000000",
        "created_at": now,
        "modified_at": now,
    }
    op.bulk_insert(providers, [internal])
    op.create_table(
        "secrets",
        sa.Column("secret_id", sa.String(36), nullable=False),
        sa.Column(
            "algorithm_id",
            sa.String(36),
            sa.ForeignKey(
                "algorithms.algorithm_id", name="fk_secrets_algorithm_id", ondelete="CASCADE"
            ),
            nullable=False,
        ),
        sa.Column(
            "provider_id",
            sa.String(36),
            sa.ForeignKey("secret_providers.provider_id", name="fk_secrets_provider_id"),
            nullable=False,
        ),
        sa.Column("secret_key", byte_ordered, nullable=False),
        sa.Column("short_name", sa.LargeBinary(), nullable=False),
        sa.Column("description", sa.LargeBinary(), nullable=False),
        sa.Column("value_id", sa.String(36), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("secret_id", name="pk_secrets"),
        sa.UniqueConstraint(
            "algorithm_id", "secret_key", name="uq_secrets_algorithm_id_secret_key"
        ),
    )
    op.create_index("ix_secrets_provider_id", "secrets", ["provider_id"])
    op.create_table(
        "slot_renewals",
        sa.Column(
            "algorithm_id",
            sa.String(36),
            sa.ForeignKey(
                "algorithms.algorithm_id",
                name="fk_slot_renewals_algorithm_id",
                ondelete="CASCADE",
            ),
            nullable=False,
        ),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("algorithm_id", name="pk_slot_renewals"),
        sa.UniqueConstraint("number", name="uq_slot_renewals_number"),
    )
