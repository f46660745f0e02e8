"""
Insights, event listeners, notifications, registries, and what governance reports are made of.

Types and names are spelled out, not imported: a migration describes one moment of the past.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"

_TIME = sa.DateTime(timezone=True)
_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _of_account(table: str) -> "sa.Column[str]":
    return sa.Column(
        "account_id",
        sa.String(36),
        sa.ForeignKey(
            "accounts.account_id",
            name=f"fk_{table}_account_id",
            ondelete="CASCADE",
        ),
        nullable=False,
    )


def upgrade() -> None:
    op.create_table(
        "registries",
        sa.Column("registry_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("registry_id", name="pk_registries"),
        sa.Column("name", sa.LargeBinary, nullable=False),
        sa.Column("registry_url", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.create_table(
        "event_listeners",
        sa.Column("listener_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("listener_id", name="pk_event_listeners"),
        _of_account("event_listeners"),
        sa.Column("source_type", sa.String(24), nullable=False),
        sa.Column("source_uri", sa.LargeBinary, nullable=False),
        sa.Column("algo_owner", sa.LargeBinary, nullable=False),
        sa.Column("algo_name", sa.LargeBinary, nullable=False),
        sa.Column("algo_version", sa.LargeBinary, nullable=False),
        sa.Column("timeout_s", sa.Integer, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Index("ix_event_listeners_account_id_created_at", "account_id", "created_at"),
    )
    op.create_table(
        "notifications",
        sa.Column("notification_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("notification_id", name="pk_notifications"),
        _of_account("notifications"),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("algorithm_id", sa.String(36), nullable=False),
        sa.Column("owner", sa.LargeBinary, nullable=False),
        sa.Column("name", sa.LargeBinary, nullable=False),
        sa.Column("semantic_version", sa.LargeBinary, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("read_at", _TIME),
        sa.Index("ix_notifications_account_id_created_at", "account_id", "created_at"),
        sa.Index("ix_notifications_created_at", "created_at"),
    )
    op.create_table(
        "insights_connections",
        sa.Column("place", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("place", name="pk_insights_connections"),
        sa.Column("connection_id", sa.String(36), nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "storage_days",
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("account", _TEXT, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("files", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("day", "account_id", name="pk_storage_days"),
    )
    op.create_table(
        "cost_rates",
        sa.Column("name", sa.String(24), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_cost_rates"),
        sa.Column("value", sa.Double, nullable=False),
    )
