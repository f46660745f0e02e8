"""
From a commit to something that can be called: check out, environment, smoke import, tests.

    BUILDS/BUILD_ID          the tree of the commit, as slots see it; never changed again
    BUILDS/BUILD_ID.work     copies for the first import and for the author's tests, which may
                             write into them; gone when the build is
    BUILDS/BUILD_ID.modules  what was imported, and what of it can be imported ahead; gone as well

The author's code runs twice during a build, confined and without a network: once to import the
entry point, so that a missing dependency fails the build and not the first call, and once for the
tests below `src/`, if there are any.

Source: wire specification of the runtime, "Builds".
"""

import asyncio
import errno
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from algorium_server.build import languages, projects, trees
from algorium_server.build.build_log import BuildLog
from algorium_server.build.confined import BuildFailed, RunConfined, Tools
from algorium_server.build.environments import Environments
from algorium_server.build.fast_start import FastStarts
from algorium_server.build.interpreters import Interpreters
from algorium_server.build.packages import NO_SOURCES, OwnSources
from algorium_server.build.provision import Provided, Provision
from algorium_server.build.recipes.workshop import Workshop
from algorium_server.build.scratch import read_signature
from algorium_server.build.source.repositories import Checkout, Repositories
from algorium_server.domain.algorithms import Algorithm, Build, BuildStatus
from algorium_server.domain.errors import NotFound
from algorium_server.domain.languages import Language
from algorium_server.domain.limits import (
    BUILD_FAILURE_CHARS_MAX,
    BUILD_LOG_BYTES_MAX,
    BUILD_TIMEOUT_S,
)
from algorium_server.holding import is_held

FIRST_LINE: Final = "Beginning container customization"
"""Old clients wait for this line in the log."""
_WORK_SUFFIX: Final = ".work"
_MODULES_SUFFIX: Final = ".modules"
_IMPORTED: Final = "imported"
_TESTED: Final = "tested"
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

SourcesOf = Callable[[str], Awaitable[OwnSources]]
"""Returns where an account, by its id, has packages that others do not get."""


