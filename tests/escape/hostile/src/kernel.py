"""
System calls that an algorithm has no use for.

Each is made so that it would do no harm if the sandbox let it through: what is tested is a refusal.
"""

import ctypes
import mmap
import os
import shutil
import signal
import socket
import struct
import subprocess
import time

from .trying import IS_X86_64, LIBC, checked, outcome, system_call

# name: number on x86-64, number on other 64-bit machines, arguments
_CALLS = {
    "unshare user": (272, 97, 0x10000000),
    "unshare mount": (272, 97, 0x00020000),
    "unshare network": (272, 97, 0x40000000),
    "unshare processes": (272, 97, 0x20000000),
    "unshare groups": (272, 97, 0x02000000),
    "unshare time": (272, 97, 0x00000080),
    "clone with a user namespace": (56, 220, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0),
    "clone with a mount namespace": (56, 220, 0x00020000 | signal.SIGCHLD, 0, 0, 0, 0),
    "clone3": (435, 435, 0, 88),
    "setns": (308, 268, 0, 0),
    "mount": (165, 40, b"none", b"/tmp", b"tmpfs", 0, b""),
    "mount proc": (165, 40, b"proc", b"/tmp", b"proc", 0, b""),
    "remount the root": (165, 40, b"none", b"/", b"none", 0x20 | 0x1000, b""),
    "bind": (165, 40, b"/", b"/tmp", b"none", 0x1000, b""),
    "umount": (166, 39, b"/proc/sys", 2),
    "umount tmp": (166, 39, b"/tmp", 2),
    "pivot_root": (155, 41, b"/tmp", b"/tmp"),
    "chroot": (161, 51, b"/tmp"),
    "fsopen": (430, 430, b"tmpfs", 0),
    "open_tree": (428, 428, -100, b"/", 1),
    "move_mount": (429, 429, -100, b"/tmp", -100, b"/", 0),
    "fspick": (433, 433, -100, b"/", 0),
    "mount_setattr": (442, 442, -100, b"/", 0, 0, 0),
    "io_uring_setup": (425, 425, 8, 0),
    "io_uring_enter": (426, 426, 0, 1, 1, 0, 0, 0),
    "io_uring_register": (427, 427, 0, 0, 0, 0),
    "add_key": (248, 217, b"user", b"escape", b"secret", 6, -4),
    "request_key": (249, 218, b"user", b"escape", 0, -4),
    "keyctl": (250, 219, 0, -3, 0, 0, 0),
    "bpf": (321, 280, 0, 0, 0),
    "perf_event_open": (298, 241, 0, -1, 0, -1, 0),
    "userfaultfd": (323, 282, 1),
    "kexec_load": (246, 104, 0, 0, 0, 0),
    "kexec_file_load": (320, 294, 0, 0, 0, 0, 0),
    "init_module": (175, 105, 0, 0, b""),
    "finit_module": (313, 273, 0, b"", 0),
    "delete_module": (176, 106, b"loop", 0),
    "reboot": (169, 142, 0, 0, 0, 0),
    "swapon": (167, 224, b"/tmp/x", 0),
    "swapoff": (168, 225, b"/tmp/x"),
    "acct": (163, 89, b"/tmp/x"),
    "syslog": (103, 116, 3, 0, 0),
    "quotactl": (179, 60, 0, 0, 0, 0),
    "lookup_dcookie": (212, 18, 0, 0, 0),
    "nfsservctl": (180, 42, 0, 0, 0),
    "vhangup": (153, 58),
    "kcmp": (312, 272, 1, 1, 0, 0, 0),
    "process_madvise": (440, 440, 0, 0, 0, 0, 0),
    "process_mrelease": (448, 448, 0, 0),
    "pidfd_getfd": (438, 438, 0, 0, 0),
    "move_pages": (279, 239, 1, 0, 0, 0, 0, 0),
    "migrate_pages": (256, 238, 1, 0, 0, 0),
    "fanotify_init": (300, 262, 0, 0),
    "name_to_handle_at": (303, 264, -100, b"/", 0, 0, 0),
    "open_by_handle_at": (304, 265, -100, 0, 0),
    "settimeofday": (164, 170, 0, 0),
    "sethostname": (170, 161, b"escaped", 7),
    "setdomainname": (171, 162, b"escaped", 7),
    "personality": (135, 92, 0x0040000),
    "read without protection": (135, 92, 0x0400000),
    "modify_ldt": (154, -1, 1, 0, 16),
    "iopl": (172, -1, 3),
    "ioperm": (173, -1, 0, 1, 1),
    "uselib": (134, -1, b"/usr/lib/x"),
    "vm86": (-1, -1, 0),
}


