"""
Environments: locked, shared, read-only, made by uv.

    requirements -> lock -> key -> environment

    DIRECTORY/KEY            an environment
    DIRECTORY/.cache/uv      packages that all owners share
    DIRECTORY/.cache/uv-OWNER_ID
    DIRECTORY/.fast-start    what may be imported ahead, by environment and modules

A lock (`locks`) names every distribution with its version. The key is a hash of the lock and of the
interpreter, so versions with equal needs share one environment. Environments are made in place,
since their paths are written into them, and count only with the marker `complete`.

Two rules keep one owner's code out of another's environment:

- Code of packages runs at installation only when a package must be built from source. Then the
  owner gets a package cache and environments of their own: the shared cache holds wheels that
  were never more than unpacked. The same holds for owners with package sources of their own,
  whose packages nobody else may get.
- Files of an environment are hard links into the cache, so neither is ever writable while code
  from it runs. Bytecode is made by the base interpreter, which compiles and does not import;
  without it every cold start would pay for compiling.

No link leads from one mount of a sandbox into another. Where no code of packages runs, uv
therefore gets the whole directory as one mount. Where some does, it gets the environment and the
owner's cache only, and copies.

Source: runtime design, "Environments".
"""

import asyncio
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Collection, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from algorium_server.build import locks
from algorium_server.build.confined import BuildFailed, Tools
from algorium_server.build.interpreters import Interpreter
from algorium_server.build.packages import NO_SOURCES, OwnSources, Uv, secrets_in

_MARKER: Final = "complete"
_CACHE: Final = ".cache"
_FAST_START: Final = ".fast-start"
_LOCK: Final = "requirements.lock"
_PLACED_LOCK: Final = ".requirements.lock"
_TESTS_OF_PACKAGES: Final = r"/site-packages/.+/tests/"
_STAGING_PREFIX: Final = ".resolve-"


def environment_key(lock: str, interpreter: Interpreter) -> str:
    """Return the name of the environment that *lock* describes."""
    return hashlib.sha256(f"{interpreter.identity}\n{lock}".encode()).hexdigest()[:32]


