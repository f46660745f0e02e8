"""Output of exactly one call, through real pipes."""

import asyncio
import os
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from algorium_server.engine.capture import STDERR, STDOUT, CallLog, Capture


def test_lines_of_both_streams_are_merged_in_the_order_of_their_ends() -> None:
    log = CallLog()

    log.append(STDOUT, b"out ")
    log.append(STDERR, b"error\n")
    log.append(STDOUT, b"put\n")

    assert log.text() == "error\nout put\n"


def test_a_long_output_keeps_head_and_tail_and_notes_the_gap() -> None:
    log = CallLog(bytes_max=100)

    for number in range(1000):
        log.append(STDOUT, b"%04d\n" % number)

    text = log.text()
    assert text.startswith("0000\n0001\n")
    assert text.endswith("0998\n0999\n")
    assert "4900 bytes of output left out" in text


PRINTED = st.text(alphabet="ab\n", max_size=40).map(str.encode)


@given(st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), PRINTED), max_size=40))
def test_nothing_is_lost_below_the_limit(chunks: list[tuple[int, bytes]]) -> None:
    log = CallLog()

    for stream, data in chunks:
        log.append(stream, data)

    assert sorted(log.text().encode()) == sorted(b"".join(data for _, data in chunks))


@given(st.lists(st.binary(max_size=200), max_size=60), st.integers(2, 300))
def test_the_kept_size_is_bounded(chunks: list[bytes], bytes_max: int) -> None:
    log = CallLog(bytes_max=bytes_max)

    for data in chunks:
        log.append(STDOUT, data + b"\n")
    kept = log.text().encode("utf-8", "replace")

    notice_bytes = 60
    replacement_growth = 3
    assert len(kept) <= bytes_max * replacement_growth + notice_bytes


def with_pipes(scenario: Callable[[Capture, int, int], None]) -> None:
    async def run() -> None:
        out_read, out_write = os.pipe()
        error_read, error_write = os.pipe()
        for fd in (out_read, error_read):
            os.set_blocking(fd, False)
        capture = Capture(out_read, error_read)
        scenario(capture, out_write, error_write)
        capture.close()
        for fd in (out_write, error_write):
            os.close(fd)

    asyncio.run(run())


def test_everything_written_before_the_end_belongs_to_the_call() -> None:
    def scenario(capture: Capture, out: int, error: int) -> None:
        os.write(out, b"between calls\n")
        capture.begin()
        os.write(out, b"mine\n")
        os.write(error, b"mine too\n")
        text = capture.end()
        os.write(out, b"late\n")
        capture.begin()
        nothing = capture.end()

        assert text == "mine\nmine too\n"
        assert nothing == ""
        assert capture.slot_log.text() == "between calls\nlate\n"

    with_pipes(scenario)


def test_a_call_that_follows_at_once_begins_where_the_one_before_has_ended() -> None:
    def scenario(capture: Capture, out: int, error: int) -> None:
        capture.begin()
        os.write(out, b"first\n")
        os.write(error, b"of both\n")

        assert capture.end() == "first\nof both\n"

        capture.is_handed_on = True
        capture.begin()
        capture.is_handed_on = False
        os.write(out, b"second\n")

        assert capture.end() == "second\n"
        assert capture.slot_log.text() == ""

    with_pipes(scenario)


def test_who_prints_faster_than_is_read_does_not_print_into_the_next_call() -> None:
    def scenario(capture: Capture, out: int, error: int) -> None:
        capture.begin()
        pipe = next(iter(capture._pipes.values()))
        read = pipe.read

        def read_while_it_is_filled() -> int:
            size = read()
            os.write(out, b"x" * size)
            return size

        pipe.read = read_while_it_is_filled  # type: ignore[method-assign]  # a printer without end
        os.write(out, b"x" * 65_536)
        capture.end()
        pipe.read = read  # type: ignore[method-assign]

        capture.is_handed_on = True
        capture.begin()
        os.write(out, b"mine\n")

        assert capture.end() == "mine\n"

    with_pipes(scenario)
