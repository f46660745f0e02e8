"""
What authors ask for when they create, change or publish an algorithm: what is None stays.

Source: wire specification, "Enumerations", "Create, read, update, delete", "Publish body".
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from algorium_server.domain.algorithms import (
    Algorithm,
    AlgorithmSettings,
    Callability,
    MachineType,
    NetworkAccess,
    PublishGate,
    Scaling,
    SourceVisibility,
)
from algorium_server.domain.errors import InvalidInput, LanguageFixed
from algorium_server.domain.languages import language_of
from algorium_server.domain.limits import ALGORITHM_TEXT_CHARS_MAX
from algorium_server.domain.offers import Choice

LICENSES: Final = ("apl", "apache2", "gpl3", "mit")
_CLOSED_LICENSE: Final = "apl"
"""The others grant everybody the source, which then must be open."""
_ROYALTY_MAX: Final = 2**53
"""What every client's numbers can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSettings:
    """
    Settings that somebody asks for; the choice of a language is apart, in `Choice`.

    The names are those of `AlgorithmSettings`.
    """

    callability: Callability | None = None
    source_visibility: SourceVisibility | None = None
    license: str | None = None
    network_access: NetworkAccess | None = None
    is_pipeline_enabled: bool | None = None
    is_insights_enabled: bool | None = None
    royalty_microcredits: int | None = None
    publish_gate: PublishGate | None = None
    allows_rewriting: bool | None = None
    scaling: Scaling | None = None

    def __post_init__(self) -> None:
        if self.license is not None and self.license not in LICENSES:
            raise InvalidInput(f"license must be one of {', '.join(LICENSES)}")
        if self.royalty_microcredits is not None and not (
            0 <= self.royalty_microcredits <= _ROYALTY_MAX
        ):
            raise InvalidInput("royalty_microcredits must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedDetails:
    """Texts that somebody asks for."""

    label: str | None = None
    summary: str | None = None
    tagline: str | None = None
    sample_input: str | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            check_text(each.name, getattr(self, each.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedVersion:
    """
    What a publisher asks for.

    Attributes:
        git_hash: Commit of the build; the newest build if empty.
        version_type: See `domain.publication.next_version`.
        semantic_version: The same.
    """

    git_hash: str = ""
    version_type: str = ""
    semantic_version: str = ""
    release_notes: str = ""
    sample_input: str = ""
    sample_output: str = ""
    settings: WantedSettings = field(default_factory=WantedSettings)
    details: WantedDetails = field(default_factory=WantedDetails)

    def __post_init__(self) -> None:
        for name in ("release_notes", "sample_input", "sample_output"):
            check_text(name, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedLanguage:
    """
    What is said of the language, in up to three ways; see `domain.offers.choose`.

    Attributes:
        machine_type: None if it is not said.
    """

    environment_id: str = ""
    package_set: str = ""
    language: str = ""
    machine_type: MachineType | None = None

    @property
    def says_something(self) -> bool:
        """Whether there is anything to choose."""
        return bool(self.environment_id or self.package_set or self.language)


def changed_settings(
    settings: AlgorithmSettings, wanted: WantedSettings, choice: Choice | None = None
) -> AlgorithmSettings:
    """
    Return settings as somebody wants them.

    Raises:
        InvalidInput: The source would be closed under an open license.
    """
    changed = replace(settings, **_said(wanted))
    if choice is not None:
        changed = replace(
            changed,
            language=choice.language,
            environment_id=choice.environment_id,
            package_set=choice.package_set,
            machine_type=choice.machine_type,
        )
    is_closed = changed.source_visibility is SourceVisibility.CLOSED
    if is_closed and changed.license != _CLOSED_LICENSE:
        raise InvalidInput(
            f"source_visibility=closed needs license={_CLOSED_LICENSE}, not {changed.license}"
        )
    return changed


def changed_texts(algorithm: Algorithm, wanted: WantedDetails) -> Algorithm:
    """Return an algorithm with the texts that somebody wants."""
    return replace(algorithm, **_said(wanted))


def check_same_language(settings: AlgorithmSettings, choice: Choice) -> None:
    """
    Raise if a choice would change the language of an algorithm.

    Raises:
        LanguageFixed: It would.
    """
    if language_of(settings.language) is not language_of(choice.language):
        raise LanguageFixed(
            f"the algorithm is in {settings.language!r} and cannot change to {choice.language!r}:"
            " create another one"
        )


def check_text(name: str, text: str | None) -> None:
    """
    Raise if a text is longer than any that people write.

    Raises:
        InvalidInput: It is.
    """
    if text is not None and len(text) > ALGORITHM_TEXT_CHARS_MAX:
        raise InvalidInput(f"{name} may have {ALGORITHM_TEXT_CHARS_MAX} characters at most")


def _said(wanted: WantedSettings | WantedDetails) -> dict[str, Any]:
    values = ((each.name, getattr(wanted, each.name)) for each in fields(wanted))
    return {name: value for name, value in values if value is not None}
