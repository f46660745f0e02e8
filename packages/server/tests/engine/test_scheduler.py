"""
The scheduler in invented time: whatever happens, in whatever order, nobody is forgotten.

`simulation.py` checks after every step that no slot has two calls or serves an account it must
not, that nothing starts beyond what the machine has, and that all that is counted is counted
right. Here we say what happens, and check who gets what.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from simulation import TICK_S, SimulatedCall, Simulation, load_failure, program

from algorium_server.domain.errors import TooManyRequests, Unavailable
from algorium_server.domain.limits import (
    CHILD_CALLS_PER_TREE_MAX,
    MIB,
    NESTED_SLOTS_MAX,
    QUEUE_BYTES_MAX,
)
from algorium_server.engine import queues, room
from algorium_server.engine.claims import Reservation
from algorium_server.engine.flights import Flight, LoadFailed
from algorium_server.engine.pools import SlotState
from algorium_server.engine.program import Program
from algorium_server.engine.room import EngineLimits

PROGRAMS = {
    "one": program("one"),
    "two": program("two", slots_max=1),
    "large": program("large"),
    "shared": program("shared", is_shared=True),
}


EVENTS = {
    "calls": 6,
    "calls_from_inside": 5,
    "ends": 5,
    "starts": 6,
    "slots_are_gone": 4,
    "time": 5,
    "gives_up": 1,
    "start_fails": 1,
    "dies_between_calls": 1,
    "sweep": 1,
    "drain": 1,
    "memory": 1,
    "reserve": 1,
}
"""Methods of `Events`, and how often each happens in a storm."""
Choose = Callable[[Sequence[Any]], Any]
"""Picks one; Hypothesis does, or a random number."""


class Events:
    """What may happen: accounts, calls from outside and from inside, failures, and time."""

    def __init__(
        self,
        choose: Choose,
        *,
        slots_max: int,
        per_pool: int,
        nested_max: int,
        memory_mib: int | None,
    ) -> None:
        self.choose = choose
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(room, "NESTED_SLOTS_MAX", nested_max)
        self.world = Simulation(
            EngineLimits(
                slots_max=slots_max,
                slots_per_pool_max=per_pool,
                memory_bytes=None if memory_mib is None else memory_mib * MIB,
            ),
            needs={"large": 200 * MIB},
        )

    @property
    def running(self) -> list[SimulatedCall]:
        return [call for call in self.world.calls if call.slot is not None]

    def calls(self) -> None:
        program, account = PROGRAMS[self.choose(sorted(PROGRAMS))], self.choose("abc")
        timeout_s = self.choose([1.0, 1e6, 1e6, 1e6])
        for _ in range(self.choose([1, 2, 4])):
            with suppress(LoadFailed, TooManyRequests, Unavailable):
                self.world.call(program, account, timeout_s=timeout_s)

    def calls_from_inside(self) -> None:
        if not self.running:
            return
        parent, program = self.choose(self.running), PROGRAMS[self.choose(sorted(PROGRAMS))]
        for _ in range(self.choose([1, 1, 3])):
            if _tree_size(self.world, parent) <= CHILD_CALLS_PER_TREE_MAX:
                with suppress(LoadFailed, TooManyRequests, Unavailable):
                    self.world.call(program, parent.flight.account_id, parent=parent)

    def ends(self) -> None:
        for _ in range(self.choose([1, 2, 5])):
            leaves = [call for call in self.running if not call.children]
            if leaves:
                self.world.finish(self.choose(leaves), dies=self.choose([False, False, True]))

    def gives_up(self) -> None:
        waiting = [call for call in self.world.calls if call.is_waiting]
        if waiting:
            self.world.leave(self.choose(waiting))

    def starts(self) -> None:
        for seat in tuple(self.world.starts):
            self.world.end_start(seat)

    def start_fails(self) -> None:
        if self.world.starts:
            error = self.choose([Unavailable("no sandbox"), load_failure()])
            self.world.fails = lambda _seat: error
            self.world.end_start(self.choose(list(self.world.starts)))
            self.world.fails = lambda _seat: None

    def slots_are_gone(self) -> None:
        for seat in tuple(self.world.ends):
            self.world.end_end(seat)

    def dies_between_calls(self) -> None:
        idle = [s for s in self.world.scheduler.seats() if s.state is SlotState.READY]
        if idle:
            self.world.die_idle(self.choose(idle))

    def time(self) -> None:
        self.world.now += self.choose([0.02, 0.02, 0.3, 40.0])
        self.world.scheduler.tick()
        for call in self.world.calls:
            assert not call.is_waiting or self.world.now < call.flight.deadline_at

    def sweep(self) -> None:
        self.world.now += self.choose([15.0, 15.0, self.world.limits.idle_s])
        self.world.scheduler.tick()
        self.world.scheduler.sweep()

    def drain(self) -> None:
        self.world.drain(self.choose(sorted(PROGRAMS)))

    def memory(self) -> None:
        self.world.has_free_memory = self.choose([True, True, False])
        seats = [s for s in self.world.scheduler.seats() if s.slot is not None]
        if seats:
            self.world.scheduler.observed(self.choose(seats), self.choose([10, 100, 700]) * MIB)

    def reserve(self) -> None:
        wanted = PROGRAMS[self.choose(["one", "shared"])]
        slots = self.choose([0, 1, 2])
        reservation = Reservation(program=wanted, flight=_keeper("a"), slots=slots)
        self.world.scheduler.reserve([reservation] if slots else [])

    def come_to_an_end(self) -> None:
        """Everybody is answered in the end, long before any deadline."""
        world = self.world
        world.has_free_memory = True
        world.scheduler.reserve([])
        patient = [call for call in world.calls if call.flight.deadline_at > world.now + 1e5]
        for call in world.calls:
            call.run_s = 0.05
        world.run(120.0, until=lambda: not world.calls)
        assert not world.calls, "somebody waits for ever"
        errors = {type(call.error) for call in patient}
        assert errors <= {type(None), TooManyRequests, LoadFailed}, "refused although there is room"
        world.run(1.0)
        world.now += world.limits.idle_s
        world.scheduler.sweep()
        world.run(1.0)
        assert world.scheduler.counts() == dict.fromkeys(world.scheduler.counts(), 0)
        assert world.scheduler.room.memory_bytes == 0


LIMITS = {
    "slots_max": st.integers(1, 5),
    "per_pool": st.integers(1, 4),
    "nested_max": st.sampled_from([1, 2, 24]),
    "memory_mib": st.sampled_from([None, None, 700, 3000]),
}


class Machine(RuleBasedStateMachine):
    """Events as Hypothesis chooses them."""

    events: Events

    @initialize(data=st.data(), **LIMITS)
    def begin(self, data: st.DataObject, **limits: Any) -> None:
        self.events = Events(lambda among: data.draw(st.sampled_from(among)), **limits)

    @rule(data=st.data(), name=st.sampled_from(sorted(EVENTS)))
    def event(self, data: st.DataObject, name: str) -> None:
        self.events.choose = lambda among: data.draw(st.sampled_from(among))
        getattr(self.events, name)()

    @invariant()
    def all_is_counted(self) -> None:
        if hasattr(self, "events"):
            self.events.world.check()

    def teardown(self) -> None:
        if hasattr(self, "events"):
            self.events.come_to_an_end()
            self.events.patch.undo()


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@given(seed=st.integers(0, 1 << 32), **LIMITS)
@settings(max_examples=40, deadline=None)
def test_nobody_is_forgotten_in_a_storm(seed: int, **limits: Any) -> None:
    """The same events, many more of them, by their weights: less to read, but all that happens."""
    random = Random(seed)
    events = Events(random.choice, **limits)
    for name in random.choices(list(EVENTS), list(EVENTS.values()), k=200):
        getattr(events, name)()
        events.world.check()
    events.come_to_an_end()
    events.patch.undo()


def _tree_size(world: Simulation, call: SimulatedCall) -> int:
    tree_id = call.flight.tree_id or call.flight.call_id
    return sum(tree_id in {c.flight.tree_id, c.flight.call_id} for c in world.calls)


def _keeper(account: str) -> Flight:
    return Flight(account_id=account, inside=_nobody, deadline_at=float("inf"))


def _nobody() -> Any:
    raise AssertionError("nobody asks")


def simulation(**limits: Any) -> Simulation:
    return Simulation(EngineLimits(**limits))


def warmed(world: Simulation, key: str = "one", account: str = "a", *, slots: int = 1) -> Program:
    """Return a program of which slots are warm."""
    found = PROGRAMS[key]
    calls = [world.call(found, account, run_s=5.0) for _ in range(slots)]
    world.run(60.0, until=lambda: all(call.slot for call in calls))
    for call in calls:
        world.finish(call)
    return found


def states(world: Simulation, key: str | None = None) -> list[str]:
    """Return the states of all slots, or of those of a program."""
    seats = world.scheduler.seats()
    return sorted(s.state.value for s in seats if key in {None, s.pool.program.key})


# Accounts


@pytest.mark.parametrize("slots_max", [1, 2, 8])
@pytest.mark.parametrize("is_warm", [False, True])
def test_a_flood_delays_a_stranger_by_less_than_two_slot_times(
    slots_max: int, is_warm: bool
) -> None:
    world = simulation(slots_max=slots_max)
    if is_warm and slots_max > 1:
        warmed(world, account="b")
    flood = [world.call(PROGRAMS["one"], "a", run_s=0.05) for _ in range(200)]
    world.run(1.0)
    assert len([call for call in flood if call.is_waiting]) > 20

    single = world.call(PROGRAMS["one"], "b", run_s=0.05)
    world.run(5.0, until=lambda: single.is_over)

    alone_s = 0.0 if is_warm and slots_max > 1 else world.start_s
    assert single.waited_s - alone_s < 2 * 0.05


def test_two_floods_get_half_of_the_machine_each() -> None:
    world = simulation(slots_max=4)
    ended = {"a": 0, "b": 0}
    for account in ended:
        for _ in range(900):
            world.call(PROGRAMS["one"], account, run_s=0.2)
    world.run(2.0)
    world.run(20.0)

    by_account = [call.flight.account_id for call in world.calls if call.slot]
    assert (by_account.count("a"), by_account.count("b")) == (2, 2)
    assert world.slots_started <= 8


def test_accounts_that_share_one_slot_take_turns_that_are_worth_a_start() -> None:
    world = simulation(slots_max=1)
    calls = {
        account: [world.call(PROGRAMS["one"], account, run_s=0.05) for _ in range(800)]
        for account in ("a", "b")
    }
    world.run(60.0)

    done = {account: sum(call.is_over for call in made) for account, made in calls.items()}
    assert min(done.values()) > 300
    assert abs(done["a"] - done["b"]) < 100
    assert world.slots_started < 40


def test_one_account_shares_its_slots_among_its_versions() -> None:
    world = simulation(slots_max=2)
    for _ in range(200):
        world.call(PROGRAMS["one"], run_s=0.05)
    world.run(1.0)
    other = world.call(PROGRAMS["large"], run_s=0.05)
    world.run(5.0, until=lambda: other.is_over)

    assert other.waited_s - world.start_s < 0.1


def test_what_others_used_a_moment_ago_is_safe_from_who_has_more() -> None:
    world = simulation(slots_max=4)
    warmed(world, account="b")
    warmed(world, account="c")
    for _ in range(500):
        world.call(PROGRAMS["one"], "a", run_s=1.0)
    world.run(5.0)

    assert states(world) == ["busy", "busy", "ready", "ready"]

    world.run(40.0, until=lambda: states(world) == ["busy"] * 4)
    assert states(world) == ["busy"] * 4


# Slots that several accounts share


def test_in_a_shared_line_it_is_the_turn_of_who_used_least() -> None:
    world = simulation(slots_max=1)
    shared = warmed(world, "shared")
    flood = [world.call(shared, "a", run_s=0.05) for _ in range(100)]
    world.run(0.5)
    single = world.call(shared, "b", run_s=0.05)
    world.run(5.0, until=lambda: single.is_over)

    assert single.waited_s <= 0.05
    assert world.slots_started == 1
    assert any(call.is_waiting for call in flood)


def test_long_and_short_calls_in_one_line_get_the_same_time() -> None:
    world = simulation(slots_max=1)
    shared = warmed(world, "shared")
    long = [world.call(shared, "a", run_s=1.0) for _ in range(30)]
    short = [world.call(shared, "b", run_s=0.1) for _ in range(300)]
    world.run(20.0)

    assert 8 <= sum(call.is_over for call in long) <= 12
    assert 80 <= sum(call.is_over for call in short) <= 120


def test_who_fills_a_shared_line_makes_place_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "QUEUE_CALLS_MAX", 10)
    world = simulation(slots_max=1)
    shared = warmed(world, "shared")
    flood = [world.call(shared, "a", run_s=1.0) for _ in range(11)]
    with pytest.raises(TooManyRequests) as refused:
        world.call(shared, "a")
    other = world.call(shared, "b")

    assert refused.value.retry_after_s == 1
    assert isinstance(flood[-1].error, TooManyRequests)
    assert flood[-1].error.retry_after_s == 1
    assert other.is_waiting


def test_inputs_in_a_line_are_bounded_by_their_bytes() -> None:
    world = simulation(slots_max=1)
    one = warmed(world)
    world.call(one, run_s=10.0)
    for _ in range(12):
        world.call(one, input_bytes=QUEUE_BYTES_MAX // 12)

    with pytest.raises(TooManyRequests) as refused:
        world.call(one, input_bytes=QUEUE_BYTES_MAX // 12)
    assert refused.value.retry_after_s == 1


# Calls from inside


def test_parents_that_hold_every_slot_get_their_children_run() -> None:
    world = simulation(slots_max=3)
    parents = [world.call(PROGRAMS["one"], f"{n}", run_s=0.05) for n in range(3)]
    world.run(10.0, until=lambda: all(call.slot for call in parents))
    for parent in parents:
        world.call(PROGRAMS["two"], parent.flight.account_id, parent=parent, run_s=0.05)
    world.run(2.0)

    assert not world.calls
    assert not [call for call in parents if call.error]


def test_many_deep_trees_at_once_all_come_to_an_end() -> None:
    world = simulation(slots_max=8, memory_bytes=2048 * MIB)
    trees = 8
    leaves = [world.call(PROGRAMS["one"], f"{n}", run_s=0.05) for n in range(trees)]
    every = list(leaves)
    for _ in range(10):
        world.run(0.5)
        deeper = []
        for leaf in leaves:
            if leaf.slot is not None:
                account = leaf.flight.account_id
                deeper.append(world.call(PROGRAMS["one"], account, parent=leaf, run_s=0.05))
        leaves = deeper or leaves
        every += deeper
    world.run(60.0, until=lambda: not world.calls)

    assert not world.calls
    assert not [call for call in every if isinstance(call.error, TimeoutError)]
    refused = [call for call in every if isinstance(call.error, TooManyRequests)]
    assert len(refused) < trees, "some tree got through whole"


def test_a_call_for_which_there_can_be_no_slot_is_refused_at_once() -> None:
    world = simulation(slots_max=1, slots_per_pool_max=30)
    chain = world.call(PROGRAMS["one"], "a", run_s=30.0)
    world.run(1.0)
    for _ in range(NESTED_SLOTS_MAX):
        world.run(0.5)
        assert chain.slot is not None
        chain = world.call(PROGRAMS["one"], "a", parent=chain, run_s=30.0)
    world.run(1.0)
    assert chain.slot is not None
    last = world.call(PROGRAMS["two"], "a", parent=chain)
    world.run(0.5)

    assert isinstance(last.error, TooManyRequests)
    assert chain.slot is not None
    assert world.now < chain.flight.deadline_at - 200


def test_the_maximum_of_a_version_gives_way_only_to_what_waits_for_itself() -> None:
    world = simulation(slots_max=8)
    root = world.call(PROGRAMS["one"], run_s=0.05)
    world.run(1.0)
    first = world.call(PROGRAMS["two"], parent=root, run_s=3.0)
    world.run(1.0)
    second = world.call(PROGRAMS["two"], parent=root, run_s=0.05)
    world.run(0.5)
    assert second.is_waiting, "the first one will end by itself"

    third = world.call(PROGRAMS["two"], parent=first, run_s=0.05)
    world.run(0.5)
    assert third.is_over
    assert third.error is None


# Memory


def test_what_is_expected_never_exceeds_the_budget_and_is_learned() -> None:
    world = simulation(slots_max=64, memory_bytes=1024 * MIB)
    for n in range(20):
        world.call(PROGRAMS["one"], f"{n}", run_s=0.5)
    world.run(0.1)
    assert world.scheduler.counts()["starting"] <= 4

    world.run(30.0, until=lambda: not world.calls)

    assert not world.calls
    assert world.scheduler.counts()["idle"] > 8, "50 MiB each, once it is known"


def test_limits_are_booked_where_memory_is_strict() -> None:
    world = simulation(memory_bytes=4096 * MIB, is_memory_strict=True)
    with pytest.raises(Unavailable, match="4000 MiB"):
        world.call(program("huge", memory_bytes=4000 * MIB))

    for n in range(5):
        world.call(program("half", memory_bytes=1024 * MIB), f"{n}", run_s=1.0)
    world.run(0.5)
    assert states(world) == ["busy"] * 3


def test_nothing_starts_while_the_machine_is_short_and_hope_ends_in_an_answer() -> None:
    world = simulation()
    world.has_free_memory = False
    call = world.call(PROGRAMS["one"])
    world.run(1.0)
    assert call.is_waiting

    world.run(10.0)
    assert isinstance(call.error, Unavailable)


def test_slots_that_grow_beyond_the_budget_cost_idle_ones() -> None:
    world = simulation(memory_bytes=1024 * MIB)
    for n in range(4):
        warmed(world, account=f"{n}")
    for seat in world.scheduler.seats():
        world.scheduler.observed(seat, 300 * MIB)
    world.scheduler.sweep()
    world.run(0.1)

    assert len(states(world)) == 2


# Warm slots


def test_reserved_slots_start_by_themselves_and_are_never_evicted() -> None:
    world = simulation(slots_max=4)
    reserved = Reservation(program=PROGRAMS["two"], flight=_keeper("a"), slots=1)
    world.scheduler.reserve([reserved])
    world.run(1.0)
    assert states(world, "two") == ["ready"]

    for _ in range(50):
        world.call(PROGRAMS["one"], "b", run_s=1.0)
    world.run(60.0)
    world.now += 3600
    world.scheduler.sweep()
    assert states(world, "two") == ["ready"]

    world.die_idle(next(s for s in world.scheduler.seats() if s.pool.program.key == "two"))
    world.run(2.0)
    assert states(world, "two") == ["ready"]

    world.scheduler.reserve([])
    world.now += 3600
    world.scheduler.sweep()
    world.run(1.0)
    assert states(world, "two") == []


def test_reservations_leave_half_of_the_machine_to_others() -> None:
    world = simulation(slots_max=4, slots_per_pool_max=8)
    world.scheduler.reserve(
        Reservation(program=PROGRAMS["one"], flight=_keeper(account), slots=3)
        for account in ("a", "b")
    )
    world.run(5.0)

    assert states(world) == ["ready", "ready"]


def test_idle_slots_go_after_their_time_and_the_pool_with_them() -> None:
    world = simulation()
    warmed(world, slots=2)
    world.now += world.limits.idle_s
    world.scheduler.sweep()
    world.run(0.1)
    world.scheduler.sweep()

    assert states(world) == []
    assert world.scheduler.counts() == dict.fromkeys(world.scheduler.counts(), 0)


def test_a_drained_slot_finishes_its_call_and_is_replaced_by_another() -> None:
    world = simulation(slots_max=4)
    one = warmed(world, slots=2)
    world.scheduler.reserve([Reservation(program=one, flight=_keeper("a"), slots=1)])
    busy = world.call(one, run_s=3.0)
    old = world.scheduler.seats()
    world.drain("one")
    assert states(world) == ["dead", "draining", "starting"]

    late = world.call(one, run_s=0.05)
    world.run(2.0)
    assert late.is_over
    assert busy.slot is not None

    world.run(2.0)
    assert busy.is_over
    assert not set(old) & set(world.scheduler.seats())
    assert states(world) == ["ready"]


# Failures


def test_a_start_that_failed_is_tried_once_more() -> None:
    world = simulation()
    failures: list[Exception | None] = [None, Unavailable("no sandbox")]
    world.fails = lambda _seat: failures.pop()
    call = world.call(PROGRAMS["one"])
    world.run(1.0)
    assert call.is_over
    assert call.error is None

    failures[:] = [Unavailable("still none"), Unavailable("no sandbox")]
    call = world.call(PROGRAMS["one"], "b")
    world.run(1.0)
    assert str(call.error) == "still none"


def test_failed_loads_are_answered_from_memory_after_a_few_then_tried_again() -> None:
    world = simulation()
    starts = []
    world.fails = lambda seat: starts.append(seat) or load_failure()
    for _ in range(3):
        call = world.call(PROGRAMS["one"])
        world.run(1.0)
        assert isinstance(call.error, LoadFailed)
    assert len(starts) == 3

    for _ in range(5):
        with pytest.raises(LoadFailed):
            world.call(PROGRAMS["one"])
    world.run(31.0)
    world.call(PROGRAMS["one"])
    world.run(1.0)

    assert len(starts) == 4


def test_a_slot_that_was_killed_while_it_loaded_says_nothing_about_the_next() -> None:
    world = simulation()
    failures: list[Exception] = [load_failure(was_killed=True)]
    world.fails = lambda _seat: failures.pop() if failures else None
    call = world.call(PROGRAMS["one"])
    world.run(1.0)
    assert call.is_over
    assert call.error is None

    for account in "bcd":
        failures[:] = [load_failure(was_killed=True), load_failure(was_killed=True)]
        call = world.call(PROGRAMS["one"], account)
        world.run(1.0)
        assert isinstance(call.error, LoadFailed)
    call = world.call(PROGRAMS["one"], "d")
    world.run(1.0)

    assert call.is_over
    assert call.error is None


def test_who_waits_for_the_last_slot_of_a_broken_program_hears_of_it() -> None:
    world = simulation(slots_max=4)
    one = warmed(world)
    running = world.call(one, run_s=20.0)
    world.fails = lambda _seat: load_failure()
    waiting = world.call(one)
    world.run(6.0)
    assert waiting.is_waiting
    assert world.slots_started == 1

    world.finish(running, dies=True)
    world.run(0.1)
    assert isinstance(waiting.error, LoadFailed)


def test_closing_refuses_who_waits_and_hands_nothing_out() -> None:
    world = simulation(slots_max=1)
    one = warmed(world)
    running = world.call(one, run_s=5.0)
    waiting = world.call(one)
    world.scheduler.close()
    assert isinstance(waiting.error, Unavailable)

    world.finish(running)
    assert states(world) == ["dead"]
    with pytest.raises(Unavailable):
        world.call(one)


@given(
    slots_max=st.integers(1, 6),
    versions=st.integers(1, 3),
    run_s=st.sampled_from([0.02, 0.05, 0.3]),
    before_s=st.floats(0.3, 2.0),
    memory_mib=st.sampled_from([None, 1200]),
)
@settings(max_examples=30, deadline=None)
def test_whoever_comes_new_waits_for_one_slot_at_most(
    slots_max: int, versions: int, run_s: float, before_s: float, memory_mib: int | None
) -> None:
    memory_bytes = None if memory_mib is None else memory_mib * MIB
    world = simulation(slots_max=slots_max, memory_bytes=memory_bytes)
    flood = [PROGRAMS[key] for key in ("one", "two", "large")[:versions]]
    for each in flood * 150:
        world.call(each, "a", run_s=run_s, input_bytes=1)
    world.run(before_s)
    single = world.call(PROGRAMS["one"], "b", run_s=0.05)
    world.run(10.0, until=lambda: single.is_over)

    starts_s = 2 * world.start_s  # its own, and one of a slot that then runs one call
    assert single.waited_s <= starts_s + run_s + world.end_s + 2 * TICK_S


def test_long_calls_of_one_account_leave_slots_for_others() -> None:
    world = simulation(slots_max=16)
    for key in ("one", "two", "large"):
        for _ in range(40):
            world.call(PROGRAMS[key], "a", run_s=3000.0)
    world.run(60.0)
    assert states(world) == ["busy"] * (8 + 1 + 5)

    others = [world.call(PROGRAMS["one"], account, run_s=3000.0) for account in "bcd"]
    world.run(1.0)
    assert [call.slot is not None for call in others] == [True, True, False]


def test_starts_that_hang_neither_keep_other_versions_from_starting_nor_their_room() -> None:
    world = simulation()
    hanging = program("hanging")
    world.start_s = 300.0
    lost = [world.call(hanging, timeout_s=1.0) for _ in range(8)]
    world.run(2.0)
    assert all(isinstance(call.error, TimeoutError) for call in lost)
    assert len(world.starts) >= 1

    world.start_s = 0.5
    other = world.call(program("other"), run_s=0.1)
    world.run(1.0)
    assert other.slot is not None or other.is_over

    world.run(30.0)
    world.scheduler.sweep()
    world.run(1.0)
    assert not world.starts
