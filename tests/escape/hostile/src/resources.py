"""Taking more than one's share."""

import array
import ctypes
import hashlib
import os
import resource
import signal
import socket
import threading
import time

from .trying import LIBC, outcome


def fork(count):
    """So many processes, one after the other: no bomb, but more than the limit."""
    made, refusal = 0, ""
    children = []
    for _ in range(count):
        try:
            child = os.fork()
        except OSError as error:
            refusal = os.strerror(error.errno)
            break
        if not child:
            time.sleep(60)
            os._exit(0)
        children.append(child)
        made += 1
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return {"made": made, "refusal": refusal}


def start_threads(count):
    done = threading.Event()
    made, refusal = 0, ""
    for _ in range(count):
        try:
            threading.Thread(target=done.wait, daemon=True).start()
            made += 1
        except RuntimeError as error:
            refusal = str(error)
            break
    done.set()
    return {"made": made, "refusal": refusal}


def eat(kind):
    """Memory in one of its forms, until the end."""
    kept = []
    piece = b"x" * (16 * 1024 * 1024)
    number = 0
    while True:
        number += 1
        if kind == "heap":
            kept.append(bytearray(piece))
        elif kind == "memory files":
            descriptor = os.memfd_create(f"eaten{number}")
            os.write(descriptor, piece)
            kept.append(descriptor)
        elif kind == "temporary files":
            folder = ("/tmp", "/dev/shm", os.path.expanduser("~"), "/opt/algorithm")[number % 4]
            if outcome(_append, f"{folder}/eaten", piece).get("refused") == "ENOSPC":
                kept.append(folder)
                if len(kept) > 8:
                    return "full"
        elif kind == "children":
            if os.fork() == 0:
                kept.append(bytearray(piece * 4))
                time.sleep(60)
        elif kind == "shared":
            segment = LIBC.shmget(number, len(piece), 0o1600)
            LIBC.shmat.restype = ctypes.c_void_p
            address = LIBC.shmat(segment, None, 0)
            if address in {None, 2**64 - 1}:
                return "refused"
            ctypes.memset(address, 1, len(piece))


def _append(path, piece):
    with open(path, "ab") as file:
        file.write(piece)


def fill_disk():
    """Every place that can be written; returns how much went where."""
    told = {}
    piece = b"x" * (8 * 1024 * 1024)
    for folder in ("/tmp", "/dev/shm", os.path.expanduser("~"), "/opt/algorithm", "/dev", "/run"):
        path = f"{folder}/filling"
        written = 0
        try:
            with open(path, "wb", 0) as file:
                while written < 4 << 30:
                    written += file.write(piece)
        except OSError as error:
            told[folder] = [written, os.strerror(error.errno)]
        if os.path.exists(path):
            os.unlink(path)
    return told


def many_small_files(count):
    made = 0
    try:
        for number in range(count):
            os.close(os.open(f"/tmp/small{number}", os.O_CREAT | os.O_WRONLY))
            made += 1
    except OSError as error:
        return {"made": made, "refusal": os.strerror(error.errno)}
    finally:
        for number in range(made):
            os.unlink(f"/tmp/small{number}")
    return {"made": made, "refusal": ""}


def open_files():
    kept = []
    try:
        while len(kept) < 1_000_000:
            kept.append(os.open("/dev/null", os.O_RDONLY))
        refusal = ""
    except OSError as error:
        refusal = os.strerror(error.errno)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    for each in kept:
        os.close(each)
    raised = outcome(resource.setrlimit, resource.RLIMIT_NOFILE, (limit[1] * 2, limit[1] * 2))
    return {"opened": len(kept), "refusal": refusal, "limit": limit, "raised": raised}


def open_files_and_answer():
    """Answer while nothing more can be opened."""
    try:
        while True:
            os.open("/dev/null", os.O_RDONLY)
    except OSError:
        return "answered"


_pairs = []


def send_descriptors_to_itself(count):
    """Descriptors on their way, which the kernel counts for each user of the host."""
    sent = 0
    null = os.open("/dev/null", os.O_RDONLY)
    rights = array.array("i", [null] * 250)
    try:
        while sent < count:
            left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            _pairs.append((left, right))
            left.setblocking(False)
            for _ in range(8):
                left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
                sent += 250
    except OSError as error:
        return {"sent": sent, "refusal": os.strerror(error.errno)}
    return {"sent": sent, "refusal": ""}


def fill_pipes(count):
    """Buffers of pipes, which the kernel counts for each user of the host."""
    made = 0
    try:
        while made < count:
            reader, writer = os.pipe()
            _pairs.append((reader, writer))
            outcome(lambda w=writer: LIBC.fcntl(w, 1031, 1 << 20))  # F_SETPIPE_SZ
            os.set_blocking(writer, False)
            os.write(writer, b"x" * (1 << 20))
            made += 1
    except OSError as error:
        return {"made": made, "refusal": os.strerror(error.errno)}
    return {"made": made, "refusal": ""}


def lock_memory(megabytes):
    """Memory that can never be swapped out."""
    size = megabytes << 20
    buffer = ctypes.create_string_buffer(size)
    return {
        "mlock": LIBC.mlock(buffer, ctypes.c_size_t(size)),
        "limit": resource.getrlimit(resource.RLIMIT_MEMLOCK),
    }


def burn():
    """Every processor, by many threads outside of the interpreter's lock."""

    def work():
        data = b"x" * (1 << 20)
        while True:
            hashlib.sha256(data).digest()

    for _ in range(32):
        threading.Thread(target=work, daemon=True).start()
    time.sleep(600)


def leave():
    """Needs nothing that could be missing by now."""
    os._exit(7)
