"""A zygote has run foreign code: whatever it does costs a cold start, and nothing else."""

import asyncio
import os
import signal
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from nursery import LIMITS, Nursery, start_host, zygotes_of
from sandboxes import processes_with

from algorium_server.engine.program import slot_spec
from algorium_server.engine.sandbox import Mechanism

pytestmark = pytest.mark.namespaces

BORN_DIFFERENTLY = """
import os, socket, sys, time
from algorium_runtime import confine, namespaces, zygote
usual = zygote._be_born

def _be_born(birth, given):
{body}

zygote._be_born = _be_born
"""
GARBAGE = "birth.send(b'\\\\xff' * 100); time.sleep(600)"
SILENCE = "time.sleep(600)"
TWICE = """
namespaces.unshare(namespaces.NEW_ALL)
birth.send(zygote.BORN)
birth.send(zygote.BORN)
time.sleep(600)
"""
NOT_APART = "birth.send(zygote.BORN); time.sleep(600)"
READY_AT_ONCE = "birth.send(b'R'); time.sleep(600)"
GONE = "os._exit(0)"
CONFUSED = "raise RuntimeError('nonsense ' * 10_000)"

PATCHED = """
import os, socket
from algorium_runtime import confine, guard, namespaces, zygote
usual = confine.enclose

def enclose(plan, filter_program, copy):
{body}

confine.enclose = enclose
{also}
"""
A_LISTENER_IS_KEPT = """
unshare, descriptors, init = namespaces.unshare, guard.descriptors, zygote._be_init
KEPT = []

def keep_a_listener(kinds):
    if kinds == namespaces.NEW_ALL:
        KEPT.append(socket.create_server(("127.0.0.1", 0)))
        os.dup2(KEPT[0].fileno(), 200)
    unshare(kinds)

def close_it(*arguments):
    os.close(200)
    init(*arguments)

namespaces.unshare = keep_a_listener
zygote._be_init = close_it
guard.descriptors = lambda *pid: {  # so that it is not closed before
    fd: what for fd, what in descriptors(*pid).items() if fd < 200
}
"""
UNCONFINED = "return dict(plan['env'])"
UNFILTERED = "return usual({**plan, 'has_filter': False}, b'', copy)"
PRIVILEGED = """
confine._open_listener(9000)
confine._close_seccomp(filter_program)
return dict(plan['env'])
"""
NO_LISTENER = "return usual({**plan, 'listener': None}, filter_program, copy)"
OTHER_PORT = (
    """return usual({**plan, 'listener': {'port': 9001, 'path': ''}}, filter_program, copy)"""
)
NOT_LISTENING = """
class Deaf(confine._socket.socket):
    def listen(self, backlog):
        pass
confine._socket.socket = Deaf
return usual(plan, filter_program, copy)
"""
NO_SOCKET = """
def send_file(port):
    channel = socket.socket(fileno=os.dup(confine.CHANNEL_FD))
    socket.send_fds(channel, [b'L'], [os.open('/dev/null', 0)])
    channel.close()
    return port
confine._open_listener = send_file
return usual(plan, filter_program, copy)
"""
ELSEWHERE = """
def send_other(port):
    channel = socket.socket(fileno=os.dup(confine.CHANNEL_FD))
    socket.send_fds(channel, [b'L'], [200])
    os.close(200)
    channel.close()
    return port
confine._open_listener = send_other
return usual(plan, filter_program, copy)
"""
LISTENERS = """
birth = socket.socket(fileno=os.dup(confine.CHANNEL_FD))
for _ in range(50):
    socket.send_fds(birth, [b'L'], [0])
birth.close()
return usual(plan, filter_program, copy)
"""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        place = Path(directory)
        place.chmod(0o755)
        limits = replace(LIMITS, count_max=100, birth_s=1.0, fork_s=1.0)
        host = runner.run(start_host(place, Mechanism.LAUNCHER, limits=limits))
        yield Nursery(runner, place, host)
        runner.run(host.close())
        assert processes_with(directory) == []
        assert list((place / "state").glob("slots-*")) == []


