import asyncio
import sys
import tempfile
import venv
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from engine_site import Run, Site, site
from sandboxes import Stage

from algorium_server.engine.host import SandboxHost
from algorium_server.engine.room import EngineLimits
from algorium_server.engine.sandbox import Mechanism


class Stages:
    """Starts a host for each mechanism when a test first asks for it."""

    def __init__(self, runner: asyncio.Runner, directory: Path) -> None:
        self._runner = runner
        self._directory = directory
        self.stages: dict[str, Stage] = {}

    def __getitem__(self, wanted: Mechanism | tuple[Mechanism, str]) -> Stage:
        mechanism, *how = wanted if isinstance(wanted, tuple) else (wanted,)
        name = "-".join((mechanism.value, *how))
        if name not in self.stages:
            state_dir = self._directory / name / "state"
            host = self._runner.run(
                SandboxHost.start(
                    "auto", state_dir, mechanisms=[mechanism], uses_cgroups="watched" not in how
                )
            )
            self.stages[name] = Stage(self._runner, host, state_dir)
        stage = self.stages[name]
        if stage.host.level is None:
            pytest.skip(f"no sandbox by {mechanism.value} here. {stage.host.report.remedy}")
        return stage


@pytest.fixture(scope="module")
def stages() -> Iterator[Stages]:
    # not below pytest's own directory, which is closed to the users of slots
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        Path(directory).chmod(0o755)
        stages = Stages(runner, Path(directory))
        yield stages
        for stage in stages.stages.values():
            runner.run(stage.host.close())


@pytest.fixture
def stage(request: pytest.FixtureRequest, stages: Stages) -> Stage:
    """The host of the mechanism named by the test's indirect parameter."""
    return stages[request.param]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    return place


@pytest.fixture
def run(tmp_path: Path, environment: Path) -> Run:
    def go(scenario: Callable[[Site], Awaitable[None]], **limits: Any) -> None:
        async def all_of_it() -> None:
            async with site(tmp_path, environment, EngineLimits(**limits)) as found:
                await scenario(found)

        asyncio.run(all_of_it())

    return go
