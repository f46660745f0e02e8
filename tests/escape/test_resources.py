"""Shares: memory, processes, files and connections end for the one who takes too many."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from .attacked import DEADLINE_S, Attacked
from .outside import resident_bytes

MIB = 1024 * 1024
PROCESSES_MAX = 300
"""What a slot may have, and a few to spare where the kernel is not the one that counts exactly."""


@pytest.fixture
def has_memory_limit(site: Attacked) -> None:
    limits = httpx2.get(f"{site.server.api}/readyz").json()["sandbox"]["limits"]
    if "memory" not in limits:
        pytest.skip(f"this host limits memory only by looking: {limits}")


def test_processes_end_at_their_limit(site: Attacked) -> None:
    answer = site.answer("resources.fork", {"count": 400}, timeout_s=20)

    found = answer.json()
    if "error" in found:  # watched: the slot has ended
        assert "processes" in found["error"]["message"]
    else:
        assert found["result"]["made"] < PROCESSES_MAX
        assert "unavailable" in found["result"]["refusal"]


def test_threads_end_at_the_same_limit(site: Attacked) -> None:
    answer = site.answer("resources.start_threads", {"count": 400}, timeout_s=20)

    found = answer.json()
    if "error" in found:
        assert "processes" in found["error"]["message"]
    else:
        assert found["result"]["made"] < PROCESSES_MAX


@pytest.mark.usefixtures("has_memory_limit")
@pytest.mark.parametrize("kind", ["heap", "memory files", "temporary files", "children", "shared"])
def test_memory_ends_whatever_its_form(site: Attacked, kind: str) -> None:
    before = resident_bytes(site.server.pid)

    answer = site.answer("resources.eat", {"kind": kind}, timeout_s=60)

    found = answer.json()
    if kind == "temporary files" and found.get("result") == "full":
        return  # their own limits came first
    assert found["error"]["error_type"] == "OutOfMemoryError", found
    assert resident_bytes(site.server.pid) - before < 32 * MIB


def test_private_file_systems_end(site: Attacked) -> None:
    free_before = shutil.disk_usage(site.server.home).free

    answer = site.answer("resources.fill_disk", timeout_s=60)

    found = answer.json()
    if "error" in found:
        assert found["error"]["error_type"] == "OutOfMemoryError"
    else:
        written = {place: each[0] for place, each in found["result"].items()}
        assert max(written.values()) <= 1024 * MIB
        assert written["/dev"] == written["/run"] == 0
    assert free_before - shutil.disk_usage(site.server.home).free < 256 * MIB


def test_small_files_do_not_outgrow_memory(site: Attacked) -> None:
    answer = site.answer("resources.many_small_files", {"count": 50_000}, timeout_s=30)

    assert answer.json()["result"]["made"] > 0


def test_open_files_end_at_their_limit(site: Attacked) -> None:
    told = site.said("resources.open_files")

    assert told["opened"] < told["limit"][0] <= 4096
    assert told["refusal"] == "Too many open files"
    assert "refused" in told["raised"]


def test_an_answer_needs_no_new_descriptor(site: Attacked) -> None:
    assert site.said("resources.open_files_and_answer") == "answered"
    site.answer("resources.leave")


@pytest.mark.parametrize(
    ("action", "count"), [("send_descriptors_to_itself", 100_000), ("fill_pipes", 2_000)]
)
def test_what_is_counted_for_each_user_starves_no_other_slot(
    site: Attacked, action: str, count: int
) -> None:
    site.answer(f"resources.{action}", {"count": count})
    site.answer("processes.exit_now", by="jane")

    # Another slot starts while the first one holds on to all it got.
    try:
        assert site.is_well(by="jane")
    finally:
        site.answer("resources.leave")


def test_little_memory_can_be_locked(site: Attacked) -> None:
    told = site.said("resources.lock_memory", {"megabytes": 64})

    assert told["mlock"] != 0 or max(told["limit"]) < 0 or max(told["limit"]) >= 64 * MIB


def test_burning_processors_ends_at_the_deadline_and_others_go_on(site: Attacked) -> None:
    with ThreadPoolExecutor(1) as threads:
        burning = threads.submit(site.error, "resources.burn", timeout_s=1)
        began = time.monotonic()
        assert site.is_well(by="jane")
        assert time.monotonic() - began < DEADLINE_S / 2

        assert burning.result()["error_type"] == "TimeoutError"
