"""
The local engine: pools of slots on this machine, and the dispatch of calls to them.

Theory of operation: a pool holds the slots of one (calling account, version); slots are never
shared between accounts. A call takes the most recently used idle slot, or waits in line while
`scheduler` decides whether another slot is worth starting. A call is delivered once: after its
first byte went to a slot nothing is tried again. Every wait ends at the call's deadline.

One tick serves all deadlines and all decisions to grow, as long as calls wait or run: a timer and
a decision per call would cost more than the shortest calls themselves.

Calls that algorithms make (nested) have a line and slots of their own: calls from outside hold a
limited number of a pool's slots, so that parents never wait for children that wait for parents.

Source: runtime design, "Scheduling", "Failures".
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from algorium_runtime import frames
from algorium_server.domain.calls import CallInput, CallOutcome, Timings
from algorium_server.domain.errors import TooManyRequests, Unavailable
from algorium_server.domain.limits import (
    CHILD_CALLS_PER_TREE_MAX,
    QUEUE_CALLS_MAX,
    SLOT_IDLE_S,
    SLOTS_MAX,
    SLOTS_PER_POOL_MAX,
)
from algorium_server.engine import outcomes, scheduler
from algorium_server.engine.host import SandboxHost
from algorium_server.engine.listener import PlatformApi
from algorium_server.engine.pools import Pool, Waiter
from algorium_server.engine.program import Program
from algorium_server.engine.slots import Flight, Slot, SlotEnded
from algorium_server.engine.starting import LoadFailed, Starter
from algorium_server.telemetry import logger

_TICK_S: Final = 0.02
"""How exact deadlines are, and how late a decision to grow: a fraction of a slot's start."""
_SWEEP_S: Final = 15.0
_NESTED_SLOTS_MAX: Final = CHILD_CALLS_PER_TREE_MAX
"""Beyond a pool's maximum, for nested calls only: what one call tree may need at once."""

_log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """
    How many slots may exist.

    Attributes:
        slots_max: On this machine, all pools together.
        slots_per_pool_max: For one (account, version).
        idle_s: Seconds after which an idle slot is given up.
    """

    slots_max: int = SLOTS_MAX
    slots_per_pool_max: int = SLOTS_PER_POOL_MAX
    idle_s: float = SLOT_IDLE_S


