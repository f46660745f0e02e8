import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.api.timing import server_timing
from algorium_server.domain.calls import Timings

# Source: W3C "Server Timing": metric *( OWS "," OWS metric ), each name;dur=value.
HEADER = re.compile(rb"queue;dur=(\d+(?:\.\d)?), load;dur=(\d+(?:\.\d)?), run;dur=(\d+(?:\.\d)?)")


@pytest.mark.parametrize(
    ("queue_s", "load_s", "run_s", "expected"),
    [
        (0.0001, 0.0, 0.0012, b"queue;dur=0.1, load;dur=0, run;dur=1.2"),
        (0.0, 0.45678, 3000.0, b"queue;dur=0.0, load;dur=456.8, run;dur=3000000.0"),
    ],
)
def test_the_header_tells_milliseconds(queue_s, load_s, run_s, expected):
    assert server_timing(Timings(queue_s=queue_s, load_s=load_s, run_s=run_s)) == expected


SECONDS = st.floats(0, 1e6)


@given(SECONDS, SECONDS, SECONDS)
def test_any_times_can_be_read_back(queue_s: float, load_s: float, run_s: float):
    match = HEADER.fullmatch(server_timing(Timings(queue_s=queue_s, load_s=load_s, run_s=run_s)))

    assert match is not None
    for text, seconds in zip(match.groups(), (queue_s, load_s, run_s), strict=True):
        assert abs(float(text) / 1000 - seconds) < 0.00006
