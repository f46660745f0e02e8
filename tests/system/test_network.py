"""Algorithms with network access, on a whole server in a world of its own."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from running import ALGORIUM

SERVER_TESTS = Path(__file__).parents[2] / "packages" / "server" / "tests"


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    tools = [name for name in ("slirp4netns", "pasta") if shutil.which(name)]
    if not tools or not shutil.which("ip"):
        pytest.skip("neither slirp4netns nor pasta is installed, or no ip")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        programs = Path(directory, "bin")
        programs.mkdir()
        for program in ("bwrap", "ip", "git", "sh", tools[0]):
            if found := shutil.which(program):
                (programs / program).symlink_to(os.path.realpath(found))
        wanted = {
            "state_dir": f"{directory}/state",
            "ordinary": False,
            "story": "product",
            "server": str(ALGORIUM),
        }
        played = subprocess.run(
            [sys.executable, SERVER_TESTS / "world.py"],
            input=json.dumps(wanted),
            env={
                "PATH": str(programs),
                "TMPDIR": directory,
                "PYTHONPATH": os.pathsep.join([str(SERVER_TESTS), *sys.path]),
            },
            capture_output=True,
            text=True,
            timeout=240,
        )
    if "unshare: Operation not permitted" in played.stderr:
        pytest.skip("this host lets us make no network namespaces")
    assert played.returncode == 0, played.stderr
    seen: dict[str, Any] = json.loads(played.stdout.splitlines()[-1])
    if not seen["ready"]["network"]:
        pytest.skip(f"no network access here: {seen['ready']['without_network']}")
    return seen


@pytest.mark.namespaces
@pytest.mark.slow
class TestNetworkAccess:
    def test_full_reaches_public_addresses(self, told: dict[str, Any]) -> None:
        status, answer = told["Full http://public.test/"]

        assert (status, answer["result"]) == (200, 200)

    def test_full_reaches_no_private_ones(self, told: dict[str, Any]) -> None:
        status, answer = told["Full http://10.88.0.5/"]

        assert status == 200
        assert answer["result"].startswith("refused")

    def test_full_reaches_those_that_the_operator_allows(self, told: dict[str, Any]) -> None:
        assert told["Full http://172.16.9.9/"][1]["result"] == 200

    def test_isolated_reaches_nothing(self, told: dict[str, Any]) -> None:
        for url in ("http://public.test/", "http://10.88.0.5/", "http://172.16.9.9/"):
            assert told[f"Isolated {url}"][1]["result"].startswith("refused"), url

    def test_nothing_is_left_of_it(self, told: dict[str, Any]) -> None:
        assert told["translations"] == 1
        assert told["left"] == []

    def test_without_a_translation_full_is_refused_and_says_what_to_install(
        self, told: dict[str, Any]
    ) -> None:
        status, answer = told["Full without"]

        assert status == 503
        assert "network access" in answer["error"]["message"]
        assert "slirp4netns" in answer["error"]["hint"]

    def test_without_a_translation_isolated_goes_on(self, told: dict[str, Any]) -> None:
        status, answer = told["Isolated without"]

        assert (status, answer["result"]) == (200, "http://127.0.0.1:9000")
