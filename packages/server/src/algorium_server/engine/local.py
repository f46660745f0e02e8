"""
The local engine: pools of slots on this machine, and the dispatch of calls to them.

Theory of operation: a pool holds the slots of one (calling account, version); slots are never
shared between accounts. A call takes the most recently used idle slot, or waits in the pool's FIFO
queue while `scheduler` decides whether another slot is worth starting. A call is delivered once:
after its first byte went to a slot nothing is tried again. Every wait ends at the call's deadline.

Source: runtime design, "Scheduling", "Failures".
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from algorium_runtime import frames
from algorium_server.domain.calls import CallInput, CallOutcome, Timings
from algorium_server.domain.errors import TooManyRequests, Unavailable
from algorium_server.domain.limits import LOAD_TIMEOUT_S, QUEUE_CALLS_MAX, SLOT_IDLE_S
from algorium_server.engine import outcomes, scheduler
from algorium_server.engine.host import SandboxHost
from algorium_server.engine.listener import ListenerFactory, SlotListener
from algorium_server.engine.program import Program, slot_spec
from algorium_server.engine.slots import Flight, Slot, SlotEnded
from algorium_server.telemetry import logger

_TICK_S: Final = 0.02
"""How often queues are looked at again while calls wait: a fraction of a slot's start."""
_SWEEP_S: Final = 15.0
_START_GUESS_S: Final = 0.5
"""Until the first slot of a pool has been measured."""
_NESTED_SLOTS_SHARE: Final = 2
"""Nested calls may double the maxima: parents holding every slot must not starve their children."""

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

    slots_max: int = 32
    slots_per_pool_max: int = 8
    idle_s: float = SLOT_IDLE_S


class _LoadFailed(Exception):
    def __init__(self, outcome: CallOutcome) -> None:
        super().__init__("load failed")
        self.outcome = outcome


class _Waiter:
    def __init__(self, future: "asyncio.Future[Slot]", since: float, flight: Flight) -> None:
        self.future = future
        self.since = since
        self.flight = flight


