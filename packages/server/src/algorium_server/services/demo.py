"""
The demo: algorithms that come with the server, brought to what their catalog says.

Source: wire specification, "Create, read, update, delete".
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from algorium_server.build import languages
from algorium_server.domain.algorithms import (
    Algorithm,
    BuildStatus,
    BuildTrigger,
    Callability,
    NetworkAccess,
)
from algorium_server.domain.errors import AlgoriumError, Unavailable
from algorium_server.domain.identity import Account
from algorium_server.domain.languages import language_of
from algorium_server.services.authoring.builds import Builds
from algorium_server.services.authoring.publishing import Publishing
from algorium_server.services.catalog import (
    DemoAlgorithm,
    DemoVersion,
    read_catalog,
    read_project,
)
from algorium_server.services.directory import Directory
from algorium_server.services.people.accounts import ensure_organization
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_LOG_LINES_SHOWN: Final = 20

_log = logger(__name__)


class Demo:
    """
    Publishes the demo.

    Args:
        database: Where rows are.
        directory: Told of everything new.
        builds: Builds commits.
        publishing: Creates, commits, publishes.
        clock: Says what time it is.
    """

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        builds: Builds,
        publishing: Publishing,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._builds = builds
        self._publishing = publishing
        self._clock = clock

    async def publish(
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
                failed += await self._publish_algorithm(wanted, name, owner, on_progress)
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

    async def _publish_algorithm(
        self,
        entry: DemoAlgorithm,
        name: str,
        owner: Account,
        on_progress: Callable[[str], None],
    ) -> list[str]:
        algorithm = await self._algorithm(entry, owner)
        for version in entry.versions:
            ref = f"{name}/{version.semantic_version}"
            versions = self._directory.versions_of(algorithm.algorithm_id)
            if version.semantic_version in {v.semantic_version for v in versions}:
                continue
            if not await self._publish_version(algorithm, version, owner, ref, on_progress):
                return [ref]  # a later version first would make this one unpublishable
        return []

    async def _algorithm(self, entry: DemoAlgorithm, owner: Account) -> Algorithm:
        existing = self._directory.algorithm(entry.ref)
        if existing is not None:
            return existing
        organization = await ensure_organization(
            self._database, self._directory, name=entry.owner, owner=owner, now=self._clock()
        )
        return await self._publishing.create_algorithm(
            owner=organization,
            name=entry.name,
            summary=entry.summary,
            tagline=entry.tagline,
            settings=entry.settings,
        )

    async def _publish_version(
        self,
        algorithm: Algorithm,
        version: DemoVersion,
        author: Account,
        ref: str,
        on_progress: Callable[[str], None],
    ) -> bool:
        files = await asyncio.to_thread(read_project, version.source)
        message = f"Version {version.semantic_version}\n\n{version.release_notes}\n"
        commit_sha = await self._publishing.commit_files(
            algorithm, files, author=author, message=message
        )
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
        await self._publishing.publish(
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
