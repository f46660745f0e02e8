"""The adapter in front of pipes: each way a pipe can behave, played by a small script."""

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from algorium_runtime import frames
from algorium_runtime.pipes import OUT_OF_STEP_CODE, STOP_GRACE_S

RUNTIME = Path(frames.__file__).parent
PRELUDE = """
import base64, json, os, signal, subprocess, sys, time
FIFO = os.environ["ALGORIUM_FIFO"]
def say(text):
    print(text, flush=True)
def write(text, *, mode="a"):
    with open(FIFO, mode) as fifo:
        fifo.write(text)
def result(value, content_type="json"):
    return json.dumps({"result": value, "metadata": {"content_type": content_type}})
def error(**fields):
    return json.dumps({"error": fields})
def requests():
    return map(json.loads, sys.stdin)
"""
READY = "say('PIPE_INIT_COMPLETE')\n"
ECHO = READY + "for r in requests(): write(result(r['data'], r['content_type']) + '\\n')\n"
TEXT = b"HAL"


@pytest.fixture
def pipe(start: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Start the adapter on a pipe that is a Python script, or any command."""

    def start_pipe(script: str = "", *, command: list[str] | None = None) -> Any:
        return start(
            "",
            files={"pipe.py": PRELUDE + script},
            arguments=[
                *("-I", "-S", str(RUNTIME), "--pipe"),
                *(command or [sys.executable, "-u", "pipe.py"]),
            ],
            env={"TMPDIR": str(tmp_path)},
        )

    return start_pipe


def text(worker: Any, body: bytes = TEXT) -> Any:
    return worker.exchange(body, content_type="text")


# Starting


@pytest.mark.parametrize(
    "line", ["PIPE_INIT_COMPLETE", '[1] "PIPE_INIT_COMPLETE"', "done: PIPE_INIT_COMPLETE!"]
)
def test_a_line_that_contains_the_handshake_makes_it_ready(pipe: Any, line: str) -> None:
    worker = pipe(f"say('loading'); say({line!r}); say('loaded'); sys.stdin.read()").ready()

    worker.socket.shutdown(socket.SHUT_WR)
    assert worker.wait() == 0
    assert worker.stdout() == "loading\nloaded\n"


def test_the_handshake_needs_no_end_of_its_line(pipe: Any) -> None:
    worker = pipe(
        "print('PIPE_INIT_COMPLETE', end='', flush=True)\n"
        "for r in requests(): print(' more\\nprinted', flush=True); write(result(1))"
    ).ready()

    assert worker.call("x") == 1
    assert worker.stdout() == "printed\n"


def test_the_fifo_is_there_before_the_pipe_starts_and_can_be_opened_at_once(pipe: Any) -> None:
    worker = pipe(
        "import stat\n"
        "mode = os.stat(FIFO).st_mode\n"
        "say(f'{stat.S_ISFIFO(mode)} {stat.S_IMODE(mode):o}')\n"
        "fd = os.open(FIFO, os.O_WRONLY)\n" + ECHO
    ).ready()

    assert worker.stdout() == "True 644\n"
    assert worker.call("x") == "x"


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_an_end_before_the_handshake_is_its_exit_code(pipe: Any, code: int) -> None:
    worker = pipe(
        f"print('no such model', file=sys.stderr); print('half a line', end=''); sys.exit({code})"
    )

    assert worker.read() is None
    assert worker.wait() == code
    assert worker.stdout() == "half a line"
    assert worker.stderr() == "no such model\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_before_the_handshake_is_passed_on(pipe: Any, number: int) -> None:
    worker = pipe(f"os.kill(os.getpid(), {int(number)})")

    assert worker.read() is None
    assert worker.wait() == -number


def test_a_program_that_is_not_there_is_a_load_error(pipe: Any) -> None:
    worker = pipe(command=["no-such-language", "pipe"])

    failure = worker.load_error()
    assert failure["message"] == "cannot start no-such-language: No such file or directory"


@pytest.mark.parametrize(
    "then", ["", "sys.exit(0)", "sys.exit(3)", READY, "sys.stdin.read()", "time.sleep(60)"]
)
def test_an_error_before_the_handshake_is_the_load_error(pipe: Any, then: str) -> None:
    worker = pipe(
        "say('loading')\n"
        "write(error(message='no model', stacktrace='loading', error_type='LoadingError'))\n"
    )
    failure = worker.load_error()

    assert failure == {
        "message": "no model",
        "error_type": "LoadingError",
        "stacktrace": "loading",
    }
    assert worker.stdout() == "loading\n"


def test_a_pipe_that_answers_every_request_with_its_load_error_is_ready(pipe: Any) -> None:
    """So does the development kit for Python, when it runs as it is."""
    worker = pipe(
        READY + "for r in requests(): write(error(message='no model', error_type='LoadingError'))"
    ).ready()

    for _ in range(2):
        assert worker.fail("x")["error_type"] == "LoadingError"


@pytest.mark.parametrize("nonsense", ["result(5)", "'{}'", "'oops'", "'[1]'"])
def test_an_answer_before_the_handshake_is_a_load_error(pipe: Any, nonsense: str) -> None:
    worker = pipe(f"write({nonsense}); sys.stdin.read()")

    assert "pipe" in worker.load_error()["message"] or nonsense == "'{}'"


def test_a_pipe_that_says_nothing_is_waited_for_until_the_platform_gives_up(pipe: Any) -> None:
    """So does the development kit for Java, when loading fails: it waits for requests."""
    worker = pipe("print('waiting', flush=True)\nfor r in requests(): pass")
    worker.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        worker.read()
    worker.socket.settimeout(20)

    worker.socket.shutdown(socket.SHUT_WR)
    assert worker.read() is None
    assert worker.wait() == 0
    assert worker.stdout() == "waiting\n"


# Calls


def test_requests_are_lines_and_results_come_back(pipe: Any) -> None:
    worker = pipe(ECHO).ready()

    for value in [
        "HAL 9000",
        "",
        "Grüße 😀\n\u2028",
        b"\x00\xff",
        b"",
        None,
        7,
        [1, {"a": []}],
        {},
    ]:
        assert worker.call(value) == value
    frame = text(worker, "Grüße".encode())
    assert (frame.header["content_type"], frame.body) == ("text", "Grüße".encode())


def test_the_request_is_one_compact_line(pipe: Any) -> None:
    worker = pipe(
        READY
        + "for line in sys.stdin.buffer: write(result(base64.b64encode(line).decode(), 'binary'))"
    ).ready()

    def seen(content_type: str, body: bytes) -> bytes:
        return worker.exchange(body, content_type=content_type).body

    assert seen("text", b'a "b"\n') == b'{"content_type":"text","data":"a \\"b\\"\\n"}\n'
    assert seen("json", b'{"a":\n1.50}') == b'{"content_type":"json","data":{"a": 1.50}}\n'
    assert seen("binary", b"\x00\xff") == b'{"content_type":"binary","data":"AP8="}\n'


@pytest.mark.parametrize("size", [65_535, 65_536, 10 * 1024 * 1024])
def test_bodies_of_any_size_pass_both_ways(pipe: Any, size: int) -> None:
    worker = pipe(ECHO).ready()
    body = os.urandom(size)

    assert worker.call(body) == body


def test_input_that_is_not_text_is_refused_without_asking_the_pipe(pipe: Any) -> None:
    worker = pipe(ECHO).ready()

    frame = text(worker, b"\xff")

    assert frame.type == frames.ERROR
    assert frame.header["kind"] == "input"
    assert worker.call("x") == "x"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("write(result(r['data']))", id="without a newline"),
        pytest.param("write(result(r['data']) + '\\n\\n\\n')", id="with many newlines"),
        pytest.param("write(json.dumps(json.loads(result(r['data'])), indent=4))", id="pretty"),
        pytest.param("write(result(r['data']), mode='w')", id="opened to overwrite"),
        pytest.param("write(' \\n\\t' + result(r['data']))", id="after white space"),
        pytest.param("[write(c) for c in result(r['data'])]", id="a byte at a time"),
        pytest.param(
            "t = result(r['data']); write(t[:9]); time.sleep(0.05); write(t[9:])", id="in two parts"
        ),
        pytest.param("kept.write(result(r['data'])); kept.flush()", id="never closed"),
    ],
)
def test_a_response_may_be_written_in_any_way(pipe: Any, answer: str) -> None:
    worker = pipe(
        f"kept = open(FIFO, 'a')\n{READY}for r in requests():\n    {answer}\n",
    ).ready()

    for value in ("x", 'a "}" \\ {', [1, [2, {"b": None}]], "x" * 200_000):
        assert worker.call(value) == value


def test_a_pipe_may_write_its_newline_late(pipe: Any) -> None:
    """The old platform stopped reading too early, and such pipes got a broken pipe."""
    worker = pipe(
        READY + "for r in requests():\n"
        "    with open(FIFO, 'w') as fifo:\n"
        "        fifo.write(result(1)); fifo.flush(); time.sleep(0.1); fifo.write('\\n')\n"
        "    say('alive')\n"
    ).ready()

    for _ in range(3):
        assert worker.call("x") == 1
    worker.socket.shutdown(socket.SHUT_WR)
    assert worker.wait() == 0
    assert worker.stdout() == "alive\n" * 3


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("message='no', error_type='InputError', stacktrace='t'", ("no", "InputError", "t")),
        ("message='no', error_type=None", ("no", None, "")),
        ("message='no', error_type=5, stack_trace='alias'", ("no", None, "alias")),
        ("message='no'", ("no", None, "")),
    ],
)
def test_errors_are_errors_of_the_algorithm(pipe: Any, fields: str, expected: Any) -> None:
    worker = pipe(READY + f"for r in requests(): write(error({fields}))").ready()

    failure = worker.fail("x")

    assert (failure["message"], failure["error_type"], failure["stacktrace"]) == expected


@pytest.mark.parametrize(
    "answer", ["'{}'", "'{\"result\"}'", "'{\"a\": [}'", "'{\"result\": 1,}'", '\'{"x": "\\xff"}\'']
)
def test_an_unreadable_response_costs_its_call_only(pipe: Any, answer: str) -> None:
    worker = pipe(
        READY + f"for r in requests(): write({answer} if r['data'] == 'bad' else result(1))"
    ).ready()

    if answer != "'{\"a\": [}'":  # the brace that would end it is missing
        assert worker.fail("bad")["message"].startswith("result is not valid JSON")
        assert worker.call("good") == 1


def test_numbers_that_json_does_not_have_cost_nothing_here(pipe: Any) -> None:
    """The platform refuses the result, as it checks every result; the pipe stays in step."""
    worker = pipe(
        READY + "for r in requests(): write(result(float('nan') if r['data'] == 'bad' else 1))"
    ).ready()

    assert worker.exchange(b'"bad"').body == b"NaN"
    assert worker.call("good") == 1


@pytest.mark.parametrize("nonsense", ["hello\\n", "NaN", "12", "[1, 2]", "}"])
def test_what_begins_no_response_is_answered_and_ends_the_pipe(pipe: Any, nonsense: str) -> None:
    worker = pipe(READY + f"for r in requests(): write('{nonsense}')").ready()

    answer = worker.exchange(b'"x"')
    assert json.loads(answer.body)["message"].startswith("result is not valid JSON")
    assert answer.header["is_last"] is True, "or the platform would send it another call"
    assert worker.read() is None
    assert worker.wait() == OUT_OF_STEP_CODE
    assert "out of step" in worker.stderr()


@pytest.mark.parametrize("second", ["result(2)", "'{'", "'late'"])
def test_a_second_response_never_answers_another_call(pipe: Any, second: str) -> None:
    worker = pipe(READY + f"for r in requests(): write(result(1) + '\\n' + {second})").ready()

    assert worker.call("x") == 1
    assert worker.read() is None
    assert worker.wait() == OUT_OF_STEP_CODE


def test_a_response_between_two_calls_ends_the_pipe(pipe: Any) -> None:
    worker = pipe(
        READY + "for r in requests(): write(result(1)); time.sleep(0.1); write(result(2))"
    ).ready()

    assert worker.call("x") == 1
    assert worker.read() is None
    assert worker.wait() == OUT_OF_STEP_CODE


def test_an_answer_to_half_a_request_ends_the_pipe(pipe: Any) -> None:
    worker = pipe(READY + "os.read(0, 100); write(result(1)); time.sleep(60)").ready()

    worker.send(b"x" * 1_000_000, content_type="binary")
    frame = worker.read()
    assert frame.body == b"1"
    assert worker.wait() == OUT_OF_STEP_CODE


def test_calls_are_answered_one_after_the_other(pipe: Any) -> None:
    worker = pipe(ECHO).ready()
    for call_id in (5, 6, 7):
        worker.send(b"%d" % call_id, call_id=call_id)

    answers = [worker.read() for _ in range(3)]

    assert [(a.header["id"], a.body) for a in answers] == [(5, b"5"), (6, b"6"), (7, b"7")]


def test_the_time_of_a_call_is_that_of_the_pipe(pipe: Any) -> None:
    worker = pipe(READY + "for r in requests(): time.sleep(0.2); write(result(1))").ready()

    assert 0.2 <= text(worker).header["run_s"] < 2


# Output


def test_what_is_printed_before_the_response_is_out_before_it(pipe: Any) -> None:
    worker = pipe(
        READY + "for r in requests():\n"
        "    print('out', 'x' * 1000, flush=True); print('err', file=sys.stderr, flush=True)\n"
        "    subprocess.run(['echo', 'from a child'])\n"
        "    write(result(1))\n"
    ).ready()

    for _ in range(200):
        assert text(worker).body == b"1"
        assert worker.stdout() == f"out {'x' * 1000}\nfrom a child\n"
        assert worker.stderr() == "err\n"


def test_what_is_printed_after_the_response_is_not_lost(pipe: Any) -> None:
    worker = pipe(READY + "for r in requests(): write(result(1)); time.sleep(0.1); say('late')")
    worker.ready()

    assert text(worker).body == b"1"
    assert worker.stdout() == ""
    worker.socket.shutdown(socket.SHUT_WR)
    assert worker.wait() == 0
    assert worker.stdout() == "late\n"


def test_output_that_nobody_reads_holds_the_pipe_up_and_nothing_more(pipe: Any) -> None:
    worker = pipe(
        READY + "for r in requests():\n"
        "    for i in range(20): print(str(i) * 50_000, flush=True)\n"
        "    write(result(1))\n"
    ).ready()

    worker.send(b"1")
    printed = ""
    while printed.count("\n") < 20:
        printed += worker.stdout()
    assert worker.read().body == b"1"
    assert printed == "".join(str(i) * 50_000 + "\n" for i in range(20))


def test_bytes_of_output_pass_as_they_are(pipe: Any) -> None:
    worker = pipe(
        "sys.stdout.buffer.write(b'\\xff\\x00\\r\\n'); sys.stdout.flush()\n" + ECHO
    ).ready()

    assert worker.process.stdout.read() == b"\xff\x00\r\n"


def test_a_closed_standard_output_is_no_end(pipe: Any) -> None:
    worker = pipe(READY + "os.close(1)\nfor r in requests(): write(result(1))").ready()

    for _ in range(3):
        assert worker.call("x") == 1


# Ends


@pytest.mark.parametrize("code", [0, 1, 42])
def test_an_exit_during_a_call_is_passed_on(pipe: Any, code: int) -> None:
    worker = pipe(READY + f"for r in requests(): say('bye'); os._exit({code})").ready()

    assert text(worker) is None
    assert worker.wait() == code
    assert worker.stdout() == "bye\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_signal_during_a_call_is_passed_on(pipe: Any, number: int) -> None:
    worker = pipe(READY + f"for r in requests(): os.kill(os.getpid(), {int(number)})").ready()

    assert text(worker) is None
    assert worker.wait() == -number


def test_half_a_response_and_an_exit_is_an_exit(pipe: Any) -> None:
    worker = pipe(READY + "for r in requests(): write('{\"result\": '); os._exit(4)").ready()

    assert text(worker) is None
    assert worker.wait() == 4


def test_a_response_and_an_exit_is_a_response(pipe: Any) -> None:
    worker = pipe(READY + "for r in requests(): write(result('x' * 30_000)); os._exit(4)").ready()

    assert text(worker).type == frames.RESULT
    assert worker.wait() == 4


def test_an_exit_between_two_calls_is_passed_on(pipe: Any) -> None:
    worker = pipe(READY + "for r in requests(): write(result(1)); time.sleep(0.1); os._exit(5)")
    worker.ready()

    assert worker.call("x") == 1
    assert worker.read() is None
    assert worker.wait() == 5


def test_the_end_of_the_stream_ends_the_pipes_input(pipe: Any) -> None:
    worker = pipe(ECHO + "say('clean')").ready()
    worker.socket.shutdown(socket.SHUT_WR)

    assert worker.wait() == 0
    assert worker.stdout() == "clean\n"


def test_a_pipe_that_does_not_leave_is_killed_after_its_grace(pipe: Any) -> None:
    worker = pipe("say(os.getpid())\n" + ECHO + "time.sleep(600)").ready()
    pid = int(worker.stdout())
    began = time.monotonic()
    worker.socket.shutdown(socket.SHUT_WR)

    assert worker.wait() == 0
    assert STOP_GRACE_S <= time.monotonic() - began < STOP_GRACE_S + 3
    assert has_ended(pid)


def test_the_end_of_the_platform_ends_a_running_call(pipe: Any) -> None:
    worker = pipe("say(os.getpid())\n" + READY + "for r in requests(): time.sleep(600)").ready()
    pid = int(worker.stdout())
    worker.send(b"1")
    worker.socket.close()

    assert worker.wait() == 0
    assert has_ended(pid)


def test_sigterm_leaves_the_pipe_its_own_end(pipe: Any) -> None:
    """It goes to every process of a sandbox; the adapter must not end the sandbox before."""
    worker = pipe(
        "def leave(*_): os.write(1, b'cleaning up\\n'); time.sleep(0.2); os._exit(6)\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        + READY
        + "for r in requests(): say(os.getpid()); time.sleep(600)"
    ).ready()
    worker.send(b"1")
    assert select.select([worker.process.stdout], [], [], 20)[0], "the call arrives"
    pid = int(worker.stdout())
    os.kill(pid, signal.SIGTERM)
    worker.process.send_signal(signal.SIGTERM)

    assert worker.wait() == 6
    assert worker.stdout().lstrip() == "cleaning up\n"


def test_children_of_the_pipe_get_neither_the_slot_nor_our_descriptors(pipe: Any) -> None:
    worker = pipe(
        READY + "for r in requests(): write(result(sorted(map(int, os.listdir('/proc/self/fd')))))"
    ).ready()

    assert worker.call("x")[:3] == [0, 1, 2]
    assert len(worker.call("x")) <= 5  # the FIFO it has open, and the directory


def test_signals_that_python_ignores_are_not_ignored_in_the_pipe(pipe: Any) -> None:
    worker = pipe(
        command=[
            "/bin/sh",
            "-c",
            "echo PIPE_INIT_COMPLETE; read line; yes | head -1 >/dev/null; "
            'echo "{\\"result\\": \\"$?\\"}" >"$ALGORIUM_FIFO"; read line',
        ]
    ).ready()

    assert worker.call("x") == "0"


def test_a_module_with_a_kit_of_its_own_is_a_pipe(start: Any, tmp_path: Path) -> None:
    worker = start(
        """
        import json, os, sys, traceback
        from src.other import double
        def serve():
            print("PIPE_INIT_COMPLETE")
            for line in sys.stdin:
                trace = traceback.format_exception(etype=OSError, value=OSError("x"), tb=None)
                with open(os.environ["ALGORIUM_FIFO"], "w") as fifo:
                    json.dump({"result": [double(json.loads(line)["data"]), *trace]}, fifo)
        serve()
        """,
        files={"src/other.py": "def double(x): return x + x"},
        arguments=[
            *("-I", "-S", str(RUNTIME), "--pipe"),
            *(sys.executable, "-u", str(RUNTIME), "--import", "src.Hello"),
        ],
        env={"TMPDIR": str(tmp_path)},
    ).ready()

    assert worker.call("ab") == ["abab", "OSError: x\n"]
    worker.socket.shutdown(socket.SHUT_WR)
    assert worker.wait() == 0
    assert worker.stderr() == ""


def has_ended(pid: int, *, within_s: float = 20.0) -> bool:
    """Whether a process that was killed is gone, or will be in a moment: dying takes its time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_nothing_is_lost_over_many_calls(pipe: Any) -> None:
    worker = pipe(ECHO).ready()

    for i in range(500):
        worker.send(json.dumps(i).encode(), call_id=i)
        frame = worker.read()
        assert (frame.header["id"], frame.body) == (i, b"%d" % i)
