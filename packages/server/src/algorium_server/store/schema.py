"""
The tables, and how values become rows.

Columns are called like the fields of the domain's values; types convert in both directions, so
that a row is `row_of(value)` and a value is `of_row(Value, row)`. Both databases hold the same:

| what | how | why |
|---|---|---|
| ids | text, up to 36 characters | readable in any shell |
| names | text in byte order | the same order on both databases, whatever their locale |
| times | UTC, microseconds | aware in, aware out; SQLite has no time zones |
| free text | UTF-8 bytes | PostgreSQL's text refuses NUL, which a build log may well contain |
| settings | JSON text | unknown fields are ignored and missing ones have defaults |

Every change here comes with a migration; a test compares the two.
"""

import dataclasses
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    RowMapping,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import BigInteger, TypeDecorator

from algorium.wire.bodies import ReadAcl
from algorium_server.domain.algorithms import (
    INTERNAL_SCM,
    AlgorithmSettings,
    BuildStatus,
    BuildTrigger,
    Callability,
    FastStart,
    NetworkAccess,
    Scaling,
    Signature,
)
from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.collections import CollectionKind
from algorium_server.domain.connectors import ConnectorOptions, StorageProtocol
from algorium_server.domain.identity import AccountKind, KeyKind, KeyPermissions, Role
from algorium_server.domain.jobs import JobState
from algorium_server.domain.languages import Language
from algorium_server.domain.uploads import UploadDemand, UploadResult

V = TypeVar("V")

_SHARED_VALUES_MAX: Final = 1024
"""More than an installation has environments; a list of modules takes some kilobytes."""


class UtcTimestamp(TypeDecorator[datetime]):
    """A point in time; refuses values without a time zone, returns UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware time into what the database keeps."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a time zone cannot be stored: {value!r}")
        moment = value.astimezone(UTC)
        # SQLite keeps text: without the offset, all values have one width and sort as times.
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Return the stored time as an aware one."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class FreeText(TypeDecorator[str]):
    """Any text at all, NUL and lone surrogates included; not to be sorted or searched by."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> bytes | None:
        """Encode as UTF-8."""
        return None if value is None else value.encode("utf-8", "surrogatepass")

    def process_result_value(self, value: bytes | None, _dialect: Dialect) -> str | None:
        """Decode what `process_bind_param` encoded."""
        return None if value is None else bytes(value).decode("utf-8", "surrogatepass")


class EnumText(TypeDecorator[StrEnum]):
    """A member of *members*, kept as its value."""

    impl = String(24)
    cache_ok = True

    def __init__(self, members: type[StrEnum]) -> None:
        super().__init__()
        self.members = members

    def process_bind_param(self, value: StrEnum | None, _dialect: Dialect) -> str | None:
        """Return the member's value."""
        return None if value is None else self.members(value).value

    def process_result_value(self, value: str | None, _dialect: Dialect) -> StrEnum | None:
        """Return the member."""
        return None if value is None else self.members(value)


class JsonText(TypeDecorator[Any]):
    """A dataclass *shape* as JSON; readers of an older schema ignore what they do not know."""

    impl = Text
    cache_ok = True

    def __init__(self, shape: type) -> None:
        super().__init__()
        self.shape = shape

    def process_bind_param(self, value: Any, _dialect: Dialect) -> str | None:
        """Encode as JSON."""
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, _dialect: Dialect) -> Any:
        """Decode to the dataclass."""
        return None if value is None else msgspec.json.decode(value, type=self.shape)


class SharedJsonText(JsonText):
    """The same for immutable values that many rows have in common: equal ones are one object."""

    cache_ok = True

    def process_result_value(self, value: str | None, _dialect: Dialect) -> Any:
        """Decode to the dataclass, or remember it."""
        return None if value is None else _decode_shared(value, self.shape)


@lru_cache(maxsize=_SHARED_VALUES_MAX)
def _decode_shared(value: str, shape: type) -> Any:
    return msgspec.json.decode(value, type=shape)


class OptionalFreeText(FreeText):
    """The same where there is usually none: the empty string in values, NULL in rows."""

    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        """Encode as UTF-8, the empty string as NULL."""
        return super().process_bind_param(value or None, dialect)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str:
        """Decode what `process_bind_param` encoded."""
        return super().process_result_value(value, dialect) or ""


