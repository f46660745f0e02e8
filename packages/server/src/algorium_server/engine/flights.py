"""A call in flight, as the engine sees it, and why it may get no slot."""

from collections.abc import Callable

import msgspec

from algorium_server.domain.calls import CallOutcome
from algorium_server.domain.identity import Principal


class Flight(msgspec.Struct, frozen=True, kw_only=True):
    """
    A call in flight.

    Attributes:
        account_id: Whose slots may run it, unless its version's slots are shared.
        inside: Makes the principal that the algorithm acts as while this call runs; most calls
            never ask.
        deadline_at: Monotonic seconds.
        is_nested: Made by an algorithm; such calls have their own share of slots.
        call_id: Request id, empty if nobody needs to tell which call waits for which.
        parent_id: Of the call that made it, if nested.
        tree_id: Of the call from outside that all began with, if nested.
        on_delivery: Told right before the call's first byte goes to a slot; from then on the
            call may have had effects.
    """

    account_id: str
    inside: Callable[[], Principal]
    deadline_at: float
    is_nested: bool = False
    call_id: str = ""
    parent_id: str = ""
    tree_id: str = ""
    on_delivery: Callable[[], None] | None = None


OnOutcome = Callable[[CallOutcome | Exception], None]
"""Told once how a call ended: its outcome, or the error for which it did not run."""


class LoadFailed(Exception):
    """
    The algorithm did not load; its slot is gone.

    Attributes:
        outcome: What the calls that waited for it are answered.
        was_killed: Something from outside may have ended it, so that it says nothing about the
            program: the next slot may load.
    """

    def __init__(self, outcome: CallOutcome, *, was_killed: bool = False) -> None:
        super().__init__("load failed")
        self.outcome = outcome
        self.was_killed = was_killed
