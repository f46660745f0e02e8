"""
Authoring: why and for whom there are builds, what is told of versions, jobs one after the other.

Types and names are spelled out, not imported: a migration describes one moment of the past.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    _extend_algorithms()
    _extend_builds()
    _extend_versions()
    _extend_jobs()
    _create_package_sources()
    _create_passwords()
    _create_scms()
    _create_scm_links()
    _add_environments()
    _create_call_errors()


def _extend_algorithms() -> None:
    op.add_column("algorithms", sa.Column("sample_input", sa.LargeBinary()))
    op.add_column(
        "algorithms",
        sa.Column("scm_id", sa.String(64), nullable=False, server_default="internal"),
    )


def _extend_builds() -> None:
    op.add_column(
        "builds", sa.Column("trigger", sa.String(24), nullable=False, server_default="compile")
    )
    op.add_column("builds", sa.Column("requested_by", sa.String(36)))
    op.add_column("builds", sa.Column("tree_digest", sa.String(64)))
    op.add_column("builds", sa.Column("signature", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("builds", sa.Column("failure", sa.LargeBinary()))
    op.add_column("builds", sa.Column("began_at", sa.DateTime(timezone=True)))


def _extend_versions() -> None:
    op.add_column(
        "versions",
        sa.Column("is_insights_enabled", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.add_column("versions", sa.Column("publisher_id", sa.String(36)))
    op.create_table(
        "version_documents",
        sa.Column(
            "version_id",
            sa.String(36),
            sa.ForeignKey(
                "versions.version_id",
                name="fk_version_documents_version_id",
                ondelete="CASCADE",
            ),
            nullable=False,
        ),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("version_id", "kind", name="pk_version_documents"),
    )


def _extend_jobs() -> None:
    op.add_column("jobs", sa.Column("queue", sa.String(80)))
    is_alone = sa.text("state = 'running'")
    op.create_index(
        "uq_jobs_queue_running",
        "jobs",
        ["queue"],
        unique=True,
        sqlite_where=is_alone,
        postgresql_where=is_alone,
    )


def _create_call_errors() -> None:
    byte_ordered = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
    op.create_table(
        "call_errors",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("algorithm_id", sa.String(36), nullable=False),
        sa.Column("owner_id", sa.String(36), nullable=False),
        sa.Column("owner", byte_ordered, nullable=False),
        sa.Column("name", byte_ordered, nullable=False),
        sa.Column("version", byte_ordered, nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("caller", byte_ordered, nullable=False),
        sa.Column("is_nested", sa.Boolean(), nullable=False),
        sa.Column("error_type", sa.String(64), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("stacktrace", sa.LargeBinary(), nullable=False),
        sa.Column("input", sa.LargeBinary(), nullable=False),
        sa.Column("worker", sa.String(80), nullable=False),
        sa.PrimaryKeyConstraint("created_us", "request_id", name="pk_call_errors"),
    )
    for name in ("account_id", "algorithm_id", "owner_id"):
        op.create_index(f"ix_call_errors_{name}_created_us", "call_errors", [name, "created_us"])


def _add_environments() -> None:
    op.create_table(
        "disabled_environments",
        sa.Column("specification_id", sa.String(36), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("specification_id", name="pk_disabled_environments"),
    )


def _create_scms() -> None:
    op.create_table(
        "scms",
        sa.Column("scm_id", sa.String(64), nullable=False),
        sa.Column("provider", sa.String(24), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("urls", sa.Text(), nullable=False),
        sa.Column("client_id", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("scm_id", name="pk_scms"),
    )
    is_default = sa.column("is_default", sa.Boolean()).is_(True)
    op.create_index(
        "uq_scms_default",
        "scms",
        ["is_default"],
        unique=True,
        sqlite_where=is_default,
        postgresql_where=is_default,
    )
    op.create_table(
        "scm_connections",
        _account("scm_connections"),
        _scm("scm_connections", ondelete="CASCADE"),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.String(36), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "scm_id", name="pk_scm_connections"),
    )
    op.create_index("ix_scm_connections_scm_id", "scm_connections", ["scm_id"])
    op.create_table(
        "scm_states",
        sa.Column("digest", sa.String(64), nullable=False),
        _scm("scm_states", ondelete="CASCADE"),
        _account("scm_states"),
        sa.Column("browser", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_scm_states"),
    )
    for name in ("scm_id", "account_id", "expires_at"):
        op.create_index(f"ix_scm_states_{name}", "scm_states", [name])


def _create_scm_links() -> None:
    op.create_table(
        "scm_links",
        sa.Column("algorithm_id", sa.String(36), nullable=False),
        _scm("scm_links"),
        sa.Column("account_id", sa.String(36)),
        sa.Column("repository_id", sa.String(128)),
        sa.Column("owner", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("branch", sa.LargeBinary(), nullable=False),
        sa.Column("head_sha", sa.String(64)),
        sa.Column("deploy_key_id", sa.String(128)),
        sa.Column("webhook_id", sa.String(128)),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.String(24), nullable=False),
        sa.Column("problem", sa.LargeBinary()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("algorithm_id", name="pk_scm_links"),
    )
    op.create_index("ix_scm_links_scm_id", "scm_links", ["scm_id"])
    op.create_table(
        "webhook_deliveries",
        sa.Column(
            "algorithm_id",
            sa.String(36),
            sa.ForeignKey(
                "algorithms.algorithm_id",
                name="fk_webhook_deliveries_algorithm_id",
                ondelete="CASCADE",
            ),
            nullable=False,
        ),
        sa.Column("delivery", sa.String(64), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("algorithm_id", "delivery", name="pk_webhook_deliveries"),
    )
    op.create_index("ix_webhook_deliveries_received_at", "webhook_deliveries", ["received_at"])


def _account(table: str) -> sa.Column[str]:
    key = sa.ForeignKey("accounts.account_id", name=f"fk_{table}_account_id", ondelete="CASCADE")
    return sa.Column("account_id", sa.String(36), key, nullable=False)


def _scm(table: str, *, ondelete: str | None = None) -> sa.Column[str]:
    key = sa.ForeignKey("scms.scm_id", name=f"fk_{table}_scm_id", ondelete=ondelete)
    return sa.Column("scm_id", sa.String(64), key, nullable=False)


def _create_passwords() -> None:
    op.create_table(
        "passwords",
        sa.Column(
            "account_id",
            sa.String(36),
            sa.ForeignKey(
                "accounts.account_id", name="fk_passwords_account_id", ondelete="CASCADE"
            ),
            nullable=False,
        ),
        sa.Column("encoded", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_passwords"),
    )


def _create_package_sources() -> None:
    key = sa.ForeignKey(
        "accounts.account_id", name="fk_package_sources_owner_id", ondelete="CASCADE"
    )
    op.create_table(
        "package_sources",
        sa.Column("owner_id", sa.String(36), key, nullable=False),
        sa.Column("sources", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", name="pk_package_sources"),
    )
