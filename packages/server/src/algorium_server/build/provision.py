"""
What a project in Python runs in: interpreter, lock and environment; and its tests in there.

Source: wire specification of the runtime, "Files per language", "Builds".
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from algorium_server.build import dependencies, languages
from algorium_server.build.confined import BuildFailed, Tools
from algorium_server.build.environments import Environments
from algorium_server.build.interpreters import Interpreter, Interpreters
from algorium_server.build.packages import OwnSources
from algorium_server.domain.environments import variables_of

_TEST_TOOLS: Final = """\
iniconfig==2.3.1
packaging==26.4
pluggy==1.7.0
pygments==2.21.0
pytest==9.2.0
"""
_OLD_TEST_TOOLS: Final = """\
exceptiongroup==1.3.0
iniconfig==2.1.0
packaging==25.0
pluggy==1.5.0
pytest==8.3.5
tomli==2.2.1
typing-extensions==4.13.2
"""
_OLD: Final = (3, 10)
"""Up to this version pytest needs stand-ins for parts of the standard library."""
_RUN_TESTS: Final = """\
import sys
sys.path[:] = [path for path in sys.path if path] + sys.argv[1:3]
import pytest
sys.exit(pytest.main(sys.argv[3:]))
"""
"""The algorithm's own packages come first, then the test tools, as behind a plain pytest."""
_PYTEST_CONFIGURATION: Final = (
    "pytest.ini",
    ".pytest.ini",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
)
_NO_TESTS_COLLECTED: Final = 5
_REQUIREMENTS: Final = "requirements.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provided:
    """
    What a project runs in.

    Attributes:
        directory: The environment.
        key: Its name.
        lock: What is installed in it.
        interpreter: Runs it.
    """

    directory: Path
    key: str
    lock: str
    interpreter: Interpreter

    @property
    def python(self) -> str:
        """The program that runs code of the project."""
        return str(self.directory / "bin" / "python")

    @property
    def variables(self) -> dict[str, str]:
        """Of programs that run it."""
        return {**variables_of(str(self.directory)), "PYTHONDONTWRITEBYTECODE": "1"}

    @property
    def read_only(self) -> tuple[Path, ...]:
        """What such a program must see."""
        return (self.directory, *self.interpreter.mounts)


class Provision:
    """
    Provides projects with what they run in.

    Args:
        environments: Where dependencies are installed.
        interpreters: For which Pythons.
    """

    def __init__(self, environments: Environments, interpreters: Interpreters) -> None:
        self._environments = environments
        self._interpreters = interpreters

    async def choose(
        self, tree: Path, *, wish: str, tools: Tools
    ) -> tuple[dependencies.Dependencies, Interpreter]:
        """
        Find out what a project needs, without installing anything.

        Args:
            tree: The checked-out project.
            wish: See `Interpreters.choose`.
            tools: Of the build; their log gets warnings.

        Raises:
            BuildFailed: It cannot be read, or there is no such Python.
        """
        needed = await asyncio.to_thread(dependencies.find, tree)
        interpreter, warning = await asyncio.to_thread(
            self._interpreters.choose, wish=wish, demand=needed.demand
        )
        for note in (*needed.notes, *([f"Warning: {warning}"] if warning else [])):
            tools.say(note)
        if interpreter != self._interpreters.own:
            tools.say(f"With Python {interpreter.version}")
        return needed, interpreter

    async def lock(
        self,
        needed: dependencies.Dependencies,
        interpreter: Interpreter,
        *,
        tree: Path,
        scratch_dir: Path,
        owner_id: str,
        sources: OwnSources,
        tools: Tools,
    ) -> str:
        """
        Decide on the versions of everything that will be installed.

        Args:
            needed: From `choose`, like the following.
            interpreter: What it is for.
            tree: The checked-out project.
            scratch_dir: To write into; only this build uses it.
            owner_id: Whose build it is.
            sources: Of the owner.
            tools: Of the build.

        Raises:
            BuildFailed: There is no solution.
        """
        requirements = tree / _REQUIREMENTS
        if needed.file != _REQUIREMENTS:
            requirements = scratch_dir / _REQUIREMENTS
            requirements.write_text(needed.requirements, "utf-8")
        if needed.file == dependencies.UV_LOCK:
            await self._environments.locked(tree, output=requirements, tools=tools)
        text = await asyncio.to_thread(_text, requirements)
        for warning in languages.warnings(text):
            tools.say(f"Warning: {warning}")
        return await self._environments.resolve(
            requirements,
            owner_id=owner_id,
            tools=tools,
            interpreter=interpreter,
            sources=sources,
            named=needed.file,
            read_only=(tree,),
        )

    async def provide(
        self, lock: str, interpreter: Interpreter, *, tree: Path, sources: OwnSources, tools: Tools
    ) -> Provided:
        """
        Install what a lock names, unless that was done before.

        Raises:
            BuildFailed: It cannot be installed.
        """
        key = await self._environments.ensure(
            lock, tools=tools, read_only=(tree,), interpreter=interpreter, sources=sources
        )
        directory = self._environments.path(key)
        return Provided(directory=directory, key=key, lock=lock, interpreter=interpreter)

    async def test(self, provided: Provided, work_dir: Path, *, tools: Tools) -> None:
        """
        Run the tests below `src/`.

        Raises:
            BuildFailed: One failed.
        """
        interpreter = provided.interpreter
        wanted = _OLD_TEST_TOOLS if interpreter.minor <= _OLD else _TEST_TOOLS
        try:
            key = await self._environments.ensure(wanted, tools=tools, interpreter=interpreter)
        except BuildFailed:
            # Without a network, the first build ever has no way to get pytest. That says nothing
            # about the algorithm.
            tools.say("Warning: the tests were not run, because pytest cannot be installed")
            return
        test_tools = self._environments.path(key)
        arguments = ["-q", "-p", "no:cacheprovider", "--rootdir", ".", "--confcutdir", ".", "src"]
        if not any((work_dir / name).exists() for name in _PYTEST_CONFIGURATION):
            arguments += ["-c", os.devnull]  # else pytest looks for one in the directories above
        code = await tools.run(
            *(provided.python, "-u", "-c", _RUN_TESTS),
            *(str(work_dir), str(_site_packages(test_tools)), *arguments),
            cwd=work_dir,
            env=provided.variables,
            read_only=(*provided.read_only, test_tools),
            writable=(work_dir,),
        )
        if code not in {0, _NO_TESTS_COLLECTED}:
            raise BuildFailed(f"the tests failed (exit code {code})")


def _site_packages(environment: Path) -> Path:
    return next(environment.glob("lib/python*/site-packages"))


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""
