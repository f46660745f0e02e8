"""What a sandbox may use, and what happens when it wants more."""

import asyncio
import os
import time
from dataclasses import replace

import pytest
from sandboxes import (
    ALL,
    CONFINING,
    LIMITS,
    MIB,
    WATCHED,
    WITH_ROOT,
    Stage,
    processes_with,
    python,
    read_line,
)

from algorium_server.engine.cgroups import Cgroups

everywhere = pytest.mark.parametrize("stage", ALL, indirect=True)
confining = pytest.mark.parametrize("stage", CONFINING, indirect=True)
with_root = pytest.mark.parametrize("stage", WITH_ROOT, indirect=True)
watched = pytest.mark.parametrize("stage", WATCHED, indirect=True)

BOMB = """
import os, time
print('ready', flush=True)
end = time.monotonic() + 20
for _ in range(9):  # 512 of them, for a while: a bomb that even a host without limits survives
    try:
        child = os.fork()
    except OSError:
        continue
    if child == 0 and {scatters}:
        os.setsid()
while time.monotonic() < end:
    time.sleep(0.001)
"""
GATHERED, SCATTERED = BOMB.format(scatters=False), BOMB.format(scatters=True)


@everywhere
def test_eating_memory_ends_the_sandbox_and_is_named(stage: Stage):
    limits = replace(LIMITS, memory_bytes=64 * MIB)

    outcome = stage.run(python("x = []\nwhile True: x.append(bytearray(1 << 20))", limits=limits))

    assert outcome.status.was_oom
    assert outcome.status.code != 0


@everywhere
def test_memory_is_counted_over_all_processes(stage: Stage):
    code = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        x = bytearray(40 << 20)
        time.sleep(600)
time.sleep(600)
"""
    outcome = stage.run(python(code, limits=replace(LIMITS, memory_bytes=100 * MIB)))

    assert outcome.status.was_oom


@with_root
def test_files_in_private_file_systems_count_as_memory_or_are_refused(stage: Stage):
    code = """
import os
for place in ('/tmp', '/home/algo', '/dev/shm'):
    with open(place + '/x', 'wb') as file:
        try:
            while True: file.write(bytes(1 << 20))
        except OSError as error:
            print(error.strerror)
"""
    limits = replace(LIMITS, memory_bytes=512 * MIB, tmp_bytes=8 * MIB)

    outcome = stage.run(python(code, limits=limits))

    assert set(outcome.stdout.splitlines()) <= {"No space left on device", "File too large"}
    assert len(outcome.stdout.splitlines()) == 3


@everywhere
def test_one_file_cannot_exceed_the_scratch_limit(stage: Stage):
    code = """
import os
with open(os.environ['TMPDIR'] + '/x', 'wb') as file:
    try:
        for _ in range(64): file.write(bytes(1 << 20))
    except OSError as error:
        print(error.strerror)
"""
    outcome = stage.run(python(code, limits=replace(LIMITS, tmp_bytes=8 * MIB)))

    assert outcome.stdout.strip() in {"No space left on device", "File too large"}


@pytest.mark.slow
@pytest.mark.parametrize("stage", CONFINING[2:], indirect=True)
def test_filling_the_scratch_directory_with_many_files_ends_the_sandbox(stage: Stage):
    code = """
import os, time
for number in range(32):
    with open(os.environ['TMPDIR'] + f'/{number}', 'wb') as file: file.write(bytes(1 << 20))
time.sleep(600)
"""
    outcome = stage.run(python(code, limits=replace(LIMITS, tmp_bytes=8 * MIB)))

    assert outcome.status.was_disk_limit


@everywhere
def test_open_files_are_limited(stage: Stage):
    code = """
import os
try:
    while True: os.open('/dev/null', os.O_RDONLY)
except OSError as error:
    print(error.strerror)
"""
    outcome = stage.run(python(code, limits=replace(LIMITS, open_files=32)))

    assert outcome.stdout == "Too many open files\n"


@everywhere
@pytest.mark.parametrize("bomb", [GATHERED, SCATTERED], ids=["gathered", "scattered"])
def test_a_bomb_of_processes_is_contained_and_ended_at_once(stage: Stage, bomb: str):
    async def explode():
        process = await stage.host.spawn(python(bomb, limits=replace(LIMITS, processes=24)))
        await read_line(process.stdout_fd)
        await asyncio.wait({process.exited}, timeout=0.5)
        began = time.monotonic()
        status = await process.kill(0.1)
        took_s = time.monotonic() - began
        process.close()
        return status, took_s

    status, took_s = stage.runner.run(explode())

    assert status.was_process_limit
    assert took_s < 1.1


@everywhere
def test_other_sandboxes_run_while_a_bomb_goes_off(stage: Stage):
    async def explode():
        bomb = await stage.host.spawn(python(GATHERED, limits=replace(LIMITS, processes=24)))
        await read_line(bomb.stdout_fd)
        other = await stage.host.spawn(python("print('fine')"))
        line = await read_line(other.stdout_fd)
        await bomb.kill(0)
        await other.exited
        bomb.close()
        other.close()
        return line

    assert stage.runner.run(explode()) == "fine"


@watched
@pytest.mark.parametrize("bomb", [GATHERED, SCATTERED], ids=["gathered", "scattered"])
def test_a_bomb_is_seen_in_time_where_nobody_counts(stage: Stage, bomb: str):
    marker = f"marker-{os.urandom(8).hex()}"
    began = time.monotonic()

    outcome = stage.run(python(f"'{marker}'\n{bomb}", limits=replace(LIMITS, processes=24)))

    assert outcome.status.was_process_limit
    assert time.monotonic() - began < 3
    assert processes_with(marker) == []


@watched
def test_memory_is_watched_where_nobody_counts(stage: Stage):
    limits = replace(LIMITS, memory_bytes=64 * MIB)
    code = "x = bytearray(100 << 20)\nimport time; time.sleep(600)"

    outcome = stage.run(python(code, limits=limits))

    assert outcome.status.was_oom
    assert outcome.status.peak_memory_bytes > 64 * MIB


@watched
@pytest.mark.parametrize("shape", ["unmapped", "mapped"])
def test_files_without_a_name_count_as_memory_once(stage: Stage, shape: str):
    code = """