class OptionalText(TypeDecorator[str]):
    """A short text that may be missing: the empty string in values, NULL in rows."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        """Turn the empty string into NULL."""
        return value or None

    def process_result_value(self, value: str | None, _dialect: Dialect) -> str:
        """Turn NULL into the empty string."""
        return value or ""


class OptionalId(OptionalText):
    """An id that may be missing; foreign keys take NULL, and no empty string."""

    cache_ok = True

    def __init__(self) -> None:
        super().__init__(36)


def byte_ordered_text() -> Text:
    """Text that compares by its UTF-8 bytes; SQLite does so by itself."""
    return Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def row_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as a row."""
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def of_row(shape: type[V], row: RowMapping) -> V:
    """Return the dataclass *shape* that *row* holds; further columns are ignored."""
    return shape(**{field.name: row[field.name] for field in dataclasses.fields(shape)})  # type: ignore[arg-type]  # callers pass dataclasses


def is_storable(name: str) -> bool:
    """Whether a name can be in a text column at all; PostgreSQL refuses even to look for others."""
    return "\0" not in name and not any("\ud800" <= character <= "\udfff" for character in name)


def name_key(name: str) -> str:
    """
    Return what *name* is found by, whatever its case.

    Only ASCII is folded: names of accounts, algorithms and collections hold nothing else, and
    folding more would let the Kelvin sign find a `k`.
    """
    return name.lower() if name.isascii() else name


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", String(36), primary_key=True),
    Column("kind", EnumText(AccountKind), nullable=False),
    Column("username", Text, nullable=False),
    Column("username_key", byte_ordered_text(), nullable=False, unique=True),
    Column("email", FreeText, nullable=False),
    Column("fullname", FreeText, nullable=False),
    Column("is_admin", Boolean, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
)

