"""Whose turn it is, and who makes room for whom."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from algorium_server.engine import fairness
from algorium_server.engine.fairness import FairLine, Lane, Turn, Usage


@given(
    costs=st.lists(st.floats(0.01, 10.0), min_size=2, max_size=6),
    rounds=st.integers(20, 200),
)
def test_callers_with_work_get_the_same_time_whatever_their_calls_take(
    costs: list[float], rounds: int
) -> None:
    line: FairLine[tuple[int, int]] = FairLine()
    lanes: list[Lane[tuple[int, int]]] = [Lane(Turn(0.0)) for _ in costs]
    for index, lane in enumerate(lanes):
        for number in range(rounds):
            line.add(lane, (index, number), 1)
    used = dict.fromkeys(lanes, 0.0)
    while all(lane.calls for lane in lanes):
        call = line.first()
        assert call is not None
        lane, cost = lanes[call[0]], costs[call[0]]
        line.remove(lane, call)
        lane.turn.at += cost
        used[lane] += cost

        assert max(used.values()) - min(used.values()) <= max(costs) + 1e-6


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "serve", "leave"])), max_size=60
    )
)
def test_one_callers_calls_are_served_in_order_and_all_is_counted(
    events: list[tuple[str, str]],
) -> None:
    line: FairLine[tuple[str, int]] = FairLine()
    lanes: dict[str, Lane[tuple[str, int]]] = {name: Lane(Turn(0.0)) for name in "abc"}
    expected: dict[str, list[tuple[str, int]]] = {name: [] for name in "abc"}
    for number, (name, what) in enumerate(events):
        if what == "add":
            expected[name].append((name, number))
            line.add(lanes[name], (name, number), number)
        elif what == "leave" and expected[name]:
            line.remove(lanes[name], expected[name].pop())
        elif what == "serve" and (call := line.first()) is not None:
            assert call == expected[call[0]].pop(0)
            line.remove(lanes[call[0]], call)
            lanes[call[0]].turn.at += 1
        waiting = [call for calls in expected.values() for call in calls]
        assert sorted(line) == sorted(waiting)
        assert line.count == len(waiting)
        assert line.input_bytes == sum(size for _, size in waiting)


def test_the_longest_lane_goes_by_calls_or_by_bytes() -> None:
    line: FairLine[str] = FairLine()
    many: Lane[str] = Lane(Turn(0.0))
    large: Lane[str] = Lane(Turn(0.0))
    for name in ("one", "two"):
        line.add(many, name, 1)
    line.add(large, "three", 100)

    assert line.longest(by_bytes=False) is many
    assert line.longest(by_bytes=True) is large


def take_over(**changes: float) -> bool:
    values: dict[str, Any] = {
        "share_after": 0.5,
        "successor": 0.25,
        "successor_after": 0.5,
        "used_s": 10.0,
        "successor_used_s": 10.0,
    }
    return fairness.may_take_over(**{**values, **changes})


def test_room_goes_to_who_has_less_even_with_it() -> None:
    assert take_over(successor=0.5, successor_after=0.75)
    assert not take_over(share_after=0.75, successor_after=0.5, successor_used_s=1000.0)


def test_equals_take_turns_at_once_at_first_and_for_whole_quanta_later() -> None:
    assert take_over(used_s=0.0, successor_used_s=0.0)
    assert take_over(used_s=0.3, successor_used_s=0.6)
    assert not take_over(used_s=0.3, successor_used_s=0.5)
    assert take_over(used_s=40.0, successor_used_s=40.0 + fairness.QUANTUM_S)
    assert not take_over(used_s=40.0, successor_used_s=41.0)


@given(
    mine=st.floats(0, 100),
    theirs=st.floats(0, 100),
    share=st.floats(0, 1),
    unit=st.floats(0.01, 1),
)
def test_equals_never_take_from_each_other_both_ways(
    mine: float, theirs: float, share: float, unit: float
) -> None:
    """Otherwise a slot could go back and forth without ever running a call."""
    one = take_over(
        share_after=share + unit,
        successor=share,
        successor_after=share + unit,
        used_s=mine,
        successor_used_s=theirs,
    )
    other = take_over(
        share_after=share + unit,
        successor=share,
        successor_after=share + unit,
        used_s=theirs,
        successor_used_s=mine,
    )

    assert not (one and other) or mine == theirs == 0


def test_a_slot_used_a_moment_ago_is_safe_from_who_has_more() -> None:
    assert fairness.may_evict(owned=0, owner_owned=1, idle_s=0.0)
    assert not fairness.may_evict(owned=1, owner_owned=1, idle_s=0.0)
    assert fairness.may_evict(owned=5, owner_owned=1, idle_s=fairness.PROTECTED_IDLE_S)


def test_slot_time_fades() -> None:
    usage = Usage(0.0)
    usage.used_s = 8.0
    usage.fade(60.0)
    assert usage.used_s == 2.0
    usage.fade(60.0)
    assert usage.used_s == 2.0
