"""
A small installation that serves the Data API: real rows, real files, real sockets.

| who     | what                                                             |
|---------|------------------------------------------------------------------|
| `jane`  | a user, owner of the organization `lab`                          |
| `bob`   | a user, executor of `lab`                                        |
| `lab`   | an organization, owner of the published algorithm `lab/Hello`    |
| `hello` | that algorithm; `secret` is another one, of jane's, unpublished  |
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import rows
import uvicorn
from uvicorn.server import ServerState

from algorium_server.api.bytes import BytesFace
from algorium_server.api.credentials import Credentials
from algorium_server.api.defaults import default_routes
from algorium_server.api.management import build_management
from algorium_server.api.protocol import JsonProtocol
from algorium_server.api.resumable import ResumableFace
from algorium_server.api.router import build_router
from algorium_server.api.sending import FileSender
from algorium_server.data.commits import Commits
from algorium_server.data.local import LocalBlobs
from algorium_server.data.parts import PartFiles
from algorium_server.domain.algorithms import Algorithm, BuildStatus, Callability
from algorium_server.domain.identity import (
    DEFAULT_KEY_PERMISSIONS,
    Account,
    AccountKind,
    ActingAlgorithm,
    ApiKey,
    KeyKind,
    KeyPermissions,
    Principal,
    Role,
)
from algorium_server.domain.storage import NO_QUOTA, Quota
from algorium_server.services.directory import Directory, key_digest
from algorium_server.services.files.data import DataService
from algorium_server.services.files.defaults import DefaultCollections
from algorium_server.services.files.resumable import ResumableUploads
from algorium_server.store import accounts as account_rows
from algorium_server.store import algorithms as algorithm_rows
from algorium_server.store.database import Database

ACTING = b"x-test-acting"


class Clock:
    """A clock that tests advance."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@dataclass
class Site:
    database: Database
    directory: Directory
    blobs: LocalBlobs
    data: DataService
    clock: Clock
    blobs_dir: Path
    accounts: dict[str, Account]
    hello: Algorithm
    secret: Algorithm
    uploads: ResumableUploads | None = None
    port: int = 0
    acting: list[Principal] = field(default_factory=list)

    @property
    def commits(self) -> Commits:
        return self.data._commits

    def principal(self, name: str) -> Principal:
        return self.directory.principal_of(self.accounts[name])

    def inside(
        self, name: str, algorithm: Algorithm | None = None, *, tree_id: str = "req-1"
    ) -> Principal:
        """Return *name* as an algorithm that it has called acts for it."""
        algorithm = algorithm or self.hello
        acting = ActingAlgorithm(
            algorithm_id=algorithm.algorithm_id,
            owner_id=algorithm.owner_id,
            tree_id=tree_id,
            deadline_at=1e9,
            depth=1,
            is_pipeline_enabled=True,
        )
        return replace(self.principal(name), acting=acting)

    def client(self, name: str = "jane", **options: object) -> httpx2.AsyncClient:
        """Return a client with the default key of *name*; empty for a client without a key."""
        headers = {"authorization": f"Simple {name}-key"} if name else {}
        return httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=30, **options
        )

    def client_inside(self, principal: Principal) -> httpx2.AsyncClient:
        """Return a client that speaks for *principal* without a key, as inside a slot."""
        self.acting.append(principal)
        headers = {ACTING.decode(): str(len(self.acting) - 1)}
        return httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=30
        )

    def blob_files(self) -> list[Path]:
        """Return every file below the blob directory, half-written ones included."""
        return [path for path in self.blobs_dir.rglob("*") if path.is_file()]

    async def add_key(self, name: str, secret: str, **fields: object) -> None:
        key = rows.key(self.accounts[name].account_id, **fields)
        await _store_key(self.database, key, secret)
        self.directory.put_key(key, digest=key_digest(secret))

    async def set_role(self, organization: str, user: str, role: Role | None) -> None:
        ids = {
            "organization_id": self.accounts[organization].account_id,
            "user_id": self.accounts[user].account_id,
            "role": role,
        }
        self.directory.put_membership(**ids)


