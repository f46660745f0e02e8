"""Sandboxes with network access, in a world of their own: see `world.py`."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import world

from algorium_server.engine.sandbox import Mechanism

WORLD = Path(world.__file__)
NOT_PUBLIC = (*world.PRIVATE, *world.PRIVATE_6, *world.METADATA)
WAYS = ("plain", "by_device", "by_index", "fast", "datagram", "datagram_by_index")
VARIANTS = [
    pytest.param((mechanism, tool, is_ordinary), id=f"{mechanism}-{tool}-{who}")
    for mechanism, tool, is_ordinary, who in (
        (Mechanism.BUBBLEWRAP, "slirp4netns", True, "ordinary"),
        (Mechanism.LAUNCHER, "slirp4netns", False, "root"),
        (Mechanism.BUBBLEWRAP, "pasta", False, "root"),
        (Mechanism.LAUNCHER, "pasta", True, "ordinary"),
    )
]
"""Each side of each difference, together with each tool."""
_REFUSALS = ("Operation not permitted", "No space left on device")
"""The second one where the number of namespaces is limited to none."""

pytestmark = [pytest.mark.namespaces, pytest.mark.slow]


class Player:
    """Plays stories in a world; skips where this host has not what they need."""

    def __init__(self, mechanism: Mechanism, tool: str, is_ordinary: bool) -> None:
        self.mechanism = mechanism
        self.tool = tool
        self.is_ordinary = is_ordinary

    def play(self, story: str, allowed: tuple[str, ...] = ()) -> dict[str, Any]:
        for program in ("ip", self.tool):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed")
        with tempfile.TemporaryDirectory() as directory:
            Path(directory).chmod(0o755)
            programs = Path(directory, "bin")
            programs.mkdir()
            for program in ("bwrap", "ip", self.tool):
                if found := shutil.which(program):
                    Path(programs, program).symlink_to(os.path.realpath(found))
            wanted = {
                "mechanism": self.mechanism,
                "state_dir": f"{directory}/state",
                "ordinary": self.is_ordinary,
                "allowed": allowed,
                "story": story,
            }
            played = subprocess.run(
                [sys.executable, WORLD],
                input=json.dumps(wanted),
                env={"PATH": str(programs), "TMPDIR": directory, "PYTHONPATH": ":".join(sys.path)},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        if any(f"unshare: {refusal}" in played.stderr for refusal in _REFUSALS):
            pytest.skip("this host lets us make no network namespaces")
        assert played.returncode == 0, played.stderr
        told: dict[str, Any] = json.loads(played.stdout.splitlines()[-1])
        if told["level"] is None:
            pytest.skip(f"no sandbox by {self.mechanism} here: {told['remedy']}")
        if told["network"] != self.tool:
            assert "tun" in told["lacking"], told["lacking"]
            pytest.skip(f"no network by {self.tool} here: {told['lacking']}")
        return told


@pytest.fixture(scope="module", params=VARIANTS)
def player(request: pytest.FixtureRequest) -> Player:
    mechanism, tool, is_ordinary = request.param
    return Player(mechanism, tool, is_ordinary)


@pytest.fixture(scope="module")
def reached(player: Player) -> dict[str, Any]:
    return player.play("reach")


def test_the_world_around_is_real(reached: dict[str, Any]):
    seen = {name for name, answer in reached["host"].items() if answer != "refused"}

    for address in (world.PUBLIC, world.PUBLIC_6, *NOT_PUBLIC):
        assert {f"plain {address}", f"datagram {address}"} <= seen
    assert {f"name {name}" for name in world.NAMES} <= seen
    assert {f"port {address} {port}" for address, port in world.OWN} <= seen


def test_public_addresses_can_be_reached(reached: dict[str, Any]):
    for way in WAYS:
        assert reached["full"][f"{way} {world.PUBLIC}"] != "refused", way
        is_reached = reached["full"][f"{way} {world.PUBLIC_6}"] != "refused"
        assert is_reached == (reached["network"] == "pasta"), way


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public_cannot(reached: dict[str, Any], address: str):
    for way in WAYS:
        assert reached["full"][f"{way} {address}"] == "refused", way


@pytest.mark.parametrize(("address", "port"), [*world.OWN[:3], *world.LOOPBACK, *world.INNER])
def test_this_machine_cannot(reached: dict[str, Any], address: str, port: int):
    assert reached["full"][f"port {address} {port}"] == "refused"
    assert reached["full"][f"device {address} {port}"] == "refused"


def test_names_are_found_and_lead_nowhere_else(reached: dict[str, Any]):
    assert reached["full"]["name public.test"] != "refused"
    assert reached["full"]["name private.test"] == "refused"
    assert reached["full"]["name metadata.test"] == "refused"


def test_without_network_access_there_is_none(reached: dict[str, Any]):
    assert set(reached["isolated"].values()) == {"refused"}


def test_nothing_is_left(reached: dict[str, Any]):
    assert reached["left"] == []


def test_whoever_ends_what_nothing_stays(player: Player):
    told = player.play("ends")

    for name in world.ENDS:
        assert told[name]["before"] == 1, name
        assert told[name]["left"] == [], name
        assert told[name]["took_s"] < 3, name
        assert told[name]["status"] == [None, 9], name
    assert told["left"] == []


def test_a_broken_translation_is_an_error_that_says_so(player: Player):
    told = player.play("broken")

    assert "could not be started" in told["message"]
    assert "this tool is broken" in told["detail"]
    assert told["left"] == []


@pytest.mark.parametrize("player", VARIANTS[:1], indirect=True)
def test_what_an_operator_allows_can_be_reached_and_nothing_more(player: Player):
    allowed = ("10.88.0.0/16", "198.51.100.0/24", "169.254.169.254", "fd12::1", "10.77.0.1")

    full = player.play("allow", allowed)["full"]

    opened = {world.PRIVATE[0], "169.254.169.254", world.PUBLIC}
    for address in (*NOT_PUBLIC, world.PUBLIC):
        if ":" not in address:
            is_reached = full[f"plain {address}"] != "refused"
            assert is_reached == (address in opened), address
    # a network does not open this machine, its address does
    assert full[f"port {world.HOST} {world.HOST_PORT}"] == "refused"
    assert full[f"port {world.HOST_PRIVATE} {world.HOST_PORT}"] != "refused"


@pytest.mark.parametrize("player", VARIANTS[1:3], indirect=True)
def test_addresses_that_this_machine_gets_later_are_closed_then(player: Player):
    told = player.play("late")

    assert (told["before"], told["after"]) == ("reached", "refused")


@pytest.mark.parametrize("player", VARIANTS[:1], indirect=True)
def test_what_the_translation_uses_counts_as_the_sandboxs(player: Player):
    told = player.play("memory")

    if "algorium-" not in told["groups"]:
        pytest.skip("this host lets us make no control groups")
    assert "/algorium-" in next(
        line for line in told["groups"].splitlines() if "memory" in line or line.startswith("0:")
    )


@pytest.mark.parametrize("player", [VARIANTS[0], VARIANTS[2]], indirect=True)
def test_slots_that_a_zygote_forked_reach_the_same(player: Player):
    told = player.play("forked")

    for way in WAYS:
        assert told["full"][f"{way} {world.PUBLIC}"] != "refused", way
        for address in NOT_PUBLIC:
            assert told["full"][f"{way} {address}"] == "refused", (way, address)
    assert told["full"]["name public.test"] != "refused"
    for address, port in (*world.OWN[:3], *world.LOOPBACK):
        assert told["full"][f"device {address} {port}"] == "refused"
    assert set(told["isolated"].values()) == {"refused"}
    assert (told["translations full"], told["translations isolated"]) == (1, 0)
    assert (told["left full"], told["left isolated"]) == ([], [])
    assert told["translations"] == 3  # of three slots, until their supervisor was killed
    assert told["left"] == []
