"""
What authors send: bodies of the routes that create, change, compile and publish.

Clients of the old service serialize whole objects, with nulls and empty strings where they have
nothing to say; those count as not said.

Source: wire specification, "Enumerations", "Create, read, update, delete", "Publish body".
"""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from algorium_server.api.http import encode_json
from algorium_server.api.management import Body
from algorium_server.domain.algorithms import (
    Callability,
    Isolation,
    MachineType,
    NetworkAccess,
    PublishGate,
    Scaling,
    SourceVisibility,
)
from algorium_server.domain.errors import InvalidRequest
from algorium_server.domain.wishes import (
    WantedDetails,
    WantedLanguage,
    WantedSettings,
    WantedVersion,
)
from algorium_server.services.authoring.algorithms import NewAlgorithm
from algorium_server.services.authoring.hosts import WantedSource

_LICENSES: Final = {"ap1": "apl"}
"""As one old test suite spells it."""


def _said(value: Any) -> Any:
    return None if value == "" else value


_Said = BeforeValidator(_said)


class DetailsBody(Body):
    """Texts about an algorithm."""

    label: str | None = None
    summary: str | None = None
    tagline: str | None = None


class ScalingBody(Body):
    """How slots are started, see `AlgorithmSettings`."""

    isolation: Isolation = Isolation.ACCOUNT
    slots_min: int = 0
    slots_max: int = 0
    memory_bytes: int = 0


class SettingsBody(Body):
    """Settings of an algorithm; `licence` is another spelling of `license`."""

    algorithm_callability: Annotated[Callability | None, _Said] = None
    source_visibility: Annotated[SourceVisibility | None, _Said] = None
    license: Annotated[str | None, _Said] = None
    licence: Annotated[str | None, _Said] = None
    network_access: Annotated[NetworkAccess | None, _Said] = None
    pipeline_enabled: bool | None = None
    insights_enabled: bool | None = None
    royalty_microcredits: int | None = None
    language: str | None = None
    environment: Annotated[MachineType | None, _Said] = None
    package_set: str | None = None
    algorithm_environment: str | None = Field(
        default=None, description="Id of an environment: the present way to say a language."
    )
    publish_gate: Annotated[PublishGate | None, _Said] = None
    rewriting_enabled: bool | None = None
    scaling: ScalingBody | None = None

    def wanted(self) -> WantedSettings:
        """Return what is said; raises `InvalidInput` for values that are none."""
        license_name = self.license or self.licence
        scaling = self.scaling
        return WantedSettings(
            callability=self.algorithm_callability,
            source_visibility=self.source_visibility,
            license=_LICENSES.get(license_name, license_name) if license_name else None,
            network_access=self.network_access,
            is_pipeline_enabled=self.pipeline_enabled,
            is_insights_enabled=self.insights_enabled,
            royalty_microcredits=self.royalty_microcredits,
            publish_gate=self.publish_gate,
            allows_rewriting=self.rewriting_enabled,
            scaling=None if scaling is None else Scaling(**scaling.model_dump()),
        )

    def wanted_language(self) -> WantedLanguage:
        """Return what is said of the language."""
        return WantedLanguage(
            environment_id=self.algorithm_environment or "",
            package_set=self.package_set or "",
            language=self.language or "",
            machine_type=self.environment,
        )


class VersionInfoBody(Body):
    """
    What a publisher says of a version.

    `type` is an older spelling of `version_type`. Samples that are no text become JSON.
    """

    version_type: str | None = None
    type: str | None = None
    semantic_version: str | None = None
    git_hash: str | None = None
    release_notes: str | None = None
    sample_input: Any = None
    sample_output: Any = None
    insights_enabled: bool | None = None


class SourceBody(Body):
    """Where the source of a new algorithm is hosted; `scm` is an id, or an object that has one."""

    scm: str | dict[str, Any] | None = None
    repository_name: str | None = None
    repository_owner: str | None = None
    initial_commit_message: str | None = None
    existing_repository_name: str | None = None


class CredentialsBody(Body):
    """For source hosts without OAuth."""

    username: str | None = None
    password: str | None = None
    secretToken: str | None = None  # noqa: N815 - the wire's


class CreateBody(Body):
    """A new algorithm."""

    name: str
    details: DetailsBody
    settings: SettingsBody | None = None
    version_info: VersionInfoBody | None = None
    source: SourceBody | None = None
    scmsCredentials: CredentialsBody | None = None  # noqa: N815 - the wire's

    def wanted(self) -> NewAlgorithm:
        """Return what is asked for; raises `InvalidRequest` if something is missing."""
        if self.details.label is None:
            raise InvalidRequest("details.label is missing")
        settings = self.settings or SettingsBody()
        return NewAlgorithm(
            name=self.name,
            details=_details(self.details, self.version_info),
            settings=settings.wanted(),
            language=settings.wanted_language(),
            source=_source(self.source or SourceBody(), self.scmsCredentials),
        )


class UpdateBody(Body):
    """Changes to an algorithm: what is left out stays."""

    details: DetailsBody | None = None
    settings: SettingsBody | None = None
    version_info: VersionInfoBody | None = None

    def wanted_details(self) -> WantedDetails:
        """Return the texts that are said."""
        return _details(self.details or DetailsBody(), self.version_info)

    def wanted_settings(self) -> SettingsBody:
        """Return the settings, all unsaid if there are none."""
        return self.settings or SettingsBody()


class CompileBody(Body):
    """What is built; with `sshPrivateKey` the answer does not wait for the end."""

    commitSha: str | None = None  # noqa: N815 - the wire's
    sshPrivateKey: str | None = None  # noqa: N815 - the wire's


class PublishBody(UpdateBody):
    """What is published, and as what."""

    def wanted(self) -> WantedVersion:
        """Return what is asked for."""
        info = self.version_info or VersionInfoBody()
        settings = self.settings or SettingsBody()
        if settings.insights_enabled is None:
            settings = settings.model_copy(update={"insights_enabled": info.insights_enabled})
        return WantedVersion(
            git_hash=info.git_hash or "",
            version_type=info.version_type or info.type or "",
            semantic_version=info.semantic_version or "",
            release_notes=info.release_notes or "",
            sample_input=_sample(info.sample_input) or "",
            sample_output=_sample(info.sample_output) or "",
            settings=settings.wanted(),
            details=_details(self.details or DetailsBody(), None),
        )


def _details(details: DetailsBody, info: VersionInfoBody | None) -> WantedDetails:
    return WantedDetails(
        label=details.label,
        summary=details.summary,
        tagline=details.tagline,
        sample_input=_sample(info.sample_input) if info is not None else None,
    )


def _sample(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else encode_json(value).decode()


def _source(source: SourceBody, credentials: CredentialsBody | None) -> WantedSource:
    scm = source.scm
    if isinstance(scm, dict):
        scm = scm.get("id") if isinstance(scm.get("id"), str) else ""
    return WantedSource(
        scm_id=scm or "",
        repository_owner=source.repository_owner or "",
        repository_name=source.repository_name or "",
        existing_repository_name=source.existing_repository_name or "",
        commit_message=source.initial_commit_message or "",
        credentials=credentials.model_dump(exclude_none=True) if credentials else None,
    )
