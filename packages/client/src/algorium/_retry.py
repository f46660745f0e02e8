"""
Which requests are sent again, when, and how often. Pure: the wait is a value, not a sleep.

| what happened | calls, POST, PATCH, DELETE | GET, HEAD, PUT of bytes | calls with a key |
|---|---|---|---|
| no connection (nothing was sent) | again | again | again |
| connection broken off | never: it may have run | again | again |
| 429 (refused, nothing ran) | again, unless it is to wait for long | the same | the same |
| 502, 503, 504 | never | again | again, unless it is the algorithm's answer |
| 409 with `Retry-After`: it is under way | never | never | again, as long as its timeout lets it |
| no answer in time, any other status | never | never | never |

A call with a key is worth more attempts, as it is done once whatever happens: a server that is
being started anew is waited for, but no longer than the call may take.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from algorium._errors import ConnectionFailed, ConnectionLost, TransportError
from algorium._messages import Pause, Request, Response

T = TypeVar("T")
Flow: TypeAlias = Generator[Request, Response, T]
Steps: TypeAlias = Generator[Request | Pause, Response | None, T]

_BUSY: Final = 429
_CONFLICT: Final = 409
_PASSING_STATUSES: Final = frozenset({502, 503, 504})

_KEPT_S_MIN: Final = 30.0
"""So long a call with a key is repeated at least, however little time it may take."""

_RETRY_AFTER_S_MAX: Final = 30.0
"""A server may ask for more; a caller at a prompt would rather be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """
    How often and how patiently.

    Attributes:
        retries_max: Further attempts after the first one.
        busy_retries_max: The same for what is refused because too much is open; None for as many.
        kept_retries_max: Further attempts of a call with a key; half a minute, together. While
            it is under way, only its timeout counts.
        pause_s: Longest pause before the first retry; doubles with each one.
        pause_s_max: No pause grows beyond this.
    """

    retries_max: int = 2
    busy_retries_max: int | None = None
    kept_retries_max: int = 9
    pause_s: float = 0.2
    pause_s_max: float = 5.0

    def pause(
        self,
        *,
        attempt: int,
        request: Request,
        outcome: Response | TransportError,
        elapsed_s: float = 0.0,
    ) -> Pause | None:
        """
        Decide what follows an attempt.

        Args:
            attempt: Number of the attempt just made, from 1.
            request: What was sent.
            outcome: What came of it.
            elapsed_s: Since the first attempt began.

        Returns:
            How long to wait before the next attempt, or None to leave it at this outcome.
        """
        if not request.is_replayable or not _is_worth_repeating(request, outcome):
            return None
        if request.is_kept and elapsed_s >= max(request.work_s, _KEPT_S_MIN):
            return None
        asked_s = _retry_after_s(outcome)
        if request.is_kept and _is_under_way(outcome):
            if not self.retries_max:
                return None
            shortest_s = asked_s or 0.0
            return Pause(shortest_s=shortest_s, longest_s=shortest_s + self.pause_s)
        if attempt > self._attempts_max(request, outcome):
            return None
        if asked_s is not None:
            return Pause(shortest_s=asked_s, longest_s=asked_s)
        longest_s = min(self.pause_s * 2 ** (attempt - 1), self.pause_s_max)
        # At random below the bound, so that clients thrown out together do not return together.
        return Pause(shortest_s=longest_s / 2, longest_s=longest_s)

    def _attempts_max(self, request: Request, outcome: Response | TransportError) -> int:
        is_busy = isinstance(outcome, Response) and outcome.status == _BUSY
        if is_busy and self.busy_retries_max is not None:
            return self.busy_retries_max
        if request.is_kept and self.retries_max:
            return max(self.retries_max, self.kept_retries_max)
        return self.retries_max


def pause_after(failures: int) -> Pause:
    """Return how long to wait after this many failures in a row, before going on."""
    longest_s = min(0.2 * 2.0**failures, RetryPolicy().pause_s_max)
    return Pause(shortest_s=longest_s / 2, longest_s=longest_s)


def _is_worth_repeating(request: Request, outcome: Response | TransportError) -> bool:
    if isinstance(outcome, ConnectionFailed):
        return True
    if isinstance(outcome, Response) and outcome.status == _BUSY:
        return _seconds_asked(outcome) <= _RETRY_AFTER_S_MAX
    if request.is_kept and isinstance(outcome, Response):
        return _is_under_way(outcome) or _is_no_answer(outcome)
    if not request.is_kept and not request.is_idempotent:
        return False
    if isinstance(outcome, Response):
        return outcome.status in _PASSING_STATUSES
    return isinstance(outcome, ConnectionLost)


def _is_under_way(outcome: Response | TransportError) -> bool:
    """Whether a call with the same key runs; others get 409 for names that are taken."""
    return (
        isinstance(outcome, Response)
        and outcome.status == _CONFLICT
        and _seconds_asked(outcome) >= 0
    )


def _is_no_answer(response: Response) -> bool:
    """Whether somebody on the way could not bring the answer: those of what ran have timings."""
    return response.status in _PASSING_STATUSES and "server-timing" not in response.headers


def _retry_after_s(outcome: Response | TransportError) -> float | None:
    asked_s = _seconds_asked(outcome) if isinstance(outcome, Response) else -1.0
    return min(asked_s, _RETRY_AFTER_S_MAX) if asked_s >= 0 else None


def _seconds_asked(response: Response) -> float:
    """Read `Retry-After`, below 0 if there is none; its other form, a date, needs a clock."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else -1.0


def with_retries(
    flow: Flow[T], policy: RetryPolicy, clock: Callable[[], float] = lambda: 0.0
) -> Steps[T]:
    """
    Turn a flow into one that repeats requests as *policy* says.

    The driver sends the response to a request, throws a `TransportError` in its place, and sends
    None after a pause.

    Args:
        flow: Not begun.
        policy: When to repeat.
        clock: Returns monotonic seconds; left out, time does not count.
    """
    try:
        request = next(flow)
    except StopIteration as done:  # a flow may know its answer without asking
        result: T = done.value
        return result
    while True:
        response = yield from _attempts(request, policy, clock)
        try:
            request = flow.send(response)
        except StopIteration as done:
            result = done.value
            return result


def _attempts(request: Request, policy: RetryPolicy, clock: Callable[[], float]) -> Steps[Response]:
    attempt, began_at = 1, clock()
    while True:
        outcome: Response | TransportError
        try:
            response = yield request
            assert response is not None
            outcome = response
        except TransportError as error:
            outcome = error
        elapsed_s = clock() - began_at
        pause = policy.pause(attempt=attempt, request=request, outcome=outcome, elapsed_s=elapsed_s)
        if pause is None:
            if isinstance(outcome, TransportError):
                raise outcome
            return outcome
        yield pause
        attempt += 1
