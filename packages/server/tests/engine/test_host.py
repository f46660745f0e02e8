import asyncio
import json
import os
import resource
import signal
import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sandboxes import (
    ALL,
    CONFINING,
    WITH_ROOT,
    Stage,
    python,
    read_line,
    wait_until,
)

from algorium_server.domain.errors import Unavailable
from algorium_server.engine import spawner
from algorium_server.engine.host import SandboxHost, SandboxProcess
from algorium_server.engine.processes import children
from algorium_server.engine.sandbox import Level, Mechanism, Mount

everywhere = pytest.mark.parametrize("stage", ALL, indirect=True)
confining = pytest.mark.parametrize("stage", CONFINING, indirect=True)
with_root = pytest.mark.parametrize("stage", WITH_ROOT, indirect=True)


@everywhere
def test_output_and_exit_code_come_out(stage: Stage):
    outcome = stage.run("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")

    assert (outcome.stdout, outcome.stderr) == ("out\n", "err\n")
    assert (outcome.status.code, outcome.status.signal) == (3, None)


@everywhere
def test_a_death_by_signal_is_reported(stage: Stage):
    outcome = stage.run("import ctypes; ctypes.string_at(0)")

    assert (outcome.status.code, outcome.status.signal) == (None, signal.SIGSEGV)


@everywhere
def test_exactly_four_descriptors_are_open(stage: Stage):
    code = "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:-1])"
    listed = stage.run(python(code, has_slot_socket=True))
    without = stage.run(python(code))

    assert listed.stdout == "[0, 1, 2, 3]\n"
    assert without.stdout == "[0, 1, 2]\n"


@everywhere
def test_standard_input_is_empty_and_no_terminal_is_there(stage: Stage):
    code = """
import os, sys
assert sys.stdin.read() == ''
try:
    os.open('/dev/tty', os.O_RDWR)
except OSError:
    print('no terminal')
"""
    assert stage.run(code).stdout == "no terminal\n"


@everywhere
def test_the_environment_is_exactly_the_one_asked_for(stage: Stage):
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    env = json.loads(stage.run(python(code, env={"A": "1"})).stdout)

    assert set(env) - {"LC_CTYPE"} == {
        "A",
        "HOME",
        "LANG",
        "LOGNAME",
        "PATH",
        "TMPDIR",
        "USER",
    }
    assert env["A"] == "1"


@everywhere
def test_the_slot_socket_speaks_both_ways(stage: Stage):
    code = "import os; os.write(3, os.read(3, 100)[::-1])"

    async def talk():
        process = await stage.host.spawn(python(code, has_slot_socket=True))
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(process.socket, b"hello")
        answer = await loop.sock_recv(process.socket, 100)
        await process.exited
        process.close()
        return answer

    assert stage.runner.run(talk()) == b"olleh"


@everywhere
def test_the_program_reaches_the_api_through_the_listener(stage: Stage):
    code = """
import os, socket
from urllib.parse import urlsplit
api = urlsplit(os.environ['ALGORITHMIA_API'])
with socket.create_connection((api.hostname, api.port)) as connection:
    connection.sendall(api.path.encode() or b'/')
    print(connection.recv(100).decode())
"""

    async def serve():
        process = await stage.host.spawn(python(code, has_listener=True))
        if process.listener is None:
            process.close()
            pytest.skip("this kernel's Landlock cannot rule TCP")
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(process.listener)
        path = await loop.sock_recv(connection, 1000)
        await loop.sock_sendall(connection, b"served")
        connection.close()
        line = await read_line(process.stdout_fd)
        await process.exited
        process.close()
        return path.decode(), process.api_path_prefix, line

    path, prefix, line = stage.runner.run(serve())

    assert path == (prefix or "/")
    assert (prefix == "") is (stage.host.level is Level.FULL)
    assert line == "served"


