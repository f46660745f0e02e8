"""
From a commit to something that can be called: check out, environment, smoke import, tests.

    BUILDS/BUILD_ID          the tree of the commit, as slots see it; never changed again
    BUILDS/BUILD_ID.work     a second copy for the author's tests, which may write into it;
                             gone when the build is
    BUILDS/BUILD_ID.modules  what was imported, and what of it can be imported ahead; gone as well

The author's code runs twice during a build, confined and without a network: once to import the
entry point, so that a missing dependency fails the build and not the first call, and once for the
tests below `src/`, if there are any.

Source: wire specification of the runtime, "Builds".
"""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from algorium_server.build import languages, projects
from algorium_server.build.confined import BuildFailed, RunConfined, Tools
from algorium_server.build.environments import Environments
from algorium_server.build.fast_start import FastStarts
from algorium_server.build.recipes.workshop import Workshop
from algorium_server.build.repositories import Checkout, Repositories
from algorium_server.domain.algorithms import Algorithm, Build, BuildStatus
from algorium_server.domain.environments import variables_of
from algorium_server.domain.errors import NotFound
from algorium_server.domain.excerpts import Excerpt
from algorium_server.domain.languages import Language
from algorium_server.domain.limits import BUILD_LOG_BYTES_MAX, BUILD_TIMEOUT_S

FIRST_LINE: Final = "Beginning container customization"
"""Old clients wait for this line in the log."""
_WORK_SUFFIX: Final = ".work"
_MODULES_SUFFIX: Final = ".modules"
_TEST_TOOLS: Final = """\
iniconfig==2.3.1
packaging==26.4
pluggy==1.7.0
pygments==2.21.0
pytest==9.2.0
"""
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
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s@]+@")


