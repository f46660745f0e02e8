"""
Files up and down, large and small, next to nginx and to the bare disk in the same run.

Aims: half of nginx's rate for large files both ways, 1,000 small uploads/s per core, listings of
100,000 files at 20 pages/s, less than 150 MiB of memory during an upload of 5 GB.

nginx takes uploads by WebDAV and flushes nothing; what it has stored is flushed afterwards, and
the time for that counts as its own. Without nginx (`apt-get install nginx-core`) its columns are
empty. The columns with `cpu_ms` tell the processor time of the server for each MiB or file: its
inverse is what a core does.

    .venv/bin/python bench/data.py
"""

import os
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from rig import MIB, Server, in_turn, options_of, parsed, resident_bytes, serving, show
from sites import Site, nginx
from small import SMALL_BYTES, SmallFiles, Spent, has_wrk, spending
from store_of import changing

from algorium_server.domain.collections import File
from algorium_server.store import columns
from algorium_server.store.tables import files as tables

PARALLEL = 16
COLLECTION = "bench"
_BUFFER = b"\xa5" * MIB
_COLUMNS = ("what", "connections", "unit", "algorium", "nginx", "ratio", "disk")
_EMPTY: Mapping[str, Any] = dict.fromkeys((*_COLUMNS, "algorium_cpu_ms", "nginx_cpu_ms"), "")


def moved(
    site: Site,
    way: str,
    names: Sequence[str],
    size_bytes: int,
    *,
    connections: int,
    amount: float,
) -> Spent:
    """Bring files up or down over so many connections; tell what that took."""

    def work(number: int) -> None:
        connection = site.connect()
        move = site.put if way == "up" else site.get
        for name in names[number::connections]:
            move(connection, name, size_bytes)
        connection.close()

    with spending(site.pid) as spent:
        with ThreadPoolExecutor(connections) as threads:
            list(threads.map(work, range(connections)))
        if way == "up":
            site.flush()
    return spent(amount)


def bare_disk(directory: Path, way: str, size_bytes: int) -> Spent:
    """Write or read as many bytes in one file; tell what that took."""
    path = directory / "bare"
    began = time.perf_counter()
    if way == "up":
        with path.open("wb", buffering=0) as file:
            for start in range(0, size_bytes, MIB):
                file.write(_BUFFER[: min(MIB, size_bytes - start)])
            os.fsync(file.fileno())
    else:
        buffer = bytearray(MIB)
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    seconds = time.perf_counter() - began
    return Spent(amount=size_bytes / MIB, seconds=seconds, processor_s=0.0)


def site_of(server: Server) -> Site:
    """Return the server's data, with a collection to fill."""
    _ask(server, "POST", "/v1/data/.my", f'{{"name":"{COLLECTION}"}}'.encode())
    address = urlsplit(server.api)
    assert address.hostname is not None
    assert address.port is not None
    return Site(
        address=(address.hostname, address.port),
        prefix=f"/v1/data/.my/{COLLECTION}/",
        pid=server.pid,
        headers={"Authorization": f"Simple {server.key}"},
    )


