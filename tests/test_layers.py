"""The layers of ARCHITECTURE.md hold, and the distributions belong together."""

import subprocess
import sys
import tomllib
from pathlib import Path

from algorium import _flow
from algorium_server.domain import limits

ROOT = Path(__file__).parents[1]


def test_every_import_points_down():
    command = Path(sys.executable).parent / "lint-imports"

    done = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_all_distributions_carry_the_same_version_and_licence():
    projects = [
        tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        for path in ROOT.glob("packages/*/pyproject.toml")
    ]

    assert len(projects) == 3
    assert len({project["version"] for project in projects}) == 1
    assert {project["license"] for project in projects} == {"Apache-2.0"}


def test_the_runtime_needs_nothing_and_the_client_one_library():
    def dependencies(package):
        text = (ROOT / "packages" / package / "pyproject.toml").read_text(encoding="utf-8")
        return tomllib.loads(text)["project"]["dependencies"]

    assert dependencies("runtime") == []
    assert [line.split(">")[0] for line in dependencies("client")] == ["httpx2"]


def test_the_client_knows_how_long_the_server_lets_a_call_take():
    assert _flow._CALL_TIMEOUT_S_DEFAULT == limits.CALL_TIMEOUT_S_DEFAULT
    assert _flow._CALL_TIMEOUT_S_MAX == limits.CALL_TIMEOUT_S_MAX
