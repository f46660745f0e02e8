"""Durable work, calls that are run once, and what tells gateways of changes."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
)
from sqlalchemy.types import BigInteger

from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.jobs import JobState
from algorium_server.store.columns import (
    EnumText,
    FreeText,
    OptionalText,
    UtcTimestamp,
)
from algorium_server.store.tables.accounts import accounts
from algorium_server.store.tables.metadata import metadata

jobs = Table(
    "jobs",
    metadata,
    # Wide enough for a request id: `req-` and a UUID.
    Column("job_id", String(64), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("account_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("is_idempotent", Boolean, nullable=False),
    Column("state", EnumText(JobState), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("worker", Text, nullable=False),
    Column("due_at", UtcTimestamp, nullable=False),
    Column("lease_until", UtcTimestamp),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("finished_at", UtcTimestamp, index=True),
    Column("error", FreeText, nullable=False),
    Column("queue", OptionalText(80)),
    Index(None, "state", "due_at"),
    Index(None, "account_id", "state"),
)

# Of the jobs of one queue, one runs; without a queue, a job waits for no other.
_IS_ALONE = jobs.c.state == JobState.RUNNING
Index(
    "uq_jobs_queue_running",
    jobs.c.queue,
    unique=True,
    sqlite_where=_IS_ALONE,
    postgresql_where=_IS_ALONE,
)

# Calls with an idempotency key. Bodies are the last column: who counts rows reads none of them.
kept_calls = Table(
    "kept_calls",
    metadata,
    Column("account_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), primary_key=True),
    Column("key_digest", String(64), primary_key=True),
    Column("call_id", String(64), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("gateway", Text, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("lease_until", UtcTimestamp, nullable=False, index=True),
    Column("ended_at", UtcTimestamp, index=True),
    Column("kept_bytes", BigInteger, nullable=False),
    Column("outcome", LargeBinary),
    Column("body", LargeBinary),
    Index(None, "account_id", "kept_bytes"),
)

# Numbers are never used again, not even those of rows that are gone: followers go by them.
changes = Table(
    "changes",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("kind", EnumText(ChangeKind), nullable=False),
    Column("subject", String(80), nullable=False),
    sqlite_autoincrement=True,
)
