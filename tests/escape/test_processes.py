"""Processes: those of the host and of other slots are neither seen nor touched nor outlived."""

import os
import signal
import uuid
from pathlib import Path

import pytest
from processes import processes_with
from waiting import wait_until

from .attacked import Attacked, refused
from .conftest import SECRET
from .outside import Host, is_alive

GONE_S = 10


@pytest.fixture
def pids(site: Attacked, host: Host) -> list[int]:
    """The server, its supervisor, a slot of somebody else, and a stranger."""
    assert site.is_well(by="jane")
    of_slots = [int(pid) for pid in _descendants(site.supervisor)]
    assert of_slots
    return [site.server.pid, site.supervisor, host.sleeper, os.getpid(), *of_slots]


def test_no_process_of_the_host_is_in_sight(site: Attacked, host: Host) -> None:
    told = site.said("processes.visible")

    assert "algorium_runtime" in "".join(told.values()), "it sees itself"
    assert len(told) < 8
    for hidden in (host.marker, SECRET, "algorium_server"):
        assert hidden not in "".join(told.values())


def test_what_started_the_slot_remembers_no_secret(site: Attacked, host: Host) -> None:
    told = site.said("processes.search_memory", {"texts": [SECRET, *site.keys.values()]})

    assert told["found"] == []


def test_memory_of_the_host_cannot_be_opened(site: Attacked, pids: list[int]) -> None:
    told = site.said("processes.open_memory_of", {"pids": [pid for pid in pids if pid > 50]})

    assert not refused(told, "ENOENT", "EACCES", "EPERM")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_nobody_outside_can_be_signalled(site: Attacked, pids: list[int], number: int) -> None:
    told = site.said("processes.signal_all", {"pids": pids, "number": number})

    assert not refused(told, "ESRCH", "EPERM")
    assert all(map(is_alive, pids)), "nobody was killed or stopped"


def test_a_signal_to_everybody_is_ones_own_end_only(site: Attacked, host: Host) -> None:
    assert site.is_well(by="jane")
    others = [int(pid) for pid in _descendants(site.supervisor)]
    namespace = os.stat("/proc/self/ns/pid").st_ino

    error = site.error("processes.signal_everybody", {"namespace_of_host": namespace})

    assert error["error_type"] == "SystemExit"
    assert any(map(is_alive, others)), "jane's slot lives"
    assert all(map(is_alive, (site.server.pid, site.supervisor, host.sleeper, os.getpid())))


def test_the_first_process_cannot_be_killed_from_inside(site: Attacked) -> None:
    answer = site.answer("processes.kill_first_process")

    # Where it is the algorithm's own process, it may end itself; nobody else must notice.
    assert answer.json().get("result") == "sent" or "error" in answer.json()


def test_stopping_itself_does_not_stop_the_clock(site: Attacked) -> None:
    error = site.error("processes.stop_itself", timeout_s=1)

    assert error["error_type"] == "TimeoutError"


def test_a_crash_leaves_no_image_of_memory(site: Attacked) -> None:
    told = site.said("processes.core_limit")

    error = site.error("processes.crash")

    assert max(told["limit"]) <= 1
    assert not refused({"raised": told["raised"]}, "EPERM", "ValueError")
    assert error["error_type"] == "SystemExit"
    assert not list(site.server.home.rglob("core*"))
    assert not list(Path.cwd().glob("core*"))


def test_nothing_can_be_traced(site: Attacked, pids: list[int]) -> None:
    assert not refused(site.said("processes.trace", {"pids": pids}), "EPERM", "ESRCH", "EACCES")
    assert "EPERM" in site.said("processes.trace_a_child")


def test_memory_of_others_cannot_be_reached(site: Attacked, pids: list[int]) -> None:
    told = site.said("processes.reach_into", {"pids": pids})

    assert not refused(told, "EPERM", "ENOSYS")


def test_descriptors_of_others_cannot_be_taken(site: Attacked, pids: list[int]) -> None:
    told = site.said("processes.take_descriptors", {"pids": pids})

    assert not refused(told, "EPERM", "ENOSYS")


def test_nobody_gets_more_than_an_ordinary_rank(site: Attacked) -> None:
    told = site.said("processes.outrank")

    assert told.pop("now")[1] == 0, "the ordinary scheduler"
    assert not refused(told, "EPERM", "EACCES", "EROFS")


@pytest.mark.parametrize("holds_output", [True, False])
@pytest.mark.parametrize(
    ("end", "error_type"),
    [("processes.exit_now", "SystemExit"), ("processes.loop", "TimeoutError")],
)
def test_no_child_outlives_its_slot(
    site: Attacked, end: str, error_type: str, holds_output: bool
) -> None:
    marker = f"daemon-{uuid.uuid4()}"
    arguments = {"marker": marker, "holds_output": holds_output}
    assert site.said("processes.leave_a_daemon", arguments) == "left"
    wait_until(lambda: processes_with(marker), timeout_s=GONE_S, what="the daemon runs")

    error = site.error(end, timeout_s=1 if end.endswith("loop") else 10)

    assert error["error_type"] == error_type
    wait_until(lambda: not processes_with(marker), timeout_s=GONE_S, what="the daemon is gone")


def test_an_end_between_two_calls_costs_one_call_at_most(site: Attacked) -> None:
    for delay_s in (0.05, 0.0, 0.01):
        answer = site.answer("processes.exit_in_a_moment", {"delay_s": delay_s}).json()
        assert answer["result"] == "answered" or answer["error"]["error_type"] == "SystemExit"
        wait_until(site.is_well, timeout_s=GONE_S, what="a slot is there again")
        site.answer("resources.leave")  # if it has not left by itself yet


def test_the_environment_is_the_slots_own(site: Attacked, host: Host) -> None:
    environment = site.said("processes.environment")

    told = " ".join(f"{name}={value}" for name, value in environment.items())
    for hidden in (SECRET, host.marker, *site.keys.values(), "ALGORIUM_"):
        assert hidden not in told


def _descendants(pid: int) -> list[str]:
    found: list[str] = []
    pending = [str(pid)]
    while pending:
        try:
            children = Path(f"/proc/{pending[-1]}/task/{pending.pop()}/children").read_text()
        except OSError:
            continue
        found += children.split()
        pending += children.split()
    return found
