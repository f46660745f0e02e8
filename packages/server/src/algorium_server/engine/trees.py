"""
Call trees that hold slots: pure decisions that keep them from waiting for each other for ever.

A call that waits for a call of its own cannot end before that one did. While some call in a slot
is a *leaf*, without open calls of its own, time alone brings a slot back. When none is left and
the machine is full, time brings nothing: one tree has to give way, so that the others move on.

Source: runtime design, "Network and the platform API".
"""

from collections.abc import Iterable, Sequence

from algorium_server.engine.pools import Seat, Ticket


def waited_for(nested: Iterable[Ticket], seats: Iterable[Seat]) -> set[str]:
    """
    Return the ids of the calls that wait for calls of their own.

    Args:
        nested: The calls of algorithms that are in line.
        seats: All of them; those count that run such a call, or start for one.
    """
    in_line = {ticket.call.flight.parent_id for ticket in nested}
    in_slots = {seat.flight.parent_id for seat in seats if seat.flight and seat.is_nested}
    return (in_line | in_slots) - {""}


def giving_way(nested: Sequence[Ticket], running: Sequence[Seat]) -> list[Ticket]:
    """
    Return the calls in line that are refused, so that others get on; none while a leaf runs.

    It is one tree that gives way, the youngest of the account that holds most: it has lost least,
    and who fills the machine pays for that.

    Args:
        nested: The calls of algorithms that are in line.
        running: The slots with a call in them, or that start for one.
    """
    parents = waited_for(nested, running)
    if not nested or any(seat.running_id not in parents for seat in running):
        return []
    roots = {seat.running_id: (seat.party.account.slots, seat.since) for seat in running}
    # A tree whose root is gone has nobody left who wants its result.
    unknown = (1 << 30, float("inf"))
    trees = {ticket.call.flight.tree_id for ticket in nested}
    tree_id = max(trees, key=lambda tree: roots.get(tree, unknown))
    return [ticket for ticket in nested if ticket.call.flight.tree_id == tree_id]
