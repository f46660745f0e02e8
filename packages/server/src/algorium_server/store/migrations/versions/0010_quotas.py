"""
Quotas and reservations.

Types and names are spelled out, not imported: a migration describes one moment of the past.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "quotas",
        _account("quotas"),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.BigInteger()),
        sa.PrimaryKeyConstraint("account_id", "name", name="pk_quotas"),
    )
    op.create_table(
        "build_use",
        _account("build_use"),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "month", name="pk_build_use"),
    )
    byte_ordered = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
    op.create_table(
        "reservations",
        sa.Column("reservation_id", sa.String(36), nullable=False),
        sa.Column(
            "algorithm_id",
            sa.String(36),
            sa.ForeignKey(
                "algorithms.algorithm_id",
                name="fk_reservations_algorithm_id",
                ondelete="CASCADE",
            ),
            nullable=False,
        ),
        _account("reservations"),
        sa.Column("version_type", sa.String(24), nullable=False),
        sa.Column("version_identifier", sa.String(64), nullable=False),
        sa.Column("num_slots", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", byte_ordered, nullable=False),
        sa.PrimaryKeyConstraint("reservation_id", name="pk_reservations"),
    )
    for column in ("algorithm_id", "account_id"):
        op.create_index(f"ix_reservations_{column}", "reservations", [column])


def _account(table: str) -> sa.Column[str]:
    return sa.Column(
        "account_id",
        sa.String(36),
        sa.ForeignKey(
            "accounts.account_id", name=f"fk_{table}_account_id", ondelete="CASCADE"
        ),
        nullable=False,
    )
