"""
Object stores for tests: servers of others, started on free ports, with data in a directory.

| peer    | what it is                                                                       |
|---------|----------------------------------------------------------------------------------|
| `s3`    | Versity's S3 gateway over a directory: a server that people run                    |
| `gs`    | `fake-gcs-server`: an emulator; the real thing cannot be had elsewhere             |
| `azure` | Azurite: the emulator by the makers of the real thing                              |

`sh scripts/peers.sh` brings them into `.make/peers`; without them tests are skipped by name.
They die with the process that started them.
"""

import base64
import contextlib
import datetime
import hashlib
import hmac
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from gs_front import HOST, running_front

PEERS = Path(__file__).parents[3] / ".make" / "peers"
HOW_TO_GET = "sh scripts/peers.sh brings it"

ACCESS_KEY, SECRET_KEY = "AKIDALGORIUMTESTS", "wJalrXUtnFEMI-K7MDENG+bPxRfiCYEXAMPLEKEY"
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = base64.b64encode(hashlib.sha512(b"only for tests").digest()).decode()
"""Azurite is started with this one: its own, which everybody knows, would tell no leak."""

_START_TIMEOUT_S = 60.0
_PARENT_DEATH = (
    "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,9);os.execvp(sys.argv[1],sys.argv[1:])"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """
    A running store.

    Attributes:
        endpoint: Its address.
        credentials: What a connector for it is created with.
        options: The same.
        secrets: What must never be seen anywhere.
        directory: Where its data are.
        drive: What a fake of ours holds.
    """

    endpoint: str
    cred_type: str
    credentials: dict[str, str]
    options: dict[str, object]
    secrets: tuple[str, ...]
    directory: Path
    drive: Any = None


def binary(name: str) -> Path:
    """Return the command of a peer; the test is skipped where there is none."""
    places = (PEERS / "bin" / name, PEERS / "npm" / "node_modules" / ".bin" / name)
    for place in places:
        if place.exists():
            return place
    pytest.skip(f"no {name} here; {HOW_TO_GET}")


@contextlib.contextmanager
def running_s3(
    directory: Path, *, buckets: Sequence[str] = ("bucket",), certificate: Path | None = None
) -> Iterator[Peer]:
    """Run an S3 server; a bucket is a directory. With a certificate, over TLS."""
    program = binary("versitygw")
    for bucket in buckets:
        (directory / "data" / bucket).mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [str(program), "--port", f"127.0.0.1:{port}", "--quiet"]
    if certificate is not None:
        command += ["--cert", str(certificate), "--key", str(certificate)]
    # Without side files it keeps what it knows in extended attributes, which not every disk has.
    (directory / "side").mkdir()
    command += ["posix", "--sidecar", str(directory / "side"), str(directory / "data")]
    env = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
    scheme = "http" if certificate is None else "https"
    options: dict[str, object] = {"endpoint": f"{scheme}://127.0.0.1:{port}"}
    if certificate is None:
        options["allow_http"] = True
    with running_command(command, port, env=env):
        yield Peer(
            endpoint=f"{scheme}://127.0.0.1:{port}",
            cred_type="iam",
            credentials={"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY},
            options=options,
            secrets=(ACCESS_KEY, SECRET_KEY),
            directory=directory / "data",
        )


@contextlib.contextmanager
def running_gs(directory: Path, *, buckets: Sequence[str] = ("bucket",)) -> Iterator[Peer]:
    """Run the emulator of Google's storage."""
    program = binary("fake-gcs-server")
    for bucket in buckets:
        (directory / "data" / bucket).mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "memory", "-data", str(directory / "data"), "-log-level", "error"]
    command += ["-public-host", HOST]
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    with running_command(command, port), running_front(port) as address:
        yield Peer(
            endpoint=address,
            cred_type="serviceaccount",
            credentials={
                "email": "tests@algorium.iam.gserviceaccount.com",
                "private_key_id": "0123456789abcdef",
                "private_key": pem,
            },
            options={"endpoint": address, "allow_http": True},
            secrets=(pem, pem.splitlines()[1]),
            directory=directory / "data",
        )


@contextlib.contextmanager
def running_azure(directory: Path, *, container: str = "container") -> Iterator[Peer]:
    """Run the emulator of Azure's storage."""
    program = binary("azurite-blob")
    port = free_port()
    command = [str(program), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent"]
    command += [
        "--location",
        str(directory / "data"),
        "--disableTelemetry",
        "--inMemoryPersistence",
    ]
    command += ["--extentMemoryLimit", "512"]
    del command[command.index("--location") : command.index("--location") + 2]
    address = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
    with running_command(command, port, env={"AZURITE_ACCOUNTS": f"{AZURE_ACCOUNT}:{AZURE_KEY}"}):
        _create_container(address, container)
        sas = azure_sas(container)
        yield Peer(
            endpoint=address,
            cred_type="sas",
            credentials={
                "storage_uri": address,
                "sas_token": sas,
                "container_name": container,
            },
            options={"allow_http": True},
            secrets=(sas, sas.rpartition("sig=")[2]),
            directory=directory,
        )


def azure_sas(container: str, *, rights: str = "racwdl") -> str:
    """Return a shared access signature for a container, as a portal would make it."""
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    fields = {"sp": rights, "se": f"{ends:%Y-%m-%dT%H:%M:%SZ}", "sv": "2021-12-02", "sr": "c"}
    signed = "\n".join(
        (
            *(fields["sp"], "", fields["se"], f"/blob/{AZURE_ACCOUNT}/{container}"),
            *("", "", "", fields["sv"], fields["sr"], "", "", "", "", "", "", ""),
        )
    )
    signature = hmac.new(base64.b64decode(AZURE_KEY), signed.encode(), hashlib.sha256).digest()
    fields["sig"] = base64.b64encode(signature).decode()
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())


def make_certificate(path: Path) -> str:
    """Write key and certificate for this machine; return the certificate of their authority."""
    now = datetime.datetime.now(datetime.UTC)
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
        for text in ("authority of Algorium's tests", "localhost")
    ]

    def begun(subject: x509.Name, owner: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .issuer_name(names[0])
            .subject_name(subject)
            .public_key(owner.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificates = (
        begun(names[0], authority).add_extension(x509.BasicConstraints(True, 0), critical=True),
        begun(names[1], key).add_extension(x509.SubjectAlternativeName(hosts), critical=False),
    )
    root, leaf = (
        each.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        for each in certificates
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_text(leaf + secret.decode())
    return root


def free_port() -> int:
    """Return a port that nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def running_command(
    command: Sequence[str], port: int, *, env: dict[str, str] | None = None
) -> Iterator[None]:
    """Run a command that dies with us; enter once it answers on *port*."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PARENT_DEATH, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )
    try:
        _await_answer(process, port)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _await_answer(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                said = process.stdout.read().decode() if process.stdout else ""
                raise AssertionError(f"a peer did not start: {said[-2000:]}") from None
            time.sleep(0.05)
        else:
            return


def _create_container(address: str, container: str) -> None:
    # Signed with the account's key: a signature for one container may not create it.
    now = datetime.datetime.now(datetime.UTC)
    moment = f"{now:%a, %d %b %Y %H:%M:%S} GMT"
    headers = {"x-ms-date": moment, "x-ms-version": "2021-12-02"}
    canonical = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    resource = f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{container}\nrestype:container"
    text = "PUT\n" + "\n" * 11 + canonical + resource
    digest = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()
    headers["authorization"] = f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}"
    request = urllib.request.Request(
        f"{address}/{container}?restype=container", method="PUT", headers=headers
    )
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from None
