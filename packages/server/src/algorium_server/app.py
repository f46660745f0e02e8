"""
The one place that builds objects and wires them together: a gateway.

`serve` is the life of a server with one gateway; `fleet` and `member` are that of several.

Start: home and lock, database, directory, sandbox, engine, faces, then the socket. `/healthz`
answers from then on; the demo algorithms are built; only then the `ready` line is printed.
Stop (SIGTERM, SIGINT): no new connections, calls in flight get their grace, then slots end.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvloop

from algorium_server.announcing import announce, sandbox_line
from algorium_server.api.admin import AdminFace
from algorium_server.api.bytes import BytesFace
from algorium_server.api.calls import CallFace
from algorium_server.api.connectors import ConnectorsFace
from algorium_server.api.credentials import Credentials
from algorium_server.api.heads import Heads
from algorium_server.api.health import HealthFace, Readiness
from algorium_server.api.http import AsgiApp, Receive, Scope, Send
from algorium_server.api.management import build_management
from algorium_server.api.resumable import ResumableFace
from algorium_server.api.router import build_router
from algorium_server.api.sending import FileSender
from algorium_server.api.slots import SlotApi
from algorium_server.api.storage import StorageFace
from algorium_server.api.usage import UsageFace
from algorium_server.backup.upgrading import upgrade_if_asked
from algorium_server.data.models import ModelCache
from algorium_server.data.opening import forget_providers
from algorium_server.data.parts import PartFiles
from algorium_server.domain.limits import (
    MIB,
    SLOTS_PER_POOL_MAX,
)
from algorium_server.duties import Duties
from algorium_server.engine import memory
from algorium_server.engine.host import ZYGOTE_LIMITS, SandboxHost
from algorium_server.engine.local import LocalEngine
from algorium_server.engine.room import EngineLimits
from algorium_server.engine.templates import ZygoteLimits
from algorium_server.home import (
    clear_sandboxes,
    first_start,
    locked,
    open_blobs,
    open_database,
    sandboxes_dir,
)
from algorium_server.jobs.worker import JobWorker
from algorium_server.listening import address_of, allow_many_connections, listen
from algorium_server.sealing import Seal
from algorium_server.services.audit_checkpoints import Checkpoints
from algorium_server.services.audit_trail import AuditTrail
from algorium_server.services.authoring.models import Models
from algorium_server.services.calling.admission import Admission
from algorium_server.services.calling.budgets import Budgets
from algorium_server.services.calling.calls import CallService
from algorium_server.services.calling.error_log import ErrorLog
from algorium_server.services.calling.meter import Meter
from algorium_server.services.calling.rates import Rates
from algorium_server.services.calling.usage import UsageService
from algorium_server.services.calling.void_calls import JOB_KIND, VoidCalls
from algorium_server.services.calling.warmth import Warmth
from algorium_server.services.directory import Directory
from algorium_server.services.examination import Examination
from algorium_server.services.files.connectors import ConnectorService
from algorium_server.services.files.data import DataService
from algorium_server.services.files.reaching import PUBLIC_PLACES, Reach
from algorium_server.services.files.resumable import ResumableUploads
from algorium_server.services.files.scrubbing import Scrubber
from algorium_server.services.files.sources import Sources
from algorium_server.services.files.storage import StorageService
from algorium_server.services.following import Following
from algorium_server.services.source.push_output import PushOutput
from algorium_server.serving import serving
from algorium_server.settings import Settings
from algorium_server.store.database import Database
from algorium_server.telemetry import configure, logger
from algorium_server.wiring.authoring import open_authoring
from algorium_server.wiring.keeping import Keeping
from algorium_server.wiring.people import open_people
from algorium_server.wiring.quoting import open_quoting
from algorium_server.wiring.reporting import Reporting
from algorium_server.wiring.signing_in import open_signing_in

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    Where a gateway stands among those of its home.

    Attributes:
        number: Which one it is, from 0.
        gateways: How many there are.
        admission: Counts the open calls of accounts on all of them; None for a single one.
        rates: Counts their calls by minute; likewise.
        since: When the server started.
    """

    number: int = 0
    gateways: int = 1
    admission: Admission | None = None
    rates: Rates | None = None
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def is_alone(self) -> bool:
        """Whether there is no other gateway."""
        return self.gateways == 1

    def share_of(self, whole: int) -> int:
        """Return this gateway's part of what the machine may have, but 1 at least."""
        return max(whole // self.gateways + (self.number < whole % self.gateways), 1)


@dataclass(slots=True, kw_only=True)
class State:
    """
    The server as a whole: what its readiness page shows.

    Attributes:
        stops_at: When the grace of a stop ends, monotonic seconds; 0 before it began.
    """

    is_ready: bool = False
    demo: str = ""
    gateways: Mapping[str, int] = field(default_factory=dict)
    stops_at: float = 0.0

    def stop(self, grace_s: float) -> None:
        """Begin to stop: from now on everything under way has *grace_s* together."""
        self.is_ready = False
        self.stops_at = time.monotonic() + grace_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What those who run a gateway need of it."""

    router: AsgiApp
    heads: Heads
    host: SandboxHost
    meter: Meter
    duties: Duties
    following: Following
    budgets: Budgets
    push_output: PushOutput


async def _serve(settings: Settings) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        stack.enter_context(locked(settings.home))
        clear_sandboxes(settings.home)
        await upgrade_if_asked(settings)
        listening = stack.enter_context(listen(settings.host, settings.port))
        api = settings.public_url.rstrip("/") or address_of(settings.host, listening)
        database = await stack.enter_async_context(await open_database(settings))
        credentials = await first_start(database, settings)
        state = State(demo="building" if settings.demo else "")
        gateway = await stack.enter_async_context(
            open_gateway(database, settings, api, state, Place())
        )
        grace_s = settings.shutdown_grace_s
        await stack.enter_async_context(
            serving(gateway.router, gateway.heads, listening, grace_s=grace_s)
        )
        housekeeping = loop.create_task(gateway.duties.keep_house())
        stack.callback(housekeeping.cancel)
        await _until(stopping, gateway.duties.begin())
        state.demo = gateway.duties.demo
        if not stopping.is_set():
            announce(
                settings,
                api,
                sandbox=sandbox_line(gateway.host.report),
                credentials=credentials,
                has_hello=gateway.duties.has_hello,
            )
            state.is_ready = True
            await stopping.wait()
        state.stop(grace_s)
        gateway.meter.is_stopping = True
        gateway.push_output.stopping.set()
        _log.info("stopping", grace_s=grace_s)
    return 0


@asynccontextmanager
async def open_gateway(
    database: Database, settings: Settings, api: str, state: State, place: Place
) -> AsyncIterator[Gateway]:
    """
    Build everything in the order in which it depends on one another; take it down reversed.

    Args:
        database: Open until afterwards.
        settings: What was asked for.
        api: Base address, for links.
        state: What the readiness page shows; whoever runs the gateway keeps it up to date.
        place: Where it stands among others.
    """
    home = settings.home
    async with AsyncExitStack() as stack:
        directory = Directory(database)
        following = Following(database, directory, position=await directory.load())
        stack.push_async_callback(following.stop)
        if not database.is_exclusive:
            following.start()
        meter = await stack.enter_async_context(_meter(database, settings))
        errors = ErrorLog(database, worker=f"gateway-{place.number}")
        errors.start()
        stack.push_async_callback(errors.close)
        quoting = await stack.enter_async_context(
            open_quoting(database, directory, meter, settings.quotas, following=following)
        )
        blobs = await open_blobs(settings)
        stack.callback(blobs.close)
        # The operator's own storage is open; what users connect must not see how.
        forget_providers()
        seal = Seal.open(home)
        sources = Sources(database, seal, Reach(settings.connectors_allowed))
        stack.push_async_callback(sources.close)
        reporting = await stack.enter_async_context(
            Reporting(database, directory, meter, seal, Reach(settings.connectors_allowed))
        )
        data = DataService(
            database, blobs, directory, quota_of=quoting.allowances.storage_of, sources=sources
        )
        sender = FileSender()
        stack.callback(sender.close)
        parts = PartFiles(home / "uploads")
        stack.callback(parts.close)
        uploads = ResumableUploads(
            database, blobs, parts, data, quota_of=quoting.allowances.storage_of
        )

        cache = ModelCache(home / "models", bytes_max=settings.model_cache_mib * MIB)
        stack.callback(cache.close)
        await cache.sweep()
        models = Models(data, cache, builds_dir=home / "builds")

        host = await SandboxHost.start(
            settings.sandbox_wanted,
            sandboxes_dir(home, place.number),
            zygotes=_zygote_limits(settings, place),
            allowed=settings.network_allowed,
        )
        stack.push_async_callback(host.close)
        inside = _Later()
        keeping = Keeping(database, seal, Reach(settings.connectors_allowed))
        stack.push_async_callback(keeping.close)
        engine = await stack.enter_async_context(_engine(host, inside, keeping, settings, place))
        keeping_routes = await keeping.begin(engine, directory, following)
        calls = CallService(
            directory=directory,
            engine=engine,
            builds_dir=home / "builds",
            environments_dir=home / "envs",
            end_session=data.end_session,
            meter=meter,
            errors=errors,
            insights=reporting.insights,
            allowances=quoting.allowances,
            admission=place.admission,
            rates=place.rates,
            share_of=place.share_of,
        )
        warming = asyncio.get_running_loop().create_task(
            Warmth(directory, calls.programs, engine, quoting.reserved).keep()
        )
        stack.callback(warming.cancel)
        void_calls = await stack.enter_async_context(
            _void_calls(calls, meter, database, directory, state=state, place=place)
        )

        signing_in = await stack.enter_async_context(
            open_signing_in(
                database,
                directory,
                seal,
                settings.identity_provider,
                api=api,
                catch_up=following.before_request,
            )
        )
        credentials = signing_in.credentials
        trail, checkpoints = await stack.enter_async_context(
            _auditing(database, directory, credentials, seal, home)
        )
        authoring = await stack.enter_async_context(
            open_authoring(
                home=home,
                api=api,
                database=database,
                directory=directory,
                following=following,
                host=host,
                calls=calls,
                credentials=credentials,
                errors=errors,
                push_bytes_max=settings.push_mib_max * MIB,
                builds_max=settings.builds_max,
                build_timeout_s=settings.build_timeout_s,
                data=data,
                seal=seal,
                quotas_of=quoting.allowances.quotas_of,
                package_reach=Reach((*PUBLIC_PLACES, *settings.connectors_allowed)),
                scm_poll_s=settings.scm_poll_s,
                worker_name="" if place.is_alone or not database.is_embedded else "builds",
            )
        )
        authoring.passwords.on_denied = trail.sign_in_denied
        people = await stack.enter_async_context(
            open_people(
                api=api,
                database=database,
                directory=directory,
                blobs=blobs,
                algorithms=authoring.algorithms,
                credentials=credentials,
                meter=meter,
            )
        )
        management = build_management(
            credentials,
            *authoring.routes,
            *people,
            *quoting.routes(calls, api=api),
            *signing_in.begin(authoring.passwords),
            *keeping_routes,
            *reporting.routes(authoring.environments, api=api),
            catch_up=following.before_request,
        )
        router = inside.app = build_router(
            calls=CallFace(
                calls, void_calls, credentials, catch_up=following.before_request, trail=trail
            ),
            data=BytesFace(data, credentials, sender=sender, models=models),
            health=HealthFace(lambda: _readiness(state, host, place)),
            usage=UsageFace(UsageService(database, directory, meter), credentials, api=api),
            admin=AdminFace(Examination(host), credentials),
            storage=StorageFace(
                StorageService(database, directory, quota_of=quoting.allowances.storage_of),
                credentials,
            ),
            uploads=ResumableFace(uploads, credentials),
            management=management,
            git=authoring.git,
            users=ConnectorsFace(ConnectorService(database, directory, sources), credentials),
            denied=trail.denied,
        )
        yield Gateway(
            router=router,
            heads=Heads(calls, credentials.sightings),
            host=host,
            meter=meter,
            push_output=authoring.push_output,
            duties=Duties(
                settings=settings,
                report=host.report,
                since=place.since,
                database=database,
                directory=directory,
                algorithms=authoring.algorithms,
                sourcing=authoring.sourcing,
                builds=authoring.builds,
                build_worker=authoring.build_worker,
                demo=authoring.demo,
                data=data,
                uploads=uploads,
                meter=meter,
                errors=errors,
                checkpoints=checkpoints,
                reporting=reporting,
                scrubber=Scrubber(database, blobs, every=timedelta(days=settings.scrub_days)),
            ),
            following=following,
            budgets=quoting.budgets,
        )


@asynccontextmanager
async def _meter(database: Database, settings: Settings) -> AsyncIterator[Meter]:
    meter = Meter(database, settings.home / "usage", keep_days=settings.usage_keep_days)
    await meter.start()
    try:
        yield meter
    finally:
        await meter.close()


@asynccontextmanager
async def _auditing(
    database: Database, directory: Directory, credentials: Credentials, seal: Seal, home: Path
) -> AsyncIterator[tuple[AuditTrail, Checkpoints]]:
    trail = AuditTrail(database, directory, credentials.sightings)
    checkpoints = Checkpoints(database, seal.chain_keys, home)
    trail.start()
    try:
        yield trail, checkpoints
    finally:
        await trail.close()
        await checkpoints.close()  # of what the trail has written in the end, too


@asynccontextmanager
async def _engine(
    host: SandboxHost, router: AsgiApp, keeping: Keeping, settings: Settings, place: Place
) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(
        host,
        SlotApi(router),
        limits=_engine_limits(settings, place),
        secrets_of=keeping.secrets_of,
    )
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def _engine_limits(settings: Settings, place: Place) -> EngineLimits:
    budget_mib = settings.memory_budget_mib
    budget_bytes = budget_mib * MIB if budget_mib else memory.default_budget_bytes()
    return EngineLimits(
        slots_max=place.share_of(settings.slots_max),
        slots_per_pool_max=place.share_of(SLOTS_PER_POOL_MAX),
        slot_cpus=settings.slot_cpus,
        memory_bytes=budget_bytes // place.gateways,
        is_memory_strict=settings.memory_accounting == "limit",
    )


def _zygote_limits(settings: Settings, place: Place) -> ZygoteLimits | None:
    if settings.zygotes == "off":
        return None
    return replace(ZYGOTE_LIMITS, count_max=place.share_of(ZYGOTE_LIMITS.count_max))


@asynccontextmanager
async def _void_calls(
    calls: CallService,
    meter: Meter,
    database: Database,
    directory: Directory,
    *,
    state: State,
    place: Place,
) -> AsyncIterator[VoidCalls]:
    void_calls = VoidCalls(
        calls=calls,
        database=database,
        directory=directory,
        wake=lambda: worker.wake(),  # noqa: PLW0108 - the worker runs these calls
        record=meter.record,
    )
    is_named = database.is_embedded and not place.is_alone
    worker = JobWorker(
        database,
        {JOB_KIND: void_calls.run},
        on_given_up=void_calls.given_up,
        name=f"gateway {place.number}" if is_named else "",
    )
    await worker.start()
    try:
        yield void_calls
    finally:
        # Callers have had of the grace what they needed; these calls get the rest.
        await worker.stop(max(state.stops_at - time.monotonic(), 0.0))


class _Later:
    """An ASGI app that is built after the engine that serves it inside slots."""

    app: AsgiApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def _readiness(state: State, host: SandboxHost, place: Place) -> Readiness:
    return Readiness(
        is_ready=state.is_ready,
        sandbox={**host.report.as_dict(), **host.usage()},
        demo=state.demo,
        gateways={} if place.is_alone else {**state.gateways, "this": place.number},
    )


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
