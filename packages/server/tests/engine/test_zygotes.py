"""Slots forked from real zygotes: the same as slots that were started cold, and apart from all."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from nursery import (
    LIMITS,
    OBEDIENT,
    Nursery,
    Slot,
    namespaces_in_use,
    start_host,
    zygotes_of,
)
from sandboxes import MIB, WITH_ROOT

from algorium_server.engine.program import slot_spec
from algorium_server.engine.sandbox import Mechanism, Mount

pytestmark = pytest.mark.namespaces

LOOK = """
import gc, os, signal
result = {
    "user": os.getuid(),
    "pids": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
    "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
    "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in
                   ("user", "mnt", "pid", "net", "ipc", "uts")},
    "files": {place: sorted(os.listdir(place)) for place in
              ("/tmp", "/home/algo", "/dev", "/dev/shm", "/opt/algorithm")},
    "mode": {place: os.stat(place).st_mode for place in
              ("/tmp", "/home/algo", "/dev/shm", "/opt/algorithm", "src/Main.py")},
    "status": {line.split(":")[0]: line.split(":")[1].split() for line in
               open("/proc/self/status")},
    "limits": [line for line in open("/proc/self/limits") if not line.startswith("Max proc")],
    "environ": dict(os.environ),
    "signals": {int(each): str(signal.getsignal(each)) for each in signal.valid_signals()},
    "mask": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
    "gc": [gc.isenabled(), gc.get_threshold()],
    "here": os.getcwd(),
    "zone": __import__("time").tzname,
    "path": __import__("sys").path,
    "argv": __import__("sys").argv,
    "umask": os.umask(0o022),
    "host": os.uname().nodename,
    "group": open("/proc/self/cgroup").read(),
    "oom": open("/proc/self/oom_score_adj").read(),
    "streams": [os.path.basename(os.readlink(f"/proc/self/fd/{n}")).split(":")[0]
                for n in (0, 1, 2, 3)],
}
"""
SAME = {
    *("user", "files", "mode", "limits", "environ", "signals", "mask", "gc", "here", "path"),
    *("argv", "umask", "zone", "host", "pids", "descriptors", "oom", "streams"),
}
"""What a slot sees of these does not depend on how it was started."""
SAME_STATUS = {
    *("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Threads"),
    *("SigBlk", "SigIgn", "SigCgt", "Uid", "Gid", "Groups"),
}


@contextmanager
def nursery_of(mechanism: Mechanism) -> Iterator[Nursery]:
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        place = Path(directory)
        place.chmod(0o755)
        limits = replace(LIMITS, count_max=100)
        host = runner.run(start_host(place, mechanism, limits=limits))
        yield Nursery(runner, place, host)
        runner.run(host.close())


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """A host whose cold starts use the launcher; zygotes are the same with all mechanisms."""
    with nursery_of(Mechanism.LAUNCHER) as nursery:
        yield nursery


@pytest.fixture(scope="module", params=WITH_ROOT)
def any_nursery(request: pytest.FixtureRequest) -> Iterator[Nursery]:
    with nursery_of(request.param) as nursery:
        yield nursery


def test_the_first_slot_is_started_cold_and_the_next_is_forked(any_nursery: Nursery):
    nursery = any_nursery

    async def start_two():
        program = nursery.program({"library.py": "VALUE = 7"})
        first = await nursery.spawn(program)
        answers = [await first.run("import library; result = library.VALUE")]
        await nursery.until(lambda: nursery.state(program) == "ready")
        second = await nursery.spawn(program)
        answers.append(await second.run("import library; result = library.VALUE"))
        paths = [first.process.start_path, second.process.start_path]
        await first.kill()
        await second.kill()
        await nursery.until(lambda: nursery.host.zygotes.count >= 1)
        return answers, paths

    answers, paths = nursery.runner.run(start_two())

    assert answers == [7, 7]
    assert paths == ["cold", "zygote"]
    assert nursery.host.zygotes.memory_bytes > MIB


def test_a_forked_slot_is_like_one_that_was_started_cold(any_nursery: Nursery):
    nursery = any_nursery

    async def look():
        program = nursery.program(
            {"library.py": "import os; os.environ['SET_BY_LIBRARY'] = 'yes'"},
            source="import library\n" + OBEDIENT,
            files={"data.bin": b"x" * 100},
        )
        spec = slot_spec(program)
        spec = replace(spec, env={**spec.env, "SECRET": "of this slot", "TZ": "Asia/Tokyo"})
        cold = await nursery.spawn(spec)
        assert cold.process.start_path == "cold"
        await nursery.ready(program)
        forked = await nursery.fork_again(program, env=spec.env)
        seen = [await cold.run(LOOK), await forked.run(LOOK)]
        loaded = [await slot.run("result = LOADED['pid'], os.getpid()") for slot in (cold, forked)]
        await cold.kill()
        await forked.kill()
        return seen, loaded

    (cold, forked), loaded = nursery.runner.run(look())

    for name in SAME:
        assert forked[name] == cold[name], name
    for name in SAME_STATUS:
        assert forked["status"].get(name) == cold["status"].get(name), name
    assert forked["environ"]["SECRET"] == "of this slot"
    assert forked["environ"]["SET_BY_LIBRARY"] == "yes"
    assert loaded == [[2, 2], [2, 2]]


def test_slots_share_no_namespace_and_see_neither_each_other_nor_the_zygote(nursery: Nursery):
    async def look():
        program = nursery.program()
        slots = [await nursery.fork(program), await nursery.fork_again(program)]
        seen = [await slot.run(LOOK) for slot in slots]
        (zygote,) = zygotes_of(program.environment_dir)
        outside = {os.readlink(f"/proc/{zygote}/ns/{name}") for name in seen[0]["namespaces"]}
        await slots[0].run("open('/tmp/mine', 'w').write('x'); open('/dev/shm/mine', 'w')")
        listed = await slots[1].run("result = os.listdir('/tmp') + os.listdir('/dev/shm')")
        for slot in slots:
            await slot.kill()
        return seen, outside, set(listed) - set(nursery.place.parts)

    seen, outside, listed = nursery.runner.run(look())

    inside = [set(each["namespaces"].values()) for each in seen]
    assert len(inside[0]) == len(inside[1]) == len(outside) == 6
    assert not inside[0] & inside[1]
    assert not (inside[0] | inside[1]) & outside
    assert seen[0]["pids"] == seen[1]["pids"] == [1, 2]
    assert listed == set()  # the environment, in a directory below, is there on purpose


def test_random_numbers_differ_between_slots(nursery: Nursery):
    numpy = pytest.importorskip("numpy")
    if not Path(numpy.__file__).is_relative_to(sys.prefix):
        pytest.skip("numpy is not in the environment that runs the tests")
    code = """
