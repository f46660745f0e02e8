"""What a parent and its gateways tell each other arrives as it was said."""

import asyncio
import json
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.control import Assignment, Line
from algorium_server.settings import Settings

paths = st.text(st.characters(blacklist_characters="\0"), min_size=1, max_size=40).map(
    lambda text: Path("/home") / text.strip("/")
)
not_utf8 = Path("/home/\udcff")


@given(
    home=paths | st.just(not_utf8),
    database=st.text(max_size=40),
    number=st.integers(0, 63),
    grace_s=st.floats(0, 1e6),
)
def test_an_assignment_survives_being_told(
    home: Path, database: str, number: int, grace_s: float
) -> None:
    assignment = Assignment(
        settings=Settings(home=home, database=database, shutdown_grace_s=grace_s, workers=64),
        number=number,
        gateways=64,
        api="http://127.0.0.1:8080",
        since=datetime(2026, 3, 29, 1, 2, 3, 456789, tzinfo=UTC),
        state={"is_ready": True, "demo": "published", "gateways": {"wanted": 64, "serving": 3}},
        listening_fd=3,
        rates_fd=7,
        guesses_fd=8,
        admission_fd=4,
        loads_fd=5,
        lock_fd=6,
    )

    assert Assignment.from_dict(json.loads(json.dumps(assignment.as_dict()))) == assignment


@pytest.mark.parametrize("other_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_line_carries_both_ways_and_ends_with_either_side(other_loop) -> None:
    async def say_and_hear(end: socket.socket, *words: str) -> list[tuple[str, dict[str, object]]]:
        line = await Line.open(end)
        for word in words:
            line.tell("said", word=word)
        heard = []
        async for event, told in line.hear():
            heard.append((event, told))
            if len(heard) == len(words):
                await line.close()
        line.tell("said", word="to nobody")
        return heard

    async def both() -> list[list[tuple[str, dict[str, object]]]]:
        one, other = socket.socketpair()
        async with asyncio.timeout(20):
            return await asyncio.gather(
                say_and_hear(one, "a", "b" * 300_000), say_and_hear(other, "c\n", "d")
            )

    with asyncio.Runner(loop_factory=other_loop) as runner:
        one, other = runner.run(both())

    assert one == [("said", {"word": "c\n"}), ("said", {"word": "d"})]
    assert other == [("said", {"word": "a"}), ("said", {"word": "b" * 300_000})]
