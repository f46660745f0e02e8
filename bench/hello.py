"""
Warm `demo/Hello` against a bare uvicorn echo, on the same machine in the same run.

Rounds are interleaved, since shared machines drift; medians and ratios are what to quote.
Aim: at 16 connections 0.50 of the echo's throughput, at one connection 2.0 times its p50.

    make bench                # or: .venv/bin/python bench/hello.py --rounds 5 --seconds 4
"""

import sys
import tempfile
from pathlib import Path

from load import Target
from rig import ROOT, bare_echo, load_in_turn, options_of, parsed, serving, show

CONNECTIONS = (1, 16, 64)
BODY = b'"HAL 9000"'


def main() -> int:
    """Run the benchmark and print a table, or JSON with `--json`."""
    options = parsed(options_of(__doc__))
    hello = (ROOT / "examples" / "demo" / "Hello" / "src" / "Hello.py").read_text(encoding="utf-8")
    results = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        bare_echo() as echo,
        serving(Path(scratch), {"demo/Hello": hello}) as server,
    ):
        targets = {
            "echo": Target(url=echo, body=BODY, headers={"Content-Type": "application/json"}),
            "hello": server.target("demo/Hello", BODY),
        }
        for connections in CONNECTIONS:
            found = load_in_turn(
                targets, connections=connections, seconds=options.seconds, rounds=options.rounds
            )
            echoed, hellos = found["echo"], found["hello"]
            results.append(
                {
                    "connections": connections,
                    "echo_per_s": round(echoed.rate_per_s),
                    "hello_per_s": round(hellos.rate_per_s),
                    "throughput_ratio": round(hellos.rate_per_s / echoed.rate_per_s, 3),
                    "echo_p50_ms": round(echoed.p50_ms, 3),
                    "hello_p50_ms": round(hellos.p50_ms, 3),
                    "p50_ratio": round(hellos.p50_ms / echoed.p50_ms, 2),
                }
            )
    return show(results, options)


if __name__ == "__main__":
    sys.exit(main())
