"""What the installation as a whole is set to."""

from sqlalchemy import (
    Boolean,
    Column,
    LargeBinary,
    String,
    Table,
    Text,
)
from sqlalchemy.types import BigInteger

from algorium_server.domain.images import ImageName
from algorium_server.store.columns import (
    EnumText,
    FreeText,
    UtcTimestamp,
    byte_ordered_text,
)
from algorium_server.store.tables.metadata import metadata

invites = Table(
    "invites",
    metadata,
    Column("code", byte_ordered_text(), primary_key=True),
    Column("signup_credits", BigInteger, nullable=False),
    Column("comments", FreeText, nullable=False),
    Column("expires_at", UtcTimestamp),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("created_by", Text, nullable=False),
)

# Of one user, or of everybody, whose id is empty.
features = Table(
    "features",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("account_id", String(36), primary_key=True),
    Column("is_enabled", Boolean, nullable=False),
)

config_entries = Table(
    "config_entries",
    metadata,
    Column("keyname", byte_ordered_text(), primary_key=True),
    Column("value", FreeText, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("updated_at", UtcTimestamp, nullable=False),
)

images = Table(
    "images",
    metadata,
    Column("name", EnumText(ImageName), primary_key=True),
    Column("media_type", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("changed_at", UtcTimestamp, nullable=False),
)

# Environments are made by names; a row says that an administrator has switched one off.
disabled_environments = Table(
    "disabled_environments",
    metadata,
    Column("specification_id", String(36), primary_key=True),
    Column("disabled_at", UtcTimestamp, nullable=False),
)
