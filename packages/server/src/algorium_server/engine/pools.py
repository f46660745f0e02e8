"""
The slots of one version for one account, or for all where they are shared, and who waits for them.

A pool only keeps count; `scheduler` decides. Calls from outside (roots) and calls that algorithms
make (nested) stand in lines of their own: nested ones go first, since other calls wait for them.

States of a seat, the place of one slot:

| state    | what it is                           | next                                    |
|----------|--------------------------------------|-----------------------------------------|
| -        | absent: no seat                      | starting                                |
| starting | its sandbox is made, or it loads     | ready, busy, dead; draining when stale  |
| ready    | warm and idle                        | busy, dead                              |
| busy     | a call is in it                      | ready, busy with the next one, dead     |
|          |                                      | draining when stale                     |
| draining | starting or busy, and not used again | dead                                    |
| dead     | being ended; takes room until gone   | absent                                  |
"""

import itertools
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from algorium_server.domain.calls import CallOutcome
from algorium_server.engine import growth
from algorium_server.engine.fairness import FairLine, Lane, Turn, Usage
from algorium_server.engine.flights import Flight
from algorium_server.engine.footprint import Footprint
from algorium_server.engine.program import Program

if TYPE_CHECKING:
    from algorium_server.engine.slots import Slot

_START_GUESS_S: Final = 0.5
"""Until the first slot of a version has been measured."""
_CHARGE_S_MIN: Final = 1e-6
"""For a call that has just begun: turns must move even where nothing was measured yet."""

_loads = itertools.count(1)

PoolKey = tuple[str, str]
"""Account (empty where slots are shared) and key of the program."""


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

    def granted(self, slot: "Slot") -> None:
        """Take a slot that is busy for this call from now on; must not raise."""

    def refused(self, error: Exception) -> None:
        """Hear that there will be no slot: a `TimeoutError` if the deadline passed in line."""


class SlotState(Enum):
    """See the table above."""

    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"
    DEAD = "dead"


class Version:
    """
    What is known of a version, whoever uses it.

    Attributes:
        start_s: Estimate of a slot's start, load included.
        footprint: Of its memory.
    """

    __slots__ = ("footprint", "start_s")

    def __init__(self, footprint: Footprint) -> None:
        self.start_s = _START_GUESS_S
        self.footprint = footprint


class Party:
    """
    One account in one pool.

    Attributes:
        account: What it holds of the whole machine.
        usage: What it holds of this pool; `memory_bytes` and `owned` are counted above only.
    """

    __slots__ = ("account", "nested", "roots", "turn", "usage")

    def __init__(self, account: Usage, now: float) -> None:
        self.account = account
        self.usage = Usage(now)
        self.turn = Turn(0.0)
        self.nested: Lane[Ticket] = Lane(self.turn)
        self.roots: Lane[Ticket] = Lane(self.turn)


class Seat:
    """
    The place of one slot, from the decision to start it until its last process is gone.

    Attributes:
        slot: None while it starts.
        party: Who uses it, or used it last, or for whom it starts.
        flight: The call in it, or for which it starts; None while it is idle.
        load_id: What the calls name as their parent that the algorithm makes while it loads.
        since: When it took on its state, monotonic seconds.
        booked_bytes: Memory it takes in the books.
    """

    __slots__ = (
        "booked_bytes",
        "charged_s",
        "flight",
        "is_nested",
        "load_id",
        "party",
        "pool",
        "since",
        "slot",
        "state",
    )

    def __init__(self, pool: "Pool", party: Party, flight: Flight, now: float) -> None:
        self.pool = pool
        self.party = party
        self.load_id = f"load-{next(_loads)}"
        self.flight: Flight | None = flight
        self.is_nested = flight.is_nested
        self.state = SlotState.STARTING
        self.slot: Slot | None = None
        self.since = now
        self.booked_bytes = 0
        self.charged_s = 0.0

    @property
    def running_id(self) -> str:
        """Which call or load keeps it busy, empty if none does."""
        if self.flight is None:
            return ""
        return self.load_id if self.slot is None else self.flight.call_id


