"""
The programs that connect a network namespace to the network without any privilege.

They pretend to be the other end of a cable: what is sent inside, they send again through ordinary
sockets of this host, as if they had thought of it themselves.

    slirp4netns   preferred: the same options everywhere, its name server speaks UDP and TCP
    pasta         (package passt) also carries IP version 6 where this host has it

Neither can tell public from private addresses; that is `firewall.py`'s part. No port of this host
leads inside, and this host's loopback device is not handed in.

Source: slirp4netns(1); pasta(1).
"""

import ipaddress
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

DEVICE: Final = "tap0"
NAME_SERVER: Final = ipaddress.IPv4Address("198.18.93.3")
"""Of a network for measurements, which nobody uses for services: it is in nobody's way."""
_NETWORK: Final = "198.18.93.0/24"
_ADDRESS, _ADDRESS_6 = "198.18.93.100", "fd0a:1607:93::100"
_GATEWAY, _GATEWAY_6 = "198.18.93.2", "fd0a:1607:93::2"
_LARGE_PACKETS: Final = "65520"
"""There is no cable that could not take them."""

Tool = Literal["slirp4netns", "pasta"]
TOOLS: Final[tuple[Tool, ...]] = ("slirp4netns", "pasta")
"""Best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nat:
    """
    How sandboxes get to the network on this host.

    Attributes:
        tool: Which program.
        path: Where it is.
        allowed: Networks that may be reached beside the public ones, as text.
    """

    tool: Tool
    path: str
    allowed: tuple[str, ...] = ()

    @property
    def tells_by_output(self) -> bool:
        """
        Whether it must find `Target.ready_fd` as its standard output.

        Newer versions of pasta close all descriptors but the first three.
        """
        return self.tool == "pasta"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """
    What to connect, and who asks.

    Attributes:
        pid: A process in the network namespace and the user namespace that owns it.
        ready_fd: Is told when they are connected.
        is_root: Whether we are root.
        versions: Of IP, that this host has a way out for.
    """

    pid: int
    ready_fd: int
    is_root: bool
    versions: Collection[int]


def installed(allowed: Sequence[str]) -> Iterator[Nat]:
    """Yield what is installed, best first; *allowed* goes into each."""
    for tool in TOOLS:
        if path := shutil.which(tool):
            yield Nat(tool=tool, path=path, allowed=tuple(allowed))


def command(nat: Nat, target: Target, *, has_root: bool) -> list[str]:
    """
    Return the command line that connects *target* and stays as long as it is connected.

    Args:
        nat: With what.
        target: What.
        has_root: Whether the user namespace that owns the network knows a user 0.
    """
    if nat.tool == "slirp4netns":
        return _slirp4netns(nat, target, has_root=has_root)
    return _pasta(nat, target)


def _slirp4netns(nat: Nat, target: Target, *, has_root: bool) -> list[str]:
    argv = [nat.path, "--configure", f"--cidr={_NETWORK}", f"--mtu={_LARGE_PACKETS}"]
    argv += ["--disable-host-loopback", "--enable-seccomp", f"--ready-fd={target.ready_fd}"]
    if target.is_root or has_root:
        argv += ["--enable-sandbox"]  # becomes user 0 there for it
    return [*argv, f"{target.pid}", DEVICE]


def _pasta(nat: Nat, target: Target) -> list[str]:
    argv = [nat.path, "--foreground", "--quiet", "--config-net", "--ns-ifname", DEVICE]
    argv += ["--no-map-gw", "--dns-forward", f"{NAME_SERVER}"]
    argv += ["--pid", "/proc/self/fd/1"]  # written when all is done
    for ports in ("--tcp-ports", "--udp-ports", "--tcp-ns", "--udp-ns"):
        argv += [ports, "none"]
    if 4 in target.versions:
        argv += ["--address", _ADDRESS, "--netmask", "24", "--gateway", _GATEWAY]
    if 6 in target.versions:
        argv += ["--address", _ADDRESS_6, "--gateway", _GATEWAY_6]
    if len(target.versions) == 1:
        argv += [f"--ipv{next(iter(target.versions))}-only"]
    if target.is_root:
        argv += ["--runas", "0"]  # nobody else may enter namespaces of ours
    return [*argv, f"{target.pid}"]
