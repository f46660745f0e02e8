"""Storage and packages elsewhere."""

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

from algorium_server.domain.connectors import (
    ConnectorOptions,
    StorageProtocol,
)
from algorium_server.domain.package_sources import PackageSources
from algorium_server.store.columns import (
    EnumText,
    FreeText,
    JsonText,
    UtcTimestamp,
    byte_ordered_text,
)
from algorium_server.store.tables.accounts import accounts
from algorium_server.store.tables.metadata import metadata

connectors = Table(
    "connectors",
    metadata,
    Column("connector_id", String(36), primary_key=True),
    Column("owner_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    Column("protocol", EnumText(StorageProtocol), nullable=False),
    Column("label", byte_ordered_text(), nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("is_writeable", Boolean, nullable=False),
    Column("path", FreeText, nullable=False),
    Column("options", JsonText(ConnectorOptions), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("revision", String(36), nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    UniqueConstraint("owner_id", "protocol", "label"),
)

# One default of each protocol.
Index(
    "uq_connectors_default",
    connectors.c.owner_id,
    connectors.c.protocol,
    unique=True,
    sqlite_where=connectors.c.is_default.is_(True),
    postgresql_where=connectors.c.is_default.is_(True),
)

# Where builds of an account find packages of its own.
package_sources = Table(
    "package_sources",
    metadata,
    Column("owner_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), primary_key=True),
    Column("sources", JsonText(PackageSources), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("changed_at", UtcTimestamp, nullable=False),
)