class LocalEngine:
    """
    Runs calls in slots on this machine.

    Args:
        host: Starts sandboxes.
        listeners: Serve the platform's API inside every slot.
        limits: How many slots may exist.
    """

    def __init__(self, host: SandboxHost, listeners: PlatformApi, *, limits: EngineLimits) -> None:
        self._starter = Starter(host, listeners)
        self._limits = limits
        self._pools: dict[tuple[str, str], Pool] = {}
        self._starting: set[asyncio.Task[None]] = set()
        self._killing: set[asyncio.Task[None]] = set()
        self._ticking = False
        self._sweeper: asyncio.Task[None] | None = None
        self._is_closing = False

    async def start(self) -> None:
        """Begin giving up idle slots."""
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def close(self) -> None:
        """End every slot; calls in flight fail."""
        self._is_closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for pool in self._pools.values():
            for waiter in (*pool.nested, *pool.roots):
                if not waiter.future.done():
                    waiter.future.set_exception(Unavailable("The server is shutting down."))
        for task in tuple(self._starting):
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        slots = [slot for pool in self._pools.values() for slot in (*pool.idle, *pool.busy)]
        await asyncio.gather(*(slot.kill(grace_s=0) for slot in slots), *self._killing)

    async def call(self, program: Program, flight: Flight, call_input: CallInput) -> CallOutcome:
        """
        Run one call.

        Raises:
            TooManyRequests: The pool's queue is full.
            Unavailable: No slot can be started on this host.
        """
        arrived = time.monotonic()
        pool = self._pool(program, flight)
        try:
            while True:
                slot = pool.take_idle(flight) or await self._wait(pool, flight, arrived)
                if not slot.is_dead:
                    break
                self._release(pool, slot)  # it died before the call's first byte: try another one
        except TimeoutError:
            return outcomes.timed_out(Timings(queue_s=_since(arrived), load_s=0.0, run_s=0.0))
        except LoadFailed as failed:
            return failed.outcome
        try:
            return await self._run(pool, slot, flight, call_input, queue_s=_since(arrived))
        finally:
            self._release(pool, slot)

    def slots_in_use(self) -> dict[str, int]:
        """Count slots by state, for whoever watches the engine."""
        pools = self._pools.values()
        return {
            "idle": sum(len(pool.idle) for pool in pools),
            "busy": sum(len(pool.busy) for pool in pools),
            "starting": sum(pool.starting for pool in pools),
        }

    # A call in its slot

    async def _run(
        self, pool: Pool, slot: Slot, flight: Flight, call_input: CallInput, *, queue_s: float
    ) -> CallOutcome:
        started = time.monotonic()
        remaining_s = flight.deadline_at - started
        load_s = min(slot.load_s, queue_s)
        slot.load_s, queue_s = 0.0, queue_s - load_s
        slot.flight = flight
        if flight.on_delivery is not None:
            flight.on_delivery()
        self._keep_ticking()
        try:
            frame = await slot.send(call_input, remaining_s=remaining_s)
        except TimeoutError:
            slot.kill()
            return outcomes.timed_out(
                Timings(queue_s=queue_s, load_s=load_s, run_s=_since(started)), slot.capture.end()
            )
        except SlotEnded as end:
            if self._is_closing:
                raise Unavailable("The server is shutting down.") from None
            ended = await slot.ended(end)
            timings = Timings(queue_s=queue_s, load_s=load_s, run_s=_since(started))
            return outcomes.of_end(ended, timings, slot.capture.end())
        except asyncio.CancelledError:
            slot.kill()
            raise
        finally:
            slot.flight = None
        run_s = _since(started)
        pool.run_s = scheduler.blend(pool.run_s, run_s) if pool.run_s else run_s
        timings = Timings(queue_s=queue_s, load_s=load_s, run_s=run_s)
        try:
            return outcomes.of_frame(frame, timings, slot.capture.end())
        except frames.ProtocolError as error:
            slot.fail(str(error))
            return outcomes.violated(str(error), timings)

    def _release(self, pool: Pool, slot: Slot) -> None:
        """Pass a slot on: to whoever waits longest, else to the idle ones; a dead one is buried."""
        pool.vacate(slot)
        if slot.is_dead:
            self._retire(pool, slot)
            return
        waiter = pool.next_waiter()
        if waiter is None:
            slot.idle_since = time.monotonic()
            pool.idle.append(slot)
            return
        pool.occupy(slot, waiter.flight)
        pool.moved_at = time.monotonic()
        waiter.future.set_result(slot)

    def _retire(self, pool: Pool, slot: Slot) -> None:
        with suppress(ValueError):
            pool.idle.remove(slot)
        _keep(slot.kill(grace_s=0), among=self._killing)
        self._grow(pool)

    # Waiting, growing

    def _pool(self, program: Program, flight: Flight) -> Pool:
        key = (flight.account_id, program.key)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(program, roots_max=self._limits.slots_per_pool_max)
        return pool

    async def _wait(self, pool: Pool, flight: Flight, arrived: float) -> Slot:
        if self._is_closing:
            raise Unavailable("The server is shutting down.")
        line = pool.line(flight)
        if len(line) >= QUEUE_CALLS_MAX:
            raise TooManyRequests("Too many requests: the queue of this algorithm is full")
        if pool.last_failure is not None and scheduler.is_paused(pool.failed_at, now=arrived):
            raise LoadFailed(pool.last_failure)
        future: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        waiter = Waiter(future, arrived, flight)
        line.append(waiter)
        self._keep_ticking()
        if not pool.slots:
            self._grow(pool)
        try:
            return await future
        except BaseException:
            with suppress(ValueError):  # handed a slot, or failed, at the same moment
                line.remove(waiter)
            if future.done() and not future.cancelled() and future.exception() is None:
                self._release(pool, future.result())
            raise

    def _grow(self, pool: Pool) -> None:
        if self._is_closing or not pool.waiting:
            return
        if self._wants_slot(pool, time.monotonic()):
            pool.starting += 1
            flight = (pool.nested or pool.roots)[0].flight
            starting = asyncio.get_running_loop().create_task(self._start(pool, flight))
            _keep(starting, among=self._starting)

    def _wants_slot(self, pool: Pool, now: float) -> bool:
        limits = self._limits
        if pool.nested:
            stalled_s = now - max(pool.nested[0].since, pool.moved_at)
            if scheduler.should_grow_for_nested(
                waiting=len(pool.nested), starting=pool.starting, stalled_s=stalled_s
            ):
                is_below_max = pool.slots < pool.roots_max + _NESTED_SLOTS_MAX
                return is_below_max and self._make_room(limits.slots_max + _NESTED_SLOTS_MAX)
        if not pool.roots:
            return False
        view = scheduler.PoolView(
            waiting=len(pool.roots),
            stalled_s=now - max(pool.roots[0].since, pool.moved_at),
            starting=pool.starting,
            busy=len(pool.busy_for_roots),
            run_s=pool.run_s,
            start_s=pool.start_s,
            slots_max=pool.roots_max,
        )
        return scheduler.should_grow(view) and self._make_room(limits.slots_max)

    def _keep_ticking(self) -> None:
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        now = time.monotonic()
        is_needed = False
        for pool in tuple(self._pools.values()):
            if pool.waiting:
                pool.expire_waiting(now)
                self._grow(pool)
            for slot in pool.busy:
                if slot.flight is not None and now >= slot.flight.deadline_at:
                    slot.expire()
            is_needed = is_needed or pool.waiting > 0 or bool(pool.busy)
        if is_needed:
            self._keep_ticking()

    def _make_room(self, slots_max: int) -> bool:
        if sum(pool.slots for pool in self._pools.values()) < slots_max:
            return True
        owners = {slot.number: (p, slot) for p in self._pools.values() for slot in p.idle}
        chosen = scheduler.victim(
            scheduler.IdleSlot(number=number, idle_since=slot.idle_since)
            for number, (_, slot) in owners.items()
        )
        if chosen is None:
            return False
        self._retire(*owners[chosen.number])
        return True

    # Starting

    async def _start(self, pool: Pool, flight: Flight) -> None:
        problem: Exception | None = None
        slot: Slot | None = None
        try:
            slot = await self._starter.start(pool.program, flight)
        except LoadFailed as failed:
            pool.failed_at.append(time.monotonic())
            pool.last_failure = failed.outcome
            problem = failed
        except Exception as error:  # whoever waits must hear of it, whatever it is
            _log.warning("a slot did not start", program=pool.program.key, exc_info=error)
            problem = error
        finally:
            pool.starting -= 1
        if slot is None:
            self._fail_waiting(pool, problem or Unavailable("The slot did not start."))
            return
        pool.start_s = scheduler.blend(pool.start_s, slot.load_s)
        slot.on_end = lambda ended: self._on_end(pool, ended)
        self._release(pool, slot)
        self._grow(pool)

    def _fail_waiting(self, pool: Pool, error: Exception) -> None:
        """Without another slot to hope for, everybody who waits gets the same answer."""
        if pool.busy or pool.idle or pool.starting:
            return
        while (waiter := pool.next_waiter()) is not None:
            waiter.future.set_exception(error)

    def _on_end(self, pool: Pool, slot: Slot) -> None:
        """An idle slot that ends by itself leaves the pool; a busy one is released by its call."""
        if slot in pool.idle:
            self._retire(pool, slot)

    # Housekeeping

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            try:
                self._sweep_once(time.monotonic())
            except Exception as error:  # sweeping goes on, or idle slots would stay for ever
                _log.error("sweeping slots failed; next try follows", exc_info=error)

    def _sweep_once(self, now: float) -> None:
        for key, pool in tuple(self._pools.items()):
            idle = {slot.number: slot for slot in pool.idle}
            seen = [scheduler.IdleSlot(number=n, idle_since=s.idle_since) for n, s in idle.items()]
            for expired in scheduler.expired(seen, now=now, idle_s=self._limits.idle_s):
                self._retire(pool, idle[expired.number])
            is_paused = scheduler.is_paused(pool.failed_at, now=now)
            if not pool.slots and not pool.waiting and not is_paused:
                del self._pools[key]


def _keep(task: "asyncio.Task[None]", *, among: "set[asyncio.Task[None]]") -> None:
    """Hold on to a task until it is done: the loop itself does not."""
    among.add(task)
    task.add_done_callback(among.discard)


def _since(began: float) -> float:
    return time.monotonic() - began
