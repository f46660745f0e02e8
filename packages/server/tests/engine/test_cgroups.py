"""
Control groups: settings in a tree of plain files, everything else with the kernel's own.

No machine has both versions with all controllers. What this one has not is played by files that
look like the kernel's: they show what is written where, not what the kernel does about it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sandboxes import LIMITS, MIB, wait_until

from algorium_server.engine import cgroups
from algorium_server.engine.cgroups import Cgroups, Group

ALL = "cpuset cpu io memory hugetlb pids rdma"


class Tree:
    """Plain files that pose as a hierarchy of groups, and as what the kernel says of a process."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.process = place / "process"
        self.process.mkdir()
        self.mounts: list[str] = []
        self.groups: list[str] = []

    def mount(self, name: str, kind: str, options: str = "rw", *, root: str = "/") -> Path:
        point = self.place / name
        point.mkdir()
        self.mounts.append(f"30 23 0:26 {root} {point} rw,nosuid - {kind} {kind} {options}")
        return point

    def belongs(self, *lines: str) -> str:
        (self.process / "cgroup").write_text("".join(f"{line}\n" for line in lines))
        (self.process / "mountinfo").write_text("".join(f"{line}\n" for line in self.mounts))
        return str(self.process)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def unified(
    tree: Tree, path: str, *, offered: str = ALL, procs: str = "", enabled: str = ""
) -> Path:
    """Make a group of version 2 that the server is in."""
    point = tree.mount("unified", "cgroup2")
    group = point / path
    group.mkdir(parents=True, exist_ok=True)
    (group / "cgroup.controllers").write_text(offered)
    (group / "cgroup.subtree_control").write_text(enabled)
    (group / "cgroup.procs").write_text(procs)
    return group


def made_in(group: Path) -> Path:
    (made,) = group.glob("algorium-*-*")
    return made


def test_version_2_sets_every_limit(tree: Tree):
    group = unified(tree, "app.service", enabled="cpu memory pids")

    groups = Cgroups.find(tree.belongs("0::/app.service"))
    assert groups is not None
    made = made_in(group)
    (made / "cgroup.subtree_control").write_text("cpu memory pids")
    groups.create("7", replace(LIMITS, memory_bytes=64 * MIB, processes=24, cpus=1.5))

    assert groups.version == 2
    assert groups.controllers == ("memory", "pids", "cpu")
    assert {path.name: path.read_text() for path in (made / "7").iterdir()} == {
        "memory.max": str(64 * MIB),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "28",
        "cpu.weight": "100",
        "cpu.max": "150000 100000",
    }
    assert (made / "cpu.weight").read_text() == str(100 * (os.cpu_count() or 1))


def test_version_2_hands_controllers_on(tree: Tree):
    group = unified(tree, "app.service")

    assert Cgroups.find(tree.belongs("0::/app.service")) is not None

    # a plain file keeps the last write alone
    assert (group / "cgroup.subtree_control").read_text() == "+cpu"
    assert (made_in(group) / "cgroup.subtree_control").read_text() == "+cpu"


def test_a_server_that_has_moved_down_has_its_sandboxes_beside_it(tree: Tree):
    group = unified(tree, "app.service", enabled="memory pids")
    (group / "algorium-itself").mkdir()

    assert Cgroups.find(tree.belongs("0::/app.service/algorium-itself")) is not None

    assert made_in(group).is_dir()
    assert not list((group / "algorium-itself").iterdir())


def test_a_server_of_several_processes_makes_way_before_it_has_them(tree: Tree):
    group = unified(tree, "app.service", procs=f"{os.getpid()}\n")
    (group / "cgroup.subtree_control").unlink()
    (group / "cgroup.subtree_control").mkdir()  # refuses, as the kernel does while we are there

    cgroups.make_way(tree.belongs("0::/app.service"))

    moved = (group / "algorium-itself" / "cgroup.procs").read_text()
    assert moved == str(os.getpid()), "and not whoever started us"


def test_version_2_without_what_it_takes_is_left_alone(tree: Tree):
    unified(tree, "app.service", offered="cpu io")

    assert Cgroups.find(tree.belongs("0::/app.service")) is None


def test_version_2_without_a_share_of_the_processors_does_without(tree: Tree):
    group = unified(tree, "app.service", offered="memory pids", enabled="memory pids")
    (group / "cgroup.subtree_control").chmod(0o444)
    process = tree.belongs("0::/app.service")
    if os.geteuid() == 0:
        pytest.skip("root writes where nobody may")

    groups = Cgroups.find(process)

    assert groups is not None
    assert groups.controllers == ("memory", "pids")