class _Pool:
    """The slots of one (account, version) and the calls that wait for them."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.idle: list[Slot] = []
        self.busy: set[Slot] = set()
        self.starting = 0
        self.waiting: deque[_Waiter] = deque()
        self.run_s = 0.0
        self.start_s = _START_GUESS_S
        self.moved_at = 0.0
        self.failed_at: deque[float] = deque(maxlen=scheduler.FAILURES_BEFORE_PAUSE)
        self.last_failure: CallOutcome | None = None

    @property
    def slots(self) -> int:
        return len(self.idle) + len(self.busy) + self.starting


class LocalEngine:
    """
    Runs calls in slots on this machine.

    Args:
        host: Starts sandboxes.
        listeners: Serve the platform's API inside every slot.
        limits: How many slots may exist.
    """

    def __init__(
        self, host: SandboxHost, listeners: ListenerFactory, *, limits: EngineLimits
    ) -> None:
        self._host = host
        self._listeners = listeners
        self._limits = limits
        self._pools: dict[tuple[str, str], _Pool] = {}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._served: dict[Slot, SlotListener] = {}
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
            for waiter in pool.waiting:
                if not waiter.future.done():
                    waiter.future.set_exception(Unavailable("The server is shutting down."))
            for slot in (*pool.idle, *pool.busy):
                slot.kill(grace_s=0)
        for task in tuple(self._tasks):
            task.cancel()
        kills = [s._killing for s in tuple(self._served) if s._killing]
        await asyncio.gather(*kills, *self._tasks, return_exceptions=True)

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
            slot = await self._take(pool, flight, arrived)
            while slot.is_dead:  # it died before the call's first byte: another one may serve
                self._release(pool, slot)
                slot = await self._take(pool, flight, arrived)
        except TimeoutError:
            return outcomes.timed_out(Timings(queue_s=_since(arrived), load_s=0.0, run_s=0.0))
        except _LoadFailed as failed:
            return failed.outcome
        try:
            return await self._run(pool, slot, flight, call_input, queue_s=_since(arrived))
        finally:
            self._release(pool, slot)

    def slots_in_use(self) -> dict[str, int]:
        """Count slots by state, for the readiness page."""
        pools = self._pools.values()
        return {
            "idle": sum(len(pool.idle) for pool in pools),
            "busy": sum(len(pool.busy) for pool in pools),
            "starting": sum(pool.starting for pool in pools),
        }

    # A call in its slot

    async def _run(
        self, pool: _Pool, slot: Slot, flight: Flight, call_input: CallInput, *, queue_s: float
    ) -> CallOutcome:
        started = time.monotonic()
        remaining_s = flight.deadline_at - started
        slot.flight = flight
        if flight.on_delivery is not None:
            flight.on_delivery()
        answer = slot.send(call_input, remaining_s=remaining_s)
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(max(remaining_s, 0.0), _expire, answer)
        try:
            frame = await answer
        except TimeoutError:
            slot.kill()
            return outcomes.timed_out(
                Timings(queue_s=queue_s, load_s=0.0, run_s=_since(started)), slot.capture.end()
            )
        except SlotEnded as end:
            ended = await slot.ended(end)
            timings = Timings(queue_s=queue_s, load_s=0.0, run_s=_since(started))
            return outcomes.of_end(ended, timings, slot.capture.end())
        except asyncio.CancelledError:
            slot.kill()
            raise
        finally:
            deadline.cancel()
            slot.flight = None
        run_s = _since(started)
        pool.run_s = scheduler.blend(pool.run_s, run_s) if pool.run_s else run_s
        timings = Timings(queue_s=queue_s, load_s=0.0, run_s=run_s)
        try:
            return outcomes.of_frame(frame, timings, slot.capture.end())
        except frames.ProtocolError as error:
            slot.fail(str(error))
            return outcomes.violated(str(error), timings)

    def _release(self, pool: _Pool, slot: Slot) -> None:
        """Pass a slot on: to whoever waits longest, else to the idle ones; a dead one is buried."""
        if slot.is_dead:
            pool.busy.discard(slot)
            self._retire(pool, slot)
            return
        while pool.waiting:
            waiter = pool.waiting.popleft()
            if not waiter.future.done():
                # Busy from now on, not only when the waiter wakes: the pool must not look empty.
                pool.busy.add(slot)
                pool.moved_at = time.monotonic()
                waiter.future.set_result(slot)
                return
        pool.busy.discard(slot)
        slot.idle_since = time.monotonic()
        pool.idle.append(slot)

    def _retire(self, pool: _Pool, slot: Slot) -> None:
        with suppress(ValueError):
            pool.idle.remove(slot)
        listener = self._served.pop(slot, None)
        if listener is not None:
            listener.close()
        self._track(slot.kill(grace_s=0))
        self._grow(pool)

    # Waiting, growing

    def _pool(self, program: Program, flight: Flight) -> _Pool:
        key = (flight.account_id, program.key)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = _Pool(program)
        return pool

    async def _take(self, pool: _Pool, flight: Flight, arrived: float) -> Slot:
        if pool.idle and not pool.waiting:
            slot = pool.idle.pop()
            pool.busy.add(slot)
            return slot
        if self._is_closing:
            raise Unavailable("The server is shutting down.")
        if len(pool.waiting) >= QUEUE_CALLS_MAX:
            raise TooManyRequests("Too many requests: the queue of this algorithm is full")
        if pool.last_failure is not None and scheduler.is_paused(pool.failed_at, now=arrived):
            raise _LoadFailed(pool.last_failure)
        future: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        pool.waiting.append(_Waiter(future, arrived, flight))
        self._grow(pool)
        try:
            async with asyncio.timeout(flight.deadline_at - arrived):
                return await future
        except BaseException:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._release(pool, future.result())
            raise

    def _grow(self, pool: _Pool) -> None:
        if self._is_closing or not pool.waiting:
            return
        now = time.monotonic()
        share = _NESTED_SLOTS_SHARE if any(w.flight.is_nested for w in pool.waiting) else 1
        head = pool.waiting[0]
        view = scheduler.PoolView(
            waiting=len(pool.waiting),
            stalled_s=now - max(head.since, pool.moved_at),
            starting=pool.starting,
            busy=len(pool.busy),
            run_s=pool.run_s,
            start_s=pool.start_s,
            slots_max=self._limits.slots_per_pool_max * share,
        )
        if scheduler.should_grow(view) and self._make_room(self._limits.slots_max * share):
            pool.starting += 1
            self._track(asyncio.get_running_loop().create_task(self._start(pool, head.flight)))
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        for pool in tuple(self._pools.values()):
            if pool.waiting:
                self._grow(pool)

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

    async def _start(self, pool: _Pool, flight: Flight) -> None:
        began = time.monotonic()
        try:
            slot = await self._start_slot(pool, flight)
        except _LoadFailed as failed:
            pool.starting -= 1
            pool.failed_at.append(time.monotonic())
            pool.last_failure = failed.outcome
            self._fail_waiting(pool, failed)
        except Unavailable as error:
            pool.starting -= 1
            self._fail_waiting(pool, error)
        except asyncio.CancelledError:
            pool.starting -= 1
            raise
        else:
            pool.start_s = scheduler.blend(pool.start_s, _since(began))
            pool.starting -= 1
            self._release(pool, slot)
            self._grow(pool)

    def _fail_waiting(self, pool: _Pool, error: Exception) -> None:
        """Without another slot to hope for, everybody who waits gets the same answer."""
        if pool.busy or pool.idle or pool.starting:
            return
        while pool.waiting:
            waiter = pool.waiting.popleft()
            if not waiter.future.done():
                waiter.future.set_exception(error)

    async def _start_slot(self, pool: _Pool, flight: Flight) -> Slot:
        began = time.monotonic()
        process = await self._host.spawn(slot_spec(pool.program))
        slot = Slot(process, number=next(self._numbers))
        acting = flight.inside.acting
        if acting is not None:
            deadline_at = began + LOAD_TIMEOUT_S
            loading = replace(acting, tree_id="", deadline_at=deadline_at, depth=1)
            slot.load_principal = replace(flight.inside, acting=loading)
        try:
            if process.listener is not None:
                self._served[slot] = await self._listeners.serve(
                    process.listener, principal=slot.principal, path_prefix=process.api_path_prefix
                )
            await slot.connect()
            frame = await slot.loaded(LOAD_TIMEOUT_S)
        except TimeoutError:
            raise self._not_loaded(pool, slot, outcomes.load_timed_out, began) from None
        except SlotEnded as end:
            ended = await slot.ended(end)
            raise self._not_loaded(
                pool, slot, lambda t, o: outcomes.of_end(ended, t, o), began
            ) from end
        except asyncio.CancelledError:
            self._retire(pool, slot)
            raise
        if frame.type == frames.LOAD_ERROR:
            raise self._not_loaded(pool, slot, lambda t, o: outcomes.of_frame(frame, t, o), began)
        slot.load_principal = None
        slot.capture.drain()
        slot.on_end = lambda ended_slot: self._on_end(pool, ended_slot)
        return slot

    def _not_loaded(
        self,
        pool: _Pool,
        slot: Slot,
        outcome: Callable[[Timings, str], CallOutcome],
        began: float,
    ) -> _LoadFailed:
        slot.capture.drain()
        output = slot.capture.slot_log.text()
        self._retire(pool, slot)
        timings = Timings(queue_s=0.0, load_s=_since(began), run_s=0.0)
        failed = _LoadFailed(outcome(timings, output))
        _log.info(
            "load failed", program=pool.program.key, outcome=failed.outcome.__class__.__name__
        )
        return failed

    def _on_end(self, pool: _Pool, slot: Slot) -> None:
        """An idle slot that ends by itself leaves the pool; a busy one is released by its call."""
        if slot in pool.idle:
            self._retire(pool, slot)

    # Housekeeping

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = time.monotonic()
            for key, pool in tuple(self._pools.items()):
                numbers = {
                    slot.number
                    for slot in scheduler.expired(
                        (
                            scheduler.IdleSlot(number=s.number, idle_since=s.idle_since)
                            for s in pool.idle
                        ),
                        now=now,
                        idle_s=self._limits.idle_s,
                    )
                }
                for slot in [slot for slot in pool.idle if slot.number in numbers]:
                    self._retire(pool, slot)
                if not pool.slots and not pool.waiting and not pool.failed_at:
                    del self._pools[key]

    def _track(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _expire(answer: "asyncio.Future[frames.Frame]") -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


def _since(began: float) -> float:
    return time.monotonic() - began
