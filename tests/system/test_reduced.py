"""Where the host forbids user namespaces the server still serves, and says what it lacks."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from projects import write_examples
from running import ALGORIUM, RunningServer

WITHOUT_NAMESPACES = (
    "unshare",
    "--user",
    "--map-root-user",
    "sh",
    "-c",
    'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"',
    "sh",
)

SOURCES = {
    "Hello": """
def apply(input):
    return f"Hello {input}"
""",
    "Read": """
def apply(input):
    with open(input, "rb") as file:
        return file.read(100).decode("latin-1")
""",
    "Write": """
def apply(input):
    with open(input, "w") as file:
        file.write("x")
""",
    "Connect": """
import socket
def apply(input):
    socket.create_connection(tuple(input), timeout=2).close()
    return "connected"
""",
    "Datagram": """
import socket
def apply(input):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))
    return "sent"
""",
    "Kill": """
import os
def apply(input):
    os.kill(input, 0)
    return "reached"
""",
    "Loop": """
def apply(input):
    while True:
        pass
""",
    "Nested": """
import json, os, urllib.request
def apply(input):
    request = urllib.request.Request(
        os.environ["ALGORITHMIA_API"] + "/v1/algo/less/Hello",
        data=json.dumps(input).encode(),
        headers={"Content-Type": "application/json"},
    )
    return json.load(urllib.request.urlopen(request))["result"]
""",
}


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    tried = subprocess.run([*WITHOUT_NAMESPACES, "true"], capture_output=True, text=True)
    prefix = WITHOUT_NAMESPACES
    if tried.returncode != 0:
        if "unshare" not in tried.stderr:
            pytest.skip(f"namespaces cannot be forbidden here: {tried.stderr.strip()}")
        prefix = ()  # they are forbidden already
    place = tmp_path_factory.mktemp("reduced")
    sources = {f"less/{name}": source for name, source in SOURCES.items()}
    examples = write_examples(place / "examples", sources)
    with RunningServer(
        place / "home", "--demo", "--examples-dir", str(examples), prefix=prefix
    ) as running:
        yield running


def failure(reduced: RunningServer, name: str, value: object) -> str:
    answer = reduced.call(f"less/{name}", value, timeout=10)
    assert answer.status_code == 200
    assert "error" in answer.json(), answer.text
    message: str = answer.json()["error"]["message"]
    return message


def test_it_serves_and_says_what_it_lacks(reduced: RunningServer) -> None:
    report = httpx2.get(f"{reduced.api}/readyz").json()["sandbox"]

    assert report["level"] == "reduced"
    assert report["unprotected"]
    assert reduced.call("less/Hello", "there").json()["result"] == "Hello there"
    assert any(line.startswith("sandbox  reduced") for line in reduced.lines)


@pytest.mark.parametrize(
    "path", ["/etc/shadow", "{home}/algorium.db", "{home}/credentials.json", "/root/.bashrc"]
)
def test_foreign_files_cannot_be_read(reduced: RunningServer, path: str) -> None:
    assert "denied" in failure(reduced, "Read", path.format(home=reduced.home))


@pytest.mark.parametrize("path", ["/written", "/tmp/written", "{home}/written"])
def test_nothing_outside_can_be_written(reduced: RunningServer, path: str) -> None:
    where = path.format(home=reduced.home)

    assert failure(reduced, "Write", where)
    assert not Path(where).exists()


def test_other_ports_cannot_be_reached(reduced: RunningServer) -> None:
    port = int(reduced.api.rpartition(":")[2])

    assert failure(reduced, "Connect", ["127.0.0.1", port])
    assert failure(reduced, "Datagram", None)


def test_other_processes_cannot_be_signalled(reduced: RunningServer) -> None:
    assert failure(reduced, "Kill", reduced.pid)


def test_deadlines_hold(reduced: RunningServer) -> None:
    answer = reduced.call("less/Loop", None, timeout=1)

    assert answer.json()["error"]["error_type"] == "TimeoutError"
    assert answer.elapsed.total_seconds() < 4


def test_the_platform_can_be_reached_from_inside(reduced: RunningServer) -> None:
    assert reduced.call("less/Nested", "inside").json()["result"] == "Hello inside"


def test_full_refuses_less(tmp_path: Path, reduced: RunningServer) -> None:
    command = [*reduced.prefix, str(ALGORIUM), "serve", "--home", str(tmp_path / "home")]
    done = subprocess.run(
        [*command, "--port", "0", "--sandbox", "full"], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 1
    first, *rest = done.stderr.splitlines()
    assert first.startswith("algorium: sandbox level full is not possible on this host. ")
    assert "allow user namespaces" in first + " ".join(rest), "it names the remedy"
    assert "Traceback" not in done.stderr