async def used_in_vain(nursery: Nursery, module: str) -> tuple[str, str]:
    """Return how a slot was started whose zygote imports *module*, and what happened to it."""
    program = nursery.program({"hostile.py": module})
    nursery.host.prepare(slot_spec(program))
    await nursery.until(lambda: nursery.state(program) != "")
    slot = await nursery.spawn(program)
    assert await slot.run("result = 'works'") == "works"
    await slot.kill()
    event = nursery.last(program)
    assert event is not None
    return slot.process.start_path, event["reason"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (GARBAGE, "said what it should not"),
        (SILENCE, "did not answer in time"),
        (TWICE, "said what it should not"),
        (NOT_APART, "uid_map"),
        (READY_AT_ONCE, "said what it should not"),
        (GONE, "ended before it could be confined"),
        (CONFUSED, "ended before it could be confined"),
    ],
)
def test_a_slot_that_is_not_born_as_it_should_is_started_cold(nursery: Nursery, body, reason):
    module = BORN_DIFFERENTLY.format(body=textwrap.indent(textwrap.dedent(body), "    "))

    path, event = nursery.runner.run(used_in_vain(nursery, module))

    assert path == "cold"
    assert reason in event or "does not answer" in event or "setgroups" in event


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (UNCONFINED, "no listener|capabilities"),
        (UNFILTERED, "no filter"),
        (PRIVILEGED, "capabilities left"),
        (NO_LISTENER, "no listener"),
        (OTHER_PORT, "not inside"),
        (NOT_LISTENING, "does not listen"),
        (NO_SOCKET, "said what it should not"),
        (ELSEWHERE, "not inside"),
        (LISTENERS, "said what it should not"),
    ],
)
def test_a_slot_that_keeps_a_right_or_lies_about_its_listener_is_started_cold(
    nursery: Nursery, body, reason
):
    module = PATCHED.format(
        body=textwrap.indent(textwrap.dedent(body), "    "),
        also=A_LISTENER_IS_KEPT if body is ELSEWHERE else "",
    )

    path, event = nursery.runner.run(used_in_vain(nursery, module))

    assert path == "cold"
    assert any(each in event for each in reason.split("|")), event


TIED = """
import mmap, os, socket, time
from algorium_runtime import guard, namespaces, zygote
fork, descriptors, furnish, init = os.fork, guard.descriptors, zygote._furnish, zygote._be_init
forks = []

def sharing_fork():
    if os.getpid() == ZYGOTE and not forks:
        forks.append(1)
{in_the_zygote}
    return fork()

def furnishing(steps):
    furnish(steps)
{in_the_init}

def being_init(*arguments):
{as_the_init}
    init(*arguments)

ZYGOTE = os.getpid()
KEPT = []
zygote.os.fork = sharing_fork
zygote._furnish = furnishing
zygote._be_init = being_init
guard.descriptors = lambda *pid: {{
    fd: what for fd, what in descriptors(*pid).items() if fd < 200
}}
"""
PASSED = "pass"
MAPPING = "KEPT.append(mmap.mmap(-1, 4096))"
READ_ONLY_MAPPING = "f = os.memfd_create('x'); os.ftruncate(f, 4096);"
READ_ONLY_MAPPING += " KEPT.append(mmap.mmap(f, 4096, prot=mmap.PROT_READ)); os.close(f)"
PAIR = "[os.dup2(end.detach(), 200 + n) for n, end in enumerate(socket.socketpair())]"
FILE = "os.dup2(os.memfd_create('x'), 200)"
REPLACED = "os.dup2(os.open('/dev/zero', os.O_RDWR), 0)"
MORE_PROCESSES = "fork() or (os.closerange(0, 100), time.sleep(600))"
THREAD = "import threading; threading.Thread(target=time.sleep, args=(600,)).start()"


