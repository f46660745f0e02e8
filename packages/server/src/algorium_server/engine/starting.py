"""
Starting a slot: sandbox, listener, load. Ends in a warm slot, or in what the caller is told.

Source: runtime design, "Scheduling", "Failures".
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from algorium_runtime import frames
from algorium_server.domain.calls import CallOutcome, Timings
from algorium_server.domain.errors import AlgoriumError, Unavailable
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import LOAD_TIMEOUT_S
from algorium_server.engine import outcomes
from algorium_server.engine.flights import Flight, LoadFailed
from algorium_server.engine.host import SandboxHost
from algorium_server.engine.listener import PlatformApi
from algorium_server.engine.program import Program, slot_spec
from algorium_server.engine.sandbox import SandboxSpec
from algorium_server.engine.slots import Slot, SlotEnded
from algorium_server.engine.spawned import SandboxProcess
from algorium_server.telemetry import logger

_log = logger(__name__)

SecretsOf = Callable[[str], Awaitable[Mapping[str, str]]]
"""Opens the secrets of an algorithm: from its id to variables, for one slot each time."""


class Starter:
    """
    Starts slots.

    Args:
        host: Starts sandboxes.
        listeners: Serve the platform's API inside every slot.
        cpus: Processors that one slot may use; 0 for no limit.
        secrets_of: Opens what slots get beside that; None if there are no secrets.
    """

    def __init__(
        self,
        host: SandboxHost,
        listeners: PlatformApi,
        *,
        cpus: float = 0.0,
        secrets_of: SecretsOf | None = None,
    ) -> None:
        self._host = host
        self._secrets_of = secrets_of
        self._cpus = cpus
        self._listeners = listeners
        self._numbers = itertools.count(1)

    @property
    def overhead_bytes(self) -> int:
        """Memory that is used for slots, but in none of them: that of zygotes."""
        return self._host.zygotes.memory_bytes

    async def start(self, program: Program, flight: Flight, *, load_id: str = "") -> Slot:
        """
        Start a slot for *program* and wait until it is loaded.

        While it loads, the algorithm acts for the account of *flight*, outside of any call tree;
        in a slot that others use, too, it acts for its owner.

        Args:
            program: What the slot runs.
            flight: The call for which it is started.
            load_id: What its calls of other algorithms name as their parent while it loads.

        Raises:
            LoadFailed: The algorithm's fault: an exception, an exit, a hang, or nonsense. Or its
                secrets cannot be had.
            Unavailable: The host's: no sandbox can be started.
        """
        began = time.monotonic()
        process = await self._host.spawn(await self._spec(program, began))
        slot = Slot(process, number=next(self._numbers))
        try:
            slot.load_principal = _loading(program, flight, load_id, began)
            await self._load(slot, process, began)
        except LoadFailed as failed:
            await slot.kill(grace_s=0)  # its memory is free for others when they hear of it
            _log.info("load failed", program=program.key, outcome=type(failed.outcome).__name__)
            raise
        except BaseException:
            slot.kill(grace_s=0)
            raise
        slot.load_principal = None
        slot.load_s = time.monotonic() - began
        return slot

    async def _spec(self, program: Program, began: float) -> SandboxSpec:
        spec = slot_spec(program, cpus=self._cpus)
        if self._secrets_of is None:
            return spec
        try:
            secrets = await self._secrets_of(program.algorithm_id)
        except AlgoriumError as error:
            timings = Timings(queue_s=0.0, load_s=time.monotonic() - began, run_s=0.0)
            _log.warning("no secrets for a slot", program=program.key, error=error.message)
            # It says nothing about the program: the next slot may get them.
            raise LoadFailed(outcomes.lacks_secrets(error, timings), was_killed=True) from error
        return replace(spec, secret_env=secrets) if secrets else spec

    async def _load(self, slot: Slot, process: SandboxProcess, began: float) -> None:
        def failed(
            outcome: Callable[[Timings, str], CallOutcome], *, was_killed: bool = False
        ) -> LoadFailed:
            slot.capture.drain()
            timings = Timings(queue_s=0.0, load_s=time.monotonic() - began, run_s=0.0)
            told = outcome(timings, slot.capture.slot_log.text())
            return LoadFailed(told, was_killed=was_killed)

        if process.listener is not None:
            slot.listener = await self._listeners.serve(
                process.listener, principal=slot.principal, path_prefix=process.api_path_prefix
            )
        try:
            await slot.connect()
            frame = await slot.loaded(LOAD_TIMEOUT_S)
            if frame.type == frames.LOAD_ERROR:
                raise failed(
                    lambda timings, output: outcomes.of_frame(
                        frame, timings, output, process.limits
                    )
                )
        except TimeoutError:
            raise failed(outcomes.load_timed_out) from None
        except frames.ProtocolError as error:
            reason = str(error)
            raise failed(
                lambda timings, output: outcomes.violated(reason, timings, output)
            ) from None
        except SlotEnded as end:
            ended = await slot.ended(end)
            if ended.status is not None and ended.status.was_lost:
                raise Unavailable("The sandbox was lost while its program loaded.") from None
            raise failed(
                lambda timings, output: outcomes.of_end(ended, timings, output, process.limits),
                was_killed=ended.status is not None and ended.status.was_killed,
            ) from None
        slot.capture.drain()
        await asyncio.sleep(0)  # an exit right behind READY is seen before the slot is handed out


def _loading(program: Program, flight: Flight, load_id: str, began: float) -> Principal | None:
    """Return as whom a slot acts while it loads, None for nobody."""
    # What one caller's rights have opened must not be left behind in a slot for all.
    whose = program.as_owner if program.is_shared else flight.inside
    principal = whose() if whose is not None else None
    if principal is None or principal.acting is None:
        return None
    deadline_at = began + LOAD_TIMEOUT_S
    acting = replace(
        principal.acting, tree_id="", call_id=load_id, deadline_at=deadline_at, depth=1
    )
    return replace(principal, acting=acting)
