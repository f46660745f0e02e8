"""
The audit log.

Entries refer to nothing, so that they outlive what they are about. The database itself refuses to
change or delete them; see the migration.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
)

from algorium_server.domain.audit import Outcome
from algorium_server.store.columns import EnumText, UtcTimestamp, byte_ordered_text
from algorium_server.store.tables.metadata import metadata

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", UtcTimestamp, nullable=False),
    Column("actor_id", String(36), nullable=False),
    Column("actor", Text, nullable=False),
    Column("behalf_id", String(36), nullable=False),
    Column("behalf", Text, nullable=False),
    Column("key_id", String(36), nullable=False),
    Column("algorithm_id", String(36), nullable=False),
    Column("action", byte_ordered_text(), nullable=False),
    Column("target", byte_ordered_text(), nullable=False),
    Column("account_id", String(36), nullable=False),
    Column("outcome", EnumText(Outcome), nullable=False),
    Column("request_id", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("chain_key", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Index("ix_audit_entries_account_id_number", "account_id", "number"),
    Index("ix_audit_entries_actor_id_number", "actor_id", "number"),
    Index("ix_audit_entries_action_number", "action", "number"),
    Index("ix_audit_entries_target_number", "target", "number"),
)

# One row: writers meet there.
audit_head = Table(
    "audit_head",
    metadata,
    Column("head_id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("chain_key", Text, nullable=False),
    Column("seal", LargeBinary, nullable=False),
)

# From where each key has been used, a bounded number of addresses each.
key_addresses = Table(
    "key_addresses",
    metadata,
    Column(
        "key_id",
        String(36),
        ForeignKey("api_keys.key_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("address", String(64), primary_key=True),
    Column("first_used_at", UtcTimestamp, nullable=False),
    Column("last_used_at", UtcTimestamp, nullable=False),
)
