"""
A machine in invented time: slots that start, run calls and end exactly when a test says so.

`Simulation` is the shell of a `Scheduler`; it checks with every step what must never happen.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from algorium_server.domain.errors import Unavailable
from algorium_server.domain.limits import MIB
from algorium_server.engine import room
from algorium_server.engine.flights import Flight, LoadFailed
from algorium_server.engine.pools import Pool, Seat, SlotState
from algorium_server.engine.program import Program
from algorium_server.engine.room import EngineLimits
from algorium_server.engine.scheduler import Scheduler
from algorium_server.engine.slots import Slot

TICK_S = 0.02


class SimulatedSlot:
    """What the scheduler looks at of a slot."""

    def __init__(self, load_s: float) -> None:
        self.seat: Seat | None = None
        self.is_dead = False
        self.load_s = load_s
        self.call: SimulatedCall | None = None


class SimulatedCall:
    """A call that knows what became of it."""

    def __init__(
        self,
        simulation: "Simulation",
        program: Program,
        flight: Flight,
        *,
        parent: "SimulatedCall | None",
        run_s: float,
        input_bytes: int,
    ) -> None:
        self.simulation = simulation
        self.program = program
        self.flight = flight
        self.parent = parent
        self.run_s = run_s
        self.input_bytes = input_bytes
        self.children: dict[SimulatedCall, None] = {}
        self.arrived_at = simulation.now
        self.granted_at: float | None = None
        self.slot: SimulatedSlot | None = None
        self.error: Exception | None = None
        self.is_waiting = False
        self.is_over = False

    @property
    def waited_s(self) -> float:
        assert self.granted_at is not None, self.error
        return self.granted_at - self.arrived_at

    def granted(self, slot: Slot) -> None:
        simulated = cast(SimulatedSlot, slot)
        assert not self.is_over
        assert self.granted_at is None, "granted twice"
        assert simulated.call is None, "two calls in one slot"
        assert not simulated.is_dead
        assert simulated.seat is not None
        key = simulated.seat.pool.key
        assert key == ("" if self.program.is_shared else self.flight.account_id, self.program.key)
        assert simulated.seat.state is SlotState.BUSY
        self.granted_at = self.simulation.now
        self.is_waiting = False
        self.slot = simulated
        simulated.call = self

    def refused(self, error: Exception) -> None:
        assert not self.is_over
        assert self.granted_at is None, "refused after it was granted"
        self.error = error
        self.is_waiting = False
        self.simulation.over(self)


class Simulation:
    """
    Slots, calls and time.

    Args:
        limits: Of the scheduler.
        needs: What slots of a program really use, by its key; 50 MiB if not given.
    """

    def __init__(self, limits: EngineLimits, *, needs: dict[str, int] | None = None) -> None:
        self.now = 1000.0
        self.limits = limits
        self.needs = needs or {}
        self.starts: dict[Seat, float] = {}
        self.ends: dict[Seat, float] = {}
        self.calls: dict[SimulatedCall, None] = {}
        self.stale: set[Seat] = set()
        self.abandoned: set[Seat] = set()
        self.slots_started = 0
        self.ids = itertools.count(1)
        self.start_s = 0.2
        self.end_s = 0.011
        self.has_free_memory = True
        self.fails: Callable[[Seat], Exception | None] = lambda _seat: None
        self.scheduler = Scheduler(limits, self, lambda: self.now)

    # The shell

    def begin(self, seat: Seat, flight: Flight) -> None:
        assert seat.state is SlotState.STARTING
        assert flight is seat.flight
        books, nested_max = self.scheduler.room, room.NESTED_SLOTS_MAX
        assert books.slots <= books.slots_max + nested_max
        if not seat.is_nested:
            assert books.slots - min(books.nested_slots, nested_max) <= books.slots_max
        assert books.memory_bytes <= books.memory_max
        assert self.has_free_memory
        self.starts[seat] = self.now + self.start_s

    def abandon(self, seat: Seat) -> None:
        assert seat.state is SlotState.DRAINING
        assert seat in self.starts
        self.starts[seat] = self.now
        self.abandoned.add(seat)

    def end(self, seat: Seat) -> None:
        assert seat.state is SlotState.DEAD
        assert seat not in self.ends
        slot = self.slot_of(seat)
        assert slot.call is None, "ended under a call"
        if not slot.is_dead and seat not in self.stale and not self.scheduler.is_closing:
            assert seat.pool.kept >= seat.pool.floor, "a reserved slot had to go"
        slot.is_dead = True
        self.ends[seat] = self.now + self.end_s

    def has_memory(self, need_bytes: int) -> bool:
        return self.has_free_memory and need_bytes >= 0

    # What happens

    def call(
        self,
        program: Program,
        account: str = "a",
        *,
        parent: SimulatedCall | None = None,
        run_s: float = 0.05,
        timeout_s: float = 300.0,
        input_bytes: int = 100,
    ) -> SimulatedCall:
        """Let a call come; it may raise what `wait` raises."""
        call_id = f"req-{next(self.ids)}"
        root = parent
        while root is not None and root.parent is not None:
            root = root.parent
        deadline_at = self.now + timeout_s if root is None else root.flight.deadline_at
        flight = Flight(
            account_id=account,
            inside=_nobody,
            deadline_at=deadline_at,
            is_nested=parent is not None,
            call_id=call_id,
            parent_id=parent.flight.call_id if parent is not None else "",
            tree_id=root.flight.call_id if root is not None else "",
        )
        made = SimulatedCall(
            self, program, flight, parent=parent, run_s=run_s, input_bytes=input_bytes
        )
        slot = self.scheduler.take(program, flight)
        if slot is not None:
            made.granted(slot)
        else:
            made.is_waiting = True
            self.scheduler.wait(program, made)
        self.calls[made] = None
        if parent is not None:
            parent.children[made] = None
        return made

    def finish(self, call: SimulatedCall, *, dies: bool = False) -> None:
        """Let a call end that has a slot, and perhaps the slot with it."""
        slot = call.slot
        assert slot is not None
        assert call.granted_at is not None
        slot.is_dead = slot.is_dead or dies
        slot.call = call.slot = None
        self.over(call)
        run_s = None if dies else self.now - call.granted_at
        self.scheduler.release(cast(Slot, slot), run_s)

    def leave(self, call: SimulatedCall) -> None:
        """Let a caller give up a call that waits."""
        self.scheduler.leave(call)
        call.is_waiting = False
        self.over(call)

    def drain(self, key: str) -> None:
        """Let the slots of a program be replaced."""
        stale = [seat for seat in self.scheduler.seats() if seat.pool.program.key == key]
        self.stale.update(stale)
        self.scheduler.drain(lambda program: program.key == key)
        assert all(seat.state in {SlotState.DRAINING, SlotState.DEAD} for seat in stale)

    def over(self, call: SimulatedCall) -> None:
        call.is_over = True
        self.calls.pop(call, None)
        if call.parent is not None:
            call.parent.children.pop(call, None)

    def die_idle(self, seat: Seat) -> None:
        """Let an idle slot end by itself."""
        slot = self.slot_of(seat)
        slot.is_dead = True
        self.scheduler.ended(cast(Slot, slot))

    def end_start(self, seat: Seat) -> None:
        """Let a start come to its end, as `fails` says."""
        del self.starts[seat]
        error = Unavailable("given up") if seat in self.abandoned else self.fails(seat)
        if error is not None:
            self.scheduler.not_started(seat, error)
            return
        self.slots_started += 1
        slot = SimulatedSlot(self.start_s)
        self.scheduler.started(seat, cast(Slot, slot))
        self.scheduler.observed(seat, self.needs.get(seat.pool.program.key, 50 * MIB))

    def end_end(self, seat: Seat) -> None:
        """Let the last process of a slot be gone."""
        del self.ends[seat]
        self.scheduler.gone(seat)

    def slot_of(self, seat: Seat) -> SimulatedSlot:
        assert seat.slot is not None
        return cast(SimulatedSlot, seat.slot)

    # Time

    def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let time go by; everything ends when it is due, parents after their children."""
        end_at = self.now + seconds
        while self.now < end_at and not until():
            due = [
                self.now + TICK_S,
                *self.starts.values(),
                *self.ends.values(),
                *(self._ends_at(call) for call in self.calls if call.slot and not call.children),
            ]
            self.now = min(end_at, max(self.now, min(due)))
            for seat, at in tuple(self.starts.items()):
                if at <= self.now:
                    self.end_start(seat)
            for seat, at in tuple(self.ends.items()):
                if at <= self.now:
                    self.end_end(seat)
            for call in tuple(self.calls):
                if call.slot and not call.children and self._ends_at(call) <= self.now:
                    self.finish(call)
            self.scheduler.tick()
            self.check()

    def _ends_at(self, call: SimulatedCall) -> float:
        assert call.granted_at is not None
        return call.granted_at + call.run_s

    # What must hold

    def check(self) -> None:
        """Compare what the scheduler counts with what there is."""
        books, seats = self.scheduler.room, self.scheduler.seats()
        in_use = [seat for seat in seats if seat.flight is not None]
        starting = [seat for seat in in_use if seat.slot is None]
        nested = [seat for seat in in_use if seat.is_nested]
        ending = [seat for seat in seats if seat.state is SlotState.DEAD]
        assert (books.slots, books.memory_bytes) == _sum(seats)
        assert (books.starting, books.starting_bytes) == _sum(starting)
        assert (books.nested_slots, books.nested_bytes) == _sum(nested)
        assert (books.ending_slots, books.ending_bytes) == _sum(ending)
        assert {seat for seat in seats if seat.slot is None} == set(self.starts)
        assert set(ending) == set(self.ends)
        for pool in {seat.pool for seat in seats}:
            self._check_pool(pool)
        held = {call for call in self.calls if call.slot is not None}
        assert {self.slot_of(s).call for s in in_use if s.slot is not None} == held
        assert all(call.is_waiting == (call.slot is None) for call in self.calls)
        waiting = sum(call.is_waiting for call in self.calls)
        assert self.scheduler.counts()["waiting"] == waiting

    def _check_pool(self, pool: Pool) -> None:
        states = dict.fromkeys(SlotState, 0)
        for seat in pool.seats:
            states[seat.state] += 1
        assert states[SlotState.STARTING] == pool.starting
        assert states[SlotState.READY] == len(pool.idle)
        assert pool.roots_busy + pool.nested_busy == sum(
            seat.flight is not None and seat.slot is not None for seat in pool.seats
        )
        assert pool.roots_busy <= max(pool.slots_max, 1)
        if pool.idle:
            assert not pool.nested.count, "a nested call waits beside an idle slot"
            assert not pool.roots.count or pool.roots_busy >= pool.slots_max


def _sum(seats: list[Seat]) -> tuple[int, int]:
    return len(seats), sum(seat.booked_bytes for seat in seats)


def _nobody() -> Any:
    raise AssertionError("nobody asks as whom a simulated call acts")


def program(key: str = "one", **settings: Any) -> Program:
    """Return a program that is never run."""
    return Program(
        key=key,
        source_dir=Path("/nowhere"),
        source_bytes=1,
        environment_dir=Path("/nowhere"),
        entry="src.Main",
        **settings,
    )


def load_failure(*, was_killed: bool = False) -> LoadFailed:
    """Return the failure of a program that does not load."""
    return LoadFailed(cast(Any, object()), was_killed=was_killed)
