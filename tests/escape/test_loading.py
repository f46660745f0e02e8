"""Hostile before the first call: what fails, hangs or lies while it loads is told to its caller."""

import json
import time

import pytest
from processes import processes_with
from waiting import wait_until

from .attacked import SLACK_S, Attacked

FAILED = {"LoadingError", "SystemExit", "SystemError", "AlgorithmError"}


@pytest.mark.parametrize(
    "name",
    ["LoadExits", "ImportExits", "LoadCrashes", "LoadLeaves", "LoadNonsense", "LoadFailsOddly"],
)
def test_what_fails_to_load_is_told_and_told_again(site: Attacked, name: str) -> None:
    for _ in range(2):
        answer = site.call(f"escape/{name}", None)

        assert answer.status_code == 200
        error = answer.json()["error"]
        assert error["error_type"] in FAILED, error
        assert isinstance(error["message"], str)


@pytest.mark.parametrize("name", ["LoadForever", "LoadDeaf"])
def test_loading_for_ever_holds_nobody_beyond_the_deadline(site: Attacked, name: str) -> None:
    began = time.monotonic()
    error = site.call(f"escape/{name}", None, timeout_s=1).json()["error"]

    assert error["error_type"] == "TimeoutError"
    assert time.monotonic() - began < 1 + SLACK_S


def test_lies_told_while_loading_answer_no_call(site: Attacked) -> None:
    for _ in range(2):
        answer = site.call("escape/LoadLies", None, timeout_s=1)

        assert "error" in answer.json(), "nobody was answered before asking"


def test_being_ready_twice_is_out_of_place(site: Attacked) -> None:
    answer = site.call("escape/LoadTwice", None, timeout_s=2)

    assert answer.json().get("result") == "once" or "error" in answer.json()


def test_output_while_loading_is_cut_and_is_not_the_calls(site: Attacked) -> None:
    answer = site.call("escape/LoadPrints", None, stdout=True)

    assert answer.json()["result"] == "loaded"
    assert len(answer.json()["metadata"]["stdout"]) < 100


def test_what_a_failed_load_leaves_behind_is_gone(site: Attacked) -> None:
    answer = site.call("escape/LoadForks", None)

    assert answer.json()["error"]["error_type"] in FAILED
    wait_until(
        lambda: not processes_with("left-by-LoadForks"), timeout_s=30, what="the process is gone"
    )


def test_memory_ends_while_loading_too(site: Attacked) -> None:
    error = site.call("escape/LoadEats", None, timeout_s=30).json()["error"]

    assert error["error_type"] in {"OutOfMemoryError", *FAILED}


def test_while_loading_it_acts_for_whoever_called_and_afterwards_for_nobody(site: Attacked) -> None:
    for by in ("admin", "jane"):
        wait_until(
            lambda by=by: any(status == 401 for _, status, _ in site.call(
                "escape/LoadAsks", None, by=by).json()["result"]),
            timeout_s=30, what="the thread asked between two calls",
        )  # fmt: skip
        told = site.call("escape/LoadAsks", None, by=by).json()["result"]

        for when, status, body in told:
            if status == 200:
                names = {folder["name"] for folder in json.loads(body)["folders"]}
                assert names & {"admin", "jane"} == {by}, when
            else:
                assert (when, status) == ("thread", 401)
