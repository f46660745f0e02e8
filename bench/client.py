"""
What the Python client adds to a call: our blocking client against bare httpx2, warm `demo/Hello`.

Calls are interleaved, one of each at a time, and the ratio is of the medians. Aim: at most 1.3.
`cpu_ratio` is of the processor time of the two, which a busy machine blurs less.
Then `map` of many inputs, against what the load generator gets from the same server. Aim: 0.9,
which no client in pure Python on the server's own machine reaches: see `bench/README.md`.

    .venv/bin/python bench/client.py --calls 3000 --inputs 10000
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from load import measure
from rig import ROOT, options_of, parsed, serving, show

from algorium import Algorium

CONCURRENCY = 64
BODY = b"HAL 9000"


def main() -> int:
    """Run the benchmark and print a table, or JSON with `--json`."""
    parser: argparse.ArgumentParser = options_of(__doc__)
    parser.add_argument("--calls", type=int, default=2000, help="of each client, in turn")
    parser.add_argument("--inputs", type=int, default=10_000, help="for map")
    options = parsed(parser)
    if options.quick:
        options.calls, options.inputs = 50, 200
    hello = (ROOT / "examples" / "demo" / "Hello" / "src" / "Hello.py").read_text(encoding="utf-8")
    with (
        tempfile.TemporaryDirectory() as scratch,
        serving(Path(scratch), {"demo/Hello": hello}) as server,
        Algorium(server.key, server.api) as client,
    ):
        ours, bare = in_turn(client, server.api, server.key, calls=options.calls)
        began_at = time.perf_counter()
        found = client.algo("demo/Hello").map(
            ["HAL 9000"] * options.inputs, concurrency=CONCURRENCY
        )
        count = sum(response.result == "Hello HAL 9000" for response in found)
        map_per_s = count / (time.perf_counter() - began_at)
        target = server.target("demo/Hello", BODY, kind="text/plain")
        load = measure(target, connections=CONCURRENCY, seconds=options.seconds)
    result = {
        "bare_ms": round(bare.median_s * 1000, 3),
        "ours_ms": round(ours.median_s * 1000, 3),
        "ratio": round(ours.median_s / bare.median_s, 3),
        "cpu_ratio": round(ours.cpu_s / bare.cpu_s, 3),
        "map_per_s": round(map_per_s),
        "load_per_s": round(load.rate_per_s),
        "map_ratio": round(map_per_s / load.rate_per_s, 3),
    }
    return show([result], options)


@dataclass
class Took:
    """What the calls of one client took."""

    times_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0

    @property
    def median_s(self) -> float:
        """Seconds that half of them took at most."""
        return statistics.median(self.times_s)

    def of(self, call: Callable[[], object]) -> object:
        """Make a call."""
        began_at, cpu_s = time.perf_counter(), time.process_time()
        result = call()
        self.cpu_s += time.process_time() - cpu_s
        self.times_s.append(time.perf_counter() - began_at)
        return result


def in_turn(client: Algorium, api: str, key: str, *, calls: int) -> tuple[Took, Took]:
    """Return what calls take with our client and with httpx2 alone."""
    algorithm = client.algo("demo/Hello")
    url, headers = f"{api}/v1/algo/demo/Hello", {"Authorization": f"Simple {key}"}
    headers["Content-Type"] = "text/plain"
    with httpx2.Client(timeout=60) as bare:

        def ask() -> object:
            return bare.post(url, content=BODY, headers=headers).json()["result"]

        for _ in range(50):  # until the slot and both pools are warm
            algorithm.pipe("HAL 9000")
            ask()
        ours, theirs = Took(), Took()
        for _ in range(calls):
            first = ours.of(lambda: algorithm.pipe("HAL 9000").result)
            second = theirs.of(ask)
            if first != second:
                raise SystemExit(f"bench: {first!r} is not {second!r}")
    return ours, theirs


if __name__ == "__main__":
    sys.exit(main())
