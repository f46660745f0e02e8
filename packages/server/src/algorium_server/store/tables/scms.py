"""Hosts of source beside the internal one."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
)

from algorium_server.domain.scms import (
    LinkStatus,
    Provider,
    ScmProfile,
    ScmUrls,
)
from algorium_server.store.columns import (
    EnumText,
    FreeText,
    JsonText,
    OptionalFreeText,
    OptionalId,
    OptionalText,
    UtcTimestamp,
)
from algorium_server.store.tables.accounts import accounts
from algorium_server.store.tables.algorithms import algorithms
from algorium_server.store.tables.metadata import metadata

# Hosts of source beside the internal one.
scms = Table(
    "scms",
    metadata,
    Column("scm_id", String(64), primary_key=True),
    Column("provider", EnumText(Provider), nullable=False),
    Column("name", FreeText, nullable=False),
    Column("urls", JsonText(ScmUrls), nullable=False),
    Column("client_id", FreeText, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("is_enabled", Boolean, nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
)
Index(
    "uq_scms_default",
    scms.c.is_default,
    unique=True,
    sqlite_where=scms.c.is_default.is_(True),
    postgresql_where=scms.c.is_default.is_(True),
)

scm_connections = Table(
    "scm_connections",
    metadata,
    Column("account_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    Column("scm_id", ForeignKey(scms.c.scm_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("profile", JsonText(ScmProfile), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("revision", String(36), nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    PrimaryKeyConstraint("account_id", "scm_id"),
)

# Without references to algorithm and account: a link is there before its algorithm, and must be
# found after it, to take back at the host what was set up there.
scm_links = Table(
    "scm_links",
    metadata,
    Column("algorithm_id", String(36), primary_key=True),
    Column("scm_id", ForeignKey(scms.c.scm_id), nullable=False, index=True),
    Column("account_id", OptionalId),
    Column("repository_id", OptionalText(128)),
    Column("owner", FreeText, nullable=False),
    Column("name", FreeText, nullable=False),
    Column("branch", FreeText, nullable=False),
    Column("head_sha", OptionalText(64)),
    Column("deploy_key_id", OptionalText(128)),
    Column("webhook_id", OptionalText(128)),
    Column("public_key", FreeText, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("status", EnumText(LinkStatus), nullable=False),
    Column("problem", OptionalFreeText),
    Column("created_at", UtcTimestamp, nullable=False),
)

# Connections that were begun in a browser.
scm_states = Table(
    "scm_states",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("scm_id", ForeignKey(scms.c.scm_id, ondelete="CASCADE"), nullable=False, index=True),
    Column(
        "account_id",
        ForeignKey(accounts.c.account_id, ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("browser", String(64), nullable=False),
    Column("expires_at", UtcTimestamp, nullable=False, index=True),
)

# Messages of hosts that have come, so that none counts twice.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column(
        "algorithm_id", ForeignKey(algorithms.c.algorithm_id, ondelete="CASCADE"), nullable=False
    ),
    Column("delivery", String(64), nullable=False),
    Column("received_at", UtcTimestamp, nullable=False, index=True),
    PrimaryKeyConstraint("algorithm_id", "delivery"),
)