memberships = Table(
    "memberships",
    metadata,
    Column(
        "organization_id", ForeignKey("accounts.account_id", ondelete="CASCADE"), primary_key=True
    ),
    Column(
        "user_id",
        ForeignKey("accounts.account_id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
    Column("role", EnumText(Role), nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String(36), primary_key=True),
    Column(
        "account_id",
        ForeignKey("accounts.account_id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("label", FreeText, nullable=False),
    Column("kind", EnumText(KeyKind), nullable=False),
    Column("permissions", JsonText(KeyPermissions), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at", UtcTimestamp, nullable=False),
)

# An account that still owns algorithms or data cannot be deleted: that must be somebody's decision.
algorithms = Table(
    "algorithms",
    metadata,
    Column("algorithm_id", String(36), primary_key=True),
    Column("owner_id", ForeignKey("accounts.account_id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("name_key", byte_ordered_text(), nullable=False),
    Column("label", FreeText, nullable=False),
    Column("summary", FreeText, nullable=False),
    Column("tagline", FreeText, nullable=False),
    Column("settings", JsonText(AlgorithmSettings), nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("sample_input", OptionalFreeText),
    Column("scm_id", String(64), nullable=False, server_default=INTERNAL_SCM),
    UniqueConstraint("owner_id", "name_key"),
)

builds = Table(
    "builds",
    metadata,
    Column("build_id", String(36), primary_key=True),
    Column(
        "algorithm_id", ForeignKey("algorithms.algorithm_id", ondelete="CASCADE"), nullable=False
    ),
    Column("commit_sha", String(64), nullable=False),
    Column("status", EnumText(BuildStatus), nullable=False),
    Column("environment", String(64), nullable=False),
    Column("lock", FreeText, nullable=False),
    Column("entry", Text, nullable=False),
    Column("source_bytes", BigInteger, nullable=False),
    Column("log", FreeText, nullable=False),
    Column("started_at", UtcTimestamp, nullable=False),
    Column("finished_at", UtcTimestamp),
    Column("language", EnumText(Language), nullable=False, server_default=Language.PYTHON.value),
    Column("fast_start", SharedJsonText(FastStart), nullable=False, server_default="{}"),
    Column(
        "trigger",
        EnumText(BuildTrigger),
        nullable=False,
        server_default=BuildTrigger.COMPILE.value,
    ),
    Column("requested_by", OptionalId),
    Column("tree_digest", OptionalText(64)),
    Column("signature", SharedJsonText(Signature), nullable=False, server_default="{}"),
    Column("failure", OptionalFreeText),
    Column("began_at", UtcTimestamp),
    Index(None, "algorithm_id", "started_at"),
)

versions = Table(
    "versions",
    metadata,
    Column("version_id", String(36), primary_key=True),
    Column(
        "algorithm_id", ForeignKey("algorithms.algorithm_id", ondelete="CASCADE"), nullable=False
    ),
    Column("build_id", ForeignKey("builds.build_id"), nullable=False, index=True),
    Column("major", Integer, nullable=False),
    Column("minor", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("commit_sha", String(64), nullable=False),
    Column("callability", EnumText(Callability), nullable=False),
    Column("network_access", EnumText(NetworkAccess), nullable=False),
    Column("is_pipeline_enabled", Boolean, nullable=False),
    Column("release_notes", FreeText, nullable=False),
    Column("sample_input", FreeText, nullable=False),
    Column("sample_output", FreeText, nullable=False),
    Column("published_at", UtcTimestamp, nullable=False),
    Column("scaling", SharedJsonText(Scaling), nullable=False, server_default="{}"),
    Column("is_insights_enabled", Boolean, nullable=False, server_default=false()),
    Column("publisher_id", OptionalId),
    UniqueConstraint("algorithm_id", "major", "minor", "revision"),
)

# What is told of a version beside what runs it: bill of materials, provenance and the like. Written
# with the version, in the same transaction, and never again.
version_documents = Table(
    "version_documents",
    metadata,
    Column("version_id", ForeignKey("versions.version_id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(24), nullable=False),
    Column("content", FreeText, nullable=False),
    PrimaryKeyConstraint("version_id", "kind"),
)

collections = Table(
    "collections",
    metadata,
    Column("collection_id", String(36), primary_key=True),
    Column("kind", EnumText(CollectionKind), nullable=False),
    Column("owner_id", ForeignKey("accounts.account_id"), nullable=False),
    Column("algorithm_id", OptionalId, ForeignKey("algorithms.algorithm_id", ondelete="CASCADE")),
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
        ForeignKey("collections.collection_id", ondelete="CASCADE"),
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
    Column("account_id", ForeignKey("accounts.account_id", ondelete="CASCADE"), primary_key=True),
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

connectors = Table(
    "connectors",
    metadata,
    Column("connector_id", String(36), primary_key=True),
    Column("owner_id", ForeignKey("accounts.account_id", ondelete="CASCADE"), nullable=False),
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

# The collection that an algorithm calls `data://.algo/default`.
default_collections = Table(
    "default_collections",
    metadata,
    Column(
        "algorithm_id",
        ForeignKey("algorithms.algorithm_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column(
        "collection_id",
        ForeignKey("collections.collection_id", ondelete="CASCADE"),
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
        ForeignKey("accounts.account_id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    # Without a reference: an algorithm may be deleted while its uploads wait for their end.
    Column("algorithm_id", String(36), nullable=False),
    Column("owner_id", String(36), nullable=False, index=True),
    Column("uri", FreeText, nullable=False),
    Column("demand", JsonText(UploadDemand), nullable=False),
    Column("size_bytes", BigInteger),
    Column("part_bytes", BigInteger, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("expires_at", UtcTimestamp, nullable=False, index=True),
    Column("result", JsonText(UploadResult)),
)

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("upload_id", ForeignKey("uploads.upload_id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("md5", String(32), nullable=False),
    PrimaryKeyConstraint("upload_id", "number"),
)

jobs = Table(
    "jobs",
    metadata,
    # Wide enough for a request id: `req-` and a UUID.
    Column("job_id", String(64), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("account_id", ForeignKey("accounts.account_id", ondelete="CASCADE"), nullable=False),
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

# Numbers are never used again, not even those of rows that are gone: followers go by them.
changes = Table(
    "changes",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("kind", EnumText(ChangeKind), nullable=False),
    Column("subject", String(80), nullable=False),
    sqlite_autoincrement=True,
)
