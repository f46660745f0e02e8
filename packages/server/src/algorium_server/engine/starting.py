"""
Starting a slot: sandbox, listener, load. Ends in a warm slot, or in what the caller is told.

Source: runtime design, "Scheduling", "Failures".
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import replace

from algorium_runtime import frames
from algorium_server.domain.calls import CallOutcome, Timings
from algorium_server.domain.limits import LOAD_TIMEOUT_S
from algorium_server.engine import outcomes
from algorium_server.engine.host import SandboxHost, SandboxProcess
from algorium_server.engine.listener import PlatformApi
from algorium_server.engine.program import Program, slot_spec
from algorium_server.engine.slots import Flight, Slot, SlotEnded
from algorium_server.telemetry import logger

_log = logger(__name__)


class LoadFailed(Exception):
    """
    The algorithm did not load; its slot is gone.

    Attributes:
        outcome: What the calls that waited for it are answered.
    """

    def __init__(self, outcome: CallOutcome) -> None:
        super().__init__("load failed")
        self.outcome = outcome


class Starter:
    """
    Starts slots.

    Args:
        host: Starts sandboxes.
        listeners: Serve the platform's API inside every slot.
    """

    def __init__(self, host: SandboxHost, listeners: PlatformApi) -> None:
        self._host = host
        self._listeners = listeners
        self._numbers = itertools.count(1)

    async def start(self, program: Program, flight: Flight) -> Slot:
        """
        Start a slot for *program* and wait until it is loaded.

        While it loads, the algorithm acts for the account of *flight*, outside of any call tree.

        Raises:
            LoadFailed: The algorithm's fault: an exception, an exit, a hang, or nonsense.
            Unavailable: The host's: no sandbox can be started.
        """
        began = time.monotonic()
        process = await self._host.spawn(slot_spec(program))
        slot = Slot(process, number=next(self._numbers))
        try:
            await self._load(slot, process, flight, began)
        except LoadFailed as failed:
            slot.kill(grace_s=0)
            _log.info("load failed", program=program.key, outcome=type(failed.outcome).__name__)
            raise
        except BaseException:
            slot.kill(grace_s=0)
            raise
        slot.load_principal = None
        slot.load_s = time.monotonic() - began
        return slot

    async def _load(
        self, slot: Slot, process: SandboxProcess, flight: Flight, began: float
    ) -> None:
        def failed(outcome: Callable[[Timings, str], CallOutcome]) -> LoadFailed:
            slot.capture.drain()
            timings = Timings(queue_s=0.0, load_s=time.monotonic() - began, run_s=0.0)
            return LoadFailed(outcome(timings, slot.capture.slot_log.text()))

        inside = flight.inside()
        acting = inside.acting
        if acting is not None:
            loading = replace(acting, tree_id="", deadline_at=began + LOAD_TIMEOUT_S, depth=1)
            slot.load_principal = replace(inside, acting=loading)
        if process.listener is not None:
            slot.listener = await self._listeners.serve(
                process.listener, principal=slot.principal, path_prefix=process.api_path_prefix
            )
        try:
            await slot.connect()
            frame = await slot.loaded(LOAD_TIMEOUT_S)
            if frame.type == frames.LOAD_ERROR:
                raise failed(lambda timings, output: outcomes.of_frame(frame, timings, output))
        except TimeoutError:
            raise failed(outcomes.load_timed_out) from None
        except frames.ProtocolError as error:
            reason = str(error)
            raise failed(
                lambda timings, output: outcomes.violated(reason, timings, output)
            ) from None
        except SlotEnded as end:
            ended = await slot.ended(end)
            raise failed(lambda timings, output: outcomes.of_end(ended, timings, output)) from None
        slot.capture.drain()
        await asyncio.sleep(0)  # an exit right behind READY is seen before the slot is handed out
