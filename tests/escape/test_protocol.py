"""The slot protocol and its output: lies, floods and broken ends harm the liar alone."""

import json
import struct
from typing import Any

import pytest
from waiting import wait_until

from .attacked import Attacked
from .outside import descriptors_of, resident_bytes

MIB = 1024 * 1024
RESULT = {"content_type": "json", "run_s": 0.001}


def test_nothing_unexpected_is_open(site: Attacked) -> None:
    told = site.said("protocol.descriptors")

    told = {number: what for number, what in told.items() if "/proc/" not in what}
    assert told.keys() == {"0", "1", "2", "3"}, told
    assert told["0"] == "/dev/null"
    assert [told[n].partition(":")[0] for n in "123"] == ["pipe", "pipe", "socket"]


def test_what_starts_slots_holds_nothing_that_a_slot_could_reach(site: Attacked) -> None:
    told = site.said("protocol.descriptors_of_others")

    for said in told.values():
        assert "refused" in said or len(json.loads(said["done"].replace("'", '"'))) <= 8


@pytest.mark.parametrize(
    "body",
    [
        "",
        "nonsense",
        '1, "metadata": {"stdout": "lie"}, "result": 2',
        '1}, {"result": 2',
        '"unfinished',
        "NaN",
        "-Infinity",
        "1e",
        "[1,]",
        '{"a": 1, }',
        "[" * 100_000 + "]" * 100_000,
        '"\\ud800"',
        '"\xff\xfe"',
        "\xef\xbb\xbf1",
        "1 2",
        "1\x00",
        "\x00",
        "'single'",
        '{"a": "\n"}',
    ],
)
def test_only_one_json_value_is_passed_on(site: Attacked, body: str) -> None:
    answer = site.answer("protocol.answer_with", {"header": RESULT, "body": body}, stdout=True)

    found = json.loads(answer.content)
    assert answer.status_code == 200
    assert found.keys() <= {"metadata", "result", "error"}
    assert found["result"] is None or "error" not in found
    assert found["metadata"].get("stdout") in {None, ""}
    if body != '"\\ud800"':  # valid JSON, whose meaning is the reader's business
        assert found["error"]["error_type"] in {"AlgorithmError", "SystemError"}


@pytest.mark.parametrize(
    "header",
    [
        {"content_type": "html"},
        {"content_type": "text/html\r\nSet-Cookie: x=y"},
        {"content_type": None},
        {"content_type": ["json"]},
        {"content_type": {"json": 1}},
        {},
        {"content_type": "json", "run_s": -1},
        {"content_type": "json", "run_s": 1e308},
        {"content_type": "json", "run_s": 10**400},
        {"content_type": "json", "run_s": "0}, "},
        {"content_type": "json", "run_s": None},
        {"content_type": "json", "run_s": True},
        {"content_type": "json", "run_s": [1]},
        {"content_type": "json", "id": 0},
        {"content_type": "json", "id": -1},
        {"content_type": "json", "id": 2**63},
        {"content_type": "json", "id": "1"},
        {"content_type": "json", "id": None},
        {"content_type": "json", "id": 1.5},
        {"content_type": "json", "stdout": "lie", "account": "jane"},
        "[1]",
        "null",
        "{",
        '{"content_type": "json", "run_s": NaN}',
        '{"id": 1, "id": 2}',
        "\xff\xfe",
        "{" * 30_000,
    ],
)
def test_headers_are_not_believed(site: Attacked, header: Any) -> None:
    arguments = {"header": header, "body": '"told"'}

    answer = site.answer("protocol.answer_with", arguments, timing=True, timeout_s=2)

    found = json.loads(answer.content)
    assert answer.headers["content-type"] == "application/json"
    assert "set-cookie" not in answer.headers
    assert 0 < float(found["metadata"]["duration"]) < 100
    assert found.get("result") == "told" or found["error"]["error_type"] in {
        "SystemError", "AlgorithmError", "TimeoutError", "SystemExit",
    }  # fmt: skip


@pytest.mark.parametrize("output", ["raw", ""])
@pytest.mark.parametrize(
    ("header", "body"),
    [
        ({"content_type": "text"}, "\xff\xfe"),
        ({"content_type": "text"}, "a\r\nSet-Cookie: x=y\r\n\r\n"),
        ({"content_type": "binary"}, "\x00\xff\r\n0\r\n\r\n"),
        ({"content_type": "void"}, "not void"),
    ],
)
def test_bodies_stay_bodies(site: Attacked, header: Any, body: str, output: str) -> None:
    arguments = {"header": header, "body": body}

    answer = site.answer("protocol.answer_with", arguments, output=output)

    assert "set-cookie" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.content)
    if not output:
        json.loads(answer.content)


