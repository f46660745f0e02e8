"""
One account floods the server with calls of 50 ms; another account makes a single one.

Aim: the single call is delayed by less than two slot times.

    .venv/bin/python bench/fairness.py --rounds 10
"""

import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from load import Target
from rig import Server, add_user, call, options_of, parsed, serving, show

NAP_S = 0.05
NAP = f"""
import time
def apply(input):
    time.sleep({NAP_S})
    return input
"""
FLOOD_CONNECTIONS = 64
"""Below the number of calls that one account may have open at a time."""


def main() -> int:
    """Run the benchmark."""
    parser = options_of(__doc__, rounds=10)
    parser.add_argument("--calls", type=int, default=200, help="of the flood, in each round")
    parser.add_argument("--slots", type=int, default=2, help="on the whole machine; 0: the default")
    options = parsed(parser)
    slots = ("--slots-max", str(options.slots)) if options.slots else ()
    with tempfile.TemporaryDirectory() as scratch:
        with serving(Path(scratch), {"bench/Nap": NAP}) as server:
            home = server.home
        key = add_user(home, "ben")
        with serving(Path(scratch), {}, *slots) as server:
            results = [_run(server, key, options)]
    return show(results, options)


def _run(server: Server, key: str, options: Any) -> dict[str, Any]:
    flood = server.target("bench/Nap", b"1")
    single = Target(
        url=flood.url, body=b"2", headers={**flood.headers, "Authorization": f"Simple {key}"}
    )
    call(flood)
    call(single)
    alone, flooded, flood_s = [], [], []
    for _ in range(options.rounds):
        alone.append(_timed(single))
        delayed_s, took_s = _round(flood, single, options.calls)
        flooded.append(delayed_s)
        flood_s.append(took_s)
    delays = [during - statistics.median(alone) for during in flooded]
    return {
        "slots": options.slots or "default",
        "flood_calls": options.calls,
        "flood_s": round(statistics.median(flood_s), 2),
        "alone_ms": round(statistics.median(alone) * 1000, 1),
        "flooded_ms": round(statistics.median(flooded) * 1000, 1),
        "delay_slot_times": round(statistics.median(delays) / NAP_S, 2),
        "worst_delay_slot_times": round(max(delays) / NAP_S, 2),
    }


def _round(flood: Target, single: Target, calls: int) -> tuple[float, float]:
    """Return how long the single call took in the middle of the flood, and the flood itself."""
    left = calls
    lock, is_under_way = threading.Lock(), threading.Event()

    def pour() -> None:
        nonlocal left
        while True:
            with lock:
                if left == 0:
                    return
                left -= 1
            call(flood)
            is_under_way.set()

    began = time.monotonic()
    with ThreadPoolExecutor(FLOOD_CONNECTIONS) as threads:
        pouring = [threads.submit(pour) for _ in range(FLOOD_CONNECTIONS)]
        is_under_way.wait(30)
        took_s = _timed(single)
        for each in pouring:
            each.result()
    return took_s, time.monotonic() - began


def _timed(target: Target) -> float:
    began = time.monotonic()
    call(target)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
