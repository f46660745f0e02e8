"""Everything that could lead to another machine, the host, or another slot."""

import array
import ctypes
import fcntl
import os
import socket
import struct
import threading

from .trying import IS_X86_64, LIBC, checked, outcome, system_call

_SHARED_KEY = 0x41726D
_MQ_OPEN = 240 if IS_X86_64 else 180
_FAMILIES = {
    "netlink": (16, socket.SOCK_RAW, 0),
    "packet": (17, socket.SOCK_RAW, 0x0300),
    "raw icmp": (2, socket.SOCK_RAW, 1),
    "raw tcp": (2, socket.SOCK_RAW, 6),
    "vsock": (40, socket.SOCK_STREAM, 0),
    "alg": (38, socket.SOCK_SEQPACKET, 0),
    "bluetooth": (31, socket.SOCK_RAW, 1),
    "can": (29, socket.SOCK_RAW, 1),
    "key": (15, socket.SOCK_RAW, 2),
    "rds": (21, socket.SOCK_SEQPACKET, 0),
    "tipc": (30, socket.SOCK_RDM, 0),
    "xdp": (44, socket.SOCK_RAW, 0),
    "smc": (43, socket.SOCK_STREAM, 0),
    "qipcrtr": (42, socket.SOCK_DGRAM, 0),
}


def connect(addresses):
    told = {}
    for host, port in addresses:
        told[f"tcp {host}:{port}"] = outcome(_connect, host, port)
        told[f"udp {host}:{port}"] = outcome(_send, host, port)
        told[f"fast {host}:{port}"] = outcome(_send_fast, host, port)
    return told


def _connect(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(1)
        client.connect((host, port))
        return client.getpeername()


def _send(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        return client.sendto(b"hello", (host, port))


def _send_fast(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as client:
        return client.sendto(b"hello", 0x20000000, (host, port))  # MSG_FASTOPEN


def broadcast():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        targets = ("255.255.255.255", "224.0.0.251")
        return {target: outcome(client.sendto, b"hello", (target, 5353)) for target in targets}


def interfaces():
    with open("/proc/net/dev") as file:
        names = [line.split(":")[0].strip() for line in file.readlines()[2:]]
    with open("/proc/net/route") as file:
        routes = file.readlines()[1:]
    return {"names": names, "routes": routes}


def names_of_interfaces():
    """Without netlink, by ioctl alone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        buffer = array.array("B", bytes(4096))
        request = struct.pack("iL", 4096, buffer.buffer_info()[0])
        length = struct.unpack("iL", fcntl.ioctl(any_socket, 0x8912, request))[0]
        raw = buffer.tobytes()[:length]
        return [raw[at : at + 16].rstrip(b"\0").decode() for at in range(0, length, 40)]


def families():
    def open_one(family, kind, protocol):
        socket.socket(family, kind, protocol).close()

    return {name: outcome(open_one, *each) for name, each in _FAMILIES.items()}


def configure():
    """Change the network of our own namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        told = {"take lo down": outcome(fcntl.ioctl, any_socket, 0x8914, request)}
        address = struct.pack("16sHH4s8x", b"lo", 2, 0, socket.inet_aton("169.254.169.254"))
        told["take an address"] = outcome(fcntl.ioctl, any_socket, 0x8916, address)
        bind = (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
        told["bind to a device"] = outcome(any_socket.setsockopt, *bind)
        told["low port"] = outcome(any_socket.bind, ("127.0.0.1", 80))
    return told


def abstract(names):
    """Reach sockets that have a name and no place in any file system."""
    told = {}
    for name in names:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
            with socket.socket(socket.AF_UNIX, kind) as client:
                told[f"{kind} {name}"] = outcome(client.connect, f"\0{name}")
    with open("/proc/net/unix") as file:
        told["listed"] = [line.split()[-1] for line in file.readlines()[1:] if "@" in line]
    return told


def by_path(paths):
    told = {}
    for path in paths:
        with socket.socket(socket.AF_UNIX) as client:
            told[path] = outcome(client.connect, path)
    return told


def settle(marker, port):
    """Be a victim: everything by which slots of one host could meet, with a secret in it."""
    home = os.path.expanduser("~")
    for place in ("/tmp", "/dev/shm", home, os.path.dirname(__file__)):
        with open(f"{place}/{marker}", "w") as file:
            file.write(marker)
    os.environ["VICTIM"] = marker
    _memory(marker.encode())
    outcome(_queue, f"/{marker}".encode())  # refused where Landlock rules files
    for listener in (socket.create_server(("127.0.0.1", port)), _abstract_listener(marker)):
        listener.settimeout(None)
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    return {"pid": os.getpid(), "parent": os.getppid()}


_visitors = []


def visitors():
    """As the victim: who came, and what is left of the secret."""
    return {"visitors": _visitors, "memory": _memory().decode("latin-1")}


def visit(marker, port):
    """As the attacker: meet the victim by any of these ways."""
    told = connect([("127.0.0.1", port)])
    told |= abstract([marker])
    told["memory"] = _memory().decode("latin-1")
    told["queue"] = outcome(_queue, f"/{marker}".encode(), os.O_RDWR)
    told["files"] = [
        place
        for place in ("/tmp", "/dev/shm", os.path.expanduser("~"), os.path.dirname(__file__))
        if os.path.exists(f"{place}/{marker}")
    ]
    return told


def _accept(listener):
    while True:
        client, address = listener.accept()
        _visitors.append(repr(address))
        client.close()


def _abstract_listener(name):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"\0{name}")
    listener.listen()
    return listener


def _memory(content=None):
    """Read shared memory of a well-known key, or write it."""
    LIBC.shmat.restype = ctypes.c_void_p
    LIBC.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    segment = checked(LIBC.shmget(_SHARED_KEY, 4096, 0o1666))
    address = LIBC.shmat(segment, None, 0)
    if content is not None:
        ctypes.memmove(address, content + b"\0", len(content) + 1)
    return ctypes.string_at(address)


def _queue(name, flags=os.O_RDWR | os.O_CREAT):
    return os.close(system_call(_MQ_OPEN, name[1:], flags, 0o666, 0))
