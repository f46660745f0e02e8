"""
What a host offers for sandboxes, one finding after the other: what `algorium doctor` shows.

A *finding* is something that is there, is there in part, or is missing; the last two with what to
do about it. Pure: `host.py` has tried everything before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from algorium_server.engine import probe
from algorium_server.engine.probe import HostReport, Missing
from algorium_server.engine.sandbox import Level, Mechanism

_ALL_CONTROLLERS: Final = ("memory", "pids", "cpu")
_WITHOUT: Final = {
    "memory": "memory is watched, less exactly",
    "pids": "processes are watched, less exactly",
    "cpu": "slots share the processors by their number of processes",
}


class State(StrEnum):
    """How well the host is off in one respect."""

    OK = "ok"
    PARTIAL = "in part"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    One respect.

    Attributes:
        what: What was looked at.
        state: How it looked.
        found: What there is, or why it is missing.
        remedy: What to do, best a command; empty where nothing needs to be done.
    """

    what: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """
    What was found out beside the report.

    Attributes:
        system: Name and release of the kernel.
        bubblewrap: Version of bubblewrap; empty if it is not installed.
        landlock_abi: Version of Landlock's interface; 0 without Landlock.
        cgroups: Version and controllers of control groups, None where the server may make none.
        has_filters: Whether system calls can be filtered.
        translation: Version of what connects sandboxes to the network; empty if nothing does.
        zygotes: Why slots cannot be forked from zygotes; empty if they can, None if not tried.
        ssh: Where the program is that git uses for SSH; empty if it is not installed.
    """

    system: str
    bubblewrap: str
    landlock_abi: int
    cgroups: Sequence[Any] | None
    has_filters: bool
    translation: str
    zygotes: str | None
    ssh: str


def findings(report: HostReport, facts: Facts) -> Iterator[Finding]:
    """Yield what there is to know, the most important first."""
    yield _level(report)
    yield Finding(what="kernel", state=State.OK, found=facts.system)
    yield _namespaces(report)
    yield _bubblewrap(report, facts)
    yield _landlock(facts)
    yield _filters(facts)
    yield _groups(facts)
    yield _network(report, facts)
    yield _zygotes(report, facts)
    yield _ssh(facts)


def _level(report: HostReport) -> Finding:
    what = "sandbox level"
    if report.level is None:
        return Finding(
            what=what, state=State.MISSING, found="none is possible", remedy=report.remedy
        )
    if report.level is Level.NONE:
        return Finding(
            what=what,
            state=State.MISSING,
            found="none: algorithms can do whatever the server can",
            remedy="start the server without --unsafe-no-sandbox",
        )
    found = f"{report.level}, made by {report.mechanism}, with {', '.join(report.fences)}"
    if report.level is Level.FULL:
        return Finding(what=what, state=State.OK, found=found)
    remedy = "get user namespaces for level full, see below"
    return Finding(what=what, state=State.PARTIAL, found=found, remedy=remedy)


def _namespaces(report: HostReport) -> Finding:
    if report.mechanism is not None and report.mechanism.has_own_root:
        return Finding(what="user namespaces", state=State.OK, found="can be made")
    refused = next((each for each in report.missing if "user namespaces" in each.what), None)
    if refused is None:
        return Finding(what="user namespaces", state=State.PARTIAL, found="were not tried")
    return _missing(refused, what="user namespaces")


def _bubblewrap(report: HostReport, facts: Facts) -> Finding:
    if not facts.bubblewrap:
        state = State.PARTIAL if report.mechanism is Mechanism.LAUNCHER else State.MISSING
        return _missing(probe.NO_BUBBLEWRAP, state=state)
    return Finding(what="bubblewrap", state=State.OK, found=facts.bubblewrap)


def _landlock(facts: Facts) -> Finding:
    if not facts.landlock_abi:
        return _missing(probe.NO_LANDLOCK)
    lacking = [
        text for version, text in probe.NEEDED_VERSIONS.items() if facts.landlock_abi < version
    ]
    found = f"interface version {facts.landlock_abi}"
    if not lacking:
        return Finding(what="Landlock", state=State.OK, found=found)
    return Finding(
        what="Landlock",
        state=State.PARTIAL,
        found=f"{found}: at level reduced, {'; '.join(lacking)}",
        remedy="use Linux 6.12 or newer",
    )


def _filters(facts: Facts) -> Finding:
    if not facts.has_filters:
        return _missing(probe.NO_FILTERS)
    return Finding(what="seccomp", state=State.OK, found="system calls can be filtered")


def _groups(facts: Facts) -> Finding:
    if not facts.cgroups:
        return _missing(probe.NO_CGROUPS, state=State.PARTIAL)
    version, *controllers = facts.cgroups
    found = f"version {version}: {', '.join(controllers)}"
    lacking = [_WITHOUT[each] for each in _ALL_CONTROLLERS if each not in controllers]
    if not lacking:
        return Finding(what="control groups", state=State.OK, found=found)
    return Finding(
        what="control groups",
        state=State.PARTIAL,
        found=f"{found}; {'; '.join(lacking)}",
        remedy=probe.NO_CGROUPS.remedy,
    )


def _network(report: HostReport, facts: Facts) -> Finding:
    if report.without_network is not None:
        return _missing(report.without_network, what="network access")
    return Finding(what="network access", state=State.OK, found=f"by {facts.translation}")


def _zygotes(report: HostReport, facts: Facts) -> Finding:
    what = "zygotes"
    if report.level is not Level.FULL:
        found = "slots are started cold: zygotes take level full"
        return Finding(what=what, state=State.PARTIAL, found=found)
    if facts.zygotes is None:
        return Finding(what=what, state=State.OK, found="not needed so far")
    if facts.zygotes:
        found = f"slots are started cold: {facts.zygotes}"
        remedy = (
            "allow user namespaces in user namespaces: sysctl -w user.max_user_namespaces=10000"
        )
        return Finding(what=what, state=State.PARTIAL, found=found, remedy=remedy)
    return Finding(what=what, state=State.OK, found="slots can be forked in milliseconds")


def _ssh(facts: Facts) -> Finding:
    if facts.ssh:
        return Finding(what="ssh", state=State.OK, found=facts.ssh)
    return Finding(
        what="ssh",
        state=State.PARTIAL,
        found="not installed: source elsewhere can only be fetched over HTTPS",
        remedy="apt install openssh-client",
    )


def _missing(lacking: Missing, *, what: str = "", state: State = State.MISSING) -> Finding:
    return Finding(what=what or lacking.what, state=state, found=lacking.why, remedy=lacking.remedy)
