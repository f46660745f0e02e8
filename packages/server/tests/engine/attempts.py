"""
Runs inside a sandbox: tries to get out in every way we know and says how each attempt ended.

Prints a JSON object: name of the attempt -> "refused" or what it achieved. Argument: a JSON
object that tells where the host's things are.
"""

import ctypes
import json
import os
import resource
import socket
import struct
import sys

HOST = json.loads(sys.argv[1])
LIBC = ctypes.CDLL(None, use_errno=True)
X86_64 = os.uname().machine == "x86_64"
# number on x86-64, number on other 64-bit machines
CALLS = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "personality": (135, 92),
    "fsopen": (430, 430),
    "open_tree": (428, 428),
    "pidfd_getfd": (438, 438),
    "clone3": (435, 435),
    "clone": (56, 220),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "quotactl": (179, 60),
}


def call(name, *arguments):
    number = CALLS[name][0 if X86_64 else 1]
    if LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(each) for each in arguments)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "worked"


def read(path):
    with open(path, "rb") as file:
        return f"read {file.read(40)!r}"


def opened(path, flags):
    """Open only: an attempt that succeeds must not do harm."""
    os.close(os.open(path, flags))
    return "opened"


def created(path):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    os.unlink(path)
    return "created"


def connected(family, kind, address, protocol=0):
    with socket.socket(family, kind, protocol) as client:
        client.settimeout(2)
        client.connect(address)
        return "connected"


def sent_fast():
    with socket.socket() as client:
        client.settimeout(2)
        client.sendto(b"x", 0x20000000, ("127.0.0.1", HOST["tcp_port"]))
        return "sent"


def sent_datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("127.0.0.1", HOST["udp_port"]))
        return "sent"


def redirected_pair():
    left, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.sendto(b"x", HOST["unix_path"])
    return "sent"


def raised_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))
    except ValueError as error:
        raise OSError(str(error)) from error
    return "raised"


def capabilities():
    with open("/proc/self/status") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    held = {key: status[key] for key in status if key.startswith("Cap")}
    if os.getuid():
        held.pop("CapBnd")  # an upper bound, of no use to a user who can gain nothing
    if any(int(value, 16) for value in held.values()):
        return f"holds {held}"
    if status["NoNewPrivs"] != "1" or status["Seccomp"] != "2":
        return "no filter"
    raise OSError("none")


def became_root():
    if os.getuid() == 0:
        return "refused"  # a number without any capability, see `capabilities`
    os.setuid(0)
    return "root"


def saw_host_process():
    text = read("/proc/{}/cmdline".format(HOST["pid"]))
    if HOST["marker"] not in text:
        raise OSError("another process")
    return text


def saw_host_environment():
    text = read("/proc/{}/environ".format(HOST["pid"]))
    if HOST["marker"] not in text:
        raise OSError("another process")
    return text


def killed_host():
    if not HOST["has_own_pids"]:
        os.kill(HOST["pid"], 0)
        return "could signal"
    try:
        os.kill(HOST["pid"], 0)
    except OSError:
        raise
    return saw_host_process()


def attached():
    if LIBC.ptrace(16, HOST["pid"], None, None) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    return "attached"


def read_memory():
    return opened("/proc/{}/mem".format(HOST["pid"]), os.O_RDWR) if saw_host_process() else ""


def limited_host():
    if HOST["has_own_pids"]:
        saw_host_process()
    resource.prlimit(HOST["pid"], resource.RLIMIT_NOFILE)
    return "could ask, so could set"


def made_set_user_id():
    path = os.path.join(os.environ["TMPDIR"], "s")
    with open(path, "w") as file:
        file.write("x")
    os.chmod(path, 0o4755)
    if os.stat(path).st_mode & 0o4000 and not HOST["has_own_pids"]:
        return "set"
    raise OSError("without effect, or on a nosuid file system")


