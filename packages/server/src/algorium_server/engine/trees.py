"""
Call trees that hold slots: pure decisions that keep them from waiting for each other for ever.

A call that waits for a call of its own cannot end before that one did. While some call in a slot
is a *leaf*, without open calls of its own, time alone brings a slot back. When none is left and
the machine is full, time brings nothing: one tree has to give way, so that the others move on.

Source: runtime design, "Network and the platform API".
"""

from collections.abc import Iterable, Mapping

from algorium_server.engine.flights import Flight


def parents(nested: Iterable[Flight]) -> set[str]:
    """Return the ids of the calls that wait for one of *nested*, in a slot or in line."""
    return {flight.parent_id for flight in nested} - {""}


def has_leaf(running: Iterable[str], waited_for: set[str]) -> bool:
    """Whether one of the calls and loads in slots has no open calls of its own, by their ids."""
    return any(each not in waited_for for each in running)


def to_give_way(waiting: Iterable[Flight], roots: Mapping[str, tuple[int, float]]) -> str:
    """
    Return the id of the tree that gives way, so that the others get on.

    The youngest tree of the account that holds most: it has lost least, and who fills the machine
    pays for that.

    Args:
        waiting: Nested calls in line; at least one.
        roots: Of each tree, by its id: slots held by its account, and since when its root runs.
    """
    # A tree whose root is gone has nobody left who wants its result.
    unknown = (1 << 30, float("inf"))
    return max({flight.tree_id for flight in waiting}, key=lambda tree: roots.get(tree, unknown))
