"""
Verifying a version: built again from its commit, and compared with what is stored.

    source        a fresh checkout of the commit    with the digest that was noted, and every file
                                                    that slots run
    environment   a fresh one of the stored lock,   with every file of the stored one
                  from freshly downloaded packages
    bytecode      what the source compiles to       with what Python keeps of it there
    signature     what the fresh import says        with what was noted

What is stored is only read. Environments share files with the cache they were made from, so the
fresh one is made from a cache of its own: else what was changed in one place would be changed in
both. Where packages cannot be downloaded, files are compared with the records of the distributions
they came with, and the answer is that it is not known.

Other languages install into the tree, so all of it is built again; what their tools make anew each
time differs, and is told.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from algorium_server.build import comparison, trees
from algorium_server.build.builder import Builder
from algorium_server.build.confined import BuildFailed, RunConfined, Tools
from algorium_server.build.environments import Environments, environment_key
from algorium_server.build.interpreters import Interpreter, known_interpreters
from algorium_server.build.provision import Provided
from algorium_server.build.scratch import read_json, read_signature
from algorium_server.build.source.repositories import Repositories
from algorium_server.domain.algorithms import Build, BuildStatus, Resolved
from algorium_server.domain.errors import NotFound, Unavailable
from algorium_server.domain.languages import Language
from algorium_server.domain.limits import BUILD_TIMEOUT_S, VERIFY_DIFFERENCES_SHOWN_MAX
from algorium_server.store import algorithms as rows
from algorium_server.store.database import Database

_TOOL_LINES_SHOWN: Final = 5
_OTHER_BYTECODE: Final = "bytecode.json"
_COMPARE_BYTECODE: Final = """\
import importlib.util, json, marshal, os, sys
top, found = sys.argv[1], []
for directory, _, files in os.walk(top):
    if os.path.basename(directory) != "__pycache__":
        continue
    for name in files:
        path = os.path.join(directory, name)
        try:
            source = importlib.util.source_from_cache(path)
        except ValueError:
            continue
        if ".opt-" in name or not os.path.isfile(source):
            continue  # nothing imports it
        try:
            with open(path, "rb") as file:
                kept = file.read()
            with open(source, "rb") as file:
                fresh = compile(file.read(), source, "exec", dont_inherit=True, optimize=0)
            is_same = marshal.loads(kept[16:]) == fresh
        except Exception:
            is_same = False
        if not is_same and kept[:4] == importlib.util.MAGIC_NUMBER:
            found.append(os.path.relpath(path, top))
with open(os.path.join(sys.argv[2], "bytecode.json"), "w") as file:
    json.dump(sorted(found), file)