import numpy, random, uuid, multiprocessing.process, ssl
result = [numpy.random.random(), random.random(), uuid.uuid4().hex, ssl.RAND_bytes(8).hex(),
          multiprocessing.process.current_process().authkey.hex(), numpy.random.randint(1 << 30)]
"""

    async def draw():
        program = nursery.program(
            preload=("numpy.random", "multiprocessing.process", "ssl"),
            environment=Path(sys.prefix),
        )
        slots = [await nursery.fork(program)]
        slots += [await nursery.fork_again(program) for _ in range(2)]
        drawn = [await slot.run(code) for slot in slots]
        for slot in slots:
            await slot.kill()
        return drawn

    drawn = nursery.runner.run(draw())

    for values in zip(*drawn, strict=True):
        assert len(set(values)) == 3, values


def test_libraries_notice_the_fork_by_the_process_id(nursery: Nursery):
    code = "import library; result = [library.PID, os.getpid(), os.getppid()]"

    async def ask():
        slot = await nursery.fork(nursery.program({"library.py": "import os; PID = os.getpid()"}))
        answer = await slot.run(code)
        await slot.kill()
        return answer

    before, *after = nursery.runner.run(ask())

    assert before not in after
    assert before > 100


def test_no_caller_and_no_author_is_in_a_zygote(nursery: Nursery):
    async def look():
        program = nursery.program()
        slot = await nursery.fork(program, env={"SECRET": "s3cr3t-of-a-slot"})
        await slot.run("result = os.environ['SECRET']")
        (zygote,) = zygotes_of(program.environment_dir)
        memory = memory_of(zygote)
        sources = os.listdir(f"/proc/{zygote}/root/opt/algorithm")
        mounts = Path(f"/proc/{zygote}/mountinfo").read_text()
        descriptors = os.listdir(f"/proc/{zygote}/fd")
        await slot.kill()
        return memory, sources, mounts, descriptors, str(program.source_dir)

    memory, sources, mounts, descriptors, source_dir = nursery.runner.run(look())

    assert b"s3cr3t-of-a-slot" not in memory
    assert b"LOADED" not in memory
    assert sources == []
    assert source_dir not in mounts
    assert sorted(descriptors) == ["0", "1", "2", "3"]


def memory_of(pid: int) -> bytes:
    """Read all writable memory of a process."""
    found = b""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, mode, *_ = line.split()
            if mode.startswith("rw"):
                start, end = (int(part, 16) for part in span.split("-"))
                memory.seek(start)
                found += memory.read(end - start)
    return found


ESCAPES = """
import ctypes, json, os, signal, socket
libc = ctypes.CDLL(None, use_errno=True)

