"""Authoring as it was always done: the old service's own clients, on a real server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import uv
from running import RunningServer

SCRIPT = Path(__file__).with_name("official_authoring.py")


@pytest.fixture(scope="session")
def official_before(registry: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment with the official client of the 1.x line, and return its interpreter."""
    place = tmp_path_factory.mktemp("official_before") / "env"
    for arguments in (
        ["venv", "--quiet", "--python", sys.executable, str(place)],
        ["pip", "install", "--quiet", "--python", str(place), "algorithmia==1.17.0"],
    ):
        done = subprocess.run([uv.find_uv_bin(), *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return place / "bin" / "python"


@pytest.fixture(scope="module")
def studio(registry: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server without demo."""
    with RunningServer(tmp_path_factory.mktemp("studio") / "home") as running:
        yield running


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("client", ["official", "official_before"])
def test_from_nothing_to_a_version_with_the_official_client(
    studio: RunningServer, client: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    interpreter: Path = request.getfixturevalue(client)
    arguments = [studio.key, studio.api, studio.credentials["username"], str(tmp_path)]
    env = {k: v for k, v in os.environ.items() if not k.startswith("ALGORITHMIA_")}
    walk = subprocess.run(
        [str(interpreter), str(SCRIPT), *arguments],
        env=env | {"HOME": str(tmp_path), "GIT_TERMINAL_PROMPT": "0"},
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert walk.returncode == 0, walk.stdout + walk.stderr
    assert walk.stdout.endswith("done\n")
