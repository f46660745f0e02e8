import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorium_runtime import frames
from algorium_runtime.runner import EXIT_GRACE_S

Start = Callable[..., Any]

ECHO = "def apply(input): return input"
BODIES = st.one_of(st.binary(max_size=100), st.integers(1_000, 30_000).map(bytes))


def test_every_kind_of_value_goes_in_and_comes_out(start: Start, python: str) -> None:
    worker = start(ECHO, python=python).ready()

    for value in ["HAL 9000", "", "Grüße 😀", b"\x00\xff", b"", None, 7, 1.5, [1, {"a": []}], {}]:
        assert worker.call(value) == value
    text = worker.exchange(b"HAL", content_type="text")
    assert (text.header["content_type"], text.body) == ("text", b"HAL")


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 65_537, 10 * 1024 * 1024])
def test_bodies_of_any_size_pass_whole(start: Start, python: str, size: int) -> None:
    worker = start(ECHO, python=python).ready()
    body = os.urandom(size)

    assert worker.call(body) == body


def test_a_call_may_arrive_in_pieces(start: Start, python: str) -> None:
    worker = start(ECHO, python=python).ready()
    frame = frames.encode(frames.CALL, {"id": 1, "content_type": "text"}, b"HAL")

    for i in range(len(frame)):
        worker.socket.sendall(frame[i : i + 1])

    assert worker.read().body == b"HAL"


def test_calls_arrive_whole_however_the_stream_is_cut(start: Start) -> None:
    worker = start(ECHO).ready()

    @settings(deadline=None, max_examples=50)
    @given(st.lists(BODIES, max_size=4), st.sampled_from([1, 7, 4096, 1_000_000]))
    def check(bodies: list[bytes], step: int) -> None:
        # All of it fits into the socket, both ways: nobody reads while we write.
        if step < 100:
            bodies = [body[:50] for body in bodies]
        header = {"id": 1, "content_type": "binary"}
        stream = b"".join(frames.encode(frames.CALL, header, body) for body in bodies)
        for at in range(0, len(stream), step):
            worker.socket.sendall(stream[at : at + step])

        assert [worker.read().body for _ in bodies] == bodies

    check()


def test_calls_are_answered_in_order_with_their_ids(start: Start) -> None:
    worker = start(ECHO).ready()
    for call_id in (5, 6, 7):
        worker.send(b"%d" % call_id, call_id=call_id)

    answers = [worker.read() for _ in range(3)]

    assert [(a.header["id"], a.body) for a in answers] == [(5, b"5"), (6, b"6"), (7, b"7")]


def test_load_runs_once_and_its_result_goes_to_apply(start: Start, python: str) -> None:
    worker = start(
        """
        print("importing")
        def load():
            print("loading")
            return {"count": 0}
        def apply(input, state):
            state["count"] += 1
            return [input, state["count"]]
        """,
        python=python,
    ).ready()

    assert worker.stdout() == "importing\nloading\n"
    assert worker.call("a") == ["a", 1]
    assert worker.call("b") == ["b", 2]
    assert worker.stdout() == ""


def test_the_end_of_the_stream_ends_the_process(start: Start, python: str) -> None:
    worker = start(ECHO, python=python).ready()
    worker.socket.shutdown(socket.SHUT_WR)

    assert worker.wait() == 0
    assert worker.stderr() == ""


def test_exit_handlers_run_at_the_end(start: Start) -> None:
    worker = start(
        """
        import atexit
        atexit.register(print, "bye")
        def apply(input): return 1
        """
    ).ready()
    worker.socket.close()

    assert worker.wait() == 0
    assert worker.stdout() == "bye\n"


def test_a_stream_out_of_step_ends_the_process(start: Start) -> None:
    garbage, ready = (start(ECHO).ready() for _ in range(2))
    garbage.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
    ready.socket.sendall(frames.encode(frames.READY, {}))

    assert garbage.wait() == 1
    assert "ProtocolError" in garbage.stderr()
    assert ready.wait() == 1
    assert "expects calls, not frame type 1" in ready.stderr()


# What an author's exceptions become


def test_an_exception_is_answered_with_the_authors_frames_only(start: Start, python: str) -> None:
    worker = start(
        """
        def apply(input):
            return helper(input)
        def helper(input):
            raise ValueError("no " + input)
        """,
        python=python,
    ).ready()

    failure = worker.fail("luck")

    assert failure["message"] == "no luck"
    assert failure["error_type"] is None
    assert "Hello.py" in failure["stacktrace"]
    assert "in helper" in failure["stacktrace"]
    assert "algorium_runtime" not in failure["stacktrace"]
    assert failure["stacktrace"].endswith("ValueError: no luck\n")
    assert worker.fail("again")["message"] == "no again"


