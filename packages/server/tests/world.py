"""
A world around a host, made of network namespaces: run as a program, prints what happened in it.

    the host    198.51.100.2, 2001:db8:1::2, 10.77.0.1; services on every address
       |
    the world   public and private servers, the metadata service of a cloud, name servers

The program unshares its network, so that "the host" is itself; nothing outside is touched. What it
is to do it reads from standard input, see `main`.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from nursery import LIMITS, Nursery
from sandboxes import (
    MIB,
    PYTHON,
    processes_with,
    python,
    read_all,
    read_line,
    started_at,
    wait_until,
)

from algorium_runtime import confine, namespaces
from algorium_server.domain.errors import Unavailable
from algorium_server.engine import nat
from algorium_server.engine.host import SandboxHost
from algorium_server.engine.sandbox import Mechanism

HOST, HOST_6, HOST_PRIVATE = "198.51.100.2", "2001:db8:1::2", "10.77.0.1"
GATEWAY, GATEWAY_6 = "198.51.100.1", "2001:db8:1::1"
PUBLIC, PUBLIC_6 = "203.0.113.80", "2001:db8:2::80"
RESOLVER = "10.88.0.53"
PRIVATE = ("10.88.0.5", "172.16.9.9", "192.168.7.7", "100.64.1.1", "192.0.0.192", "198.18.1.1")
PRIVATE_6 = ("fd12::1", "fec0::1", "64:ff9b::a58:5", "64:ff9b:1::5", "2002:a58:5::1", "2001::5")
METADATA = ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254")
EVERYWHERE = (PUBLIC, PUBLIC_6, *PRIVATE, *PRIVATE_6, *METADATA)
LATE = "203.0.113.9"
"""The host gets it while a sandbox runs."""
NAMES = {"public.test": PUBLIC, "private.test": PRIVATE[0], "metadata.test": METADATA[0]}
PORT, UDP_PORT, HOST_PORT = 80, 7777, 8001
ATTEMPTS = Path(__file__).parent / "engine" / "network_attempts.py"


def main() -> None:
    """
    Read a JSON object and print what happened.

    Its members: `mechanism`; `state_dir`; `ordinary`, whether to be no root; `allowed`; `story`,
    the name of what to do; `server`, the command of the whole product where it is about that.
    """
    wanted = json.load(sys.stdin)
    enter_own_world()
    with contextlib.ExitStack() as stack:
        build(stack)
        if wanted["ordinary"]:
            become_ordinary()
        told = product(wanted) if wanted["story"] == "product" else asyncio.run(play(wanted))
        print(json.dumps(told), flush=True)


def enter_own_world() -> None:
    kinds = namespaces.NEW_NET | namespaces.NEW_MOUNT
    if os.geteuid() == 0:
        namespaces.unshare(kinds)
    else:
        become(0, kinds)
    namespaces.mount("none", "/", "", 16384 | 1 << 18)  # recursive, private


def become_ordinary() -> None:
    """Be somebody without any privilege over this network, who owns the same files."""
    become(1000, 0)


def become(number: int, kinds: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    namespaces.unshare(kinds | namespaces.NEW_USER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{number} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{number} {gid} 1")


def build(stack: contextlib.ExitStack) -> None:
    resolver = Path(os.environ["TMPDIR"], "resolv.conf")
    resolver.write_text(f"nameserver {RESOLVER}\n")
    namespaces.mount(str(resolver), os.path.realpath("/etc/resolv.conf"), "", 4096)
    ready, told = os.pipe()
    world = fork(stack, lambda: be_the_world(told))
    os.read(ready, 1)  # it has a network of its own now
    ip("link set lo up", "link add up0 type veth peer name up1", f"link set up1 netns {world}")
    ip(f"addr add {HOST}/24 dev up0", f"addr add {HOST_PRIVATE}/24 dev lo", "link set up0 up")
    ip(f"addr add {HOST_6}/64 dev up0 nodad", f"route add default via {GATEWAY}")
    ip(f"-6 route add default via {GATEWAY_6} dev up0")
    fork(stack, lambda: be_the_host(told))
    for _ in range(2):
        os.read(ready, 1)


def fork(stack: contextlib.ExitStack, run: Callable[[], None]) -> int:
    """Run something in a process of its own; threads would forbid to become somebody else."""
    pid = os.fork()
    if pid:
        stack.callback(os.kill, pid, signal.SIGKILL)
        return pid
    confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        run()
        signal.pause()
    finally:
        os._exit(1)


def be_the_host(told: int) -> None:
    serve(HOST_PORT)
    os.write(told, b".")


def be_the_world(told: int) -> None:
    namespaces.unshare(namespaces.NEW_NET)
    os.write(told, b".")
    wait_until(lambda: "up1" in Path("/proc/self/net/dev").read_text(), timeout_s=30)
    ip("link set lo up", f"addr add {GATEWAY}/24 dev up1", "link set up1 up")
    ip(f"addr add {GATEWAY_6}/64 dev up1 nodad")
    for address in (*EVERYWHERE, RESOLVER, LATE):
        ip(f"addr add {address} dev lo{' nodad' if ':' in address else ''}")
    serve(PORT)
    for address in EVERYWHERE:
        echo(address, UDP_PORT)
    resolve()
    os.write(told, b".")


def ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


def serve(port: int) -> None:
    """Answer every connection on every address."""
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)

    def answer() -> None:
        while True:
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):
                client.settimeout(5)
                client.recv(1000)  # else the end of the connection looks like a failure
                client.sendall(b"HTTP/1.0 200 OK\r\n\r\n")

    threading.Thread(target=answer, daemon=True).start()


def echo(address: str, port: int) -> None:
    """Send datagrams back from the address they were sent to."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.bind((address, port))

    def answer() -> None:
        while True:
            data, sender = server.recvfrom(2000)
            with contextlib.suppress(OSError):
                server.sendto(data, sender)

    threading.Thread(target=answer, daemon=True).start()


