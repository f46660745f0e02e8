"""
Ten minutes of mixed load with random `kill -9` of slots, zygotes, supervisor and gateway.

The long form of `tests/crash/test_chaos.py`; what must hold is said in `tests/storm.py`. Exits
with 1 if something did not.

    .venv/bin/python bench/chaos.py --minutes 10
    .venv/bin/python bench/chaos.py --minutes 1 --seed 4711    # the same random choices again
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from people import add_user
from projects import write_examples
from running import RunningServer
from storm import SOURCES, Storm, left_behind, mounts, report

MIB = 1024 * 1024
GROWTH_BYTES_MAX = 32 * MIB
"""Of one gateway process, between its second and its last quarter of life."""
LIFE_S_MIN = 60.0
"""Shorter lives say nothing about growth."""
GATEWAY_LIFE_S = 90.0
"""What a gateway is granted before it may be killed, so that its memory can be judged."""


def main() -> int:
    """Make a storm and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 10**9))
    parser.add_argument("--clients", type=int, default=3, help="per account; there are three")
    parser.add_argument("--serve", default="", help="further options of `algorium serve`")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    print(f"seed {options.seed}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        result = _storm(Path(scratch), options)
    print(json.dumps(result, indent=2) if options.json else result["report"])
    for fault in result["faults"]:
        print(f"chaos: {fault}", file=sys.stderr)
    return 1 if result["faults"] else 0


def _storm(scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    home = scratch / "home"
    more = options.serve.split()
    examples = write_examples(scratch / "examples", SOURCES)
    server = RunningServer(home, "--demo", "--examples-dir", str(examples), *more)
    with server:
        keys = {"admin": server.key}
    keys |= {name: add_user(home, name) for name in ("ann", "ben")}
    server.options = tuple(more)
    before = mounts()
    with server:
        storm = Storm(
            server=server, keys=keys, seed=options.seed, clients_per_account=options.clients
        )
        storm.prepare()
        storm.rage(
            options.minutes * 60, gateway_kills_max=1_000_000, gateway_pause_s=GATEWAY_LIFE_S
        )
        faults = [*storm.ledger.wrong, *storm.ledger.late, *_spread(storm)]
        storm.calm_round(50)
        written = _settled_notes(storm)
        server.stop()
        faults += left_behind(storm, mounts_before=before)
    faults += [
        f"the void call {note} ran {count} times"
        for counts in written.values()
        for note, count in counts.items()
        if count > 1
    ]
    memory = _memory(storm.resident)
    faults += [
        f"gateway {life['pid']} grew by {life['growth_bytes'] / MIB:.0f} MiB"
        for life in memory
        if life["growth_bytes"] > GROWTH_BYTES_MAX
    ]
    acknowledged = sum(map(len, storm.ledger.notes.values()))
    ran = sum(
        len(storm.ledger.notes.get(account, set()) & counts.keys())
        for account, counts in written.items()
    )
    lines = [
        report(storm),
        f"void calls: {acknowledged} acknowledged, {ran} of them ran to the end",
        *(
            f"gateway {life['pid']}: {life['life_s']:.0f} s, "
            f"{life['low_bytes'] / MIB:.0f} to {life['high_bytes'] / MIB:.0f} MiB"
            for life in memory
        ),
    ]
    return {
        "seed": storm.seed,
        "killed": dict(storm.kills),
        "answers": dict(storm.ledger.answers),
        "void_calls": {"acknowledged": acknowledged, "ran": ran},
        "memory": memory,
        "faults": faults,
        "report": "\n".join(lines),
    }


def _spread(storm: Storm) -> list[str]:
    """Say so if more calls ended with their slot than there can have been in what was killed."""
    ended = sum(n for what, n in storm.ledger.answers.items() if what.endswith(": SystemExit"))
    clients = len(storm.keys) * storm.clients_per_account
    in_flight = storm.kills.total() * clients
    if ended <= in_flight:
        return []
    return [f"{ended} calls ended with SystemExit, but at most {in_flight} were under way"]


def _settled_notes(storm: Storm) -> dict[str, Any]:
    """Wait until the backlog of void calls is worked off: a dead gateway's leases must run out."""
    deadline = time.monotonic() + 90
    found = storm.notes_written()
    while time.monotonic() < deadline:
        time.sleep(5)  # a backlog says nothing when it is done; what counts is that it rests
        again = storm.notes_written()
        if again == found and time.monotonic() > deadline - 50:
            break
        found = again
    return found


def _memory(resident: list[tuple[float, int, int]]) -> list[dict[str, Any]]:
    lives = []
    for pid, samples in groupby(resident, key=lambda sample: sample[1]):
        found = list(samples)
        sizes = [size for _, _, size in found]
        life_s = found[-1][0] - found[0][0]
        quarter = max(len(sizes) // 4, 1)
        growth = 0.0
        if life_s >= LIFE_S_MIN:
            second, last = sizes[quarter : 2 * quarter], sizes[-quarter:]
            growth = statistics.median(last) - statistics.median(second)
        lives.append(
            {
                "pid": pid,
                "life_s": round(life_s, 1),
                "low_bytes": min(sizes),
                "high_bytes": max(sizes),
                "growth_bytes": round(growth),
            }
        )
    return lives


if __name__ == "__main__":
    sys.exit(main())
