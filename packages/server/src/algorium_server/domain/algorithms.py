"""
Algorithms, their builds and their published versions.

Source: wire specification, "Algorithm object", "Builds", "Versions and publishing".
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.identity import Account
from algorium_server.domain.languages import Language
from algorium_server.domain.limits import (
    MIB,
    SLOT_MEMORY_BYTES_MAX,
    SLOT_MEMORY_BYTES_MIN,
    SLOTS_PER_VERSION_MAX,
)
from algorium_server.domain.versions import SemanticVersion

INTERNAL_SCM: Final = "internal"
"""The source hosting that every server brings itself."""


class Callability(StrEnum):
    """Who may call a version."""

    PUBLIC = "public"
    PRIVATE = "private"


class SourceVisibility(StrEnum):
    """Who may see the source, and with it stack traces."""

    OPEN = "open"
    CLOSED = "closed"


class NetworkAccess(StrEnum):
    """What an algorithm may reach."""

    FULL = "full"
    ISOLATED = "isolated"


class MachineType(StrEnum):
    """What kind of machine an algorithm asks for."""

    CPU = "cpu"
    GPU = "gpu"


class PublishGate(StrEnum):
    """What the check of a build before its publication may do: nothing, warn, or refuse."""

    OFF = "off"
    WARN = "warn"
    REFUSE = "refuse"


class Isolation(StrEnum):
    """Whose calls may meet in one slot."""

    ACCOUNT = "account"
    SHARED = "shared"


class BuildStatus(StrEnum):
    """States of a build; the values are the wire's."""

    IN_PROGRESS = "in-progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class BuildTrigger(StrEnum):
    """Why there is a build."""

    COMPILE = "compile"
    PUSH = "push"
    COMMIT = "commit"
    WEBHOOK = "webhook"
    POLL = "poll"
    DEMO = "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """
    How a version wants to be run.

    Attributes:
        isolation: `account`: a loaded instance serves one calling account only. `shared`: it
            serves all, one call at a time; what one call leaves behind, the next one finds.
        slots_min: Slots of the newest version that are kept warm: for all if they are shared,
            else for the owner's own calls. Organizations do not call, so theirs must be shared.
        slots_max: Slots that calls from outside may hold, in the same account or of all if they
            are shared; 0 leaves it to the server.
        memory_bytes: Limit of each slot; 0 leaves it to the server.

    Raises:
        InvalidInput: A number is out of bounds.
    """

    isolation: Isolation = Isolation.ACCOUNT
    slots_min: int = 0
    slots_max: int = 0
    memory_bytes: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.slots_max <= SLOTS_PER_VERSION_MAX:
            raise InvalidInput(f"slots_max must be between 0 and {SLOTS_PER_VERSION_MAX}")
        if not 0 <= self.slots_min <= (self.slots_max or SLOTS_PER_VERSION_MAX):
            raise InvalidInput(f"slots_min must be between 0 and {SLOTS_PER_VERSION_MAX}")
        least, most = SLOT_MEMORY_BYTES_MIN, SLOT_MEMORY_BYTES_MAX
        if self.memory_bytes and not least <= self.memory_bytes <= most:
            raise InvalidInput(
                f"memory_bytes must be between {least // MIB} and {most // MIB} MiB, or 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmSettings:
    """
    What an owner decides about an algorithm.

    Attributes:
        language: As the owner wrote it; never changes.
        environment_id: Of the environment that was chosen by id; empty if the language says all.
        package_set: As the owner wrote it; says which version of the language, empty for any.
        callability: Of the version that was published last; what is not published is private.
        royalty_microcredits: Kept and shown; nobody is billed.
        is_insights_enabled: For the next version, unless its publisher says otherwise.
        publish_gate: What the check before a publication may do.
        allows_rewriting: History of the default branch may be replaced by force, as far as it is
            not published.
    """

    language: str = "python3"
    environment_id: str = ""
    package_set: str = ""
    machine_type: MachineType = MachineType.CPU
    callability: Callability = Callability.PRIVATE
    royalty_microcredits: int = 0
    is_insights_enabled: bool = False
    publish_gate: PublishGate = PublishGate.WARN
    allows_rewriting: bool = False
    source_visibility: SourceVisibility = SourceVisibility.CLOSED
    license: str = "apl"
    network_access: NetworkAccess = NetworkAccess.ISOLATED
    is_pipeline_enabled: bool = True
    scaling: Scaling = Scaling()


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """
    An algorithm, by its owner and name.

    Attributes:
        sample_input: JSON or text, for documentation and for the check before a publication.
        scm_id: Where its source is: `internal`, or a provider of source hosting.
    """

    algorithm_id: str
    owner_id: str
    name: str
    label: str = ""
    summary: str = ""
    tagline: str = ""
    settings: AlgorithmSettings = field(default_factory=AlgorithmSettings)
    sample_input: str = ""
    scm_id: str = INTERNAL_SCM
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FastStart:
    """
    Whether slots of a build can be forked from a prepared process.

    Attributes:
        is_possible: If not, every slot is started cold.
        modules: Third-party modules that the prepared process imports, in this order.
        reason: In words, for the author.
    """

    is_possible: bool = False
    modules: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """
    What an algorithm takes and gives, as far as its annotations say.

    Attributes:
        input_schema: JSON Schema of the input as text, empty if nothing is known.
        output_schema: The same of the result.
    """

    input_schema: str = ""
    output_schema: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """
    One attempt to make a commit runnable.

    It is in progress from the moment it is asked for, also while it waits for others.

    Attributes:
        trigger: Why there is one.
        requested_by: Account that asked for it; empty for nobody in particular.
        tree_digest: SHA-256 of the checked-out tree, hexadecimal; empty until it is known.
        signature: What the entry takes and gives.
        failure: Why it failed, in a sentence; empty unless it did.
        started_at: When it was asked for.
        began_at: When work on it began; None while it waits.
        language: How it is built and run.
        environment: Key of the environment it runs in (hash of the lock), empty until resolved;
            stays so where everything that is installed becomes part of the tree.
        lock: The resolved requirements, exactly as installed.
        entry: What the language begins with: an importable module (`src.Hello`), a file, a class;
            empty until known.
        source_bytes: Of all files of the tree together; 0 until it is checked out.
        log: Everything the tools said, as one text.
        fast_start: How its slots can be started.
    """

    build_id: str
    algorithm_id: str
    commit_sha: str
    status: BuildStatus
    language: Language = Language.PYTHON
    environment: str = ""
    lock: str = ""
    entry: str = ""
    source_bytes: int = 0
    log: str = ""
    fast_start: FastStart = FastStart()
    trigger: BuildTrigger = BuildTrigger.COMPILE
    requested_by: str = ""
    tree_digest: str = ""
    signature: Signature = Signature()
    failure: str = ""
    started_at: datetime
    began_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """
    A published, immutable version of an algorithm.

    Attributes:
        network_access: Frozen at publication, like `is_pipeline_enabled` and `scaling`.
        is_insights_enabled: It may report insights.
        publisher_id: Account that published it; empty for the server itself.
    """

    version_id: str
    algorithm_id: str
    build_id: str
    semantic_version: SemanticVersion
    commit_sha: str
    callability: Callability
    network_access: NetworkAccess
    is_pipeline_enabled: bool
    scaling: Scaling = Scaling()
    release_notes: str = ""
    sample_input: str = ""
    sample_output: str = ""
    is_insights_enabled: bool = False
    publisher_id: str = ""
    published_at: datetime

    @property
    def is_public(self) -> bool:
        """Whether anyone may call it."""
        return self.callability is Callability.PUBLIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """
    What a reference means for a caller.

    Attributes:
        version: The published version; None if the reference named a commit.
        build: What runs, without its log and its lock.
    """

    algorithm: Algorithm
    owner: Account
    version: Version | None
    build: Build

    @property
    def network_access(self) -> NetworkAccess:
        """What it may reach: frozen with a version, the present setting for a commit."""
        return (self.version or self.algorithm.settings).network_access

    @property
    def is_pipeline_enabled(self) -> bool:
        """Whether it may call other algorithms."""
        return (self.version or self.algorithm.settings).is_pipeline_enabled

    @property
    def scaling(self) -> Scaling:
        """How it wants to be run."""
        return (self.version or self.algorithm.settings).scaling