def resolve() -> None:
    """Be the name server, with UDP only."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((RESOLVER, 53))

    def answer() -> None:
        while True:
            query, sender = server.recvfrom(2000)
            end = query.index(b"\0", 12)
            name = b".".join(labels(query[12:end])).decode()
            (kind,) = struct.unpack_from(">H", query, end + 1)
            found = NAMES.get(name) if kind == 1 else None
            code = 0x8180 if name in NAMES else 0x8183
            head = query[:2] + struct.pack(">HHHHH", code, 1, int(bool(found)), 0, 0)
            record = struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(found or "0.0")
            server.sendto(head + query[12 : end + 5] + (record if found else b""), sender)

    threading.Thread(target=answer, daemon=True).start()


def labels(data: bytes) -> list[bytes]:
    return [data[1 : data[0] + 1], *labels(data[data[0] + 1 :])] if data else []


async def play(wanted: dict) -> dict:
    mechanism = Mechanism(wanted["mechanism"])
    state_dir = Path(wanted["state_dir"])
    host = await SandboxHost.start(
        "auto",
        state_dir,
        mechanisms=[mechanism],
        allowed=wanted["allowed"],
        zygotes=LIMITS if wanted["story"] == "forked" else None,
    )
    told = {
        "level": host.report.level,
        "network": host.report.network,
        "lacking": host.report.without_network and host.report.without_network.why,
        "remedy": host.report.remedy,
    }
    try:
        if host.report.network:
            told |= await STORIES[wanted["story"]](host, state_dir)
    finally:
        await host.close()
    told["left"] = translations() + processes_with(str(state_dir))
    return told


def translations() -> list[int]:
    """Find the processes that translate, by the directory that only we start them from."""
    return [pid for tool in nat.TOOLS for pid in processes_with(f"{programs()}/{tool}")]


def programs() -> str:
    return os.environ["PATH"].split(":")[0]


def attempts(network: str, addresses, names=(), others=()):
    wanted = {"addresses": [*addresses], "names": [*names], "others": [*others]}
    device = "up0" if network == "host" else "tap0"
    wanted |= {"port": PORT, "udp_port": UDP_PORT, "device": device}
    argv = (PYTHON, "-I", "-c", ATTEMPTS.read_text(), json.dumps(wanted))
    return replace(python("", network=network, has_listener=True), argv=argv)


async def output_of(host: SandboxHost, spec):
    process = await host.spawn(spec)
    try:
        texts = await asyncio.gather(read_all(process.stdout_fd), read_all(process.stderr_fd))
        status = await process.exited
        assert status.code == 0, (status, texts[1].decode())
        return json.loads(texts[0])
    finally:
        await process.kill(0)
        process.close()


OWN = [(HOST, HOST_PORT), (HOST_6, HOST_PORT), (HOST_PRIVATE, HOST_PORT), (LATE, PORT)]
LOOPBACK = [("127.0.0.1", HOST_PORT), ("127.7.7.7", HOST_PORT), ("::1", HOST_PORT)]
INNER = [("198.18.93.2", HOST_PORT), ("0.0.0.0", HOST_PORT), ("::ffff:127.0.0.1", HOST_PORT)]


async def reach(host: SandboxHost, _state_dir: Path) -> dict:
    others = [*OWN, *LOOPBACK, *INNER]
    return {
        "host": await output_of(host, attempts("host", EVERYWHERE, NAMES, [*OWN, *LOOPBACK])),
        "full": await output_of(host, attempts("full", EVERYWHERE, NAMES, others)),
        "isolated": await output_of(host, attempts("isolated", (PUBLIC,), NAMES, others)),
    }


async def allow(host: SandboxHost, _state_dir: Path) -> dict:
    return {"full": await output_of(host, attempts("full", EVERYWHERE, (), OWN))}


WAITING = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
for kind in range(3):
    if os.fork() == 0:
        os.setsid()
        if kind == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        if kind == 2 and os.fork():
            os._exit(0)
        time.sleep(600)
print('ready', flush=True)
time.sleep(600)
"""
CONNECTING = """
print('ready', flush=True)
for line in iter(lambda: sock.recv(100), b''):
    try:
        socket.create_connection(('203.0.113.9', 80), 3).close()
        sock.sendall(b'reached')
    except OSError:
        sock.sendall(b'refused')
"""


