"""
Connectors to storage elsewhere.

Types and names are spelled out, not imported: a migration describes one moment of the past.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BYTE_ORDERED_TEXT = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "connectors",
        sa.Column("connector_id", sa.String(36), nullable=False),
        sa.Column("owner_id", sa.String(36), nullable=False),
        sa.Column("protocol", sa.String(24), nullable=False),
        sa.Column("label", BYTE_ORDERED_TEXT, nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("is_writeable", sa.Boolean(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.String(36), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["accounts.account_id"],
            name="fk_connectors_owner_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("connector_id", name="pk_connectors"),
        sa.UniqueConstraint(
            "owner_id", "protocol", "label", name="uq_connectors_owner_id_protocol_label"
        ),
    )
    op.create_index(
        "uq_connectors_default",
        "connectors",
        ["owner_id", "protocol"],
        unique=True,
        sqlite_where=sa.text("is_default IS 1"),
        postgresql_where=sa.text("is_default IS true"),
    )