class Builder:
    """
    Builds commits.

    Args:
        repositories: Where the source comes from.
        environments: Where dependencies are installed.
        builds_dir: Where checked-out trees are put.
        run_confined: Runs whatever is not ours.
        runtime_dir: The runtime package, for the smoke import; the installed one if not given.
        caches_dir: Where tools of other languages than Python keep what they download; beside
            *builds_dir* if not given.
        inherited: Where they learn how to reach packages; the variables of this process if not
            given.
        timeout_s: For one build.
        log_bytes_max: Kept of a build's log.
    """

    def __init__(
        self,
        *,
        repositories: Repositories,
        environments: Environments,
        builds_dir: Path,
        run_confined: RunConfined,
        runtime_dir: Path | None = None,
        caches_dir: Path | None = None,
        inherited: Mapping[str, str] | None = None,
        timeout_s: float = BUILD_TIMEOUT_S,
        log_bytes_max: int = BUILD_LOG_BYTES_MAX,
    ) -> None:
        self._repositories = repositories
        self._environments = environments
        self._builds_dir = builds_dir
        self._run_confined = run_confined
        self._runtime_dir = runtime_dir or _installed_runtime()
        self._fast_starts = FastStarts(environments.fast_starts_dir, runtime_dir=self._runtime_dir)
        self._caches_dir = caches_dir or builds_dir.with_name("caches")
        self._inherited = os.environ if inherited is None else inherited
        self._timeout_s = timeout_s
        self._log_bytes_max = log_bytes_max

    def source_dir(self, build_id: str) -> Path:
        """Return where the tree of a build is, or would be."""
        return self._builds_dir / build_id

    async def build(
        self, build: Build, *, algorithm: Algorithm, on_step: Callable[[str], None] | None = None
    ) -> Build:
        """
        Carry out a build that has just begun.

        Args:
            build: In progress.
            algorithm: What is built.
            on_step: Told what is being done, in a few words.

        Returns:
            The build, succeeded or failed, with its log; only the time of its end is not set.

        Raises:
            Unavailable: This host offers no confinement.
        """
        log = Excerpt(self._log_bytes_max)
        tools = Tools(
            self._run_confined,
            on_output=log.append,
            timeout_s=self._timeout_s,
            said_bytes_max=self._log_bytes_max,
        )
        steps = _Steps(tools, on_step)
        work_dir = self._builds_dir / f"{build.build_id}{_WORK_SUFFIX}"
        tools.say(FIRST_LINE)
        built = replace(build, status=BuildStatus.FAILED)
        garbage = [work_dir, self._modules_dir(build)]
        try:
            built = await self._carry_out(build, algorithm, work_dir, tools, steps)
        except (BuildFailed, NotFound) as error:
            tools.say(f"Build failed: {error}")
        finally:
            if built.status is not BuildStatus.SUCCEEDED:
                garbage.append(self.source_dir(build.build_id))
            await asyncio.to_thread(_remove, garbage)
        return replace(built, log=_log_text(log))

    async def sweep(self, runnable: Collection[str]) -> None:
        """
        Remove what builds that came to nothing have left. Not while builds are running.

        Args:
            runnable: Ids of all successful builds.
        """
        await asyncio.to_thread(_sweep, self._builds_dir, frozenset(runnable))
        await self._environments.sweep()

    async def _carry_out(
        self, build: Build, algorithm: Algorithm, work_dir: Path, tools: Tools, steps: "_Steps"
    ) -> Build:
        language = languages.check_language(algorithm.settings.language)
        source_dir = self.source_dir(build.build_id)
        steps.begin(f"checking out {build.commit_sha}")
        checkout = await self._check_out(build, algorithm, source_dir)
        tools.say(f"{len(checkout.files)} files, {checkout.size_bytes} bytes")
        name = _name(source_dir, algorithm.name)
        if row := languages.ROWS.get(language):
            shop = Workshop(
                tree=source_dir,
                work_dir=work_dir,
                caches_dir=self._caches_dir,
                files=checkout.files,
                name=name,
                owner_id=algorithm.owner_id,
                tools=tools,
                inherited=self._inherited,
                begin=steps.begin,
                runtime_dir=self._runtime_dir,
            )
            entry, size_bytes = await projects.make(row, shop)
            tools.say("Build succeeded")
            return replace(
                build,
                status=BuildStatus.SUCCEEDED,
                language=language,
                entry=entry,
                source_bytes=size_bytes,
            )
        await self._check_out(build, algorithm, work_dir)
        entry = languages.find_entry(checkout.files, name)
        if languages.brings_own_kit(source_dir, checkout.files):
            language = Language.PYTHON_PIPE
            tools.say("The project brings a development kit of its own, which will serve it")

        steps.begin("resolving requirements")
        requirements = source_dir / languages.REQUIREMENTS
        for warning in languages.warnings(_text(requirements)):
            tools.say(f"Warning: {warning}")
        lock = await self._environments.resolve(
            requirements, owner_id=algorithm.owner_id, tools=tools
        )
        steps.begin("installing the environment")
        key = await self._environments.ensure(lock, tools=tools, read_only=(source_dir,))

        steps.begin(f"importing {entry}")
        modules_dir = self._modules_dir(build)
        await asyncio.to_thread(modules_dir.mkdir)
        await self._smoke_import(entry, key, work_dir, modules_dir, tools)
        if languages.has_tests(checkout.files):
            steps.begin("testing")
            await self._test(key, work_dir, tools)
        environment = self._environments.path(key)
        fast_start = await self._fast_starts.examine(
            environment, scratch_dir=modules_dir, env=_variables(environment), tools=tools
        )
        tools.say(f"Fast start: {fast_start.reason}")
        tools.say("Build succeeded")
        return replace(
            build,
            status=BuildStatus.SUCCEEDED,
            language=language,
            environment=key,
            lock=lock,
            entry=entry,
            source_bytes=checkout.size_bytes,
            fast_start=fast_start,
        )

    def _modules_dir(self, build: Build) -> Path:
        return self._builds_dir / f"{build.build_id}{_MODULES_SUFFIX}"

    async def _check_out(self, build: Build, algorithm: Algorithm, target: Path) -> Checkout:
        return await self._repositories.check_out(
            algorithm.owner_id, algorithm.algorithm_id, build.commit_sha, target
        )

    async def _smoke_import(
        self, entry: str, key: str, work_dir: Path, modules_dir: Path, tools: Tools
    ) -> None:
        environment = self._environments.path(key)
        code = await tools.run(
            *(str(environment / "bin" / "python"), "-u", str(self._runtime_dir)),
            *("--check", entry, str(modules_dir)),
            cwd=work_dir,
            env=_variables(environment),
            read_only=(environment, self._runtime_dir),
            writable=(work_dir, modules_dir),
        )
        if code != 0:
            raise BuildFailed(f"{entry} cannot be loaded (exit code {code})")

    async def _test(self, key: str, work_dir: Path, tools: Tools) -> None:
        try:
            tools_key = await self._environments.ensure(_TEST_TOOLS, tools=tools)
        except BuildFailed:
            # Without a network, the first build ever has no way to get pytest. That says nothing
            # about the algorithm.
            tools.say("Warning: the tests were not run, because pytest cannot be installed")
            return
        environment, test_tools = self._environments.path(key), self._environments.path(tools_key)
        arguments = ["-q", "-p", "no:cacheprovider", "--rootdir", ".", "--confcutdir", ".", "src"]
        if not any((work_dir / name).exists() for name in _PYTEST_CONFIGURATION):
            arguments += ["-c", os.devnull]  # else pytest looks for one in the directories above
        code = await tools.run(
            *(str(environment / "bin" / "python"), "-u", "-c", _RUN_TESTS),
            *(str(work_dir), str(_site_packages(test_tools)), *arguments),
            cwd=work_dir,
            env=_variables(environment),
            read_only=(environment, test_tools),
            writable=(work_dir,),
        )
        if code not in {0, _NO_TESTS_COLLECTED}:
            raise BuildFailed(f"the tests failed (exit code {code})")


