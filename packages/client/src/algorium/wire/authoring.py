"""
Algorithms as their authors see them: builds, versions, environments, source, failed calls.

Readers take what they know and ignore the rest, so an older client reads a newer server. Standard
library only.

Source: wire specification, "Algorithm object", "Builds", "Versions and publishing", "Languages and
environments", "SCM status", "Error logs".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from algorium.wire.bodies import BodyError
from algorium.wire.reading import flag, inner, members, moment, needed, text

_LOGGED: Final = re.compile(
    r"(?:error:\n)?(.*?)(?:\nstacktrace:\n(?:Some\((.*)\)|(None)))?", re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInfo:
    """
    One attempt to make a commit callable.

    Attributes:
        build_id: Names it to the server.
        status: `in-progress` from the moment it is asked for, then `succeeded` or `failed`.
        commit: What is built.
        started_at: When it was asked for, None if the server does not tell.
        finished_at: None while it is in progress.
        version: As which it is published, empty if it is not.
        failure: Why it failed, in a sentence, if the server tells.
    """

    build_id: str
    status: str
    commit: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    version: str = ""
    failure: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self.status != "in-progress"

    @property
    def succeeded(self) -> bool:
        """Whether what it has built can be called."""
        return self.status == "succeeded"

    @classmethod
    def from_json(cls, value: object) -> "BuildInfo":
        """
        Read a build.

        Raises:
            BodyError: It has no id or no status.
        """
        told = members(value, "build")
        return cls(
            build_id=needed(told, "build_id", "build"),
            status=needed(told, "status", "build"),
            commit=text(told, "commit_sha"),
            started_at=moment(told, "started_at"),
            finished_at=moment(told, "finished_at"),
            version=text(inner(told, "version_info"), "semantic_version"),
            failure=text(told, "failure"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionInfo:
    """
    What was built last, or a published version.

    Attributes:
        number: As in `1.2.3`; empty for what is built and not published.
        commit: What it was built from.
        version_id: Names the version to the server.
        release_notes: What its publisher says is new.
        sample_input: An example to try.
        sample_output: What it gives for that.
    """

    number: str = ""
    commit: str = ""
    version_id: str = ""
    release_notes: str = ""
    sample_input: str = ""
    sample_output: str = ""

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "VersionInfo":
        """Read the object under `version_info`."""
        return cls(
            number=text(told, "semantic_version"),
            commit=text(told, "git_hash"),
            version_id=text(told, "version_uuid"),
            release_notes=text(told, "release_notes"),
            sample_input=text(told, "sample_input"),
            sample_output=text(told, "sample_output"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmInfo:
    """
    An algorithm, or one version of it, with the settings of that.

    Attributes:
        algorithm_id: Stays the same for ever.
        owner: User or organization; empty if the server does not tell.
        name: Its name.
        label: Its name for people.
        summary: What it does, as its page shows it.
        tagline: The same in a sentence.
        language: As its creator wrote it.
        environment_id: Of the environment it is built in, empty if the language says all.
        callability: `public` or `private`.
        source_visibility: `open` or `closed`.
        license: As `apl` or `mit`.
        network_access: `full` or `isolated`.
        is_pipeline_enabled: It may call other algorithms.
        settings: All settings, as the server tells them.
        version: What was built or published last, or the version asked for; None before the first
            build.
        build: The build of that.
        log: What the build said, where the server tells it here.
        source: Where the source is hosted, as the server tells it.
        warnings: What the check before a publication found.
    """

    algorithm_id: str
    owner: str = ""
    name: str
    label: str = ""
    summary: str = ""
    tagline: str = ""
    language: str = ""
    environment_id: str = ""
    callability: str = ""
    source_visibility: str = ""
    license: str = ""
    network_access: str = ""
    is_pipeline_enabled: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    version: VersionInfo | None = None
    build: BuildInfo | None = None
    log: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        """What to call: `owner/name/1.2.3`, or with a commit if it is not published."""
        head = f"{self.owner}/{self.name}" if self.owner else self.algorithm_id
        tail = (self.version.number or self.version.commit) if self.version is not None else ""
        return f"{head}/{tail}" if tail else head

    @property
    def is_hosted_here(self) -> bool:
        """Whether its source is at this server, and not at a connected host."""
        return text(inner(self.source, "scm"), "id") in {"", "internal"}

    @classmethod
    def from_json(cls, value: object, *, owner: str = "") -> "AlgorithmInfo":
        """
        Read an algorithm object.

        Args:
            value: The object.
            owner: Whose algorithm was asked for; the object itself may not say.

        Raises:
            BodyError: It has no id or no name.
        """
        told = members(value, "algorithm")
        details, settings = inner(told, "details"), inner(told, "settings")
        version, build = told.get("version_info"), told.get("build")
        warnings = told.get("warnings")
        return cls(
            algorithm_id=needed(told, "id", "algorithm"),
            owner=text(told, "username") or owner or _owner_in(text(told, "self_link")),
            # Lists of an account's algorithms are short, and spell it in another way.
            name=text(told, "algoname") or needed(told, "name", "algorithm"),
            label=text(details, "label"),
            summary=text(details, "summary"),
            tagline=text(details, "tagline"),
            language=text(settings, "language"),
            environment_id=text(settings, "algorithm_environment"),
            callability=text(settings, "algorithm_callability"),
            source_visibility=text(settings, "source_visibility"),
            license=text(settings, "license"),
            network_access=text(settings, "network_access"),
            is_pipeline_enabled=settings.get("pipeline_enabled") is True,
            settings=dict(settings),
            version=VersionInfo.from_json(version) if isinstance(version, dict) else None,
            build=BuildInfo.from_json(build) if isinstance(build, dict) and build else None,
            log=text(inner(told, "compilation"), "output"),
            source=dict(inner(told, "source")),
            warnings=tuple(map(str, warnings)) if isinstance(warnings, list) else (),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitInfo:
    """A commit of an algorithm's source."""

    commit: str
    summary: str = ""
    message: str = ""
    author: str = ""

    @classmethod
    def from_json(cls, value: object) -> "CommitInfo":
        """
        Read an element of `commits`.

        Raises:
            BodyError: It has no id.
        """
        told = members(value, "commits[]")
        return cls(
            commit=needed(told, "id", "commits[]"),
            summary=text(told, "short_message"),
            message=text(told, "message"),
            author=text(told, "author"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCall:
    """
    A call that failed, as the error log tells it.

    Attributes:
        failed_at: When.
        request_id: Of the call.
        algorithm: `owner/name`.
        version: As in `1.2.3`, or the commit that was called.
        input: Its first characters.
        message: Of the error.
        stacktrace: Empty if there is none, or if you may not see it.
        error_type: Kind of the error.
        caller: Who called.
        worker: What ran the call; empty if you may not see it.
    """

    failed_at: datetime
    request_id: str
    algorithm: str = ""
    version: str = ""
    input: str = ""
    message: str = ""
    stacktrace: str = ""
    error_type: str = ""
    caller: str = ""
    worker: str = ""

    @classmethod
    def from_json(cls, value: object) -> "FailedCall":
        """
        Read an entry of an error log.

        Raises:
            BodyError: It has no time or no request id.
        """
        told = members(value, "errors[]")
        logged = _LOGGED.fullmatch(text(told, "error"))
        assert logged is not None, "it matches everything"
        return cls(
            failed_at=_milliseconds(told.get("created_at")),
            request_id=needed(told, "request_id", "errors[]"),
            algorithm=f"{text(told, 'username')}/{text(told, 'algoname')}",
            version=text(told, "algoversion"),
            input=text(told, "input"),
            message=logged[1],
            stacktrace=logged[2] or "",
            error_type=text(told, "error_type"),
            caller=text(told, "billable_to"),
            worker=text(told, "worker"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScmStatus:
    """
    Whether the server reaches an algorithm's source.

    Attributes:
        status: `active`, `deploy_key_error` or `provider_internal_error`.
        deploy_key: The public key that the host of the source must accept; for managers.
        webhook_url: Where that host tells of pushes; for managers.
        webhook_secret: What it signs them with; for managers.
    """

    status: str
    deploy_key: str = ""
    webhook_url: str = ""
    webhook_secret: str = field(default="", repr=False)

    @classmethod
    def from_json(cls, value: object) -> "ScmStatus":
        """
        Read the object.

        Raises:
            BodyError: It tells no status.
        """
        told = members(value, "status")
        return cls(
            status=needed(told, "scm_connection_status", "status"),
            deploy_key=text(told, "repository_public_deploy_key"),
            webhook_url=text(told, "repository_webhook_url"),
            webhook_secret=text(told, "repository_webhook_secret"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageInfo:
    """A language that algorithms can be written in."""

    name: str
    display_name: str = ""

    @classmethod
    def from_json(cls, value: object) -> "LanguageInfo":
        """
        Read a language.

        Raises:
            BodyError: It has no name.
        """
        told = members(value, "languages[]")
        return cls(
            name=needed(told, "name", "languages[]"), display_name=text(told, "display_name")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentInfo:
    """
    What an algorithm can be built in.

    Attributes:
        environment_id: What `settings.algorithm_environment` wants.
        specification_id: Names its template.
        display_name: As `Python 3.11`.
        language: Name of its language.
        machine_type: `CPU` or `GPU`.
        is_enabled: Whether it can be chosen.
        reason: What the host lacks for it, told to administrators; or empty.
    """

    environment_id: str
    specification_id: str = ""
    display_name: str = ""
    description: str = ""
    language: str = ""
    machine_type: str = ""
    is_enabled: bool = True
    reason: str = ""

    @classmethod
    def from_json(cls, value: object) -> "EnvironmentInfo":
        """
        Read an environment.

        Raises:
            BodyError: It has no id.
        """
        told = members(value, "environments[]")
        return cls(
            environment_id=needed(told, "id", "environments[]"),
            specification_id=text(told, "environment_specification_id"),
            display_name=text(told, "display_name"),
            description=text(told, "description"),
            language=text(inner(told, "language"), "name"),
            machine_type=text(told, "machine_type"),
            is_enabled=flag(told, "enabled", unless_told=True),
            reason=text(told, "reason"),
        )


def _owner_in(link: str) -> str:
    match = re.search(r"/v1/algorithms/([^/]+)/[^/]+/versions/", link)
    return match[1] if match else ""


def _milliseconds(value: object) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BodyError("errors[].created_at: not a number")
    try:
        return datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BodyError("errors[].created_at: not a time") from error
