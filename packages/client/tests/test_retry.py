from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium import ConnectionFailed, ConnectionLost, ResponseTimeout
from algorium._messages import Pause, Request, Response
from algorium._retry import RetryPolicy, with_retries

POLICY = RetryPolicy(retries_max=2)
OUTCOMES: list[Any] = [
    *(Response(status=status) for status in (200, 404, 429, 500, 502, 503, 504)),
    ConnectionFailed("refused"),
    ConnectionLost("reset"),
    ResponseTimeout("slow"),
]


def request(method: str, body: Any = b"") -> Request:
    return Request(method=method, path="/v1/x", body=body)


def is_repeated(method: str, outcome: Any) -> bool:
    return POLICY.pause(attempt=1, request=request(method), outcome=outcome) is not None


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_what_may_have_changed_something_is_repeated_only_if_nothing_was_sent(method: str) -> None:
    repeated = [outcome for outcome in OUTCOMES if is_repeated(method, outcome)]

    assert repeated == [OUTCOMES[2], OUTCOMES[7]]  # one is refused, one has no connection


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_what_changes_nothing_twice_is_repeated(method: str) -> None:
    repeated = [outcome for outcome in OUTCOMES if is_repeated(method, outcome)]

    assert repeated == [OUTCOMES[2], *OUTCOMES[4:7], OUTCOMES[7], OUTCOMES[8]]


@pytest.mark.parametrize(("seconds", "expected"), [("", True), ("30", True), ("31", False)])
def test_who_is_to_wait_for_long_is_told_so(seconds: str, expected: bool) -> None:
    outcome = Response(status=429, headers={"retry-after": seconds})

    assert is_repeated("POST", outcome) is expected


def test_a_stream_is_never_repeated() -> None:
    outcome = ConnectionFailed("refused")

    assert POLICY.pause(attempt=1, request=request("PUT", iter([])), outcome=outcome) is None


@given(st.integers(1, 50), st.sampled_from(OUTCOMES))
def test_pauses_grow_up_to_a_bound(attempt: int, outcome: Any) -> None:
    policy = RetryPolicy(retries_max=40)

    pause = policy.pause(attempt=attempt, request=request("GET"), outcome=outcome)

    if pause is not None:
        assert attempt <= 40
        assert 0 < pause.shortest_s <= pause.longest_s <= policy.pause_s_max


@pytest.mark.parametrize(("text", "seconds"), [("7", 7.0), ("0", 0.0), ("9999999", 30.0)])
def test_the_server_may_say_when(text: str, seconds: float) -> None:
    outcome = Response(status=503, headers={"retry-after": text})

    pause = POLICY.pause(attempt=1, request=request("GET"), outcome=outcome)

    assert pause == Pause(shortest_s=seconds, longest_s=seconds)


@pytest.mark.parametrize("text", ["", "-1", "Fri, 31 Dec 1999 23:59:59 GMT", "²"])
def test_other_ways_to_say_when_are_left_unread(text: str) -> None:
    outcome = Response(status=503, headers={"retry-after": text})

    pause = POLICY.pause(attempt=1, request=request("GET"), outcome=outcome)

    assert pause is not None
    assert pause.longest_s == POLICY.pause_s


def asking(*requests: Request) -> Generator[Request, Response, list[int]]:
    statuses = []
    for wanted in requests:
        response = yield wanted
        statuses.append(response.status)
    return statuses


def driven(outcomes: list[Any], flow: Any) -> tuple[list[Any], Any]:
    """Drive a flow by a list of outcomes; return what it asked for and what it returned."""
    steps = with_retries(flow, POLICY)
    asked: list[Any] = []
    step = None
    try:
        step = next(steps)
        while True:
            asked.append(step)
            if isinstance(step, Pause):
                step = next(steps)
                continue
            outcome = outcomes.pop(0)
            step = steps.throw(outcome) if isinstance(outcome, Exception) else steps.send(outcome)
    except StopIteration as done:
        return asked, done.value


def test_a_flow_does_not_notice_repetitions() -> None:
    first, second = request("GET"), request("PUT", b"x")
    outcomes = [ConnectionLost("reset"), Response(status=502), Response(status=200)]

    asked, result = driven([*outcomes, Response(status=404)], asking(first, second))

    assert result == [200, 404]
    assert [step for step in asked if step is first] == [first] * 3
    assert [type(step) for step in asked] == [Request, Pause, Request, Pause, Request, Request]


def test_the_last_outcome_counts() -> None:
    _, result = driven([Response(status=503)] * 3, asking(request("GET")))
    assert result == [503]

    with pytest.raises(ConnectionLost, match="third"):
        driven(
            [ConnectionLost("first"), ConnectionLost("x"), ConnectionLost("third")],
            asking(request("GET")),
        )


def test_a_flow_may_ask_nothing() -> None:
    assert driven([], asking()) == ([], [])
