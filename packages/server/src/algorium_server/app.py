"""
The one place that builds objects and wires them together: a gateway.

`serve` is the life of a server with one gateway; `fleet` and `member` are that of several.

Start: home and lock, database, directory, sandbox, engine, faces, then the socket. `/healthz`
answers from then on; the demo algorithms are built; only then the `ready` line is printed.
Stop (SIGTERM, SIGINT): no new connections, calls in flight get their grace, then slots end.
"""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import uvloop

from algorium_server.announcing import announce, sandbox_line
from algorium_server.api.admin import AdminFace
from algorium_server.api.bytes import BytesFace
from algorium_server.api.calls import CallFace
from algorium_server.api.connectors import ConnectorsFace
from algorium_server.api.heads import Heads
from algorium_server.api.health import HealthFace
from algorium_server.api.http import AsgiApp
from algorium_server.api.keyed_calls import KeyedCalls
from algorium_server.api.management import build_management
from algorium_server.api.resumable import ResumableFace
from algorium_server.api.router import build_router
from algorium_server.api.sending import FileSender
from algorium_server.api.storage import StorageFace
from algorium_server.api.usage import UsageFace
from algorium_server.backup.upgrading import upgrade_if_asked
from algorium_server.data.models import ModelCache
from algorium_server.data.opening import forget_providers
from algorium_server.data.parts import PartFiles
from algorium_server.domain.limits import MIB
from algorium_server.duties import Duties
from algorium_server.engine.host import SandboxHost
from algorium_server.home import (
    clear_sandboxes,
    first_start,
    locked,
    open_blobs,
    open_database,
)
from algorium_server.listening import address_of, allow_many_connections, listen
from algorium_server.sealing import Seal
from algorium_server.services.authoring.models import Models
from algorium_server.services.calling.budgets import Budgets
from algorium_server.services.calling.calls import CallService
from algorium_server.services.calling.meter import Meter
from algorium_server.services.calling.usage import UsageService
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
from algorium_server.services.people.guessing import Guessing, OwnGuesses
from algorium_server.services.source.push_output import PushOutput
from algorium_server.serving import serving
from algorium_server.settings import Settings
from algorium_server.store.database import Database
from algorium_server.telemetry import configure, logger
from algorium_server.wiring.authoring import open_authoring
from algorium_server.wiring.background import keeping_warm, open_kept_calls, open_void_calls
from algorium_server.wiring.keeping import Keeping
from algorium_server.wiring.people import open_people
from algorium_server.wiring.place import Place
from algorium_server.wiring.quoting import open_quoting
from algorium_server.wiring.readiness import State, readiness
from algorium_server.wiring.recording import open_auditing, open_error_log, open_meter
from algorium_server.wiring.reporting import Reporting
from algorium_server.wiring.signing_in import open_signing_in
from algorium_server.wiring.slots import RouterLater, open_engine, open_host

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
        gc.disable()  # what a start makes stays, too: `serving` looks through it once
        stack.callback(gc.enable)
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
        meter = await stack.enter_async_context(open_meter(database, settings))
        errors = await stack.enter_async_context(
            open_error_log(database, worker=f"gateway-{place.number}")
        )
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

        host = await stack.enter_async_context(open_host(settings, place))
        inside = RouterLater()
        keeping = Keeping(database, seal, Reach(settings.connectors_allowed))
        stack.push_async_callback(keeping.close)
        engine = await stack.enter_async_context(
            open_engine(host, inside, keeping, settings, place)
        )
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
        await stack.enter_async_context(keeping_warm(directory, calls, engine, quoting.reserved))
        void_calls = await stack.enter_async_context(
            open_void_calls(calls, meter, database, directory, state=state, place=place)
        )
        kept_calls = await open_kept_calls(database, home, place)

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
            open_auditing(database, directory, credentials, seal, home)
        )
        guessing = Guessing(place.guesses or OwnGuesses())
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
                guessing=guessing,
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
                passwords=authoring.passwords,
                guessing=guessing,
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
                calls,
                void_calls,
                credentials,
                catch_up=following.before_request,
                trail=trail,
                keyed=KeyedCalls(calls, void_calls, kept_calls),
            ),
            data=BytesFace(data, credentials, sender=sender, models=models),
            health=HealthFace(lambda: readiness(state, host, place)),
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
            heads=Heads(calls, credentials.sightings, proxies=settings.proxies),
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
                kept_calls=kept_calls,
                checkpoints=checkpoints,
                reporting=reporting,
                scrubber=Scrubber(database, blobs, every=timedelta(days=settings.scrub_days)),
            ),
            following=following,
            budgets=quoting.budgets,
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