async def late(host: SandboxHost, _state_dir: Path) -> dict:
    """The host gets an address while a sandbox runs."""
    code = "import socket; sock = socket.socket(fileno=3)\n" + CONNECTING
    process = await host.spawn(python(code, network="full", has_slot_socket=True))
    assert process.socket is not None
    await read_line(process.stdout_fd)
    loop = asyncio.get_running_loop()

    async def ask() -> str:
        await loop.sock_sendall(process.socket, b"?")
        return (await loop.sock_recv(process.socket, 100)).decode()

    told = {"before": await ask()}
    ip(f"addr add {LATE}/32 dev lo")
    deadline = time.monotonic() + 5
    while (answer := await ask()) == "reached" and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    told["after"] = answer
    await process.kill(0)
    process.close()
    return told


async def ends(host: SandboxHost, state_dir: Path) -> dict:
    """Whoever ends what, nothing stays."""
    told = {}
    for name, end in ENDS.items():
        marker = f"marker-{name}-{os.urandom(6).hex()}"
        process = await host.spawn(python(f"'{marker}'\n{WAITING}", network="full"))
        await read_line(process.stdout_fd)
        before = translations()
        began = time.monotonic()
        end(process, before, state_dir)
        status = await asyncio.wait_for(process.exited, 10)
        took_s = time.monotonic() - began
        process.close()
        deadline = time.monotonic() + 5  # after the supervisor's death the kernel takes its time
        while (left := translations() + processes_with(marker)) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        told[name] = {
            "before": len(before),
            "left": left,
            "took_s": took_s,
            "status": [status.code, status.signal],
        }
    return told


def _kill(process, _translations, _state_dir):
    process._link.send("kill", id=process._number, grace_s=0)


def _kill_with_grace(process, _translations, _state_dir):
    process._link.send("kill", id=process._number, grace_s=0.5)


def _kill_translation(_process, found, _state_dir):
    os.kill(found[0], signal.SIGKILL)


def _kill_uplink(_process, found, _state_dir):
    os.kill(parent_of(found[0]), signal.SIGKILL)


def _kill_supervisor(_process, found, _state_dir):
    os.kill(parent_of(parent_of(found[0])), signal.SIGKILL)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


ENDS = {
    "killed": _kill,
    "killed after its grace": _kill_with_grace,
    "translation killed": _kill_translation,
    "uplink killed": _kill_uplink,
    "supervisor killed": _kill_supervisor,
}


async def forked(host: SandboxHost, state_dir: Path) -> dict:
    """A zygote forks a slot with network access, and one without."""
    nursery = Nursery(asyncio.Runner(), state_dir.parent / "nursery", host)
    program = nursery.program({"ahead.py": "there = True"})
    told = {}
    for network in ("full", "isolated"):
        slot = await nursery.fork(replace(program, network=network))
        told[network] = await slot.run(attempts_within(EVERYWHERE, NAMES, [*OWN, *LOOPBACK]))
        told[f"translations {network}"] = len(translations())
        await slot.process.kill(0)
        slot.process.close()
        told[f"left {network}"] = translations()
    slots = [await nursery.fork(replace(program, network="full")) for _ in range(3)]
    told["translations"] = len(translations())
    os.kill(min(processes_with(str(state_dir)), key=started_at), signal.SIGKILL)
    for slot in slots:
        await slot.process.exited
        slot.process.close()
    wait_until(lambda: not translations(), timeout_s=30)
    return told


