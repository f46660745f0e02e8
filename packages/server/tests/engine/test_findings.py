"""What the doctor makes of what was found."""

from dataclasses import replace

import pytest

from algorium_server.engine import probe
from algorium_server.engine.findings import Facts, Finding, State, findings
from algorium_server.engine.probe import HostReport, Missing
from algorium_server.engine.sandbox import Level, Mechanism

FULL = HostReport(level=Level.FULL, mechanism=Mechanism.BUBBLEWRAP, fences=("namespaces",))
REDUCED = HostReport(
    level=Level.REDUCED,
    mechanism=Mechanism.LANDLOCK,
    fences=("landlock 7",),
    without_network=probe.SHARED_NETWORK,
    missing=(Missing(what="user namespaces (launcher)", why="refused", remedy="allow them"),),
)
FACTS = Facts(
    system="Linux 6.18",
    bubblewrap="bubblewrap 0.8.0",
    landlock_abi=7,
    cgroups=(2, "memory", "pids", "cpu"),
    has_filters=True,
    translation="slirp4netns 1.2.0",
    zygotes="",
    ssh="/usr/bin/ssh",
)


def found(report: HostReport, facts: Facts) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings(report, facts)}


def test_a_host_that_has_everything_needs_nothing():
    for finding in findings(FULL, FACTS):
        assert finding.state is State.OK
        assert finding.found
        assert not finding.remedy


@pytest.mark.parametrize(
    ("report", "facts"),
    [
        (REDUCED, FACTS),
        (HostReport(level=None, mechanism=None, missing=(probe.NOT_LINUX,)), FACTS),
        (replace(FULL, without_network=probe.NO_TRANSLATION), replace(FACTS, translation="")),
        (FULL, replace(FACTS, landlock_abi=0, cgroups=None, bubblewrap="", has_filters=False)),
        (FULL, replace(FACTS, ssh="")),
        (FULL, replace(FACTS, landlock_abi=3, cgroups=(1, "pids"), zygotes="unshare: refused")),
        (HostReport(level=Level.NONE, mechanism=Mechanism.PLAIN), FACTS),
    ],
)
def test_whatever_is_not_there_has_a_reason_and_most_have_a_remedy(
    report: HostReport, facts: Facts
):
    lacking = [each for each in findings(report, facts) if each.state is not State.OK]

    assert lacking
    assert all(each.found for each in lacking)
    without_remedy = {each.what for each in lacking if not each.remedy}
    assert without_remedy <= {"zygotes", "user namespaces"}


def test_reduced_says_what_would_make_it_full():
    seen = found(REDUCED, FACTS)

    assert seen["sandbox level"].state is State.PARTIAL
    assert (seen["user namespaces"].found, seen["user namespaces"].remedy) == (
        "refused",
        "allow them",
    )
    assert "level full" in seen["network access"].found


def test_a_missing_controller_says_what_that_costs():
    groups = found(FULL, replace(FACTS, cgroups=(1, "memory", "pids")))["control groups"]

    assert groups.state is State.PARTIAL
    assert groups.found.startswith("version 1: memory, pids; slots share the processors")


def test_the_package_to_install_is_named():
    report = replace(FULL, without_network=probe.NO_TRANSLATION)

    assert "apt-get install slirp4netns" in found(report, FACTS)["network access"].remedy


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ('slirp4netns: open("/dev/net/tun"): Permission denied', "chmod 666 /dev/net/tun"),
        ("packet filter, message 1: Operation not supported", "modprobe nf_tables"),
        ("no idea", "log"),
    ],
)
def test_a_translation_that_fails_has_the_remedy_for_its_reason(reason: str, remedy: str):
    assert remedy in probe.explain_network("slirp4netns", reason).remedy


def test_zygotes_that_nobody_tried_are_no_fault():
    assert found(FULL, replace(FACTS, zygotes=None))["zygotes"].state is State.OK