@pytest.mark.parametrize(
    "failure",
    [
        "nonsense",
        "[]",
        '{"message": 1, "error_type": 2, "stacktrace": 3}',
        '{"message": "\\ud800", "error_type": "\\ud800"}',
        '{"message": "a\\r\\nSet-Cookie: x=y", "error_type": "b\\r\\nSet-Cookie: x=y"}',
        '{"message": {"a": 1}, "error_type": ["x"]}',
        '{"message": "x", "error_type": "<script>alert(1)</script>"}',
        "[" * 100_000,
    ],
)
@pytest.mark.parametrize("kind", ["algorithm", "input", "platform", None])
def test_failures_are_text(site: Attacked, failure: str, kind: str | None) -> None:
    arguments = {"header": {"kind": kind, "run_s": 0}, "body": failure, "kind": 5}

    answer = site.answer("protocol.answer_with", arguments, output="raw")

    error = json.loads(answer.content)["error"]
    assert isinstance(error["message"], str)
    assert isinstance(error["error_type"], str)
    assert answer.status_code in {200, 400, 500, 504}
    assert "set-cookie" not in answer.headers


def test_a_long_failure_does_not_become_a_long_header(site: Attacked) -> None:
    failure = '{"message": "' + "x" * 100_000 + '"}'

    answer = site.answer(
        "protocol.answer_with",
        {"header": {"kind": "input", "run_s": 0}, "body": failure, "kind": 5},
        output="raw",
    )

    assert len(answer.headers.get("x-error-message", "")) < 16_384


def prefix(version: int, kind: int, flags: int, header: int, body: int) -> str:
    return struct.pack("<BBHIQ", version, kind, flags, header, body).decode("latin-1")


@pytest.mark.parametrize(
    "raw",
    [
        prefix(2, 4, 0, 0, 0),
        prefix(0, 0, 0, 0, 0),
        prefix(1, 4, 1, 2, 0) + "{}",
        prefix(1, 9, 0, 2, 0) + "{}",
        prefix(1, 1, 0, 2, 0) + "{}",
        prefix(1, 2, 0, 2, 2) + "{}{}",
        prefix(1, 3, 0, 2, 0) + "{}",
        prefix(1, 4, 0, 2**32 - 1, 0),
        prefix(1, 4, 0, 65_537, 0) + "x" * 100,
        prefix(1, 4, 0, 2, 2**63) + "{}",
        prefix(1, 4, 0, 2, 2**64 - 1) + "{}",
        "\xff" * 16,
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "x" * 300_000,
    ],
)
def test_frames_out_of_form_end_the_slot(site: Attacked, raw: str) -> None:
    error = site.error("protocol.answer_with_raw", {"raw": raw}, timeout_s=2)

    assert error["error_type"] in {"SystemError", "TooLargeError", "TimeoutError"}


@pytest.mark.parametrize("raw", ["", "\x01", prefix(1, 4, 0, 20, 10), prefix(1, 4, 0, 2, 9) + "{}"])
def test_frames_that_never_end_end_at_the_deadline(site: Attacked, raw: str) -> None:
    error = site.error("protocol.answer_with_raw", {"raw": raw}, timeout_s=1)

    assert error["error_type"] in {"TimeoutError", "SystemError"}


def test_announcing_much_costs_the_gateway_little(site: Attacked) -> None:
    before = resident_bytes(site.server.pid)

    error = site.error("protocol.announce", {"length": 60 * MIB}, timeout_s=1)

    assert error["error_type"] in {"TimeoutError", "TooLargeError", "SystemError"}

    assert resident_bytes(site.server.pid) - before < 64 * MIB


def test_answering_twice_convinces_nobody_twice(site: Attacked) -> None:
    header = {"content_type": "text", "run_s": 0}
    answer = site.answer("protocol.answer_twice", {"header": header, "body": "lie"})

    # The first answer is the algorithm's own, and it may say what it likes; then there is one more.
    assert answer.json().get("result") == "lie" or "error" in answer.json()
    wait_until(site.is_well, timeout_s=30, what="the second frame answered nobody")


@pytest.mark.parametrize("action", ["answer_the_next_call", "fork_behind_the_runtime"])
def test_the_next_call_cannot_be_answered_ahead(site: Attacked, action: str) -> None:
    for _ in range(2):
        assert site.said(f"protocol.{action}", {"body": "lie"}) == "truth"
        later = site.answer("processes.environment")

        if "error" not in later.json():
            assert later.json()["result"] != "lie"
        wait_until(site.is_well, timeout_s=30, what="a slot is there again")
        site.answer("processes.exit_now")


def test_a_child_that_returns_answers_nobody(site: Attacked) -> None:
    assert site.said("protocol.fork_and_return") == "once"


def test_writing_to_every_descriptor_convinces_nobody_else(site: Attacked) -> None:
    answer = site.answer("protocol.write_to_all_descriptors")

    assert answer.json().get("result") == "lie" or "error" in answer.json()
    wait_until(site.is_well, timeout_s=30, what="a slot is there again")


def test_descriptors_passed_to_the_gateway_are_not_kept(site: Attacked) -> None:
    before = descriptors_of(site.server.pid)
    assert site.said("protocol.pass_descriptors", {"count": 200}) == "armed"

    for _ in range(20):
        site.call("escape/Escape", "well")

    assert descriptors_of(site.server.pid) <= before + 2
    site.error("processes.exit_now")


