"""`algo dev`: an algorithm served on this machine answers as on a server."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from algorium import (
    AlgorithmError,
    AlgorithmExit,
    AlgorithmNotFound,
    AlgorithmTimeout,
    Algorium,
    InputError,
    LoadingError,
    TooLargeError,
)
from algorium._local.server import LocalServer, Served
from algorium._local.source import read_source
from algorium._local.worker import Worker
from algorium.cli import main
from algorium.wire.refs import AlgorithmRef

REF = AlgorithmRef(owner="me", name="Mine")
SOURCE = """
import os, sys, time

class InputProblem(Exception):
    error_type = "InputError"

def load():
    print("loading")
    return {"pid": os.getpid()}

def apply(value, state):
    if value == "bytes":
        return b"\\x00\\xff"
    if value == "print":
        print("out")
        print("err", file=sys.stderr)
        os.write(1, b"raw\\n")
        return None
    if value == "pid":
        return state["pid"]
    if value == "raise":
        raise InputProblem("not like that")
    if value == "sleep":
        time.sleep(60)
    if value == "exit":
        sys.exit(7)
    if value == "kill":
        os.kill(os.getpid(), 9)
    if value == "large":
        return "x" * 15_000_001
    if value == "stdin":
        return sys.stdin.read()
    if value == "env":
        return os.environ.get("TOKEN")
    return {"got": value}
"""


class Here:
    """A project, its worker and its server."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.told: list[Served] = []
        self.printed: list[str] = []
        self.write(SOURCE)
        source = read_source(root, REF, language="python3")
        environment = {**os.environ, "PYTHONUTF8": "1"}
        self.worker = Worker(source, Path(sys.executable), environment, self.printed.append)
        self.server = LocalServer(REF, self.worker, port=0, tell=self.told.append)
        self.client = Algorium(api_address=self.server.address)

    def write(self, text: str) -> None:
        (self.root / "src").mkdir(parents=True, exist_ok=True)
        (self.root / "src/Mine.py").write_text(textwrap.dedent(text))

    def call(self, value: Any, **options: Any) -> Any:
        handle = self.client.algo("me/Mine")
        if "timeout" in options:
            handle = handle.timeout(options["timeout"])
        return handle.stdout(True).pipe(value)

    def request(
        self, method: str, path: str, body: bytes | Iterator[bytes] = b"", **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        connection = http.client.HTTPConnection(self.server.address.partition("//")[2], timeout=60)
        with contextlib.closing(connection):
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body or None, names)
            answer = connection.getresponse()
            content = answer.read()
            fields = {name.lower(): value for name, value in answer.getheaders()}
        is_json = fields.get("content-type") == "application/json"
        return answer.status, fields, json.loads(content) if is_json and content else content


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    made = Here(tmp_path / "here")
    yield made
    made.client.close()
    made.server.close()
    made.worker.close()


def test_values_go_in_and_out_as_on_a_server(here: Here) -> None:
    assert here.call("hi").result == {"got": "hi"}
    assert here.call(None).result == {"got": None}
    assert here.call("bytes").result == b"\x00\xff"
    assert here.call("stdin").result == ""
    assert here.call("pid").result == here.call("pid").result
    assert here.call("hi").metadata.duration > 0


def test_what_is_printed_belongs_to_its_call(here: Here) -> None:
    assert here.call("hi").metadata.stdout == ""
    assert here.call("print").metadata.stdout == "out\nerr\nraw\n"
    assert here.call("hi").metadata.stdout == ""
    assert here.printed == ["loading", "out", "err", "raw"]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("raise", InputError, "not like that"),
        ("exit", AlgorithmExit, "exited with code 7"),
        ("kill", AlgorithmExit, "exited with code -99"),
        ("large", TooLargeError, "Algorithm output exceeds the 15MB limit"),
    ],
)
def test_what_goes_wrong_is_said_as_on_a_server(
    here: Here, value: str, error: type[AlgorithmError], message: str
) -> None:
    with pytest.raises(error) as caught:
        here.call(value)

    assert caught.value.message == message
    assert here.call("hi").result == {"got": "hi"}


def test_a_failure_has_the_authors_stack_trace(here: Here) -> None:
    with pytest.raises(InputError) as caught:
        here.call("raise")

    assert 'raise InputProblem("not like that")' in caught.value.stacktrace
    assert "algorium_runtime" not in caught.value.stacktrace


