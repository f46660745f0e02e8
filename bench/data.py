"""
Files up and down, large and small, next to nginx and to the bare disk in the same run.

Aims: half of nginx's rate for large files both ways, 1,000 small uploads/s per core, listings of
100,000 files at 20 pages/s, less than 150 MiB of memory during an upload of 5 GB.

nginx takes uploads by WebDAV and flushes nothing; what it has stored is flushed afterwards, and
the time for that counts as its own. Without nginx (`apt-get install nginx-core`) its columns are
empty.

    .venv/bin/python bench/data.py
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from rig import MIB, Server, free_port, in_turn, options_of, parsed, resident_bytes, serving, show
from store_of import changing

from algorium_server.domain.collections import File
from algorium_server.store import columns
from algorium_server.store.tables import files as tables

SMALL_BYTES = 4096
PARALLEL = 16
COLLECTION = "bench"
_BUFFER = b"\xa5" * MIB

NGINX = """
daemon off;
error_log stderr error;
pid {scratch}/nginx.pid;
worker_processes auto;
events {{ worker_connections 256; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000;
    client_max_body_size 0;
    client_body_temp_path {scratch}/body;
    server {{
        listen 127.0.0.1:{port};
        root {scratch}/files;
        dav_methods PUT DELETE;
        create_full_put_path on;
    }}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """
    Where files are brought to.

    Attributes:
        prefix: Of the path of every file.
        headers: Sent with every request.
        flushed: Files that must be flushed before an upload counts as done.
    """

    address: tuple[str, int]
    prefix: str
    headers: Mapping[str, str] = field(default_factory=dict)
    flushed: Path | None = None

    def head(self, method: str, name: str, size_bytes: int) -> bytes:
        """Return the head of a request."""
        lines = [f"{method} {self.prefix}{name} HTTP/1.1", "Host: bench"]
        lines += [f"{key}: {value}" for key, value in self.headers.items()]
        if method == "PUT":
            lines.append(f"Content-Length: {size_bytes}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def connect(self) -> socket.socket:
        """Return a connection."""
        connection = socket.create_connection(self.address, timeout=120)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def put(self, connection: socket.socket, name: str, size_bytes: int) -> None:
        """Bring up one file."""
        head = self.head("PUT", name, size_bytes)
        if size_bytes <= MIB:
            connection.sendall(head + _BUFFER[:size_bytes])
        else:
            connection.sendall(head)
            for start in range(0, size_bytes, MIB):
                connection.sendall(_BUFFER[: min(MIB, size_bytes - start)])
        _take(connection)

    def get(self, connection: socket.socket, name: str, size_bytes: int) -> None:
        """Bring down one file."""
        connection.sendall(self.head("GET", name, 0))
        if _take(connection) != size_bytes:
            raise SystemExit(f"bench: {name} is not as long as it was")

    def flush(self) -> None:
        """Make what was stored durable, for those that have not done it."""
        if self.flushed is not None:
            subprocess.run(["sync", "-f", str(self.flushed)], check=True)


def _take(connection: socket.socket) -> int:
    """Read an answer; return how long its body was."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise SystemExit("bench: the connection was closed")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1][:1] != b"2":
        raise SystemExit(f"bench: an error: {data[:500]!r}")
    length = next(
        (
            int(line.partition(b":")[2])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ),
        0,
    )
    left, buffer = length - len(body), bytearray(MIB)
    while left > 0:
        left -= connection.recv_into(buffer, min(left, MIB))
    return length


def timed(
    site: Site, way: str, names: Sequence[str], size_bytes: int, *, connections: int
) -> float:
    """Bring files up or down over so many connections; return the seconds that took."""

    def work(number: int) -> None:
        connection = site.connect()
        move = site.put if way == "up" else site.get
        for name in names[number::connections]:
            move(connection, name, size_bytes)
        connection.close()

    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as threads:
        list(threads.map(work, range(connections)))
    if way == "up":
        site.flush()
    return time.perf_counter() - began


def bare_disk(directory: Path, way: str, size_bytes: int) -> float:
    """Write or read as many bytes in one file; return the seconds that took."""
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
    return time.perf_counter() - began


@contextmanager
def nginx(scratch: Path) -> Iterator[Site | None]:
    """Run nginx, if it is there."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        yield None
        return
    for name in ("files", "body"):
        (scratch / name).mkdir(parents=True)
        (scratch / name).chmod(0o777)
    scratch.chmod(0o711)
    scratch.parent.chmod(0o711)
    port = free_port()
    configuration = scratch / "nginx.conf"
    configuration.write_text(NGINX.format(scratch=scratch, port=port), encoding="utf-8")
    process = subprocess.Popen([program, "-c", str(configuration), "-p", str(scratch)])
    try:
        site = Site(address=("127.0.0.1", port), prefix="/", flushed=scratch / "files")
        for _ in range(100):
            try:
                site.connect().close()
            except OSError:
                time.sleep(0.05)
            else:
                break
        yield site
    finally:
        process.terminate()
        process.wait()


def site_of(server: Server) -> Site:
    """Return the server's data, with a collection to fill."""
    _ask(server, "POST", "/v1/data/.my", f'{{"name":"{COLLECTION}"}}'.encode())
    address = urlsplit(server.api)
    assert address.hostname is not None
    assert address.port is not None
    return Site(
        address=(address.hostname, address.port),
        prefix=f"/v1/data/.my/{COLLECTION}/",
        headers={"Authorization": f"Simple {server.key}"},
    )


def _ask(server: Server, method: str, path: str, body: bytes | None = None) -> bytes:
    headers = {"Authorization": f"Simple {server.key}"}
    request = urllib.request.Request(server.api + path, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        found: bytes = answer.read()
        return found


def transfers(
    sites: Mapping[str, Site], scratch: Path, *, large_bytes: int, small_files: int, rounds: int
) -> list[dict[str, Any]]:
    """Measure all transfers; every round has names of its own, and what it stored is kept."""
    rows = []
    for connections in (1, PARALLEL):
        size = large_bytes // connections
        names = [f"large{connections}_{number}" for number in range(connections)]
        for way in ("up", "down"):
            contestants: dict[str, Callable[[], float]] = {
                name: _once(site, way, names, size, connections) for name, site in sites.items()
            }
            contestants["disk"] = lambda way=way: bare_disk(scratch, way, large_bytes)  # type: ignore[misc]
            found = in_turn(contestants, rounds=rounds)
            rows.append(
                _row(f"{large_bytes // MIB} MiB {way}", connections, "MiB/s", found,
                     large_bytes / MIB)
            )  # fmt: skip
    for connections in (1, PARALLEL):
        names = [f"small{connections}_{number}" for number in range(small_files)]
        for way in ("up", "down"):
            found = in_turn(
                {
                    name: _once(site, way, names, SMALL_BYTES, connections)
                    for name, site in sites.items()
                },
                rounds=rounds,
            )
            what = f"{small_files} x 4 KiB {way}"
            rows.append(_row(what, connections, "files/s", found, small_files))
    return rows


def _once(
    site: Site, way: str, names: Sequence[str], size_bytes: int, connections: int
) -> Callable[[], float]:
    return lambda: timed(site, way, names, size_bytes, connections=connections)


def _row(
    what: str, connections: int, unit: str, found: Mapping[str, Sequence[float]], amount: float
) -> dict[str, Any]:
    rates = {name: amount / statistics.median(runs) for name, runs in found.items()}
    ratio = rates["algorium"] / rates["nginx"] if "nginx" in rates else None
    return {
        "what": what,
        "connections": connections,
        "unit": unit,
        "algorium": round(rates["algorium"]),
        "nginx": round(rates["nginx"]) if "nginx" in rates else "",
        "ratio": "" if ratio is None else round(ratio, 2),
        "disk": round(rates["disk"]) if "disk" in rates else "",
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
    return {
        "what": f"list {files} files",
        "connections": 1,
        "unit": "pages/s",
        "algorium": round(rate, 1),
        "nginx": "",
        "ratio": "",
        "disk": "",
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
    timed(site, "up", ["long"], size_bytes, connections=1)
    done.set()
    looking.join()
    return {
        "what": f"memory, {size_bytes // MIB} MiB up",
        "connections": 1,
        "unit": "MiB",
        "algorium": round(peak / MIB),
        "nginx": "",
        "ratio": "",
        "disk": "",
    }


def main() -> int:
    """Run the benchmark."""
    parser = options_of(__doc__, rounds=1)
    parser.add_argument("--large-mib", type=int, default=1024)
    parser.add_argument("--small-files", type=int, default=10_000)
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
        rows += transfers(
            sites,
            Path(scratch),
            large_bytes=options.large_mib * MIB,
            small_files=options.small_files,
            rounds=options.rounds,
        )
        rows.append(listing(server, options.listed_files))
    return show(rows, options)


if __name__ == "__main__":
    sys.exit(main())
