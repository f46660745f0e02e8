"""Sessions of people who signed in, and what a company's directory said of them last."""

from sqlalchemy import Column, ForeignKey, String, Table

from algorium_server.domain.sessions import SignInMethod
from algorium_server.store.columns import EnumText, FreeText, UtcTimestamp
from algorium_server.store.tables.accounts import accounts
from algorium_server.store.tables.metadata import metadata

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", String(36), primary_key=True),
    Column(
        "account_id",
        ForeignKey(accounts.c.account_id, ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("digest", String(64), nullable=False, unique=True),
    Column("method", EnumText(SignInMethod), nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("used_at", UtcTimestamp, nullable=False),
    Column("expires_at", UtcTimestamp, nullable=False),
    Column("address", FreeText, nullable=False),
    Column("user_agent", FreeText, nullable=False),
)

# When the newest token was issued whose groups decided about a user: older ones must not.
group_syncs = Table(
    "group_syncs",
    metadata,
    Column("account_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), primary_key=True),
    Column("issued_at", UtcTimestamp, nullable=False),
)