def test_a_call_past_its_timeout_is_ended_and_the_next_one_runs(here: Here) -> None:
    before = here.call("pid").result
    with pytest.raises(AlgorithmTimeout) as caught:
        here.call("sleep", timeout=0.5)

    assert caught.value.message.startswith("Failed to run algorithm - may have timed-out")
    assert here.call("pid").result != before


def test_raw_and_void_and_timing(here: Here) -> None:
    path, text = "/v1/algo/me/Mine", "text/plain"
    status, fields, body = here.request("POST", f"{path}?output=raw", b"bytes", Content_Type=text)
    assert (status, fields["content-type"], body) == (200, "application/octet-stream", b"\0\xff")
    assert here.request("POST", f"{path}?output=raw", b"raise", Content_Type=text)[0] == 400
    sleeping = here.request("POST", f"{path}?output=raw&timeout=0.1", b"sleep", Content_Type=text)
    assert sleeping[0] == 504
    _, fields, body = here.request("POST", f"{path}?output=void", b"hi", Content_Type=text)
    assert body == {"async": "void", "request_id": fields["x-request-id"]}
    body = here.request("POST", f"{path}?timing=1", b"hi", Content_Type=text)[2]
    assert list(body) == ["metadata", "result"]
    assert list(body["metadata"]) == ["content_type", "duration", "timing"]


def test_paths_are_read_as_leniently_as_on_a_server(here: Here) -> None:
    for path in ("me/mine", "ME/Mine/1.0.0", "algo://me/Mine", "/me//Mine/"):
        assert (
            here.request("POST", f"/v1/algo/{path}", b"1", Content_Type="application/json")[0]
            == 200
        )


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("GET", "/v1/algo/me/Mine", b"", {}, 405, 2015),
        ("POST", "/v1/algo/me/Other", b"1", {"Content_Type": "application/json"}, 404, 1000),
        ("POST", "/v1/algo/me", b"1", {"Content_Type": "application/json"}, 404, 1000),
        ("POST", "/v1/data", b"1", {"Content_Type": "application/json"}, 404, 1000),
        ("POST", "/v1/algo/me/Mine", b"{", {"Content_Type": "application/json"}, 400, 2013),
        ("POST", "/v1/algo/me/Mine", b"NaN", {"Content_Type": "application/json"}, 400, 2013),
        ("POST", "/v1/algo/me/Mine", b"\xff", {"Content_Type": "text/plain"}, 400, 6001),
        ("POST", "/v1/algo/me/Mine", b"x", {}, 415, 2015),
        ("POST", "/v1/algo/me/Mine", b"x", {"Content_Type": "image/png"}, 415, 2015),
        ("POST", "/v1/algo/me/Mine?timeout=no", b"1", {"Content_Type": "text/plain"}, 400, 6001),
        ("POST", "/v1/algo/me/Mine?output=no", b"1", {"Content_Type": "text/plain"}, 400, 6001),
        ("POST", "/v1/algo/me/Mine", bytes(10_485_761), {"Content_Type": "text/plain"}, 413, 6001),
        ("POST", "/v1/algo/me/Mine", b"1", {"Host": "evil.example"}, 403, 2001),
        ("POST", "/v1/algo/me/Mine", b"1", {"Origin": "https://evil.example"}, 403, 2001),
        ("POST", "/v1/algo/me/Mine", b"1", {"Content_Length": "-5"}, 400, 2015),
        ("POST", "/v1/algo/me/Mine", b"1", {"Content_Length": "9" * 5000}, 413, 6001),
        ("BREW", "/v1/algo/me/Mine", b"", {}, 405, 2015),
    ],
    ids=lambda value: None if not isinstance(value, str) else value.replace("/", "."),
)
def test_a_refusal_has_status_code_and_message(
    here: Here,
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, str],
    status: int,
    code: int,
) -> None:
    found, fields, content = here.request(method, path, body, **headers)

    assert (found, content["error"]["code"]) == (status, code)
    assert fields["x-error-message"]


def test_a_body_in_pieces_and_one_without_a_type_are_taken(here: Here) -> None:
    pieces = iter([b'{"a":', b" 1}"])

    status, _, body = here.request(
        "POST", "/v1/algo/me/Mine", pieces, Content_Type="application/json"
    )

    assert (status, body["result"]) == (200, {"got": {"a": 1}})
    assert here.request("POST", "/v1/algo/me/Mine")[2]["result"] == {"got": None}


