"""The limits callers were promised, and how the limits hang together."""

import re

import pytest

from algorium_server.domain import limits

# The unit, then what kind of limit; a plain _MAX counts things.
UNIT = re.compile(r"_(BYTES|S|CHARS|MAX)(_MAX|_MIN|_DEFAULT|_FIRST)?$")
LIMITS = {name: value for name, value in vars(limits).items() if name.isupper() and name != "MIB"}


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_a_positive_number_with_its_unit_in_its_name(name):
    assert UNIT.search(name)
    assert isinstance(LIMITS[name], int | float)
    assert LIMITS[name] > 0


def test_the_promised_limits_of_a_call():
    assert limits.CALL_INPUT_BYTES_MAX == 10_485_760
    assert limits.CALL_OUTPUT_BYTES_MAX == 15_000_000
    assert limits.CALL_TIMEOUT_S_DEFAULT == 300
    assert limits.CALL_TIMEOUT_S_MAX == 3000
    assert limits.CALLS_IN_FLIGHT_PER_ACCOUNT_MAX == 80
    assert limits.CHILD_CALLS_PER_TREE_MAX == 24


def test_a_slot_has_room_to_say_that_a_result_is_too_large():
    assert limits.SLOT_BODY_BYTES_MAX > limits.CALL_INPUT_BYTES_MAX
    assert limits.SLOT_BODY_BYTES_MAX > limits.CALL_OUTPUT_BYTES_MAX


def test_a_call_past_its_deadline_ends_within_three_seconds():
    assert limits.CALL_KILL_GRACE_S < 3
