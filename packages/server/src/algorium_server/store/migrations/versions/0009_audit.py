"""
The audit log.

Types and names are spelled out, not imported: a migration describes one moment of the past.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_REFUSAL = "the audit log is append-only"


def upgrade() -> None:
    _create_entries()
    _create_head()
    _create_addresses()
    _make_append_only()


def _create_entries() -> None:
    byte_ordered = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
    op.create_table(
        "audit_entries",
        sa.Column("number", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.String(36), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("behalf_id", sa.String(36), nullable=False),
        sa.Column("behalf", sa.Text(), nullable=False),
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("algorithm_id", sa.String(36), nullable=False),
        sa.Column("action", byte_ordered, nullable=False),
        sa.Column("target", byte_ordered, nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("outcome", sa.String(24), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("chain_key", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit_entries"),
    )
    for name in ("account_id", "actor_id", "action", "target"):
        op.create_index(f"ix_audit_entries_{name}_number", "audit_entries", [name, "number"])


def _create_head() -> None:
    head = op.create_table(
        "audit_head",
        sa.Column("head_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("chain_key", sa.Text(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("head_id", name="pk_audit_head"),
    )
    first = {"head_id": 1, "number": 0, "digest": bytes(32), "chain_key": "", "seal": b""}
    op.bulk_insert(head, [first])


def _create_addresses() -> None:
    op.create_table(
        "key_addresses",
        sa.Column(
            "key_id",
            sa.String(36),
            sa.ForeignKey("api_keys.key_id", name="fk_key_addresses_key_id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("first_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "address", name="pk_key_addresses"),
    )


def _make_append_only() -> None:
    # Against mistakes, ours and others'; who wants to do it can remove this, and is found out by
    # the chain.
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_entries_no_{event.lower()} BEFORE {event} ON audit_entries "
                f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_entries_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE "
        "ON audit_entries FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_refuse()"
    )