def test_an_error_type_passes_as_it_is(start: Start) -> None:
    worker = start(
        """
        class Refused(Exception):
            def __init__(self, error_type):
                self.error_type = error_type
        def apply(input):
            raise Refused(input)
        """
    ).ready()

    assert worker.fail("InputError")["error_type"] == "InputError"
    assert worker.fail("My own")["error_type"] == "My own"
    assert worker.fail(None)["error_type"] is None
    assert worker.fail(7)["error_type"] is None


def test_running_out_of_stack_or_memory_is_survived(start: Start, python: str) -> None:
    worker = start(
        """
        def apply(input):
            if input == "stack":
                return apply(input)
            if input == "memory":
                return bytearray(1 << 60)
            return input
        """,
        python=python,
    ).ready()

    assert "recursion" in worker.fail("stack")["message"]
    assert worker.fail("memory")["error_type"] == "OutOfMemoryError"
    assert worker.call("fine") == "fine"


def test_results_without_a_json_form_are_answered(start: Start, python: str) -> None:
    worker = start(
        """
        import math
        class Model: pass
        def nested():
            value = []
            for _ in range(100000):
                value = [value]
            return value
        RESULTS = {
            "object": lambda: {"model": Model()}, "nan": lambda: [math.nan],
            "surrogate": lambda: "\\ud800", "json surrogate": lambda: ["\\ud800"],
            "deep": nested, "fine": lambda: 1,
        }
        def apply(input):
            return RESULTS[input]()
        """,
        python=python,
    ).ready()

    for which, complaint in {
        "object": "an object of type src.Hello.Model, which has no JSON form, at result['model']",
        "nan": "nan is not a JSON number at result[0]",
        "json surrogate": "lone surrogate '\\ud800' at character 2",
        "deep": "nested too deeply",
    }.items():
        failure = worker.fail(which)
        assert failure == {
            "message": f"result is not valid JSON: {complaint}",
            "error_type": None,
            "stacktrace": "",
        }
    assert worker.fail("surrogate")["message"].startswith("result is not valid text: lone")
    assert worker.call("fine") == 1


@pytest.mark.parametrize(
    ("content_type", "body"), [("json", b"{"), ("json", b"[NaN]"), ("text", b"\xff"), ("x", b"")]
)
def test_an_unreadable_input_is_the_callers_fault(
    start: Start, content_type: str, body: bytes
) -> None:
    worker = start(ECHO).ready()

    frame = worker.exchange(body, content_type=content_type)

    assert frame.type == frames.ERROR
    assert frame.header["kind"] == "input"
    assert json.loads(frame.body)["message"]
    assert worker.call(1) == 1


# The process ends


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("sys.exit(7)", 7),
        ("sys.exit()", 0),
        ("sys.exit('no model')", 1),
        ("os._exit(9)", 9),
        ("raise GeneratorExit", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
    ],
)
def test_leaving_the_process_is_no_answer(
    start: Start, python: str, statement: str, code: int
) -> None:
    worker = start(f"import os, signal, sys\ndef apply(input): {statement}", python=python).ready()

    assert worker.exchange(b"1") is None
    assert worker.wait() == code


def test_what_was_printed_before_the_exit_is_there(start: Start) -> None:
    worker = start("def apply(input):\n print('so far')\n raise SystemExit('no model')").ready()

    assert worker.exchange(b"1") is None
    worker.wait()
    assert worker.stdout() == "so far\n"
    assert "no model" in worker.stderr()


@pytest.mark.slow
@pytest.mark.parametrize("leaving", ["end of stream", "SystemExit"])
def test_threads_left_behind_do_not_keep_the_process(start: Start, leaving: str) -> None:
    worker = start(
        """
        import sys, threading
        def apply(input):
            if input == "exit":
                sys.exit(3)
            threading.Thread(target=threading.Event().wait).start()
        """
    ).ready()
    assert worker.call("thread") is None

    began_s = time.monotonic()
    if leaving == "end of stream":
        worker.socket.shutdown(socket.SHUT_WR)
    else:
        worker.send(b'"exit"')

    assert worker.wait() == (3 if leaving == "SystemExit" else 0)
    assert time.monotonic() - began_s < EXIT_GRACE_S + 5


