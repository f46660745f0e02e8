"""A short storm: see `tests/storm.py`; `bench/chaos.py` makes longer ones."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from people import add_user
from projects import write_examples
from running import RunningServer
from storm import SOURCES, Storm, left_behind, mounts, report, resident_bytes

SECONDS = 12
SEED = int(os.environ.get("ALGORIUM_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
"""Every run has its own; a failure shows it, and the variable repeats it."""
MIB = 1024 * 1024


@pytest.fixture
def storm(tmp_path: Path) -> Iterator[Storm]:
    home = tmp_path / "home"
    server = RunningServer(home, "--demo", "--examples-dir", str(write_examples(
        tmp_path / "examples", SOURCES)))  # fmt: skip
    with server:
        keys = {"admin": server.key}
    keys |= {name: add_user(home, name) for name in ("ann", "ben")}
    server.options = ()
    with server:
        storm = Storm(server=server, keys=keys, seed=SEED)
        storm.prepare()
        yield storm


@pytest.mark.slow
def test_killed_at_random_nothing_hangs_nothing_is_wrong_and_nothing_is_left(
    storm: Storm,
) -> None:
    before = mounts()
    storm.calm_round(5)

    storm.rage(SECONDS, gateway_kills_max=2, kills_min=6)

    print(report(storm))
    assert not storm.ledger.wrong
    assert not storm.ledger.late
    assert sum(n for what, n in storm.ledger.answers.items() if "right" in what) > 20
    for account, counts in storm.notes_written().items():
        twice = {note for note, count in counts.items() if count > 1}
        assert not twice, f"void calls of {account} ran twice"
        assert all(note.startswith(account) for note in counts), "each in its caller's name"
    storm.calm_round(20)
    settled = resident_bytes(storm.server.pid)
    storm.calm_round(60)
    assert resident_bytes(storm.server.pid) - settled < 16 * MIB, "memory is flat"
    assert storm.server.stop() == 0
    assert not left_behind(storm, mounts_before=before)