class Ticket:
    """
    A call's place in line.

    Attributes:
        since: When it came, monotonic seconds.
        is_second_try: A slot that was started for it did not come up.
    """

    __slots__ = ("call", "is_nested", "is_second_try", "lane", "line", "party", "pool", "since")

    def __init__(self, call: Waiting, pool: "Pool", party: Party, now: float) -> None:
        self.call = call
        self.pool = pool
        self.party = party
        self.since = now
        self.is_second_try = False
        self.is_nested = call.flight.is_nested
        self.lane = party.nested if self.is_nested else party.roots
        self.line = pool.nested if self.is_nested else pool.roots


class Pool:
    """
    The slots of one program for one account, or for all.

    Attributes:
        program: What they run.
        version: What is known of it.
        slots_max: How many of them calls from outside may hold at a time.
        floor: How many are kept warm, whatever happens.
        floor_flight: As whom the slots load that are started for `floor`.
        seats: In every state, in the order in which they started.
        idle: The ready ones, the most recently used last.
        starting: How many are starting or loading, without those that will not be used.
        roots_busy: How many serve calls from outside.
        nested_busy: How many serve calls of algorithms.
        nested_starting: How many of `starting` are for those.
        nested: Calls of algorithms, in line.
        roots: Calls from outside, in line.
        run_s: Estimate of a call's run time, 0 until one was measured.
        moved_at: When a line last moved, monotonic seconds.
        crowded_at: Since when somebody is in `roots`, or the newest slot serves them.
        grows_at: Not before this moment another slot may start, since one failed.
        failed_at: When loads failed lately.
        last_failure: What the newest failed load means for calls.
        parties: Who uses it, by account.
        sole: The one who does, unless it is shared.
    """

    def __init__(self, key: PoolKey, program: Program, version: Version, *, slots_max: int) -> None:
        self.key = key
        self.program = program
        self.version = version
        self.slots_max = slots_max
        self.is_shared = program.is_shared
        self.floor = 0
        self.floor_flight: Flight | None = None
        self.seats: dict[Seat, None] = {}
        self.idle: list[Seat] = []
        self.starting = self.nested_starting = 0
        self.roots_busy = self.nested_busy = 0
        self.nested: FairLine[Ticket] = FairLine()
        self.roots: FairLine[Ticket] = FairLine()
        self.run_s = 0.0
        self.moved_at = 0.0
        self.crowded_at = 0.0
        self.grows_at = 0.0
        self.failed_at: deque[float] = deque(maxlen=growth.FAILURES_BEFORE_PAUSE)
        self.last_failure: CallOutcome | None = None
        self.parties: dict[str, Party] = {}
        self.sole: Party | None = None
        self._turn_at = 0.0

    @property
    def slots(self) -> int:
        """How many there are that serve calls, or will."""
        return len(self.idle) + self.roots_busy + self.nested_busy + self.starting

    @property
    def waiting(self) -> int:
        """How many calls stand in line."""
        return self.nested.count + self.roots.count

    @property
    def kept(self) -> int:
        """How many count towards the floor: those that will still be there afterwards."""
        return sum(seat.state not in {SlotState.DRAINING, SlotState.DEAD} for seat in self.seats)

    @property
    def has_spare(self) -> bool:
        """Whether it may have one slot less."""
        return not self.floor or self.kept > self.floor

    def may_refill(self, now: float) -> bool:
        """Whether a reserved slot is missing that may be started now."""
        return (
            self.kept < self.floor
            and now >= self.grows_at
            and not growth.is_paused(self.failed_at, now=now)
        )

    def line_up(self, ticket: Ticket) -> None:
        """Let a call stand in line; who has nothing in line starts level with who is served."""
        party = ticket.party
        if not party.nested.calls and not party.roots.calls:
            party.turn.at = max(party.turn.at, self._turn_at)
        if not self.roots.count:
            self.crowded_at = ticket.since
        ticket.line.add(ticket.lane, ticket, ticket.call.input_bytes)

    def next_ticket(self) -> Ticket | None:
        """Return who is served next: of one caller nested calls first, of several whose turn is."""
        nested = self.nested.first() if self.nested.count else None
        if not self.roots.count or self.roots_busy >= self.slots_max:
            return nested
        roots = self.roots.first()
        if nested is None or roots is None:
            return nested or roots
        return roots if roots.lane.turn.at < nested.lane.turn.at else nested

    def begin(self, seat: Seat) -> None:
        """Count a slot that starts; it counts for whoever it starts for."""
        self.seats[seat] = None
        self.starting += 1
        self.nested_starting += seat.is_nested
        seat.party.usage.slots += 1
        account = seat.party.account
        account.slots += 1
        account.owned += 1
        account.starting += 1
        account.memory_bytes += seat.booked_bytes

    def end_start(self, seat: Seat, now: float) -> None:
        """Count a slot as starting no longer, and charge its start."""
        if seat.state is SlotState.STARTING:
            self._uncount_start(seat)
        used_s = now - seat.since
        seat.flight = None
        seat.since = now
        usage, account = seat.party.usage, seat.party.account
        usage.slots -= 1
        usage.used_s += used_s
        account.slots -= 1
        account.starting -= 1
        account.memory_bytes -= seat.booked_bytes
        account.used_s += used_s

    def occupy(self, seat: Seat, party: Party, flight: Flight, now: float) -> None:
        """Put a call into a slot."""
        account = party.account
        if seat.party is not party:
            seat.party.account.owned -= 1
            account.owned += 1
            seat.party = party
        seat.state = SlotState.BUSY
        seat.flight = flight
        seat.since = now
        party.usage.slots += 1
        account.slots += 1
        account.memory_bytes += seat.booked_bytes
        if flight.is_nested:
            seat.is_nested = True
            self.nested_busy += 1
        else:
            seat.is_nested = False
            self.roots_busy += 1
        if self.is_shared:
            seat.charged_s = max(self.run_s, _CHARGE_S_MIN)
            self._turn_at = max(self._turn_at, party.turn.at)
            party.turn.at += seat.charged_s

    def vacate(self, seat: Seat, now: float) -> None:
        """Take the call out of a slot, and charge its caller for the time."""
        party = seat.party
        used_s = now - seat.since
        seat.flight = None
        seat.since = now
        party.usage.slots -= 1
        party.usage.used_s += used_s
        account = party.account
        account.slots -= 1
        account.used_s += used_s
        account.memory_bytes -= seat.booked_bytes
        if seat.is_nested:
            self.nested_busy -= 1
        else:
            self.roots_busy -= 1
        if self.is_shared:
            party.turn.at += used_s - seat.charged_s

    def park(self, seat: Seat, now: float) -> None:
        """Let a slot be idle."""
        seat.state = SlotState.READY
        seat.since = now
        self.idle.append(seat)

    def drain(self, seat: Seat) -> None:
        """Let a slot that is starting or busy not be used again."""
        if seat.state is SlotState.STARTING:
            self._uncount_start(seat)
        seat.state = SlotState.DRAINING

    def end(self, seat: Seat, now: float) -> None:
        """Count a slot without a call no longer."""
        if seat.state is SlotState.READY:
            self.idle.remove(seat)
        seat.state = SlotState.DEAD
        seat.since = now
        seat.party.account.owned -= 1

    def forget_failures(self, now: float) -> None:
        """Forget failed loads that count no more."""
        while self.failed_at and now - self.failed_at[0] >= growth.FAILURE_WINDOW_S:
            self.failed_at.popleft()

    def prune(self) -> None:
        """Forget accounts that have nothing here any more, and owe nothing."""
        used = {seat.party for seat in self.seats}
        for account_id, party in tuple(self.parties.items()):
            has_line = party.nested.calls or party.roots.calls
            if party not in used and not has_line and party.turn.at <= self._turn_at:
                del self.parties[account_id]

    def _uncount_start(self, seat: Seat) -> None:
        self.starting -= 1
        self.nested_starting -= seat.is_nested
