"""Algorithms, their builds and versions."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.types import BigInteger

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
from algorium_server.domain.languages import Language
from algorium_server.store.columns import (
    EnumText,
    FreeText,
    JsonText,
    OptionalFreeText,
    OptionalId,
    OptionalText,
    SharedJsonText,
    UtcTimestamp,
    byte_ordered_text,
)
from algorium_server.store.tables.accounts import accounts
from algorium_server.store.tables.metadata import metadata

# An account that still owns algorithms or data cannot be deleted: that must be somebody's decision.
algorithms = Table(
    "algorithms",
    metadata,
    Column("algorithm_id", String(36), primary_key=True),
    Column("owner_id", ForeignKey(accounts.c.account_id), nullable=False),
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
        "algorithm_id", ForeignKey(algorithms.c.algorithm_id, ondelete="CASCADE"), nullable=False
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
        "algorithm_id", ForeignKey(algorithms.c.algorithm_id, ondelete="CASCADE"), nullable=False
    ),
    Column("build_id", ForeignKey(builds.c.build_id), nullable=False, index=True),
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
    Column("version_id", ForeignKey(versions.c.version_id, ondelete="CASCADE"), nullable=False),
    Column("kind", String(24), nullable=False),
    Column("content", FreeText, nullable=False),
    PrimaryKeyConstraint("version_id", "kind"),
)

# When the warm slots of an algorithm were last to be replaced; numbers grow from one to the next.
slot_renewals = Table(
    "slot_renewals",
    metadata,
    Column(
        "algorithm_id",
        ForeignKey(algorithms.c.algorithm_id, ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("number", BigInteger, nullable=False),
    UniqueConstraint("number"),
)

# Users of the host: kept for those who ask, and not used.
algorithm_hosts = Table(
    "algorithm_hosts",
    metadata,
    Column(
        "algorithm_id",
        ForeignKey(algorithms.c.algorithm_id, ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("functional_id", FreeText, nullable=False),
)
