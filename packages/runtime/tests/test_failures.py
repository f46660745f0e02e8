import json
import os
from typing import Any

import pytest

from algorium_runtime import failures


def caught(function: Any) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def test_message_type_and_trace_are_the_exceptions() -> None:
    class Refused(Exception):
        error_type = "InputError"

    def author() -> None:
        raise Refused("too short")

    failure = failures.describe(caught(author))

    assert failure.message == "too short"
    assert failure.error_type == "InputError"
    assert failure.stacktrace.startswith("Traceback (most recent call last):\n")
    assert "in author\n    raise Refused" in failure.stacktrace
    assert failure.stacktrace.endswith("Refused: too short\n")


@pytest.mark.parametrize("error_type", [None, 7, ["InputError"], b"InputError"])
def test_an_error_type_that_is_no_text_is_none(error_type: object) -> None:
    error = Exception("x")
    error.error_type = error_type  # type: ignore[attr-defined]

    assert failures.describe(error).error_type is None


def test_running_out_of_memory_has_its_type() -> None:
    assert failures.describe(MemoryError()) == ("MemoryError", "OutOfMemoryError", "MemoryError\n")


def test_a_message_is_never_empty() -> None:
    assert failures.describe(AssertionError()).message == "AssertionError"
    assert failures.describe(ValueError("  ")).message == "ValueError"
    assert failures.describe(KeyError("k")).message == "'k'"


def test_an_exception_that_cannot_describe_itself_is_described() -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

        @property
        def error_type(self) -> str:
            raise RuntimeError("no")

    failure = failures.describe(Hostile())

    assert failure.message == "Hostile"
    assert failure.error_type is None


def test_frames_of_the_runtime_above_the_authors_are_left_out() -> None:
    namespace: dict[str, Any] = {}
    here = os.path.dirname(failures.__file__)
    ours = compile("def ours(f):\n    f()\n", os.path.join(here, "runner.py"), "exec")
    exec(ours, namespace)

    def author() -> None:
        raise ValueError("x")

    error = caught(lambda: namespace["ours"](author))
    trace = error.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.endswith("runner.py"):
        trace = trace.tb_next  # as if it had been caught there

    told = failures.describe(error.with_traceback(trace)).stacktrace
    assert "runner.py" not in told
    assert "in author" in told


def test_causes_are_told() -> None:
    def author() -> None:
        try:
            {}["k"]
        except KeyError as error:
            raise ValueError("no k") from error

    trace = failures.describe(caught(author)).stacktrace

    assert "KeyError: 'k'" in trace
    assert "direct cause" in trace


def test_texts_are_cut_in_the_middle() -> None:
    body = failures.Failure("é" * 300_000, "t" * 300_000, "a" + "b" * 400_000 + "c").encode()

    told = json.loads(body)
    assert all(len(text.encode()) <= failures.TEXT_BYTES_MAX for text in told.values())
    assert told["message"].startswith("éé")
    assert "bytes left out" in told["message"]
    assert told["stacktrace"][0] == "a"
    assert told["stacktrace"][-1] == "c"


def test_surrogates_do_not_stop_a_failure() -> None:
    told = json.loads(failures.Failure("a\ud800", None, "").encode())

    assert told == {"message": "a?", "error_type": None, "stacktrace": ""}
