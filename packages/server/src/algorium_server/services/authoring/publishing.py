"""
From an idea to something that others can call: create, commit, build, publish.

Whether a build may be published, and as what, is decided first; the transaction that adds the
version makes sure that nothing was published since, else it is decided again. So two publishers
cannot both win, and nobody waits in the database for a sample input.

Source: wire specification, "Create, read, update, delete", "Builds", "Versions and publishing".
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from algorium_server.build.source.repositories import Repositories, Signature
from algorium_server.domain.algorithms import (
    Algorithm,
    AlgorithmSettings,
    Build,
    Callability,
    PublishGate,
    Version,
)
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import (
    AlgorithmNameTaken,
    AlreadyExists,
    InvalidInput,
    Unavailable,
)
from algorium_server.domain.identity import Account, Principal
from algorium_server.domain.limits import PUBLISH_TRIES_MAX
from algorium_server.domain.names import check_algorithm_name
from algorium_server.domain.notifications import NotificationType
from algorium_server.domain.publication import (
    breaks,
    check_publishable,
    comparable,
    newest_successful,
    next_version,
)
from algorium_server.services.auditing import record_on
from algorium_server.services.authoring.documents import Documents
from algorium_server.services.authoring.gate import Gate, SampleRun
from algorium_server.services.authoring.notifying import notify
from algorium_server.services.directory import Directory
from algorium_server.store import algorithms as rows
from algorium_server.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """
    What came of publishing.

    Attributes:
        warnings: Sentences for the publisher: what callers of the version before may trip over.
    """

    version: Version
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What a publisher asks for, see `Publishing.publish`."""

    publisher_id: str
    publisher: Principal | None
    callability: Callability | None
    version_type: str
    semantic_version: str
    release_notes: str
    sample_input: str
    sample_output: str
    is_insights_enabled: bool