def refused_calls():
    told = {}
    for name, (on_x86_64, elsewhere, *arguments) in _CALLS.items():
        number = on_x86_64 if IS_X86_64 else elsewhere
        if number >= 0:
            told[name] = outcome(_in_a_child, number, arguments)
    return told


def _in_a_child(number, arguments):
    """A call that creates a process returns twice; what it did must not stay with us."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            system_call(number, *arguments)
            os.write(writer, b"0")
        except OSError as error:
            os.write(writer, b"%d" % error.errno)
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    said = os.read(reader, 100)
    os.close(reader)
    number = int(said or b"0")
    if number:
        raise OSError(number, os.strerror(number))


def through_programs(marker):
    """Tools of the base system that do the same; each would touch *marker*'s name."""
    told = {}
    for argv in (
        ["unshare", "--user", "--map-root-user", "touch", marker],
        ["unshare", "--mount", "touch", marker],
        ["nsenter", "--target", "1", "--mount", "touch", marker],
        ["bwrap", "--dev-bind", "/", "/", "touch", marker],
        ["chroot", "/", "touch", marker],
        ["mount", "-o", "remount,rw", "/"],
        ["setpriv", "--reuid", "0", "touch", marker],
        ["strace", "-p", "1"],
        ["insmod", "/tmp/x.ko"],
        ["date", "-s", f"@{time.time()}"],
        ["hostname", "escaped"],
        ["dmesg"],
    ):
        path = shutil.which(argv[0])
        if path is not None:
            done = subprocess.run(
                [path, *argv[1:]], capture_output=True, stdin=subprocess.DEVNULL, timeout=10
            )
            told[argv[0]] = done.returncode
    return told


def set_the_clock():
    told = {
        "clock_settime": outcome(time.clock_settime, time.CLOCK_REALTIME, time.time()),
        "hostname": outcome(socket.sethostname, "escaped"),
    }
    no_offset = ctypes.create_string_buffer(struct.pack("I4xq", 0x0001, 0), 256)
    told["adjtimex"] = outcome(lambda: checked(LIBC.adjtimex(no_offset)))
    return told


def settings_of_the_kernel():
    """Files by which a kernel is configured, or told to run a program for us."""
    paths = """
        /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/hostname
        /proc/sys/kernel/hotplug /proc/sys/kernel/randomize_va_space /proc/sys/kernel/sysrq
        /proc/sys/vm/overcommit_memory /proc/sys/vm/drop_caches /proc/sys/fs/file-max
        /proc/sys/fs/binfmt_misc/register /proc/sys/net/ipv4/ip_forward
        /proc/sys/user/max_user_namespaces /proc/sysrq-trigger /proc/kcore /proc/kmem
        /proc/irq/default_smp_affinity /proc/bus/pci/00 /proc/acpi/wakeup /proc/scsi/scsi
        /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups /proc/1/oom_score_adj
        /proc/mtrr /proc/timer_stats /proc/dynamic_debug/control /proc/asound/card0/id
        /proc/fs/ext4 /proc/fs/nfsd/unlock_filesystem /proc/driver/rtc /proc/slabinfo
        /sys/kernel/uevent_helper /sys/kernel/mm/ksm/run /sys/power/state
        /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/memory/cgroup.procs
        /sys/fs/cgroup/release_agent /sys/fs/cgroup/memory/release_agent
    """.split()  # noqa: SIM905 - reads best as a text

    def open_it(path):
        os.close(os.open(path, os.O_WRONLY))

    return {path: outcome(open_it, path) for path in paths}


