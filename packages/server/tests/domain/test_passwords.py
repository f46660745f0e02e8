"""Passwords: their form, and the end of guessing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import (
    PASSWORD_BYTES_MAX,
    PASSWORD_CHARS_MIN,
    PASSWORD_FAILURES_KEPT_MAX,
    PASSWORD_FAILURES_MAX,
    PASSWORD_FAILURES_PER_ACCOUNT_MAX,
    PASSWORD_FAILURES_S,
)
from algorium_server.domain.passwords import Failures, check_password


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


def test_after_some_wrong_passwords_one_waits():
    failures = Failures()
    for at in range(PASSWORD_FAILURES_MAX):
        assert not failures.wait_s("Jane", "here", now=at)
        failures.note("Jane", "here", now=at)

    now = float(PASSWORD_FAILURES_MAX)
    assert failures.wait_s("jane", "here", now=now) == PASSWORD_FAILURES_S - now
    assert not failures.wait_s("jane", "there", now=now)
    assert not failures.wait_s("john", "here", now=now)
    assert not failures.wait_s("jane", "here", now=PASSWORD_FAILURES_S)


def test_the_right_password_is_the_end_of_it():
    failures = Failures()
    for _ in range(PASSWORD_FAILURES_MAX):
        failures.note("jane", "here", now=0.0)
    failures.forget("JANE", "here")

    assert not failures.wait_s("jane", "here", now=0.0)


def test_many_addresses_together_are_stopped_as_well():
    failures = Failures()
    for number in range(PASSWORD_FAILURES_PER_ACCOUNT_MAX):
        failures.note("jane", str(number), now=0.0)

    assert failures.wait_s("jane", "another", now=1.0)


@given(st.lists(st.tuples(st.text(max_size=2), st.text(max_size=2)), max_size=30))
def test_it_never_waits_longer_than_failures_count(attempts):
    failures = Failures()
    for at, (name, address) in enumerate(attempts):
        failures.note(name, address, now=at)
        assert failures.wait_s(name, address, now=at) <= PASSWORD_FAILURES_S


def test_what_is_remembered_is_bounded():
    failures = Failures()
    for number in range(PASSWORD_FAILURES_KEPT_MAX):
        failures.note(f"u{number}", "here", now=0.0)

    assert len(failures._times) == PASSWORD_FAILURES_KEPT_MAX