class Publishing:
    """
    Use cases of authors. Whether *author* may do what they ask is decided by the caller.

    Args:
        database: Where rows are.
        directory: Told of everything new.
        repositories: Where source is.
        gate: Runs sample inputs; None if nothing is run.
        documents: Makes what is told of a version; None if nothing is.
        on_published: Told of every new version, once it can be called.
        clock: Says what time it is.
    """

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        repositories: Repositories,
        gate: Gate | None = None,
        documents: Documents | None = None,
        on_published: Callable[[Version], None] = lambda _: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._repositories = repositories
        self._gate = gate
        self._documents = documents
        self._on_published = on_published
        self._clock = clock

    async def create_algorithm(
        self,
        *,
        owner: Account,
        name: str,
        label: str = "",
        summary: str = "",
        tagline: str = "",
        settings: AlgorithmSettings | None = None,
    ) -> Algorithm:
        """
        Create an algorithm with an empty repository.

        Raises:
            InvalidInput: It cannot be called so.
            AlgorithmNameTaken: The owner has one of that name, in whatever case.
        """
        algorithm = Algorithm(
            algorithm_id=str(uuid.uuid4()),
            owner_id=owner.account_id,
            name=check_algorithm_name(name),
            label=label or name,
            summary=summary,
            tagline=tagline,
            settings=settings or AlgorithmSettings(),
            created_at=self._clock(),
        )
        # The repository first: without a row it is garbage, the other way round it is missing.
        await self._repositories.create(algorithm.owner_id, algorithm.algorithm_id)
        try:
            async with self._database.transaction() as connection:
                await rows.add_algorithm(connection, algorithm)
                await record_on(
                    connection, None, AuditAction.ALGORITHM_CREATED, algorithm, self._directory
                )
        except AlreadyExists as error:
            await self._repositories.remove(algorithm.owner_id, algorithm.algorithm_id)
            raise AlgorithmNameTaken(
                f"{owner.username} has an algorithm called {name} already"
            ) from error
        self._directory.put_algorithm(algorithm)
        return algorithm

    async def commit_files(
        self,
        algorithm: Algorithm,
        files: Mapping[str, bytes],
        *,
        author: Account,
        message: str,
    ) -> str:
        """
        Make *files* the whole source of an algorithm.

        Returns:
            The commit; the newest one if nothing changed.

        Raises:
            InvalidInput: A path or a size is not acceptable.
        """
        return await self._repositories.commit(
            algorithm.owner_id,
            algorithm.algorithm_id,
            files,
            author=Signature(
                name=author.fullname or author.username, email=author.email, at=self._clock()
            ),
            message=message,
        )

    async def publish(
        self,
        algorithm: Algorithm,
        *,
        publisher_id: str = "",
        publisher: Principal | None = None,
        build: Build | None = None,
        callability: Callability | None = None,
        version_type: str = "",
        semantic_version: str = "",
        release_notes: str = "",
        sample_input: str = "",
        sample_output: str = "",
        is_insights_enabled: bool = False,
    ) -> Publication:
        """
        Publish a successful build under a version that will never change.

        Args:
            algorithm: Its present settings become the version's.
            publisher_id: Account that publishes; empty for the server itself.
            publisher: The same with its key, for the run of the sample input; without a key if
                not given.
            build: Which build; the newest successful one if not given.
            callability: Who may call it; as the version before if not given, at first `private`.
            version_type: See `domain.publication.next_version`.
            semantic_version: See `domain.publication.next_version`.
            release_notes: For the callers.
            sample_input: An input as JSON or text, for documentation.
            sample_output: What it gives; if not given, what it gave when it was run.
            is_insights_enabled: It may report insights.

        Raises:
            VersionAlreadyPublished: The build is published, or there is no successful one.
            InvalidInput: A rule of versions is broken, the build failed, or the owner's gate
                refuses it.
            AlgorithmNotFound: It was deleted meanwhile.
            Unavailable: Others publish all the time.
        """
        wanted = _Wanted(
            publisher_id=publisher_id,
            publisher=publisher,
            callability=callability,
            version_type=version_type,
            semantic_version=semantic_version,
            release_notes=release_notes,
            sample_input=sample_input,
            sample_output=sample_output,
            is_insights_enabled=is_insights_enabled,
        )
        sample: SampleRun | None = None
        for _ in range(PUBLISH_TRIES_MAX):
            # Decided before the transaction, which then only makes sure that nothing has changed
            # meanwhile: a sample input may take a minute, and a bill of materials reads files.
            # What was decided for one build is not true of a newer one: it stays the same.
            published, build = await self._look(algorithm, build)
            version = self._version(algorithm, build, published, wanted)
            if sample is None:
                sample = await self._run_sample(algorithm, build, wanted)
            version = replace(version, sample_output=sample_output or sample.output)
            warnings = await self._warnings(algorithm, build, published, version, sample)
            documents: Mapping[str, str] = {}
            if self._documents is not None:
                documents = await self._documents.of_new(algorithm, build, version)
            if await self._add(algorithm, version, published, documents, by=publisher):
                self._directory.put_version(version)
                self._on_published(version)
                return Publication(version=version, warnings=warnings)
        raise Unavailable(f"others are publishing {algorithm.name} all the time; try again")

    async def _look(self, algorithm: Algorithm, build: Build | None) -> tuple[list[Version], Build]:
        """Return what is published, and the build that is to be, with its lock."""
        async with self._database.reading() as connection:
            published = await rows.versions(connection, algorithm_id=algorithm.algorithm_id)
            if build is None:
                builds = await rows.builds(connection, algorithm_id=algorithm.algorithm_id)
                build = newest_successful(builds)
            check_publishable(algorithm, build, published)
            stored = await rows.build(connection, build.build_id)
        return published, stored or build

    def _version(
        self, algorithm: Algorithm, build: Build, published: list[Version], wanted: "_Wanted"
    ) -> Version:
        callability = wanted.callability
        if callability is None:
            callability = published[-1].callability if published else Callability.PRIVATE
        return Version(
            version_id=str(uuid.uuid4()),
            algorithm_id=algorithm.algorithm_id,
            build_id=build.build_id,
            semantic_version=next_version(
                published,
                callability=callability,
                version_type=wanted.version_type,
                semantic_version=wanted.semantic_version,
            ),
            commit_sha=build.commit_sha,
            callability=callability,
            network_access=algorithm.settings.network_access,
            is_pipeline_enabled=algorithm.settings.is_pipeline_enabled,
            scaling=algorithm.settings.scaling,
            release_notes=wanted.release_notes,
            sample_input=wanted.sample_input,
            is_insights_enabled=wanted.is_insights_enabled,
            publisher_id=wanted.publisher_id,
            published_at=self._clock(),
        )

    async def _run_sample(self, algorithm: Algorithm, build: Build, wanted: "_Wanted") -> SampleRun:
        """Run the sample input, unless there is none, or nobody to run it for."""
        text = wanted.sample_input or algorithm.sample_input
        publisher = wanted.publisher
        account = self._directory.account(wanted.publisher_id)
        if publisher is None and account is not None:
            publisher = self._directory.principal_of(account)
        is_off = algorithm.settings.publish_gate is PublishGate.OFF
        if self._gate is None or publisher is None or is_off or not text:
            return SampleRun()
        return await self._gate.run(build, text, publisher=publisher)

    async def _warnings(
        self,
        algorithm: Algorithm,
        build: Build,
        published: list[Version],
        version: Version,
        sample: SampleRun,
    ) -> tuple[str, ...]:
        """Return what the publisher should know; raise if the owner wants nothing of the kind."""
        gate = algorithm.settings.publish_gate
        if gate is PublishGate.OFF:
            return ()
        warnings = [sample.warning] if sample.warning else []
        before = comparable(
            published, callability=version.callability, wanted=version.semantic_version
        )
        if before is not None:
            async with self._database.reading() as connection:
                old = await rows.build(connection, before.build_id)
            if old is not None:
                warnings += breaks(before, old.signature, build.signature)
        if warnings and gate is PublishGate.REFUSE:
            raise InvalidInput(
                f"not published, as publish_gate is refuse: {'; '.join(warnings)}",
                hint="Mend it, publish a new major version if it is meant, or set publish_gate.",
            )
        return tuple(warnings)

    async def _add(
        self,
        algorithm: Algorithm,
        version: Version,
        published: list[Version],
        documents: Mapping[str, str],
        *,
        by: Principal | None,
    ) -> bool:
        """Add a version, unless others have been published since; return whether it was."""
        known = {each.version_id for each in published}
        async with self._database.transaction() as connection:
            await rows.hold_algorithm(connection, version.algorithm_id)
            now = await rows.versions(connection, algorithm_id=version.algorithm_id)
            if {each.version_id for each in now} != known:
                return False
            await rows.add_version(connection, version)
            for kind, content in documents.items():
                await rows.add_document(connection, version.version_id, kind=kind, content=content)
            if version.publisher_id:  # what the server publishes itself is no news to anybody
                await notify(
                    connection,
                    NotificationType.RELEASE,
                    algorithm,
                    owner=self._directory.owner_name(algorithm),
                    now=version.published_at,
                    semantic_version=str(version.semantic_version),
                )
            await record_on(
                connection,
                by,
                AuditAction.VERSION_PUBLISHED,
                algorithm,
                self._directory,
                detail={
                    "version": str(version.semantic_version),
                    "callability": version.callability.value,
                    "network_access": version.network_access.value,
                    "commit": version.commit_sha,
                },
            )
        return True
