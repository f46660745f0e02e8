"""
The tables: all of them on one page, in the order in which they refer to one another.

Every change here comes with a migration; a test compares the two. What columns are made of, and how
values become rows, is in `store/columns.py`.
"""

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.types import BigInteger

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
from algorium_server.domain.conditions import Condition
from algorium_server.domain.connectors import ConnectorOptions, StorageProtocol
from algorium_server.domain.identity import AccountKind, KeyKind, KeyPermissions, Role
from algorium_server.domain.images import ImageName
from algorium_server.domain.jobs import JobState
from algorium_server.domain.languages import Language
from algorium_server.domain.package_sources import PackageSources
from algorium_server.domain.scms import LinkStatus, Provider, ScmProfile, ScmUrls
from algorium_server.domain.uploads import UploadResult
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
    Column("is_viewer", Boolean, nullable=False, server_default=false()),
    Column("is_disabled", Boolean, nullable=False, server_default=false()),
)

user_profiles = Table(
    "user_profiles",
    metadata,
    Column("account_id", ForeignKey("accounts.account_id", ondelete="CASCADE"), primary_key=True),
    Column("company_name", FreeText, nullable=False),
    Column("company_role", FreeText, nullable=False),
    Column("external_id", OptionalText(255), unique=True),
)

# Rows stay when accounts go: nobody else is ever called the same.
taken_names = Table(
    "taken_names",
    metadata,
    Column("name_key", byte_ordered_text(), primary_key=True),
    Column("account_id", String(36), nullable=False),
)

# The same for addresses, of which only a digest is kept: those who left have left.
taken_emails = Table(
    "taken_emails",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("account_id", String(36), nullable=False),
)

organization_types = Table(
    "organization_types",
    metadata,
    Column("type_id", String(36), primary_key=True),
    Column("name", Text, nullable=False),
    Column("name_key", byte_ordered_text(), nullable=False, unique=True),
)

# Those that the demo makes have no row: all of it is as if nothing had been said.
organizations = Table(
    "organizations",
    metadata,
    Column(
        "organization_id", ForeignKey("accounts.account_id", ondelete="CASCADE"), primary_key=True
    ),
    Column("contact_name", FreeText, nullable=False),
    Column("url", FreeText, nullable=False),
    Column("type_id", ForeignKey("organization_types.type_id"), nullable=False, index=True),
    Column("external_id", OptionalText(255), index=True),
    Column("external_admin_group", FreeText, nullable=False),
    Column("external_member_group", FreeText, nullable=False),
    Column("external_executor_group", FreeText, nullable=False),
)

# Users of the host: kept for those who ask, and not used.
organization_hosts = Table(
    "organization_hosts",
    metadata,
    Column(
        "organization_id", ForeignKey("accounts.account_id", ondelete="CASCADE"), primary_key=True
    ),
    Column("information_id", String(36), nullable=False),
    Column("host_username", FreeText, nullable=False),
    Column("host_user_id", FreeText, nullable=False),
)

algorithm_hosts = Table(
    "algorithm_hosts",
    metadata,
    Column(
        "algorithm_id",
        ForeignKey("algorithms.algorithm_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("functional_id", FreeText, nullable=False),
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
    Column("expires_at", UtcTimestamp),
    # What may be shown of the value; unknown for keys from before it was kept.
    Column("mask", OptionalFreeText),
)

key_uses = Table(
    "key_uses",
    metadata,
    Column("key_id", ForeignKey("api_keys.key_id", ondelete="CASCADE"), primary_key=True),
    Column("used_at", UtcTimestamp, nullable=False),
)

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

passwords = Table(
    "passwords",
    metadata,
    Column("account_id", ForeignKey("accounts.account_id", ondelete="CASCADE"), primary_key=True),
    Column("encoded", Text, nullable=False),
    Column("changed_at", UtcTimestamp, nullable=False),
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

# Environments are made by names; a row says that an administrator has switched one off.
disabled_environments = Table(
    "disabled_environments",
    metadata,
    Column("specification_id", String(36), primary_key=True),
    Column("disabled_at", UtcTimestamp, nullable=False),
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

# Nothing here refers to other rows: a failed call stays readable after its algorithm is gone.
call_errors = Table(
    "call_errors",
    metadata,
    Column("request_id", String(64), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("algorithm_id", String(36), nullable=False),
    Column("owner_id", String(36), nullable=False),
    Column("owner", byte_ordered_text(), nullable=False),
    Column("name", byte_ordered_text(), nullable=False),
    Column("version", byte_ordered_text(), nullable=False),
    Column("account_id", String(36), nullable=False),
    Column("caller", byte_ordered_text(), nullable=False),
    Column("is_nested", Boolean, nullable=False),
    Column("error_type", String(64), nullable=False),
    Column("message", FreeText, nullable=False),
    Column("stacktrace", FreeText, nullable=False),
    Column("input", FreeText, nullable=False),
    Column("worker", String(80), nullable=False),
    PrimaryKeyConstraint("created_us", "request_id"),
    Index(None, "account_id", "created_us"),
    Index(None, "algorithm_id", "created_us"),
    Index(None, "owner_id", "created_us"),
)

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
    Column("account_id", ForeignKey("accounts.account_id", ondelete="CASCADE"), nullable=False),
    Column("scm_id", ForeignKey("scms.scm_id", ondelete="CASCADE"), nullable=False, index=True),
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
    Column("scm_id", ForeignKey("scms.scm_id"), nullable=False, index=True),
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
    Column("scm_id", ForeignKey("scms.scm_id", ondelete="CASCADE"), nullable=False, index=True),
    Column(
        "account_id",
        ForeignKey("accounts.account_id", ondelete="CASCADE"),
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
        "algorithm_id", ForeignKey("algorithms.algorithm_id", ondelete="CASCADE"), nullable=False
    ),
    Column("delivery", String(64), nullable=False),
    Column("received_at", UtcTimestamp, nullable=False, index=True),
    PrimaryKeyConstraint("algorithm_id", "delivery"),
)

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
        "algorithm_id", ForeignKey("algorithms.algorithm_id", ondelete="CASCADE"), nullable=False
    ),
    Column("provider_id", ForeignKey("secret_providers.provider_id"), nullable=False, index=True),
    Column("secret_key", byte_ordered_text(), nullable=False),
    Column("short_name", FreeText, nullable=False),
    Column("description", FreeText, nullable=False),
    Column("value_id", String(36), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("modified_at", UtcTimestamp, nullable=False),
    UniqueConstraint("algorithm_id", "secret_key"),
)

# When the warm slots of an algorithm were last to be replaced; numbers grow from one to the next.
slot_renewals = Table(
    "slot_renewals",
    metadata,
    Column(
        "algorithm_id",
        ForeignKey("algorithms.algorithm_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("number", BigInteger, nullable=False),
    UniqueConstraint("number"),
)

# Where builds of an account find packages of its own.
package_sources = Table(
    "package_sources",
    metadata,
    Column("owner_id", ForeignKey("accounts.account_id", ondelete="CASCADE"), primary_key=True),
    Column("sources", JsonText(PackageSources), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("changed_at", UtcTimestamp, nullable=False),
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
