"""Facts about calls that were."""

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    Index,
    PrimaryKeyConstraint,
    String,
    Table,
)
from sqlalchemy.types import BigInteger

from algorium_server.store.columns import (
    FreeText,
    byte_ordered_text,
)
from algorium_server.store.tables.metadata import metadata

# Facts about the past, written by the thousand: plain columns, no reference to what may be deleted.
# The key begins with the time: rows arrive nearly in its order, so they go to the end of the table
# and of every index. Keyed by the random request id alone, each would dirty a page of its own.
usage = Table(
    "usage",
    metadata,
    Column("request_id", String(64), nullable=False),
    Column("tree_id", String(64), nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("account_id", String(36), nullable=False),
    Column("caller", byte_ordered_text(), nullable=False),
    Column("key_id", String(36), nullable=False),
    Column("algorithm_id", String(36), nullable=False),
    Column("algorithm", byte_ordered_text(), nullable=False),
    Column("version", byte_ordered_text(), nullable=False),
    Column("commit_sha", byte_ordered_text(), nullable=False),
    Column("outcome", String(24), nullable=False),
    Column("error_type", String(64), nullable=False),
    Column("is_void", Boolean, nullable=False),
    Column("queue_s", Double, nullable=False),
    Column("load_s", Double, nullable=False),
    Column("run_s", Double, nullable=False),
    Column("cpu_s", Double, nullable=False),
    Column("peak_memory_bytes", BigInteger, nullable=False),
    Column("input_bytes", BigInteger, nullable=False),
    Column("output_bytes", BigInteger, nullable=False),
    PrimaryKeyConstraint("started_us", "request_id"),
    Index(None, "account_id", "started_us"),
    Index(None, "algorithm_id", "started_us"),
)

# Nothing here refers to other rows: a failed call stays readable after its algorithm is gone.
call_errors = Table(
    "call_errors",
    metadata,
    Column("request_id", String(64), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("algorithm_id", String(36), nullable=False),
    Column("owner_id", String(36), nullable=False),
    Column("owner", byte_ordered_text(), nullable=False),
    Column("name", byte_ordered_text(), nullable=False),
    Column("version", byte_ordered_text(), nullable=False),
    Column("account_id", String(36), nullable=False),
    Column("caller", byte_ordered_text(), nullable=False),
    Column("is_nested", Boolean, nullable=False),
    Column("error_type", String(64), nullable=False),
    Column("message", FreeText, nullable=False),
    Column("stacktrace", FreeText, nullable=False),
    Column("input", FreeText, nullable=False),
    Column("worker", String(80), nullable=False),
    PrimaryKeyConstraint("created_us", "request_id"),
    Index(None, "account_id", "created_us"),
    Index(None, "algorithm_id", "created_us"),
    Index(None, "owner_id", "created_us"),
)
