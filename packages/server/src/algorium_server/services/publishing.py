"""
From an idea to something that others can call: create, commit, build, publish.

A version is added in the same transaction that checked the rules, so two publishers cannot both
win.

Source: wire specification, "Create, read, update, delete", "Builds", "Versions and publishing".
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from algorium_server.build import languages
from algorium_server.build.repositories import Repositories, Signature
from algorium_server.domain.algorithms import (
    Algorithm,
    AlgorithmSettings,
    Build,
    BuildStatus,
    BuildTrigger,
    Callability,
    NetworkAccess,
    Version,
)
from algorium_server.domain.errors import (
    AlgorithmNameTaken,
    AlgoriumError,
    AlreadyExists,
    Unavailable,
)
from algorium_server.domain.identity import Account
from algorium_server.domain.languages import language_of
from algorium_server.domain.names import check_algorithm_name
from algorium_server.domain.publication import check_publishable, newest_successful, next_version
from algorium_server.services.accounts import ensure_organization
from algorium_server.services.builds import Builds
from algorium_server.services.catalog import (
    DemoAlgorithm,
    DemoVersion,
    read_catalog,
    read_project,
)
from algorium_server.services.directory import Directory
from algorium_server.store import algorithms as rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_LOG_LINES_SHOWN: Final = 20

_log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """
    What came of publishing.

    Attributes:
        warnings: Sentences for the publisher: what callers of the version before may trip over.
    """

    version: Version
    warnings: tuple[str, ...] = ()


class Publishing:
    """
    Use cases of authors. Whether *author* may do what they ask is decided by the caller.

    Args:
        database: Where rows are.
        directory: Told of everything new.
        builds: Builds commits.
        repositories: Where source is.
        on_published: Told of every new version, once it can be called.
        clock: Says what time it is.
    """

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        builds: Builds,
        repositories: Repositories,
        on_published: Callable[[Version], None] = lambda _: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._builds = builds
        self._repositories = repositories
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
            build: Which build; the newest successful one if not given.
            callability: Who may call it; as the version before if not given, at first `private`.
            version_type: See `domain.publication.next_version`.
            semantic_version: See `domain.publication.next_version`.
            release_notes: For the callers.
            sample_input: An input as JSON or text, for documentation.
            sample_output: What it gives.
            is_insights_enabled: It may report insights.

        Raises:
            VersionAlreadyPublished: The build is published, or there is no successful one.
            InvalidInput: A rule of versions is broken, or the build failed.
        """
        async with self._database.transaction() as connection:
            published = await rows.versions(connection, algorithm_id=algorithm.algorithm_id)
            if build is None:
                builds = await rows.builds(connection, algorithm_id=algorithm.algorithm_id)
                build = newest_successful(builds)
            check_publishable(algorithm, build, published)
            if callability is None:
                callability = published[-1].callability if published else Callability.PRIVATE
            version = Version(
                version_id=str(uuid.uuid4()),
                algorithm_id=algorithm.algorithm_id,
                build_id=build.build_id,
                semantic_version=next_version(
                    published,
                    callability=callability,
                    version_type=version_type,
                    semantic_version=semantic_version,
                ),
                commit_sha=build.commit_sha,
                callability=callability,
                network_access=algorithm.settings.network_access,
                is_pipeline_enabled=algorithm.settings.is_pipeline_enabled,
                scaling=algorithm.settings.scaling,
                release_notes=release_notes,
                sample_input=sample_input,
                sample_output=sample_output,
                is_insights_enabled=is_insights_enabled,
                publisher_id=publisher_id,
                published_at=self._clock(),
            )
            await rows.add_version(connection, version)
        self._directory.put_version(version)
        self._on_published(version)
        return Publication(version=version)

    async def publish_demo(
        self,
        examples_dir: Path,
        *,
        owner: Account,
        on_progress: Callable[[str], None],
        has_network: bool = False,
        late: bool = False,
    ) -> tuple[str, ...]:
        """
        Publish what of the demo is not published yet.

        An algorithm that cannot be built is told and left out; the next call tries again. One whose
        language this host does not have is no failure.

        Args:
            examples_dir: Holds the catalog and the projects.
            owner: Becomes the owner of the organizations that own the algorithms, and commits.
            on_progress: Gets lines to show.
            has_network: Whether algorithms can be given network access on this host. If not, those
                that could use it are published without: they can do the rest of their work.
            late: Publish those that take their time to build, and no others.

        Returns:
            References that could not be published.

        Raises:
            InvalidInput: The catalog is not readable.
            Unavailable: This host offers no confinement.
        """
        failed = []
        for entry in await asyncio.to_thread(read_catalog, examples_dir):
            if entry.is_late != late:
                continue
            name = f"{entry.owner}/{entry.name}"
            if reason := _why_not(entry):
                on_progress(f"{name}: skipped: {reason}")
                continue
            wanted = entry if has_network else _isolated(entry)
            if wanted != entry and self._directory.algorithm(entry.ref) is None:
                on_progress(f"{name}: without network access, which this host cannot give")
            try:
                failed += await self._publish_demo_algorithm(wanted, name, owner, on_progress)
            except Unavailable:
                raise
            except Exception as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise  # what something on the way made of being told to stop
                # The server must start, and the other algorithms can do without this one.
                reason = error.message if isinstance(error, AlgoriumError) else "an internal error"
                on_progress(f"{name}: not published: {reason}")
                _log.exception("a demo algorithm was not published; the next start tries again")
                failed.append(name)
        return tuple(failed)

    async def _publish_demo_algorithm(
        self,
        entry: DemoAlgorithm,
        name: str,
        owner: Account,
        on_progress: Callable[[str], None],
    ) -> list[str]:
        algorithm = await self._demo_algorithm(entry, owner)
        for version in entry.versions:
            ref = f"{name}/{version.semantic_version}"
            versions = self._directory.versions_of(algorithm.algorithm_id)
            if version.semantic_version in {v.semantic_version for v in versions}:
                continue
            if not await self._publish_demo_version(algorithm, version, owner, ref, on_progress):
                return [ref]  # a later version first would make this one unpublishable
        return []

    async def _demo_algorithm(self, entry: DemoAlgorithm, owner: Account) -> Algorithm:
        existing = self._directory.algorithm(entry.ref)
        if existing is not None:
            return existing
        organization = await ensure_organization(
            self._database, self._directory, name=entry.owner, owner=owner, now=self._clock()
        )
        return await self.create_algorithm(
            owner=organization,
            name=entry.name,
            summary=entry.summary,
            tagline=entry.tagline,
            settings=entry.settings,
        )

    async def _publish_demo_version(
        self,
        algorithm: Algorithm,
        version: DemoVersion,
        author: Account,
        ref: str,
        on_progress: Callable[[str], None],
    ) -> bool:
        files = await asyncio.to_thread(read_project, version.source)
        message = f"Version {version.semantic_version}\n\n{version.release_notes}\n"
        commit_sha = await self.commit_files(algorithm, files, author=author, message=message)
        build = await self._builds.build_now(
            algorithm,
            commit_sha,
            trigger=BuildTrigger.DEMO,
            on_step=lambda step: on_progress(f"{ref}: {step}"),
        )
        if build.status is not BuildStatus.SUCCEEDED:
            on_progress(f"{ref}: not published")
            for line in build.log.splitlines()[-_LOG_LINES_SHOWN:]:
                on_progress(f"    {line}")
            return False
        await self.publish(
            algorithm,
            build=build,
            callability=Callability.PUBLIC,
            semantic_version=str(version.semantic_version),
            release_notes=version.release_notes,
            sample_input=version.sample_input,
            sample_output=version.sample_output,
        )
        on_progress(f"{ref}: published")
        return True


def _isolated(entry: DemoAlgorithm) -> DemoAlgorithm:
    settings = replace(entry.settings, network_access=NetworkAccess.ISOLATED)
    return replace(entry, settings=settings)


def _why_not(entry: DemoAlgorithm) -> str:
    language = language_of(entry.settings.language)
    return languages.why_not(language) if language is not None else ""