def test_a_mount_inside_a_container_is_found(tree: Tree):
    point = tree.mount("inner", "cgroup2", root="/docker/x")
    (point / "cgroup.controllers").write_text(ALL)
    (point / "cgroup.subtree_control").write_text("memory pids")
    (point / "cgroup.procs").touch()

    groups = Cgroups.find(tree.belongs("0::/docker/x"))

    assert groups is not None
    assert made_in(point).is_dir()


def test_version_1_sets_every_limit_in_its_own_tree(tree: Tree):
    places = {
        name: tree.mount(name, "cgroup", f"rw,{options}") / "slice"
        for name, options in {"memory": "memory", "pids": "pids", "cpu": "cpu,cpuacct"}.items()
    }
    for place in places.values():
        place.mkdir()
    process = tree.belongs("4:memory:/slice", "8:pids:/slice", "1:cpu,cpuacct:/slice", "0::/")

    groups = Cgroups.find(process)
    assert groups is not None
    groups.create("7", replace(LIMITS, memory_bytes=64 * MIB, processes=24))

    assert groups.version == 1
    made = {name: made_in(place) / "7" for name, place in places.items()}
    assert {file.name: file.read_text() for each in made.values() for file in each.iterdir()} == {
        "memory.limit_in_bytes": str(64 * MIB),
        "memory.memsw.limit_in_bytes": str(64 * MIB),
        "memory.swappiness": "0",
        "pids.max": "28",
        "cpu.shares": "1024",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "-1",
    }
    assert (made_in(places["cpu"]) / "cpu.shares").read_text() == str(1024 * (os.cpu_count() or 1))


def test_what_happened_is_read_from_version_2(tmp_path: Path):
    group = Group(2, dict.fromkeys(("memory", "pids"), str(tmp_path)))
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\n")
    (tmp_path / "memory.peak").write_text(f"{70 * MIB}\n")
    (tmp_path / "pids.events").write_text("max 3\n")

    usage = group.usage()

    assert (usage.was_oom, usage.was_process_limit) == (True, True)
    assert usage.peak_memory_bytes == 70 * MIB
    assert group.has_lost_one()


def test_a_kernel_that_keeps_no_peak_has_none(tmp_path: Path):
    (tmp_path / "memory.events").write_text("oom_kill 0\n")

    usage = Group(2, dict.fromkeys(("memory", "pids"), str(tmp_path))).usage()

    assert (usage.was_oom, usage.peak_memory_bytes) == (False, None)


def test_processes_of_other_namespaces_are_nobodys(tmp_path: Path):
    (tmp_path / "cgroup.procs").write_text("0\n17\n0\n")

    assert Group(2, {"pids": str(tmp_path)}).members() == [17]


@pytest.fixture
def real_v2() -> Iterator[Path]:
    """A real group of version 2, with whatever controllers it has."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in mounts if " - cgroup2 " in line]
    group = Path(*points[:1], f"algorium-test-{os.getpid()}-{time.monotonic_ns()}")
    try:
        assert points
        group.mkdir()
    except (AssertionError, OSError):
        pytest.skip("this host lets us make no control group of version 2")
    yield group
    wait_until(Group(2, {"pids": str(group)}).remove, timeout_s=30)


FAMILY = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
print('ready', flush=True)
time.sleep(600)
"""


def test_version_2_kills_all_that_is_inside_at_once(real_v2: Path):
    group = Group(2, {"pids": str(real_v2)})
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE) as family:
        assert family.stdout is not None
        family.stdout.readline()
        for _ in range(3):  # it multiplies: once is not enough
            for pid in cgroups.processes.descendants(os.getpid()):
                if pid == family.pid or pid in cgroups.processes.descendants(family.pid):
                    group.admit(pid)
        wait_until(lambda: len(group.members()) == 8, timeout_s=30)
        assert not group.remove()

        group.kill()

        assert family.wait(5) == -signal.SIGKILL
    wait_until(lambda: group.members() == [], timeout_s=30)


def test_the_group_of_a_dead_server_is_swept_with_what_lives_in_it(real_v2: Path):
    dead = real_v2 / "algorium-999999-1"
    slot = dead / "7"
    slot.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as left:
        Group(2, {"pids": str(slot)}).admit(left.pid)

        cgroups._sweep(str(real_v2))

        assert left.wait(5) == -signal.SIGKILL
    assert not dead.exists()