@pytest.mark.parametrize(
    ("in_the_zygote", "in_the_init", "as_the_init", "reason"),
    [
        (MAPPING, PASSED, PASSED, "shares memory"),
        (PAIR, PASSED, PASSED, "something open that it was not given"),
        (FILE, PASSED, PASSED, "something open that it was not given"),
        (PASSED, MAPPING, PASSED, "shares memory"),
        (PASSED, PASSED, MAPPING, "shares memory"),
        (PASSED, PASSED, FILE, "something open that it was not given"),
        (PASSED, REPLACED, PASSED, "something else open"),
        (PASSED, MORE_PROCESSES, PASSED, "more processes"),
        (PASSED, PASSED, THREAD, "threads"),
        (READ_ONLY_MAPPING, PASSED, PASSED, "shares memory"),
    ],
)
def test_a_slot_that_is_tied_to_others_is_started_cold(
    nursery: Nursery, in_the_zygote, in_the_init, as_the_init, reason
):
    module = TIED.format(
        in_the_zygote=f"        {in_the_zygote}",
        in_the_init=f"    {in_the_init}",
        as_the_init=f"    {as_the_init}",
    )

    path, event = nursery.runner.run(used_in_vain(nursery, module))

    assert path == "cold"
    assert any(each in event for each in reason.split("|")), event


STAYING = """
import os, time
from algorium_runtime import zygote
fork, leave, zygote_pid = os.fork, os._exit, os.getpid()
{more}

def staying_fork():
    first = os.getpid() > 10_000 and os.getpid() != zygote_pid  # in the zygote's own namespace
    pid = fork()
    if pid and first:
        {then}
    return pid

zygote.os.fork = staying_fork
"""


@pytest.mark.parametrize(
    ("then", "more", "reason"),
    [
        ("time.sleep(600)", "", "answer"),
        ("fork() or time.sleep(600)", "os.read = lambda *_: b''", "more processes|stays"),
        ("os.close(4); os.close(3); time.sleep(600)", "os.read = lambda *_: b''", "stays|in time"),
    ],
)
def test_nobody_may_stay_beside_a_slot(nursery: Nursery, then, more, reason):
    module = STAYING.format(then=then, more=more)

    path, event = nursery.runner.run(used_in_vain(nursery, module))

    assert path == "cold"
    assert any(each in event for each in reason.split("|")), event


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()",
            "opens threads",
        ),
        ("import socket\nS = socket.socket()", "keeps a socket open"),
        ("F = open('/etc/passwd')", "keeps a file open"),
        ("import mmap\nM = mmap.mmap(-1, 4096)", "shares memory"),
        ("import subprocess\nP = subprocess.Popen(['sleep', '600'])", "starts processes"),
        ("import signal\nsignal.signal(signal.SIGTERM, print)", "handles signals"),
        ("import os\nos._exit(3)", "died"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "died"),
    ],
)
def test_a_zygote_that_must_not_be_forked_is_refused_with_the_reason(
    nursery: Nursery, module, reason
):
    path, event = nursery.runner.run(used_in_vain(nursery, module))

    assert path == "cold"
    assert reason in event


HIDDEN = """
import threading, time
from algorium_runtime import guard
guard.faults = lambda *_, **__: []
{code}
"""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("threading.Thread(target=time.sleep, args=(600,)).start()", "opens threads"),
        ("F = open('/etc/passwd')", "keeps a file open"),
        ("import subprocess; P = subprocess.Popen(['sleep', '600'])", "starts processes"),
    ],
)
def test_what_a_zygote_hides_is_seen_from_outside(nursery: Nursery, code, reason):
    path, event = nursery.runner.run(used_in_vain(nursery, HIDDEN.format(code=code)))

    assert path == "cold"
    assert reason in event


def test_a_module_that_only_fails_to_be_imported_is_no_matter(nursery: Nursery):
    async def start():
        program = nursery.program({"broken.py": "raise SystemExit(1)", "fine.py": ""})
        slot = await nursery.fork(program)
        answer = await slot.run("result = 'fine' in sys.modules")
        await slot.kill()
        return answer

    assert nursery.runner.run(start()) is True


