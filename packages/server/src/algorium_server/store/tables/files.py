"""Hosted data: collections, files, and what is known of them."""

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import BigInteger

from algorium.wire.bodies import ReadAcl
from algorium_server.domain.collections import CollectionKind
from algorium_server.domain.conditions import Condition
from algorium_server.domain.uploads import UploadResult
from algorium_server.store.columns import (
    EnumText,
    FreeText,
    JsonText,
    OptionalId,
    UtcTimestamp,
    byte_ordered_text,
)
from algorium_server.store.tables.accounts import accounts
from algorium_server.store.tables.algorithms import algorithms
from algorium_server.store.tables.metadata import metadata

collections = Table(
    "collections",
    metadata,
    Column("collection_id", String(36), primary_key=True),
    Column("kind", EnumText(CollectionKind), nullable=False),
    Column("owner_id", ForeignKey(accounts.c.account_id), nullable=False),
    Column("algorithm_id", OptionalId, ForeignKey(algorithms.c.algorithm_id, ondelete="CASCADE")),
    Column("name", Text, nullable=False),
    Column("name_key", byte_ordered_text(), nullable=False),
    Column("acl", EnumText(ReadAcl), nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Index(None, "algorithm_id"),
    Index(None, "kind", "created_at"),
)

# NULLs are never equal, so "unique" needs one index for collections of an algorithm and one for
# the others.
_HAS_NO_ALGORITHM = collections.c.algorithm_id.is_(None)
_HAS_ALGORITHM = collections.c.algorithm_id.is_not(None)
Index(
    "uq_collections_owner",
    collections.c.owner_id,
    collections.c.kind,
    collections.c.name_key,
    unique=True,
    sqlite_where=_HAS_NO_ALGORITHM,
    postgresql_where=_HAS_NO_ALGORITHM,
)
Index(
    "uq_collections_owner_algorithm",
    collections.c.owner_id,
    collections.c.kind,
    collections.c.algorithm_id,
    collections.c.name_key,
    unique=True,
    sqlite_where=_HAS_ALGORITHM,
    postgresql_where=_HAS_ALGORITHM,
)

files = Table(
    "files",
    metadata,
    Column("file_id", String(36), primary_key=True),
    Column(
        "collection_id",
        ForeignKey(collections.c.collection_id, ondelete="CASCADE"),
        nullable=False,
    ),
    Column("name", byte_ordered_text(), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("blob", Text, nullable=False),
    Column("md5", String(32), nullable=False),
    Column("checksum", Text, nullable=False),
    Column("modified_at", UtcTimestamp, nullable=False),
    # Last, so that reading the other columns does not touch it. NULL if a blob has the bytes.
    Column("content", LargeBinary),
    UniqueConstraint("collection_id", "name"),
)

# Sums of what `files` has, kept with it: a quota must be checked without adding up thousands.
storage_use = Table(
    "storage_use",
    metadata,
    Column("account_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
)

# Files whose bytes are not what was stored, as they were found: no reference, they may be deleted.
damages = Table(
    "damages",
    metadata,
    Column("blob", Text, primary_key=True),
    Column("file_id", String(36), nullable=False),
    Column("problem", FreeText, nullable=False),
    Column("found_at", UtcTimestamp, nullable=False),
)

# How far the check of all files has come: one row, or none before the first check.
scrubbing = Table(
    "scrubbing",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("after", String(36), nullable=False),
    Column("began_at", UtcTimestamp, nullable=False),
    Column("finished_at", UtcTimestamp),
)

# The collection that an algorithm calls `data://.algo/default`.
default_collections = Table(
    "default_collections",
    metadata,
    Column(
        "algorithm_id",
        ForeignKey(algorithms.c.algorithm_id, ondelete="CASCADE"),
        primary_key=True,
    ),
    Column(
        "collection_id",
        ForeignKey(collections.c.collection_id, ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
)

uploads = Table(
    "uploads",
    metadata,
    Column("upload_id", String(36), primary_key=True),
    Column(
        "account_id",
        ForeignKey(accounts.c.account_id, ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    # Without a reference: an algorithm may be deleted while its uploads wait for their end.
    Column("algorithm_id", String(36), nullable=False),
    Column("owner_id", String(36), nullable=False, index=True),
    Column("uri", FreeText, nullable=False),
    Column("demand", JsonText(Condition), nullable=False),
    Column("size_bytes", BigInteger),
    Column("part_bytes", BigInteger, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("expires_at", UtcTimestamp, nullable=False, index=True),
    Column("result", JsonText(UploadResult)),
)

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("upload_id", ForeignKey(uploads.c.upload_id, ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("md5", String(32), nullable=False),
    PrimaryKeyConstraint("upload_id", "number"),
)
