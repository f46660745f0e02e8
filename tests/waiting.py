"""Waiting for something to become true, up to a deadline: nothing here sleeps and hopes."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.05


def wait_until(condition: Callable[[], T], *, timeout_s: float, what: str = "the condition") -> T:
    """
    Wait until *condition* returns something true, and return that.

    Args:
        condition: Asked again and again.
        timeout_s: When to give up.
        what: Names the condition when it does not come about.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(_PAUSE_S)
    return found
