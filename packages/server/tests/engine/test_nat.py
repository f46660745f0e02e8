"""Which program connects sandboxes, and with which options."""

from pathlib import Path

import pytest

from algorium_server.engine import nat
from algorium_server.engine.nat import Nat, Target

SLIRP = Nat(tool="slirp4netns", path="/usr/bin/slirp4netns")
PASTA = Nat(tool="pasta", path="/usr/bin/pasta")


def target(**changes: object) -> Target:
    values: dict[str, object] = {"pid": 77, "ready_fd": 9, "is_root": False, "versions": {4, 6}}
    return Target(**{**values, **changes})  # type: ignore[arg-type]


def test_the_better_one_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("pasta", "slirp4netns"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    found = list(nat.installed(("10.0.0.0/8",)))

    assert [each.tool for each in found] == ["slirp4netns", "pasta"]
    assert {each.allowed for each in found} == {("10.0.0.0/8",)}


def test_without_any_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert list(nat.installed(())) == []


def test_slirp4netns_hands_in_neither_the_loopback_device_nor_ports():
    argv = nat.command(SLIRP, target(), has_root=False)

    assert "--disable-host-loopback" in argv
    assert not any("api-socket" in each for each in argv)
    assert argv[-2:] == ["77", nat.DEVICE]


@pytest.mark.parametrize(
    ("is_root", "has_root", "is_sandboxed"),
    [(True, False, True), (False, True, True), (False, False, False)],
)
def test_slirp4netns_is_confined_where_it_can_be(is_root: bool, has_root: bool, is_sandboxed: bool):
    argv = nat.command(SLIRP, target(is_root=is_root), has_root=has_root)

    assert "--enable-seccomp" in argv
    assert ("--enable-sandbox" in argv) == is_sandboxed


def test_pasta_hands_in_neither_the_loopback_device_nor_ports():
    argv = nat.command(PASTA, target(), has_root=False)

    assert "--no-map-gw" in argv
    for ports in ("--tcp-ports", "--udp-ports", "--tcp-ns", "--udp-ns"):
        assert argv[argv.index(ports) + 1] == "none"
    assert argv[-1] == "77"


@pytest.mark.parametrize("versions", [{4}, {6}, {4, 6}])
def test_pasta_speaks_the_versions_that_the_host_speaks(versions: set[int]):
    argv = nat.command(PASTA, target(versions=versions), has_root=False)

    assert argv.count("--address") == len(versions)
    assert ("--ipv4-only" in argv) == (versions == {4})
    assert ("--ipv6-only" in argv) == (versions == {6})
