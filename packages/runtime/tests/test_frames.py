import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_runtime import frames

HEADERS = st.dictionaries(
    st.text(max_size=20),
    st.none() | st.booleans() | st.integers() | st.text(max_size=50) | st.floats(-1e9, 1e9),
    max_size=5,
)


@given(HEADERS, st.binary(max_size=300))
def test_head_and_header_survive_the_journey(header: dict[str, Any], body: bytes) -> None:
    head = frames.encode_head(frames.RESULT, header, len(body))

    prefix = frames.decode_prefix(
        head[: frames.PREFIX.size], header_len_max=1 << 16, body_len_max=300
    )
    assert prefix == (frames.RESULT, len(head) - frames.PREFIX.size, len(body))
    assert frames.decode_header(head[frames.PREFIX.size :]) == header


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_a_protocol_error(data: bytes) -> None:
    try:
        header = frames.decode_header(data)
    except frames.ProtocolError:
        return
    assert isinstance(header, dict)


def test_the_layout_is_the_documented_one() -> None:
    frame = frames.encode(frames.CALL, {"id": 7}, b"xyz")

    assert frame == (
        b"\x01\x03\x00\x00" + b"\x08\x00\x00\x00" + b"\x03" + bytes(7) + b'{"id":7}' + b"xyz"
    )
    assert frames.encode_head(frames.CALL, {"id": 7}, 3) + b"xyz" == frame


def test_an_empty_header_may_be_left_out() -> None:
    assert frames.decode_header(b"") == {}


@pytest.mark.parametrize(
    ("prefix", "complaint"),
    [
        ((2, 3, 0, 2, 0), "frame version 2"),
        ((1, 0, 0, 2, 0), "unknown frame type 0"),
        ((1, 6, 0, 2, 0), "unknown frame type 6"),
        ((1, 3, 1, 2, 0), "unknown frame flags 0x1"),
        ((1, 3, 0, 101, 0), "header of 101 bytes exceeds 100"),
        ((1, 3, 0, 2, 1001), "body of 1001 bytes exceeds 1000"),
        ((1, 3, 0, 2, 2**64 - 1), "exceeds 1000"),
    ],
)
def test_a_wrong_prefix_is_refused_before_anything_is_stored(
    prefix: tuple[int, ...], complaint: str
) -> None:
    data = frames.PREFIX.pack(*prefix)

    with pytest.raises(frames.ProtocolError, match=complaint):
        frames.decode_prefix(data, header_len_max=100, body_len_max=1000)


def test_the_limits_themselves_are_allowed() -> None:
    data = frames.PREFIX.pack(1, frames.CALL, 0, 100, 1000)

    prefix = frames.decode_prefix(data, header_len_max=100, body_len_max=1000)
    assert prefix == (frames.CALL, 100, 1000)


@pytest.mark.parametrize(
    "header",
    [
        b"[1]",
        b"7",
        b"{",
        b'{"id":1}x',
        b'{"a":"\xff"}',
        b'{"run_s":NaN}',
        b'{"run_s":Infinity}',
        b'{"run_s":1e999}',
        b'{"id":' + b"9" * 10_000 + b"}",
        b'{"a":' + b"[" * 60_000,
    ],
)
def test_an_unreadable_header_is_refused(header: bytes) -> None:
    with pytest.raises(frames.ProtocolError):
        frames.decode_header(header)


def test_too_few_bytes_are_no_prefix() -> None:
    with pytest.raises(frames.ProtocolError, match="16 bytes, not 3"):
        frames.decode_prefix(b"abc", header_len_max=1, body_len_max=1)


def test_headers_are_plain_ascii_json() -> None:
    frame = frames.encode(frames.CALL, {"content_type": "jsön"})

    assert json.loads(frame[frames.PREFIX.size :].decode("ascii")) == {"content_type": "jsön"}


def test_a_header_cannot_hold_what_the_other_end_refuses() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        frames.encode(frames.RESULT, {"run_s": float("nan")})
