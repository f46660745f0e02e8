"""
uv, the tool that resolves and installs packages; the one module that knows its command line.

Source: runtime design, "Environments".
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import uv

from algorium_server.build.confined import Serve, Tools
from algorium_server.build.interpreters import Interpreter

_INHERITED: Final = re.compile(
    r"(?i:(https?|all|no)_proxy)"
    r"|SSL_CERT_(FILE|DIR)|SSL_CLIENT_CERT"
    r"|UV_((DEFAULT_|EXTRA_)?INDEX(_URL|_STRATEGY)?|INDEX_\w+_(USERNAME|PASSWORD)|FIND_LINKS)"
    r"|UV_(CONFIG_FILE|EXCLUDE_NEWER|OFFLINE|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS)"
    r"|UV_(HTTP_\w+|CONCURRENT_\w+|REQUEST_TIMEOUT|KEYRING_PROVIDER|PREVIEW)"
)
"""Variables of the server that uv gets to see: how to reach packages, and nothing else."""
_PATHS: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT", "UV_CONFIG_FILE")
_INDEXES: Final = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS")
_PASSWORDS: Final = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
_BASE_SYSTEM: Final = ("/etc/", "/usr/", "/lib", "/bin/", "/sbin/")
"""Readable in every sandbox anyway."""


_ASK_GATEWAY: Final = """\
export NO_PROXY="127.0.0.1${NO_PROXY:+,$NO_PROXY}" no_proxy="127.0.0.1${no_proxy:+,$no_proxy}"
"""
"""Where the address of the gateway is known to the sandbox alone, a shell has to put it in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSources:
    """
    Where an owner has packages that others do not get, as uv gets to know it.

    Everything is asked of the server, at an address inside of the sandbox. So no credentials are in
    there, where packages that are built from source run code of strangers.

    Attributes:
        indexes: Paths below that address, the most important first.
        links: The same of pages with links to files.
        replaces_others: Nothing is taken from the indexes of the server, or the public one.
        serve: Answers.
        secrets: What must not be in a log.
    """

    indexes: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    replaces_others: bool = False
    serve: Serve | None = field(default=None, compare=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self.serve is not None

    def script(self) -> str:
        """Return what a shell has to do before it becomes uv."""
        indexes = [f"$ALGORITHMIA_API{path}" for path in self.indexes]
        lines = [_ASK_GATEWAY]
        if self.replaces_others:
            lines += ["unset UV_INDEX_URL UV_EXTRA_INDEX_URL UV_INDEX UV_FIND_LINKS"]
            lines += [f'export UV_DEFAULT_INDEX="{indexes.pop()}"'] if indexes else [_NO_INDEX]
        if indexes:
            lines.append(f'export UV_INDEX="{" ".join(indexes)} ${{UV_INDEX:-}}"')
        if self.links:
            links = ",".join(f"$ALGORITHMIA_API{path}" for path in self.links)
            lines.append(f'export UV_FIND_LINKS="{links}${{UV_FIND_LINKS:+,$UV_FIND_LINKS}}"')
        return "\n".join([*lines, 'exec "$@"'])


_NO_INDEX: Final = "export UV_NO_INDEX=1"
NO_SOURCES: Final = OwnSources()
"""Of an owner who gets packages from where everybody does."""


def index_variables(inherited: Mapping[str, str]) -> dict[str, str]:
    """Pick what uv needs to reach packages, and translate what is only said to pip."""
    picked = {name: value for name, value in inherited.items() if _INHERITED.fullmatch(name)}
    if "UV_INDEX_URL" not in picked and (index := inherited.get("PIP_INDEX_URL")):
        picked.setdefault("UV_DEFAULT_INDEX", index)
    if "UV_EXTRA_INDEX_URL" not in picked and (extra := inherited.get("PIP_EXTRA_INDEX_URL")):
        picked.setdefault("UV_INDEX", extra)
    if links := inherited.get("PIP_FIND_LINKS"):
        picked.setdefault("UV_FIND_LINKS", ",".join(links.split()))
    if certificates := inherited.get("PIP_CERT"):
        picked.setdefault("SSL_CERT_FILE", certificates)
    return picked


def secrets_in(inherited: Mapping[str, str]) -> tuple[str, ...]:
    """Return the passwords among the variables that uv gets to see, as they are and as written."""
    found = []
    for name, value in index_variables(inherited).items():
        written = [value] if name.endswith("_PASSWORD") else _PASSWORDS.findall(value)
        found += [text for each in written for text in (each, unquote(each))]
    return tuple(dict.fromkeys(found))


class Uv:
    """
    Runs uv for environments.

    Args:
        cache_dir: The cache that all owners share. One owner's own lies beside it.
        inherited: Environment variables of the server.
    """

    def __init__(self, *, cache_dir: Path, inherited: Mapping[str, str]) -> None:
        self._cache_dir = cache_dir
        self._program = Path(uv.find_uv_bin())
        self._variables = {
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            **index_variables(inherited),
        }
        if "UV_CONFIG_FILE" not in self._variables:
            # Configuration that lies beside an author's requirements is not the operator's.
            self._variables["UV_NO_CONFIG"] = "1"

    async def export(self, project: Path, *, output: Path, tools: Tools) -> int:
        """
        Write what the `uv.lock` in the directory *project* names to the file *output*.

        It is not asked whether the lock is up to date: it says what its author tried.
        """
        return await self._run(
            *("export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--no-header"),
            *("--no-annotate", "--format", "requirements.txt", "--output-file", str(output)),
            cwd=project,
            writable=(output.parent,),
            read_only=(project,),
            is_offline=True,
            tools=tools,
        )

    async def resolve(
        self,
        requirements: Path,
        *,
        output: Path,
        python: Interpreter,
        private_to: str,
        builds: bool,
        is_offline: bool,
        is_tentative: bool,
        sources: OwnSources,
        read_only: tuple[Path, ...],
        tools: Tools,
    ) -> int:
        """
        Write the lock of a `requirements.txt` to the file *output*.

        Args:
            requirements: May include files beside it.
            output: Lies in a directory that only this call uses.
            python: What the packages are for.
            private_to: Owner whose cache is used; empty for the shared one.
            builds: Whether packages may be built from source, which runs their code; only in a
                cache of one owner.
            is_offline: Use only what is cached.
            is_tentative: See `Tools.run`.
            sources: Of the owner.
            read_only: Further files that may be included.
            tools: Runs it.
        """
        return await self._run(
            *("pip", "compile", "--no-header", "--no-annotate"),
            *("--python", str(python.executable)),
            *_builds(builds),
            *("--output-file", str(output), str(requirements)),
            cwd=requirements.parent,
            writable=(output.parent,),
            read_only=(requirements.parent, *python.mounts, *read_only),
            private_to=private_to,
            is_offline=is_offline,
            is_tentative=is_tentative,
            sources=sources,
            tools=tools,
        )

    async def make_environment(self, directory: Path, *, python: Interpreter, tools: Tools) -> int:
        """Make an empty environment in the directory, which exists."""
        return await self._run(
            *("venv", "--quiet", "--no-project", "--allow-existing"),
            *("--python", str(python.executable), str(directory)),
            cwd=directory,
            writable=(directory,),
            read_only=python.mounts,
            is_offline=True,
            tools=tools,
        )

    async def install(
        self,
        lock: Path,
        *,
        directory: Path,
        python: Interpreter,
        private_to: str,
        builds: bool,
        is_offline: bool,
        is_tentative: bool,
        read_only: tuple[Path, ...],
        sources: OwnSources,
        tools: Tools,
    ) -> int:
        """
        Install what the file *lock* names, and nothing else, into an environment.

        Args:
            lock: Lies in the environment.
            directory: The environment; its parent holds the caches.
            python: What it was made for.
            private_to: See `resolve`, like the following.
            builds: See there.
            is_offline: See there.
            is_tentative: See there.
            read_only: Directories the lock refers to; relative paths begin in the first one.
            sources: See there.
            tools: Runs it.
        """
        return await self._run(
            *("pip", "install", "--no-deps", "--link-mode", "hardlink", *_builds(builds)),
            *("--python", str(directory / "bin" / "python"), "--requirements", str(lock)),
            cwd=directory,
            # One mount, or no hard links; but not where a package's own code runs.
            writable=(directory if builds else directory.parent,),
            read_only=(*python.mounts, *read_only),
            private_to=private_to,
            is_offline=is_offline,
            is_tentative=is_tentative,
            sources=sources,
            tools=tools,
        )

    async def _run(
        self,
        *arguments: str,
        cwd: Path,
        tools: Tools,
        writable: tuple[Path, ...],
        read_only: tuple[Path, ...] = (),
        private_to: str = "",
        is_offline: bool = False,
        is_tentative: bool = False,
        sources: OwnSources = NO_SOURCES,
    ) -> int:
        cache_dir = self._cache_of(private_to)
        cache_dir.mkdir(parents=True, exist_ok=True)
        variables = {**self._variables, "UV_CACHE_DIR": str(cache_dir)}
        if is_offline:
            variables["UV_OFFLINE"] = "1"
        command = (str(self._program), *arguments)
        if sources:
            command = ("/bin/sh", "-c", sources.script(), "uv", *command)
        return await tools.run(
            *command,
            cwd=cwd,
            env=variables,
            read_only=(self._program, *self._local_paths(), *read_only),
            writable=writable if _is_within(cache_dir, writable) else (*writable, cache_dir),
            has_network=not is_offline,
            is_tentative=is_tentative,
            serve=sources.serve,
        )

    def _cache_of(self, private_to: str) -> Path:
        if not private_to:
            return self._cache_dir
        return self._cache_dir.with_name(f"{self._cache_dir.name}-{private_to}")

    def _local_paths(self) -> tuple[Path, ...]:
        """Files the variables speak of: certificates, and indexes that are directories."""
        texts = [self._variables.get(name, "") for name in _PATHS]
        for name in _INDEXES:
            texts += re.split(r"[\s,]+", self._variables.get(name, ""))
        paths = [text.removeprefix("file://") for text in texts]
        return tuple(
            Path(path)
            for path in dict.fromkeys(paths)
            if path.startswith("/") and not path.startswith(_BASE_SYSTEM) and os.path.exists(path)
        )


def _is_within(path: Path, directories: tuple[Path, ...]) -> bool:
    return any(path.is_relative_to(directory) for directory in directories)


def _builds(builds: bool) -> tuple[str, ...]:
    return () if builds else ("--only-binary", ":all:")
