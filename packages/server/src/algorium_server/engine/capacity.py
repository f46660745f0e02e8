"""
The slots of this machine: who gets one, who waits, when another one starts and which one goes.

Theory of operation: a pool holds the slots of one (calling account, version). A call takes the most
recently used idle slot, or stands in line while `scheduler` decides whether another slot is worth
starting. A slot that becomes free is handed to the next in line at once, so a free slot and a
waiting call never coexist.

One tick serves everybody who waits, as long as anybody does: expiry and growth. A warm call never
meets it.

Source: runtime design, "Scheduling", "Failures".
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from algorium_server.domain.errors import TooManyRequests, Unavailable
from algorium_server.domain.limits import (
    CHILD_CALLS_PER_TREE_MAX,
    QUEUE_CALLS_MAX,
    SLOT_IDLE_S,
    SLOTS_MAX,
    SLOTS_PER_POOL_MAX,
)
from algorium_server.engine import scheduler
from algorium_server.engine.pools import Pool, Waiting
from algorium_server.engine.program import Program
from algorium_server.engine.slots import Flight, Slot
from algorium_server.engine.starting import LoadFailed, Starter
from algorium_server.telemetry import logger

_TICK_S: Final = 0.02
"""How exact deadlines in line are, and how late a decision to grow."""
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


class _Ticket:
    """A call's place in line."""

    __slots__ = ("call", "pool", "since")

    def __init__(self, call: Waiting, pool: "_Pool", since: float) -> None:
        self.call = call
        self.pool = pool
        self.since = since


class _Pool(Pool):
    """A pool whose lines hold tickets."""

    def __init__(self, program: Program, *, roots_max: int) -> None:
        super().__init__(program, roots_max=roots_max)
        self.nested_line: dict[Waiting, _Ticket] = {}
        self.roots_line: dict[Waiting, _Ticket] = {}

    @property
    def waiting(self) -> int:
        return len(self.nested_line) + len(self.roots_line)

    def line_of(self, flight: Flight) -> dict[Waiting, _Ticket]:
        return self.nested_line if flight.is_nested else self.roots_line

    def next_ticket(self) -> _Ticket | None:
        lines = [self.nested_line]
        if len(self.busy_for_roots) < self.roots_max:
            lines.append(self.roots_line)
        for line in lines:
            for call in line:
                return line.pop(call)
        return None


