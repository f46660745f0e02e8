"""
A small installation where people sign in: real rows, real sockets, the router and real faces.

| who    | what                                        | keys                          | password |
|--------|---------------------------------------------|-------------------------------|----------|
| `jane` | a user, jane@example.com                    | `jane-key`, `jane-manage-key` | yes      |
| `eve`  | a stranger                                  | `eve-key`                     | no       |
| `root` | an administrator                            | `root-admin-key`              | no       |
| `lab`  | an organization with external groups        |                               |          |
| `club` | one without, which `jane` is a member of    |                               |          |
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import rows
import uvicorn
from argon2 import PasswordHasher
from uvicorn.server import ServerState

from algorium_server.api.keys import key_routes
from algorium_server.api.management import build_management
from algorium_server.api.passwords import password_routes
from algorium_server.api.protocol import JsonProtocol
from algorium_server.api.router import build_router
from algorium_server.api.storage import StorageFace
from algorium_server.api.users import user_routes
from algorium_server.domain.federation import ProviderSettings
from algorium_server.domain.identity import (
    DEFAULT_KEY_PERMISSIONS,
    AccountKind,
    KeyKind,
    KeyPermissions,
    Role,
)
from algorium_server.domain.organizations import OrganizationProfile
from algorium_server.domain.storage import Quota
from algorium_server.sealing import Seal
from algorium_server.services.directory import Directory, key_digest
from algorium_server.services.files.storage import StorageService
from algorium_server.services.people.account_removal import AccountRemoval
from algorium_server.services.people.administrators import Administrators
from algorium_server.services.people.keys import Keys
from algorium_server.services.people.passwords import Passwords
from algorium_server.services.people.users import Users
from algorium_server.store import accounts as account_rows
from algorium_server.store import organizations as organization_rows
from algorium_server.store import users
from algorium_server.store.database import Database
from algorium_server.wiring.signing_in import SigningIn

API = "https://algorium.example.com"
PASSWORD = "correct horse battery"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Clock:
    """The time, and what tests add to it."""

    def __init__(self) -> None:
        self.passed = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.passed


class SignInSite:
    """The installation; it answers in *runner* alone, while that runs something."""

    def __init__(
        self,
        runner: asyncio.Runner,
        home: Path,
        database: Database,
        settings: ProviderSettings | None = None,
        *,
        api: str = API,
    ) -> None:
        self.runner = runner
        self.database = database
        self.clock = Clock()
        self.directory = Directory(database, clock=self.clock)
        self.passwords = Passwords(database, self.directory, hasher=CHEAP)
        self.signing_in = SigningIn(database, self.directory, Seal.open(home), settings, api=api)
        self.credentials = self.signing_in.credentials
        self.port = 0
        self.clients: list[httpx2.AsyncClient] = []
        self.accounts = {
            "jane": rows.account("jane", email="jane@example.com"),
            "eve": rows.account("eve"),
            "root": rows.account("root", is_admin=True),
            "lab": rows.account("lab", kind=AccountKind.ORGANIZATION),
            "club": rows.account("club", kind=AccountKind.ORGANIZATION),
        }

    def browser(self, **headers: str) -> httpx2.AsyncClient:
        """Return a client that keeps cookies, also those that are for TLS only."""
        client = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=60
        )
        self.clients.append(client)
        return client

    def ask(self, client: httpx2.AsyncClient, method: str, path: str, **options) -> httpx2.Response:
        return self.runner.run(client.request(method, path, **options))

    def role(self, name: str, organization: str) -> Role | None:
        account = self.directory.account_named(name)
        assert account is not None
        roles = self.directory.roles_of(account.account_id)
        return roles.get(self.accounts[organization].account_id)

    async def start(self) -> None:
        """Fill the database and build the application."""
        lab = OrganizationProfile(
            organization_id=self.accounts["lab"].account_id,
            external_admin_group="lab-owners, bosses",
            external_member_group="lab-members",
            external_executor_group="lab-callers",
        )
        async with self.database.transaction() as connection:
            for account in self.accounts.values():
                await account_rows.add_account(connection, account)
            await users.take_email(
                connection, "jane@example.com", account_id=self.accounts["jane"].account_id
            )
            await organization_rows.put_profile(connection, lab)
            await account_rows.set_membership(
                connection,
                organization_id=self.accounts["club"].account_id,
                user_id=self.accounts["jane"].account_id,
                role=Role.MEMBER,
            )
            managing = KeyPermissions(allow_algo_management=True)
            for secret, permissions, kind in (
                ("jane-key", DEFAULT_KEY_PERMISSIONS, KeyKind.STANDARD),
                ("jane-manage-key", managing, KeyKind.MANAGEMENT),
                ("eve-key", DEFAULT_KEY_PERMISSIONS, KeyKind.STANDARD),
                ("root-admin-key", KeyPermissions(), KeyKind.ADMIN),
            ):
                owner = self.accounts[secret.partition("-")[0]].account_id
                key = rows.key(owner, permissions=permissions, kind=kind)
                await account_rows.add_key(connection, key, digest=key_digest(secret))
        await self.directory.load()
        await self.passwords.set("jane", PASSWORD)
        administrators = Administrators(self.directory)
        removal = AccountRemoval(self.database, self.directory, None, None)  # none owns anything
        management = build_management(
            self.credentials,
            user_routes(Users(self.database, self.directory, administrators, removal), api=API),
            key_routes(Keys(self.database, self.directory, administrators)),
            password_routes(self.passwords),
            *self.signing_in.begin(self.passwords),
        )
        storage = StorageService(self.database, self.directory, quota_of=lambda _: Quota())
        self.router = build_router(
            calls=management,
            data=management,
            health=management,
            usage=management,
            admin=management,
            management=management,
            storage=StorageFace(storage, self.credentials),
        )


@asynccontextmanager
async def running_sign_in_site(site: SignInSite) -> AsyncIterator[SignInSite]:
    """Serve a site for as long as the block lasts."""
    await site.start()
    config = uvicorn.Config(
        site.router, interface="asgi3", http=JsonProtocol, lifespan="off", log_config=None
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
        await site.signing_in.close()
