"""What frames and exits of an untrusted process mean."""

import json

import pytest

from algorium_runtime import frames
from algorium_server.domain.calls import CallFailure, CallSuccess, ContentType, Timings
from algorium_server.engine import outcomes
from algorium_server.engine.sandbox import ExitStatus
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


def test_a_limit_that_ended_the_process_is_named() -> None:
    end = SlotEnded(ExitStatus(code=None, signal=9, was_process_limit=True))

    assert outcomes.of_end(end, TIMINGS, "").message.endswith("limit of 256 processes")
