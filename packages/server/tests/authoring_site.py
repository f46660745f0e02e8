"""
A small installation that serves the management API: real rows, real git, real sockets.

| who       | what                                              | keys                             |
|-----------|---------------------------------------------------|----------------------------------|
| `jane`    | a user, owner of the organization `lab`           | `jane-key`                       |
| `meg`     | a member of `lab`                                 | `meg-key`, `meg-plain-key`       |
| `bob`     | an executor of `lab`                              | `bob-key`                        |
| `eve`     | a stranger                                        | `eve-key`                        |
| `root`    | an administrator                                  | `root-key`, `root-admin-key`     |

`meg-plain-key` has no `allow_algo_management`; `root-admin-key` is an admin key.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx2
import rows
import uvicorn
from data_site import Web
from plain_jobs import PlainJobs
from uvicorn.server import ServerState

from algorium.wire.refs import AlgorithmRef
from algorium_server.api.algorithm_objects import AlgorithmObjects
from algorium_server.api.algorithms import algorithm_routes
from algorium_server.api.builds import build_routes
from algorium_server.api.credentials import Credentials
from algorium_server.api.environments import environment_routes
from algorium_server.api.management import build_management
from algorium_server.api.protocol import JsonProtocol
from algorium_server.api.router import build_router
from algorium_server.api.versions import version_routes
from algorium_server.build.builder import Builder
from algorium_server.build.environments import Environments
from algorium_server.build.source.repositories import Repositories, Signature
from algorium_server.domain.algorithms import Algorithm, Build, BuildStatus, Version
from algorium_server.domain.identity import (
    DEFAULT_KEY_PERMISSIONS,
    Account,
    AccountKind,
    ActingAlgorithm,
    KeyKind,
    KeyPermissions,
    Principal,
    Role,
)
from algorium_server.domain.languages import Language
from algorium_server.jobs.worker import JobWorker
from algorium_server.services.authoring.algorithms import Algorithms
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.authoring.builds import JOB_KIND, Builds
from algorium_server.services.authoring.environments import EnvironmentCatalog
from algorium_server.services.authoring.hosts import InternalHosts
from algorium_server.services.authoring.publishing import Publishing
from algorium_server.services.authoring.readmes import Readmes
from algorium_server.services.authoring.releases import Releases
from algorium_server.services.authoring.views import Views
from algorium_server.services.directory import Directory, key_digest
from algorium_server.store import accounts as account_rows
from algorium_server.store import algorithms as algorithm_rows
from algorium_server.store.database import Database

API = "https://api.example.org"
HELLO = {"src/Hello.py": b"def apply(input):\n    return f'Hello {input}'\n"}
NOWHERE = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
SETTINGS = {
    "language": "python3",
    "source_visibility": "closed",
    "license": "apl",
    "network_access": "isolated",
    "pipeline_enabled": True,
}
_ROLES = (("jane", Role.OWNER), ("meg", Role.MEMBER), ("bob", Role.EXECUTOR))


class Site:
    """The installation; it answers in *runner* alone, while that runs something."""

    def __init__(self, runner: asyncio.Runner, home: Path, database: Database) -> None:
        self.runner = runner
        self.home = home
        self.database = database
        self.directory = Directory(database)
        self.repositories = Repositories(home / "repos")
        self.accounts: dict[str, Account] = {}
        self.acting: Principal | None = None
        self.port = 0
        self.clients: list[httpx2.AsyncClient] = []
        self.seconds = itertools.count()
        self.lacking: dict[Language, str] = {}
        self.environments = EnvironmentCatalog(
            database,
            python_versions=lambda: ["3.11", "3.9"],
            why_not=lambda language: self.lacking.get(language, ""),
        )
        authors = Authors(self.directory)
        hosts = InternalHosts(self.repositories)
        builder = Builder(
            repositories=self.repositories,
            environments=Environments(home / "envs", inherited=NOWHERE),
            builds_dir=home / "builds",
            run_confined=PlainJobs(),
            inherited=NOWHERE,
        )
        self.builds = Builds(
            database=database,
            directory=self.directory,
            builder=builder,
            repositories=self.repositories,
        )
        readmes = Readmes(database, self.directory, self.repositories)
        handlers = {JOB_KIND: readmes.before(self.builds.run)}
        self.worker = JobWorker(database, handlers, poll_s=0.1)
        publishing = Publishing(
            database=database, directory=self.directory, repositories=self.repositories
        )
        self.algorithms = Algorithms(
            database=database,
            directory=self.directory,
            authors=authors,
            environments=self.environments,
            repositories=self.repositories,
            hosts=hosts,
            builder=builder,
        )
        views = Views(database, self.directory, authors, self.repositories)
        releases = Releases(
            directory=self.directory,
            authors=authors,
            algorithms=self.algorithms,
            builds=self.builds,
            publishing=publishing,
            repositories=self.repositories,
            hosts=hosts,
            views=views,
        )
        objects = AlgorithmObjects(hosts, API)
        management = build_management(
            Credentials(self.directory),
            algorithm_routes(self.algorithms, views, objects),
            version_routes(releases, views, objects, api=API),
            build_routes(views, api=API),
            environment_routes(self.environments),
        )
        self.router = build_router(
            calls=management,
            data=management,
            health=management,
            usage=management,
            admin=management,
            management=management,
        )

    def web(self, key: str = "jane-key") -> Web:
        """Return a client with a key; without one if it is empty."""
        client = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"authorization": key} if key else {},
            timeout=60,
        )
        self.clients.append(client)
        return Web(self.runner, client)

    def inside(self, name: str, algorithm: Algorithm) -> Principal:
        """Return an account as an algorithm that it has called acts for it."""
        acting = ActingAlgorithm(
            algorithm_id=algorithm.algorithm_id,
            owner_id=algorithm.owner_id,
            tree_id="req-1",
            deadline_at=1e9,
            depth=1,
            is_pipeline_enabled=True,
        )
        return replace(self.directory.principal_of(self.accounts[name]), acting=acting)

    def algorithm(self, ref: str) -> Algorithm:
        """Return an algorithm that is there."""
        found = self.directory.algorithm(AlgorithmRef.parse(ref))
        assert found is not None
        return found

    def commit(self, ref: str, files: Mapping[str, bytes] = HELLO, message: str = "Change") -> str:
        """Make *files* the source of an algorithm."""
        algorithm = self.algorithm(ref)
        at = rows.NOW + timedelta(seconds=next(self.seconds))
        return self.runner.run(
            self.repositories.commit(
                algorithm.owner_id,
                algorithm.algorithm_id,
                files,
                author=Signature(name="Jane", email="jane@example.org", at=at),
                message=message,
            )
        )

    def add_build(self, ref: str, **fields: object) -> Build:
        """Add a build as if it had been done; each one second after the one before."""
        at = rows.NOW + timedelta(seconds=next(self.seconds))
        defaults = {"status": BuildStatus.SUCCEEDED, "started_at": at, "finished_at": at}
        build = rows.build(self.algorithm(ref).algorithm_id, **(defaults | fields))

        async def add() -> None:
            async with self.database.transaction() as connection:
                await algorithm_rows.add_build(connection, build)

        self.runner.run(add())
        self.directory.put_build(build)
        return build

    def add_version(self, of: Build, number: str, **fields: object) -> Version:
        """Publish a build past all rules."""
        at = rows.NOW + timedelta(seconds=next(self.seconds))
        version = replace(rows.version(of, number, **fields), published_at=at)

        async def add() -> None:
            async with self.database.transaction() as connection:
                await algorithm_rows.add_version(connection, version)

        self.runner.run(add())
        self.directory.put_version(version)
        return version

    async def start(self) -> None:
        """Fill the database and begin to build."""
        for name in ("jane", "meg", "bob", "eve"):
            self.accounts[name] = rows.account(name)
        self.accounts["root"] = rows.account("root", is_admin=True)
        self.accounts["lab"] = rows.account("lab", kind=AccountKind.ORGANIZATION)
        async with self.database.transaction() as connection:
            for account in self.accounts.values():
                await account_rows.add_account(connection, account)
            for name, role in _ROLES:
                await account_rows.set_membership(
                    connection,
                    organization_id=self.accounts["lab"].account_id,
                    user_id=self.accounts[name].account_id,
                    role=role,
                )
            for secret, permissions, kind in (
                ("jane-key", DEFAULT_KEY_PERMISSIONS, KeyKind.STANDARD),
                ("meg-key", DEFAULT_KEY_PERMISSIONS, KeyKind.STANDARD),
                ("meg-plain-key", KeyPermissions(), KeyKind.STANDARD),
                ("bob-key", DEFAULT_KEY_PERMISSIONS, KeyKind.STANDARD),
                ("eve-key", DEFAULT_KEY_PERMISSIONS, KeyKind.STANDARD),
                ("root-key", DEFAULT_KEY_PERMISSIONS, KeyKind.STANDARD),
                ("root-admin-key", KeyPermissions(), KeyKind.ADMIN),
            ):
                account_id = self.accounts[secret.partition("-")[0]].account_id
                key = rows.key(account_id, permissions=permissions, kind=kind)
                await account_rows.add_key(connection, key, digest=key_digest(secret))
        await self.directory.load()
        await self.worker.start()

    async def answer(self, scope, receive, send) -> None:
        """Answer a request, as inside a slot if `acting` is set."""
        if self.acting is not None:
            scope["algorium.principal"] = lambda: self.acting
        await self.router(scope, receive, send)


@asynccontextmanager
async def running_site(url: str, home: Path, runner: asyncio.Runner) -> AsyncIterator[Site]:
    """Run an installation on an empty database for as long as the block lasts."""
    async with await Database.open(url) as database:
        site = Site(runner, home, database)
        await site.start()
        config = uvicorn.Config(
            site.answer, interface="asgi3", http=JsonProtocol, lifespan="off", log_config=None
        )
        config.load()
        state = ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: JsonProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        site.port = server.sockets[0].getsockname()[1]
        try:
            yield site
        finally:
            server.close()
            for client in site.clients:
                await client.aclose()
            for connection in tuple(state.connections):
                connection.transport.abort()
            await asyncio.gather(*state.tasks, return_exceptions=True)
            await site.worker.stop(0.0)
