"""Logs of builds: bounded, without secrets however the bytes come, the same in file and memory."""

import re

from hypothesis import given
from hypothesis import strategies as st

from algorium_server.build.build_log import BuildLog

SECRET = "s3cr3t-of-the-index"
ENDLESS = 300 * 1024


def said(pieces, **options):
    log = BuildLog(**options)
    log.hide([SECRET])
    for piece in pieces:
        log.append(piece)
    return log.text()


words = st.sampled_from(
    [
        f"https://jane:{SECRET}@host/simple",
        "http://jane:pass@host",
        SECRET,
        " ",
        "\n",
        "é",
        "://",
        "x" * 200,
        "\0",
    ]
)


@given(st.lists(words, max_size=30), st.lists(st.integers(1, 40), max_size=100))
def test_no_secret_is_told_wherever_the_stream_is_cut(spoken, sizes):
    stream = "".join(spoken).encode()
    pieces, at = [], 0
    for size in [*sizes, len(stream)]:
        pieces.append(stream[at : at + size])
        at += size
    text = said(pieces)

    assert SECRET not in text
    assert "jane:" not in text
    assert "\0" not in text
    assert text.count("é") == "".join(spoken).count("é")


@given(st.integers(0, 5000), st.integers(1, 9000))
def test_no_secret_is_told_in_a_line_without_an_end(before, size):
    stream = b"x" * 70_000 + b"y" * before + f" https://jane:{SECRET}@host {SECRET}".encode()
    stream += b"z" * 70_000
    text = said(stream[i : i + size] for i in range(0, len(stream), size))

    assert SECRET not in text
    assert text.count("***@host") == 1
    assert len(text) > 140_000


@given(
    st.lists(st.binary(max_size=300) | st.just(b"line\n") | st.just("ü€".encode()), max_size=60),
    st.integers(10, 400),
)
def test_the_file_becomes_what_is_kept_byte_for_byte(tmp_path_factory, pieces, bytes_max):
    path = tmp_path_factory.mktemp("logs") / "b.log"
    log = BuildLog(path, bytes_max=bytes_max)
    for piece in pieces:
        log.append(piece)
        assert len(path.read_bytes()) <= bytes_max
    begun = path.read_bytes()
    text = log.finish()

    assert path.read_bytes() == text.encode()
    assert text.encode().startswith(begun)


def test_of_endless_output_beginning_and_end_are_kept_and_little_memory_is_used(tmp_path):
    path = tmp_path / "b.log"
    log = BuildLog(path, bytes_max=ENDLESS)
    for number in range(20_000):
        log.append(b"%d %s\n" % (number, b"x" * 200))
        if number % 1000 == 0:
            assert path.stat().st_size <= ENDLESS
    text = log.finish()

    assert text.startswith("0 xxx")
    assert text.rstrip().endswith("x")
    assert "19999 x" in text
    dropped = int(re.search(r"\[\.\.\. (\d+) bytes of output left out \.\.\.\]", text)[1])
    assert dropped + len(text) > 20_000 * 200
    assert path.stat().st_size < 2 * ENDLESS


def test_a_line_is_in_the_file_as_soon_as_it_is_whole(tmp_path):
    path = tmp_path / "b.log"
    log = BuildLog(path)
    log.append(b"first\nsec")

    assert path.read_text() == "first\n"
    log.append(b"ond\n")
    assert path.read_text() == "first\nsecond\n"


def test_what_a_tool_did_not_end_is_ended_before_our_own_words(tmp_path):
    log = BuildLog()
    log.append(b"no newline")
    log.say("Testing")

    assert log.text() == "no newline\nTesting\n"


def test_the_next_server_goes_on_in_the_log_of_one_that_was_killed(tmp_path):
    path = tmp_path / "b.log"
    first = BuildLog(path)
    first.append(b"Beginning\nhalf a li")
    first.close()
    second = BuildLog(path)
    second.append(b"again\n")
    text = second.finish()

    assert second.was_begun
    assert text == "Beginning\n\nThe server was restarted; the build begins again\nagain\n"
    assert path.read_text() == text


def test_a_log_that_was_ended_but_not_stored_is_cut_back_to_its_beginning(tmp_path):
    path = tmp_path / "b.log"
    first = BuildLog(path, bytes_max=40)
    for _ in range(20):
        first.append("wörter\n".encode())
    first.finish()
    text = BuildLog(path, bytes_max=40).finish()

    assert text.startswith("wörter\nwörter\n")
    assert path.read_text() == text


def test_nobody_but_the_server_can_read_the_file(tmp_path):
    BuildLog(tmp_path / "logs" / "b.log").close()

    assert (tmp_path / "logs" / "b.log").stat().st_mode & 0o777 == 0o600
