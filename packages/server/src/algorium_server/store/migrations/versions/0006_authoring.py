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
