"""What is not the algorithm's own to read or to write."""

import ctypes
import os
import shutil
import stat
import subprocess
import sys

from .trying import LIBC, checked, outcome

_SKIPPED = ("/proc", "/sys", "/usr", "/lib", sys.base_prefix)


def read(paths):
    return {path: outcome(_read, path) for path in paths}


def read_through_a_link(paths):
    told = {}
    for path in paths:
        link = "/tmp/link"
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(path, link)
        told[path] = outcome(_read, link)
    return told


def search(texts):
    """Read everything in sight, but for the system's own programs, and look for *texts*."""
    wanted = [text.encode() for text in texts]
    own = os.path.dirname(__file__)
    found = []
    for folder, names, files in os.walk("/"):
        names[:] = [n for n in names if not os.path.join(folder, n).startswith(_SKIPPED)]
        for name in files:
            path = os.path.join(folder, name)
            try:
                if stat.S_ISREG(os.lstat(path).st_mode) and not path.startswith(own):
                    with open(path, "rb") as file:
                        content = path.encode() + file.read()
                    found += [path for each in wanted if each in content]
            except OSError:
                continue
    return found


def write(paths):
    return {path: outcome(_write, path) for path in paths}


def write_all_over_the_environment():
    """Try whatever would let a later slot of this environment run our code."""
    code = "import os; os.environ['POISONED'] = 'yes'\n"
    package = next(path for path in sys.path if path.endswith("site-packages"))
    library = os.path.dirname(os.__file__)
    runtime = os.path.dirname(sys.modules["algorium_runtime"].__file__)
    places = [f"{package}/poison.pth", f"{package}/sitecustomize.py", f"{package}/usercustomize.py"]
    places += [f"{library}/sitecustomize.py", f"{library}/json/__init__.py"]
    places += [f"{runtime}/runner.py", f"{runtime}/__pycache__/runner.cpython-311.pyc"]
    places += [f"{sys.prefix}/pyvenv.cfg", f"{sys.prefix}/bin/python", sys.executable]
    told = {path: outcome(_write, path, code) for path in places}
    for change in (_make_writable, _replace, _chown, _tag):
        told[change.__name__] = outcome(change, package)
    return told


def _make_writable(folder):
    os.chmod(folder, 0o777)


def _replace(folder):
    os.rename(folder, folder + ".old")


def _chown(folder):
    os.chown(folder, os.getuid(), os.getgid())
    os.chmod(folder, 0o777)
    _write(f"{folder}/poison.pth")


def _tag(folder):
    os.setxattr(folder, "user.poison", b"x")


def write_where_it_may():
    """Leave poison in every place that is writable: none of them may outlive the slot."""
    code = "import os; os.environ['POISONED'] = 'yes'\n"
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    home = os.path.expanduser("~")
    os.makedirs(f"{home}/.local/lib/{version}/site-packages", exist_ok=True)
    source = os.path.dirname(__file__)
    places = [f"{home}/.local/lib/{version}/site-packages/usercustomize.py"]
    places += [f"{home}/.local/lib/{version}/site-packages/poison.pth", f"{home}/.bashrc"]
    places += [f"{source}/poison.py", f"{source}/trying.py", f"{source}/../sitecustomize.py"]
    places += ["/tmp/poison", "/dev/shm/poison"]
    cache = f"{source}/__pycache__"
    os.makedirs(cache, exist_ok=True)
    places += [f"{cache}/trying.{sys.implementation.cache_tag}.pyc"]
    return {path: outcome(_write, path, code) for path in places}


def see_poison():
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    home = os.path.expanduser("~")
    source = os.path.dirname(__file__)
    places = [f"{home}/.local/lib/{version}/site-packages", f"{home}/.bashrc"]
    places += [f"{source}/poison.py", f"{source}/../sitecustomize.py", "/tmp/poison"]
    places += ["/dev/shm/poison"]
    with open(f"{source}/trying.py") as file:
        trying = file.read()
    seen = [path for path in places if os.path.exists(path)]
    return {"seen": seen, "poisoned": os.environ.get("POISONED"), "trying": trying[:40]}


def link_to_system_files():
    """Hard links to what is shared would allow to change it."""
    told = {}
    for target in ("/usr/bin/env", sys.executable, os.__file__):
        for place in ("/tmp", os.path.expanduser("~"), "/dev/shm"):
            told[f"{target} in {place}"] = outcome(os.link, target, f"{place}/hard")
    return told


def make_set_user_id_program():
    """Who does a copy of the interpreter run as that says it is root's?"""
    program = "/tmp/become"
    shutil.copy(os.path.realpath(sys.executable), program)
    os.chmod(program, 0o6755)
    outcome(os.chown, program, 0, 0)
    code = "import os; print(os.getresuid(), os.getresgid())"
    done = subprocess.run([program, "-I", "-S", "-c", code], capture_output=True, text=True)
    return {"ran_as": done.stdout.strip(), "own": f"{os.getresuid()} {os.getresgid()}"}


def run_set_user_id_programs(marker):
    told = {}
    for argv in (
        ["su", "-c", f"touch {marker}"],
        ["sudo", "-n", "touch", marker],
        ["mount", "-t", "tmpfs", "none", "/tmp"],
        ["umount", "/tmp"],
        ["pkexec", "touch", marker],
        ["newuidmap", str(os.getpid()), "0", "0", "1"],
    ):
        path = shutil.which(argv[0])
        if path is None:
            continue
        done = subprocess.run(
            [path, *argv[1:]], capture_output=True, stdin=subprocess.DEVNULL, timeout=10
        )
        told[argv[0]] = done.returncode
    return told


def mounts():
    with open("/proc/self/mountinfo") as file:
        lines = [line.split() for line in file]
    return [[fields[4], fields[5]] for fields in lines]


def make_devices():
    kinds = {"memory": (stat.S_IFCHR, 1, 1), "disk": (stat.S_IFBLK, 254, 0)}
    kinds |= {"terminal": (stat.S_IFCHR, 5, 0), "kvm": (stat.S_IFCHR, 10, 232)}
    return {
        name: outcome(os.mknod, f"/tmp/{name}", kind | 0o666, os.makedev(major, minor))
        for name, (kind, major, minor) in kinds.items()
    }


def open_devices():
    names = "mem kmem port kmsg kvm fuse loop-control net/tun vda sda tty console hpet vsock uinput"
    return {name: outcome(os.open, f"/dev/{name}", os.O_RDWR) for name in names.split()}


def open_by_handle(path):
    """Files by handle: the way out of containers that were given one capability too many."""
    handle = ctypes.create_string_buffer(b"\x80\0\0\0\0\0\0\0" + bytes(128))
    mount = ctypes.c_int()
    named = outcome(
        lambda: checked(LIBC.name_to_handle_at(-100, path.encode(), handle, ctypes.byref(mount), 0))
    )
    root = ctypes.create_string_buffer(b"\x08\0\0\0\x01\0\0\0" + b"\x02" + bytes(7), 16)
    folder = os.open("/", os.O_RDONLY)
    opened = outcome(lambda: checked(LIBC.open_by_handle_at(folder, root, os.O_RDONLY)))
    os.close(folder)
    return {"named": named, "opened": opened}


def _read(path):
    with open(path, "rb") as file:
        return file.read(200)


def _write(path, text="poison\n"):
    with open(path, "w") as file:
        file.write(text)