def attempt(action):
    try:
        found = action()
    except OSError as error:
        return "refused"
    return f"worked: {found!r}"

def call(function, *arguments):
    if function(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")

def write(path):
    with open(path, "w") as file:
        file.write("1")

def connect(address):
    with socket.create_connection(address, timeout=1):
        return address

ulong = ctypes.c_ulong
TRIED = json.dumps({
    "write a kernel setting": attempt(lambda: write("/proc/sys/kernel/core_pattern")),
    "press a magic key": attempt(lambda: write("/proc/sysrq-trigger")),
    "change the environment": attempt(lambda: write(__file__ + ".new")),
    "change the runtime": attempt(lambda: write("/opt/algorium/algorium_runtime/x")),
    "write to the root": attempt(lambda: write("/x")),
    "reach the server": attempt(lambda: connect(("127.0.0.1", PORT))),
    "reach the network": attempt(lambda: connect(("10.255.255.1", 80))),
    "read a file of the host": attempt(lambda: open(HOST_FILE).read()),
    "read passwords": attempt(lambda: open("/etc/shadow").read()),
    "unshare the user alone": attempt(lambda: call(libc.unshare, 0x10000000)),
    "unshare all but the network": attempt(lambda: call(libc.unshare, 0x3C020000)),
    "bind": attempt(lambda: call(libc.mount, b"/usr", b"/tmp", None, ulong(4096), None)),
    "remount": attempt(lambda: call(libc.mount, b"", b"/proc", b"", ulong(32 | 4096), None)),
    "mount a disk": attempt(lambda: call(libc.mount, b"/dev/x", b"/tmp", b"ext4", ulong(6), None)),
    "unmount": attempt(lambda: call(libc.umount2, b"/proc", 2)),
    "trace its init": attempt(lambda: call(libc.ptrace, 16, 1, 0, 0)),
    "read its init": attempt(lambda: open("/proc/1/mem", "rb").read(1)),
    "see other processes": attempt(lambda: len([p for p in os.listdir("/proc") if p.isdigit()])),
    "stop its init": attempt(lambda: os.kill(1, signal.SIGSTOP)),
})
os.environ["TRIED"] = TRIED
"""


def test_what_a_zygote_imports_stays_in_its_sandbox(nursery: Nursery):
    with socket.create_server(("127.0.0.1", 0)) as server:
        hostile = ESCAPES.replace("PORT", str(server.getsockname()[1]))
        hostile = hostile.replace("HOST_FILE", repr(str(Path(__file__).resolve())))

        async def ask():
            program = nursery.program({"hostile.py": hostile})
            slot = await nursery.fork(program)
            answer = json.loads(await slot.run("result = os.environ['TRIED']"))
            await slot.kill()
            return answer

        tried = nursery.runner.run(ask())

    assert tried.pop("see other processes") == "worked: 2"
    assert tried.pop("stop its init") == "worked: None"  # a signal that an init does not heed
    assert set(tried.values()) == {"refused"}, tried


IN_A_SLOT = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
result = {}
for name, call in {
    "unshare": lambda: libc.unshare(0x7C020000),
    "unshare groups": lambda: libc.unshare(0x02000000),
    "mount": lambda: libc.mount(b"tmpfs", b"/tmp", b"tmpfs", ctypes.c_ulong(6), None),
    "mount proc": lambda: libc.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(15), None),
    "unmount": lambda: libc.umount2(b"/tmp", 2),
    "trace the init": lambda: libc.ptrace(16, 1, 0, 0),
    "read the init": lambda: os.open("/proc/1/mem", os.O_RDONLY),
    "signal the init": lambda: os.kill(1, 15) or -1,
    "write to proc": lambda: os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY),
    "write to the root": lambda: os.open("/x", os.O_WRONLY | os.O_CREAT),
}.items():
    try:
        result[name] = call() < 0
    except OSError:
        result[name] = True
"""


def test_a_slot_has_none_of_the_rights_of_its_zygote(nursery: Nursery):
    async def ask():
        slot = await nursery.fork(nursery.program())
        refused = await slot.run(IN_A_SLOT)
        await slot.kill()
        return refused

    refused = nursery.runner.run(ask())

    assert [name for name, is_refused in refused.items() if not is_refused] == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("os._exit(7)", (7, None)),
        ("raise SystemExit(3)", (3, None)),
        ("os.kill(os.getpid(), 9)", (None, signal.SIGKILL)),
        ("os.kill(os.getpid(), 15)", (None, signal.SIGTERM)),
        ("os.abort()", (None, signal.SIGABRT)),
        ("import ctypes; ctypes.string_at(0)", (None, signal.SIGSEGV)),
    ],
)
def test_the_end_of_a_slot_is_told_as_it_was(nursery: Nursery, program_of_all, code, expected):
    async def end():
        slot = await nursery.fork_again(program_of_all)
        await slot.send(code)
        return await slot.ended()

    status = nursery.runner.run(end())

    assert (status.code, status.signal) == expected
    assert not status.was_oom
    assert status.cpu_s > 0


