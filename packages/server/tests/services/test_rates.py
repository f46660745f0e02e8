"""Calls by minute: counted exactly, by one gateway and by several."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from algorium_server.services.calling.rates import OwnRates, RateTable, SharedRates

HAMMER = Path(__file__).with_name("rates_hammer.py")
LIMIT = 3
MINUTE = 1000


@pytest.fixture
def descriptor() -> int:
    return os.memfd_create("rates")  # the table keeps it


@pytest.fixture(params=["own", "shared"])
def rates(request: pytest.FixtureRequest) -> OwnRates | SharedRates:
    if request.param == "own":
        return OwnRates()
    return SharedRates(RateTable(request.getfixturevalue("descriptor"), buckets=2))


def test_a_minute_has_so_many_calls_and_the_next_one_as_many(rates):
    for minute in (MINUTE, MINUTE + 1, MINUTE + 7):
        assert [rates.count("jane", LIMIT, minute) for _ in range(5)] == [True] * 3 + [False] * 2
        assert rates.counted("jane", minute) == LIMIT


def test_accounts_do_not_count_for_one_another(rates):
    for number in range(8):
        assert rates.count(f"account {number}", 1, MINUTE)
        assert not rates.count(f"account {number}", 1, MINUTE)
    assert rates.counted("nobody", MINUTE) == 0
    assert not rates.count("jane", 0, MINUTE), "none at all"


def test_a_limit_that_was_changed_holds_at_once(rates):
    assert rates.count("jane", 1, MINUTE)
    assert not rates.count("jane", 1, MINUTE)
    assert rates.count("jane", 2, MINUTE)


def test_a_full_table_refuses_and_is_free_again_a_minute_later(descriptor: int):
    rates = SharedRates(RateTable(descriptor, buckets=1))
    assert all(rates.count(f"account {number}", 9, MINUTE) for number in range(8))

    assert not rates.count("one more", 9, MINUTE)
    assert rates.count("one more", 9, MINUTE + 1)
    assert rates.count("account 0", 9, MINUTE + 1)
    assert rates.counted("account 0", MINUTE + 1) == 1


def test_a_gateway_whose_clock_is_late_takes_nothing_from_the_new_minute(descriptor: int):
    table = RateTable(descriptor, buckets=1)
    early, late = SharedRates(table), SharedRates(table)
    for number in range(8):
        assert early.count(f"account {number}", 2, MINUTE + 1)

    assert not late.count("one more", 2, MINUTE)
    assert late.count("account 0", 2, MINUTE)
    assert not early.count("account 0", 2, MINUTE + 1)


@pytest.fixture
def shared_file() -> Iterator[int]:
    descriptor = os.memfd_create("rates")
    yield descriptor
    os.close(descriptor)


def test_several_processes_together_count_exactly(shared_file: int):
    limit = 2000
    command = [sys.executable, str(HAMMER), str(shared_file), str(limit), str(MINUTE)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    running = [
        subprocess.Popen(command, pass_fds=[shared_file], text=True, **pipes) for _ in range(3)
    ]
    try:
        for process in running:
            assert process.stdout.readline() == "ready\n"
        for process in running:
            process.stdin.write("go\n")
            process.stdin.flush()
        counted = [int(process.communicate()[0]) for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()

    assert sum(counted) == limit


def test_a_clock_that_was_turned_back_shuts_nobody_out(rates):
    assert rates.count("jane", 1, MINUTE + 60)
    assert not rates.count("jane", 1, MINUTE + 60)

    assert rates.count("jane", 1, MINUTE)
    assert not rates.count("jane", 1, MINUTE)
    assert rates.count("jane", 1, MINUTE + 1)
