"""Algorithms written for the official packages run unchanged; these are the real packages."""

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from algorium_runtime import frames, selfserving

RUNTIME = Path(frames.__file__).parent
FIFO = Path(selfserving.FIFO_PATH)
Start = Callable[..., Any]


def find_uv() -> str | None:
    beside = Path(sysconfig.get_path("scripts")) / "uv"
    return str(beside) if beside.exists() else shutil.which("uv")


@pytest.fixture(scope="session", params=["2.0.5", "1.17.0"])
def official(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with the official client and, because that requires it, the ADK."""
    uv = find_uv()
    if uv is None:
        pytest.skip("no uv on this machine")
    environment = tmp_path_factory.mktemp("official") / request.param
    python = str(environment / "bin" / "python")
    try:
        for command in (
            ["venv", "--python", sys.executable, str(environment)],
            ["pip", "install", "--python", python, f"algorithmia=={request.param}"],
        ):
            subprocess.run([uv, "--quiet", *command], check=True, capture_output=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"package registry unreachable: {(error.stderr or b'')[-200:]!r}")
    return python


@pytest.fixture(autouse=True)
def no_trace() -> Iterator[None]:
    """Remove the FIFO that a worker outside a sandbox leaves in the real temporary directory."""
    existed = FIFO.exists()
    yield
    if not existed and FIFO.exists() and stat.S_ISFIFO(FIFO.stat().st_mode):
        FIFO.unlink()


ADK = """
from Algorithmia import ADK
import Algorithmia

def apply(input, state):
    if input == "fail":
        raise Algorithmia.errors.AlgorithmException("no", error_type="InputError")
    if input == "documented":
        raise Algorithmia.errors.AlgorithmException("no", "UnsupportedError")
    if input == "divide":
        return 1 / 0
    print("applying")
    return {"input": repr(input), "state": state} if input != "bytes" else b"bytes"

def load():
    print("loading")
    return {"model": 1}

algorithm = ADK(apply, load)
algorithm.init("Algorithmia")
raise SystemExit("init came back")
"""


@pytest.mark.network
@pytest.mark.slow
def test_an_adk_algorithm_runs_unchanged(start: Start, official: str) -> None:
    worker = start(ADK, python=official).ready()

    assert worker.stdout().splitlines() == ["loading", "PIPE_INIT_COMPLETE"]
    assert worker.call("HAL") == {"input": "'HAL'", "state": {"model": 1}}
    assert worker.stdout() == "applying\n"
    assert worker.call(b"\x00\xff") == {"input": r"b'\x00\xff'", "state": {"model": 1}}
    assert worker.call({"a": [None]}) == {"input": "{'a': [None]}", "state": {"model": 1}}
    assert worker.call("bytes") == b"bytes"
    assert worker.fail("fail")["error_type"] == "InputError"
    assert worker.fail("documented")["error_type"] is None
    failure = worker.fail("divide")
    assert failure["message"] == "division by zero"
    assert failure["stacktrace"].count("File ") == 1
    worker.socket.close()
    assert worker.wait() == 0
    assert worker.stderr() == ""


@pytest.mark.network
@pytest.mark.slow
def test_the_adk_may_be_imported_first_and_load_may_take_the_models(
    start: Start, official: str
) -> None:
    worker = start(
        """
        from adk import ADK
        import Algorithmia
        def apply(input, models): return [models["x"], Algorithmia.ADK is ADK]
        def load(models):
            models["x"] = 5
            return models
        ADK(apply, load, Algorithmia.client()).init()
        """,
        python=official,
    ).ready()

    assert worker.call(1) == [5, True]


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize(
    ("apply", "load", "expected"),
    [
        ("lambda i: i", "None", 1),
        ("lambda i: i", "lambda: 5", 1),
        ("lambda i, s='default': s", "lambda: 0", "default"),
        ("lambda i, s='default': s", "lambda: 5", 5),
        ("lambda i, s: s", "lambda: None", "missing 1 required positional argument: 's'"),
        ("lambda i, s: s", "lambda: Vague()", "truth is ambiguous"),
    ],
)
def test_the_adks_rules_for_arguments_hold(
    start: Start, official: str, apply: str, load: str, expected: object
) -> None:
    worker = start(
        f"""
        from Algorithmia import ADK
        class Vague:
            def __bool__(self): raise ValueError("truth is ambiguous")
        ADK({apply}, {load}).init()
        """,
        python=official,
    ).ready()

    if isinstance(expected, str) and " " in expected:
        assert expected in worker.fail(1)["message"]
    else:
        assert worker.call(1) == expected


@pytest.mark.network
@pytest.mark.slow
def test_a_failing_load_of_the_adk_is_a_load_error(start: Start, official: str) -> None:
    worker = start(
        """
        from Algorithmia import ADK
        def load(): raise OSError("no model")
        def apply(input): return input
        ADK(apply, load).init()
        """,
        python=official,
    )

    failure = worker.load_error()

    assert failure["message"] == "no model"
    assert failure["error_type"] is None
    assert failure["stacktrace"].count("File ") == 1
    assert "in load" in failure["stacktrace"]


@pytest.mark.network
@pytest.mark.slow
def test_the_adks_own_tools_work_on_this_interpreter(start: Start, official: str) -> None:
    worker = start(
        """
        import json
        from adk.io import create_exception
        def apply(input):
            try:
                1 / 0
            except ZeroDivisionError as error:
                return json.loads(create_exception(error))["error"]["message"]
        """,
        python=official,
    ).ready()

    assert worker.call(1) == "division by zero"


@pytest.mark.network
@pytest.mark.slow
def test_a_handler_runs_unchanged(start: Start, official: str) -> None:
    worker = start(
        """
        import Algorithmia
        def load(): return 5
        def apply(input, state): return [state, len(input)]
        Algorithmia.handler(apply, load).serve()
        """,
        python=official,
    ).ready()

    assert worker.call("four") == [5, 4]
    assert worker.call(b"\x00\x01") == [5, 2]
    assert "len()" in worker.fail(1)["message"]


@pytest.mark.network
@pytest.mark.slow
def test_a_failing_load_of_a_handler_is_a_load_error(start: Start, official: str) -> None:
    worker = start(
        """
        import Algorithmia
        def load(): raise OSError("no model")
        Algorithmia.handler(lambda input: input, load).serve()
        """,
        python=official,
    )

    assert worker.load_error()["message"] == "no model"


@pytest.mark.network
@pytest.mark.slow
def test_an_algorithm_that_only_uses_the_client_is_an_ordinary_one(
    start: Start, official: str
) -> None:
    worker = start(
        """
        import Algorithmia
        client = Algorithmia.client()
        def apply(input): return client.algo("demo/Hello").url
        """,
        python=official,
    ).ready()

    assert worker.call(1) == "/v1/algo/demo/Hello"


@pytest.mark.network
@pytest.mark.slow
def test_checking_a_self_serving_module_neither_loads_nor_leaves_a_fifo(
    tmp_path: Path, official: str
) -> None:
    existed = FIFO.exists()
    source = ADK.replace('raise SystemExit("init came back")', "").replace("def load", "def _load")
    (tmp_path / "Hello.py").write_text(source.replace("ADK(apply, load)", "ADK(apply, _load)"))

    done = subprocess.run(
        [official, "-u", str(RUNTIME), "--check", "Hello"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert FIFO.exists() == existed


def test_without_the_packages_nothing_is_prepared(tmp_path: Path) -> None:
    if importlib.util.find_spec("Algorithmia"):
        pytest.skip("the official client is installed beside the tests")
    fifo = tmp_path / "algoout"

    selfserving.prepare(lambda program: None, fifo_path=str(fifo))

    assert not fifo.exists()


def test_the_fifo_is_made_where_the_packages_are(tmp_path: Path) -> None:
    (tmp_path / "Algorithmia.py").write_text("")
    fifo = tmp_path / "algoout"
    program = (
        "import sys; sys.path[:0] = sys.argv[1:3]; from algorium_runtime import selfserving; "
        "selfserving.prepare(print, fifo_path=sys.argv[3]); "
        "selfserving.prepare(print, fifo_path=sys.argv[3])"
    )

    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(RUNTIME.parent), str(fifo)],
        check=True,
        timeout=20,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )

    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert stat.S_IMODE(fifo.stat().st_mode) == 0o644