@pytest.fixture(scope="module")
def program_of_all(nursery: Nursery):
    program = nursery.program()
    nursery.runner.run(nursery.ready(program))
    return program


def test_a_slot_may_clean_up_before_it_is_killed(nursery: Nursery, program_of_all):
    code = """
import signal, sys
def leave(*_):
    print("cleaned", flush=True)
    os._exit(5)
signal.signal(signal.SIGTERM, leave)
result = "armed"
"""

    async def end():
        slot = await nursery.fork_again(program_of_all)
        await slot.run(code)
        status = await slot.process.kill(10)
        said = os.read(slot.process.stdout_fd, 100)
        slot.process.close()
        return status, said

    status, said = nursery.runner.run(end())

    assert status.code == 5
    assert said == b"cleaned\n"


def test_what_a_slot_started_ends_with_it(nursery: Nursery, program_of_all):
    code = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
result = "scattered"
"""

    async def end():
        slot = await nursery.fork_again(program_of_all)
        await slot.run(code)
        root = slot.process.pid
        inside = os.readlink(f"/proc/{slot.process.program_pid}/ns/pid")
        status = await slot.kill(0.2)
        return status, root, inside

    status, root, inside = nursery.runner.run(end())

    assert status.signal == signal.SIGKILL
    assert not Path(f"/proc/{root}").exists()
    assert inside not in namespaces_in_use()


@pytest.mark.parametrize("killed", ["root", "program"])
def test_a_slot_that_is_killed_from_outside_is_told_and_leaves_nothing(
    nursery: Nursery, program_of_all, killed
):
    async def end():
        slot = await nursery.fork_again(program_of_all)
        await slot.run("import subprocess; subprocess.Popen(['sleep', '600'])")
        inside = os.readlink(f"/proc/{slot.process.program_pid}/ns/pid")
        os.kill(slot.process.pid if killed == "root" else slot.process.program_pid, signal.SIGKILL)
        return await slot.ended(), inside

    status, inside = nursery.runner.run(end())

    assert status.signal == signal.SIGKILL
    assert inside not in namespaces_in_use()


def test_many_slots_at_once_are_all_forked(nursery: Nursery, program_of_all):
    async def start():
        slots: list[Slot] = await asyncio.gather(
            *(nursery.fork_again(program_of_all) for _ in range(8))
        )
        answers = [await slot.run(f"result = {number}") for number, slot in enumerate(slots)]
        await asyncio.gather(*(slot.kill() for slot in slots))
        return answers

    assert nursery.runner.run(start()) == list(range(8))


def test_versions_of_one_environment_share_a_zygote_and_nothing_else(nursery: Nursery):
    async def start():
        first = nursery.program()
        await nursery.ready(first)
        events = len(nursery.host.zygote_events)
        second = replace(
            nursery.program(
                source="def apply(code): return open('/opt/algorithm/name').read()",
                files={"name": b"second"},
                environment=first.environment_dir,
            ),
            preload=first.preload,
        )
        one = await nursery.fork_again(first)
        two = await nursery.fork_again(second)
        answers = [await two.run(""), await one.run("result = os.listdir('/opt/algorithm')")]
        await one.kill()
        await two.kill()
        return answers, len(nursery.host.zygote_events) - events

    answers, events = nursery.runner.run(start())

    assert answers == ["second", ["src"]]
    assert events == 0


def test_a_slot_may_change_its_source_but_not_that_of_others(nursery: Nursery, program_of_all):
    async def change():
        one = await nursery.fork_again(program_of_all)
        await one.run("open('src/Main.py', 'w').write('changed'); open('new', 'w').write('x')")
        two = await nursery.fork_again(program_of_all)
        seen = await two.run("result = [open('src/Main.py').read()[:20], os.listdir('.')]")
        await one.kill()
        await two.kill()
        return seen

    text, names = nursery.runner.run(change())

    assert "changed" not in text
    assert names == ["src"]


def test_a_source_too_large_for_an_archive_is_started_cold(nursery: Nursery):
    async def start():
        program = nursery.program(files={"model": b"x" * (17 * MIB)})
        await nursery.ready(program)
        slot = await nursery.spawn(program)
        size = await slot.run("result = os.path.getsize('model')")
        path = slot.process.start_path
        await slot.kill()
        return path, size, nursery.last(program)

    path, size, event = nursery.runner.run(start())

    assert (path, size) == ("cold", 17 * MIB)
    assert event["state"] == "passed over"
    assert "bytes" in event["reason"]


def test_the_platform_answers_at_the_listener_of_the_slot(nursery: Nursery, program_of_all):
    ask = """
