"""
The management API of a home, for commands: beside a server or without one.

While a server runs there, it is asked over HTTP, with an admin key. While none runs, the same
routes are asked in this process, as an administrator without a key: whoever may read and write the
home directory may do everything anyway. The home directory is locked meanwhile, so that no server
starts which would not know what is changed. Either way rights are checked, and the audit log
written, by the same services.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import Any, Final, TypeVar

import httpx2

from algorium_server.api.credentials import PRINCIPAL_KEY, Credentials
from algorium_server.api.http import AsgiApp, Receive, Scope, Send
from algorium_server.api.keys import key_routes
from algorium_server.api.management import build_management
from algorium_server.api.organizations import organization_routes
from algorium_server.api.users import user_routes
from algorium_server.build.builder import Builder
from algorium_server.build.confined import ConfinedJob
from algorium_server.build.environments import Environments
from algorium_server.build.source.repositories import Repositories
from algorium_server.domain.errors import (
    AlgoriumError,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    Unavailable,
)
from algorium_server.domain.identity import Account
from algorium_server.domain.limits import OPERATOR_ANSWER_S_MAX, OPERATOR_PAGE_MAX
from algorium_server.home import ENDPOINT_FILE, locked, open_blobs, open_database
from algorium_server.origin import Origin, origin
from algorium_server.services.authoring.algorithms import Algorithms
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.authoring.environments import EnvironmentCatalog
from algorium_server.services.authoring.hosts import InternalHosts
from algorium_server.services.directory import Directory
from algorium_server.services.people.account_removal import AccountRemoval
from algorium_server.services.people.accounts import CREDENTIALS_FILE
from algorium_server.services.people.administrators import Administrators
from algorium_server.services.people.keys import Keys
from algorium_server.services.people.organization_types import OrganizationTypes
from algorium_server.services.people.organizations import Organizations
from algorium_server.services.people.users import Users
from algorium_server.settings import Settings
from algorium_server.store.database import Database
from algorium_server.telemetry import configure
from algorium_server.wiring.quoting import quota_routes_alone

T = TypeVar("T")

_HERE: Final = "http://here"
"""Stands in links of answers that no server gave."""


class Operator:
    """
    Asks the management API.

    Args:
        client: Sends requests.

    Attributes:
        administrator: Name of the administrator as whom everything is done; empty if a server
            knows it and we do not.
    """

    def __init__(self, client: httpx2.AsyncClient, *, administrator: str = "") -> None:
        self.administrator = administrator
        self._client = client

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """
        Make a request, and return the JSON of its answer; None if that is empty.

        Raises:
            NotFound: There is nothing of that name.
            NotAuthenticated: The key that was shown is none.
            InvalidInput: The answer is no, for another reason.
            Unavailable: The server does not answer, or cannot do it now.
        """
        try:
            answer = await self._client.request(
                method, path, content=None if body is None else json.dumps(body)
            )
        except httpx2.HTTPError as error:
            raise Unavailable(
                f"the server does not answer: {error or type(error).__name__}"
            ) from error
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _refusal(answer)

    async def page_through(self, path: str) -> AsyncIterator[Mapping[str, Any]]:
        """Yield what a list has, page by page."""
        marker = ""
        while True:
            query = httpx2.QueryParams(
                {"limit": OPERATOR_PAGE_MAX} | ({"marker": marker} if marker else {})
            )
            page = await self.ask("GET", f"{path}?{query}")
            for entry in page["results"]:
                yield entry
            marker = page["marker"]
            if not marker:
                return


def work_on(settings: Settings, admin_key: str, work: Callable[[Operator], Awaitable[T]]) -> T:
    """
    Do some work with the management API of a home, and return what comes of it.

    Args:
        settings: Where the home is.
        admin_key: As for `operator_of`.
        work: Gets the API.
    """

    async def opened() -> T:
        async with operator_of(settings, admin_key=admin_key) as operator:
            return await work(operator)

    configure("warning", "auto")  # standard output is for what commands print
    return asyncio.run(opened())


@asynccontextmanager
async def operator_of(settings: Settings, *, admin_key: str = "") -> AsyncIterator[Operator]:
    """
    Open the management API of a home.

    Args:
        settings: Where the home is.
        admin_key: To show to a running server; that of the first start if it is empty.

    Raises:
        Unavailable: There is no home, it cannot be used, or the server on it is just starting.
    """
    if not settings.database and not (settings.home / "algorium.db").is_file():
        raise Unavailable(f"there is no database in {settings.home}: is --home right?")
    async with AsyncExitStack() as stack:
        try:
            stack.enter_context(locked(settings.home))
        except Unavailable:
            api = _endpoint(settings)
            name, key = ("", admin_key) if admin_key else _first_key(settings)
            client = httpx2.AsyncClient(
                base_url=api,
                headers={"Authorization": f"Simple {key}"},
                timeout=OPERATOR_ANSWER_S_MAX,
                trust_env=False,  # the server is on this machine, whatever proxies there are
            )
            yield Operator(await stack.enter_async_context(client), administrator=name)
            return
        database = await stack.enter_async_context(await open_database(settings))
        app, administrator = await _management(database, settings, stack.callback)
        transport = httpx2.ASGITransport(app=app)
        client = httpx2.AsyncClient(transport=transport, base_url=_HERE, timeout=None)
        yield Operator(
            await stack.enter_async_context(client), administrator=administrator.username
        )


def _endpoint(settings: Settings) -> str:
    try:
        api: str = json.loads((settings.home / ENDPOINT_FILE).read_text("utf-8"))["api"]
    except (OSError, ValueError, KeyError) as error:
        raise Unavailable(
            f"the server on {settings.home} does not answer yet, or another command is at work",
            hint="Try again in a moment.",
        ) from error
    return api


def _first_key(settings: Settings) -> tuple[str, str]:
    """Return the administrator of the first start, and the key."""
    path = settings.home / CREDENTIALS_FILE
    try:
        kept = json.loads(path.read_text("utf-8"))
        return str(kept["username"]), str(kept["admin_api_key"])
    except (OSError, ValueError, KeyError) as error:
        raise Unavailable(
            f"the server is running, and there is no admin key in {path}",
            hint="Give one in ALGORIUM_ADMIN_KEY, or stop the server and try again.",
        ) from error


async def _management(
    database: Database, settings: Settings, on_end: Callable[..., object]
) -> tuple[AsgiApp, Account]:
    """Build the routes around accounts as a server has them, and nothing else of a server."""
    directory = Directory(database)
    await directory.load()
    administrator = _administrator(directory)
    blobs = await open_blobs(settings)
    on_end(blobs.close)
    repositories = Repositories(settings.home / "repos")
    authors = Authors(directory)
    administrators = Administrators(directory)
    algorithms = Algorithms(
        database=database,
        directory=directory,
        authors=authors,
        environments=EnvironmentCatalog(database, python_versions=list),
        repositories=repositories,
        hosts=InternalHosts(repositories),
        builder=Builder(
            repositories=repositories,
            environments=Environments(settings.home / "envs"),
            builds_dir=settings.home / "builds",
            run_confined=_build_nothing,
        ),
    )
    removal = AccountRemoval(database, directory, algorithms, blobs)
    management = build_management(
        Credentials(directory),
        user_routes(Users(database, directory, administrators, removal), api=_HERE),
        organization_routes(
            Organizations(database, directory, administrators, authors, removal),
            OrganizationTypes(database, administrators),
            api=_HERE,
        ),
        key_routes(Keys(database, directory, administrators)),
        *await quota_routes_alone(database, directory, settings.quotas, api=_HERE),
    )

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        origin.set(Origin("command line"))
        principal = directory.principal_of(administrator)
        await management({**scope, PRINCIPAL_KEY: lambda: principal}, receive, send)

    return asked, administrator


def _administrator(directory: Directory) -> Account:
    found = (each for each in directory.accounts() if each.is_admin and not each.is_disabled)
    administrator = next(found, None)
    if administrator is None:
        raise Unavailable("there is no administrator yet: start the server once")
    return administrator


async def _build_nothing(job: ConfinedJob, *, on_output: Callable[[bytes], None]) -> int:  # noqa: ARG001
    raise Unavailable("nothing is built without a server")


def _refusal(answer: httpx2.Response) -> AlgoriumError:
    message = _message(answer)
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return NotFound(message)
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        return NotAuthenticated(
            f"the server does not take the admin key: {message}",
            hint="Give another one in ALGORIUM_ADMIN_KEY; or stop the server, and run"
            " `algorium key create --admin`.",
        )
    return Unavailable(message) if answer.is_server_error else InvalidInput(message)


def _message(answer: httpx2.Response) -> str:
    try:
        error = answer.json()["error"]
        message = error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError):
        message = ""
    return message or f"the server answered with status {answer.status_code}"
