"""
The slots of this machine, handed out by `scheduler` and started and ended for it.

What happens here is what takes time: starts, ends, one tick for everybody who waits, as long as
anybody does, and a sweep now and then. A warm call meets none of it.

Source: runtime design, "Scheduling", "Failures".
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Final

from algorium_server.domain.errors import Unavailable
from algorium_server.engine import memory
from algorium_server.engine.claims import Reservation
from algorium_server.engine.flights import Flight, LoadFailed
from algorium_server.engine.pools import Seat, Waiting
from algorium_server.engine.program import Program
from algorium_server.engine.room import EngineLimits
from algorium_server.engine.scheduler import Scheduler
from algorium_server.engine.slots import Slot
from algorium_server.engine.starting import Starter
from algorium_server.telemetry import logger

_TICK_S: Final = 0.02
"""How exact deadlines in line are, and how late a decision to grow: a fraction of a start."""
_SWEEP_S: Final = 15.0

_log = logger(__name__)


class Capacity:
    """
    Hands out the slots of this machine.

    Args:
        starter: Starts slots.
        limits: How many may exist.
    """

    def __init__(self, starter: Starter, limits: EngineLimits) -> None:
        self._starter = starter
        self._has_memory_bound = limits.memory_bytes is not None
        self._scheduler = Scheduler(limits, self, time.monotonic)
        self._starting: dict[Seat, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._is_ticking = False
        self._sweeper: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def is_closing(self) -> bool:
        """Whether nobody gets a slot any more."""
        return self._scheduler.is_closing

    async def start(self) -> None:
        """Begin giving up idle slots."""
        self._sweeper = self._loop.create_task(self._sweep())

    async def close(self) -> None:
        """Refuse who waits, and end every slot."""
        self._scheduler.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        starting = tuple(self._starting.values())
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        slots = [seat.slot for seat in self._scheduler.seats() if seat.slot is not None]
        await asyncio.gather(*(slot.kill(grace_s=0) for slot in slots), *self._ending)

    # Calls

    def take(self, program: Program, flight: Flight) -> Slot | None:
        """Take an idle slot at once; None if there is none, or others wait for it already."""
        return self._scheduler.take(program, flight)

    def wait(self, program: Program, call: Waiting) -> None:
        """
        Stand in line, until `granted` or `refused` is called.

        Raises:
            TooManyRequests: The line is full.
            Unavailable: The server is shutting down, or has too little memory for the program.
            LoadFailed: The program failed to load several times just now.
        """
        self._scheduler.wait(program, call)
        if not self._is_ticking:
            self._is_ticking = True
            self._loop.call_later(_TICK_S, self._tick)

    def leave(self, call: Waiting) -> None:
        """Leave the line: the caller gave up. Idempotent; nothing is heard any more."""
        self._scheduler.leave(call)

    def release(self, slot: Slot, run_s: float | None) -> None:
        """
        Give a slot back: to whoever is next, else to the idle ones; a dead one is buried.

        Args:
            slot: No call is in it any more.
            run_s: What its call took, None if that says nothing about others.
        """
        self._scheduler.release(slot, run_s)

    # Orders

    def reserve(self, reservations: Iterable[Reservation]) -> None:
        """Keep these slots warm, and none but these."""
        self._scheduler.reserve(reservations)

    async def drain(self, *, algorithm_id: str = "", program_key: str = "") -> None:
        """
        Replace the warm slots of an algorithm, or of one of its programs.

        Busy ones finish their call first; reserved ones are started anew. Returns when the idle
        ones are gone: no call that comes later meets one of the old.
        """
        ending = self._scheduler.drain(
            lambda program: (
                program.key == program_key
                or (bool(algorithm_id) and program.algorithm_id == algorithm_id)
            )
        )
        await asyncio.gather(*(seat.slot.kill(grace_s=0) for seat in ending if seat.slot))

    def slots_in_use(self) -> dict[str, int]:
        """Count slots by state, for whoever watches the engine."""
        return self._scheduler.counts()

    # For the scheduler

    def begin(self, seat: Seat, flight: Flight) -> None:
        """Start a slot."""
        task = self._starting[seat] = self._loop.create_task(self._start(seat, flight))
        task.add_done_callback(lambda _: self._starting.pop(seat))

    def abandon(self, seat: Seat) -> None:
        """Give up a start."""
        self._starting[seat].cancel()

    def end(self, seat: Seat) -> None:
        """End a slot."""
        if seat.slot is not None:
            task = self._loop.create_task(self._end(seat, seat.slot))
            _keep(task, among=self._ending)

    def has_memory(self, need_bytes: int) -> bool:
        """Whether the machine has so much to give."""
        return not self._has_memory_bound or memory.has_free(need_bytes)

    async def _start(self, seat: Seat, flight: Flight) -> None:
        problem: Exception
        try:
            slot = await self._starter.start(seat.pool.program, flight, load_id=seat.load_id)
        except asyncio.CancelledError:
            self._scheduler.not_started(seat, Unavailable("The slot was given up."))
            raise
        except Exception as error:  # whoever waits must hear of it, whatever it is
            if not isinstance(error, LoadFailed):  # that one has its line in the log
                key = seat.pool.program.key
                _log.warning("a slot did not start", program=key, exc_info=error)
            problem = error
        else:
            key, load_s = seat.pool.program.key, round(slot.load_s, 3)
            _log.debug("a slot is warm", program=key, load_s=load_s)
            slot.on_end = self._scheduler.ended
            self._scheduler.room.book_overhead(self._starter.overhead_bytes)
            self._scheduler.started(seat, slot)
            if not seat.pool.version.footprint.is_known:  # later ones are seen by the sweep
                self._measure(seat)
            return
        self._scheduler.not_started(seat, problem)

    async def _end(self, seat: Seat, slot: Slot) -> None:
        try:
            await slot.kill(grace_s=0)
            peak_bytes = slot.process.exited.result().peak_memory_bytes
            if peak_bytes:
                self._scheduler.observed(seat, peak_bytes)
        except Exception as error:  # its room must not be lost, whatever it died of
            _log.error("a slot did not end as it should; it counts as gone", exc_info=error)
        finally:
            self._scheduler.gone(seat)

    # Time

    def _tick(self) -> None:
        try:
            self._is_ticking = self._scheduler.tick()
        except Exception as error:  # ticking goes on, or whoever waits would wait for ever
            _log.error("a tick of the scheduler failed; the next one follows", exc_info=error)
        if self._is_ticking:
            self._loop.call_later(_TICK_S, self._tick)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            try:
                for seat in self._scheduler.seats():
                    self._measure(seat)
                    await asyncio.sleep(0)  # a look costs a millisecond: calls go first
                self._scheduler.room.book_overhead(self._starter.overhead_bytes)
                self._scheduler.sweep()
            except Exception as error:  # sweeping goes on, or idle slots would stay for ever
                _log.error("sweeping slots failed; next try follows", exc_info=error)

    def _measure(self, seat: Seat) -> None:
        if seat.slot is None or seat.slot.is_dead or not self._has_memory_bound:
            return
        used_bytes = memory.of_sandbox(seat.slot.process.pid)
        if used_bytes:
            self._scheduler.observed(seat, used_bytes)


def _keep(task: "asyncio.Task[None]", *, among: "set[asyncio.Task[None]]") -> None:
    """Hold on to a task until it is done: the loop itself does not."""
    among.add(task)
    task.add_done_callback(among.discard)
