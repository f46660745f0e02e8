"""A real worker process on a real socket pair, as the platform would start it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from algorium_runtime import frames

RUNTIME = Path(frames.__file__).parent
DEADLINE_S = 20.0
ON_DESCRIPTOR_3 = """
import os, sys
descriptor = int(sys.argv[1])
os.dup2(descriptor, 3)
if descriptor != 3:
    os.close(descriptor)
os.set_inheritable(3, True)
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_oldest_python() -> str | None:
    """Return an interpreter of the oldest version that authors may bring, if there is one."""
    installed = [str(path) for path in Path.home().glob(".pyenv/versions/3.8.*/bin/python")]
    candidates = [*installed, shutil.which("python3.8") or ""]
    return next((path for path in candidates if path and is_python(path)), None)


def is_python(path: str) -> bool:
    """Whether *path* runs: version managers put stand-ins on the path that only complain."""
    return subprocess.run([path, "-c", "pass"], capture_output=True, check=False).returncode == 0


@pytest.fixture(params=["this Python", "Python 3.8"])
def python(request: pytest.FixtureRequest) -> str:
    if request.param == "this Python":
        return sys.executable
    found = find_oldest_python()
    if found is None:
        pytest.skip("no Python 3.8 on this machine")
    return found


class Worker:
    """The platform's end: sends calls, reads answers and output."""

    def __init__(self, python: str, root: Path, arguments: list[str], env: dict[str, str]) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(DEADLINE_S)
        descriptor = theirs.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-ISc", ON_DESCRIPTOR_3, str(descriptor), python, *arguments],
            cwd=root,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[descriptor],
        )
        theirs.close()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)

    def read(self) -> frames.Frame | None:
        """Return the next frame, or None at the end of the stream."""
        head = self._receive(frames.PREFIX.size)
        if not head:
            return None
        prefix = frames.decode_prefix(head, header_len_max=1 << 16, body_len_max=1 << 26)
        header = frames.decode_header(self._receive(prefix.header_len))
        return frames.Frame(prefix.type, header, self._receive(prefix.body_len))

    def _receive(self, length: int) -> bytes:
        """Return exactly *length* bytes, or what is left at the end of the stream."""
        data = bytearray()
        while len(data) < length:
            try:
                chunk = self.socket.recv(length - len(data))
            except ConnectionResetError:
                break
            if not chunk:
                break
            data += chunk
        return bytes(data)

    def ready(self) -> "Worker":
        frame = self.read()
        assert frame is not None, self.stderr()
        assert frame.type == frames.READY, frame
        assert frame.header["load_s"] > 0
        return self

    def load_error(self) -> dict[str, Any]:
        frame = self.read()
        assert frame is not None
        assert frame.type == frames.LOAD_ERROR
        assert self.wait() == 1
        return json.loads(frame.body)

    def send(self, body: bytes, *, content_type: str = "json", call_id: int = 1) -> None:
        header = {"id": call_id, "content_type": content_type, "remaining_ms": 1000}
        self.socket.sendall(frames.encode(frames.CALL, header, body))

    def exchange(self, body: bytes, *, content_type: str = "json") -> frames.Frame | None:
        self.send(body, content_type=content_type)
        return self.read()

    def call(self, value: Any) -> Any:
        """Call with any value and return the result; text and JSON as a Python value."""
        binary = isinstance(value, bytes)
        frame = self.exchange(
            value if binary else json.dumps(value).encode(),
            content_type="binary" if binary else "json",
        )
        assert frame is not None, self.stderr()
        assert frame.type == frames.RESULT, frame
        assert frame.header["id"] == 1
        assert frame.header["run_s"] > 0
        if frame.header["content_type"] == "json":
            return json.loads(frame.body)
        return frame.body.decode() if frame.header["content_type"] == "text" else frame.body

    def fail(self, value: Any) -> dict[str, Any]:
        """Call with a JSON value and return the failure that must come back."""
        frame = self.exchange(json.dumps(value).encode())
        assert frame is not None, self.stderr()
        assert frame.type == frames.ERROR, frame
        assert frame.header["id"] == 1
        assert frame.header["kind"] == "algorithm"
        assert frame.header["run_s"] > 0
        return json.loads(frame.body)

    def stdout(self) -> str:
        """Return what is in the pipe at this moment."""
        assert self.process.stdout is not None
        return (self.process.stdout.read() or b"").decode()

    def stderr(self) -> str:
        assert self.process.stderr is not None
        return (self.process.stderr.read() or b"").decode()

    def wait(self) -> int:
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        self.socket.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE_S)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Write `src/Hello.py` (and other files) into a project and start a worker on it."""
    workers: list[Worker] = []

    def start_worker(
        source: str,
        *,
        python: str = sys.executable,
        files: dict[str, str] | None = None,
        arguments: list[str] | None = None,
        env: dict[str, str] | None = None,
    ) -> Worker:
        for name, text in {"src/Hello.py": source, **(files or {})}.items():
            path = tmp_path / "project" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        worker = Worker(
            python,
            tmp_path / "project",
            ["-u", str(RUNTIME), "src.Hello"] if arguments is None else arguments,
            env or {},
        )
        workers.append(worker)
        return worker

    yield start_worker
    for worker in workers:
        worker.close()
