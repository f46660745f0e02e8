"""
What accounts store, and how much they may; small files in their rows; checksums of several kinds;
damage that was found.

Types and names are spelled out, not imported: a migration describes one moment of the past.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # Checksums say by what they were made, for new ones are made by something else. SQLite copies
    # the table, so this comes before anything is added to it.
    with op.batch_alter_table("files") as files:
        files.alter_column(
            "blake2b",
            new_column_name="checksum",
            existing_type=sa.String(64),
            type_=sa.Text(),
            existing_nullable=False,
        )
    op.execute("UPDATE files SET checksum = 'blake2b:' || checksum")
    op.add_column("files", sa.Column("content", sa.LargeBinary()))
    if op.get_bind().dialect.name == "postgresql":
        # Most files are packed already: trying to compress them again costs time for nothing.
        op.execute("ALTER TABLE files ALTER COLUMN content SET STORAGE EXTERNAL")
    op.create_table(
        "storage_use",
        sa.Column(
            "account_id",
            sa.String(36),
            sa.ForeignKey(
                "accounts.account_id",
                name="fk_storage_use_account_id",
                ondelete="CASCADE",
            ),
            nullable=False,
        ),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_storage_use"),
    )
    op.execute(
        "INSERT INTO storage_use (account_id, bytes, files) "
        "SELECT collections.owner_id, SUM(files.size_bytes), COUNT(*) FROM files "
        "JOIN collections ON collections.collection_id = files.collection_id "
        "GROUP BY collections.owner_id"
    )
    op.create_table(
        "damages",
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("file_id", sa.String(36), nullable=False),
        sa.Column("problem", sa.LargeBinary(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("blob", name="pk_damages"),
    )
    op.create_table(
        "scrubbing",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("after", sa.String(36), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("number", name="pk_scrubbing"),
    )