@asynccontextmanager
async def running_site(
    url: str,
    blobs_dir: Path,
    *,
    file_bytes_max: int | None = None,
    quota: Quota = NO_QUOTA,
    serves: bool = True,
) -> AsyncIterator[Site]:
    """Run an installation on an empty database for as long as the block lasts."""
    async with await Database.open(url) as database:
        jane, bob = rows.account("jane"), rows.account("bob")
        lab = rows.account("lab", kind=AccountKind.ORGANIZATION)
        accounts = {account.username: account for account in (jane, bob, lab)}
        hello = rows.algorithm(lab.account_id, "Hello")
        secret = rows.algorithm(jane.account_id, "Secret")
        await _fill(database, accounts, (hello, secret))
        directory = Directory(database)
        await directory.load()
        blobs, clock = LocalBlobs(blobs_dir), Clock()
        data = DataService(
            database,
            blobs,
            directory,
            file_bytes_max=file_bytes_max,
            quota_of=lambda _account_id: quota,
            clock=clock,
        )
        site = Site(database, directory, blobs, data, clock, blobs_dir, accounts, hello, secret)
        parts = PartFiles(blobs_dir.with_name("uploads"))
        site.uploads = ResumableUploads(
            database, blobs, parts, data, quota_of=lambda _account_id: quota, clock=clock
        )
        try:
            if serves:
                async with _served(site):
                    yield site
            else:
                yield site
        finally:
            parts.close()
            blobs.close()


@asynccontextmanager
async def _served(site: Site) -> AsyncIterator[None]:
    credentials = Credentials(site.directory)
    sender = FileSender()
    data = BytesFace(site.data, credentials, sender=sender)
    router = build_router(
        calls=data,
        data=data,
        health=data,
        usage=data,
        admin=data,
        uploads=ResumableFace(site.uploads, credentials),
        management=build_management(
            credentials, default_routes(DefaultCollections(site.database, site.directory))
        ),
    )

    async def app(scope, receive, send):
        number = dict(scope["headers"]).get(ACTING)
        if number is not None:
            scope["algorium.principal"] = lambda: site.acting[int(number)]
        await router(scope, receive, send)

    config = uvicorn.Config(app, http=JsonProtocol, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: JsonProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()
        for connection in tuple(state.connections):
            connection.transport.abort()
        await asyncio.gather(*state.tasks, return_exceptions=True)
        sender.close()


async def _fill(
    database: Database, accounts: dict[str, Account], algorithms: tuple[Algorithm, ...]
) -> None:
    jane, bob, lab = accounts["jane"], accounts["bob"], accounts["lab"]
    build = rows.build(algorithms[0].algorithm_id, status=BuildStatus.SUCCEEDED)
    async with database.transaction() as connection:
        for account in accounts.values():
            await account_rows.add_account(connection, account)
        for user, role in ((jane, Role.OWNER), (bob, Role.EXECUTOR)):
            await account_rows.set_membership(
                connection, organization_id=lab.account_id, user_id=user.account_id, role=role
            )
        for algorithm in algorithms:
            await algorithm_rows.add_algorithm(connection, algorithm)
        await algorithm_rows.add_build(connection, build)
        version = rows.version(build, "0.1.0", callability=Callability.PUBLIC)
        await algorithm_rows.add_version(connection, version)
    for name in ("jane", "bob"):
        key = rows.key(accounts[name].account_id, permissions=DEFAULT_KEY_PERMISSIONS)
        await _store_key(database, key, f"{name}-key")
    reading = KeyPermissions(allow_data=True)
    key = rows.key(jane.account_id, label="reading", permissions=reading)
    await _store_key(database, key, "reading-key")
    key = rows.key(jane.account_id, label="no data")
    await _store_key(database, key, "no-data-key")
    key = rows.key(jane.account_id, label="admin", kind=KeyKind.ADMIN)
    await _store_key(database, key, "admin-key")


async def _store_key(database: Database, key: ApiKey, secret: str) -> None:
    async with database.transaction() as connection:
        await account_rows.add_key(connection, key, digest=key_digest(secret))


class Web:
    """
    Somebody with a client; the method's name is the verb: `jane.put(path, content=...)`.

    Args:
        runner: The event loop that the installation runs in.
        client: Speaks for somebody.
    """

    def __init__(self, runner: asyncio.Runner, client: httpx2.AsyncClient) -> None:
        self._runner, self.client = runner, client

    def __getattr__(self, method: str) -> Callable[..., httpx2.Response]:
        def send(path: str, **options: object) -> httpx2.Response:
            return self._runner.run(self.client.request(method.upper(), path, **options))

        return send
