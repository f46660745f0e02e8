"""
What this host offers for sandboxes, and what to do about what it does not offer.

Nothing is concluded from version numbers: `host.py` tries each mechanism with a real sandbox,
and this module only says which are worth a try, and explains a failure.
"""

import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from algorium_server.engine.sandbox import (
    LANDLOCK_ABI_WITH_RENAMES,
    LANDLOCK_ABI_WITH_SCOPES,
    LANDLOCK_ABI_WITH_TCP,
    HostLayout,
    Level,
    Mechanism,
)

Wanted = Literal["auto", "full", "reduced", "none"]

CANDIDATES: Final[dict[Wanted, tuple[Mechanism, ...]]] = {
    "auto": (Mechanism.BUBBLEWRAP, Mechanism.LAUNCHER, Mechanism.LANDLOCK),
    "full": (Mechanism.BUBBLEWRAP, Mechanism.LAUNCHER),
    "reduced": (Mechanism.LANDLOCK,),
    "none": (Mechanism.PLAIN,),
}
"""Strongest first."""

UNPROTECTED: Final = {
    Level.FULL: (),
    Level.REDUCED: (
        "names, sizes and dates of the host's files can be seen, their contents cannot",
        "system programs, libraries and public files of /etc are the host's",
        "the host's name, users, uptime and load can be read",
        "process ids of the host can be seen, commands and environments cannot",
        "the platform's API listens on the host's loopback device, at an address that other"
        " processes cannot guess but could be told",
        "on one TCP port number, which it cannot choose, a program can reach other machines too",
        "scratch space lies on the host's disk and is limited by looking every two seconds",
        "programs find neither /tmp nor /opt/algorithm, only TMPDIR and their working directory;"
        " /dev/shm is closed, so they have no named locks",
        "setting modes, owners and times of files has no effect",
        "programs cannot open sockets with a path, nor read /proc of their child processes",
    ),
    Level.NONE: ("everything: the program can do whatever the server's user can",),
}
"""What each level leaves open or takes away; the documentation says the same."""

