"""
Who gets a slot, who waits, when another one starts and which one goes: the whole policy.

Theory of operation: without a clock, a process or a task of its own. Events are methods, the time
comes from the clock that is given, and what has to be done outside goes to a `Shell`, which reports
back later, never from inside. So all of it runs in a test, in invented time.

A call takes the most recently used idle slot of its pool, or stands in line. A slot that becomes
free goes to whoever is next in its own line, so a free slot and a waiting call never coexist.
`tick`, called as long as anybody waits, refuses who has waited too long and starts slots.

A pool that wants a slot makes a claim; `allotment` gives it room, or keeps the foremost one as the
heir of the next slot that becomes free.

Source: runtime design, "Scheduling", "Failures".
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from algorium_server.domain.errors import Unavailable
from algorium_server.domain.limits import START_ABANDONED_S
from algorium_server.domain.quotas import busy
from algorium_server.engine import claims, growth, trees
from algorium_server.engine.allotment import Allotment, Shell
from algorium_server.engine.claims import Reservation
from algorium_server.engine.flights import Flight, LoadFailed
from algorium_server.engine.pools import Pool, Seat, SlotState, Ticket, Waiting
from algorium_server.engine.program import Program
from algorium_server.engine.queues import Queues
from algorium_server.engine.records import Records
from algorium_server.engine.room import EngineLimits, Room

if TYPE_CHECKING:
    from algorium_server.engine.slots import Slot

_STUCK_S: Final = 0.1
"""Without any slot changing its state. Calls that are done with one another end sooner."""
_HOPELESS_S: Final = 5.0
"""The same where no slot runs at all: other programs may give memory back meanwhile."""
_AFTER_FAILURE_S: Final = 1.0
"""Between a start that failed and the next one, where other slots serve the calls."""


class Scheduler:
    """
    The policy.

    Args:
        limits: How much there is.
        shell: Starts and ends slots.
        clock: Monotonic seconds.

    Attributes:
        room: How much of it is taken.
        is_closing: Nobody gets a slot any more.
    """

    def __init__(self, limits: EngineLimits, shell: Shell, clock: Callable[[], float]) -> None:
        self.room = Room(limits)
        self.is_closing = False
        self._limits = limits
        self._shell = shell
        self._clock = clock
        self._records = Records(limits)
        self._pools = self._records.by_key
        self._queues = Queues()
        self._allotment = Allotment(self._records, self._queues, self.room, shell)
        self._moved_at = clock()

    # Calls

    def take(self, program: Program, flight: Flight) -> "Slot | None":
        """Take an idle slot at once; None if there is none, or others wait for it already."""
        pool = self._pools.get(("" if program.is_shared else flight.account_id, program.key))
        if pool is None or not pool.idle:
            return None
        if flight.is_nested:
            if pool.nested.count:
                return None
        elif pool.roots.count or pool.roots_busy >= pool.slots_max:
            return None
        seat = pool.idle.pop()
        now = self._clock()
        party = pool.sole or self._records.party(pool, flight.account_id, now)
        self.room.occupy(seat, party, flight, now)
        return seat.slot

    def wait(self, program: Program, call: Waiting) -> None:
        """
        Stand in line.

        Raises:
            TooManyRequests: The line is full.
            Unavailable: The server is shutting down, or has too little memory for the program.
            LoadFailed: The program failed to load several times just now.
        """
        if self.is_closing:
            raise Unavailable("The server is shutting down.")
        now = self._clock()
        flight = call.flight
        pool = self._records.pool(program, flight.account_id, now)
        if pool.last_failure is not None and growth.is_paused(pool.failed_at, now=now):
            raise LoadFailed(pool.last_failure)
        if self._limits.is_memory_strict:
            self.room.check_fits(program.memory_bytes)
        party = pool.sole or self._records.party(pool, flight.account_id, now)
        self._queues.add(Ticket(call, pool, party, now))
        self._use_idle(pool, now)
        if not pool.slots:
            for claim in claims.of_calls(pool, self.room, now=now, waited_for=set()):
                self._allotment.serve_one(claim, now)

    def leave(self, call: Waiting) -> None:
        """Leave the line: the caller gave up. Idempotent; nothing is heard any more."""
        ticket = self._queues.find(call)
        if ticket is not None:
            self._queues.remove(ticket)

    def release(self, slot: "Slot", run_s: float | None) -> None:
        """
        Give a slot back: to whoever is next, else to the idle ones; a dead one is buried.

        Args:
            slot: No call is in it any more.
            run_s: What its call took, None if that says nothing about others.
        """
        seat = slot.seat
        assert seat is not None, "it was handed out here"
        assert seat.flight is not None, "and is given back once"
        now = self._moved_at = self._clock()
        pool = seat.pool
        if run_s is not None:
            pool.run_s = growth.blend(pool.run_s, run_s) if pool.run_s else run_s
        self.room.vacate(seat, now)
        if slot.is_dead or seat.state is not SlotState.BUSY or self.is_closing:
            self._allotment.end(seat, now)
            self._use_idle(pool, now)
            if pool.waiting or pool.floor:
                self._serve(now)
        elif not self._pass_on(seat, now):
            self._park(seat, now)

    # What the shell reports

    def started(self, seat: Seat, slot: "Slot") -> None:
        """Take in a slot that is loaded."""
        now = self._moved_at = self._clock()
        is_wanted = seat.state is SlotState.STARTING and not self.is_closing
        self.room.end_start(seat, now)
        seat.slot, slot.seat = slot, seat
        version = seat.pool.version
        version.start_s = growth.blend(version.start_s, slot.load_s)
        seat.pool.crowded_at = now
        if slot.is_dead or not is_wanted:
            self._allotment.end(seat, now)
        elif not self._pass_on(seat, now, is_fresh=True):
            self._park(seat, now)
        self._serve(now)

    def not_started(self, seat: Seat, error: Exception) -> None:
        """
        Bury a slot that did not come up.

        Whoever waits for its pool hears of it if there is no other slot to hope for: at once if
        the program is to blame, else after a second try.
        """
        now = self._moved_at = self._clock()
        pool = seat.pool
        was_wanted = seat.state is SlotState.STARTING
        self.room.end_start(seat, now)
        self.room.end(seat, now)
        self.room.forget(seat)
        is_to_blame = isinstance(error, LoadFailed) and not error.was_killed
        if was_wanted and isinstance(error, LoadFailed) and is_to_blame:
            pool.failed_at.append(now)
            pool.last_failure = error.outcome
        if pool.slots or pool.floor:
            pool.grows_at = now + _AFTER_FAILURE_S
        if was_wanted and not pool.slots:
            waiting = (*pool.nested, *pool.roots)
            self._queues.refuse((t for t in waiting if t.is_second_try or is_to_blame), error)
            for ticket in waiting:
                ticket.is_second_try = True
        self._serve(now)

    def gone(self, seat: Seat) -> None:
        """Take back the room of a slot of which nothing runs any more."""
        self._moved_at = self._clock()
        self.room.forget(seat)
        self._records.drop_if_empty(seat.pool)
        self._serve(self._moved_at)

    def ended(self, slot: "Slot") -> None:
        """Bury an idle slot that ended by itself; a busy one is released by its call."""
        seat = slot.seat
        if seat is not None and seat.state is SlotState.READY:
            now = self._clock()
            self._allotment.end(seat, now)
            self._serve(now)

    def observed(self, seat: Seat, used_bytes: int) -> None:
        """Learn how much memory the slot of *seat* uses, or used at its peak."""
        footprint = seat.pool.version.footprint
        footprint.learn(used_bytes)
        if seat.state is not SlotState.DEAD:
            self.room.rebook(seat, footprint.expected_bytes(used_bytes=used_bytes))

    # Time

    def tick(self) -> bool:
        """
        Refuse who waited too long, start slots for those who wait, and untie what is stuck.

        Returns:
            Whether somebody still waits.
        """
        now = self._clock()
        self._queues.expire(now)
        self._answer_from_memory(now)
        if self._queues:
            self._serve(now)
            self._untie(now)
        return bool(self._queues)

    def sweep(self) -> None:
        """Give up what nobody needs or what does not fit any more, and refill reservations."""
        now = self._clock()
        for pool in self._records.pools:
            for seat in tuple(pool.idle):
                if now - seat.since >= self._limits.idle_s and pool.has_spare:
                    self._allotment.end(seat, now)
            if not pool.waiting and pool.has_spare:
                self._abandon_starts(pool, now)
        self._records.forget(now)
        self._allotment.relieve(now)
        self._serve(now)

    def _abandon_starts(self, pool: Pool, now: float) -> None:
        for seat in tuple(pool.seats):
            if seat.state is SlotState.STARTING and now - seat.since >= START_ABANDONED_S:
                pool.drain(seat)
                self._shell.abandon(seat)

    # Orders

    def reserve(self, reservations: Iterable[Reservation]) -> None:
        """
        Keep these slots warm, and none but these.

        Together they get half of the machine at most; what comes last gets less then.
        """
        now = self._clock()
        for pool in self._records.pools:
            pool.floor = 0
        left = int(self.room.slots_max * claims.RESERVED_SHARE)
        for each in reservations:
            pool = self._records.pool(each.program, each.flight.account_id, now)
            pool.floor = min(each.slots, pool.slots_max, left)
            pool.floor_flight = each.flight
            left -= pool.floor
        self._serve(now)

    def drain(self, matches: Callable[[Program], bool]) -> list[Seat]:
        """
        Replace the slots of some programs: idle ones go, busy ones are not used again.

        Returns:
            The seats whose slots are being ended.
        """
        now = self._clock()
        ending = []
        for pool in self._records.pools:
            if not matches(pool.program):
                continue
            pool.failed_at.clear()  # what is new may load
            for seat in tuple(pool.seats):
                if seat.state is SlotState.READY:
                    self._allotment.end(seat, now)
                    ending.append(seat)
                elif seat.state in {SlotState.STARTING, SlotState.BUSY}:
                    pool.drain(seat)
        self._serve(now)
        return ending

    def close(self) -> None:
        """Refuse who waits; no slot is started or handed out any more."""
        self.is_closing = True
        self._allotment.heir = None
        self._queues.refuse(self._queues, Unavailable("The server is shutting down."))
        now = self._clock()
        for seat in self.seats():
            if seat.state is SlotState.READY:
                self._allotment.end(seat, now)

    def seats(self) -> list[Seat]:
        """Return every seat, in whatever state."""
        return list(self._records.seats())

    def counts(self) -> dict[str, int]:
        """Count slots by state, and calls in line."""
        pools = self._records.pools
        return {
            "idle": sum(len(pool.idle) for pool in pools),
            "busy": sum(pool.roots_busy + pool.nested_busy for pool in pools),
            "starting": sum(pool.starting for pool in pools),
            "ending": self.room.ending_slots,
            "waiting": len(self._queues),
        }

    # Handing on

    def _serve(self, now: float) -> None:
        """Start slots for those who want more, while they fit."""
        if not self.is_closing:
            self._allotment.serve(now)

    def _pass_on(self, seat: Seat, now: float, *, is_fresh: bool = False) -> bool:
        """
        Give a free slot to who is next in its line, or its room to the heir.

        One that was only just started serves a call first: else all time might go into starting.

        Returns:
            Whether somebody took it.
        """
        pool = seat.pool
        ticket = pool.next_ticket()
        if ticket is None:
            return False
        if (
            self._allotment.heir is not None
            and not is_fresh
            and self._allotment.yields(seat, ticket)
        ):
            self._allotment.end(seat, now)
            self._use_idle(pool, now)
        else:
            self._grant(seat, ticket, now)
        return True

    def _use_idle(self, pool: Pool, now: float) -> None:
        """Give an idle slot to who could not have it as long as too many had one."""
        if pool.idle and (ticket := pool.next_ticket()) is not None:
            self._grant(pool.idle.pop(), ticket, now)

    def _grant(self, seat: Seat, ticket: Ticket, now: float) -> None:
        self._queues.remove(ticket)
        self.room.occupy(seat, ticket.party, ticket.call.flight, now)
        seat.pool.moved_at = now
        assert seat.slot is not None, "only warm slots are handed out"
        ticket.call.granted(seat.slot)

    def _park(self, seat: Seat, now: float) -> None:
        """Let a free slot be idle, unless the heir has a use for its room."""
        if self._allotment.heir is not None and self._allotment.yields(seat, None):
            self._allotment.end(seat, now)
            return
        seat.pool.park(seat, now)

    def _untie(self, now: float) -> None:
        """
        Take hope from those for whom there is none.

        When every slot is held by a call that waits for another one, time changes nothing: one
        call tree is refused, so that the others get on. When nothing runs at all and still nothing
        fits, waiting is of no use either.
        """
        heir, still_s = self._allotment.heir, now - self._moved_at
        if heir is None or still_s < _STUCK_S or self.room.ending_slots:
            return
        running = [seat for seat in self.seats() if seat.flight is not None]
        if not running and still_s >= _HOPELESS_S:
            waiting = (*heir.pool.nested, *heir.pool.roots)
            self._queues.refuse(
                waiting, Unavailable("This server has no memory for another slot at the moment.")
            )
            return
        nested = [ticket for ticket in self._queues if ticket.is_nested]
        way = trees.giving_way(nested, running)
        if way:
            self._moved_at = now
            self._queues.refuse(
                way, busy("Too many requests: every slot waits for another call to end")
            )

    def _answer_from_memory(self, now: float) -> None:
        """Refuse who waits for a program that fails to load, and of which no slot is left."""
        for pool in self._records.pools:
            failure = pool.last_failure
            if failure is None or not pool.waiting or pool.slots:
                continue
            if growth.is_paused(pool.failed_at, now=now):
                self._queues.refuse((*pool.nested, *pool.roots), LoadFailed(failure))
