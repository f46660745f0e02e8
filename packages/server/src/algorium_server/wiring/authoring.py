"""
What authors need, built and wired together: repositories, builds, publishing, and their HTTP.

Part of what `app` builds for a gateway; here because it is a house of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter

from algorium_server.api.algorithm_objects import AlgorithmObjects
from algorium_server.api.algorithms import algorithm_routes
from algorium_server.api.build_logs import build_log_routes
from algorium_server.api.builds import build_routes
from algorium_server.api.call_errors import call_error_routes
from algorium_server.api.credentials import Credentials
from algorium_server.api.defaults import default_routes
from algorium_server.api.environments import environment_routes
from algorium_server.api.git import GitFace
from algorium_server.api.http import AsgiApp
from algorium_server.api.package_indexes import PackageIndexes
from algorium_server.api.package_sources import package_source_routes
from algorium_server.api.passwords import password_routes
from algorium_server.api.schemas import schema_routes
from algorium_server.api.source import source_routes
from algorium_server.api.versions import version_routes
from algorium_server.build.builder import Builder
from algorium_server.build.environments import Environments
from algorium_server.build.interpreters import Interpreter, known_interpreters
from algorium_server.build.source.git_serving import GitServer
from algorium_server.build.source.push_notes import PushNotes
from algorium_server.build.source.repositories import Repositories
from algorium_server.domain.algorithms import Version
from algorium_server.domain.limits import BUILD_QUEUE_POLL_S
from algorium_server.domain.offers import python_environment_name
from algorium_server.domain.quotas import Quotas
from algorium_server.engine.host import SandboxHost
from algorium_server.engine.program import slot_spec
from algorium_server.jobs.worker import JobWorker
from algorium_server.sealing import Seal
from algorium_server.services.authoring.algorithms import Algorithms
from algorium_server.services.authoring.author_builds import AuthorBuilds
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.authoring.builds import JOB_KIND, Builds
from algorium_server.services.authoring.confining import SandboxedJobs
from algorium_server.services.authoring.documents import Documents
from algorium_server.services.authoring.environments import EnvironmentCatalog
from algorium_server.services.authoring.gate import Gate
from algorium_server.services.authoring.package_sources import PackageSourceService
from algorium_server.services.authoring.publishing import Publishing
from algorium_server.services.authoring.reading_errors import FailedCallReader
from algorium_server.services.authoring.readmes import Readmes
from algorium_server.services.authoring.releases import Releases
from algorium_server.services.authoring.views import Views
from algorium_server.services.calling.calls import CallService
from algorium_server.services.calling.error_log import ErrorLog
from algorium_server.services.demo import Demo
from algorium_server.services.directory import Directory
from algorium_server.services.files.data import DataService
from algorium_server.services.files.defaults import DefaultCollections
from algorium_server.services.files.reaching import Reach
from algorium_server.services.following import Following
from algorium_server.services.people.guessing import Guessing
from algorium_server.services.people.passwords import Passwords
from algorium_server.services.source.hosting import GitPlaces, Hosting
from algorium_server.services.source.push_output import PushOutput
from algorium_server.services.source.pushing import Pushing
from algorium_server.services.source.source_files import SourceFiles
from algorium_server.store.database import Database
from algorium_server.wiring.sourcing import Sourcing, open_sourcing


@dataclass(frozen=True, slots=True, kw_only=True)
class Authoring:
    """
    What a gateway has for authors.

    Attributes:
        build_worker: Does what is in the queue of builds; whoever has the duties starts it.
        routes: Of the management API.
        git: Answers git.
        push_output: Keeps pushers waiting, until the server stops.
        passwords: Checks those of git; and of people, so that wrong ones count together.
        sourcing: Fetches source that is hosted elsewhere.
    """

    builds: Builds
    build_worker: JobWorker
    publishing: Publishing
    demo: Demo
    algorithms: Algorithms
    environments: EnvironmentCatalog
    routes: Sequence[APIRouter]
    git: AsgiApp
    push_output: PushOutput
    passwords: Passwords
    sourcing: Sourcing


@asynccontextmanager
async def open_authoring(
    *,
    home: Path,
    api: str,
    database: Database,
    directory: Directory,
    following: Following,
    host: SandboxHost,
    calls: CallService,
    credentials: Credentials,
    errors: ErrorLog,
    push_bytes_max: int,
    builds_max: int,
    build_timeout_s: float,
    data: DataService,
    seal: Seal,
    quotas_of: Callable[[str], Quotas],
    package_reach: Reach,
    scm_poll_s: float,
    guessing: Guessing,
    worker_name: str = "",
) -> AsyncIterator[Authoring]:
    """
    Build everything in the order in which it depends on one another; take it down reversed.

    Args:
        home: Holds repositories, builds and environments.
        api: Base address, for links.
        database: Open until afterwards.
        directory: What is in memory.
        following: Brings there what other gateways write.
        host: Starts sandboxes for builds.
        calls: Runs sample inputs.
        credentials: Tells who asks.
        errors: Has the newest failed calls.
        push_bytes_max: What one push may send.
        builds_max: How many builds run at the same time.
        build_timeout_s: What each of them may take.
        data: Has wheelhouses of accounts.
        seal: Seals passwords of package indexes.
        quotas_of: Says what an account may use.
        package_reach: Says where those may be.
        scm_poll_s: Time between two looks for pushes to hosts elsewhere that nobody told of.
        guessing: Says when a password may be tried.
        worker_name: See `JobWorker`.
    """

    def get_ready(version: Version) -> None:
        resolved = directory.resolved_build(version.build_id, version_id=version.version_id)
        if resolved is not None:
            host.prepare(slot_spec(calls.programs.of(resolved)))

    repositories = Repositories(home / "repos")
    package_sources = PackageSourceService(database, directory, seal, package_reach)
    wake = _Later()
    builder = Builder(
        repositories=repositories,
        environments=Environments(home / "envs"),
        builds_dir=home / "builds",
        run_confined=SandboxedJobs(host),
        name_of_environment=python_environment_name,
        sources_of=PackageIndexes(package_sources, data, directory).sources_of,
        timeout_s=build_timeout_s,
    )
    builds = Builds(
        database=database,
        directory=directory,
        builder=builder,
        repositories=repositories,
        wake=wake,
        quotas_of=quotas_of,
    )
    worker = JobWorker(
        database,
        {JOB_KIND: Readmes(database, directory, repositories).before(builds.run)},
        concurrency=builds_max,
        poll_s=BUILD_QUEUE_POLL_S,
        on_given_up=builds.given_up,
        name=worker_name,
    )
    wake.function = worker.wake
    authors = Authors(directory)
    documents = Documents(
        database=database,
        directory=directory,
        authors=authors,
        builds_dir=home / "builds",
        environments_dir=home / "envs",
    )
    publishing = Publishing(
        database=database,
        directory=directory,
        repositories=repositories,
        gate=Gate(calls, directory),
        documents=documents,
        on_published=get_ready,
    )
    stack = AsyncExitStack()
    sourcing = await stack.enter_async_context(
        open_sourcing(
            home=home,
            api=api,
            database=database,
            directory=directory,
            following=following,
            repositories=repositories,
            builds=builds,
            poll_s=scm_poll_s,
            reach=package_reach,
            worker_name=worker_name and "fetches",
        )
    )
    hosts = sourcing.hosts
    environments = EnvironmentCatalog(database, python_versions=_python_versions)
    algorithms = Algorithms(
        database=database,
        directory=directory,
        authors=authors,
        environments=environments,
        repositories=repositories,
        hosts=hosts,
        builder=builder,
    )
    views = Views(database, directory, authors, repositories)
    releases = Releases(
        directory=directory,
        authors=authors,
        algorithms=algorithms,
        builds=builds,
        publishing=publishing,
        repositories=repositories,
        hosts=hosts,
        views=views,
    )
    objects = AlgorithmObjects(hosts, api)
    passwords = Passwords(database, directory, guessing=guessing)
    places = GitPlaces()
    routes = (
        algorithm_routes(algorithms, views, objects),
        version_routes(releases, views, objects, api=api),
        build_routes(views, api=api),
        schema_routes(documents, api=api),
        build_log_routes(AuthorBuilds(directory, authors, builds)),
        package_source_routes(package_sources),
        environment_routes(environments),
        call_error_routes(FailedCallReader(database, directory, authors, errors)),
        default_routes(DefaultCollections(database, directory)),
        source_routes(
            SourceFiles(
                database=database,
                directory=directory,
                authors=authors,
                repositories=repositories,
                builds=builds,
                places=places,
            ),
            api=api,
        ),
        password_routes(passwords),
        *sourcing.routes,
    )
    server = GitServer(home / "git", push_bytes_max=push_bytes_max)
    notes = PushNotes(home / "git" / "pushes")
    output = PushOutput(api=api, directory=directory, builds=builds)
    await asyncio.to_thread(server.prepare)
    await asyncio.to_thread(notes.prepare)
    pushing = Pushing(
        output=output,
        directory=directory,
        database=database,
        builds=builds,
        repositories=repositories,
        notes=notes,
    )
    hosting = Hosting(
        directory=directory,
        authors=authors,
        repositories=repositories,
        server=server,
        pushing=pushing,
        places=places,
    )
    settling = asyncio.get_running_loop().create_task(pushing.keep_settled(home / "repos"))
    try:
        yield Authoring(
            builds=builds,
            build_worker=worker,
            publishing=publishing,
            demo=Demo(database=database, directory=directory, builds=builds, publishing=publishing),
            algorithms=algorithms,
            environments=environments,
            routes=routes,
            push_output=output,
            passwords=passwords,
            git=GitFace(
                hosting, credentials, directory, passwords, catch_up=following.before_request
            ),
            sourcing=sourcing,
        )
    finally:
        settling.cancel()
        await stack.aclose()
        await worker.stop(0.0)  # the next server builds what was under way


def _python_versions() -> list[str]:
    """Return the versions of Python here, the one that projects get by default first."""
    found = (Interpreter.of_this_process(), *known_interpreters())
    return list(dict.fromkeys(".".join(map(str, each.minor)) for each in found))


class _Later:
    """Wakes a worker that is made after those who wake it."""

    function: Callable[[], None]

    def __call__(self) -> None:
        self.function()
