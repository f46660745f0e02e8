"""What lies outside of the slots and must stay as it is: things of the host, and who came by."""

import contextlib
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Host:
    """
    Things of this host that no algorithm may reach.

    Attributes:
        marker: Text in the content, name or environment of all of them.
        folder: A directory that everybody may read, with the file `canary` in it.
        sleeper: A process.
        addresses: Where `tcp` and `udp` listen, one for each address of this host.
        tcp: Listens on all addresses.
        udp: The same.
        abstract: A socket without a place in the file system; its name is the marker.
        by_path: A socket in the folder that everybody may write to.
    """

    marker: str
    folder: Path
    sleeper: int
    addresses: list[list[str | int]]
    tcp: socket.socket
    udp: socket.socket
    abstract: socket.socket
    by_path: socket.socket

    @property
    def canary(self) -> Path:
        """The file that everybody may read and write, if they get there."""
        return self.folder / "canary"

    @property
    def socket_path(self) -> str:
        """Where `by_path` is."""
        return str(self.folder / "s")

    @property
    def _listeners(self) -> tuple[socket.socket, ...]:
        return self.tcp, self.udp, self.abstract, self.by_path

    def is_untouched(self) -> bool:
        """Whether nobody came by, and everything is as it was."""
        return (
            self.canary.read_text() == self.marker
            and self.canary.stat().st_mode & 0o7777 == 0o666
            and sorted(path.name for path in self.folder.iterdir()) == ["canary", "s"]
            and is_alive(self.sleeper)
            and sum(map(_has_visitor, self._listeners)) == 0  # looks at all, for the next time
        )


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that was stopped or has ended does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "T", "t", "X"}


def _has_visitor(listener: socket.socket) -> bool:
    visitors = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            if listener.type == socket.SOCK_DGRAM:
                listener.recv(10)
            else:
                listener.accept()[0].close()
            visitors += 1
    return visitors > 0


@contextlib.contextmanager
def things_of_the_host(folder: Path) -> Iterator[Host]:
    """Make them; *folder* must be short, since it holds a socket, and enterable by everybody."""
    marker = f"marker-{uuid.uuid4()}"
    folder.chmod(0o777)
    (folder / "canary").write_text(marker)
    (folder / "canary").chmod(0o666)
    sleeping = [sys.executable, "-c", "import time; time.sleep(3600)", marker]
    with contextlib.ExitStack() as stack:
        sleeper = stack.enter_context(subprocess.Popen(sleeping, env={"MARKER": marker}))
        stack.callback(sleeper.kill)
        tcp = stack.enter_context(socket.create_server(("", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("", 0))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0{marker}")
        abstract.listen()
        by_path = stack.enter_context(socket.socket(socket.AF_UNIX))
        by_path.bind(str(folder / "s"))
        (folder / "s").chmod(0o777)
        by_path.listen()
        for each in (tcp, udp, abstract, by_path):
            each.setblocking(False)
        ports = (tcp.getsockname()[1], udp.getsockname()[1])
        yield Host(
            marker=marker,
            folder=folder,
            sleeper=sleeper.pid,
            addresses=[[host, port] for host in _own_addresses() for port in ports],
            tcp=tcp,
            udp=udp,
            abstract=abstract,
            by_path=by_path,
        )


def _own_addresses() -> list[str]:
    addresses = ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0"]
    with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; says which address would be used
        addresses.append(probe.getsockname()[0])
    return addresses


def descriptors_of(pid: int) -> int:
    """Count what a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_bytes(pid: int) -> int:
    """Memory of a process that is really there."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no memory")
