"""
What the engine records and decides by: usage, how versions want to be run, and what changed.

Types and names are spelled out, not imported: a migration describes one moment of the past.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BYTE_ORDERED_TEXT = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    _catch_up()
    op.create_table(
        "usage",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("tree_id", sa.String(64), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("caller", BYTE_ORDERED_TEXT, nullable=False),
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("algorithm_id", sa.String(36), nullable=False),
        sa.Column("algorithm", BYTE_ORDERED_TEXT, nullable=False),
        sa.Column("version", BYTE_ORDERED_TEXT, nullable=False),
        sa.Column("commit_sha", BYTE_ORDERED_TEXT, nullable=False),
        sa.Column("outcome", sa.String(24), nullable=False),
        sa.Column("error_type", sa.String(64), nullable=False),
        sa.Column("is_void", sa.Boolean(), nullable=False),
        sa.Column("queue_s", sa.Double(), nullable=False),
        sa.Column("load_s", sa.Double(), nullable=False),
        sa.Column("run_s", sa.Double(), nullable=False),
        sa.Column("cpu_s", sa.Double(), nullable=False),
        sa.Column("peak_memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("input_bytes", sa.BigInteger(), nullable=False),
        sa.Column("output_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("started_us", "request_id", name="pk_usage"),
    )
    op.create_index("ix_usage_account_id_started_us", "usage", ["account_id", "started_us"])
    op.create_index("ix_usage_algorithm_id_started_us", "usage", ["algorithm_id", "started_us"])
    op.add_column(
        "builds",
        sa.Column("language", sa.String(24), nullable=False, server_default="python"),
    )
    op.add_column(
        "builds", sa.Column("fast_start", sa.Text(), nullable=False, server_default="{}")
    )
    op.create_table(
        "changes",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("subject", sa.String(80), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_changes"),
        sqlite_autoincrement=True,
    )
    op.add_column(
        "versions", sa.Column("scaling", sa.Text(), nullable=False, server_default="{}")
    )


def _catch_up() -> None:
    # The first servers made another schema under the number 0001.
    seen = sa.inspect(op.get_bind())
    if "source_bytes" not in {column["name"] for column in seen.get_columns("builds")}:
        op.add_column(
            "builds",
            sa.Column("source_bytes", sa.BigInteger(), nullable=False, server_default="0"),
        )
    if seen.has_table("installation"):
        op.drop_table("installation")
