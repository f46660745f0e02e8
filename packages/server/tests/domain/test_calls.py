"""What a caller may ask of a call."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain.calls import Output, parse_output, parse_timeout
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import CALL_TIMEOUT_S_MAX


@pytest.mark.parametrize(
    ("text", "timeout_s"),
    [
        ("300", 300.0),
        ("10", 10.0),
        ("0.5", 0.5),
        ("2.5e2", 250.0),
        ("3000", 3000.0),
        ("3001", 3000.0),
        ("180000", 3000.0),
    ],
)
def test_a_timeout_is_read_in_seconds_and_clamped(text, timeout_s):
    assert parse_timeout(text) == timeout_s


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "ten", "nan", "inf", "-inf", "Infinity", "1,5", "None", "True", "0x10"]
)
def test_what_is_no_positive_number_is_refused(text):
    with pytest.raises(InvalidInput, match="timeout"):
        parse_timeout(text)


@given(st.text(max_size=12) | st.floats().map(str) | st.integers().map(str))
def test_any_text_is_a_bounded_timeout_or_refused(text):
    try:
        timeout_s = parse_timeout(text)
    except InvalidInput:
        return

    assert math.isfinite(timeout_s)
    assert 0 < timeout_s <= CALL_TIMEOUT_S_MAX


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("", Output.DEFAULT),
        ("default", Output.DEFAULT),
        ("raw", Output.RAW),
        ("void", Output.VOID),
    ],
)
def test_an_output_is_one_of_three(text, output):
    assert parse_output(text) is output


@pytest.mark.parametrize("text", ["RAW", "json", " raw", "raw,void", "\0"])
def test_other_outputs_are_refused(text):
    with pytest.raises(InvalidInput, match="output must be"):
        parse_output(text)
