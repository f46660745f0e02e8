"""
The place where a project of another language than Python is built: its tree, its tools, its cache.

Everything that a build installs becomes part of the tree, which never changes afterwards. What
tools download lies in a cache of the owner's: packages of these languages run code when they are
installed, so no owner shares a cache with another.

Source: wire specification of the runtime, "Builds".
"""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from algorium_server.build.confined import BuildFailed, Tools
from algorium_server.domain.environments import HOME_DIR, system_variables

OURS: Final = ".algorium"
"""Directory of the tree for what builds put there; an author's own of that name is removed."""

_INHERITED: Final = re.compile(
    r"(?i:(https?|all|no)_proxy)|SSL_CERT_(FILE|DIR)|NODE_EXTRA_CA_CERTS"
    r"|CARGO_(HTTP|NET|REGISTRIES|REGISTRY|SOURCE)_\w+|BUNDLE_MIRROR__\w+"
)
"""Variables of the server that tools get to see: how to reach packages, and nothing else."""


class Workshop:
    """
    Runs the tools of one build. What it was made of can be read from it.

    Args:
        tree: The checked-out project; what remains in it is what slots will see.
        work_dir: For whatever a build needs beside the tree; gone when the build is.
        caches_dir: Where caches lie, by tool and owner.
        files: Paths of the project's files, as checked out.
        name: What the algorithm calls itself.
        owner_id: Whose build it is.
        tools: Run what is not ours, into one log, to one deadline.
        inherited: Variables of the server.
        begin: Told what is being done, in a few words.
        runtime_dir: The runtime package; our pipes are in it.
    """

    def __init__(
        self,
        *,
        tree: Path,
        work_dir: Path,
        caches_dir: Path,
        files: tuple[str, ...],
        name: str,
        owner_id: str,
        tools: Tools,
        inherited: Mapping[str, str],
        begin: Callable[[str], None],
        runtime_dir: Path,
    ) -> None:
        self.tree = tree
        self.files = files
        self.name = name
        self.tools = tools
        self.caches_dir = caches_dir
        self.inherited = inherited
        self.runtime_dir = runtime_dir
        self.work_dir = work_dir
        self.begin = begin
        self._owner_id = owner_id

    def cache(self, tool: str) -> Path:
        """Return the owner's cache for *tool*; it exists."""
        directory = self.caches_dir / f"{tool}-{self._owner_id}"
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def text(self, path: str) -> str:
        """Return a file of the project as text; empty if it is not there."""
        return (self.tree / path).read_text("utf-8", "replace") if path in self.files else ""

    async def install(
        self,
        *argv: str,
        failed: str,
        env: Mapping[str, str] | None = None,
        caches: tuple[Path, ...] = (),
        read_only: tuple[Path, ...] = (),
        has_network: bool = True,
    ) -> None:
        """
        Run a tool that may change the tree.

        Args:
            argv: Program and arguments.
            failed: What to say if it fails.
            env: Variables beside the usual ones.
            caches: Directories beside the tree that it may change, too.
            read_only: What it must see beside the base system.
            has_network: Whether it may fetch packages.

        Raises:
            BuildFailed: It failed, or the time is over.
        """
        variables = {**system_variables(), "NO_COLOR": "1", **self.reaching_packages()}
        code = await self.tools.run(
            *argv,
            cwd=self.tree,
            env={**variables, **(env or {})},
            read_only=(self.runtime_dir, *read_only),
            writable=(self.tree, *caches),
            has_network=has_network,
        )
        if code != 0:
            raise BuildFailed(f"{failed} (exit code {code})")

    async def try_out(
        self,
        *argv: str,
        failed: str,
        env: Mapping[str, str] | None = None,
        caches: tuple[Path, ...] = (),
        read_only: tuple[Path, ...] = (),
    ) -> None:
        """
        Run the author's code in a copy of the finished tree, without a network.

        Raises:
            BuildFailed: It failed, or the time is over.
        """
        code = await self.tools.run(
            *argv,
            cwd=self.copy,
            env={**system_variables(), **(env or {})},
            read_only=(self.runtime_dir, *read_only),
            writable=(self.work_dir, *caches),
        )
        if code != 0:
            raise BuildFailed(f"{failed} (exit code {code})")

    async def load(
        self, command: str, pipe: str, entry: str, *, env: Mapping[str, str] | None = None
    ) -> None:
        """
        Load the entry with the pipe that slots use, in the finished tree.

        Args:
            command: The language's interpreter.
            pipe: File name of the pipe.
            entry: What it loads.
            env: Variables beside the usual ones.

        Raises:
            BuildFailed: It cannot be loaded, or the time is over.
        """
        program = str(self.runtime_dir / "languages" / pipe)
        failed = f"{entry} cannot be loaded"
        await self.try_out(command, program, "--check", entry, failed=failed, env=env)

    @property
    def copy(self) -> Path:
        """Where the copy of the tree is, once it is finished."""
        return self.work_dir / "tree"

    def keep(self, source: Path, name: str, *, missing: str = "") -> None:
        """
        Put a file that a tool has made where slots find it.

        Args:
            source: Where the tool has left it.
            name: What it is called from now on.
            missing: What to say if it is not there.

        Raises:
            BuildFailed: It is not there, or not a file.
        """
        if source.is_symlink() or not source.is_file():
            raise BuildFailed(missing or f"{source.name} is not a file")
        target = self.tree / OURS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target, follow_symlinks=False)

    def reaching_packages(self) -> dict[str, str]:
        """Return the server's variables that say how packages are reached."""
        return {n: value for n, value in self.inherited.items() if _INHERITED.fullmatch(n)}


def path_with(*directories: str | Path) -> dict[str, str]:
    """Return the variable PATH with *directories* before the usual ones."""
    usual = system_variables()["PATH"].removeprefix(f"{HOME_DIR}/.local/bin:")
    return {"PATH": ":".join([*map(str, directories), usual])}
