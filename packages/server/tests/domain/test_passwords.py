"""Passwords: their form, and the end of guessing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import (
    PASSWORD_BYTES_MAX,
    PASSWORD_CHARS_MIN,
    PASSWORD_FAILURES_MAX,
    PASSWORD_FAILURES_S,
)
from algorium_server.domain.passwords import Allowance, check_password, counted_as


@pytest.mark.parametrize(
    "password",
    ["", "x" * (PASSWORD_CHARS_MIN - 1), "x" * (PASSWORD_BYTES_MAX + 1), "ü" * 600, "\ud800" * 20],
)
def test_a_password_has_a_length(password):
    with pytest.raises(InvalidInput) as refusal:
        check_password(password)

    assert not password or password not in refusal.value.message


def test_a_password_of_any_characters_is_fine():
    assert check_password("  ünïcode and spaces  ") == "  ünïcode and spaces  "


def test_after_some_wrong_passwords_one_waits_for_each_more():
    allowance = Allowance(PASSWORD_FAILURES_MAX)
    forgotten_at = 0.0
    for _ in range(PASSWORD_FAILURES_MAX):
        assert not allowance.wait_s(forgotten_at, now=1000.0)
        forgotten_at = allowance.after_failure(forgotten_at, now=1000.0)

    step_s = PASSWORD_FAILURES_S / PASSWORD_FAILURES_MAX
    assert allowance.wait_s(forgotten_at, now=1000.0) == step_s
    assert not allowance.wait_s(forgotten_at, now=1000.0 + step_s)
    again = allowance.after_failure(forgotten_at, now=1000.0 + step_s)
    assert allowance.wait_s(again, now=1000.0 + step_s) == step_s
    assert again == 1000.0 + step_s + PASSWORD_FAILURES_S


@given(st.integers(1, 200), st.lists(st.floats(0, 400), max_size=300))
def test_so_many_are_taken_in_a_while_and_nobody_waits_for_long(failures_max, pauses):
    allowance = Allowance(failures_max)
    forgotten_at = now = 0.0
    taken = []
    for pause in pauses:
        now += pause
        wait_s = allowance.wait_s(forgotten_at, now=now)
        assert wait_s <= allowance.step_s + 1e-6
        if not wait_s:
            forgotten_at = allowance.after_failure(forgotten_at, now=now)
            taken.append(now)

    for first, last in zip(taken, taken[2 * failures_max + 1 :], strict=False):
        assert last - first > PASSWORD_FAILURES_S - 1e-6


def test_a_name_counts_in_any_case_and_not_longer_than_names_are():
    assert counted_as("Jane") == "jane"
    assert counted_as(" Jane@Example.com ") == "jane@example.com"
    assert len(counted_as("x" * 10_000)) < 300
