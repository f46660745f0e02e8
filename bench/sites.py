"""Where benchmarks of files bring them: our server, or nginx, over plain sockets."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rig import MIB, free_port

_BUFFER = b"\xa5" * MIB

NGINX = """
daemon off;
error_log stderr error;
pid {scratch}/nginx.pid;
worker_processes auto;
events {{ worker_connections 256; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000;
    client_max_body_size 0;
    client_body_temp_path {scratch}/body;
    server {{
        listen 127.0.0.1:{port};
        root {scratch}/files;
        dav_methods PUT DELETE;
        create_full_put_path on;
    }}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """
    Where files are brought to.

    Attributes:
        prefix: Of the path of every file.
        pid: Of whoever serves it.
        headers: Sent with every request.
        flushed: Files that must be flushed before an upload counts as done.
    """

    address: tuple[str, int]
    prefix: str
    pid: int
    headers: Mapping[str, str] = field(default_factory=dict)
    flushed: Path | None = None

    def head(self, method: str, name: str, size_bytes: int) -> bytes:
        """Return the head of a request."""
        lines = [f"{method} {self.prefix}{name} HTTP/1.1", "Host: bench"]
        lines += [f"{key}: {value}" for key, value in self.headers.items()]
        if method == "PUT":
            lines.append(f"Content-Length: {size_bytes}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def connect(self) -> socket.socket:
        """Return a connection."""
        connection = socket.create_connection(self.address, timeout=120)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def put(self, connection: socket.socket, name: str, size_bytes: int) -> None:
        """Bring up one file."""
        head = self.head("PUT", name, size_bytes)
        if size_bytes <= MIB:
            connection.sendall(head + _BUFFER[:size_bytes])
        else:
            connection.sendall(head)
            for start in range(0, size_bytes, MIB):
                connection.sendall(_BUFFER[: min(MIB, size_bytes - start)])
        _take(connection)

    def get(self, connection: socket.socket, name: str, size_bytes: int) -> None:
        """Bring down one file."""
        connection.sendall(self.head("GET", name, 0))
        if _take(connection) != size_bytes:
            raise SystemExit(f"bench: {name} is not as long as it was")

    def flush(self) -> None:
        """Make what was stored durable, for those that have not done it."""
        if self.flushed is not None:
            subprocess.run(["sync", "-f", str(self.flushed)], check=True)


def _take(connection: socket.socket) -> int:
    """Read an answer; return how long its body was."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise SystemExit("bench: the connection was closed")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1][:1] != b"2":
        raise SystemExit(f"bench: an error: {data[:500]!r}")
    length = next(
        (
            int(line.partition(b":")[2])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ),
        0,
    )
    left, buffer = length - len(body), bytearray(MIB)
    while left > 0:
        left -= connection.recv_into(buffer, min(left, MIB))
    return length


@contextmanager
def nginx(scratch: Path) -> Iterator[Site | None]:
    """Run nginx, if it is there."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        yield None
        return
    for name in ("files", "body"):
        (scratch / name).mkdir(parents=True)
        (scratch / name).chmod(0o777)
    scratch.chmod(0o711)
    scratch.parent.chmod(0o711)
    port = free_port()
    configuration = scratch / "nginx.conf"
    configuration.write_text(NGINX.format(scratch=scratch, port=port), encoding="utf-8")
    process = subprocess.Popen([program, "-c", str(configuration), "-p", str(scratch)])
    try:
        site = Site(
            address=("127.0.0.1", port),
            prefix="/",
            pid=process.pid,
            flushed=scratch / "files",
        )
        for _ in range(100):
            try:
                site.connect().close()
            except OSError:
                time.sleep(0.05)
            else:
                break
        yield site
    finally:
        process.terminate()
        process.wait()