import os, urllib.request
result = urllib.request.urlopen(os.environ["ALGORITHMIA_API"] + "/x", timeout=10).read().decode()
"""

    async def answer(listener) -> str:
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(listener)
        head = await loop.sock_recv(connection, 4096)
        await loop.sock_sendall(connection, b"HTTP/1.0 200 OK\r\n\r\nfrom the platform")
        connection.close()
        return head.decode().splitlines()[0]

    async def talk():
        slot = await nursery.fork_again(program_of_all)
        assert slot.process.listener is not None
        heard, said = await asyncio.gather(slot.run(ask), answer(slot.process.listener))
        await slot.kill()
        return heard, said

    heard, said = nursery.runner.run(talk())

    assert heard == "from the platform"
    assert said == "GET /x HTTP/1.1"


def test_what_is_printed_arrives_on_the_slots_own_pipes(nursery: Nursery, program_of_all):
    async def talk():
        slot = await nursery.fork_again(program_of_all)
        await slot.run(
            "import sys; print('out'); print('err', file=sys.stderr); os.system('echo c')"
        )
        said = os.read(slot.process.stdout_fd, 100), os.read(slot.process.stderr_fd, 100)
        await slot.kill()
        return said

    assert nursery.runner.run(talk()) == (b"out\nc\n", b"err\n")


def test_memory_that_a_slot_shares_with_its_zygote_is_not_its_own(nursery: Nursery):
    library = "DATA = [bytes([n % 251]) * (1 << 20) for n in range(128)]"

    async def use():
        program = nursery.program({"library.py": library})
        limits = replace(slot_spec(program).limits, memory_bytes=64 * MIB)
        slot = await nursery.fork(program, limits=limits)
        size = await slot.run("import library; result = sum(map(len, library.DATA))")
        status = await slot.kill()
        return size, status

    size, status = nursery.runner.run(use())

    assert size == 128 << 20
    assert not status.was_oom
    if status.peak_memory_bytes is not None and "control groups" in nursery.host.report.limits:
        assert status.peak_memory_bytes < 64 * MIB


def test_an_old_interpreter_can_be_a_zygote(nursery: Nursery):
    python = next(Path.home().glob(".pyenv/versions/3.8.*/bin/python"), None)
    if python is None:
        pytest.skip("no Python 3.8 on this machine")
    environment = nursery.place / "old"
    subprocess.run([python, "-m", "venv", "--without-pip", environment], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "library.py").write_text("VALUE = 7")
    prefix = str(python.resolve().parents[1])

    async def start():
        program = nursery.program(preload=("library",), environment=environment)
        spec = slot_spec(program)
        mounts = (*spec.mounts, Mount(kind="ro", source=prefix, target=prefix))
        events = nursery.host.zygote_events
        count = len(events)
        cold = await nursery.spawn(replace(spec, mounts=mounts))
        await nursery.until(lambda: len(events) > count)
        slots = [cold, await nursery.fork_again(program, mounts=mounts)]
        code = "import library; result = [library.VALUE, sys.version_info[:2], os.getpid()]"
        answers = [await slot.run(code) for slot in slots]
        for slot in slots:
            await slot.kill()
        return answers

    assert nursery.runner.run(start()) == [[7, [3, 8], 2]] * 2