def test_the_client_knows_the_errors(here: Here) -> None:
    with pytest.raises(AlgorithmNotFound):
        here.client.algo("me/Other").pipe("x")


def test_a_module_that_does_not_load_says_so_until_it_is_corrected(here: Here) -> None:
    here.call("hi")
    here.write("import nowhere_to_be_found\n")
    source = read_source(here.root, REF, language="")
    python = Path(sys.executable)

    failure = here.worker.replace(source, python, dict(os.environ), patience_s=1)
    assert failure is not None
    assert "nowhere_to_be_found" in failure.stacktrace
    with pytest.raises(LoadingError):
        here.call("hi")

    here.write(SOURCE)
    assert here.worker.replace(source, python, {**os.environ, "TOKEN": "t"}, patience_s=1) is None
    assert here.call("env").result == "t"


def test_new_source_does_not_wait_for_a_call_that_hangs(here: Here) -> None:
    caught: list[BaseException] = []

    def call() -> None:
        try:
            here.call("sleep")
        except AlgorithmError as error:
            caught.append(error)

    caller = threading.Thread(target=call)
    here.call("hi")
    caller.start()
    wait_for(here.worker._lock.locked)
    source = read_source(here.root, REF, language="")

    assert here.worker.replace(source, Path(sys.executable), os.environ, patience_s=0.1) is None
    caller.join(30)
    assert isinstance(caught[0], AlgorithmExit)
    assert here.call("hi").result == {"got": "hi"}


def wait_for(condition: Callable[[], Any], timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


class Dev:
    """`algo dev` as a process."""

    def __init__(self, root: Path, home: Path, *options: str) -> None:
        code = (
            "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from algorium.cli import main; sys.exit(main())"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "dev", "--port", "0", *options],
            cwd=root,
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout:
            self.lines += (line.rstrip("\n") for line in iter(self.process.stdout.readline, ""))

    def said(self, text: str) -> str:
        return wait_for(lambda: next((line for line in list(self.lines) if text in line), None))

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        self._reader.join(60)
        return code


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "algorithmia.conf").write_text('{"username": "me", "algoname": "Mine"}')
    (root / "src/Mine.py").write_text("def apply(input):\n    return 'one ' + input\n")
    monkeypatch.chdir(root)
    return root


def test_dev_serves_loads_anew_and_leaves_nothing_behind(project: Path, home: Path) -> None:
    (project / ".env").write_text("TOKEN='a b'\n")
    dev = Dev(project, home, "--python", sys.executable)
    address = dev.said("ready ").removeprefix("ready ").removesuffix("/v1/algo/me/Mine")
    with Algorium(api_address=address) as client:
        algo = client.algo("me/Mine")
        assert algo.pipe("x").result == "one x"

        (project / "src/Mine.py").write_text(
            "import os\ndef apply(input):\n    return [os.environ['TOKEN'], os.getpid()]\n"
        )
        dev.said("loaded again")
        token, pid = algo.pipe("x").result
        assert token == "a b"

        (project / "src/Mine.py").write_text("def apply(input:\n")
        dev.said("it cannot be called")
        assert dev.said("SyntaxError")
        with pytest.raises(LoadingError):
            algo.pipe("x")
    assert dev.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not (project / ".algo").exists()


@pytest.mark.parametrize(
    ("files", "arguments", "told"),
    [
        (
            {"algorithmia.conf": '{"username":"a","algoname":"B","language":"node"}'},
            (),
            "only Python",
        ),
        ({"src/Mine.py": None}, (), "no entry point: expected src/Mine.py"),
        (
            {"src/kit.py": "'PIPE_INIT_COMPLETE', '/tmp/algoout'"},
            (),
            "a development kit of its own",
        ),
        ({}, ("--python", "/nowhere/python"), "there is no Python /nowhere/python"),
        ({"environment.yml": "dependencies: [numpy]"}, (), "is for conda"),
        ({"pyproject.toml": "[project"}, (), "pyproject.toml cannot be read"),
    ],
    ids=["language", "entry", "kit", "python", "conda", "toml"],
)
def test_what_cannot_run_here_is_refused_with_a_way_out(
    project: Path,
    capfd: pytest.CaptureFixture[str],
    files: dict[str, str | None],
    arguments: tuple[str, ...],
    told: str,
) -> None:
    for name, text in files.items():
        if text is None:
            (project / name).unlink()
        else:
            (project / name).write_text(text)

    assert main(["dev", *arguments]) == 1
    error = capfd.readouterr().err
    assert told in error
    assert error.splitlines()[-1].startswith("hint: ")