def attempts_within(addresses, names, others) -> str:
    """Return the attempts as code for an obedient slot."""
    argv = attempts("full", addresses, names, others).argv[-1]
    code = ATTEMPTS.read_text().replace("print(json.dumps(said))", "result = said")
    return f"import sys; sys.argv = ['-', {argv!r}]\n{code}"


async def broken(host: SandboxHost, state_dir: Path) -> dict:
    """The translation is there, but does not work any more."""
    tool = Path(programs(), host.report.network)
    tool.unlink()
    tool.write_text("#!/bin/sh\necho this tool is broken >&2\nexit 3\n")
    tool.chmod(0o755)
    try:
        await host.spawn(python("print('ran')", network="full"))
    except Unavailable as error:
        return {"message": error.message, "detail": error.detail}
    return {}


async def memory(host: SandboxHost, _state_dir: Path) -> dict:
    process = await host.spawn(python(WAITING, network="full"))
    await read_line(process.stdout_fd)
    (tool,) = translations()
    groups = Path(f"/proc/{tool}/cgroup").read_text()
    status = await process.kill(0)
    process.close()
    return {"groups": groups, "peak_bytes": status.peak_memory_bytes, "mib": MIB}


PICTURE = """
import urllib.request, socket, os

def apply(url):
    if url == "who":
        return os.environ["ALGORITHMIA_API"]
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except OSError as error:
        return f"refused: {error}"
"""


def serve_product(
    server: str, home: Path, *options: str
) -> "contextlib.AbstractContextManager[str]":
    """Start a whole server in this world and return its address."""

    @contextlib.contextmanager
    def running() -> Iterator[str]:
        command = [server, "serve", "--home", str(home), "--port", "0", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("ready "):
                    yield line.split()[1]
                    break
            process.terminate()

    return running()


def ask(api: str, key: str, name: str, url: str) -> "tuple[int, dict]":
    request = urllib.request.Request(
        f"{api}/v1/algo/net/{name}",
        data=json.dumps(url).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Simple {key}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def product(wanted: dict) -> dict:
    """A server with algorithms of both kinds: with the translation, and after it is gone."""
    place = Path(wanted["state_dir"]).parent
    examples = place / "examples"
    catalog = ""
    for name, network in (("Full", "full"), ("Isolated", "isolated")):
        source = examples / name / "src"
        source.mkdir(parents=True)
        (source / "__init__.py").touch()
        (source / f"{name}.py").write_text(PICTURE)
        (examples / name / "requirements.txt").touch()
        (examples / name / "algorithmia.conf").write_text(json.dumps({"algoname": name}))
        catalog += (
            f'[[algorithm]]\nowner = "net"\nname = "{name}"\nnetwork_access = "{network}"\n'
            'tagline = ""\nsummary = ""\nlicense = "apache2"\n[[algorithm.version]]\n'
            f'version = "1.0.0"\nsource = "{name}"\nrelease_notes = ""\nsample_input = ""\n'
            'sample_output = ""\n'
        )
    (examples / "catalog.toml").write_text(catalog)
    options = ["--demo", "--examples-dir", str(examples), "--network-allow", "172.16.0.0/12"]
    home = place / "home"
    told = {}
    with serve_product(wanted["server"], home, *options) as api:
        key = json.loads((home / "credentials.json").read_text())["api_key"]
        for name in ("Full", "Isolated"):
            for url in ("http://public.test/", f"http://{PRIVATE[0]}/", f"http://{PRIVATE[1]}/"):
                told[f"{name} {url}"] = ask(api, key, name, url)
        told["ready"] = json.load(urllib.request.urlopen(f"{api}/readyz"))["sandbox"]
        told["translations"] = len(translations())
    told["left"] = translations() + processes_with(str(home))
    for tool in nat.TOOLS:
        Path(programs(), tool).unlink(missing_ok=True)
    with serve_product(wanted["server"], home, *options) as api:
        told["Full without"] = ask(api, key, "Full", "http://public.test/")
        told["Isolated without"] = ask(api, key, "Isolated", "who")
    return told


STORIES = {
    "forked": forked,
    "reach": reach,
    "allow": allow,
    "late": late,
    "ends": ends,
    "broken": broken,
    "memory": memory,
}

if __name__ == "__main__":
    main()
