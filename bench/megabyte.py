"""
1 MiB of binary, there and back, against a bare uvicorn echo in the same run.

Aim: half of the bare echo's throughput at 4 connections.

    .venv/bin/python bench/megabyte.py --rounds 5
"""

import sys
import tempfile
from pathlib import Path

from load import Target
from rig import MIB, bare_echo, load_in_turn, options_of, parsed, serving, show

ECHO = "def apply(input):\n    return input\n"
BINARY = "application/octet-stream"


def main() -> int:
    """Run the benchmark."""
    parser = options_of(__doc__)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--bytes", type=int, default=MIB)
    options = parsed(parser)
    body = bytes(range(256)) * (options.bytes // 256)
    with (
        tempfile.TemporaryDirectory() as scratch,
        bare_echo() as echo,
        serving(Path(scratch), {"bench/Echo": ECHO}) as server,
    ):
        targets = {
            "bare": Target(url=echo, body=body, headers={"Content-Type": BINARY}),
            "raw": server.target("bench/Echo", body, kind=BINARY, query="?output=raw"),
            "envelope": server.target("bench/Echo", body, kind=BINARY),
        }
        found = load_in_turn(
            targets,
            connections=options.connections,
            seconds=options.seconds,
            rounds=options.rounds,
        )
    bare = found["bare"].rate_per_s
    results = [
        {
            "answer": name,
            "per_s": round(run.rate_per_s),
            "ratio": round(run.rate_per_s / bare, 3),
            "p50_ms": round(run.p50_ms, 2),
            "p99_ms": round(run.p99_ms, 2),
        }
        for name, run in found.items()
    ]
    return show(results, options)


if __name__ == "__main__":
    sys.exit(main())
