"""Other processes: seeing, signalling, tracing and outranking them."""

import ctypes
import os
import resource
import signal
import sys
import threading
import time

from .trying import IS_X86_64, LIBC, checked, outcome, system_call

_IOPRIO_SET = 251 if IS_X86_64 else 30
_PTRACE_ATTACH, _PTRACE_SEIZE, _PTRACE_TRACEME, _PTRACE_PEEK = 16, 0x4206, 0, 1


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def visible():
    """What /proc tells of every process in it."""
    told = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            parts = (_content(f"/proc/{name}/{part}") for part in ("cmdline", "environ"))
            told[name] = "".join(parts)
    return told


def search_memory(texts):
    """Look for *texts* in the memory of every process but this one."""
    found, looked_at = [], 0
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/maps") as maps, open(f"/proc/{name}/mem", "rb", 0) as memory:
                for line in maps:
                    fields = line.split()
                    first, last = (int(each, 16) for each in fields[0].split("-"))
                    if "w" in fields[1] and last - first < 64 * 1024 * 1024:
                        looked_at += 1
                        found += _in_piece(memory, first, last - first, name, texts)
        except OSError:
            continue
    return {"found": found, "looked_at": looked_at}


def _in_piece(memory, first, length, name, texts):
    try:
        memory.seek(first)
        piece = memory.read(length)
    except (OSError, OverflowError, ValueError):
        return []
    return [f"{text[:8]} in {name}" for text in texts if text.encode() in piece]


def climb(path):
    """Reach *path* of the host by way of other processes."""
    ways = ["/proc/1/root", "/proc/1/cwd", f"/proc/{os.getppid()}/root", "/proc/self/root"]
    ways += [f"/proc/{os.getppid()}/cwd", "/proc/self/cwd/../../../.."]
    ways += [f"/proc/{pid}/fd/{fd}" for pid in (1, os.getppid()) for fd in range(3, 12)]
    return {way: outcome(_read, way + path) for way in ways}


def open_memory_of(pids):
    """For writing; opened only, so that a success does no harm."""

    def open_it(pid):
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))

    return {str(pid): outcome(open_it, pid) for pid in pids}


def signal_all(pids, number):
    """Signal processes of the host by their numbers there, sparing what has them in here."""
    own = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    return {str(pid): outcome(os.kill, pid, number) for pid in pids if pid not in own}


def signal_everybody(namespace_of_host):
    """To all we may signal: our own end, but nobody else's."""
    if os.stat("/proc/self/ns/pid").st_ino == namespace_of_host:
        return "without a process table of our own this would be the end of the host"
    for target in (1, os.getppid(), -1, 0, os.getpid()):
        outcome(os.kill, target, signal.SIGKILL)
    return "survived"


def kill_first_process():
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGTERM):
        outcome(os.kill, 1, number)
    return "sent"


def stop_itself():
    os.kill(os.getpid(), signal.SIGSTOP)
    return "went on"


def crash():
    resource.setrlimit(resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE))
    os.chdir("/tmp")
    ctypes.string_at(0)


def core_limit():
    limit = resource.getrlimit(resource.RLIMIT_CORE)
    raised = outcome(resource.setrlimit, resource.RLIMIT_CORE, (1 << 20, 1 << 20))
    return {"limit": limit, "raised": raised}


def trace(pids):
    LIBC.ptrace.restype = ctypes.c_long
    told = {}
    for pid in (1, os.getppid(), *pids):
        for request in (_PTRACE_ATTACH, _PTRACE_SEIZE):
            told[f"{request} {pid}"] = outcome(
                lambda pid=pid, request=request: checked(LIBC.ptrace(request, pid, None, None))
            )
    return told


def trace_a_child():
    """A child that has itself traced, which has been used to skip checks of system calls."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        said = outcome(lambda: checked(LIBC.ptrace(_PTRACE_TRACEME, 0, None, None)))
        os.write(writer, repr(said).encode())
        os._exit(0)
    os.waitpid(child, 0)
    said = os.read(reader, 1000).decode()
    os.close(reader)
    os.close(writer)
    return said


def reach_into(pids):
    """Read and write memory of other processes by system call."""
    buffer = ctypes.create_string_buffer(64)
    own = _Vector(ctypes.addressof(buffer), 64)
    theirs = _Vector(id(buffer), 64)
    told = {}
    for pid in (1, os.getppid(), *pids):
        for function in (LIBC.process_vm_readv, LIBC.process_vm_writev):
            told[f"{function.__name__} {pid}"] = outcome(
                lambda pid=pid, f=function: checked(
                    f(pid, ctypes.byref(own), 1, ctypes.byref(theirs), 1, 0)
                )
            )
    return told


def take_descriptors(pids):
    """Copy a descriptor out of another process."""
    told = {}
    for pid in (1, os.getppid(), *pids):
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        for fd in range(3, 8):
            told[f"{pid} {fd}"] = outcome(system_call, 438, handle, fd, 0)
        os.close(handle)
    return told


def outrank():
    told = {
        "nice": outcome(os.setpriority, os.PRIO_PROCESS, 0, -20),
        "nice of all": outcome(os.setpriority, os.PRIO_USER, 0, -20),
        "real time": outcome(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(99)),
        "round robin": outcome(os.sched_setscheduler, 0, os.SCHED_RR, os.sched_param(1)),
        "disk": outcome(lambda: checked(LIBC.syscall(_IOPRIO_SET, 1, 0, 1 << 13))),
        "survival": outcome(_write, "/proc/self/oom_score_adj", "-1000"),
    }
    told["now"] = [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)]
    return told


def leave_a_daemon(marker, holds_output):
    """A process that wants to outlive everything: no parent, no signals, no death signal."""
    if os.fork():
        return "left"
    _become_daemon(marker, holds_output)
    return "unreachable"


def _become_daemon(marker, holds_output):
    os.setsid()
    if os.fork():
        os._exit(0)
    LIBC.prctl(1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG
    LIBC.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    if not holds_output:
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
    os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", marker])


def exit_now(code=7):
    os._exit(code)


def exit_in_a_moment(delay_s, code=9):
    """After the answer, from another thread: between two calls."""

    def leave():
        time.sleep(delay_s)
        os._exit(code)

    threading.Thread(target=leave, daemon=True).start()
    return "answered"


def loop():
    while True:
        pass


def environment():
    return dict(os.environ)


def _content(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode("latin-1")
    except OSError:
        return ""


def _read(path):
    with open(path, "rb") as file:
        return file.read(200)


def _write(path, text):
    with open(path, "w") as file:
        file.write(text)


def started_by():
    """How this slot began: forked by a zygote, whose command line it keeps, or cold."""
    return "zygote" if "--zygote" in _content("/proc/self/cmdline") else "cold"
