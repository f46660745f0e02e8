"""Secrets of algorithms, and where their values are."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from algorium_server.store.columns import (
    FreeText,
    UtcTimestamp,
    byte_ordered_text,
)
from algorium_server.store.tables.algorithms import algorithms
from algorium_server.store.tables.metadata import metadata

# Where values of secrets are kept; one row is the internal provider's.
secret_providers = Table(
    "secret_providers",
    metadata,
    Column("provider_id", String(36), primary_key=True),
    Column("name", FreeText, nullable=False),
    Column("description", FreeText, nullable=False),
    Column("module_name", FreeText, nullable=False),
    Column("factory_class_name", FreeText, nullable=False),
    Column("interface_version", FreeText, nullable=False),
    Column("is_enabled", Boolean, nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("revision", String(36), nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("modified_at", UtcTimestamp, nullable=False),
)
Index(
    "uq_secret_providers_default",
    secret_providers.c.is_default,
    unique=True,
    sqlite_where=secret_providers.c.is_default.is_(True),
    postgresql_where=secret_providers.c.is_default.is_(True),
)

secrets = Table(
    "secrets",
    metadata,
    Column("secret_id", String(36), primary_key=True),
    Column(
        "algorithm_id", ForeignKey(algorithms.c.algorithm_id, ondelete="CASCADE"), nullable=False
    ),
    Column("provider_id", ForeignKey(secret_providers.c.provider_id), nullable=False, index=True),
    Column("secret_key", byte_ordered_text(), nullable=False),
    Column("short_name", FreeText, nullable=False),
    Column("description", FreeText, nullable=False),
    Column("value_id", String(36), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("modified_at", UtcTimestamp, nullable=False),
    UniqueConstraint("algorithm_id", "secret_key"),
)
