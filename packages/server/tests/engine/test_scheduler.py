"""When the pool grows, what it gives up, and when it stops trying."""

from hypothesis import given
from hypothesis import strategies as st

from algorium_server.engine import scheduler
from algorium_server.engine.scheduler import IdleSlot, PoolView


def view(**changes: float) -> PoolView:
    values = {
        "waiting": 1,
        "stalled_s": 0.0,
        "starting": 0,
        "busy": 0,
        "run_s": 0.001,
        "start_s": 0.2,
        "slots_max": 4,
    }
    return PoolView(**{**values, **changes})  # type: ignore[arg-type]  # floats and counts mixed


def test_the_first_slot_starts_at_once() -> None:
    assert scheduler.should_grow(view())


def test_one_start_serves_one_waiting_call() -> None:
    assert not scheduler.should_grow(view(starting=1))


def test_short_calls_wait_for_the_slot_that_exists() -> None:
    assert not scheduler.should_grow(view(waiting=60, busy=1))


def test_long_calls_get_another_slot() -> None:
    assert scheduler.should_grow(view(waiting=1, busy=1, run_s=3.0))


def test_an_unmeasured_long_call_gets_another_slot_once_the_queue_stalls_for_a_start() -> None:
    assert not scheduler.should_grow(view(busy=1, run_s=0.0, stalled_s=0.1))
    assert scheduler.should_grow(view(busy=1, run_s=0.0, stalled_s=0.3))


@given(
    waiting=st.integers(0, 100),
    starting=st.integers(0, 10),
    busy=st.integers(0, 10),
    stalled_s=st.floats(0, 1000),
    run_s=st.floats(0, 1000),
)
def test_the_maximum_is_never_exceeded(
    waiting: int, starting: int, busy: int, stalled_s: float, run_s: float
) -> None:
    seen = view(waiting=waiting, starting=starting, busy=busy, stalled_s=stalled_s, run_s=run_s)

    assert not (scheduler.should_grow(seen) and starting + busy >= seen.slots_max)
    assert not (scheduler.should_grow(seen) and waiting <= starting)


@given(st.lists(st.floats(0, 1e6), max_size=20))
def test_the_least_recently_used_slot_is_given_up(since: list[float]) -> None:
    idle = [IdleSlot(number=number, idle_since=at) for number, at in enumerate(since)]

    chosen = scheduler.victim(idle)

    assert (chosen is None) == (not since)
    assert chosen is None or chosen.idle_since == min(since)


def test_slots_expire_after_their_idle_time() -> None:
    idle = [IdleSlot(number=1, idle_since=0.0), IdleSlot(number=2, idle_since=50.0)]

    assert scheduler.expired(idle, now=100.0, idle_s=60.0) == [idle[0]]


def test_three_failures_in_a_minute_pause_for_half_a_minute() -> None:
    assert not scheduler.is_paused([0.0, 1.0], now=2.0)
    assert scheduler.is_paused([0.0, 1.0, 2.0], now=3.0)
    assert not scheduler.is_paused([0.0, 1.0, 2.0], now=33.0)
    assert not scheduler.is_paused([0.0, 40.0, 80.0], now=81.0)
