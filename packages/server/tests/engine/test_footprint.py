"""What a slot is expected to need."""

import hypothesis.strategies as st
from hypothesis import given

from algorium_server.domain.limits import MIB, SLOT_MEMORY_BYTES_MIN, SLOT_MEMORY_GUESS_BYTES
from algorium_server.engine.footprint import Footprint

LIMIT = 2048 * MIB


def footprint(*, limit_bytes: int = LIMIT, is_strict: bool = False) -> Footprint:
    return Footprint(limit_bytes=limit_bytes, is_strict=is_strict)


def test_before_one_was_seen_it_is_a_guess_and_never_more_than_the_limit() -> None:
    assert footprint().expected_bytes() == SLOT_MEMORY_GUESS_BYTES
    assert footprint(limit_bytes=64 * MIB).expected_bytes() == 64 * MIB


def test_what_was_seen_is_expected_with_a_margin() -> None:
    seen = footprint()
    seen.learn(400 * MIB)
    assert seen.expected_bytes() == 500 * MIB
    assert seen.expected_bytes(used_bytes=800 * MIB) == 1000 * MIB


def test_a_giant_is_forgotten_in_the_course_of_time() -> None:
    seen = footprint()
    seen.learn(1600 * MIB)
    for _ in range(60):
        seen.learn(40 * MIB)
    assert seen.expected_bytes() < 64 * MIB


def test_strictly_it_is_the_limit_whatever_was_seen() -> None:
    seen = footprint(is_strict=True)
    seen.learn(1)
    assert seen.expected_bytes() == LIMIT


@given(st.lists(st.integers(0, 8 * LIMIT)), st.integers(0, 8 * LIMIT))
def test_it_is_never_nothing_and_never_beyond_the_limit(seen: list[int], used: int) -> None:
    expected = footprint()
    for each in seen:
        expected.learn(each)
    assert SLOT_MEMORY_BYTES_MIN <= expected.expected_bytes(used_bytes=used) <= LIMIT
