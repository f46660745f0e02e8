"""Many inputs for one algorithm, through both clients."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from standin import KEY, Fault, StandIn

import algorium
from algorium import Algorium, AsyncAlgorium
from algorium._map import MapProgress


def holding(name: bytes) -> Callable[[Any], bool]:
    return lambda request: request.body == name


def test_results_come_in_the_order_of_the_inputs(client: Any, stand_in: StandIn) -> None:
    words = [f"w{number}" for number in range(60)]

    found = list(client.algo("demo/Hello").map(words, concurrency=7))

    assert [response.result for response in found] == [f"Hello {word}" for word in words]
    assert 1 <= stand_in.connections <= 7


def test_no_input_is_no_call(client: Any, stand_in: StandIn) -> None:
    assert list(client.algo("demo/Hello").map([])) == []
    assert stand_in.requests == []


def test_nothing_is_sent_before_the_first_result_is_asked_for(stand_in: StandIn) -> None:
    with Algorium(KEY, stand_in.address) as client:
        client.algo("demo/Hello").map(["x"])

    assert stand_in.requests == []


def test_the_first_failure_in_order_is_raised_and_says_where(
    client: Any, stand_in: StandIn
) -> None:
    values = ["a", "b", "c", "d"]
    stand_in.faults.append(Fault(status=500, when=holding(b"c")))

    with pytest.raises(algorium.InternalError) as caught:
        list(client.algo("demo/Hello").map(values, concurrency=2))

    assert "input: number 3, counted from 1" in caught.value.__notes__


def test_failures_take_the_place_of_results(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(Fault(status=500, when=holding(b"b")))
    told: list[MapProgress] = []

    found = list(
        client.algo("demo/Hello").map(
            ["a", "b", object()], concurrency=1, errors="return", progress=told.append
        )
    )

    assert [type(each) for each in found] == [
        algorium.AlgoResponse,
        algorium.InternalError,
        TypeError,
    ]
    assert told == [
        MapProgress(done=1, failed=0, total=3),
        MapProgress(done=2, failed=1, total=3),
        MapProgress(done=3, failed=2, total=3),
    ]


def test_a_call_that_is_refused_for_now_waits(
    make_client: Callable[..., Any], stand_in: StandIn
) -> None:
    stand_in.faults += [Fault(status=429, headers={"Retry-After": "0"})] * 5
    client = make_client(retries_max=0)

    found = list(client.algo("demo/Hello").map(["a", "b"], concurrency=1))

    assert [each.result for each in found] == ["Hello a", "Hello b"]
    assert len(stand_in.requests) == 7


def test_a_call_that_may_have_run_is_not_repeated(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(Fault(drops=True))

    (found,) = client.algo("demo/Hello").map(["a"], errors="return")

    assert isinstance(found, algorium.ConnectionLost)
    assert len(stand_in.requests) == 1


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"concurrency": 1001}, {"errors": "ignore"}])
def test_impossible_wishes_are_refused_at_once(stand_in: StandIn, wrong: Any) -> None:
    with Algorium(KEY, stand_in.address) as client, pytest.raises(ValueError, match="must be"):
        client.algo("demo/Hello").map(["x"], **wrong)


def test_endless_inputs_are_taken_as_they_are_needed(stand_in: StandIn) -> None:
    taken: list[int] = []
    threads: set[int] = set()

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            threads.add(threading.get_ident())
            taken.append(number)
            yield number

    with Algorium(KEY, stand_in.address) as client:
        results = client.algo("util/Echo").map(numbers(), concurrency=3)
        found = [response.result for response in itertools.islice(results, 10)]
        results.close()  # type: ignore[attr-defined]  # a generator

    assert found == list(range(10))
    assert len(taken) <= 10 + 2 * 3
    assert threads == {threading.get_ident()}


def test_calls_under_way_are_broken_off_when_nobody_asks_on(stand_in: StandIn) -> None:
    stand_in.faults += [Fault(stalls=True, when=holding(b"2"))]

    with Algorium(KEY, stand_in.address) as client:
        results = client.algo("util/Echo").map(["1", "2", "3"], concurrency=2)
        first = next(results)
        results.close()  # type: ignore[attr-defined]  # it would wait for five minutes

    assert first.result == "1"
    assert not [each for each in threading.enumerate() if each.name == "algorium-map"]


def test_tasks_are_cancelled_when_nobody_asks_on(stand_in: StandIn) -> None:
    stand_in.faults += [Fault(stalls=True, when=holding(b"2"))]

    async def inputs() -> AsyncIterator[str]:
        for word in ("1", "2", "3"):
            yield word

    async def work() -> tuple[Any, int]:
        async with AsyncAlgorium(KEY, stand_in.address) as client:
            results = client.algo("util/Echo").map(inputs(), concurrency=2)
            first = await anext(results)
            await results.aclose()  # type: ignore[attr-defined]  # a generator
            return first.result, len(asyncio.all_tasks())

    assert asyncio.run(work()) == ("1", 1)


def test_the_old_name_of_send_is_known(client: Any) -> None:
    assert client.algo("demo/Hello").pipe_async("x").request_id == "req-void"
