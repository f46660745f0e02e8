"""How much memory there is, and how much a sandbox uses."""

import subprocess
import sys
from pathlib import Path

import pytest

from algorium_server.domain.limits import MIB
from algorium_server.engine import memory


def test_free_memory_is_read_in_bytes_and_is_endless_where_nobody_tells() -> None:
    text = "MemTotal:        4000 kB\nMemAvailable:       1234 kB\n"
    assert memory.meminfo_bytes(text, "MemAvailable") == 1234 * 1024
    assert memory.meminfo_bytes("", "MemAvailable") > 1 << 60


@pytest.mark.parametrize(
    ("files", "room"),
    [
        (
            {
                "memory.max": "1000",
                "memory.current": "700",
                "memory.stat": "anon 1\ninactive_file 200\n",
            },
            500,
        ),
        ({"memory.max": "max", "memory.current": "700", "memory.stat": ""}, None),
        (
            {
                "memory.limit_in_bytes": "1000",
                "memory.usage_in_bytes": "700",
                "memory.stat": "inactive_file 5\ntotal_inactive_file 100\n",
            },
            400,
        ),
        ({}, None),
    ],
)
def test_a_control_group_bounds_what_is_free(
    tmp_path: Path, files: dict[str, str], room: int | None
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert memory.group_room_bytes(tmp_path) == room


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_this_machine_has_memory_to_give_and_an_end_of_it() -> None:
    assert 0 < memory.default_budget_bytes() < memory.available_bytes()
    assert memory.has_free(MIB)
    assert not memory.has_free(memory.available_bytes())


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs /proc/PID/smaps")
def test_the_memory_of_a_sandbox_is_that_of_what_runs_in_it() -> None:
    assert _used_by("x = bytearray(100 * 2**20)") - _used_by("x = 0") == pytest.approx(
        100 * MIB, rel=0.1
    )


def _used_by(program: str) -> int:
    shell = f"{sys.executable} -c '{program}; print(1, flush=True); input()'; true"
    with subprocess.Popen(
        ["/bin/sh", "-c", shell], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as root:
        assert root.stdout is not None
        root.stdout.readline()
        used_bytes = memory.of_sandbox(root.pid)
        root.communicate(b"\n")
    return used_bytes