def test_a_thread_may_outlive_its_call(start: Start) -> None:
    worker = start(
        """
        import threading
        go, done = threading.Event(), threading.Event()
        def later():
            go.wait()
            done.set()
        def apply(input):
            if input == "start":
                threading.Thread(target=later, daemon=True).start()
                return
            go.set()
            return done.wait(10)
        """
    ).ready()

    assert worker.call("start") is None
    assert worker.call("finish") is True


def test_an_exception_from_a_forgotten_timer_ends_an_idle_process(start: Start) -> None:
    worker = start(
        """
        import signal
        def late(*args): raise TimeoutError("late")
        signal.signal(signal.SIGALRM, late)
        def apply(input): signal.setitimer(signal.ITIMER_REAL, 0.05)
        """
    ).ready()
    worker.call(1)

    assert worker.wait() == 1
    assert "TimeoutError: late" in worker.stderr()


# Output


def test_output_is_in_the_pipes_before_the_answer(start: Start, python: str) -> None:
    worker = start(
        """
        import ctypes, subprocess, sys
        def apply(input):
            sys.stdout.write("python ")
            ctypes.CDLL(None).printf(b"c ")
            sys.stderr.write("err")
            subprocess.run(["echo", "child"])
        """,
        python=python,
        arguments=[str(Path(frames.__file__).parent), "src.Hello"],  # without -u
    ).ready()

    worker.call(1)

    assert set(worker.stdout().split()) == {"python", "c", "child"}
    assert worker.stderr() == "err"


@pytest.mark.parametrize(
    "statement",
    [
        "sys.stdout = None",
        "sys.stdout = object()",
        "sys.stdout = sys.stderr = io.StringIO()",
        "sys.stdout.close()",
        "os.close(1); os.close(2)",
    ],
)
def test_an_algorithm_may_ruin_its_output(start: Start, python: str, statement: str) -> None:
    worker = start(
        f"import io, os, sys\ndef apply(input):\n  {statement}\n  return input", python=python
    ).ready()

    assert worker.call("a") == "a"
    worker.socket.close()
    assert worker.wait() in {0, 120}  # 120: Python could not flush its closed streams


# Processes


def test_a_forked_child_that_returns_is_silent(start: Start, python: str) -> None:
    worker = start(
        """
        import os
        def apply(input):
            child = os.fork()
            if child == 0:
                if input == "raise":
                    raise ValueError("from the child")
                return "from the child"
            _, status = os.waitpid(child, 0)
            return ["parent", status]
        """,
        python=python,
    ).ready()

    assert worker.call("return") == ["parent", 0]
    assert worker.call("raise") == ["parent", 0]
    assert worker.call("return") == ["parent", 0]


def test_a_child_forked_while_loading_is_silent(start: Start) -> None:
    worker = start(
        """
        import os
        child = os.fork()
        if child == 0:
            raise ValueError("from the child")
        os.waitpid(child, 0)
        def apply(input): return input
        """
    ).ready()

    assert worker.call("a") == "a"


def test_children_do_not_hold_the_stream(start: Start, python: str) -> None:
    worker = start(
        """
        import os, subprocess, sys
        IS_OPEN = "import os, sys\\ntry: os.fstat(3)\\nexcept OSError: sys.exit(5)"
        def apply(input):
            if input == "exec":
                return subprocess.run([sys.executable, "-c", IS_OPEN], close_fds=False).returncode
            child = os.fork()
            if child == 0:
                try:
                    os.fstat(3)
                except OSError:
                    os._exit(5)
                os._exit(0)
            return os.waitpid(child, 0)[1] >> 8
        """,
        python=python,
    ).ready()

    assert worker.call("exec") == 5
    assert worker.call("fork") == 5


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_works(start: Start, python: str, method: str) -> None:
    worker = start(
        f"""
        import multiprocessing
        def square(number): return number * number
        def apply(input):
            with multiprocessing.get_context("{method}").Pool(1) as pool:
                return pool.map(square, input)
        """,
        python=python,
    ).ready()

    assert worker.call([1, 2, 3]) == [1, 4, 9]
    assert worker.call([4]) == [16]


def test_stdin_is_not_the_protocol(start: Start) -> None:
    worker = start("import sys\ndef apply(input): return sys.stdin.read()").ready()

    assert worker.call(1) == ""
