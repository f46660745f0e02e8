"""
Environments: locked, shared, read-only, made by uv.

    requirements.txt -> lock -> key -> environment

    DIRECTORY/KEY            an environment
    DIRECTORY/.cache/uv      packages that all owners share
    DIRECTORY/.cache/uv-OWNER_ID
    DIRECTORY/.fast-start    what may be imported ahead, by environment and modules

A lock names every distribution with its version. The key is a hash of the lock and of the
interpreter, so versions with equal needs share one environment. Environments are made in place,
since their paths are written into them, and count only with the marker `complete`.

Two rules keep one owner's code out of another's environment:

- Code of packages runs at installation only when a package must be built from source. Then the
  owner gets a package cache and environments of their own: the shared cache holds wheels that
  were never more than unpacked.
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
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Collection, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from algorium_server.build.confined import BuildFailed, Tools
from algorium_server.build.packages import Uv

_MARKER: Final = "complete"
_CACHE: Final = ".cache"
_FAST_START: Final = ".fast-start"
_LOCK: Final = "requirements.lock"
_STAGING_PREFIX: Final = ".resolve-"
_PRIVATE: Final = "# built from source, private to "
_INDEX_OPTION: Final = re.compile(
    r"(--(extra-)?index-url|--find-links|--no-index|--trusted-host|-[if])\b.*"
)
_PINNED: Final = re.compile(r"[A-Za-z0-9._-]+(\[[^]]*\])?\s*===?\s*[^*,\s]+(\s*;.*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """
    The Python that environments are made for.

    Attributes:
        executable: Not one inside of a virtual environment.
        identity: Differs whenever environments made for one may not work with the other.
    """

    executable: Path
    identity: str

    @classmethod
    def of_this_process(cls) -> Self:
        """Return the base interpreter of the running process."""
        executable = getattr(sys, "_base_executable", None) or sys.executable
        return cls(
            executable=Path(executable),
            identity=f"{sys.version} {sysconfig.get_platform()} {executable}",
        )


def environment_key(lock: str, interpreter: Interpreter) -> str:
    """Return the name of the environment that *lock* describes."""
    return hashlib.sha256(f"{interpreter.identity}\n{lock}".encode()).hexdigest()[:32]


class Environments:
    """
    The environments of one installation.

    Args:
        directory: Where they lie, by key, with the caches they are made from.
        interpreter: Which Python they are for; the server's own if not given.
        inherited: Where proxies, certificates and package indexes are read from; the variables
            of this process if not given.
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
            python=self._interpreter.executable,
            cache_dir=directory / _CACHE / "uv",
            inherited=os.environ if inherited is None else inherited,
        )
        self._being_made: dict[str, asyncio.Lock] = {}

    def path(self, key: str) -> Path:
        """Return where the environment of that key is, or would be."""
        return self._directory / key

    @property
    def fast_starts_dir(self) -> Path:
        """Where to keep what was found out about importing modules of environments ahead."""
        return self._directory / _FAST_START

    async def resolve(self, requirements: Path, *, owner_id: str, tools: Tools) -> str:
        """
        Turn a `requirements.txt` into a lock; nothing is installed.

        Where every requirement is pinned, cached answers cannot be outdated and are taken first.
        A file without requirements needs neither uv nor a network.

        Args:
            requirements: May include files beside it, and may be missing.
            owner_id: Whose cache is used if a package must be built from source.
            tools: Run uv; their log gets the resolver's own words.

        Raises:
            BuildFailed: There is no solution, or no way to find out.
        """
        text = await asyncio.to_thread(_read, requirements)
        if not _lines(text):
            return ""
        is_pinned = all(map(_PINNED.fullmatch, _lines(text)))
        staging = await asyncio.to_thread(self._make_staging)
        output = staging / _LOCK
        try:
            for private_to, is_offline in (
                ("", is_pinned),
                ("", not is_pinned),
                (owner_id, False),
            ):
                code = await self._uv.resolve(
                    requirements,
                    output=output,
                    private_to=private_to,
                    is_offline=is_offline,
                    is_tentative=not private_to,
                    tools=tools,
                )
                if code == 0:
                    return _lock(text, resolved=output.read_text("utf-8"), private_to=private_to)
        finally:
            await asyncio.to_thread(shutil.rmtree, staging, True)
        raise BuildFailed(f"the requirements in {requirements.name} cannot be resolved")

    async def ensure(self, lock: str, *, tools: Tools, read_only: Collection[Path] = ()) -> str:
        """
        Make the environment that *lock* describes, unless it is there already.

        Any number of calls for one environment at the same time make it once.

        Args:
            lock: From `resolve`; empty for nothing but the standard library.
            tools: Run uv.
            read_only: What the lock refers to by path.

        Returns:
            Its key.

        Raises:
            BuildFailed: Something in the lock cannot be installed.
        """
        key = environment_key(lock, self._interpreter)
        async with self._being_made.setdefault(key, asyncio.Lock()):
            if (self.path(key) / _MARKER).exists():
                tools.say(f"Environment {key} is there already")
                return key
            await asyncio.to_thread(_make_empty, self.path(key))
            try:
                await self._make(self.path(key), lock, tools, tuple(read_only))
            except BaseException:
                await _to_the_end(asyncio.to_thread(_remove, self.path(key)))
                raise
        tools.say(f"Environment {key} is ready")
        return key

    async def sweep(self) -> None:
        """Remove what a server that was killed left half made. Not while builds are running."""
        await asyncio.to_thread(self._sweep)

    async def _make(
        self, directory: Path, lock: str, tools: Tools, read_only: tuple[Path, ...]
    ) -> None:
        if await self._uv.make_environment(directory, tools=tools) != 0:
            raise BuildFailed("the environment cannot be created")
        lock_file = directory / _LOCK
        lock_file.write_text(lock, "utf-8")
        if lock:
            first_line = lock.partition("\n")[0]
            private_to = (
                first_line.removeprefix(_PRIVATE) if first_line.startswith(_PRIVATE) else ""
            )
            for is_offline in (True, False):
                code = await self._uv.install(
                    lock_file,
                    directory=directory,
                    private_to=private_to,
                    is_offline=is_offline,
                    is_tentative=is_offline,
                    read_only=read_only,
                    tools=tools,
                )
                if code == 0:
                    break
            else:
                raise BuildFailed("the requirements cannot be installed")
            await self._compile(directory, tools)
        await _to_the_end(asyncio.to_thread(_finish, directory))

    async def _compile(self, directory: Path, tools: Tools) -> None:
        # -S: path files of the environment are not executed.
        compile_all = (str(self._interpreter.executable), "-I", "-S", "-m", "compileall", "-qq")
        for processes in ("0", "1"):  # as many as there are CPUs; some hosts allow no second one
            code = await tools.run(
                *(*compile_all, "-j", processes, str(directory / "lib")),
                cwd=directory,
                env={"PATH": "/usr/bin:/bin"},
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


def _lock(requirements: str, *, resolved: str, private_to: str) -> str:
    """
    Put a lock together: for whom, from where, what.

    A file with hashes names everything already, as pip demands of one. It is kept as it is, so
    that the author's hashes are those that are checked.
    """
    header = [_PRIVATE + private_to] if private_to else []
    if "--hash" in requirements:
        return "\n".join([*header, *_lines(requirements), ""])
    options = [line for line in _lines(requirements) if _INDEX_OPTION.fullmatch(line)]
    return "\n".join([*header, *options, resolved])


def _lines(requirements: str) -> list[str]:
    """Return what is left of the lines of a requirements file without comments."""
    joined = re.sub(r"\\\r?\n", " ", requirements)
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def _finish(directory: Path) -> None:
    """Make an environment read-only and say that it is complete, in this order."""
    for path in _inside(directory):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    os.sync()  # the marker must not reach the disk before what it speaks of
    (directory / _MARKER).touch()
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
