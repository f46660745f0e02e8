"""
The slots of one (calling account, version), and the calls that wait for them.

A pool only keeps count; `local` decides and acts. Calls from outside (roots) and calls that
algorithms make (nested) stand in lines of their own, see `local`.
"""

import asyncio
from collections import deque
from typing import Final, Protocol

from algorium_server.domain.calls import CallOutcome
from algorium_server.engine import scheduler
from algorium_server.engine.program import Program
from algorium_server.engine.slots import Flight, Slot

_START_GUESS_S: Final = 0.5
"""Until the first slot of a pool has been measured."""


class Waiting(Protocol):
    """
    A call that stands in line. It hears exactly once: that it has a slot, or that it gets none.

    It is told apart from others by identity.
    """

    @property
    def flight(self) -> Flight:
        """The call, as the engine sees it."""

    @property
    def input_bytes(self) -> int:
        """Size of the input that it holds while it waits."""

    def granted(self, slot: Slot) -> None:
        """Take a slot that is busy for this call from now on; must not raise."""

    def refused(self, error: Exception) -> None:
        """Hear that there will be no slot: a `TimeoutError` if the deadline passed in line."""


class Waiter:
    """A call that waits for a slot since *since* (monotonic seconds)."""

    def __init__(self, future: "asyncio.Future[Slot]", since: float, flight: Flight) -> None:
        self.future = future
        self.since = since
        self.flight = flight


class Pool:
    """
    The slots of one program for one account.

    Attributes:
        roots_max: How many slots calls from outside may hold at a time.
        idle: The most recently used one last.
        busy: With a call in flight, or handed to one that has not woken up yet.
        busy_for_roots: Those of them that serve calls from outside.
        starting: How many are starting or loading.
        nested: Calls of algorithms, in line.
        roots: Calls from outside, in line.
        run_s: Estimate of a call's run time, 0 until one was measured.
        start_s: Estimate of a slot's start, load included.
        moved_at: When a line last moved, monotonic seconds.
        failed_at: When loads failed lately.
        last_failure: What the newest failed load means for calls.
    """

    def __init__(self, program: Program, *, roots_max: int) -> None:
        self.program = program
        self.roots_max = roots_max
        self.idle: list[Slot] = []
        self.busy: set[Slot] = set()
        self.busy_for_roots: set[Slot] = set()
        self.starting = 0
        self.nested: deque[Waiter] = deque()
        self.roots: deque[Waiter] = deque()
        self.run_s = 0.0
        self.start_s = _START_GUESS_S
        self.moved_at = 0.0
        self.failed_at: deque[float] = deque(maxlen=scheduler.FAILURES_BEFORE_PAUSE)
        self.last_failure: CallOutcome | None = None

    @property
    def slots(self) -> int:
        """How many there are, in every state."""
        return len(self.idle) + len(self.busy) + self.starting

    @property
    def waiting(self) -> int:
        """How many calls stand in line."""
        return len(self.nested) + len(self.roots)

    def line(self, flight: Flight) -> deque[Waiter]:
        """Return the line in which a call stands."""
        return self.nested if flight.is_nested else self.roots

    def take_idle(self, flight: Flight) -> Slot | None:
        """Take the most recently used idle slot, unless others wait already."""
        is_full = not flight.is_nested and len(self.busy_for_roots) >= self.roots_max
        if not self.idle or self.line(flight) or is_full:
            return None
        slot = self.idle.pop()
        self.occupy(slot, flight)
        return slot

    def occupy(self, slot: Slot, flight: Flight) -> None:
        """Count a slot as busy from now on, not only when its call wakes up."""
        self.busy.add(slot)
        if not flight.is_nested:
            self.busy_for_roots.add(slot)

    def vacate(self, slot: Slot) -> None:
        """Count a slot as busy no longer."""
        self.busy.discard(slot)
        self.busy_for_roots.discard(slot)

    def expire_waiting(self, now: float) -> None:
        """Tell the calls in line whose deadline has passed."""
        for waiter in (*self.nested, *self.roots):
            if now >= waiter.flight.deadline_at and not waiter.future.done():
                waiter.future.set_exception(TimeoutError())

    def next_waiter(self) -> Waiter | None:
        """Take who is served next: nested calls first, since other calls wait for them."""
        lines = [self.nested]
        if len(self.busy_for_roots) < self.roots_max:
            lines.append(self.roots)
        for line in lines:
            while line:
                waiter = line.popleft()
                if not waiter.future.done():
                    return waiter
        return None
