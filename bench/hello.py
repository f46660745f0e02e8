"""
Warm `demo/Hello` against a bare uvicorn echo, on the same machine in the same run.

Rounds are interleaved, since shared machines drift; medians and ratios are what to quote.

    make bench                # or: .venv/bin/python bench/hello.py --rounds 5 --seconds 4
"""

import argparse
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = (1, 16, 64)
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def main() -> int:
    """Run the benchmark and print a table, or JSON with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="length of one measurement")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        print("bench: wrk is missing; install it with: sudo apt-get install wrk", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as scratch, _echo() as echo, _server(Path(scratch)) as hello:
        results = _measure(scratch, echo, hello, options.rounds, options.seconds)
    print(json.dumps(results, indent=2) if options.json else _table(results))
    return 0


def _measure(
    scratch: str, echo: str, hello: tuple[str, str], rounds: int, seconds: int
) -> list[dict[str, Any]]:
    api, key = hello
    targets = {
        "echo": (f"{echo}/", _script(Path(scratch) / "echo.lua", '"HAL 9000"', "")),
        "hello": (f"{api}/v1/algo/demo/Hello", _script(Path(scratch) / "h.lua", '"HAL 9000"', key)),
    }
    results = []
    for connections in CONNECTIONS:
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in targets}
        for url, script in targets.values():
            _wrk(url, script, connections, 1)  # warm up
        for _ in range(rounds):
            for name, (url, script) in targets.items():
                measured[name].append(_wrk(url, script, connections, seconds))
        rates = {n: statistics.median(rate for rate, _ in runs) for n, runs in measured.items()}
        p50s = {n: statistics.median(p50 for _, p50 in runs) for n, runs in measured.items()}
        results.append(
            {
                "connections": connections,
                "echo_per_s": round(rates["echo"]),
                "hello_per_s": round(rates["hello"]),
                "throughput_ratio": round(rates["hello"] / rates["echo"], 3),
                "echo_p50_ms": round(p50s["echo"], 3),
                "hello_p50_ms": round(p50s["hello"], 3),
                "p50_ratio": round(p50s["hello"] / p50s["echo"], 2),
            }
        )
    return results


def _table(results: list[dict[str, Any]]) -> str:
    rows = [list(results[0]), *([str(value) for value in row.values()] for row in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def _script(path: Path, body: str, key: str) -> Path:
    lines = [
        'wrk.method = "POST"',
        f"wrk.body = '{body}'",
        'wrk.headers["Content-Type"] = "application/json"',
    ]
    if key:
        lines.append(f'wrk.headers["Authorization"] = "Simple {key}"')
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _wrk(url: str, script: Path, connections: int, seconds: int) -> tuple[float, float]:
    """Return requests per second and the median latency in milliseconds."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    text = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"bench: errors from {url}:\n{text}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    p50 = re.search(r"50%\s+([\d.]+)(us|ms|s)", text)
    if rate is None or p50 is None:
        raise SystemExit(f"bench: cannot read wrk's output:\n{text}")
    return float(rate[1]), float(p50[1]) * _UNITS_MS[p50[2]]


@contextmanager
def _echo() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "bench"), "echo_app:app"]
    options = ["--port", str(port), "--no-access-log", "--log-level", "error", "--no-server-header"]
    process = subprocess.Popen([*command, *options])
    try:
        _wait_for(f"http://127.0.0.1:{port}/")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _server(scratch: Path) -> Iterator[tuple[str, str]]:
    """Start a server whose only demo algorithm is `demo/Hello`."""
    home = scratch / "home"
    command = [str(Path(sys.executable).with_name("algorium")), "serve", "--home", str(home)]
    demo = ["--demo", "--examples-dir", str(_only_hello(scratch)), "--port", "0"]
    process = subprocess.Popen([*command, *demo], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("ready "):
                break
        else:
            raise SystemExit("bench: the server did not start")
        endpoint = json.loads((home / "endpoint.json").read_text(encoding="utf-8"))
        credentials = json.loads((home / "credentials.json").read_text(encoding="utf-8"))
        yield endpoint["api"], credentials["api_key"]
    finally:
        process.terminate()
        process.wait()


def _only_hello(scratch: Path) -> Path:
    """Copy the examples with a catalog cut after its first algorithm, `demo/Hello`."""
    examples = scratch / "examples"
    shutil.copytree(ROOT / "examples" / "demo", examples / "demo")
    catalog = (ROOT / "examples" / "catalog.toml").read_text(encoding="utf-8")
    _, first, *_ = catalog.split("[[algorithm]]")
    (examples / "catalog.toml").write_text(f"[[algorithm]]{first}", encoding="utf-8")
    return examples


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, data=b"1", timeout=1).read()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"bench: {url} does not answer")


if __name__ == "__main__":
    sys.exit(main())
