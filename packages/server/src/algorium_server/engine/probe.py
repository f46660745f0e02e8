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


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """
    What sandboxes are on this host.

    Attributes:
        level: None when no sandbox can be made.
        mechanism: How it is reached.
        fences: What holds foreign code back.
        limits: Who keeps the limits of memory and processes.
        unprotected: What this level leaves open or takes away, in plain sentences.
        missing: What would help.
    """

    level: Level | None
    mechanism: Mechanism | None
    fences: tuple[str, ...] = ()
    limits: str = ""
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
) -> HostReport:
    """Describe sandboxes made by *mechanism*."""
    absent = list(missing)
    if mechanism is None:
        return HostReport(level=None, mechanism=None, missing=tuple(absent))
    if not layout.landlock_abi and NO_LANDLOCK not in absent:
        absent.append(NO_LANDLOCK)
    if not cgroups:
        absent.append(NO_CGROUPS)
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
        unprotected=tuple(unprotected),
        missing=tuple(absent),
    )


def _fences(mechanism: Mechanism, layout: HostLayout) -> tuple[str, ...]:
    if mechanism is Mechanism.PLAIN:
        return ()
    namespaces = ("namespaces",) if mechanism.has_own_root else ()
    landlock = (f"landlock {layout.landlock_abi}",) if layout.landlock_abi else ()
    return (*namespaces, *landlock, "seccomp", "no capabilities")