import mmap, os, time
files = []
for _ in range(COUNT):
    fd = os.memfd_create("hidden")
    for _ in range(8):
        os.write(fd, bytes(1 << 20))
    files.append(mmap.mmap(fd, 8 << 20) if "SHAPE" == "mapped" else fd)
    if "SHAPE" == "mapped":
        files[-1].read()
print('written', flush=True)
time.sleep(WAIT)
""".replace("SHAPE", shape)
    limits = replace(LIMITS, memory_bytes=96 * MIB)

    much = stage.run(python(code.replace("COUNT", "20").replace("WAIT", "600"), limits=limits))
    little = stage.run(python(code.replace("COUNT", "7").replace("WAIT", "0.6"), limits=limits))

    assert much.status.was_oom
    assert (little.status.code, little.status.was_oom) == (0, False)
    assert 56 * MIB < little.status.peak_memory_bytes < 160 * MIB


@everywhere
def test_even_where_a_user_is_shared_a_bomb_has_an_end(stage: Stage):
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_NPROC)[0])"

    assert int(stage.run(code).stdout) > 0


@confining
def test_nobody_runs_before_the_others(stage: Stage):
    code = """
import os, resource
for name in ("RTPRIO", "NICE"):
    print(resource.getrlimit(getattr(resource, "RLIMIT_" + name)))
for attempt in (lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
                lambda: os.nice(-1)):
    try:
        attempt()
        print("before the others")
    except OSError:
        print("refused")
"""
    outcome = stage.run(code)

    assert outcome.stdout.splitlines() == ["(0, 0)", "(0, 0)", "refused", "refused"]


@everywhere
def test_no_core_is_dumped(stage: Stage, tmp_path):
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"

    assert stage.run(code).stdout == "(0, 0)\n"


@everywhere
def test_the_peak_of_memory_is_reported(stage: Stage):
    outcome = stage.run("import time; x = bytearray(50 << 20); time.sleep(0.5)")

    assert 50 * MIB < outcome.status.peak_memory_bytes < 200 * MIB


def test_control_groups_of_this_process_are_removed_again():
    groups = Cgroups.find()
    if groups is None:
        pytest.skip("this host lets us make no control groups")
    group = groups.create("a", LIMITS)
    directories = [os.path.dirname(file) for file in group.entrances]
    assert all(os.path.isdir(directory) for directory in directories)
    assert group.members() == []
    assert not group.usage().was_oom

    assert group.remove()
    groups.close()
    assert not any(os.path.exists(os.path.dirname(directory)) for directory in directories)


BUSY = """
import os, time
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
for _ in range({forks}):
    os.fork()
end = time.monotonic() + 1
while time.monotonic() < end:
    pass
"""
by_turns = pytest.mark.parametrize("stage", CONFINING[::2], indirect=True)


def needs_shares(stage: Stage) -> None:
    if not stage.host.report.limits.endswith("cpu"):
        pytest.skip("this host lets us make no control groups for processor time")


@by_turns
def test_many_processes_get_no_more_of_a_processor_than_one(stage: Stage):
    needs_shares(stage)

    async def compete():
        greedy = await stage.host.spawn(python(BUSY.format(forks=4)))
        modest = await stage.host.spawn(python(BUSY.format(forks=0)))
        statuses = [await greedy.exited, await modest.exited]
        for each in (greedy, modest):
            each.close()
        return [status.cpu_s for status in statuses]

    greedy_s, modest_s = stage.runner.run(compete())

    # 16 processes against one: without shares they get 16 times as much
    assert modest_s > greedy_s / 4


@by_turns
def test_processor_time_can_be_limited(stage: Stage):
    needs_shares(stage)
    code = """
import time
end = time.monotonic() + 1
while time.monotonic() < end:
    pass
print(time.process_time())
"""
    outcome = stage.run(python(code, limits=replace(LIMITS, cpus=0.2)))

    assert float(outcome.stdout) < 0.5
