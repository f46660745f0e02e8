"""
10,000 registered algorithms against 10: the latency of a warm call, and the start of the server.

Their rows are written by the server's own store; all of them share one build, and one is called.
Aims: p50 within 5 %, ready within 3 s.

    .venv/bin/python bench/many.py --rounds 5
"""

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rig import load_in_turn, options_of, parsed, serving, show

from algorium_server.store import algorithms as rows
from algorium_server.store.database import Database, sqlite_url

HELLO = "def apply(input):\n    return f'Hello {input}'\n"
CONNECTIONS = (1, 16)


def main() -> int:
    """Run the benchmark."""
    parser = options_of(__doc__)
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--many", type=int, default=10_000)
    options = parsed(parser)
    sizes = (options.few, options.many)
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        with serving(scratch, {"bench/Hello": HELLO}, name="first"):
            pass
        for size in sizes:
            shutil.copytree(scratch / "first", scratch / str(size), symlinks=True)
            asyncio.run(_register(scratch / str(size), size - 1))
        starts = _starts(scratch, sizes, options.rounds)
        calls = _calls(scratch, sizes, options)
    few, many = sizes
    results: list[dict[str, Any]] = [
        {
            "what": "start to ready, s",
            str(few): round(starts[few], 2),
            str(many): round(starts[many], 2),
            "ratio": round(starts[many] / starts[few], 2),
        }
    ]
    for (connections, what), found in calls.items():
        results.append(
            {
                "what": f"{what}, {connections} connections",
                str(few): round(found[few], 3),
                str(many): round(found[many], 3),
                "ratio": round(found[many] / found[few], 3),
            }
        )
    return show(results, options)


def _starts(scratch: Path, sizes: tuple[int, int], rounds: int) -> dict[int, float]:
    took: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(max(rounds, 2)):
        for size in sizes:
            began = time.monotonic()
            with serving(scratch, {}, name=str(size)):
                took[size].append(time.monotonic() - began)
    return {size: statistics.median(each) for size, each in took.items()}


def _calls(
    scratch: Path, sizes: tuple[int, int], options: Any
) -> dict[tuple[int, str], dict[int, float]]:
    found: dict[tuple[int, str], dict[int, float]] = {}
    with ExitStack() as stack:
        servers = {
            size: stack.enter_context(serving(scratch, {}, name=str(size))) for size in sizes
        }
        targets = {
            str(size): server.target("bench/Hello", b'"you"') for size, server in servers.items()
        }
        for connections in CONNECTIONS:
            medians = load_in_turn(
                targets, connections=connections, seconds=options.seconds, rounds=options.rounds
            )
            for size in sizes:
                run = medians[str(size)]
                found.setdefault((connections, "p50 ms"), {})[size] = run.p50_ms
                found.setdefault((connections, "calls/s"), {})[size] = run.rate_per_s
    return found


async def _register(home: Path, count: int) -> None:
    """Copy the one algorithm's rows *count* times, under other names and ids."""
    async with (
        await Database.open(sqlite_url(home / "algorium.db")) as database,
        database.transaction() as connection,
    ):
        first = (await rows.algorithms(connection))[0]
        build = (await rows.builds(connection))[0]
        version = (await rows.versions(connection))[0]
        now = datetime.now(UTC)
        for number in range(count):
            algorithm_id, build_id = str(uuid.uuid4()), str(uuid.uuid4())
            await rows.add_algorithm(
                connection,
                replace(first, algorithm_id=algorithm_id, name=f"Copy{number}", created_at=now),
            )
            copied = replace(build, build_id=build_id, algorithm_id=algorithm_id)
            await rows.add_build(connection, copied)
            await rows.update_build(connection, copied)
            await rows.add_version(
                connection,
                replace(
                    version,
                    version_id=str(uuid.uuid4()),
                    algorithm_id=algorithm_id,
                    build_id=build_id,
                ),
            )


if __name__ == "__main__":
    sys.exit(main())
