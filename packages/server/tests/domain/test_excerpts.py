"""Beginning and end of what may be endless."""

from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain.excerpts import Excerpt

PIECES = st.lists(st.binary(max_size=200), max_size=60)


def excerpt_of(pieces, bytes_max):
    excerpt = Excerpt(bytes_max)
    for piece in pieces:
        excerpt.append(piece)
    return excerpt.content()


@given(PIECES)
def test_what_is_short_is_kept_whole(pieces):
    whole = b"".join(pieces)

    assert excerpt_of(pieces, max(1, len(whole))) == whole


@given(PIECES, st.integers(1, 300))
def test_what_is_long_keeps_its_beginning_and_end_whatever_its_pieces(pieces, bytes_max):
    whole = b"".join(pieces)
    kept = excerpt_of(pieces, bytes_max)

    dropped_bytes = len(whole) - bytes_max
    if dropped_bytes > 0:
        head, tail = bytes_max // 2, bytes_max - bytes_max // 2
        gap = b"\n[... %d bytes of output left out ...]\n" % dropped_bytes
        assert kept == whole[:head] + gap + whole[-tail:]
    else:
        assert kept == whole


def test_it_can_be_looked_at_while_it_grows():
    excerpt = Excerpt(4)
    excerpt.append(b"abcdef")
    first = excerpt.content()
    excerpt.append(b"gh")

    assert first == b"ab\n[... 2 bytes of output left out ...]\nef"
    assert excerpt.content() == b"ab\n[... 4 bytes of output left out ...]\ngh"
