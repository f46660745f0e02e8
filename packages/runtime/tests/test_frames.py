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
FRAMES = st.tuples(st.integers(frames.READY, frames.SHUTDOWN), HEADERS, st.binary(max_size=300))


def decoder(**limits: int) -> frames.Decoder:
    return frames.Decoder(**{"header_len_max": 1 << 16, "body_len_max": 1 << 20, **limits})


@given(st.lists(FRAMES, max_size=5), st.data())
def test_frames_survive_any_way_of_cutting_the_stream(
    sent: list[tuple[int, dict[str, Any], bytes]], data: st.DataObject
) -> None:
    stream = b"".join(frames.encode(*frame) for frame in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = decoder()

    received = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += reader.feed(stream[begin:end])

    assert received == sent


@given(FRAMES)
def test_frames_survive_byte_by_byte(sent: tuple[int, dict[str, Any], bytes]) -> None:
    reader = decoder()
    stream = frames.encode(*sent)

    *early, last = [reader.feed(stream[i : i + 1]) for i in range(len(stream))]

    assert not any(early)
    assert last == [sent]


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_a_protocol_error(data: bytes) -> None:
    try:
        received = decoder().feed(data)
    except frames.ProtocolError:
        return
    assert all(isinstance(frame, frames.Frame) for frame in received)


def test_the_layout_is_the_documented_one() -> None:
    frame = frames.encode(frames.CALL, {"id": 7}, b"xyz")

    assert frame == (
        b"\x01\x03\x00\x00" + b"\x08\x00\x00\x00" + b"\x03" + bytes(7) + b'{"id":7}' + b"xyz"
    )
    assert frames.encode_head(frames.CALL, {"id": 7}, 3) + b"xyz" == frame


def test_an_empty_header_may_be_left_out() -> None:
    assert decoder().feed(frames.PREFIX.pack(1, frames.SHUTDOWN, 0, 0, 0)) == [
        (frames.SHUTDOWN, {}, b"")
    ]


@pytest.mark.parametrize(
    ("prefix", "complaint"),
    [
        ((2, 3, 0, 2, 0), "frame version 2"),
        ((1, 0, 0, 2, 0), "unknown frame type 0"),
        ((1, 7, 0, 2, 0), "unknown frame type 7"),
        ((1, 3, 1, 2, 0), "unknown frame flags 0x1"),
        ((1, 3, 0, 101, 0), "header of 101 bytes exceeds 100"),
        ((1, 3, 0, 2, 1001), "body of 1001 bytes exceeds 1000"),
        ((1, 3, 0, 2, 2**64 - 1), "exceeds 1000"),
    ],
)
def test_a_wrong_prefix_is_refused_before_anything_is_stored(
    prefix: tuple[int, ...], complaint: str
) -> None:
    reader = decoder(header_len_max=100, body_len_max=1000)

    with pytest.raises(frames.ProtocolError, match=complaint):
        reader.feed(frames.PREFIX.pack(*prefix))


def test_the_limits_themselves_are_allowed() -> None:
    header = {"a": "x" * 92}

    frame = frames.encode(frames.CALL, header, bytes(1000))

    assert decoder(header_len_max=100, body_len_max=1000).feed(frame) == [
        (frames.CALL, header, bytes(1000))
    ]


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
    prefix = frames.PREFIX.pack(frames.VERSION, frames.READY, 0, len(header), 0)

    with pytest.raises(frames.ProtocolError):
        decoder().feed(prefix + header)


def test_a_broken_stream_stays_broken() -> None:
    reader = decoder()
    with pytest.raises(frames.ProtocolError):
        reader.feed(b"HTTP/1.1 400 Bad")

    with pytest.raises(frames.ProtocolError):
        reader.feed(frames.encode(frames.SHUTDOWN, {}))


def test_too_few_bytes_are_no_prefix() -> None:
    with pytest.raises(frames.ProtocolError, match="16 bytes, not 3"):
        frames.decode_prefix(b"abc", header_len_max=1, body_len_max=1)


def test_headers_are_plain_ascii_json() -> None:
    frame = frames.encode(frames.CALL, {"content_type": "jsön"})

    assert json.loads(frame[frames.PREFIX.size :].decode("ascii")) == {"content_type": "jsön"}


def test_a_header_cannot_hold_what_the_other_end_refuses() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        frames.encode(frames.RESULT, {"run_s": float("nan")})
