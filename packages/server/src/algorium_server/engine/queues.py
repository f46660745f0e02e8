"""
Every call that waits for a slot, whatever for: found by the call, bounded, and refused in time.

Source: runtime design, "Scheduling".
"""

from collections.abc import Iterable, Iterator

from algorium_server.domain.limits import QUEUE_BYTES_MAX, QUEUE_CALLS_MAX, QUEUES_BYTES_MAX
from algorium_server.domain.quotas import busy
from algorium_server.engine.pools import Ticket, Waiting

_NEVER = float("inf")


class Queues:
    """
    The calls in all lines of all pools.

    Attributes:
        nested: How many of them were made by algorithms.
    """

    def __init__(self) -> None:
        self.nested = 0
        self._tickets: dict[Waiting, Ticket] = {}
        self._input_bytes = 0
        self._next_deadline_at = _NEVER

    def __len__(self) -> int:
        return len(self._tickets)

    def __iter__(self) -> Iterator[Ticket]:
        return iter(self._tickets.values())

    def add(self, ticket: Ticket) -> None:
        """
        Let a call stand in its line.

        Raises:
            TooManyRequests: The line is full.
        """
        call = ticket.call
        self._check_room(ticket)
        self._tickets[call] = ticket
        self._input_bytes += call.input_bytes
        self.nested += ticket.is_nested
        self._next_deadline_at = min(self._next_deadline_at, call.flight.deadline_at)
        ticket.pool.line_up(ticket)

    def find(self, call: Waiting) -> Ticket | None:
        """Return the place of *call*, None if it does not wait."""
        return self._tickets.get(call)

    def remove(self, ticket: Ticket) -> None:
        """Take a call out of its line; it hears nothing from here."""
        del self._tickets[ticket.call]
        self._input_bytes -= ticket.call.input_bytes
        self.nested -= ticket.is_nested
        ticket.line.remove(ticket.lane, ticket)

    def refuse(self, tickets: Iterable[Ticket], error: Exception) -> None:
        """Tell calls that there will be no slot; those that are not in line any more are left."""
        for ticket in tuple(tickets):
            if self._tickets.get(ticket.call) is ticket:
                self.remove(ticket)
                ticket.call.refused(error)

    def expire(self, now: float) -> None:
        """Refuse those whose deadline has passed."""
        if now < self._next_deadline_at:
            return
        self.refuse((t for t in self if now >= t.call.flight.deadline_at), TimeoutError())
        deadlines = (call.flight.deadline_at for call in self._tickets)
        self._next_deadline_at = min(deadlines, default=_NEVER)

    def _check_room(self, ticket: Ticket) -> None:
        """
        Let nobody stand in a line that is full.

        If somebody else fills it more than the newcomer does, the last of theirs has to go
        instead: one caller cannot keep all others out of slots that they share.
        """
        line, input_bytes = ticket.line, ticket.call.input_bytes
        if self._tickets and self._input_bytes + input_bytes > QUEUES_BYTES_MAX:
            raise busy("Too many requests: too much input is waiting on this server")
        while line.count:
            is_heavy = line.input_bytes + input_bytes > QUEUE_BYTES_MAX
            if not is_heavy and line.count < QUEUE_CALLS_MAX:
                return
            longest = line.longest(by_bytes=is_heavy)
            error = busy("Too many requests: the queue of this algorithm is full")
            if longest is ticket.lane or (
                longest.input_bytes <= ticket.lane.input_bytes + input_bytes
                if is_heavy
                else len(longest.calls) <= len(ticket.lane.calls) + 1
            ):
                raise error
            self.refuse([next(reversed(longest.calls))], error)
