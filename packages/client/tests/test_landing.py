"""Local files in the making: whole or not at all, and gone on with."""

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorium._landing import Landing

PIECE = 5
CONTENT = bytes(range(73))
PIECES = 15


def opened(path: Path, version: str = "v1") -> Landing:
    landing = Landing(path, name="")
    landing.open(total_bytes=len(CONTENT), piece_bytes=PIECE, version=version)
    return landing


def write(landing: Landing, numbers: list[int]) -> None:
    missing = {number: (start, end) for number, start, end in landing.missing()}
    for number in numbers:
        if number in missing:
            start, end = missing[number]
            landing.write_at(start, CONTENT[start:end])
            landing.finish(number)


def files(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if path.is_file())


@settings(max_examples=30, deadline=None)
@given(
    first=st.permutations(range(PIECES)).flatmap(
        lambda order: st.integers(0, PIECES).map(lambda count: order[:count])
    ),
    lost_bytes=st.integers(0, 3),
)
def test_what_was_finished_is_not_fetched_again(first: list[int], lost_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        landing = opened(place / "a")
        write(landing, first)
        landing.abandon(keep=True)
        for ledger in place.glob(".a.*.pieces"):  # as if killed while it was written
            ledger.write_bytes(ledger.read_bytes()[: -lost_bytes or None])

        landing = opened(place / "a")
        missing = [number for number, _, _ in landing.missing()]
        kept = set(first) - set(missing)
        assert kept == set(first[: len(kept)])
        assert len(kept) >= len(first) - lost_bytes
        write(landing, missing[: len(missing) // 2])
        landing.abandon(keep=True)
        landing = opened(place / "a")
        write(landing, missing)

        assert landing.md5() == hashlib.md5(CONTENT).hexdigest()
        assert landing.commit() == place / "a"
        assert (place / "a").read_bytes() == CONTENT
        assert files(place) == ["a"]


def test_other_versions_and_sizes_are_not_gone_on_with(tmp_path: Path) -> None:
    landing = opened(tmp_path / "a")
    write(landing, [1, 2])
    landing.abandon(keep=True)

    other = opened(tmp_path / "a", "v2")

    assert not other.is_continued
    other.abandon()
    again = opened(tmp_path / "a")
    assert again.is_continued
    again.abandon()


def test_two_at_once_do_not_share_a_file(tmp_path: Path) -> None:
    one = opened(tmp_path / "a")
    write(one, [0, 1])
    two = opened(tmp_path / "a")

    assert not two.is_continued
    write(two, list(range(PIECES)))
    two.commit()
    write(one, list(range(PIECES)))
    one.commit()

    assert (tmp_path / "a").read_bytes() == CONTENT
    assert files(tmp_path) == ["a"]


def test_what_is_given_up_leaves_nothing_unless_it_can_be_gone_on_with(tmp_path: Path) -> None:
    for version, numbers, keep in (("v1", [3], False), ("v1", [], True), ("", [3], True)):
        landing = opened(tmp_path / "a", version)
        write(landing, numbers)
        landing.abandon(keep=keep)
        landing.abandon(keep=keep)
        assert files(tmp_path) == []


def test_a_part_file_that_lost_its_end_is_not_believed(tmp_path: Path) -> None:
    landing = opened(tmp_path / "a")
    write(landing, list(range(PIECES)))
    landing.abandon(keep=True)
    (part,) = tmp_path.glob(".a.*.part")
    os.truncate(part, 18)

    again = opened(tmp_path / "a")
    assert [number for number, _, _ in again.missing()] == list(range(3, PIECES))
    again.abandon()


def test_links_are_not_followed(tmp_path: Path) -> None:
    landing = opened(tmp_path / "a")
    write(landing, [0, 1])
    landing.abandon(keep=True)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    for planted in (*tmp_path.glob(".a.*.part"), *tmp_path.glob(".a.*.pieces")):
        planted.unlink()
        planted.symlink_to(victim)

    landing = opened(tmp_path / "a")
    write(landing, list(range(PIECES)))
    landing.commit()

    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert not (tmp_path / "a").is_symlink()


def test_nothing_is_written_behind_the_end(tmp_path: Path) -> None:
    landing = opened(tmp_path / "a")
    landing.abandon()

    with pytest.raises(ValueError, match="closed"):
        landing.write_at(0, b"late")


def test_long_names_of_any_letters_fit(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 127)

    landing = opened(path)
    write(landing, list(range(PIECES)))
    landing.commit()

    assert path.read_bytes() == CONTENT
