"""
A load generator: so many connections, each asking again as soon as it was answered.

Measures with `wrk` where it is installed, else by itself: an asyncio client in a process of its
own, which takes more of the machine from the server than wrk does.
"""

import argparse
import asyncio
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools

_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
_TIMEOUT_S = 60


class Measured(NamedTuple):
    """Requests per second, and the time that half and 99 % of them took at most."""

    rate_per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, kw_only=True)
class Target:
    """A request to make, always with POST."""

    url: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def measure(target: Target, *, connections: int, seconds: float) -> Measured:
    """
    Load a server and return what it did.

    Raises:
        SystemExit: It answered with anything but success.
    """
    with tempfile.TemporaryDirectory() as scratch:
        body = Path(scratch) / "body"
        body.write_bytes(target.body)
        if shutil.which("wrk"):
            return _by_wrk(target, body, connections=connections, seconds=seconds)
        command = [sys.executable, __file__, target.url, str(body), json.dumps(target.headers)]
        done = subprocess.run(
            [*command, str(connections), str(seconds)], check=False, capture_output=True, text=True
        )
    if done.returncode != 0:
        raise SystemExit(f"bench: errors from {target.url}:\n{done.stderr}")
    return Measured(*json.loads(done.stdout))


def _by_wrk(target: Target, body: Path, *, connections: int, seconds: float) -> Measured:
    script = body.with_name("script.lua")
    lines = [
        'wrk.method = "POST"',
        f'wrk.body = io.open("{body}", "rb"):read("*a")',
        *(f'wrk.headers["{name}"] = "{value}"' for name, value in target.headers.items()),
    ]
    script.write_text("\n".join(lines), encoding="utf-8")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--latency"]
    command += ["--timeout", f"{_TIMEOUT_S}s", "-s", str(script), target.url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"bench: errors from {target.url}:\n{text}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    times = {share: re.search(share + r"%\s+([\d.]+)(us|ms|s|m)\b", text) for share in ("50", "99")}
    if rate is None or times["50"] is None or times["99"] is None:
        raise SystemExit(f"bench: cannot read wrk's output:\n{text}")
    p50_ms, p99_ms = (float(t[1]) * _UNITS_MS[t[2]] for t in times.values() if t is not None)
    return Measured(float(rate[1]), p50_ms, p99_ms)


class _Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, request: bytes, took_s: list[float], ends_at: float) -> None:
        self._request = request
        self._took_s = took_s
        self._ends_at = ends_at
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"no HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the connection was closed")

    def on_message_complete(self) -> None:
        """Go on, or stop."""
        now = time.perf_counter()
        status = self._parser.get_status_code()
        if not 200 <= status < 300:
            self._end(f"status {status}")
        elif now >= self._ends_at:
            self._took_s.append(now - self._asked_at)
            self._end("")
        else:
            self._took_s.append(now - self._asked_at)
            self._ask()

    def _ask(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._asked_at = time.perf_counter()
        self._transport.write(self._request)

    def _end(self, fault: str) -> None:
        if self.finished.done():
            return
        if fault:
            self.finished.set_exception(RuntimeError(fault))
        else:
            self.finished.set_result(None)
        self._transport.close()


async def _load(target: Target, *, connections: int, seconds: float) -> Measured:
    address = urlsplit(target.url)
    path = (address.path or "/") + (f"?{address.query}" if address.query else "")
    fields = {"Host": address.netloc, "Content-Length": str(len(target.body)), **target.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    request = f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + target.body
    took_s: list[float] = []
    began = time.perf_counter()
    loop = asyncio.get_running_loop()
    callers = [
        (
            await loop.create_connection(
                lambda: _Caller(request, took_s, began + seconds), address.hostname, address.port
            )
        )[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(caller.finished for caller in callers))
    spent_s = time.perf_counter() - began
    if len(took_s) < 2:  # a warm-up that the start of a slot took whole
        return Measured(len(took_s) / spent_s, spent_s * 1000, spent_s * 1000)
    shares = statistics.quantiles(took_s, n=100)
    return Measured(len(took_s) / spent_s, shares[49] * 1000, shares[98] * 1000)


def main() -> int:
    """Load a server; prints a JSON list of what `Measured` holds."""
    parser = argparse.ArgumentParser(description=__doc__.strip().partition("\n\n")[0])
    parser.add_argument("url")
    parser.add_argument("body", help="file with the body of every request")
    parser.add_argument("headers", help="JSON object")
    parser.add_argument("connections", type=int)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    target = Target(
        url=options.url,
        body=Path(options.body).read_bytes(),
        headers=json.loads(options.headers),
    )
    measured = asyncio.run(_load(target, connections=options.connections, seconds=options.seconds))
    print(json.dumps(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
