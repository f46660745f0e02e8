"""
`Hello` behind other servers, against Algorium and a bare uvicorn echo, in the same run.

Each peer is installed into a directory of its own (see README.md) and started when it is measured;
it serves the same function in two processes. Peers that are not installed are left out.

    .venv/bin/python bench/peers/run.py --install all
    .venv/bin/python bench/peers/run.py --rounds 5
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from load import Measured, Target, measure  # noqa: E402 - found beside this directory
from rig import (  # noqa: E402 - the same
    ROOT,
    bare_echo,
    free_port,
    median,
    options_of,
    parsed,
    serving,
    show,
    wait_for,
)

BODY = b'"HAL 9000"'
JSON = {"Content-Type": "application/json"}
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Peer:
    """
    Another server.

    Attributes:
        command: Starts it; `{bin}`, `{app}` and `{port}` are filled in.
        body: Of a request.
        path: Of a request.
        environment: Further variables.
        after: Cleans up, where ending the process is not enough.
    """

    command: tuple[str, ...]
    body: bytes = BODY
    path: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()


_RAY = Peer(
    command=("{bin}/python", "{app}/ray_serve_app.py", "{port}"),
    environment={
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_SERVE_REQUEST_PROCESSING_TIMEOUT_S": "60",
    },
    after=("{bin}/ray", "stop", "--force"),
)
PEERS = {
    "process_pool": Peer(command=("{bin}/python", "{app}/process_pool.py", "{port}")),
    "litserve": Peer(
        command=("{bin}/python", "{app}/litserve_app.py", "{port}"),
        body=b'{"input": "HAL 9000"}',
        path="/hello",
    ),
    "bentoml": Peer(
        command=(
            *("{bin}/bentoml", "serve", "bentoml_app:Hello", "--working-dir", "{app}"),
            *("--host", "127.0.0.1", "--port", "{port}", "--quiet"),
        ),
        body=b'{"value": "HAL 9000"}',
        path="/hello",
        environment={"BENTOML_DO_NOT_TRACK": "True"},
    ),
    "ray_serve": _RAY,
    "ray_serve_haproxy": Peer(
        command=_RAY.command,
        environment={
            **_RAY.environment,
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_EXPERIMENTAL_PIP_HAPROXY": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        },
        after=_RAY.after,
    ),
}


def main() -> int:
    """Install peers, or measure those that are installed."""
    parser = options_of(__doc__)
    parser.add_argument("--install", nargs="+", choices=("all", *PEERS), help="and do nothing else")
    parser.add_argument("--only", nargs="+", choices=tuple(PEERS), default=tuple(PEERS))
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument(
        "--place",
        type=Path,
        default=Path(tempfile.gettempdir()) / "algorium-bench-peers",
        help="directory of the peers' environments",
    )
    options = parsed(parser)
    if options.install:
        wanted = PEERS if "all" in options.install else options.install
        for name in wanted:
            _install(options.place, name)
        return 0
    installed = [name for name in options.only if (options.place / name / "bin").is_dir()]
    for name in set(options.only) - set(installed):
        print(f"bench: {name} is left out: not installed in {options.place}", file=sys.stderr)
    return show(_measured(installed, options), options)


def _install(place: Path, name: str) -> None:
    import uv  # noqa: PLC0415 - measuring needs none

    environment = place / name
    program = uv.find_uv_bin()
    subprocess.run([program, "venv", "--quiet", "--clear", str(environment)], check=True)
    python = str(environment / "bin" / "python")
    requirements = str(HERE / f"{name}.txt")
    subprocess.run([program, "pip", "install", "--python", python, "-r", requirements], check=True)


def _measured(names: list[str], options: Any) -> list[dict[str, Any]]:
    hello = (ROOT / "examples" / "demo" / "Hello" / "src" / "Hello.py").read_text(encoding="utf-8")
    runs: dict[str, list[Measured]] = {}
    with (
        tempfile.TemporaryDirectory() as scratch,
        bare_echo() as echo,
        serving(Path(scratch), {"demo/Hello": hello}) as server,
    ):
        resting = {
            "bare echo": Target(url=echo, body=BODY, headers=JSON),
            "algorium": server.target("demo/Hello", BODY),
        }
        # Peers do not rest: pools, controllers and dashboards take their share of the machine from
        # whoever is measured beside them. So each is up only while it is measured.
        for number in range(options.rounds):
            for name, target in resting.items():
                runs.setdefault(name, []).append(_run(target, options, number))
            for name in names:
                with _running(name, options.place) as target:
                    runs.setdefault(name, []).append(_run(target, options, 0))
    medians = {name: median(found) for name, found in runs.items()}
    best = max((medians[name].rate_per_s for name in names), default=0.0)
    return [
        {
            "server": name,
            "connections": options.connections,
            "per_s": round(found.rate_per_s),
            "p50_ms": round(found.p50_ms, 2),
            "p99_ms": round(found.p99_ms, 2),
            "of_bare_echo": round(found.rate_per_s / medians["bare echo"].rate_per_s, 3),
            "of_best_peer": round(found.rate_per_s / best, 2) if best else "",
        }
        for name, found in sorted(medians.items(), key=lambda item: -item[1].rate_per_s)
    ]


def _run(target: Target, options: Any, number: int) -> Measured:
    if number == 0:
        measure(target, connections=options.connections, seconds=max(options.seconds / 2, 1))
    return measure(target, connections=options.connections, seconds=options.seconds)


@contextmanager
def _running(name: str, place: Path) -> Iterator[Target]:
    peer, port = PEERS[name], free_port()
    words = {"bin": str(place / name / "bin"), "app": str(HERE / "apps"), "port": str(port)}
    environment = {**os.environ, **peer.environment, "PATH": f"{words['bin']}:{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory() as scratch, (Path(scratch) / "log").open("wb") as log:
        process = subprocess.Popen(
            [word.format(**words) for word in peer.command],
            stdout=log,
            stderr=log,
            env=environment,
            cwd=HERE / "apps",
            start_new_session=True,
        )
        try:
            target = Target(url=f"http://127.0.0.1:{port}{peer.path}", body=peer.body, headers=JSON)
            try:
                wait_for(target.url, timeout_s=START_TIMEOUT_S, body=peer.body)
            except SystemExit:
                print(
                    (Path(scratch) / "log").read_text("utf-8", "replace")[-3000:], file=sys.stderr
                )
                raise
            yield target
        finally:
            _end(process)
            if peer.after:
                command = [word.format(**words) for word in peer.after]
                subprocess.run(command, capture_output=True, env=environment, check=False)
    shutil.rmtree(HERE / "apps" / "__pycache__", ignore_errors=True)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a peer with all it started: most have worker processes in their group."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
            break
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
