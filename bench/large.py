"""
10 MiB of binary in and out, 8 calls at a time: how much memory that takes in the gateway.

Aim: less than 64 MiB above what it holds when it rests.

    .venv/bin/python bench/large.py --rounds 5
"""

import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rig import MIB, Server, call, options_of, parsed, resident_bytes, serving, show

ECHO = "def apply(input):\n    return input\n"
BINARY = "application/octet-stream"


def main() -> int:
    """Run the benchmark."""
    parser = options_of(__doc__, rounds=5)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--mebibytes", type=int, default=10)
    options = parsed(parser)
    with (
        tempfile.TemporaryDirectory() as scratch,
        serving(Path(scratch), {"bench/Echo": ECHO}) as server,
    ):
        _warm_up(server, options.parallel)
        resting = resident_bytes(server.pid)
        body = b"\xa5" * (options.mebibytes * MIB)
        rounds = [_round(server, body, options.parallel) for _ in range(options.rounds)]
        rested = resident_bytes(server.pid)
    peaks = [peak for peak, _ in rounds]
    results = [
        {
            "parallel": options.parallel,
            "MiB": options.mebibytes,
            "resting_MiB": round(resting / MIB, 1),
            "peak_MiB": round(max(peaks) / MIB, 1),
            "growth_MiB": round((max(peaks) - resting) / MIB, 1),
            "median_growth_MiB": round((statistics.median(peaks) - resting) / MIB, 1),
            "left_MiB": round((rested - resting) / MIB, 1),
            "round_s": round(statistics.median(took for _, took in rounds), 3),
        }
    ]
    return show(results, options)


def _warm_up(server: Server, parallel: int) -> None:
    """Start the slots with calls that carry nothing."""
    small = server.target("bench/Echo", b"x" * 1000, kind=BINARY, query="?output=raw")
    with ThreadPoolExecutor(parallel) as threads:
        for _ in range(10):
            list(threads.map(lambda _: call(small), range(parallel)))


def _round(server: Server, body: bytes, parallel: int) -> tuple[int, float]:
    """Make the calls; return the most memory seen meanwhile, and how long they took."""
    target = server.target("bench/Echo", body, kind=BINARY, query="?output=raw")
    peak, done = 0, threading.Event()

    def look() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, resident_bytes(server.pid))

    def ask(_: Any) -> None:
        if call(target) != body:
            raise SystemExit("bench: a wrong answer")

    looking = threading.Thread(target=look)
    looking.start()
    began = time.monotonic()
    with ThreadPoolExecutor(parallel) as threads:
        list(threads.map(ask, range(parallel)))
    took_s = time.monotonic() - began
    done.set()
    looking.join()
    return peak, took_s


if __name__ == "__main__":
    sys.exit(main())