def test_a_taken_port_and_a_broken_file_of_variables_are_told(
    project: Path, here: Here, capfd: pytest.CaptureFixture[str]
) -> None:
    port = here.server.address.rpartition(":")[2]
    assert main(["dev", "--python", sys.executable, "--port", port]) == 1
    assert "--port" in capfd.readouterr().err

    (project / ".env").write_text("GOOD=1\nsecret without a name\n")
    assert main(["dev", "--python", sys.executable]) == 2
    error = capfd.readouterr().err
    assert ".env, line 2" in error
    assert "secret" not in error


def test_no_project_here_is_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["dev"]) == 2
    assert main(["test"]) == 2
    assert "no project" in capfd.readouterr().err


def test_the_algorithm_ends_with_whoever_started_it(project: Path, home: Path) -> None:
    (project / "src/Mine.py").write_text("import os\ndef apply(input):\n    return os.getpid()\n")
    dev = Dev(project, home, "--python", sys.executable, "--no-reload")
    address = dev.said("ready ").removeprefix("ready ").removesuffix("/v1/algo/me/Mine")
    with Algorium(api_address=address) as client:
        pid = client.algo("me/Mine").pipe("x").result

    dev.process.kill()
    assert dev.stop() != 0

    wait_for(lambda: is_gone(pid))


def is_gone(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


def test_a_stray_fork_does_not_hide_the_end_of_the_process(here: Here) -> None:
    here.call("hi")
    here.write(
        "import os, time\ndef apply(input):\n"
        "    if os.fork() == 0:\n        time.sleep(30)\n        os._exit(0)\n    os._exit(3)\n"
    )
    source = read_source(here.root, REF, language="")
    here.worker.replace(source, Path(sys.executable), dict(os.environ), patience_s=1)

    with pytest.raises(AlgorithmExit) as caught:
        here.call("x", timeout=20)

    assert caught.value.message == "exited with code 3"


def test_an_input_that_nobody_takes_is_given_up_in_time(here: Here) -> None:
    here.write(
        "import os, signal, threading\ndef apply(input):\n"
        "    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGSTOP)).start()\n"
        "    return os.getpid()\n"
    )
    source = read_source(here.root, REF, language="")
    here.worker.replace(source, Path(sys.executable), dict(os.environ), patience_s=1)
    pid = here.call("stop").result
    wait_for(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")

    with pytest.raises(AlgorithmTimeout):
        here.call("x" * 1_000_000, timeout=2)

    assert here.call("again").result != pid


@pytest.mark.parametrize("ending", ["exit", "new source"])
def test_what_the_algorithm_has_started_ends_with_it(here: Here, ending: str) -> None:
    here.write(
        "import os, subprocess\ndef apply(input):\n    if input == 'exit':\n        os._exit(3)\n"
        "    return subprocess.Popen(['sleep', '60']).pid\n"
    )
    source = read_source(here.root, REF, language="")
    here.worker.replace(source, Path(sys.executable), dict(os.environ), patience_s=1)
    pid = here.call("start").result

    if ending == "exit":
        with pytest.raises(AlgorithmExit):
            here.call("exit")
    else:
        here.worker.replace(source, Path(sys.executable), dict(os.environ), patience_s=1)

    wait_for(lambda: is_gone(pid), timeout_s=20)


def test_a_file_of_secrets_that_would_be_pushed_is_warned_of(
    project: Path, here: Here, capfd: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "init", "--quiet", str(project)], check=True)
    (project / ".env").write_text("TOKEN=1\n")
    port = here.server.address.rpartition(":")[2]

    assert main(["dev", "--python", sys.executable, "--port", port]) == 1
    assert "warning: `algo push` would push .env" in capfd.readouterr().err
    (project / ".gitignore").write_text(".env\n")
    assert main(["dev", "--python", sys.executable, "--port", port]) == 1
    assert "warning" not in capfd.readouterr().err


def test_an_interpreter_that_cannot_be_started_fails_the_calls(here: Here) -> None:
    source = read_source(here.root, REF, language="")

    failure = here.worker.replace(source, here.root, dict(os.environ), patience_s=1)

    assert failure is not None
    assert "cannot be started" in failure.message
    with pytest.raises(LoadingError):
        here.call("hi")