class Environments:
    """
    The environments of one installation.

    Args:
        directory: Where they lie, by key, with the caches they are made from.
        interpreter: Which Python they are for if nothing else is said; the server's own if not
            given.
        inherited: Where proxies, certificates and package indexes are read from; the variables
            of this process if not given.

    Attributes:
        secrets: Passwords among them, which no log may hold.
    """

    def __init__(
        self,
        directory: Path,
        *,
        interpreter: Interpreter | None = None,
        inherited: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        self._interpreter = interpreter or Interpreter.of_this_process()
        self._uv = Uv(
            cache_dir=directory / _CACHE / "uv",
            inherited=os.environ if inherited is None else inherited,
        )
        self.secrets = secrets_in(os.environ if inherited is None else inherited)
        self._being_made: dict[str, asyncio.Lock] = {}

    def path(self, key: str) -> Path:
        """Return where the environment of that key is, or would be."""
        return self._directory / key

    @property
    def fast_starts_dir(self) -> Path:
        """Where to keep what was found out about importing modules of environments ahead."""
        return self._directory / _FAST_START

    async def locked(self, project: Path, *, output: Path, tools: Tools) -> None:
        """
        Write what the `uv.lock` of a project names to a `requirements.txt`; needs no network.

        Args:
            project: Holds the lock and the `pyproject.toml` that it was made from.
            output: Lies in a directory that only this call uses.
            tools: Run uv.

        Raises:
            BuildFailed: It is none, or one that this uv does not understand.
        """
        if await self._uv.export(project, output=output, tools=tools) != 0:
            raise BuildFailed("the uv.lock cannot be read")

    async def resolve(
        self,
        requirements: Path,
        *,
        owner_id: str,
        tools: Tools,
        interpreter: Interpreter | None = None,
        sources: OwnSources = NO_SOURCES,
        named: str = "",
        read_only: Collection[Path] = (),
    ) -> str:
        """
        Turn requirements into a lock; nothing is installed.

        Where every requirement is pinned, cached answers cannot be outdated and are taken first.
        A file without requirements needs neither uv nor a network.

        Args:
            requirements: A `requirements.txt`, which may include files beside it, and may be
                missing.
            owner_id: Whose cache is used if a package must be built from source.
            tools: Run uv; their log gets the resolver's own words.
            interpreter: Which Python the packages are for.
            sources: Where the owner has packages that others do not get.
            named: What the author calls the file, if something else.
            read_only: What it refers to beside its own directory.

        Raises:
            BuildFailed: There is no solution, or no way to find out.
        """
        text = await asyncio.to_thread(_read, requirements)
        if not locks.lines(text):
            return ""
        is_pinned = locks.is_pinned(text)
        staging = await asyncio.to_thread(self._make_staging)
        output = staging / _LOCK
        unbuilt = owner_id if sources else ""
        try:
            for private_to, builds, is_offline in (
                (unbuilt, False, is_pinned),
                (unbuilt, False, not is_pinned),
                (owner_id, True, False),
            ):
                code = await self._uv.resolve(
                    requirements,
                    output=output,
                    python=self._of(interpreter),
                    private_to=private_to,
                    builds=builds,
                    is_offline=is_offline,
                    is_tentative=not builds,
                    sources=sources,
                    read_only=tuple(read_only),
                    tools=tools,
                )
                if code == 0:
                    return locks.put_together(
                        text,
                        resolved=output.read_text("utf-8"),
                        private_to=private_to,
                        builds=builds,
                        files=await asyncio.to_thread(locks.digest_of_packages, text, requirements),
                    )
        finally:
            await asyncio.to_thread(shutil.rmtree, staging, True)
        raise BuildFailed(f"the requirements in {named or requirements.name} cannot be resolved")

    async def ensure(
        self,
        lock: str,
        *,
        tools: Tools,
        read_only: Collection[Path] = (),
        interpreter: Interpreter | None = None,
        sources: OwnSources = NO_SOURCES,
    ) -> str:
        """
        Make the environment that *lock* describes, unless it is there already.

        Any number of calls for one environment at the same time make it once.

        Args:
            lock: From `resolve`; empty for nothing but the standard library.
            tools: Run uv.
            read_only: What the lock refers to by path; relative ones begin in the first one.
            interpreter: Which Python it is for.
            sources: As for `resolve`.

        Returns:
            Its key.

        Raises:
            BuildFailed: Something in the lock cannot be installed.
        """
        interpreter = self._of(interpreter)
        key = environment_key(lock, interpreter)
        async with self._being_made.setdefault(key, asyncio.Lock()):
            if (self.path(key) / _MARKER).exists():
                tools.say(f"Environment {key} is there already")
                return key
            await asyncio.to_thread(_make_empty, self.path(key))
            try:
                await self._make(
                    self.path(key), lock, interpreter, tools, tuple(read_only), sources
                )
            except BaseException:
                await _to_the_end(asyncio.to_thread(_remove, self.path(key)))
                raise
        tools.say(f"Environment {key} is ready")
        return key

    async def sweep(self) -> None:
        """Remove what a server that was killed left half made. Not while builds are running."""
        await asyncio.to_thread(self._sweep)

    def _of(self, interpreter: Interpreter | None) -> Interpreter:
        return interpreter or self._interpreter

    async def _make(  # noqa: PLR0917 - one caller
        self,
        directory: Path,
        lock: str,
        interpreter: Interpreter,
        tools: Tools,
        read_only: tuple[Path, ...],
        sources: OwnSources,
    ) -> None:
        if await self._uv.make_environment(directory, python=interpreter, tools=tools) != 0:
            raise BuildFailed("the environment cannot be created")
        lock_file = directory / _LOCK
        lock_file.write_text(lock, "utf-8")
        if lock:
            private_to, builds = locks.private_to(lock)
            placed = directory / _PLACED_LOCK
            placed.write_text(locks.placed(lock, *read_only[:1]), "utf-8")
            for is_offline in (True, False):
                code = await self._uv.install(
                    placed,
                    directory=directory,
                    python=interpreter,
                    private_to=private_to,
                    builds=builds,
                    is_offline=is_offline,
                    is_tentative=is_offline,
                    read_only=read_only,
                    sources=sources,
                    tools=tools,
                )
                if code == 0:
                    break
            else:
                raise BuildFailed("the requirements cannot be installed")
            placed.unlink()
            await self._compile(directory, interpreter, tools)
        await _to_the_end(asyncio.to_thread(_finish, directory, interpreter))

    async def _compile(self, directory: Path, interpreter: Interpreter, tools: Tools) -> None:
        # -S: path files of the environment are not executed. Tests of packages are half of them,
        # and nobody imports those.
        compile_all = (
            *(str(interpreter.executable), "-I", "-S", "-m", "compileall", "-qq"),
            *("-x", _TESTS_OF_PACKAGES),
        )
        for processes in ("0", "1"):  # as many as there are CPUs; some hosts allow no second one
            code = await tools.run(
                *(*compile_all, "-j", processes, str(directory / "lib")),
                cwd=directory,
                env={"PATH": "/usr/bin:/bin"},
                read_only=interpreter.mounts,
                writable=(directory,),
                is_tentative=True,
            )
            if code == 0:
                return
        # What does not compile, such as a template, is no error: nobody can import it.

    def _make_staging(self) -> Path:
        self._directory.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=self._directory))

    def _sweep(self) -> None:
        if not self._directory.exists():
            return
        for directory in self._directory.iterdir():
            if directory.name not in {_CACHE, _FAST_START} and not (directory / _MARKER).exists():
                _remove(directory)


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await *work* in a thread; when cancelled, wait for the thread first: it cannot be stopped."""
    working = asyncio.ensure_future(work)
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        raise


def _read(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""


class _Made(msgspec.Struct, kw_only=True):
    """What the marker of an environment says; older ones say nothing."""

    version: str
    prefix: str


def interpreter_dir(environment: Path) -> Path | None:
    """
    Return the directory that holds the interpreter of an environment; blocks, for one small file.

    None if it is the server's own. Nobody but us ever wrote what is read.
    """
    try:
        made = msgspec.json.decode((environment / _MARKER).read_bytes(), type=_Made)
    except (OSError, msgspec.DecodeError):
        return None
    return None if Path(made.prefix) == Interpreter.of_this_process().prefix else Path(made.prefix)


def _finish(directory: Path, interpreter: Interpreter) -> None:
    """Make an environment read-only and say that it is complete, in this order."""
    for path in _inside(directory):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    os.sync()  # the marker must not reach the disk before what it speaks of
    # Under another name first: whoever finds the marker finds all of it. Packages may have left
    # something under either name, a link even.
    half = directory / f"{_MARKER}.{uuid.uuid4().hex}"
    made = _Made(version=interpreter.version, prefix=str(interpreter.prefix))
    with half.open("xb") as file:
        file.write(msgspec.json.encode(made))
    half.chmod(0o444)
    half.rename(directory / _MARKER)
    directory.chmod(0o555)


def _remove(directory: Path) -> None:
    """Remove a directory of which nothing may be writable."""
    if directory.exists():
        directory.chmod(0o755)
        (directory / _MARKER).unlink(missing_ok=True)  # first: half a tree must not look whole
        for path in _inside(directory):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(directory)


def _make_empty(directory: Path) -> None:
    _remove(directory)
    directory.mkdir(parents=True)


def _inside(directory: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(directory):
        yield from (Path(folder, name) for name in (*names, *files))