def secrets_of_the_kernel():
    """What helps to attack it, or tells about its other users."""

    def read(path):
        with open(path, "rb") as file:
            return file.read(64)

    paths = """
        /proc/kcore /proc/kmsg /dev/kmsg /dev/mem /proc/kpagecount /proc/kpageflags
        /proc/kpagecgroup /proc/slabinfo /proc/vmallocinfo /proc/1/stack /proc/1/syscall
        /sys/kernel/notes /sys/kernel/debug/sched /sys/kernel/tracing/trace /sys/firmware/efi
    """.split()  # noqa: SIM905 - the same
    told = {path: outcome(read, path) for path in paths}
    with open("/proc/kallsyms") as file:
        told["addresses"] = sum(int(line.split()[0], 16) != 0 for line in file)
    with open("/proc/self/pagemap", "rb") as file:
        file.seek(id(told) // 4096 * 8)
        told["frames"] = [each & ((1 << 55) - 1) for each in struct.unpack("8Q", file.read(64))]
    return told


def attributes():
    """Tricks with what prctl can set: none may give anything back."""
    told = {}
    for name, arguments in {
        "give up no_new_privs": (38, 0, 0, 0, 0),
        "raise an ambient capability": (47, 2, 21, 0, 0),
        "keep capabilities": (8, 1, 0, 0, 0),
        "loosen securebits": (28, 0, 0, 0, 0),
        "move the program's break": (35, 1, 4096, 0, 0),
        "leave seccomp": (22, 0, 0, 0, 0),
    }.items():
        told[name] = outcome(lambda a=arguments: checked(LIBC.prctl(*map(ctypes.c_ulong, a))))
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    full = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
    told["set capabilities"] = outcome(lambda: checked(LIBC.capset(header, full)))
    for name in ("setuid", "setgid", "setfsuid"):
        LIBC[name](0)
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    names = "Uid Gid Groups CapInh CapPrm CapEff CapAmb NoNewPrivs Seccomp".split()  # noqa: SIM905
    told["status"] = {name: status[name].split() for name in names}
    return told


def own_filter():
    """A filter of our own that allows everything must not loosen the one that is there."""
    allow = struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)
    buffer = ctypes.create_string_buffer(allow, len(allow))
    program = struct.pack("HxxxxxxP", 1, ctypes.addressof(buffer))
    installed = outcome(lambda: checked(LIBC.prctl(22, 2, ctypes.c_char_p(program), 0, 0)))
    return {"installed": installed, "unshare": outcome(system_call, 272, 0x10000000)}


def old_numbers():
    """System calls by the numbers of 32-bit programs, which a filter may have forgotten."""
    told = {}
    for name, number, first in (
        ("mount", 21, 0),
        ("ptrace", 26, 0),
        ("unshare", 310, 0x10000000),
        ("getpid", 20, 0),
    ):
        told[name] = _interrupt(number, first)
    told["x32 unshare"] = outcome(system_call, 0x40000000 + 272, 0x10000000)
    told["x32 getpid"] = outcome(system_call, 0x40000000 + 39)
    return told


def _interrupt(number, first):
    """Return the result of `int 0x80`, which enters the kernel as a 32-bit program does."""
    code = b"\x53\x89\xf8\x89\xf3\x31\xc9\x31\xd2\xcd\x80\x5b\xc3"
    # push rbx; mov eax, edi; mov ebx, esi; xor ecx, ecx; xor edx, edx; int 0x80; pop rbx; ret
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)(address)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, b"%d" % function(number, first))
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    said = os.read(reader, 100)
    os.close(reader)
    return int(said) if said else f"ended with {status}"


def type_into_the_terminal():
    told = {}
    for path in ("/dev/tty", "/dev/console", "/dev/ptmx", "/dev/pts/0"):
        told[path] = outcome(os.open, path, os.O_RDWR)
    fcntl_ioctl = LIBC.ioctl
    for number in (0, 1, 2):
        told[f"type into {number}"] = outcome(
            lambda n=number: checked(fcntl_ioctl(n, 0x5412, ctypes.c_char_p(b"x")))
        )
    return told
