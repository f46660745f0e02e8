"""
5 ms of processor time per call, 16 connections, 2 slots: how much of the ideal 400/s is left.

Aim: 0.92 of it, on two cores with the load generator on the same two.

    .venv/bin/python bench/processor.py --rounds 5
"""

import sys
import tempfile
from pathlib import Path

from rig import call, load_in_turn, options_of, parsed, serving, show

BURN = """
import time
def apply(input):
    ends_at = time.thread_time() + input
    while time.thread_time() < ends_at:
        pass
    return None
"""


def main() -> int:
    """Run the benchmark."""
    parser = options_of(__doc__, seconds=8.0)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--milliseconds", type=float, default=5.0)
    options = parsed(parser)
    slots = ("--slots-max", str(options.slots))
    with (
        tempfile.TemporaryDirectory() as scratch,
        serving(Path(scratch), {"bench/Burn": BURN}, *slots) as server,
    ):
        target = server.target("bench/Burn", str(options.milliseconds / 1000).encode())
        call(target)
        found = load_in_turn(
            {"burn": target},
            connections=options.connections,
            seconds=options.seconds,
            rounds=options.rounds,
        )["burn"]
    ideal = options.slots * 1000 / options.milliseconds
    results = [
        {
            "slots": options.slots,
            "connections": options.connections,
            "per_s": round(found.rate_per_s, 1),
            "ideal_per_s": round(ideal, 1),
            "ratio": round(found.rate_per_s / ideal, 3),
            "p50_ms": round(found.p50_ms, 2),
            "p99_ms": round(found.p99_ms, 2),
        }
    ]
    return show(results, options)


if __name__ == "__main__":
    sys.exit(main())
