"""The rules of conditional requests, against the standard's table."""

from datetime import UTC, datetime, timedelta

import pytest

from algorium_server.domain.conditions import ANY, UNCONDITIONAL, Outcome, Preconditions

NOW = datetime(2026, 3, 29, 12, 0, 0, 250_000, tzinfo=UTC)
THEN = NOW.replace(microsecond=0)
BEFORE, AFTER = THEN - timedelta(seconds=1), THEN + timedelta(seconds=1)
GO_ON, NOT_MODIFIED, FAILED = Outcome.GO_ON, Outcome.NOT_MODIFIED, Outcome.FAILED
MINE, OTHER = frozenset({"a", "b"}), frozenset({"x"})


@pytest.mark.parametrize(
    ("demand", "reading", "writing", "absent"),
    [
        ({}, GO_ON, GO_ON, GO_ON),
        ({"match": MINE}, GO_ON, GO_ON, FAILED),
        ({"match": OTHER}, FAILED, FAILED, FAILED),
        ({"match": frozenset()}, FAILED, FAILED, FAILED),
        ({"match": ANY}, GO_ON, GO_ON, FAILED),
        ({"none_match": MINE}, NOT_MODIFIED, FAILED, GO_ON),
        ({"none_match": OTHER}, GO_ON, GO_ON, GO_ON),
        ({"none_match": ANY}, NOT_MODIFIED, FAILED, GO_ON),
        ({"unmodified_since": BEFORE}, FAILED, FAILED, GO_ON),
        ({"unmodified_since": THEN}, GO_ON, GO_ON, GO_ON),
        ({"modified_since": BEFORE}, GO_ON, GO_ON, GO_ON),
        ({"modified_since": THEN}, NOT_MODIFIED, GO_ON, GO_ON),
        ({"modified_since": AFTER}, NOT_MODIFIED, GO_ON, GO_ON),
        # The etag counts before the time that is sent with it for older servers.
        ({"match": MINE, "unmodified_since": BEFORE}, GO_ON, GO_ON, FAILED),
        ({"none_match": OTHER, "modified_since": AFTER}, GO_ON, GO_ON, GO_ON),
        ({"match": MINE, "none_match": MINE}, NOT_MODIFIED, FAILED, FAILED),
    ],
)
def test_outcomes(demand, reading, writing, absent):
    preconditions = Preconditions(**demand)
    there = {"etag": "a", "modified_at": NOW, "exists": True}

    assert preconditions.outcome(**there, is_reading=True) is reading
    assert preconditions.outcome(**there, is_reading=False) is writing
    nothing = {"etag": "", "modified_at": None, "exists": False}
    assert preconditions.outcome(**nothing, is_reading=False) is absent


def test_a_source_without_etags_and_times_meets_no_etag_but_any():
    there = {"etag": "", "modified_at": None, "exists": True, "is_reading": False}

    assert Preconditions(match=MINE).outcome(**there) is FAILED
    assert Preconditions(match=frozenset({""})).outcome(**there) is FAILED
    assert Preconditions(match=ANY).outcome(**there) is GO_ON
    assert Preconditions(unmodified_since=BEFORE).outcome(**there) is GO_ON
    assert UNCONDITIONAL.outcome(**there) is GO_ON