SPEAKS_FIRST = """
from algorium_runtime import zygote, confine
import os, socket, time
control = socket.socket(fileno=os.dup(confine.SLOT_FD))
{code}
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("control.send(b'what?')", "said what it should not"),
        ("control.send(b'E' + b'\\xff' * 5000)", "\ufffd"),
        ("control.send(b'R')", "keeps a socket open"),
        ("os.fork() or control.send(b'R')", "somebody else speaks for it"),
        ("control.shutdown(socket.SHUT_RDWR)", "died"),
    ],
)
def test_a_zygote_that_says_what_it_should_not_is_given_up(nursery: Nursery, code, reason):
    path, event = nursery.runner.run(used_in_vain(nursery, SPEAKS_FIRST.format(code=code)))

    assert path == "cold"
    assert reason in event


def test_a_zygote_that_floods_its_socket_is_given_up(nursery: Nursery):
    flood = "import threading\n" + SPEAKS_FIRST.format(
        code="control.send(b'R{}')\nwhile True: control.send(b'R{}' * 1000)"
    )

    path, _ = nursery.runner.run(used_in_vain(nursery, flood))

    assert path == "cold"


def test_while_a_zygote_hangs_in_an_import_slots_start_cold(nursery: Nursery):
    async def start():
        with tempfile.TemporaryDirectory() as directory:
            place = Path(directory)
            place.chmod(0o755)
            host = await start_host(
                place, Mechanism.LAUNCHER, limits=replace(LIMITS, preload_s=0.5)
            )
            other = Nursery(nursery.runner, place, host)
            program = other.program({"slow.py": "import time; time.sleep(600)"})
            slots = [await other.spawn(program) for _ in range(2)]
            answers = [await slot.run("result = 1") for slot in slots]
            await other.until(lambda: other.state(program) == "ended")
            event = other.last(program)
            await other.until(lambda: zygotes_of(program.environment_dir) == [])
            for slot in slots:
                await slot.kill()
            await host.close()
            return answers, event["reason"], [slot.process.start_path for slot in slots]

    answers, reason, paths = nursery.runner.run(start())

    assert answers == [1, 1]
    assert paths == ["cold", "cold"]
    assert reason == "its imports take too long"


def test_a_zygote_that_stands_still_costs_one_wait(nursery: Nursery):
    async def start():
        program = nursery.program()
        first = await nursery.fork(program)
        (zygote,) = zygotes_of(program.environment_dir)
        os.kill(zygote, signal.SIGSTOP)
        slots = [await nursery.spawn(program) for _ in range(3)]
        answers = [await slot.run("result = 1") for slot in (first, *slots)]
        for slot in (first, *slots):
            await slot.kill()
        return answers, [slot.process.start_path for slot in slots], nursery.last(program)

    answers, paths, event = nursery.runner.run(start())

    assert answers == [1] * 4
    assert paths[1:] == ["cold", "cold"]  # the first may have been waiting for its order already
    assert event["state"] == "ended"


def test_threads_that_come_later_are_noticed_before_the_next_fork(nursery: Nursery):
    late = """
import os, threading, time
from algorium_runtime import zygote
usual = zygote._fork

def fork():
    pid = usual()
    if pid:
        threading.Thread(target=time.sleep, args=(600,)).start()
    return pid

zygote._fork = fork
"""

    async def start():
        program = nursery.program({"late.py": late})
        slots = [await nursery.fork(program)]
        slots += [await nursery.spawn(program) for _ in range(2)]
        answers = [await slot.run("result = 1") for slot in slots]
        for slot in slots:
            await slot.kill()
        return answers, slots[-1].process.start_path, nursery.last(program)

    answers, path, event = nursery.runner.run(start())

    assert answers == [1, 1, 1]
    assert path == "cold"
    assert "opens threads by now" in event["reason"]
