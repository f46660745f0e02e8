"""
Calls with an idempotency key, and their answers.

Types and names are spelled out, not imported: a migration describes one moment of the past.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "kept_calls",
        sa.Column(
            "account_id",
            sa.String(36),
            sa.ForeignKey(
                "accounts.account_id", name="fk_kept_calls_account_id", ondelete="CASCADE"
            ),
            nullable=False,
        ),
        sa.Column("key_digest", sa.String(64), nullable=False),
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("kept_bytes", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.LargeBinary(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "key_digest", name="pk_kept_calls"),
    )
    op.create_index("ix_kept_calls_lease_until", "kept_calls", ["lease_until"])
    op.create_index("ix_kept_calls_ended_at", "kept_calls", ["ended_at"])
    op.create_index(
        "ix_kept_calls_account_id_kept_bytes", "kept_calls", ["account_id", "kept_bytes"]
    )
