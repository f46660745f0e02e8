"""
Fixtures of the tests of the whole product; each is made once, and tests must leave it usable.

| fixture      | what                                                                         |
|--------------|------------------------------------------------------------------------------|
| `server`     | a server with those demo algorithms that need no packages: no network needed  |
| `registry`   | nothing; skips where no package registry can be reached                      |
| `whole_demo` | a server with all demo algorithms in Python, as the guide needs them          |
| `official`   | the interpreter of an environment with the old service's own client           |
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import uv

sys.path.insert(0, str(Path(__file__).parent))

from projects import only_python, without_requirements
from running import RunningServer

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    place = tmp_path_factory.mktemp("server")
    examples = without_requirements(EXAMPLES, place / "examples")
    with RunningServer(place / "home", "--demo", "--examples-dir", str(examples)) as running:
        assert published(running) == "published", "\n".join(running.lines)
        yield running


@pytest.fixture(scope="session")
def registry() -> None:
    # Without the cache: a package that lies there says nothing about the next one.
    command = [uv.find_uv_bin(), "pip", "compile", "--quiet", "--no-cache", "-"]
    try:
        asked = subprocess.run(
            command, input="algorithmia==2.0.5", capture_output=True, text=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        pytest.skip("no package registry answers within a minute")
    if asked.returncode != 0:
        reason = " ".join(asked.stderr.split())[-200:]
        pytest.skip(f"no package registry can be reached: {reason}")


@pytest.fixture(scope="session")
def whole_demo(registry: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    place = tmp_path_factory.mktemp("whole_demo")
    examples = only_python(EXAMPLES, place / "examples")
    with RunningServer(place / "home", "--demo", "--examples-dir", str(examples)) as running:
        needed = ("unavailable", "demo/Hello/", "util/", "nlp/", "dlib/")
        assert not any(name in published(running) for name in needed), "\n".join(running.lines)
        yield running


@pytest.fixture(scope="session")
def official(registry: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment with the official client as published, and return its interpreter."""
    place = tmp_path_factory.mktemp("official")
    for arguments in (
        ["venv", "--quiet", "--python", sys.executable, str(place)],
        ["pip", "install", "--quiet", "--python", str(place), "algorithmia==2.0.5"],
    ):
        done = subprocess.run([uv.find_uv_bin(), *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return place / "bin" / "python"


def published(running: RunningServer) -> str:
    """Return how far the demo algorithms are."""
    found: str = httpx2.get(f"{running.api}/readyz").json()["demo"]
    return found
