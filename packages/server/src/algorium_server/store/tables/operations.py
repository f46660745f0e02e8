"""Insights, event listeners, notifications, registries, and what governance reports are made of."""

from sqlalchemy import (
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
)
from sqlalchemy.types import BigInteger

from algorium_server.domain.event_listeners import SourceType
from algorium_server.domain.insights import InsightsSettings
from algorium_server.domain.notifications import NotificationType
from algorium_server.store.columns import (
    EnumText,
    FreeText,
    JsonText,
    UtcTimestamp,
    byte_ordered_text,
)
from algorium_server.store.tables.accounts import accounts
from algorium_server.store.tables.metadata import metadata

registries = Table(
    "registries",
    metadata,
    Column("registry_id", String(36), primary_key=True),
    Column("name", FreeText, nullable=False),
    Column("registry_url", FreeText, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
)

event_listeners = Table(
    "event_listeners",
    metadata,
    Column("listener_id", String(36), primary_key=True),
    Column("account_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    Column("source_type", EnumText(SourceType), nullable=False),
    Column("source_uri", FreeText, nullable=False),
    Column("algo_owner", FreeText, nullable=False),
    Column("algo_name", FreeText, nullable=False),
    Column("algo_version", FreeText, nullable=False),
    Column("timeout_s", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Index(None, "account_id", "created_at"),
)

# Of algorithms only names: what was told stays true after they are gone.
notifications = Table(
    "notifications",
    metadata,
    Column("notification_id", String(36), primary_key=True),
    Column("account_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    Column("kind", EnumText(NotificationType), nullable=False),
    Column("algorithm_id", String(36), nullable=False),
    Column("owner", FreeText, nullable=False),
    Column("name", FreeText, nullable=False),
    Column("semantic_version", FreeText, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("read_at", UtcTimestamp),
    Index(None, "account_id", "created_at"),
    Index(None, "created_at"),
)

# There is one at most, in place 1: whoever writes another one replaces it.
insights_connections = Table(
    "insights_connections",
    metadata,
    Column("place", Integer, primary_key=True),
    Column("connection_id", String(36), nullable=False),
    Column("settings", JsonText(InsightsSettings), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

# What accounts stored at the end of a day, or lately of the present one. Facts about the past, as
# usage is: they refer to nothing that can be deleted.
storage_days = Table(
    "storage_days",
    metadata,
    Column("day", Integer, nullable=False),
    Column("account_id", String(36), nullable=False),
    Column("account", byte_ordered_text(), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    PrimaryKeyConstraint("day", "account_id"),
)

# Which prices an administrator has set; others are 0.
cost_rates = Table(
    "cost_rates",
    metadata,
    Column("name", String(24), primary_key=True),
    Column("value", Double, nullable=False),
)
