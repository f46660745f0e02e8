"""When a pool grows, and when it stops trying."""

from hypothesis import given
from hypothesis import strategies as st

from algorium_server.engine import growth
from algorium_server.engine.growth import NestedView, PoolView


def view(**changes: float) -> PoolView:
    values = {
        "waiting": 1,
        "stalled_s": 0.0,
        "crowded_s": 0.0,
        "starting": 0,
        "busy": 0,
        "run_s": 0.001,
        "start_s": 0.2,
        "slots_max": 4,
    }
    return PoolView(**{**values, **changes})  # type: ignore[arg-type]  # floats and counts mixed


def test_the_first_slot_starts_at_once() -> None:
    assert growth.should_grow(view())


def test_one_start_serves_one_waiting_call() -> None:
    assert not growth.should_grow(view(starting=1))


def test_short_calls_wait_for_the_slot_that_exists() -> None:
    assert not growth.should_grow(view(waiting=60, busy=1))


def test_long_calls_get_another_slot() -> None:
    assert growth.should_grow(view(waiting=1, busy=1, run_s=3.0))


def test_a_queue_that_never_empties_gets_another_slot_unless_its_calls_are_brisk() -> None:
    crowd = {"waiting": 14, "busy": 1, "run_s": 0.005}
    assert not growth.should_grow(view(**crowd, crowded_s=0.1))
    assert growth.should_grow(view(**crowd, crowded_s=0.3))
    assert not growth.should_grow(view(**{**crowd, "run_s": 0.0001}, crowded_s=60.0))


def test_an_unmeasured_long_call_gets_another_slot_once_the_queue_stalls_for_a_start() -> None:
    assert not growth.should_grow(view(busy=1, run_s=0.0, stalled_s=0.1))
    assert growth.should_grow(view(busy=1, run_s=0.0, stalled_s=0.3))


@given(
    waiting=st.integers(0, 100),
    starting=st.integers(0, 10),
    busy=st.integers(0, 10),
    stalled_s=st.floats(0, 1000),
    crowded_s=st.floats(0, 1000),
    run_s=st.floats(0, 1000),
)
def test_the_maximum_is_never_exceeded(
    waiting: int, starting: int, busy: int, stalled_s: float, crowded_s: float, run_s: float
) -> None:
    seen = view(
        waiting=waiting,
        starting=starting,
        busy=busy,
        stalled_s=stalled_s,
        crowded_s=crowded_s,
        run_s=run_s,
    )

    assert not (growth.should_grow(seen) and starting + busy >= seen.slots_max)
    assert not (growth.should_grow(seen) and waiting <= starting)


def nested(**changes: float) -> NestedView:
    values = {
        "slots": 1,
        "waiting": 1,
        "stalled_s": 0.05,
        "starting": 0,
        "busy": 0,
        "slots_max": 2,
        "are_all_parents": False,
    }
    return NestedView(**{**values, **changes})  # type: ignore[arg-type]  # floats and counts mixed


def test_nested_calls_get_another_slot_when_their_line_does_not_move() -> None:
    assert growth.should_grow_for_nested(nested())
    assert not growth.should_grow_for_nested(nested(stalled_s=0.001))
    assert growth.should_grow_for_nested(nested(stalled_s=0.0, slots=0)), "nothing to wait for"
    assert not growth.should_grow_for_nested(nested(starting=1))


def test_the_maximum_holds_for_nested_calls_while_one_of_them_can_end() -> None:
    assert not growth.should_grow_for_nested(nested(busy=2))
    assert growth.should_grow_for_nested(nested(busy=2, are_all_parents=True))


def test_three_failures_in_a_minute_pause_for_half_a_minute() -> None:
    assert not growth.is_paused([0.0, 1.0], now=2.0)
    assert growth.is_paused([0.0, 1.0, 2.0], now=3.0)
    assert not growth.is_paused([0.0, 1.0, 2.0], now=33.0)
    assert not growth.is_paused([0.0, 40.0, 80.0], now=81.0)
