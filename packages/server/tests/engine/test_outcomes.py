"""What frames and exits of an untrusted process mean."""

import json

import pytest

from algorium_runtime import frames
from algorium_server.domain.calls import (
    TIMEOUT_MESSAGE,
    CallFailure,
    CallSuccess,
    ContentType,
    Timings,
)
from algorium_server.domain.limits import MIB
from algorium_server.engine import outcomes
from algorium_server.engine.sandbox import ExitStatus, SandboxLimits
from algorium_server.engine.slots import SlotEnded

TIMINGS = Timings(queue_s=0.0, load_s=0.0, run_s=0.1)


def result(content_type: str, body: bytes) -> frames.Frame:
    return frames.Frame(frames.RESULT, {"id": 1, "content_type": content_type}, body)


@pytest.mark.parametrize("body", [b"1", b'{"a":[1,2]}', b"null", '"\u00fc"'.encode()])
def test_one_json_value_is_a_result(body: bytes) -> None:
    outcome = outcomes.of_frame(result("json", body), TIMINGS, "")

    assert isinstance(outcome, CallSuccess)
    assert (outcome.content_type, outcome.body) == (ContentType.JSON, body)


@pytest.mark.parametrize("body", [b"", b"1 2", b"NaN", b"[1,", b'"\xff"', b"[" * 100_000])
def test_anything_else_is_not_spliced_into_an_answer(body: bytes) -> None:
    outcome = outcomes.of_frame(result("json", body), TIMINGS, "")

    assert isinstance(outcome, CallFailure)
    assert outcome.message == "result is not valid JSON"


def test_text_that_is_not_utf8_breaks_the_protocol() -> None:
    with pytest.raises(frames.ProtocolError):
        outcomes.of_frame(result("text", b"\xff"), TIMINGS, "")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("InputError", "InputError"),
        (None, "AlgorithmError"),
        (7, "AlgorithmError"),
        ("TimeoutError", "AlgorithmError"),
        ("class java.lang.X", "AlgorithmError"),
    ],
)
def test_error_types_are_standardised(raw: object, shown: str) -> None:
    body = json.dumps({"message": "no", "error_type": raw, "stacktrace": ""}).encode()
    frame = frames.Frame(frames.ERROR, {"id": 1, "kind": "algorithm"}, body)

    outcome = outcomes.of_frame(frame, TIMINGS, "")

    assert isinstance(outcome, CallFailure)
    assert (outcome.message, outcome.error_type) == ("no", shown)


def test_a_load_error_without_a_type_is_a_loading_error() -> None:
    frame = frames.Frame(frames.LOAD_ERROR, {}, b'{"message":"no model"}')

    outcome = outcomes.of_frame(frame, TIMINGS, "printed")

    assert isinstance(outcome, CallFailure)
    assert (outcome.error_type, outcome.stdout) == ("LoadingError", "printed")


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{"])
def test_an_error_frame_must_carry_an_object(body: bytes) -> None:
    with pytest.raises(frames.ProtocolError):
        outcomes.of_frame(frames.Frame(frames.ERROR, {"id": 1}, body), TIMINGS, "")


@pytest.mark.parametrize(
    ("end", "error_type"),
    [
        (SlotEnded(ExitStatus(code=3, signal=None)), "SystemExit"),
        (SlotEnded(ExitStatus(code=None, signal=9)), "SystemExit"),
        (SlotEnded(ExitStatus(code=None, signal=9, was_oom=True)), "OutOfMemoryError"),
        (SlotEnded(None, violation="nonsense"), "SystemError"),
        (SlotEnded(None, violation="big", is_oversized=True), "TooLargeError"),
    ],
)
def test_the_end_of_a_slot_has_a_type(end: SlotEnded, error_type: str) -> None:
    assert outcomes.of_end(end, TIMINGS, "").error_type == error_type


LIMITS = SandboxLimits(
    memory_bytes=64 * MIB, processes=24, open_files=32, tmp_bytes=8 * MIB, cpus=0.0
)


@pytest.mark.parametrize(
    ("changes", "ending"),
    [
        ({"was_process_limit": True}, "exited with code -99: it reached its limit of 24 processes"),
        (
            {"was_disk_limit": True},
            "exited with code -99: it stored more than 8 MiB of temporary files",
        ),
        ({}, "exited with code -99"),
    ],
)
def test_a_limit_that_ended_the_process_is_named(changes: dict[str, bool], ending: str) -> None:
    end = SlotEnded(ExitStatus(code=None, signal=9, **changes))

    assert outcomes.of_end(end, TIMINGS, "", LIMITS).message == ending


@pytest.mark.parametrize(
    ("peak", "ending"),
    [(65 * MIB, "limited to 64 MiB; it used 65 MiB."), (None, "64 MiB; it reached that.")],
)
def test_running_out_of_memory_names_limit_and_peak_beside_the_fixed_message(
    peak: int | None, ending: str
) -> None:
    end = SlotEnded(ExitStatus(code=None, signal=9, was_oom=True, peak_memory_bytes=peak))

    failure = outcomes.of_end(end, TIMINGS, "", LIMITS)

    assert failure.message == TIMEOUT_MESSAGE
    assert failure.hint.endswith(ending)


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("[Errno 24] Too many open files: '/tmp/x'", "32 files"),
        ("EMFILE: too many open files, open '/tmp/x'", "32 files"),
        ("java.io.FileNotFoundException: /tmp/x (Too many open files)", "32 files"),
        ("[Errno 28] No space left on device", "8 MiB"),
        ("ENOSPC: no space left on device, write", "8 MiB"),
        ("[Errno 27] File too large", "8 MiB"),
        ("can't start new thread", "24 processes"),
        ("[Errno 11] Resource temporarily unavailable", "24 processes"),
        ("unable to create native thread: possibly out of memory", "24 processes"),
    ],
)
@pytest.mark.parametrize("kind", [frames.ERROR, frames.LOAD_ERROR])
def test_an_error_that_a_limit_caused_names_the_limit(message: str, limit: str, kind: int) -> None:
    frame = frames.Frame(kind, {"id": 1}, json.dumps({"message": message}).encode())

    failure = outcomes.of_frame(frame, TIMINGS, "", LIMITS)

    assert isinstance(failure, CallFailure)
    assert failure.message == message
    assert limit in failure.hint


@pytest.mark.parametrize("message", ["no", "Errno 24", "open files", "[Errno 2] No such file"])
def test_other_errors_name_none(message: str) -> None:
    frame = frames.Frame(frames.ERROR, {"id": 1}, json.dumps({"message": message}).encode())

    failure = outcomes.of_frame(frame, TIMINGS, "", LIMITS)

    assert isinstance(failure, CallFailure)
    assert failure.hint == ""


def test_a_slot_that_the_platform_lost_is_no_fault_of_the_algorithm() -> None:
    status = ExitStatus(code=None, signal=9, was_lost=True)

    outcome = outcomes.of_end(SlotEnded(status), TIMINGS, "printed")

    assert (outcome.error_type, outcome.stdout) == ("SystemError", "printed")
    assert "exited with code" not in outcome.message
