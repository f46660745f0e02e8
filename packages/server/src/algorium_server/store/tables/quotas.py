"""What accounts may use, and what is kept warm for them."""

from sqlalchemy import Column, Double, ForeignKey, Integer, PrimaryKeyConstraint, String, Table
from sqlalchemy.types import BigInteger

from algorium_server.domain.quotas import QuotaName
from algorium_server.domain.reservations import VersionType
from algorium_server.store.columns import EnumText, UtcTimestamp, byte_ordered_text
from algorium_server.store.tables.accounts import accounts
from algorium_server.store.tables.algorithms import algorithms
from algorium_server.store.tables.metadata import metadata

# Limits that differ from those of the server. NULL is no limit; no row, that of the server.
quotas = Table(
    "quotas",
    metadata,
    Column("account_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    Column("name", EnumText(QuotaName, length=32), nullable=False),
    Column("value", BigInteger),
    PrimaryKeyConstraint("account_id", "name"),
)

# Time of builds that have ended, by month, such as `2031-05`. Beside the builds: those go with
# their algorithm, and what was used must not come back that way.
build_use = Table(
    "build_use",
    metadata,
    Column("account_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    Column("month", String(7), nullable=False),
    Column("seconds", Double, nullable=False),
    PrimaryKeyConstraint("account_id", "month"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("reservation_id", String(36), primary_key=True),
    Column(
        "algorithm_id",
        ForeignKey(algorithms.c.algorithm_id, ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column(
        "account_id",
        ForeignKey(accounts.c.account_id, ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("version_type", EnumText(VersionType), nullable=False),
    Column("version_identifier", String(64), nullable=False),
    Column("num_slots", Integer, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("created_by", byte_ordered_text(), nullable=False),
)
