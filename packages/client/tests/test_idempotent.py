"""Calls that may be sent again, because they carry a key."""

import uuid
from typing import Any

import pytest
from standin import KEY, Fault, StandIn

from algorium import (
    Algorium,
    CallOutcomeUnknown,
    CallUnderWay,
    ConnectionFailed,
    ConnectionLost,
    IdempotencyKeyReused,
    Unavailable,
)
from algorium._messages import Pause, Request, Response
from algorium._retry import RetryPolicy
from algorium.cli import main

UNDER_WAY = Fault(
    status=409,
    headers={"Retry-After": "0", "Content-Type": "application/json"},
    body=b'{"error":{"code":7002,"message":"not ended yet"}}',
)


def keys_of(stand_in: StandIn) -> list[str]:
    return [request.headers["idempotency-key"] for request in stand_in.requests]


@pytest.mark.parametrize("fault", [Fault(drops=True), Fault(status=503), UNDER_WAY])
@pytest.mark.parametrize("method", ["pipe", "send"])
def test_a_call_that_got_no_answer_is_sent_again_with_its_key(
    client: Any, stand_in: StandIn, fault: Fault, method: str
) -> None:
    stand_in.faults.append(fault)

    getattr(client.algo("demo/Hello").idempotent(), method)("x")

    sent = keys_of(stand_in)
    assert len(sent) == 2
    assert len(set(sent)) == 1
    uuid.UUID(sent[0].strip('"'))


def test_each_call_has_a_key_of_its_own(client: Any, stand_in: StandIn) -> None:
    hello = client.algo("demo/Hello").idempotent()

    hello.pipe("x")
    hello.pipe("x")

    assert len(set(keys_of(stand_in))) == 2


def test_each_call_of_a_map_has_one_and_is_sent_again(stand_in: StandIn) -> None:
    stand_in.faults.append(Fault(drops=True))
    with Algorium(KEY, stand_in.address) as client:
        found = [each.result for each in client.algo("util/Echo").idempotent().map([1, 2, 3])]

        with pytest.raises(ValueError, match="one key is for one call"):
            client.algo("util/Echo").idempotent("mine").map([1])

    assert found == [1, 2, 3]
    assert len(keys_of(stand_in)) == 4
    assert len(set(keys_of(stand_in))) == 3


def test_without_a_key_nothing_is_sent_again(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(Fault(drops=True))

    with pytest.raises(ConnectionLost):
        client.algo("demo/Hello").pipe("x")

    assert "idempotency-key" not in stand_in.last.headers


def test_who_turns_retries_off_gets_none(make_client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(UNDER_WAY)

    with pytest.raises(CallUnderWay):
        make_client(retries_max=0).algo("demo/Hello").idempotent().pipe("x")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [(409, 7003, CallOutcomeUnknown), (422, 7001, IdempotencyKeyReused)],
)
def test_what_cannot_be_answered_is_told_at_once(
    client: Any, stand_in: StandIn, status: int, code: int, expected: type[Exception]
) -> None:
    body = b'{"error":{"code":%d,"message":"no"}}' % code
    headers = {"Content-Type": "application/json"}
    stand_in.faults.append(Fault(status=status, headers=headers, body=body))

    with pytest.raises(expected):
        client.algo("demo/Hello").idempotent("order-4711").pipe("x")

    assert keys_of(stand_in) == ['"order-4711"']


@pytest.mark.parametrize("key", ["", " ", "é", "x" * 256, "a\nb"])
def test_an_impossible_key_is_refused_at_once(stand_in: StandIn, key: str) -> None:
    with Algorium(KEY, stand_in.address) as client, pytest.raises(ValueError, match="visible"):
        client.algo("demo/Hello").idempotent(key)


def kept(work_s: float = 300.0) -> Request:
    return Request(method="POST", path="/v1/algo/a/b", is_kept=True, work_s=work_s)


def test_a_call_under_way_is_waited_for_as_long_as_it_may_take() -> None:
    outcome = Response(status=409, headers={"retry-after": "1"})

    def pause(elapsed_s: float) -> Pause | None:
        return RetryPolicy().pause(
            attempt=200, request=kept(), outcome=outcome, elapsed_s=elapsed_s
        )

    assert pause(299) == Pause(shortest_s=1.0, longest_s=1.2)
    assert pause(300) is None


@pytest.mark.parametrize("outcome", [ConnectionFailed("no"), ConnectionLost("no")])
def test_a_server_that_is_started_anew_is_waited_for_but_not_for_ever(outcome: Any) -> None:
    pauses = []
    while pause := RetryPolicy().pause(attempt=len(pauses) + 1, request=kept(), outcome=outcome):
        pauses.append(pause.shortest_s)

    assert 10 < sum(pauses) < 60


def test_an_answer_of_the_algorithm_is_no_failure_on_the_way() -> None:
    answered = Response(status=504, headers={"server-timing": "run;dur=1"})

    assert RetryPolicy().pause(attempt=1, request=kept(), outcome=answered) is None
    assert RetryPolicy().pause(attempt=1, request=kept(), outcome=Response(status=504))


def test_a_name_that_is_taken_is_no_call_under_way() -> None:
    outcome = Response(status=409, headers={"retry-after": "1"})

    assert (
        RetryPolicy().pause(attempt=1, request=Request(method="POST", path="/"), outcome=outcome)
        is None
    )


@pytest.mark.parametrize("options", [["--retry"], ["--idempotency-key", "order-1"]])
def test_the_command_line_sends_again(
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    options: list[str],
) -> None:
    monkeypatch.setenv("ALGORITHMIA_API_KEY", KEY)
    monkeypatch.setenv("ALGORITHMIA_API", stand_in.address)
    stand_in.faults.append(Fault(drops=True))

    status = main(["run", "demo/Hello", "-d", "x", *options])

    assert (status, capfdbinary.readouterr().out.strip()) == (0, b"Hello x")
    assert len(set(keys_of(stand_in))) == 1


def test_the_command_line_refuses_an_impossible_key(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALGORITHMIA_API_KEY", KEY)
    monkeypatch.setenv("ALGORITHMIA_API", stand_in.address)

    assert main(["run", "demo/Hello", "-d", "x", "--idempotency-key", "a b"]) == 2
    assert "--idempotency-key" in capfd.readouterr().err


def test_unavailable_is_told_in_the_end(make_client: Any, stand_in: StandIn) -> None:
    body = b'{"error":{"code":5001,"message":"busy"}}'
    stand_in.faults += [Fault(status=503, headers={"Retry-After": "0"}, body=body)] * 20

    with pytest.raises(Unavailable):
        make_client().algo("demo/Hello").idempotent().pipe("x")

    assert len(keys_of(stand_in)) == 10
