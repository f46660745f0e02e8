"""
The local engine: takes calls through slots on this machine.

Theory of operation: a warm call is a chain of plain function calls, without a task or a future:
`submit` finds an idle slot and writes the input; the slot's answer arrives in `Delivery.answered`,
which hands the outcome to whoever submitted. Which slot, and when there is another one, is decided
in `capacity`.

A call is delivered once: after its first byte went to a slot nothing is tried again. Every
delivery ends at the call's deadline. One tick serves the deadlines of all running calls: a timer
for each would cost more than the shortest calls themselves.

Source: runtime design, "Scheduling", "Failures".
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Final

from algorium_runtime import frames
from algorium_server.domain.calls import CallInput, CallOutcome, Timings
from algorium_server.domain.errors import Unavailable
from algorium_server.engine import outcomes
from algorium_server.engine.capacity import Capacity
from algorium_server.engine.claims import Reservation
from algorium_server.engine.flights import Flight, LoadFailed, OnOutcome
from algorium_server.engine.host import SandboxHost
from algorium_server.engine.listener import PlatformApi
from algorium_server.engine.program import Program
from algorium_server.engine.receiving import SlotFrame
from algorium_server.engine.room import EngineLimits
from algorium_server.engine.sandbox import ExitStatus
from algorium_server.engine.slots import Slot, SlotEnded
from algorium_server.engine.starting import SecretsOf, Starter

_TICK_S: Final = 0.02
"""How exact the deadlines of running calls are."""


class LocalEngine:
    """
    Runs calls in slots on this machine.

    Args:
        host: Starts sandboxes.
        listeners: Serve the platform's API inside every slot.
        limits: How many slots may exist.
        secrets_of: Opens what slots of an algorithm get as variables.
    """

    def __init__(
        self,
        host: SandboxHost,
        listeners: PlatformApi,
        *,
        limits: EngineLimits,
        secrets_of: SecretsOf | None = None,
    ) -> None:
        self._host = host
        starter = Starter(host, listeners, cpus=limits.slot_cpus, secrets_of=secrets_of)
        self._capacity = Capacity(starter, limits)
        self._running: set[Delivery] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._ticking = False
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        """Begin giving up idle slots."""
        await self._capacity.start()

    async def close(self) -> None:
        """End every slot; calls in flight fail."""
        await self._capacity.close()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def submit(
        self, program: Program, flight: Flight, call_input: CallInput, on_outcome: OnOutcome
    ) -> "Delivery":
        """
        Start one call; *on_outcome* is told its end, later and exactly once.

        Returns:
            The call on its way, for who wants to give it up.

        Raises:
            TooManyRequests: The queue is full.
            Unavailable: No slot can be started on this host.
        """
        delivery = Delivery(self, program, flight, call_input, on_outcome)
        slot = self._capacity.take(program, flight)
        if slot is not None:
            delivery.granted(slot)
            return delivery
        try:
            self._capacity.wait(program, delivery)
        except LoadFailed as failed:
            self._loop.call_soon(delivery.refused, failed)
        return delivery

    def reserve(self, reservations: Iterable[Reservation]) -> None:
        """Keep these slots warm, and none but these."""
        self._capacity.reserve(reservations)

    async def drain(self, *, algorithm_id: str = "", program_key: str = "") -> None:
        """Replace the warm slots of an algorithm or a program; see `Capacity.drain`."""
        await self._capacity.drain(algorithm_id=algorithm_id, program_key=program_key)

    def check_network(self) -> None:
        """Raise `Unavailable` unless algorithms can be given network access."""
        self._host.check_network()

    def slots_in_use(self) -> dict[str, int]:
        """Count slots by state, for whoever watches the engine."""
        return self._capacity.slots_in_use()

    # For deliveries

    def _start_watching(self, delivery: "Delivery") -> None:
        self._running.add(delivery)
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        for delivery in tuple(self._running):
            if now >= delivery.flight.deadline_at:
                delivery.expire()
        self._ticking = bool(self._running)
        if self._ticking:
            self._loop.call_later(_TICK_S, self._tick)


class Delivery:
    """
    One call on its way: in line, then in a slot, then over.

    Attributes:
        flight: The call.
        input_bytes: Size of its input.
    """

    __slots__ = (
        "_arrived_at",
        "_ended",
        "_engine",
        "_input",
        "_load_s",
        "_on_outcome",
        "_program",
        "_queue_s",
        "_slot",
        "_started_at",
        "flight",
        "input_bytes",
    )

    def __init__(
        self,
        engine: LocalEngine,
        program: Program,
        flight: Flight,
        call_input: CallInput,
        on_outcome: OnOutcome,
    ) -> None:
        self.flight = flight
        self.input_bytes = len(call_input.body)
        self._engine = engine
        self._program = program
        self._input: CallInput | None = call_input
        self._on_outcome = on_outcome
        self._slot: Slot | None = None
        self._arrived_at = time.monotonic()
        self._started_at = self._queue_s = self._load_s = 0.0
        self._ended: Timings | None = None

    # From line to slot

    def granted(self, slot: Slot) -> None:
        """Take a slot: send the input, unless the slot died meanwhile."""
        if slot.is_dead:  # before the call's first byte: another slot may take it
            self._engine._capacity.release(slot, None)
            try:
                self._engine._capacity.wait(self._program, self)
            except Exception as error:  # whatever it is, the caller must hear of it
                self.refused(error)
            return
        flight = self.flight
        now = self._started_at = time.monotonic()
        queue_s = now - self._arrived_at
        if slot.load_s:
            self._load_s = min(slot.load_s, queue_s)
            slot.load_s = 0.0
        self._queue_s = queue_s - self._load_s
        self._slot = slot
        slot.flight = flight
        if flight.on_delivery is not None:
            flight.on_delivery()
        self._engine._start_watching(self)
        call_input, self._input = self._input, None  # let go as soon as it has been written
        assert call_input is not None, "a call is delivered once"
        slot.send(call_input, remaining_s=flight.deadline_at - now, receiver=self)

    def refused(self, error: Exception) -> None:
        """Hear that no slot will run the call."""
        timings = self._ended = self.timings()
        if isinstance(error, TimeoutError):
            self._on_outcome(outcomes.timed_out(timings))
        elif isinstance(error, LoadFailed):
            self._on_outcome(error.outcome)
        else:
            self._on_outcome(error)

    # The end, one of four

    def answered(self, frame: SlotFrame) -> None:
        """Take the slot's answer."""
        slot = self._slot
        assert slot is not None, "it was asked by this call"
        timings = self._timings(slot)
        outcome: CallOutcome
        try:
            outcome = outcomes.of_frame(frame, timings, slot.capture.end(), slot.process.limits)
        except frames.ProtocolError as error:
            slot.fail(str(error))
            outcome = outcomes.violated(str(error), timings)
        self._end(slot, timings, timings.run_s)
        self._on_outcome(outcome)

    def broken(self, end: SlotEnded) -> None:
        """Learn that the slot is gone; why may take a moment to be known."""
        engine = self._engine
        task = engine._loop.create_task(self._explain(end))
        engine._ending.add(task)
        task.add_done_callback(engine._ending.discard)

    def expire(self) -> None:
        """End the call at its deadline, and the slot with it."""
        slot = self._slot
        if slot is None:
            return
        timings = self._timings(slot)
        printed = slot.capture.end()
        self._give_up(slot, timings)
        self._on_outcome(outcomes.timed_out(timings, printed))

    def cancel(self) -> None:
        """Give the call up, wherever it is; nothing is told any more. Idempotent."""
        self._on_outcome = _tell_nobody
        slot = self._slot
        if slot is not None:
            self._give_up(slot, self._timings(slot))
        elif self._ended is None:
            self._ended = self.timings()
            self._engine._capacity.leave(self)

    def timings(self) -> Timings:
        """Return where its time went until it ended, or until now."""
        if self._ended is not None:
            return self._ended
        if self._slot is not None:
            return self._timings(self._slot)
        return Timings(queue_s=time.monotonic() - self._arrived_at, load_s=0.0, run_s=0.0)

    def _give_up(self, slot: Slot, timings: Timings) -> None:
        slot.forget(self)
        slot.kill()
        self._end(slot, timings, None)

    def _end(self, slot: Slot, timings: Timings, run_s: float | None) -> None:
        self._ended = timings
        self._slot = None
        slot.flight = None
        self._engine._running.discard(self)
        slot.capture.is_handed_on = True
        self._engine._capacity.release(slot, run_s)
        slot.capture.is_handed_on = False

    async def _explain(self, end: SlotEnded) -> None:
        slot = self._slot
        if slot is None:
            return
        ended = await slot.ended(end)
        if self._slot is None:  # its deadline came first, or it was cancelled
            return
        timings = self._timings(slot, ended.status)
        printed = slot.capture.end()
        self._end(slot, timings, None)
        if self._engine._capacity.is_closing:
            self._on_outcome(Unavailable("The server is shutting down."))
        else:
            self._on_outcome(outcomes.of_end(ended, timings, printed, slot.process.limits))

    def _timings(self, slot: Slot, status: ExitStatus | None = None) -> Timings:
        """Take the time, and charge the call with what its slot has consumed for it."""
        now = time.monotonic()
        consumption = slot.consumption
        cpu_s = consumption.charge(now) if status is None else consumption.charge_rest(status)
        return Timings(
            queue_s=self._queue_s,
            load_s=self._load_s,
            run_s=now - self._started_at,
            cpu_s=cpu_s,
            peak_memory_bytes=consumption.peak_memory_bytes,
        )


def _tell_nobody(_outcome: CallOutcome | Exception) -> None:
    pass
