"""Parts of files: what a header asks for, and what the server makes of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorium_server.api.ranges import content_range, no_such_range, parse_range
from algorium_server.data.connector import Span
from algorium_server.domain.errors import RangeNotSatisfiable


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-9", 0, 10),
        ("bytes=3-", 3, 10),
        ("bytes=3-99", 3, 10),
        ("bytes=-4", 6, 10),
        ("bytes=-99", 0, 10),
        (" BYTES = 2 - 5 ", 2, 6),
        ("bytes=9-99999999999999999999999", 9, 10),
        ("bytes=-99999999999999999999999", 0, 10),
    ],
)
def test_one_part_of_a_file_of_ten_bytes(text, start, end):
    assert parse_range(text, 10) == Span(start=start, end=end)


@pytest.mark.parametrize(
    "text",
    [
        "bytes=0-1,3-4",
        "bytes=5-2",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "items=0-1",
        "",
        "bytes=0-9" * 99,
        "bytes=٣-٤",
    ],
)
def test_what_is_no_single_part_means_the_whole(text):
    assert parse_range(text, 10) is None


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("bytes=10-", 10),
        ("bytes=9999999999999999999-", 10),
        ("bytes=-0", 10),
        ("bytes=0-", 0),
        ("bytes=-5", 0),
    ],
)
def test_a_part_that_is_not_there(text, size_bytes):
    with pytest.raises(RangeNotSatisfiable) as caught:
        parse_range(text, size_bytes)
    assert caught.value.fields == {"size_bytes": size_bytes}


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 50), st.one_of(st.none(), st.integers(0, 60)), st.integers(0, 40))
def test_a_part_is_what_slicing_gives(start, last, size_bytes):
    text = f"bytes={start}-{'' if last is None else last}"
    data = bytes(range(size_bytes))
    wanted = data[start:] if last is None else data[start : last + 1]
    try:
        span = parse_range(text, size_bytes)
    except RangeNotSatisfiable:
        assert wanted == b""
        return
    if span is None:
        assert last is not None
        assert last < start
        return
    assert data[span.start : span.end] == wanted != b""


def test_answers_tell_the_part():
    assert content_range(Span(start=2, end=5), 10) == b"bytes 2-4/10"
    assert no_such_range(10) == b"bytes */10"
