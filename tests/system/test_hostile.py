"""Algorithms that misbehave get the right typed error in time, and the next call works."""

import re
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from processes import processes_with
from projects import write_examples
from running import RunningServer
from waiting import wait_until

TIMEOUT_S = 5
SLACK_S = 3

SECRET = f"secret-{uuid.uuid4()}"
"""In the environment of the server, where it is nobody else's business."""

SOURCES = {
    "Loop": """
def apply(input):
    if input == "well":
        return "well"
    while True:
        pass
""",
    "DeafLoop": """
import signal, time
def apply(input):
    if input == "well":
        return "well"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)
""",
    "ForkBomb": """
import os, time
def apply(input):
    if input == "well":
        return "well"
    for _ in range(10):  # 1024 of them, for a while: even a host without limits survives that
        try:
            os.fork()
        except OSError:
            pass
    time.sleep(30)
    os._exit(1)
""",
    "EatMemory": """
def apply(input):
    if input == "well":
        return "well"
    kept = []
    while True:
        kept.append(b"x" * (16 * 1024 * 1024))
""",
    "PrintGigabyte": """
import sys
def apply(input):
    if input == "well":
        return "well"
    line = "x" * 1023 + "\\n"
    for _ in range(1024 * 1024):
        sys.stdout.write(line)
    return "printed"
""",
    "WriteRoot": """
def apply(input):
    if input == "well":
        return "well"
    open("/written", "w").write("x")
""",
    "Read": """
def apply(input):
    if input == "well":
        return "well"
    with open(input, "rb") as file:
        return file.read(100).decode("latin-1")
""",
    "ReadEnvironments": """
import glob
def apply(input):
    if input == "well":
        return "well"
    told = []
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as file:
                told.append(file.read().decode("latin-1"))
        except OSError:
            pass
    return "".join(told)
""",
    "LeaveSecret": """
import os, tempfile
def apply(input):
    if input == "well":
        return "well"
    path = os.path.join(tempfile.gettempdir(), "secret")
    with open(path, "w") as file:
        file.write("secret")
    with open(path) as file:
        return [path, file.read()]
""",
    "Exit": """
import os
def apply(input):
    if input == "well":
        return "well"
    os._exit(7)
""",
    "NotANumber": """
def apply(input):
    return "well" if input == "well" else float("nan")
""",
    "Unserializable": """
def apply(input):
    return "well" if input == "well" else object()
""",
    "SixteenMegabytes": """
def apply(input):
    return "well" if input == "well" else "x" * 16_000_000
""",
    "HundredMegabytes": """
def apply(input):
    return "well" if input == "well" else "x" * 100_000_000
""",
    "Imitate": """
import os, socket, struct, json
def apply(input):
    if input == "well":
        return "well"
    header = json.dumps({"id": 12345, "content_type": "text", "run_s": 0}).encode()
    for number in range(3, 10):
        try:
            os.write(number, struct.pack("<BBHIQ", 1, 4, 0, len(header), 3) + header + b"lie")
        except OSError:
            pass
    return "truth"
""",
    "Deep": """
def apply(input):
    if input == "well":
        return "well"
    value = []
    for _ in range(100_000):
        value = [value]
    return value
""",
    "Daemon": """
import os, sys
def apply(input):
    if input == "well":
        return "well"
    if input == "exit":
        os._exit(7)
    while input == "loop":
        pass
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", input])
        os._exit(0)
    return "left a daemon"
""",
    "Network": """
import socket
def apply(input):
    if input == "well":
        return "well"
    host, port = input
    socket.create_connection((host, port), timeout=2).close()
    return "connected"
""",
    "FillDisk": """
def apply(input):
    if input == "well":
        return "well"
    with open("/tmp/fill", "wb") as file:
        while True:
            file.write(b"x" * (1024 * 1024))
""",
    "LoadForever": """
import time
def load():
    time.sleep(3600)
def apply(input):
    return "never"
""",
    "LoadFails": """
def load():
    raise ValueError("no model here")
def apply(input):
    return "never"
""",
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    place = tmp_path_factory.mktemp("hostile")
    sources = {f"bad/{name}": source for name, source in SOURCES.items()}
    examples = write_examples(place / "examples", sources)
    options = ("--demo", "--examples-dir", str(examples))
    with RunningServer(place / "home", *options, env={"SECRET": SECRET}) as running:
        yield running


Misbehave = Callable[..., dict[str, Any]]


@pytest.fixture
def misbehave(hostile: RunningServer) -> Misbehave:
    """Call an algorithm in time, then check that the next call works."""

    def call(name: str, value: Any = "badly", **options: Any) -> dict[str, Any]:
        began = time.monotonic()
        answer = hostile.call(f"bad/{name}", value, **{"timeout": TIMEOUT_S, **options})
        took_s = time.monotonic() - began

        assert took_s < float(options.get("timeout", TIMEOUT_S)) + SLACK_S
        assert answer.status_code == 200
        again = hostile.call(f"bad/{name}", "well", timeout=30)
        assert again.json()["result"] == "well", again.text
        found: dict[str, Any] = answer.json()
        return found

    return call


@pytest.mark.parametrize("name", ["Loop", "DeafLoop"])
def test_what_never_ends_is_ended(misbehave: Misbehave, name: str) -> None:
    assert misbehave(name)["error"]["error_type"] == "TimeoutError"


def test_a_fork_bomb_is_defused(misbehave: Misbehave) -> None:
    error = misbehave("ForkBomb")["error"]

    # Control groups refuse processes until the deadline; without them, watching ends the slot.
    assert error["error_type"] == "TimeoutError" or error["message"].endswith("processes")


def test_memory_has_an_end(misbehave: Misbehave) -> None:
    error = misbehave("EatMemory", timeout=60)["error"]

    assert error["error_type"] == "OutOfMemoryError"
    assert "is limited to 2048 MiB; it used 2" in error["hint"]
    assert error["message"].startswith("Failed to run algorithm")


def test_a_gigabyte_of_output_is_cut(misbehave: Misbehave) -> None:
    answer = misbehave("PrintGigabyte", timeout=120, stdout=True)

    assert answer["result"] == "printed"
    assert len(answer["metadata"]["stdout"]) < 1.1 * 1024 * 1024
    assert "bytes of output left out" in answer["metadata"]["stdout"]


def test_the_root_cannot_be_written(misbehave: Misbehave) -> None:
    error = misbehave("WriteRoot")["error"]

    assert error["error_type"] == "AlgorithmError"
    assert "/written" in error["message"]
    assert not Path("/written").exists()


@pytest.mark.parametrize(
    "path", ["/etc/shadow", "{home}/algorium.db", "{home}/credentials.json", "{home}/lock",
             "/root/.bashrc", "/sys/kernel/notes"]
)  # fmt: skip
def test_what_is_not_its_own_cannot_be_read(
    hostile: RunningServer, misbehave: Misbehave, path: str
) -> None:
    error = misbehave("Read", path.format(home=hostile.home))["error"]

    assert error["error_type"] == "AlgorithmError"
    assert re.search("No such file|Permission denied", error["message"])


def test_no_process_in_sight_tells_the_servers_secrets(
    hostile: RunningServer, misbehave: Misbehave
) -> None:
    told = misbehave("ReadEnvironments")["result"]
    level = httpx2.get(f"{hostile.api}/readyz").json()["sandbox"]["level"]

    assert "PATH=" in told or level != "full", "in a /proc of its own it sees at least itself"
    assert SECRET not in told


def test_another_slots_scratch_cannot_be_read(misbehave: Misbehave) -> None:
    path, written = misbehave("LeaveSecret")["result"]

    error = misbehave("Read", path)["error"]

    assert written == "secret"
    assert path in error["message"]
    # With a /tmp of its own the other slot sees nothing there; without, it may not look.
    assert "No such file" in error["message"] or "denied" in error["message"]


def test_leaving_is_an_exit(misbehave: Misbehave) -> None:
    error = misbehave("Exit")["error"]

    assert error == {"message": "exited with code 7", "error_type": "SystemExit"}


@pytest.mark.parametrize("name", ["NotANumber", "Unserializable", "Deep"])
def test_what_is_not_json_is_told(misbehave: Misbehave, name: str) -> None:
    error = misbehave(name)["error"]

    assert error["error_type"] == "AlgorithmError"
    assert "JSON" in error["message"]


@pytest.mark.parametrize("name", ["SixteenMegabytes", "HundredMegabytes"])
def test_too_large_is_told(misbehave: Misbehave, name: str) -> None:
    error = misbehave(name)["error"]

    assert error["error_type"] == "TooLargeError"
    assert error["message"] == "Algorithm output exceeds the 15MB limit"


def test_imitating_the_protocol_convinces_nobody(misbehave: Misbehave) -> None:
    answer = misbehave("Imitate")

    assert answer.get("result") != "lie"
    assert answer.get("result") == "truth" or answer["error"]["error_type"] == "SystemError"


@pytest.mark.parametrize(("end", "error_type"), [("exit", "SystemExit"), ("loop", "TimeoutError")])
def test_a_daemon_does_not_outlive_its_slot(
    misbehave: Misbehave, end: str, error_type: str
) -> None:
    marker = f"daemon-{uuid.uuid4()}"
    assert misbehave("Daemon", marker)["result"] == "left a daemon"
    wait_until(lambda: processes_with(marker), timeout_s=30, what="the daemon runs")

    ended = misbehave("Daemon", end)

    assert ended["error"]["error_type"] == error_type
    wait_until(lambda: not processes_with(marker), timeout_s=30, what="the daemon is gone")


def test_the_host_cannot_be_reached(hostile: RunningServer, misbehave: Misbehave) -> None:
    port = int(hostile.api.rpartition(":")[2])

    error = misbehave("Network", ["127.0.0.1", port])["error"]

    assert error["error_type"] == "AlgorithmError"


def test_the_disk_has_an_end(misbehave: Misbehave) -> None:
    error = misbehave("FillDisk", timeout=60)["error"]

    assert error["error_type"] in {"AlgorithmError", "OutOfMemoryError", "SystemExit"}


def test_loading_for_ever_times_out(hostile: RunningServer) -> None:
    began = time.monotonic()
    answer = hostile.call("bad/LoadForever", None, timeout=2)

    assert answer.json()["error"]["error_type"] == "TimeoutError"
    assert time.monotonic() - began < 2 + SLACK_S


def test_a_failed_load_is_told_every_time(hostile: RunningServer) -> None:
    for _ in range(5):
        answer: httpx2.Response = hostile.call("bad/LoadFails", None, timeout=10)

        assert answer.status_code == 200
        assert answer.json()["error"]["error_type"] == "LoadingError"
        assert answer.json()["error"]["message"] == "no model here"
