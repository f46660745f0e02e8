"""
The first schema.

Types and names are spelled out, not imported: a migration describes one moment of the past.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BYTE_ORDERED_TEXT = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("username_key", BYTE_ORDERED_TEXT, nullable=False),
        sa.Column("email", sa.LargeBinary(), nullable=False),
        sa.Column("fullname", sa.LargeBinary(), nullable=False),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_accounts"),
        sa.UniqueConstraint("username_key", name="uq_accounts_username_key"),
    )
    op.create_table(
        "algorithms",
        sa.Column("algorithm_id", sa.String(36), nullable=False),
        sa.Column("owner_id", sa.String(36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", BYTE_ORDERED_TEXT, nullable=False),
        sa.Column("label", sa.LargeBinary(), nullable=False),
        sa.Column("summary", sa.LargeBinary(), nullable=False),
        sa.Column("tagline", sa.LargeBinary(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["accounts.account_id"], name="fk_algorithms_owner_id"
        ),
        sa.PrimaryKeyConstraint("algorithm_id", name="pk_algorithms"),
        sa.UniqueConstraint("owner_id", "name_key", name="uq_algorithms_owner_id_name_key"),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("label", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("permissions", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.account_id"],
            name="fk_api_keys_account_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
    )
    op.create_index("ix_api_keys_account_id", "api_keys", ["account_id"])
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("is_idempotent", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.account_id"], name="fk_jobs_account_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_account_id_state", "jobs", ["account_id", "state"])
    op.create_index("ix_jobs_finished_at", "jobs", ["finished_at"])
    op.create_index("ix_jobs_state_due_at", "jobs", ["state", "due_at"])
    op.create_table(
        "memberships",
        sa.Column("organization_id", sa.String(36), nullable=False),
        sa.Column("user_id", sa.String(36), nullable=False),
        sa.Column("role", sa.String(24), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["accounts.account_id"],
            name="fk_memberships_organization_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["accounts.account_id"], name="fk_memberships_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("organization_id", "user_id", name="pk_memberships"),
    )
    op.create_index("ix_memberships_user_id", "memberships", ["user_id"])
    op.create_table(
        "builds",
        sa.Column("build_id", sa.String(36), nullable=False),
        sa.Column("algorithm_id", sa.String(36), nullable=False),
        sa.Column("commit_sha", sa.String(64), nullable=False),
        sa.Column("status", sa.String(24), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("lock", sa.LargeBinary(), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("source_bytes", sa.BigInteger(), nullable=False),
        sa.Column("log", sa.LargeBinary(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["algorithm_id"],
            ["algorithms.algorithm_id"],
            name="fk_builds_algorithm_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("build_id", name="pk_builds"),
    )
    op.create_index("ix_builds_algorithm_id_started_at", "builds", ["algorithm_id", "started_at"])
    op.create_table(
        "collections",
        sa.Column("collection_id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("owner_id", sa.String(36), nullable=False),
        sa.Column("algorithm_id", sa.String(36), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", BYTE_ORDERED_TEXT, nullable=False),
        sa.Column("acl", sa.String(24), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["algorithm_id"],
            ["algorithms.algorithm_id"],
            name="fk_collections_algorithm_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["accounts.account_id"], name="fk_collections_owner_id"
        ),
        sa.PrimaryKeyConstraint("collection_id", name="pk_collections"),
    )
    op.create_index("ix_collections_algorithm_id", "collections", ["algorithm_id"])
    op.create_index("ix_collections_kind_created_at", "collections", ["kind", "created_at"])
    op.create_index(
        "uq_collections_owner",
        "collections",
        ["owner_id", "kind", "name_key"],
        unique=True,
        sqlite_where=sa.text("algorithm_id IS NULL"),
        postgresql_where=sa.text("algorithm_id IS NULL"),
    )
    op.create_index(
        "uq_collections_owner_algorithm",
        "collections",
        ["owner_id", "kind", "algorithm_id", "name_key"],
        unique=True,
        sqlite_where=sa.text("algorithm_id IS NOT NULL"),
        postgresql_where=sa.text("algorithm_id IS NOT NULL"),
    )
    op.create_table(
        "files",
        sa.Column("file_id", sa.String(36), nullable=False),
        sa.Column("collection_id", sa.String(36), nullable=False),
        sa.Column("name", BYTE_ORDERED_TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("md5", sa.String(32), nullable=False),
        sa.Column("blake2b", sa.String(64), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.collection_id"],
            name="fk_files_collection_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("file_id", name="pk_files"),
        sa.UniqueConstraint("collection_id", "name", name="uq_files_collection_id_name"),
    )
    op.create_table(
        "versions",
        sa.Column("version_id", sa.String(36), nullable=False),
        sa.Column("algorithm_id", sa.String(36), nullable=False),
        sa.Column("build_id", sa.String(36), nullable=False),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("minor", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("commit_sha", sa.String(64), nullable=False),
        sa.Column("callability", sa.String(24), nullable=False),
        sa.Column("network_access", sa.String(24), nullable=False),
        sa.Column("is_pipeline_enabled", sa.Boolean(), nullable=False),
        sa.Column("release_notes", sa.LargeBinary(), nullable=False),
        sa.Column("sample_input", sa.LargeBinary(), nullable=False),
        sa.Column("sample_output", sa.LargeBinary(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["algorithm_id"],
            ["algorithms.algorithm_id"],
            name="fk_versions_algorithm_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["build_id"], ["builds.build_id"], name="fk_versions_build_id"),
        sa.PrimaryKeyConstraint("version_id", name="pk_versions"),
        sa.UniqueConstraint(
            "algorithm_id",
            "major",
            "minor",
            "revision",
            name="uq_versions_algorithm_id_major_minor_revision",
        ),
    )
    op.create_index("ix_versions_build_id", "versions", ["build_id"])