def changed(path, change):
    """Attempts that may pretend to succeed: the test looks at the file afterwards."""
    change(path)
    raise OSError("let the test look")


ATTEMPTS = {
    # files
    "read_shadow": lambda: read("/etc/shadow"),
    "read_a_host_file": lambda: read(HOST["secret"]),
    "list_a_host_directory": lambda: os.listdir(os.path.dirname(HOST["secret"])),
    "read_another_slots_scratch": lambda: read(HOST["other_slot_file"]),
    "list_another_slots_scratch": lambda: (
        os.listdir(os.path.dirname(HOST["other_slot_file"]))
        if not HOST["has_own_pids"]
        else read(HOST["other_slot_file"])
    ),
    "create_in_root": lambda: created("/x"),
    "create_in_usr": lambda: created("/usr/lib/x"),
    "create_in_etc": lambda: created("/etc/x"),
    "create_in_dev": lambda: created("/dev/x"),
    "create_in_the_runtime": lambda: created(HOST["runtime"] + "/x.py"),
    "create_in_the_interpreter": lambda: created(sys.base_prefix + "/lib/x.py"),
    "open_a_host_file_for_writing": lambda: opened(HOST["secret"], os.O_WRONLY),
    "change_mode_of_a_host_file": lambda: changed(HOST["secret"], lambda p: os.chmod(p, 0o666)),
    "change_times_of_a_host_file": lambda: changed(HOST["secret"], lambda p: os.utime(p, (1, 1))),
    "change_mode_by_descriptor": lambda: os.fchmod(os.open(HOST["secret"], os.O_RDONLY), 0o666),
    "set_an_attribute_of_a_host_file": lambda: os.setxattr(HOST["secret"], "user.x", b"x"),
    "truncate_a_host_file": lambda: os.truncate(HOST["secret"], 0),
    "open_truncating_without_writing": lambda: opened(HOST["secret"], os.O_RDONLY | os.O_TRUNC),
    "rename_a_host_file": lambda: os.rename(HOST["secret"], HOST["secret"] + "x"),
    "remove_a_host_file": lambda: os.unlink(HOST["secret"]),
    "link_to_a_host_file": lambda: os.link(HOST["secret"], os.environ["TMPDIR"] + "/l"),
    "link_to_a_system_file": lambda: os.link("/usr/bin/env", os.environ["TMPDIR"] + "/l"),
    "watch_a_host_directory": lambda: watched(os.path.dirname(HOST["secret"])),
    "make_set_user_id": made_set_user_id,
    "climb_through_proc": lambda: read("/proc/1/root" + HOST["secret"]),
    "climb_through_own_root": lambda: read("/proc/self/root" + HOST["secret"]),
    # the kernel's own files
    "open_core_pattern": lambda: opened("/proc/sys/kernel/core_pattern", os.O_WRONLY),
    "open_sysrq": lambda: opened("/proc/sysrq-trigger", os.O_WRONLY),
    "open_memory": lambda: opened("/dev/mem", os.O_RDONLY),
    "open_kernel_log": lambda: opened("/dev/kmsg", os.O_RDONLY),
    "open_groups": lambda: opened("/sys/fs/cgroup/memory/cgroup.procs", os.O_WRONLY),
    "open_groups_2": lambda: opened("/sys/fs/cgroup/cgroup.procs", os.O_WRONLY),
    "read_kernel_symbols": lambda: read("/sys/kernel/debug/x"),
    # processes
    "see_a_host_process": saw_host_process,
    "see_a_host_environment": saw_host_environment,
    "signal_a_host_process": killed_host,
    "trace_a_host_process": attached,
    "open_memory_of_a_host_process": read_memory,
    "limit_a_host_process": limited_host,
    # network
    "reach_a_host_port": lambda: connected(
        socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", HOST["tcp_port"])
    ),
    "reach_a_host_port_by_version_6": lambda: connected(
        socket.AF_INET6, socket.SOCK_STREAM, ("::ffff:127.0.0.1", HOST["tcp_port"])
    ),
    "reach_a_host_port_fast": sent_fast,
    "reach_a_host_port_by_many_paths": lambda: connected(
        socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", HOST["tcp_port"]), 262
    ),
    "reach_an_abstract_socket": lambda: connected(
        socket.AF_UNIX, socket.SOCK_STREAM, "\0" + HOST["abstract"]
    ),
    "reach_a_socket_by_path": lambda: connected(
        socket.AF_UNIX, socket.SOCK_DGRAM, HOST["unix_path"]
    ),
    "redirect_a_pair": redirected_pair,
    "packet_socket": lambda: socket.socket(17, socket.SOCK_RAW).close() or "opened",
    "netlink_socket": lambda: socket.socket(16, socket.SOCK_RAW).close() or "opened",
    "vsock_socket": lambda: socket.socket(40, socket.SOCK_STREAM).close() or "opened",
    "alg_socket": lambda: socket.socket(38, socket.SOCK_SEQPACKET).close() or "opened",
    "raw_socket": lambda: socket.socket(2, socket.SOCK_RAW, 1).close() or "opened",
    # privileges
    "hold_capabilities": capabilities,
    "become_root": became_root,
    "raise_a_limit": raised_limit,
    "mknod": lambda: os.mknod(os.environ["TMPDIR"] + "/d", 0o60644, os.makedev(1, 1)),
    # system calls
    "ptrace": lambda: call("ptrace", 0, 0, 0, 0),
    "process_vm_readv": lambda: call("process_vm_readv", HOST["pid"], 0, 0, 0, 0, 0),
    "io_uring": lambda: call("io_uring_setup", 1, 0),
    "keyctl": lambda: call("keyctl", 0, -3, 0, 0, 0),
    "add_key": lambda: call("add_key", 0, 0, 0, 0, -3),
    "bpf": lambda: call("bpf", 0, 0, 0),
    "perf": lambda: call("perf_event_open", 0, 0, -1, -1, 0),
    "userfaultfd": lambda: call("userfaultfd", 1),
    "unshare_user": lambda: call("unshare", 0x10000000),
    "unshare_mount": lambda: call("unshare", 0x00020000),
    "unshare_network": lambda: call("unshare", 0x40000000),
    "clone_user": lambda: call("clone", 0x10000000 | 17, 0, 0, 0, 0),
    "clone3": lambda: call("clone3", 0, 0),
    "setns": lambda: call("setns", 3, 0),
    "mount": lambda: call("mount", 0, 0, 0, 0, 0),
    "umount": lambda: call("umount2", 0, 0),
    "pivot_root": lambda: call("pivot_root", 0, 0),
    "chroot": lambda: os.chroot(os.environ["TMPDIR"]),
    "kexec": lambda: call("kexec_load", 0, 0, 0, 0),
    "module": lambda: call("init_module", 0, 0, 0),
    "kernel_log": lambda: call("syslog", 3, 0, 0),
    "handles": lambda: call("open_by_handle_at", -100, 0, 0),
    "handle_names": lambda: call("name_to_handle_at", -100, 0, 0, 0, 0),
    "personality": lambda: call("personality", 0x0040000),
    "fsopen": lambda: call("fsopen", 0, 0),
    "open_tree": lambda: call("open_tree", -100, 0, 0),
    "pidfd_getfd": lambda: call("pidfd_getfd", 3, 0, 0),
}


def watched(path):
    fd = LIBC.inotify_init1(0)
    if LIBC.inotify_add_watch(fd, path.encode(), 0xFFF) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    return "watched"


def outcome(attempt):
    try:
        return str(attempt())
    except OSError:
        return "refused"


assert struct.calcsize("P") == 8
print(json.dumps({name: outcome(attempt) for name, attempt in ATTEMPTS.items()}))