def _ask(server: Server, method: str, path: str, body: bytes | None = None) -> bytes:
    headers = {"Authorization": f"Simple {server.key}"}
    request = urllib.request.Request(server.api + path, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        found: bytes = answer.read()
        return found


def large(
    sites: Mapping[str, Site], scratch: Path, *, size_bytes: int, rounds: int
) -> list[dict[str, Any]]:
    """Measure long files; further rounds replace those of the first."""
    rows = []
    for connections in (1, PARALLEL):
        names = [f"large{connections}_{number}" for number in range(connections)]
        for way in ("up", "down"):
            contestants: dict[str, Callable[[], Spent]] = {
                name: partial(
                    moved,
                    site,
                    way,
                    names,
                    size_bytes // connections,
                    connections=connections,
                    amount=size_bytes / MIB,
                )
                for name, site in sites.items()
            }
            contestants["disk"] = partial(bare_disk, scratch, way, size_bytes)
            found = in_turn(contestants, rounds=rounds)
            rows.append(_row(f"{size_bytes // MIB} MiB {way}", connections, "MiB/s", found))
    return rows


def small(
    sites: Mapping[str, Site], *, files: int, seconds: float, rounds: int
) -> list[dict[str, Any]]:
    """Measure files of 4 KiB: for some time with `wrk`, else so many of them."""
    rows = []
    for connections in (1, PARALLEL):
        loads = {
            name: SmallFiles(site, connections=connections, seconds=seconds)
            for name, site in sites.items()
        }
        names = [f"few{connections}_{number}" for number in range(files)]
        for way in ("up", "down"):
            contestants: dict[str, Callable[[], Spent]] = {
                name: partial(load.move, way)
                if has_wrk()
                else partial(
                    moved,
                    load.site,
                    way,
                    names,
                    SMALL_BYTES,
                    connections=connections,
                    amount=files,
                )
                for name, load in loads.items()
            }
            found = in_turn(contestants, rounds=rounds)
            rows.append(_row(f"4 KiB {way}", connections, "files/s", found))
    return rows


def _row(
    what: str, connections: int, unit: str, found: Mapping[str, Sequence[Spent]]
) -> dict[str, Any]:
    rates = {
        name: statistics.median(run.rate_per_s for run in runs) for name, runs in found.items()
    }
    ratio = rates["algorium"] / rates["nginx"] if "nginx" in rates else None
    cpu_ms = {
        name: round(statistics.median(run.processor_ms for run in runs), 2)
        for name, runs in found.items()
    }
    return _EMPTY | {
        "what": what,
        "connections": connections,
        "unit": unit,
        "ratio": "" if ratio is None else round(ratio, 2),
        **{name: round(rate) for name, rate in rates.items()},
        **{f"{name}_cpu_ms": cpu_ms[name] for name in ("algorium", "nginx") if name in cpu_ms},
    }


def listing(server: Server, files: int) -> dict[str, Any]:
    """Fill a collection by hand, then list it."""
    _ask(server, "POST", "/v1/data/.my", b'{"name":"many"}')
    with changing(server.home) as store:

        async def fill() -> None:
            async with store.database.transaction() as connection:
                found = await connection.execute(
                    tables.collections.select().where(tables.collections.c.name == "many")
                )
                collection_id = found.mappings().one()["collection_id"]
                for start in range(0, files, 10_000):
                    rows = [
                        columns.row_of(_file(collection_id, number)) | {"content": b""}
                        for number in range(start, min(start + 10_000, files))
                    ]
                    await connection.execute(tables.files.insert(), rows)

        store.run(fill())
    pages, marker, began = 0, "", time.perf_counter()
    while True:
        page = _ask(server, "GET", f"/v1/data/.my/many?marker={marker}")
        pages += 1
        _, _, rest = page.partition(b'"marker":"')
        marker = rest.partition(b'"')[0].decode()
        if not marker:
            break
    rate = pages / (time.perf_counter() - began)
    return _EMPTY | {
        "what": f"list {files} files",
        "connections": 1,
        "unit": "pages/s",
        "algorium": round(rate, 1),
    }


def _file(collection_id: str, number: int) -> File:
    return File(
        file_id=str(uuid4()),
        collection_id=collection_id,
        name=f"file{number:08}.bin",
        size_bytes=0,
        blob=f"row-{uuid4().hex}",
        md5="d41d8cd98f00b204e9800998ecf8427e",
        checksum="blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        modified_at=datetime.now(UTC),
    )


def memory(server: Server, site: Site, size_bytes: int) -> dict[str, Any]:
    """Upload one long file; tell the most memory that the server had meanwhile."""
    peak, done = 0, threading.Event()

    def look() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, resident_bytes(server.pid))

    looking = threading.Thread(target=look)
    looking.start()
    moved(site, "up", ["long"], size_bytes, connections=1, amount=size_bytes / MIB)
    done.set()
    looking.join()
    return _EMPTY | {
        "what": f"memory, {size_bytes // MIB} MiB up",
        "connections": 1,
        "unit": "MiB",
        "algorium": round(peak / MIB),
    }


def main() -> int:
    """Run the benchmark."""
    parser = options_of(__doc__, rounds=1, seconds=10.0)
    parser.add_argument("--large-mib", type=int, default=1024)
    parser.add_argument("--small-files", type=int, default=10_000, help="without wrk")
    parser.add_argument("--listed-files", type=int, default=100_000)
    parser.add_argument("--memory-mib", type=int, default=5 * 1024)
    options = parsed(parser)
    if options.quick:
        options.large_mib, options.small_files = 128, 1000
        options.listed_files, options.memory_mib = 10_000, 512
    with (
        tempfile.TemporaryDirectory() as scratch,
        nginx(Path(scratch) / "nginx") as other,
        serving(Path(scratch), {}) as server,
    ):
        site = site_of(server)
        sites = {"algorium": site} | ({"nginx": other} if other else {})
        # First, while the server holds nothing from other measurements.
        rows = [memory(server, site, options.memory_mib * MIB)]
        size_bytes = options.large_mib * MIB
        rows += large(sites, Path(scratch), size_bytes=size_bytes, rounds=options.rounds)
        rows += small(
            sites, files=options.small_files, seconds=options.seconds, rounds=options.rounds
        )
        rows.append(listing(server, options.listed_files))
    return show(rows, options)


if __name__ == "__main__":
    sys.exit(main())
