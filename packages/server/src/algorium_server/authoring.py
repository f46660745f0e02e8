"""
What authors need, built and wired together: repositories, builds, publishing, and their HTTP.

Part of what `app` builds for a gateway; here because it is a house of its own.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from algorium_server.api.algorithms import algorithm_routes
from algorium_server.api.credentials import Credentials
from algorium_server.api.defaults import default_routes
from algorium_server.api.http import AsgiApp
from algorium_server.api.management import build_management
from algorium_server.build.builder import Builder
from algorium_server.build.environments import Environments
from algorium_server.build.repositories import Repositories
from algorium_server.domain.algorithms import Version
from algorium_server.domain.limits import BUILD_QUEUE_POLL_S, BUILDS_CONCURRENT_MAX
from algorium_server.engine.host import SandboxHost
from algorium_server.engine.program import slot_spec
from algorium_server.jobs.worker import JobWorker
from algorium_server.services.algorithms import Algorithms
from algorium_server.services.authors import Authors
from algorium_server.services.builds import JOB_KIND, Builds
from algorium_server.services.confining import SandboxedJobs
from algorium_server.services.defaults import DefaultCollections
from algorium_server.services.directory import Directory
from algorium_server.services.hosts import InternalHosts
from algorium_server.services.programs import Programs
from algorium_server.services.publishing import Publishing
from algorium_server.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Authoring:
    """
    What a gateway has for authors.

    Attributes:
        build_worker: Does what is in the queue of builds; whoever has the duties starts it.
        management: Answers the management API.
    """

    builds: Builds
    build_worker: JobWorker
    publishing: Publishing
    management: AsgiApp


@asynccontextmanager
async def open_authoring(
    *,
    home: Path,
    database: Database,
    directory: Directory,
    host: SandboxHost,
    programs: Programs,
    credentials: Credentials,
    worker_name: str = "",
) -> AsyncIterator[Authoring]:
    """
    Build everything in the order in which it depends on one another; take it down reversed.

    Args:
        home: Holds repositories, builds and environments.
        database: Open until afterwards.
        directory: What is in memory.
        host: Starts sandboxes for builds.
        programs: What the engine runs for versions.
        credentials: Tells who asks.
        worker_name: See `JobWorker`.
    """

    def get_ready(version: Version) -> None:
        resolved = directory.resolved_build(version.build_id, version_id=version.version_id)
        if resolved is not None:
            host.prepare(slot_spec(programs.of(resolved)))

    repositories = Repositories(home / "repos")
    wake = _Later()
    builds = Builds(
        database=database,
        directory=directory,
        builder=Builder(
            repositories=repositories,
            environments=Environments(home / "envs"),
            builds_dir=home / "builds",
            run_confined=SandboxedJobs(host),
        ),
        repositories=repositories,
        wake=wake,
    )
    worker = JobWorker(
        database,
        {JOB_KIND: builds.run},
        concurrency=BUILDS_CONCURRENT_MAX,
        poll_s=BUILD_QUEUE_POLL_S,
        on_given_up=builds.given_up,
        name=worker_name,
    )
    wake.function = worker.wake
    authors = Authors(directory)
    publishing = Publishing(
        database=database,
        directory=directory,
        builds=builds,
        repositories=repositories,
        on_published=get_ready,
    )
    algorithms = Algorithms(
        database=database,
        directory=directory,
        authors=authors,
        builds=builds,
        publishing=publishing,
        repositories=repositories,
        hosts=InternalHosts(repositories),
    )
    management = build_management(
        credentials,
        default_routes(DefaultCollections(database, directory)),
        algorithm_routes(algorithms),
    )
    try:
        yield Authoring(
            builds=builds, build_worker=worker, publishing=publishing, management=management
        )
    finally:
        await worker.stop(0.0)  # the next server builds what was under way


class _Later:
    """Wakes a worker that is made after those who wake it."""

    function: Callable[[], None]

    def __call__(self) -> None:
        self.function()
