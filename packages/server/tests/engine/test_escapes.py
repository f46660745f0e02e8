"""What foreign code cannot do, tried by `attempts.py` inside a real sandbox."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sandboxes import CONFINING, PYTHON, Stage, python, read_line

import algorium_runtime
from algorium_server.engine.sandbox import RUNTIME_DIR, Mechanism

ATTEMPTS = Path(__file__).with_name("attempts.py")
NAMES = re.findall(r'^    "(\w+)": lambda|^    "(\w+)": \w+,$', ATTEMPTS.read_text(), re.MULTILINE)
NAMES = [first or second for first, second in NAMES]
PRETENDED = {"change_mode_by_descriptor"}
"""What may say it worked; the file is looked at afterwards."""

OTHER_SLOT = """
import os, time
path = os.path.join(os.environ['TMPDIR'], 'other-slot')
open(path, 'w').write('private')
print(path)
time.sleep(600)
"""


@dataclass
class Evidence:
    """What a sandbox said, and what can be seen from outside afterwards."""

    said: dict[str, str]
    secret: Path
    mode: int
    seen: os.stat_result
    tcp: socket.socket
    udp: socket.socket
    abstract: socket.socket
    by_path: socket.socket


@contextlib.contextmanager
def host_things(directory: Path) -> Iterator[tuple[dict[str, Any], Evidence]]:
    secret = directory / "host" / "secret"
    secret.parent.mkdir()
    secret.write_text("host secret")
    secret.chmod(0o644)
    marker = f"marker-{os.urandom(6).hex()}"
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)", marker]
    with contextlib.ExitStack() as stack:
        victim = stack.enter_context(subprocess.Popen(sleeper, env={"MARKER": marker}))
        stack.callback(victim.kill)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0{marker}")
        abstract.listen()
        by_path = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        by_path.bind(str(directory / "s"))
        for each in (tcp, udp, abstract, by_path):
            each.setblocking(False)
        where = {
            "secret": str(secret),
            "pid": victim.pid,
            "marker": marker,
            "tcp_port": tcp.getsockname()[1],
            "udp_port": udp.getsockname()[1],
            "abstract": marker,
            "unix_path": str(directory / "s"),
        }
        yield (
            where,
            Evidence({}, secret, secret.stat().st_mode, secret.stat(), tcp, udp, abstract, by_path),
        )


@pytest.fixture(scope="module")
def evidence(request, stages, tmp_path_factory) -> Iterator[Evidence]:
    mechanism: Mechanism = request.param
    stage: Stage = stages[mechanism]
    directory = tmp_path_factory.mktemp("e")
    runtime = Path(str(algorium_runtime.__file__)).parent
    with host_things(directory) as (where, evidence):
        other = stage.runner.run(stage.host.spawn(python(OTHER_SLOT)))
        where |= {
            "other_slot_file": stage.runner.run(read_line(other.stdout_fd)),
            "runtime": RUNTIME_DIR if mechanism.has_own_root else str(runtime),
            "has_own_pids": mechanism.has_own_root,
        }
        spec = python("", has_slot_socket=True, has_listener=True)
        argv = (PYTHON, "-I", "-c", ATTEMPTS.read_text(), json.dumps(where))
        outcome = stage.run(replace(spec, argv=argv), timeout_s=60)
        stage.runner.run(other.kill(0))
        other.close()
        assert outcome.status.code == 0, outcome.stderr
        evidence.said = json.loads(outcome.stdout)
        yield evidence


everywhere = pytest.mark.parametrize("evidence", CONFINING, indirect=True)


@everywhere
@pytest.mark.parametrize("name", NAMES)
def test_refused(evidence: Evidence, name: str):
    allowed = {"refused"} | ({"None"} if name in PRETENDED else set())

    assert evidence.said[name] in allowed


@everywhere
def test_every_attempt_has_its_test(evidence: Evidence):
    assert set(evidence.said) == set(NAMES)


@everywhere
def test_the_hosts_file_is_as_it_was(evidence: Evidence):
    now = evidence.secret.stat()

    assert evidence.secret.read_text() == "host secret"
    assert (now.st_mode, now.st_mtime_ns, now.st_nlink) == (
        evidence.seen.st_mode,
        evidence.seen.st_mtime_ns,
        1,
    )


@everywhere
@pytest.mark.parametrize("name", ["tcp", "abstract"])
def test_nobody_connected(evidence: Evidence, name: str):
    with pytest.raises(BlockingIOError):
        getattr(evidence, name).accept()


@everywhere
@pytest.mark.parametrize("name", ["udp", "by_path"])
def test_no_datagram_arrived(evidence: Evidence, name: str):
    with pytest.raises(BlockingIOError):
        getattr(evidence, name).recv(10)
