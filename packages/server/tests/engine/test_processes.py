import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sandboxes import LIMITS, MIB, processes_with, wait_until

from algorium_server.engine import processes, watch

TREE = """
import os, sys, time
x = bytearray(int(sys.argv[2]) << 20)
for _ in range(2):
    if os.fork() == 0:
        os.setpgid(0, 0)
        os.fork()
        break
time.sleep(600)
"""


@pytest.fixture
def marker() -> str:
    return f"marker-{os.urandom(8).hex()}"


@pytest.fixture
def root(marker: str) -> Iterator[int]:
    """A process with two children, each with one of its own."""
    with subprocess.Popen([sys.executable, "-c", TREE, marker, "30"]) as tree:
        wait_until(lambda: len(processes_with(marker)) == 5, timeout_s=30)
        yield tree.pid
        for pid in processes_with(marker):
            os.kill(pid, signal.SIGKILL)


def test_descendants_are_found_parents_first(root: int):
    found = processes.descendants(root)

    assert len(found) == 4
    assert set(found[:2]) == set(processes.children(root))


def test_a_bounded_walk_ends_early(root: int):
    assert len(processes.descendants(root, count_max=1)) < 4


def test_everything_below_is_killed_and_the_root_is_not(root: int, marker: str):
    processes.kill_descendants(root)

    wait_until(lambda: processes_with(marker) == [root], timeout_s=30)


def test_memory_shared_after_a_fork_is_counted_once(root: int):
    tree = [root, *processes.descendants(root)]

    assert processes.memory_bytes_upper(tree) > 5 * 30 * MIB
    assert 30 * MIB < processes.memory_bytes(tree) < 100 * MIB


@pytest.mark.parametrize(
    ("limits", "excess"),
    [
        ({"memory_bytes": 200 * MIB, "processes": 64}, None),
        ({"memory_bytes": 200 * MIB, "processes": 3}, "processes"),
        ({"memory_bytes": 20 * MIB, "processes": 64}, "memory"),
    ],
)
def test_a_look_tells_which_limit_is_exceeded(root: int, limits, excess):
    limits = watch.SandboxLimits(open_files=1, tmp_bytes=1, **limits)
    watched = watch.Watched(root=root, limits=limits, memory=True, processes=True)

    assert watch.look(watched)[1] == excess


def test_a_full_directory_is_noticed(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(bytes(LIMITS.tmp_bytes // 2))
    assert not watch.is_full(str(tmp_path), LIMITS)

    (tmp_path / "a" / "other").write_bytes(bytes(LIMITS.tmp_bytes // 2 + 8192))
    assert watch.is_full(str(tmp_path), LIMITS)


def test_a_process_has_one_start_until_it_is_dead():
    child = subprocess.Popen(["sleep", "600"])
    start = processes.started_at(child.pid)
    assert start == processes.started_at(child.pid) is not None

    child.kill()
    wait_until(lambda: processes.started_at(child.pid) is None, timeout_s=30)
    child.wait()
    assert processes.started_at(child.pid) is None