@pytest.mark.parametrize("numbers", [[3], [1, 2], [0, 1, 2, 3], list(range(64))])
def test_closing_descriptors_is_ones_own_loss(site: Attacked, numbers: list[int]) -> None:
    answer = site.answer("protocol.close_descriptors", {"numbers": numbers}, timeout_s=2)

    assert answer.json().get("result") == "closed" or answer.json()["error"]["error_type"] in {
        "SystemError", "SystemExit", "TimeoutError", "AlgorithmError",
    }  # fmt: skip
    site.answer("processes.exit_now")
    wait_until(site.is_well, timeout_s=30, what="a slot is there again")


@pytest.mark.parametrize(
    ("action", "arguments"),
    [("replace_descriptor", {}), ("shut_down_descriptor", {"how": 2}),
     ("shut_down_descriptor", {"how": 0}), ("shut_down_descriptor", {"how": 1})],
)  # fmt: skip
def test_losing_the_platforms_socket_ends_the_slot(
    site: Attacked, action: str, arguments: dict[str, int]
) -> None:
    answer = site.answer(f"protocol.{action}", arguments, timeout_s=1)

    assert answer.status_code == 200
    wait_until(site.is_well, timeout_s=30, what="a slot is there again")


def test_imitations_on_output_are_output(site: Attacked) -> None:
    answer = site.answer("protocol.imitate_on_output", stdout=True)

    assert answer.json()["result"] == "truth"
    assert answer.json()["metadata"]["content_type"] == "text"
    assert "PIPE_INIT_COMPLETE" in answer.json()["metadata"]["stdout"]


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("print_often", {"lines": 1_000_000}),
        ("print_much", {"megabytes": 256}),
        ("never_end_a_line", {"megabytes": 64}),
    ],
)
def test_output_without_measure_is_cut(
    site: Attacked, action: str, arguments: dict[str, int]
) -> None:
    before = resident_bytes(site.server.pid)

    answer = site.answer(f"protocol.{action}", arguments, stdout=True, timeout_s=60)

    assert answer.json()["result"] == "printed"
    assert len(answer.json()["metadata"]["stdout"]) < 1.1 * MIB
    assert "bytes of output left out" in answer.json()["metadata"]["stdout"]
    assert resident_bytes(site.server.pid) - before < 64 * MIB


def test_output_after_the_end_is_in_no_log_of_a_call(site: Attacked) -> None:
    arguments = {"text": "printed between calls", "delay_s": 0.1}
    assert site.said("protocol.print_after_the_end", arguments) == "left"
    # Jane's calls give the thread its time, without being the next call of its own slot.
    for _ in range(3):
        site.said("processes.core_limit", by="jane")
    wait_until(lambda: _has_slept(site), timeout_s=30, what="the thread has printed")

    answer = site.answer("processes.core_limit", stdout=True)

    assert "printed between calls" not in answer.json()["metadata"]["stdout"]


def _has_slept(site: Attacked) -> bool:
    return bool(site.said("protocol.sleep", {"seconds": 0.3}, by="jane"))


def test_endless_output_of_a_thread_delays_nobody_else(site: Attacked) -> None:
    assert site.said("protocol.print_for_ever") == "begun"

    for _ in range(5):
        assert site.is_well(by="jane")
    site.answer("processes.exit_now")
    wait_until(site.is_well, timeout_s=30, what="a slot is there again")


@pytest.mark.parametrize("how", ["none", "raise", "leave"])
def test_replaced_streams_cost_no_answer(site: Attacked, how: str) -> None:
    answer = site.answer("protocol.break_output", {"how": how})

    assert answer.json().get("result") == "broken" or how == "leave"
    site.answer("processes.exit_now")
    wait_until(site.is_well, timeout_s=30, what="a slot is there again")


@pytest.mark.parametrize("action", ["exit", "raise", "itself", "grow", "pickle"])
def test_results_that_act_harm_their_own_slot(site: Attacked, action: str) -> None:
    error = site.error("protocol.evil_result", {"action": action}, timeout_s=3)

    assert error["error_type"] in {"AlgorithmError", "SystemExit", "TimeoutError"}
    wait_until(site.is_well, timeout_s=30, what="a slot is there again")


@pytest.mark.parametrize(
    "which", ["nan", "infinity", "surrogate", "surrogate text", "number", "deep"]
)
def test_results_that_are_no_json_are_told(site: Attacked, which: str) -> None:
    error = site.error("protocol.odd_result", {"which": which})

    assert error["error_type"] == "AlgorithmError"


@pytest.mark.parametrize("how", ["raise", "interrupt", "exit", "generator", "recursion", "memory"])
def test_leaving_by_other_doors_ends_one_call(site: Attacked, how: str) -> None:
    error = site.error("protocol.leave_the_loop", {"how": how})

    assert error["error_type"] in {"AlgorithmError", "SystemExit", "OutOfMemoryError"}
    wait_until(site.is_well, timeout_s=30, what="a slot is there again")


def test_taking_over_the_runtime_is_taking_over_ones_own_slot(site: Attacked) -> None:
    site.answer("protocol.rewrite_the_runtime")
    error = site.error("processes.environment")

    assert error["error_type"] == "SystemError"
    assert site.is_well(by="jane")
    site.answer("processes.exit_now")
    assert site.is_well()
