"""
Slots, built and wired together: the sandboxes they run in, and the engine that takes calls there.

Part of what `app` builds for a gateway. Each gateway gets its share of what the machine may have.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from algorium_server.api.http import AsgiApp, Receive, Scope, Send
from algorium_server.api.slots import SlotApi
from algorium_server.domain.limits import MIB, SLOTS_PER_POOL_MAX
from algorium_server.engine import memory
from algorium_server.engine.host import ZYGOTE_LIMITS, SandboxHost
from algorium_server.engine.local import LocalEngine
from algorium_server.engine.room import EngineLimits
from algorium_server.engine.templates import ZygoteLimits
from algorium_server.home import sandboxes_dir
from algorium_server.settings import Settings
from algorium_server.wiring.keeping import Keeping
from algorium_server.wiring.place import Place


class RouterLater:
    """An ASGI app that is built after the engine that serves it inside slots."""

    app: AsgiApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as *app* does."""
        await self.app(scope, receive, send)


@asynccontextmanager
async def open_host(settings: Settings, place: Place) -> AsyncIterator[SandboxHost]:
    """
    Start what makes sandboxes; end it, and all that runs in them.

    Raises:
        AlgoriumError: The host has not what the settings ask for.
    """
    host = await SandboxHost.start(
        settings.sandbox_wanted,
        sandboxes_dir(settings.home, place.number),
        zygotes=_zygote_limits(settings, place),
        allowed=settings.network_allowed,
    )
    try:
        yield host
    finally:
        await host.close()


@asynccontextmanager
async def open_engine(
    host: SandboxHost, inside: AsgiApp, keeping: Keeping, settings: Settings, place: Place
) -> AsyncIterator[LocalEngine]:
    """
    Start the engine; close it with all its slots.

    Args:
        host: Makes their sandboxes.
        inside: The platform's API, as they see it.
        keeping: Opens secrets for them.
        settings: What was asked for.
        place: Where the gateway stands.
    """
    engine = LocalEngine(
        host,
        SlotApi(inside),
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