class Builder:
    """
    Builds commits.

    Args:
        repositories: Where the source comes from.
        environments: Where dependencies are installed.
        builds_dir: Where checked-out trees are put.
        run_confined: Runs whatever is not ours.
        interpreters: The Pythons there are; those of this host if not given.
        name_of_environment: Returns what an environment is called that an owner chose by its id,
            such as `Python 3.9`; empty if there is none.
        sources_of: Says where accounts have packages of their own.
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
        interpreters: Interpreters | None = None,
        name_of_environment: Callable[[str], str] = lambda _id: "",
        sources_of: SourcesOf | None = None,
        runtime_dir: Path | None = None,
        caches_dir: Path | None = None,
        inherited: Mapping[str, str] | None = None,
        timeout_s: float = BUILD_TIMEOUT_S,
        log_bytes_max: int = BUILD_LOG_BYTES_MAX,
    ) -> None:
        self._repositories = repositories
        self._environments = environments
        self._provision = Provision(environments, interpreters or Interpreters())
        self._name_of_environment = name_of_environment
        self._sources_of = sources_of
        self._builds_dir = builds_dir
        self._run_confined = run_confined
        self._runtime_dir = runtime_dir or _installed_runtime()
        self._fast_starts = FastStarts(environments.fast_starts_dir, runtime_dir=self._runtime_dir)
        self._caches_dir = caches_dir or builds_dir.with_name("caches")
        self._inherited = os.environ if inherited is None else inherited
        self._timeout_s = timeout_s
        self._log_bytes_max = log_bytes_max

    @property
    def logs_dir(self) -> Path:
        """Where to keep what builds say, unless there is a better place: beside their trees."""
        return self._builds_dir.with_name("logs") / "builds"

    def source_dir(self, build_id: str) -> Path:
        """Return where the tree of a build is, or would be."""
        return self._builds_dir / build_id

    async def build(
        self,
        build: Build,
        *,
        algorithm: Algorithm,
        log: BuildLog | None = None,
        on_step: Callable[[str], None] | None = None,
    ) -> Build:
        """
        Carry out a build that has just begun.

        Args:
            build: In progress.
            algorithm: What is built.
            log: Where to say what happens; a new one if not given.
            on_step: Told what is being done, in a few words.

        Returns:
            The build, succeeded or failed, with its log; only the time of its end is not set.

        Raises:
            Unavailable: This host offers no confinement.
        """
        log = log or BuildLog(bytes_max=self._log_bytes_max)
        log.hide(self._environments.secrets)
        tools = Tools(
            self._run_confined,
            on_output=log.append,
            on_end=log.flush,
            timeout_s=self._timeout_s,
            said_bytes_max=self._log_bytes_max,
        )
        if not log.was_begun:
            tools.say(FIRST_LINE)
        built = replace(build, status=BuildStatus.FAILED)
        source_dir = self.source_dir(build.build_id)
        garbage = [self._work_dir(build), self._modules_dir(build)]
        await asyncio.to_thread(_remove, [source_dir, *garbage])  # of an earlier attempt
        try:
            built = await self._carry_out(build, algorithm, _Steps(tools, on_step), log)
        except (BuildFailed, NotFound) as error:
            # Files of the author are quoted there, and may hold passwords of package indexes.
            words = log.redacted(str(error))
            built = replace(built, failure=words[:BUILD_FAILURE_CHARS_MAX])
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            built = replace(built, failure="there is no space left on the server's disk")
        finally:
            if built.status is not BuildStatus.SUCCEEDED:
                garbage.append(source_dir)
            await asyncio.to_thread(_remove, garbage)
        tools.say(f"Build failed: {built.failure}" if built.failure else "Build succeeded")
        return replace(built, log=log.text())

    async def remove(self, build_ids: Iterable[str]) -> None:
        """
        Remove the trees of builds whose algorithm is gone; environments stay for others.

        While a backup is copying they stay as well, for the sweep of the next start.
        """
        if not await asyncio.to_thread(is_held, self._builds_dir):
            await asyncio.to_thread(_remove, [self.source_dir(build_id) for build_id in build_ids])

    async def sweep(self, runnable: Collection[str]) -> None:
        """
        Remove what builds that came to nothing have left. Not while builds are running.

        Args:
            runnable: Ids of all successful builds.
        """
        await asyncio.to_thread(_sweep, self._builds_dir, frozenset(runnable))
        await self._environments.sweep()

    async def _carry_out(
        self, build: Build, algorithm: Algorithm, steps: "_Steps", log: BuildLog
    ) -> Build:
        language = languages.check_language(algorithm.settings.language)
        source_dir = self.source_dir(build.build_id)
        steps.begin(f"checking out {build.commit_sha}")
        checkout = await self._repositories.check_out(
            algorithm.owner_id, algorithm.algorithm_id, build.commit_sha, source_dir
        )
        steps.tools.say(f"{len(checkout.files)} files, {checkout.size_bytes} bytes")
        build = replace(
            build,
            tree_digest=await asyncio.to_thread(trees.tree_digest, source_dir),
            source_bytes=checkout.size_bytes,
        )
        name = _name(source_dir, algorithm.name)
        if row := languages.ROWS.get(language):
            shop = Workshop(
                tree=source_dir,
                work_dir=self._work_dir(build),
                caches_dir=self._caches_dir,
                files=checkout.files,
                name=name,
                owner_id=algorithm.owner_id,
                tools=steps.tools,
                inherited=self._inherited,
                begin=steps.begin,
                runtime_dir=self._runtime_dir,
            )
            entry, size_bytes = await projects.make(row, shop)
            built = replace(build, language=language, entry=entry, source_bytes=size_bytes)
        else:
            entry = languages.find_entry(checkout.files, name)
            built = await self._python(build, algorithm, checkout, entry, steps, log)
        return replace(built, status=BuildStatus.SUCCEEDED)

    async def _python(  # noqa: PLR0917 - one caller
        self,
        build: Build,
        algorithm: Algorithm,
        checkout: Checkout,
        entry: str,
        steps: "_Steps",
        log: BuildLog,
    ) -> Build:
        tools, language = steps.tools, Language.PYTHON
        source_dir, work_dir = self.source_dir(build.build_id), self._work_dir(build)
        if languages.brings_own_kit(source_dir, checkout.files):
            language = Language.PYTHON_PIPE
            tools.say("The project brings a development kit of its own, which will serve it")
        steps.begin("resolving requirements")
        needed, interpreter = await self._provision.choose(
            source_dir, wish=self._wish(algorithm), tools=tools
        )
        sources = NO_SOURCES
        if needed.file and self._sources_of is not None:
            sources = await self._sources_of(algorithm.owner_id)
            log.hide(sources.secrets)
        modules_dir = self._modules_dir(build)
        await asyncio.to_thread(modules_dir.mkdir)
        lock = await self._provision.lock(
            needed,
            interpreter,
            tree=source_dir,
            scratch_dir=modules_dir,
            owner_id=algorithm.owner_id,
            sources=sources,
            tools=tools,
        )
        steps.begin("installing the environment")
        provided = await self._provision.provide(
            lock, interpreter, tree=source_dir, sources=sources, tools=tools
        )

        steps.begin(f"importing {entry}")
        await asyncio.to_thread(trees.copy, source_dir, work_dir / _IMPORTED)
        async with self._tested(checkout, provided, work_dir, steps) as tests:
            await self._smoke_import(entry, provided, work_dir / _IMPORTED, modules_dir, tools)
            signature = await asyncio.to_thread(read_signature, modules_dir)
            await tests()
        fast_start = await self._fast_starts.examine(
            provided.directory,
            scratch_dir=modules_dir,
            env=provided.variables,
            read_only=interpreter.mounts,
            tools=tools,
        )
        tools.say(f"Fast start: {fast_start.reason}")
        return replace(
            build,
            language=language,
            environment=provided.key,
            lock=lock,
            entry=entry,
            fast_start=fast_start,
            signature=signature,
        )

    def _wish(self, algorithm: Algorithm) -> str:
        """Return what the owner said about the version of Python, empty if nothing."""
        settings = algorithm.settings
        chosen = settings.environment_id and self._name_of_environment(settings.environment_id)
        return chosen or settings.package_set or settings.language

    def _work_dir(self, build: Build) -> Path:
        return self._builds_dir / f"{build.build_id}{_WORK_SUFFIX}"

    def _modules_dir(self, build: Build) -> Path:
        return self._builds_dir / f"{build.build_id}{_MODULES_SUFFIX}"

    @asynccontextmanager
    async def _tested(
        self, checkout: Checkout, provided: Provided, work_dir: Path, steps: "_Steps"
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """
        Begin to run the author's tests, if there are any; yield what waits for them.

        Both they and the first import take as long as the libraries take to load, which is most of
        the time of a build that installs nothing. So they do that at the same time.
        """
        if not languages.has_tests(checkout.files):
            yield _nothing
            return
        tools, let_speak = steps.tools.aside()
        target = work_dir / _TESTED
        await asyncio.to_thread(trees.copy, work_dir / _IMPORTED, target)
        testing = asyncio.ensure_future(self._provision.test(provided, target, tools=tools))

        async def tests() -> None:
            steps.begin("testing")
            let_speak()
            await testing

        try:
            yield tests
        finally:
            testing.cancel()
            await asyncio.wait({testing})
            if not testing.cancelled():
                testing.exception()  # whoever waited for it has heard, or had a reason not to wait

    async def _smoke_import(
        self, entry: str, provided: Provided, work_dir: Path, modules_dir: Path, tools: Tools
    ) -> None:
        code = await tools.run(
            *(provided.python, "-u", str(self._runtime_dir)),
            *("--check", entry, str(modules_dir)),
            cwd=work_dir,
            env=provided.variables,
            read_only=(*provided.read_only, self._runtime_dir),
            writable=(work_dir, modules_dir),
        )
        if code != 0:
            raise BuildFailed(f"{entry} cannot be loaded (exit code {code})")


async def _nothing() -> None:
    """Wait for no tests."""


class _Steps:
    """Tells a watcher and the log what is being done."""

    def __init__(self, tools: Tools, on_step: Callable[[str], None] | None) -> None:
        self.tools = tools
        self._on_step = on_step

    def begin(self, step: str) -> None:
        self.tools.say(f"{step[0].upper()}{step[1:]}")
        if self._on_step is not None:
            self._on_step(step)


def _name(source_dir: Path, default: str) -> str:
    conf = source_dir / languages.CONF
    return (languages.name_in_conf(conf.read_bytes()) if conf.is_file() else None) or default


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