"""
"""Code objects are equal if they do the same; the paths they were made at do not count."""


class State(StrEnum):
    """What a comparison came to."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """
    One comparison.

    Attributes:
        name: What was compared.
        details: What differs, or why it is not known; as far as there is room for.
        count: How many differences there are.
    """

    name: str
    state: State
    details: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """
    What verifying a version came to.

    Attributes:
        name: Owner, name and version.
    """

    name: str
    commit_sha: str
    checks: tuple[Check, ...]

    @property
    def is_same(self) -> bool:
        """Whether everything is what it was, as far as it should be known."""
        return all(check.state is State.SAME for check in self.checks)


class Verifying:
    """
    Verifies versions.

    Args:
        database: Where rows are.
        home: Holds repositories, builds and environments.
        run_confined: Runs tools and the author's code.
    """

    def __init__(self, *, database: Database, home: Path, run_confined: RunConfined) -> None:
        self._database = database
        self._repositories = Repositories(home / "repos")
        self._builds_dir = home / "builds"
        self._environments_dir = home / "envs"
        self._run_confined = run_confined

    async def verify(self, resolved: Resolved) -> Verdict:
        """
        Verify a version, or a commit.

        Raises:
            NotFound: Its build is gone.
            Unavailable: This host offers no confinement.
        """
        async with self._database.reading() as connection:
            build = await rows.build(connection, resolved.build.build_id)
        if build is None:
            raise NotFound("the build of this version is gone")
        version = resolved.version
        number = str(version.semantic_version) if version is not None else build.commit_sha
        scratch = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="algorium-verify-"))
        try:
            if build.language in {Language.PYTHON, Language.PYTHON_PIPE}:
                checks = await self._python(resolved, build, scratch)
            else:
                checks = await self._other(resolved, build, scratch)
        finally:
            await asyncio.to_thread(_remove, scratch)
        return Verdict(
            name=f"{resolved.owner.username}/{resolved.algorithm.name}/{number}",
            commit_sha=build.commit_sha,
            checks=tuple(checks),
        )

    async def _python(self, resolved: Resolved, build: Build, scratch: Path) -> list[Check]:
        tree = scratch / "tree"
        commit = await self._check_out(resolved, build, tree)
        if commit is not None:
            return [commit]
        stored = self._builds_dir / build.build_id
        said: list[bytes] = []
        tools = Tools(self._run_confined, on_output=said.append, timeout_s=BUILD_TIMEOUT_S)
        checks = [
            await asyncio.to_thread(_compare_digest, build, tree),
            await asyncio.to_thread(_compare_trees, tree, stored),
        ]
        provided, problem = await self._install(build, tree, scratch, tools, said)
        environment = self._environments_dir / build.environment
        if provided is None:
            checks.append(await asyncio.to_thread(_compare_records, environment, problem))
            checks.append(Check(name="signature", state=State.UNKNOWN, details=(problem,)))
            return checks
        checks.append(
            await asyncio.to_thread(_compare_environments, provided.directory, environment, build)
        )
        if await asyncio.to_thread(environment.is_dir):
            checks.append(await self._bytecode(environment, provided, scratch, tools))
        checks.append(await self._signature(build, tree, provided, scratch, tools))
        return checks

    async def _other(self, resolved: Resolved, build: Build, scratch: Path) -> list[Check]:
        tree = scratch / "tree"
        commit = await self._check_out(resolved, build, tree)
        if commit is not None:
            return [commit]
        checks = [await asyncio.to_thread(_compare_digest, build, tree)]
        builder = Builder(
            repositories=self._repositories,
            environments=Environments(scratch / "envs"),
            builds_dir=scratch / "builds",
            run_confined=self._run_confined,
        )
        again = await builder.build(
            replace(build, status=BuildStatus.IN_PROGRESS, log="", failure="", tree_digest=""),
            algorithm=resolved.algorithm,
        )
        if again.status is not BuildStatus.SUCCEEDED:
            details = tuple(again.log.splitlines()[-_TOOL_LINES_SHOWN:])
            return [*checks, Check(name="tree", state=State.UNKNOWN, details=details)]
        fresh = builder.source_dir(again.build_id)
        stored = self._builds_dir / build.build_id
        return [*checks, await asyncio.to_thread(_compare_trees, fresh, stored)]

    async def _check_out(self, resolved: Resolved, build: Build, tree: Path) -> Check | None:
        """Check the commit out; return a check only if that does not work."""
        algorithm = resolved.algorithm
        try:
            await self._repositories.check_out(
                algorithm.owner_id, algorithm.algorithm_id, build.commit_sha, tree
            )
        except (NotFound, BuildFailed) as error:
            return Check(name="commit", state=State.DIFFERENT, details=(str(error),), count=1)
        return None

    async def _install(
        self, build: Build, tree: Path, scratch: Path, tools: Tools, said: list[bytes]
    ) -> tuple[Provided | None, str]:
        """Make the environment anew; else return why not."""
        interpreter = await asyncio.to_thread(_interpreter_of, build)
        if interpreter is None:
            return None, "the interpreter that it was made for is not on this host any more"
        environments = Environments(scratch / "envs")
        try:
            key = await environments.ensure(
                build.lock, tools=tools, read_only=(tree,), interpreter=interpreter
            )
        except BuildFailed as error:
            words = b"".join(said).decode("utf-8", "replace").splitlines()
            last = next((line.strip() for line in reversed(words) if line.strip()), "")
            return None, f"the packages cannot be downloaded anew: {error} ({last})"
        return (
            Provided(
                directory=environments.path(key),
                key=key,
                lock=build.lock,
                interpreter=interpreter,
            ),
            "",
        )

    async def _bytecode(
        self, environment: Path, provided: Provided, scratch: Path, tools: Tools
    ) -> Check:
        """Compile what is stored, and compare; with the interpreter itself, in the sandbox."""
        said_dir = scratch / "bytecode"
        said_dir.mkdir()
        code = await tools.run(
            *(str(provided.interpreter.executable), "-I", "-S", "-c", _COMPARE_BYTECODE),
            *(str(environment), str(said_dir)),
            cwd=said_dir,
            env={"PATH": "/usr/bin:/bin"},
            read_only=(environment, *provided.interpreter.mounts),
            writable=(said_dir,),
        )
        others = read_json(said_dir / _OTHER_BYTECODE, list[str]) if code == 0 else None
        if others is None:
            details = (f"the bytecode cannot be compared (exit code {code})",)
            return Check(name="bytecode", state=State.UNKNOWN, details=details)
        return _check("bytecode", (f"{name} is not what its source compiles to" for name in others))

    async def _signature(
        self, build: Build, tree: Path, provided: Provided, scratch: Path, tools: Tools
    ) -> Check:
        work_dir, said_dir = scratch / "work", scratch / "said"
        await asyncio.to_thread(trees.copy, tree, work_dir)
        said_dir.mkdir()
        runtime_dir = _runtime_dir()
        code = await tools.run(
            *(provided.python, "-u", str(runtime_dir), "--check", build.entry, str(said_dir)),
            cwd=work_dir,
            env=provided.variables,
            read_only=(*provided.read_only, runtime_dir),
            writable=(work_dir, said_dir),
        )
        if code != 0:
            details = (f"{build.entry} cannot be loaded (exit code {code})",)
            return Check(name="signature", state=State.DIFFERENT, details=details, count=1)
        found = await asyncio.to_thread(read_signature, said_dir)
        pairs = {
            "input": (build.signature.input_schema, found.input_schema),
            "result": (build.signature.output_schema, found.output_schema),
        }
        return _check(
            "signature",
            (
                f"the schema of the {side} is another one now"
                for side, (old, new) in pairs.items()
                if old != new
            ),
        )


def _compare_digest(build: Build, tree: Path) -> Check:
    digest = trees.tree_digest(tree)
    if not build.tree_digest:
        details = ("the build is of a time when no digests were noted",)
        return Check(name="source", state=State.UNKNOWN, details=details)
    if digest != build.tree_digest:
        details = (f"the commit has the digest {digest}; noted was {build.tree_digest}",)
        return Check(name="source", state=State.DIFFERENT, details=details, count=1)
    return Check(name="source", state=State.SAME)


def _compare_trees(fresh: Path, stored: Path) -> Check:
    if not stored.is_dir():
        details = ("the tree of the build is missing",)
        return Check(name="tree", state=State.DIFFERENT, details=details, count=1)
    return _check(
        "tree",
        comparison.differences(comparison.tree_manifest(fresh), comparison.tree_manifest(stored)),
    )


def _compare_environments(fresh: Path, stored: Path, build: Build) -> Check:
    if not stored.is_dir():
        details = (f"the environment {build.environment} is missing",)
        return Check(name="environment", state=State.DIFFERENT, details=details, count=1)
    found = comparison.environment_manifest(stored)
    return _check(
        "environment", comparison.differences(comparison.environment_manifest(fresh), found)
    )


def _compare_records(stored: Path, problem: str) -> Check:
    """Do what can be done without packages."""
    check = _check("environment", comparison.broken_records(stored))
    if check.state is State.SAME:
        details = (problem, "all files are what the records in the environment itself say")
        return Check(name="environment", state=State.UNKNOWN, details=details)
    return check


def _check(name: str, lines: Iterable[str]) -> Check:
    details: list[str] = []
    count = 0
    for line in lines:
        count += 1
        if len(details) < VERIFY_DIFFERENCES_SHOWN_MAX:
            details.append(line)
    state = State.DIFFERENT if count else State.SAME
    return Check(name=name, state=state, details=tuple(details), count=count)


def _interpreter_of(build: Build) -> Interpreter | None:
    own = Interpreter.of_this_process()
    if environment_key(build.lock, own) == build.environment:
        return own
    for interpreter in known_interpreters():  # to find them takes a second
        if environment_key(build.lock, interpreter) == build.environment:
            return interpreter
    return None


def _runtime_dir() -> Path:
    spec = find_spec("algorium_runtime")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable("the runtime is not installed")
    return Path(spec.submodule_search_locations[0])


def _remove(directory: Path) -> None:
    """Remove a directory, environments included, of which nothing is writable."""
    for folder, _, _ in os.walk(directory):
        with suppress(OSError):
            os.chmod(folder, 0o700)
    shutil.rmtree(directory, ignore_errors=True)