@everywhere
def test_copied_sources_are_writable_and_the_originals_untouched(stage: Stage, tmp_path):
    source = tmp_path / "source"
    (source / "src").mkdir(parents=True)
    (source / "src" / "a.txt").write_text("original")
    (source / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (source / "run.sh").chmod(0o755)
    (source / "link").symlink_to("src/a.txt")
    code = """
import subprocess
print(open('link').read())
open('src/a.txt', 'w').write('changed')
open('new', 'w').write('new')
print(open('link').read(), subprocess.check_output(['./run.sh'], text=True))
"""
    spec = python(code, copies=((str(source), "/opt/algorithm"),), cwd="/opt/algorithm")

    outcome = stage.run(spec)

    assert outcome.stdout.split() == ["original", "changed", "ran"], outcome.stderr
    assert (source / "src" / "a.txt").read_text() == "original"
    assert not (source / "new").exists()


@confining
def test_a_read_only_mount_can_be_read_and_not_written(stage: Stage, tmp_path):
    (tmp_path / "file").write_text("data")
    code = f"""
print(open('{tmp_path}/file').read())
for path in ('{tmp_path}/file', '{tmp_path}/new'):
    try:
        open(path, 'a')
    except OSError as error:
        print(type(error).__name__)
"""
    spec = python(code)
    mount = Mount(kind="ro", source=str(tmp_path), target=str(tmp_path))

    outcome = stage.run(replace(spec, mounts=(*spec.mounts, mount)))

    assert outcome.stdout.split()[0] == "data", outcome.stderr
    assert len(outcome.stdout.split()) == 3


@everywhere
def test_a_build_writes_where_it_may_on_the_hosts_network(stage: Stage, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"""
import socket
socket.create_connection(('127.0.0.1', {port})).close()
open('{tmp_path}/made', 'w').write('made')
"""
        spec = python(code, network="host", cwd=str(tmp_path))
        mount = Mount(kind="rw", source=str(tmp_path), target=str(tmp_path))
        outcome = stage.run(replace(spec, mounts=(*spec.mounts, mount)))

    assert outcome.status.code == 0, outcome.stderr
    assert (tmp_path / "made").read_text() == "made"


@everywhere
def test_ordinary_programs_work(stage: Stage):
    code = """
import os, shutil, sqlite3, socket, subprocess, tempfile, threading
with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, 'a')
    open(path, 'w').write('x')
    os.rename(path, path + 'b')
    os.makedirs(path + 'c')
    try:
        os.replace(path + 'b', path + 'c/d')
    except OSError:  # the first version of Landlock knows no moves between directories
        shutil.move(path + 'b', path + 'c/d')
    shutil.copy2(path + 'c/d', path)
    sqlite3.connect(os.path.join(directory, 'db')).execute('create table t (a)')
open(os.path.expanduser('~/note'), 'w').write('x')
thread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()
print(subprocess.check_output(['/bin/echo', 'child'], text=True).strip())
left, right = socket.socketpair(); left.send(b'x'); assert right.recv(1) == b'x'
socket.getaddrinfo('localhost', 80)
socket.getaddrinfo('127.0.0.1', 80)
import asyncio; asyncio.run(asyncio.sleep(0))
print(os.cpu_count() > 0, os.urandom(1) != b'', os.getpgid(0) > 0)
"""
    outcome = stage.run(code)

    assert outcome.stdout.split() == ["thread", "child", "True", "True", "True"], outcome.stderr


@with_root
def test_several_processes_with_locks_work(stage: Stage):
    code = """
import multiprocessing
if __name__ == '__main__':
    with multiprocessing.get_context('fork').Pool(2) as pool:
        print(pool.map(abs, [-1, -2]))
"""
    assert stage.run(code).stdout == "[1, 2]\n"


@with_root
def test_the_program_is_the_user_algo_on_a_host_of_its_own(stage: Stage):
    code = """
import getpass, os, pwd, socket
print(os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_name, socket.gethostname())
print(os.path.expanduser('~'), os.getpid() < 10)
"""
    assert stage.run(code).stdout.split() == [
        "2222",
        "2222",
        "algo",
        "algorithm",
        "/home/algo",
        "True",
    ]


@pytest.mark.parametrize("stage", CONFINING[2:], indirect=True)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give slots users of their own")
def test_at_level_reduced_every_slot_has_a_user_of_its_own_if_possible(stage: Stage):
    spec = replace(python(""), argv=("/usr/bin/id", "-u"), mounts=())
    users = [int(stage.run(spec).stdout) for _ in range(2)]

    if int(Path("/proc/self/uid_map").read_text().split()[2]) < 2**32 - 1:
        assert users == [0, 0]  # a namespace without the users that slots get
    else:
        assert users[0] != users[1]
        assert 0 not in users


@everywhere
def test_a_program_that_is_not_there_is_refused_with_the_reason(stage: Stage):
    with pytest.raises(Unavailable) as caught:
        stage.runner.run(stage.host.spawn(replace(python(""), argv=("/nonexistent/python",))))

    assert "No such file" in caught.value.detail


@everywhere
def test_a_source_that_is_not_there_is_refused_and_the_next_one_starts(stage: Stage):
    missing = python("", copies=(("/nonexistent/source", "/opt/algorithm"),))

    with pytest.raises(Unavailable):
        stage.runner.run(stage.host.spawn(missing))
    assert stage.run("print(1)").stdout == "1\n"


@everywhere
def test_many_at_once(stage: Stage):
    async def all_of_them():
        processes = await asyncio.gather(
            *(stage.host.spawn(python(f"print({number})")) for number in range(8))
        )
        lines = [await read_line(process.stdout_fd) for process in processes]
        await asyncio.gather(*(process.exited for process in processes))
        for process in processes:
            process.close()
        return lines

    assert stage.runner.run(all_of_them()) == [str(number) for number in range(8)]


def test_a_closed_host_starts_nothing(tmp_path):
    async def close_and_spawn():
        host = await SandboxHost.start("none", tmp_path)
        await host.close()
        with pytest.raises(Unavailable):
            await host.spawn(python(""))

    asyncio.run(close_and_spawn())


@everywhere
def test_an_environment_beyond_all_measure_is_refused_and_the_next_one_starts(stage: Stage):
    with pytest.raises(Unavailable):
        stage.runner.run(stage.host.spawn(python("", env={"A": "x" * (4 << 20)})))
    assert stage.run("print(1)").stdout == "1\n"


def test_no_sandbox_at_all_is_said_plainly(tmp_path):
    async def start():
        host = await SandboxHost.start("none", tmp_path)
        await host.close()
        return host

    host = asyncio.run(start())

    assert host.level is Level.NONE
    assert host.report.unprotected == (
        "everything: the program can do whatever the server's user can",
    )
    assert json.loads(json.dumps(host.report.as_dict()))["level"] == "none"


def test_a_host_without_any_mechanism_serves_without_sandboxes(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # bubblewrap is not to be found there

    async def start_and_spawn():
        host = await SandboxHost.start(
            "auto", tmp_path / "state", mechanisms=[Mechanism.BUBBLEWRAP]
        )
        assert host.level is None
        with pytest.raises(Unavailable) as caught:
            await host.spawn(python(""))
        await host.close()
        return caught.value

    assert "apt-get install bubblewrap" in asyncio.run(start_and_spawn()).message


def test_a_wanted_level_that_cannot_be_had_is_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Unavailable) as caught:
        asyncio.run(
            SandboxHost.start("full", tmp_path / "state", mechanisms=[Mechanism.BUBBLEWRAP])
        )

    assert "apt-get install bubblewrap" in caught.value.message


def spare_descriptors(count: int) -> list[int]:
    """Fill up this process's table of descriptors but for *count*."""
    held = []
    while True:
        try:
            held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            break
    for fd in held[:count]:
        os.close(fd)
    return held[count:]


@pytest.mark.parametrize("stage", [Mechanism.PLAIN], indirect=True)
@pytest.mark.parametrize("spare", [0, 1, 3, 4])
def test_a_server_out_of_descriptors_refuses_and_recovers(stage: Stage, spare: int):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spec = python("print(1)", has_slot_socket=True, has_listener=True)

    async def starve():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        held = spare_descriptors(spare)
        try:
            with pytest.raises(Unavailable) as caught:
                await stage.host.spawn(spec)
        finally:
            for fd in held:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return caught.value

    before = len(os.listdir("/proc/self/fd"))
    error = stage.runner.run(starve())

    assert "too many files open" in error.detail
    assert stage.run(spec).stdout == "1\n"
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("stage", [Mechanism.PLAIN], indirect=True)
def test_a_machine_too_busy_to_start_anything_is_said_plainly(stage: Stage, monkeypatch):
    monkeypatch.setattr(spawner, "START_TIMEOUT_S", 0.2)

    async def spawn_on_a_busy_machine():
        supervisor = stage.supervisor()
        os.kill(supervisor, signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable) as caught:
                await stage.host.spawn(python("", has_slot_socket=True))
        finally:
            os.kill(supervisor, signal.SIGCONT)
        return caught.value

    before = len(os.listdir("/proc/self/fd"))
    error = stage.runner.run(spawn_on_a_busy_machine())
    monkeypatch.undo()

    assert "did not start within" in error.message
    assert stage.run("print(1)").stdout == "1\n"  # by then the late one has come and gone
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.slow
@everywhere
def test_thirty_at_once_keep_their_descriptors_apart(stage: Stage):
    code = """
import os, sys
print('out', sys.argv[1], flush=True)
print('err', sys.argv[1], file=sys.stderr, flush=True)
os.write(3, os.read(3, 100) + sys.argv[1].encode())
"""

    async def talk(number: int):
        spec = python(code, has_slot_socket=True, has_listener=True)
        process = await stage.host.spawn(replace(spec, argv=(*spec.argv, str(number))))
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(process.socket, b"to %d, from " % number)
        said = await loop.sock_recv(process.socket, 100)
        lines = [await read_line(fd) for fd in (process.stdout_fd, process.stderr_fd)]
        status = await process.exited
        process.close()
        return said.decode(), *lines, status.code

    async def all_of_them():
        return await asyncio.gather(*(talk(number) for number in range(30)))

    assert stage.runner.run(all_of_them()) == [
        (f"to {number}, from {number}", f"out {number}", f"err {number}", 0) for number in range(30)
    ]


@pytest.mark.slow
@everywhere
def test_nothing_grows_however_many_come_and_go(stage: Stage):
    def held() -> dict[str, int]:
        supervisor = stage.supervisor()
        return {
            "ours": len(os.listdir("/proc/self/fd")),
            "the supervisor's": len(os.listdir(f"/proc/{supervisor}/fd")),
            "scratch": sum(1 for _ in stage.state_dir.glob("slots-*/*")),
            "groups": sum(1 for _ in Path("/sys/fs/cgroup").rglob(f"algorium-{supervisor}-*/*/")),
            "children": len(children(supervisor)),
        }

    async def come_and_go():
        for number in range(10):
            processes = await asyncio.gather(
                stage.host.spawn(python("", has_slot_socket=True, has_listener=True)),
                stage.host.spawn(python("import time; time.sleep(600)")),
                stage.host.spawn(replace(python(""), argv=("/nonexistent",))),
                return_exceptions=True,
            )
            with suppress(TimeoutError):  # given up early, in the middle, late
                spawning = stage.host.spawn(python(""))
                processes[2] = await asyncio.wait_for(spawning, 0.02 * number)
            for process in processes:
                if isinstance(process, SandboxProcess):
                    await process.kill(0)
                    process.close()

    stage.run("")
    wait_until(lambda: held()["children"] == 0, timeout_s=30)
    before = held()
    stage.runner.run(come_and_go())
    stage.run("")  # whatever was given up is seen to its end before this one

    wait_until(lambda: held() == before, timeout_s=30)