NEEDED_VERSIONS: Final = {
    LANDLOCK_ABI_WITH_RENAMES: "files cannot be moved between directories, only copied",
    LANDLOCK_ABI_WITH_TCP: "programs have no network at all, so no platform API either",
    LANDLOCK_ABI_WITH_SCOPES: "programs cannot send signals",
}
"""What an older Landlock costs at level reduced: what it cannot rule is refused altogether."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Something that would make this host's sandboxes stronger, and how to get it."""

    what: str
    why: str
    remedy: str

    @property
    def advice(self) -> str:
        """What to do, as a sentence."""
        return f"{self.remedy[0].upper()}{self.remedy[1:]}."


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """
    What sandboxes are on this host.

    Attributes:
        level: None when no sandbox can be made.
        mechanism: How it is reached.
        fences: What holds foreign code back.
        limits: Who keeps the limits of memory and processes.
        network: What connects programs that ask for it to the network; empty when nothing does.
        without_network: Why not, then.
        unprotected: What this level leaves open or takes away, in plain sentences.
        missing: What would help.
    """

    level: Level | None
    mechanism: Mechanism | None
    fences: tuple[str, ...] = ()
    limits: str = ""
    network: str = ""
    without_network: Missing | None = None
    unprotected: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return a form for JSON."""
        return asdict(self)

    @property
    def remedy(self) -> str:
        """One sentence per thing to do."""
        return " ".join(f"{each.what}: {each.why}; {each.remedy}." for each in self.missing)


NOT_LINUX: Final = Missing(
    what="Linux",
    why=f"sandboxes are made with the Linux kernel, this is {sys.platform}",
    remedy="run the server in a Linux machine or container",
)
NO_FILTERS: Final = Missing(
    what="libseccomp",
    why="system calls cannot be filtered without it",
    remedy="install it (apt-get install libseccomp2, or dnf install libseccomp)",
)
NO_BUBBLEWRAP: Final = Missing(
    what="bubblewrap",
    why="the sandbox program is not installed, the built-in launcher serves instead",
    remedy="install it (apt-get install bubblewrap, or dnf install bubblewrap)",
)
NO_LANDLOCK: Final = Missing(
    what="Landlock",
    why="this kernel does not offer it",
    remedy="use Linux 5.13 or newer with landlock in the lsm= boot parameter",
)
NO_CGROUPS: Final = Missing(
    what="control groups",
    why="the server may not make any, so memory and processes are watched, less exactly",
    remedy="run it as a service with Delegate=yes, or as root",
)

NO_TRANSLATION: Final = Missing(
    what="network access",
    why="no program that translates network addresses is installed",
    remedy="install slirp4netns (apt-get install slirp4netns, or dnf install slirp4netns)"
    " or pasta (apt-get install passt, or dnf install passt)",
)
SHARED_NETWORK: Final = Missing(
    what="network access",
    why="it takes sandboxes of level full, with a network of their own",
    remedy="see what level full takes",
)
NOT_CONNECTED: Final = Missing(
    what="network access", why="nobody asked for it", remedy="start the server"
)
"""For whoever starts sandboxes that need none."""


_CHATTER: Final = ("WARNING:", "Starting slirp", "* ", "sent tapfd", "received tapfd")


def explain_network(tool: str, reason: str) -> Missing:
    """Say why a program that was tried connects no sandbox here, and what would change that."""
    remedy = "see the server's log"
    _, _, told = reason.rpartition("no way to the network: ")
    lines = (line.strip() for line in told.splitlines())
    told = "; ".join(line for line in lines if line and not line.startswith(_CHATTER))
    if "/tun" in reason:
        remedy = (
            "let the server open /dev/net/tun (modprobe tun; chmod 666 /dev/net/tun); start a"
            " container with --device /dev/net/tun"
        )
    elif "packet filter" in reason:
        remedy = "let the kernel filter packets (modprobe nf_tables nft_reject_inet)"
    return Missing(what=f"network access ({tool})", why=told, remedy=remedy)


def is_supported() -> bool:
    """Whether this is an operating system that sandboxes can be made on."""
    return sys.platform == "linux"


def find_bubblewrap() -> str:
    """Return the path of bubblewrap, or nothing."""
    return shutil.which("bwrap") or ""


def explain(mechanism: Mechanism, reason: str) -> Missing:
    """Say why a mechanism that was tried does not work here, and what would change that."""
    what = "user namespaces" if mechanism.has_own_root else mechanism.value
    return Missing(what=f"{what} ({mechanism.value})", why=reason, remedy=_remedy(mechanism))


_SWITCHES: Final = (
    ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"),
    ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)


def _remedy(mechanism: Mechanism) -> str:
    if mechanism.has_own_root:
        for path, forbidding, command in _SWITCHES:
            with suppress(OSError):
                if Path("/proc/sys", path).read_text().strip() == forbidding:
                    return f"allow user namespaces: {command}"
        return (
            "allow user namespaces; in a container, start it with --security-opt seccomp=unconfined"
        )
    return "see the server's log"


def report(
    mechanism: Mechanism | None,
    layout: HostLayout,
    *,
    cgroups: list[Any] | None,
    missing: Iterable[Missing],
    translation: str = "",
    without_network: Missing | None = NOT_CONNECTED,
) -> HostReport:
    """Describe sandboxes made by *mechanism*."""
    absent = list(missing)
    if mechanism is None:
        return HostReport(
            level=None, mechanism=None, without_network=without_network, missing=tuple(absent)
        )
    if not layout.landlock_abi and NO_LANDLOCK not in absent:
        absent.append(NO_LANDLOCK)
    if not cgroups:
        absent.append(NO_CGROUPS)
    if without_network not in {None, NOT_CONNECTED}:
        absent.append(without_network)
    unprotected = list(UNPROTECTED[mechanism.level])
    if mechanism is Mechanism.LANDLOCK:
        unprotected += (
            text for version, text in NEEDED_VERSIONS.items() if layout.landlock_abi < version
        )
    return HostReport(
        level=mechanism.level,
        mechanism=mechanism,
        fences=_fences(mechanism, layout),
        limits=f"control groups version {cgroups[0]}: {', '.join(cgroups[1:])}"
        if cgroups
        else "watched by the server",
        network=translation,
        without_network=without_network,
        unprotected=tuple(unprotected),
        missing=tuple(absent),
    )


def _fences(mechanism: Mechanism, layout: HostLayout) -> tuple[str, ...]:
    if mechanism is Mechanism.PLAIN:
        return ()
    namespaces = ("namespaces",) if mechanism.has_own_root else ()
    landlock = (f"landlock {layout.landlock_abi}",) if layout.landlock_abi else ()
    return (*namespaces, *landlock, "seccomp", "no capabilities")