class _Steps:
    """Tells a watcher and the log what is being done."""

    def __init__(self, tools: Tools, on_step: Callable[[str], None] | None) -> None:
        self._tools = tools
        self._on_step = on_step

    def begin(self, step: str) -> None:
        self._tools.say(f"{step[0].upper()}{step[1:]}")
        if self._on_step is not None:
            self._on_step(step)


def _log_text(log: Excerpt) -> str:
    text = log.content().decode("utf-8", "replace")
    # PostgreSQL stores no NUL, and URLs of package indexes may hold a password.
    return _CREDENTIALS.sub("***@", text).replace("\0", "\ufffd")


def _variables(environment: Path) -> dict[str, str]:
    return {**variables_of(str(environment)), "PYTHONDONTWRITEBYTECODE": "1"}


def _site_packages(environment: Path) -> Path:
    return next(environment.glob("lib/python*/site-packages"))


def _name(source_dir: Path, default: str) -> str:
    conf = source_dir / languages.CONF
    return (languages.name_in_conf(conf.read_bytes()) if conf.exists() else None) or default


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""


def _installed_runtime() -> Path:
    spec = find_spec("algorium_runtime")
    assert spec is not None, "a dependency of this package"
    assert spec.submodule_search_locations is not None, "it is a package"
    return Path(spec.submodule_search_locations[0])


def _remove(directories: Iterable[Path]) -> None:
    for directory in directories:
        try:
            shutil.rmtree(directory, ignore_errors=True)
        except RecursionError:  # an author's code may nest directories without end
            subprocess.run(["rm", "-rf", "--", directory], check=False)


def _sweep(builds_dir: Path, runnable: frozenset[str]) -> None:
    if builds_dir.exists():
        _remove(d for d in list(builds_dir.iterdir()) if d.name not in runnable)
