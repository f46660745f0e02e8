"""Cutting a slot's byte stream into frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_runtime import frames
from algorium_server.domain.limits import SLOT_BODY_BYTES_MAX, SLOT_HEADER_BYTES_MAX
from algorium_server.engine.receiving import FrameReceiver

BODY = st.one_of(st.binary(max_size=100), st.integers(100_000, 300_000).map(bytes))


class Heard:
    def __init__(self) -> None:
        self.frames: list[frames.Frame] = []
        self.closed: list[tuple[str, bool]] = []

    def on_closed(self, violation: str, is_oversized: bool) -> None:
        self.closed.append((violation, is_oversized))

    def receiver(self) -> FrameReceiver:
        return FrameReceiver(self.frames.append, self.on_closed)


def feed(receiver: FrameReceiver, data: bytes, step: int) -> None:
    view = memoryview(data)
    while view:
        room = receiver.get_buffer(-1)
        count = min(step, len(room), len(view))
        room[:count] = view[:count]
        receiver.buffer_updated(count)
        view = view[count:]


@given(st.lists(BODY, max_size=5), st.sampled_from([1, 7, 4096, 100_000, 1_000_000]))
def test_frames_arrive_whole_however_the_bytes_are_cut(bodies: list[bytes], step: int) -> None:
    if step == 1:
        bodies = [body[:50] for body in bodies]
    sent = [frames.Frame(frames.RESULT, {"id": n}, body) for n, body in enumerate(bodies)]
    heard = Heard()

    feed(heard.receiver(), b"".join(frames.encode(*frame) for frame in sent), step)

    assert heard.frames == sent
    assert heard.closed == []


def test_a_body_beyond_every_limit_is_announced_in_vain() -> None:
    heard = Heard()

    feed(
        heard.receiver(), frames.encode_head(frames.RESULT, {"id": 1}, SLOT_BODY_BYTES_MAX + 1), 99
    )

    assert heard.frames == []
    assert heard.closed[0][1] is True


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 16,
        frames.PREFIX.pack(1, frames.RESULT, 0, SLOT_HEADER_BYTES_MAX + 1, 0),
        frames.PREFIX.pack(1, frames.RESULT, 0, 2, 0) + b"[]",
        frames.PREFIX.pack(1, frames.RESULT, 0, 2, 0) + b"{{",
    ],
)
def test_nonsense_breaks_the_protocol(data: bytes) -> None:
    heard = Heard()

    feed(heard.receiver(), data, len(data))

    assert heard.frames == []
    assert len(heard.closed) == 1
    assert heard.closed[0][1] is False
