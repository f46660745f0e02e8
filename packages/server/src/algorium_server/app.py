"""
The one place that builds objects and wires them together, and the life of the server process.

Start: home and lock, database, directory, sandbox, engine, faces, then the socket. `/healthz`
answers from then on; the demo algorithms are built; only then the `ready` line is printed.
Stop (SIGTERM, SIGINT): no new connections, calls in flight get their grace, then slots end.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from algorium.wire.refs import AlgorithmRef
from algorium_server.api.bytes import BytesFace
from algorium_server.api.calls import CallFace
from algorium_server.api.credentials import Credentials
from algorium_server.api.heads import Heads
from algorium_server.api.health import HealthFace, Readiness
from algorium_server.api.http import AsgiApp, Receive, Scope, Send
from algorium_server.api.router import build_router
from algorium_server.api.slots import SlotApi
from algorium_server.build.builder import Builder
from algorium_server.build.environments import Environments
from algorium_server.build.repositories import Repositories
from algorium_server.data.blobs import BlobStore
from algorium_server.domain.errors import Unavailable
from algorium_server.engine.capacity import EngineLimits
from algorium_server.engine.host import SandboxHost
from algorium_server.engine.local import LocalEngine
from algorium_server.engine.probe import HostReport
from algorium_server.engine.sandbox import Level
from algorium_server.home import locked, write_endpoint
from algorium_server.jobs.worker import JobWorker
from algorium_server.services import accounts
from algorium_server.services.calls import CallService
from algorium_server.services.confining import SandboxedJobs
from algorium_server.services.data import DataService
from algorium_server.services.directory import Directory
from algorium_server.services.publishing import Publishing
from algorium_server.services.void_calls import JOB_KIND, VoidCalls
from algorium_server.serving import address_of, allow_many_connections, listen, serving
from algorium_server.settings import Settings
from algorium_server.store.database import Database, sqlite_url
from algorium_server.telemetry import configure, logger

_log = logger(__name__)


def serve(settings: Settings) -> int:
    """
    Run the server until it is told to stop.

    Returns:
        The exit code: 0 after a clean stop.

    Raises:
        AlgoriumError: It cannot start; the message says why and what to do.
    """
    configure(settings.log_level, settings.log_format)
    allow_many_connections()
    return uvloop.run(_serve(settings))


@dataclass(slots=True, kw_only=True)
class _State:
    """What the readiness page shows."""

    is_ready: bool = False
    demo: str = ""


async def _serve(settings: Settings) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        stack.enter_context(locked(settings.home))
        listening = listen(settings.host, settings.port)
        api = settings.public_url.rstrip("/") or address_of(settings.host, listening)
        state = _State(demo="building" if settings.demo else "")
        built = await stack.enter_async_context(_built(settings, state))
        grace_s = settings.shutdown_grace_s
        await stack.enter_async_context(
            serving(built.router, built.heads, listening, grace_s=grace_s)
        )
        if settings.demo:
            await _until(stopping, _publish_demo(built, settings, state))
        if not stopping.is_set():
            _announce(settings, api, built)
            state.is_ready = True
            await stopping.wait()
        state.is_ready = False
        _log.info("stopping", grace_s=grace_s)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    router: AsgiApp
    heads: Heads
    host: SandboxHost
    directory: Directory
    publishing: Publishing
    new_credentials: accounts.AdministratorCredentials | None


@asynccontextmanager
async def _built(settings: Settings, state: _State) -> AsyncIterator[_Built]:
    """Build everything in the order in which it depends on one another; take it down reversed."""
    home = settings.home
    async with AsyncExitStack() as stack:
        database = await Database.open(settings.database or sqlite_url(home / "algorium.db"))
        stack.push_async_callback(database.close)
        directory = Directory(database)
        await directory.load()
        new_credentials = await accounts.first_start(
            database, directory, home=home, admin_username=settings.admin_username, now=_now()
        )
        blobs = BlobStore(home / "blobs")
        stack.callback(blobs.close)
        data = DataService(database, blobs, directory)

        host = await SandboxHost.start(settings.sandbox_wanted, home / "sandboxes")
        stack.push_async_callback(host.close)
        inside = _Later()
        engine = await stack.enter_async_context(_engine(host, inside, settings))
        calls = CallService(
            directory=directory,
            engine=engine,
            builds_dir=home / "builds",
            environments_dir=home / "envs",
            end_session=data.end_session,
        )
        void_calls = await stack.enter_async_context(
            _void_calls(calls, database, directory, settings)
        )

        credentials = Credentials(directory)
        router = inside.app = build_router(
            calls=CallFace(calls, void_calls, credentials),
            data=BytesFace(data, credentials),
            health=HealthFace(lambda: _readiness(state, host)),
        )
        sweeping = asyncio.get_running_loop().create_task(data.keep_swept())
        stack.callback(sweeping.cancel)
        yield _Built(
            router=router,
            heads=Heads(calls),
            host=host,
            directory=directory,
            publishing=await _publishing(home, database, directory, host),
            new_credentials=new_credentials,
        )


@asynccontextmanager
async def _engine(
    host: SandboxHost, router: AsgiApp, settings: Settings
) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(
        host,
        SlotApi(router),
        limits=EngineLimits(slots_max=settings.slots_max),
    )
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def _void_calls(
    calls: CallService, database: Database, directory: Directory, settings: Settings
) -> AsyncIterator[VoidCalls]:
    void_calls = VoidCalls(
        calls=calls,
        database=database,
        directory=directory,
        wake=lambda: worker.wake(),  # noqa: PLW0108 - the worker runs these calls
    )
    worker = JobWorker(database, {JOB_KIND: void_calls.run})
    await worker.start()
    try:
        yield void_calls
    finally:
        await worker.stop(settings.shutdown_grace_s)


async def _publishing(
    home: Path, database: Database, directory: Directory, host: SandboxHost
) -> Publishing:
    run_confined = SandboxedJobs(host)
    repositories = Repositories(home / "repos")
    environments = Environments(home / "envs")
    builder = Builder(
        repositories=repositories,
        environments=environments,
        builds_dir=home / "builds",
        run_confined=run_confined,
    )
    publishing = Publishing(
        database=database, directory=directory, builder=builder, repositories=repositories
    )
    await publishing.recover()
    return publishing


class _Later:
    """An ASGI app that is built after the engine that serves it inside slots."""

    app: AsgiApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def _readiness(state: _State, host: SandboxHost) -> Readiness:
    return Readiness(is_ready=state.is_ready, sandbox=host.report.as_dict(), demo=state.demo)


async def _publish_demo(built: _Built, settings: Settings, state: _State) -> None:
    owner = built.directory.account_named(settings.admin_username)
    assert owner is not None, "made on the first start"
    try:
        failed = await built.publishing.publish_demo(
            settings.examples_dir, owner=owner, on_progress=_say
        )
    except Unavailable as error:
        state.demo = "unavailable"
        _say(f"demo algorithms are not available: {error.message}")
    else:
        state.demo = f"not published: {', '.join(failed)}" if failed else "published"


async def _until(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Run *work*, or give it up when the server is told to stop."""
    loop = asyncio.get_running_loop()
    working = loop.create_task(work)
    waiting = loop.create_task(stopping.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not working.done():
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return
    working.result()


def _announce(settings: Settings, api: str, built: _Built) -> None:
    """Say where to go, to programs and to people; the `ready` line is a contract."""
    write_endpoint(settings.home, api)
    _say(f"sandbox  {_sandbox_line(built.host.report)}")
    _say(f"home     {settings.home}")
    _say(f"api      {api}")
    if built.new_credentials is not None:
        _say(f"user     {built.new_credentials.username}")
        _say(f"key      {built.new_credentials.api_key}")
        _say(f"admin    {built.new_credentials.admin_api_key}")
        _say("These keys are shown once; they are kept in credentials.json in the home directory.")
    hello = AlgorithmRef(owner="demo", name="Hello")
    if settings.demo and built.directory.algorithm(hello) is not None:
        shown = built.new_credentials.api_key if built.new_credentials else "YOUR_API_KEY"
        _say("Try:")
        _say(
            f"  curl -X POST -d '\"HAL 9000\"' -H 'Content-Type: application/json' "
            f"-H 'Authorization: Simple {shown}' {api}/v1/algo/demo/Hello"
        )
    _say(f"ready {api}")


def _sandbox_line(report: HostReport) -> str:
    if report.level is None:
        return f"none: algorithms cannot run on this host. {report.remedy}"
    if report.level is Level.NONE:
        return "OFF: algorithms can do whatever this server can (--unsafe-no-sandbox)"
    line = f"{report.level.value} ({report.mechanism})"
    return line if report.level is Level.FULL else f"{line}; see `algorium doctor`"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _now() -> datetime:
    return datetime.now(UTC)