class Capacity:
    """
    Hands out the slots of this machine.

    Args:
        starter: Starts slots.
        limits: How many may exist.
    """

    def __init__(self, starter: Starter, limits: EngineLimits) -> None:
        self._starter = starter
        self._limits = limits
        self._pools: dict[tuple[str, str], _Pool] = {}
        self._starting: set[asyncio.Task[None]] = set()
        self._killing: set[asyncio.Task[None]] = set()
        self._waiting: dict[Waiting, _Ticket] = {}
        self._ticking = False
        self._sweeper: asyncio.Task[None] | None = None
        self.is_closing = False

    async def start(self) -> None:
        """Begin giving up idle slots."""
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def close(self) -> None:
        """Refuse who waits, and end every slot."""
        self.is_closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for call in tuple(self._waiting):
            self._refuse(call, Unavailable("The server is shutting down."))
        for task in tuple(self._starting):
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        slots = [slot for pool in self._pools.values() for slot in (*pool.idle, *pool.busy)]
        await asyncio.gather(*(slot.kill(grace_s=0) for slot in slots), *self._killing)

    def take(self, program: Program, flight: Flight) -> Slot | None:
        """Take an idle slot at once; None if there is none, or others wait for it already."""
        pool = self._pools.get((flight.account_id, program.key))
        if pool is None or not pool.idle or pool.line_of(flight):
            return None
        if not flight.is_nested and len(pool.busy_for_roots) >= pool.roots_max:
            return None
        slot = pool.idle.pop()
        pool.occupy(slot, flight)
        return slot

    def wait(self, program: Program, call: Waiting) -> None:
        """
        Stand in line: the call hears later, never from inside.

        Raises:
            TooManyRequests: The line is full.
            Unavailable: The server is shutting down.
            LoadFailed: The program failed to load several times just now.
        """
        if self.is_closing:
            raise Unavailable("The server is shutting down.")
        pool = self._pool(program, call.flight)
        line = pool.line_of(call.flight)
        now = time.monotonic()
        if len(line) >= QUEUE_CALLS_MAX:
            raise TooManyRequests("Too many requests: the queue of this algorithm is full")
        if pool.last_failure is not None and scheduler.is_paused(pool.failed_at, now=now):
            raise LoadFailed(pool.last_failure)
        line[call] = self._waiting[call] = _Ticket(call, pool, now)
        self._keep_ticking()
        if not pool.slots:
            self._grow(pool)

    def leave(self, call: Waiting) -> None:
        """Leave the line: the caller gave up. Idempotent; nothing is heard any more."""
        ticket = self._waiting.pop(call, None)
        if ticket is not None:
            ticket.pool.line_of(call.flight).pop(call, None)

    def release(self, slot: Slot, run_s: float | None) -> None:
        """
        Give a slot back: to whoever is next, else to the idle ones; a dead one is buried.

        Args:
            slot: No call is in it any more.
            run_s: What its call took, None if that says nothing about others.
        """
        pool = slot.pool
        assert isinstance(pool, _Pool), "it was handed out here"
        if run_s is not None:
            pool.run_s = scheduler.blend(pool.run_s, run_s) if pool.run_s else run_s
        pool.vacate(slot)
        self._pass_on(pool, slot)

    def slots_in_use(self) -> dict[str, int]:
        """Count slots by state, for whoever watches the engine."""
        pools = self._pools.values()
        return {
            "idle": sum(len(pool.idle) for pool in pools),
            "busy": sum(len(pool.busy) for pool in pools),
            "starting": sum(pool.starting for pool in pools),
        }

    async def drain(self, key: str) -> None:
        """Retire the idle slots of the program *key*."""
        for (_, program_key), pool in tuple(self._pools.items()):
            if program_key == key:
                for slot in tuple(pool.idle):
                    self._retire(pool, slot)

    # Handing out

    def _pool(self, program: Program, flight: Flight) -> _Pool:
        key = (flight.account_id, program.key)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = _Pool(program, roots_max=self._limits.slots_per_pool_max)
        return pool

    def _pass_on(self, pool: _Pool, slot: Slot) -> None:
        if slot.is_dead:
            self._retire(pool, slot)
            return
        ticket = pool.next_ticket()
        if ticket is None:
            slot.idle_since = time.monotonic()
            pool.idle.append(slot)
            return
        del self._waiting[ticket.call]
        pool.occupy(slot, ticket.call.flight)
        pool.moved_at = time.monotonic()
        ticket.call.granted(slot)

    def _refuse(self, call: Waiting, error: Exception) -> None:
        self.leave(call)
        call.refused(error)

    def _retire(self, pool: _Pool, slot: Slot) -> None:
        with suppress(ValueError):
            pool.idle.remove(slot)
        _keep(slot.kill(grace_s=0), among=self._killing)
        self._grow(pool)

    # Growing

    def _grow(self, pool: _Pool) -> None:
        if self.is_closing or not pool.waiting:
            return
        if self._wants_slot(pool, time.monotonic()):
            pool.starting += 1
            flight = next(iter(pool.nested_line or pool.roots_line)).flight
            starting = asyncio.get_running_loop().create_task(self._start(pool, flight))
            _keep(starting, among=self._starting)

    def _wants_slot(self, pool: _Pool, now: float) -> bool:
        limits = self._limits
        if pool.nested_line:
            first = next(iter(pool.nested_line.values()))
            stalled_s = now - max(first.since, pool.moved_at)
            if scheduler.should_grow_for_nested(
                waiting=len(pool.nested_line), starting=pool.starting, stalled_s=stalled_s
            ):
                is_below_max = pool.slots < pool.roots_max + _NESTED_SLOTS_MAX
                return is_below_max and self._make_room(limits.slots_max + _NESTED_SLOTS_MAX)
        if not pool.roots_line:
            return False
        first = next(iter(pool.roots_line.values()))
        view = scheduler.PoolView(
            waiting=len(pool.roots_line),
            stalled_s=now - max(first.since, pool.moved_at),
            starting=pool.starting,
            busy=len(pool.busy_for_roots),
            run_s=pool.run_s,
            start_s=pool.start_s,
            slots_max=pool.roots_max,
        )
        return scheduler.should_grow(view) and self._make_room(limits.slots_max)

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

    def _keep_ticking(self) -> None:
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        now = time.monotonic()
        for call in tuple(self._waiting):
            if now >= call.flight.deadline_at and call in self._waiting:
                self._refuse(call, TimeoutError())
        for pool in {ticket.pool for ticket in self._waiting.values()}:
            self._grow(pool)
        if self._waiting:
            self._keep_ticking()

    # Starting

    async def _start(self, pool: _Pool, flight: Flight) -> None:
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
        slot.pool = pool
        slot.on_end = self._on_end
        self._pass_on(pool, slot)
        self._grow(pool)

    def _fail_waiting(self, pool: _Pool, error: Exception) -> None:
        """Without another slot to hope for, everybody who waits gets the same answer."""
        if pool.busy or pool.idle or pool.starting:
            return
        for call in (*pool.nested_line, *pool.roots_line):
            if call in self._waiting:
                self._refuse(call, error)

    def _on_end(self, slot: Slot) -> None:
        """An idle slot that ends by itself leaves the pool; a busy one is released by its call."""
        pool = slot.pool
        assert isinstance(pool, _Pool), "it was started here"
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
