"""
uv, the tool that resolves and installs packages; the one module that knows its command line.

Source: runtime design, "Environments".
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import uv

from algorium_server.build.confined import Tools

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
_BASE_SYSTEM: Final = ("/etc/", "/usr/", "/lib", "/bin/", "/sbin/")
"""Readable in every sandbox anyway."""


def index_variables(inherited: Mapping[str, str]) -> dict[str, str]:
    """Pick what uv needs to reach packages, and translate what is only said to pip."""
    picked = {name: value for name, value in inherited.items() if _INHERITED.fullmatch(name)}
    if "UV_INDEX_URL" not in picked and (index := inherited.get("PIP_INDEX_URL")):
        picked.setdefault("UV_DEFAULT_INDEX", index)
    if "UV_EXTRA_INDEX_URL" not in picked and (extra := inherited.get("PIP_EXTRA_INDEX_URL")):
        picked.setdefault("UV_INDEX", extra)
    return picked


class Uv:
    """
    Runs uv for environments.

    Args:
        python: The interpreter that environments are made for.
        cache_dir: The cache that all owners share. One owner's own lies beside it.
        inherited: Environment variables of the server.
    """

    def __init__(self, *, python: Path, cache_dir: Path, inherited: Mapping[str, str]) -> None:
        self._python = python
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

    async def resolve(
        self,
        requirements: Path,
        *,
        output: Path,
        private_to: str,
        is_offline: bool,
        is_tentative: bool,
        tools: Tools,
    ) -> int:
        """
        Write the lock of a `requirements.txt` to the file *output*.

        Args:
            requirements: May include files beside it.
            output: Lies in a directory that only this call uses.
            private_to: Owner whose cache is used and for whom packages are built from source;
                empty for the shared cache and wheels only.
            is_offline: Use only what is cached.
            is_tentative: See `Tools.run`.
            tools: Runs it.
        """
        return await self._run(
            *("pip", "compile", "--no-header", "--no-annotate", "--python", str(self._python)),
            *_builds(private_to),
            *("--output-file", str(output), str(requirements)),
            cwd=requirements.parent,
            writable=(output.parent,),
            read_only=(requirements.parent,),
            private_to=private_to,
            is_offline=is_offline,
            is_tentative=is_tentative,
            tools=tools,
        )

    async def make_environment(self, directory: Path, *, tools: Tools) -> int:
        """Make an empty environment in the directory, which exists."""
        return await self._run(
            *("venv", "--quiet", "--no-project", "--allow-existing"),
            *("--python", str(self._python), str(directory)),
            cwd=directory,
            writable=(directory,),
            is_offline=True,
            tools=tools,
        )

    async def install(
        self,
        lock: Path,
        *,
        directory: Path,
        private_to: str,
        is_offline: bool,
        is_tentative: bool,
        read_only: tuple[Path, ...],
        tools: Tools,
    ) -> int:
        """
        Install what the file *lock* names, and nothing else, into an environment.

        Args:
            lock: Lies in the environment.
            directory: The environment; its parent holds the caches.
            private_to: See `resolve`, like the following.
            is_offline: See there.
            is_tentative: See there.
            read_only: Files the lock refers to.
            tools: Runs it.
        """
        return await self._run(
            *("pip", "install", "--no-deps", "--link-mode", "hardlink", *_builds(private_to)),
            *("--python", str(directory / "bin" / "python"), "--requirements", str(lock)),
            cwd=directory,
            # One mount, or no hard links; but not where a package's own code runs.
            writable=(directory if private_to else directory.parent,),
            read_only=read_only,
            private_to=private_to,
            is_offline=is_offline,
            is_tentative=is_tentative,
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
    ) -> int:
        cache_dir = self._cache_of(private_to)
        cache_dir.mkdir(parents=True, exist_ok=True)
        variables = {**self._variables, "UV_CACHE_DIR": str(cache_dir)}
        if is_offline:
            variables["UV_OFFLINE"] = "1"
        return await tools.run(
            str(self._program),
            *arguments,
            cwd=cwd,
            env=variables,
            read_only=(self._program, *self._local_paths(), *read_only),
            writable=writable if _is_within(cache_dir, writable) else (*writable, cache_dir),
            has_network=not is_offline,
            is_tentative=is_tentative,
        )

    def _cache_of(self, private_to: str) -> Path:
        if not private_to:
            return self._cache_dir
        return self._cache_dir.with_name(f"{self._cache_dir.name}-{private_to}")

    def _local_paths(self) -> tuple[Path, ...]:
        """Files the variables speak of: certificates, and indexes that are directories."""
        texts = [self._variables.get(name, "") for name in _PATHS]
        texts += [part for name in _INDEXES for part in self._variables.get(name, "").split()]
        paths = [text.removeprefix("file://") for text in texts]
        return tuple(
            Path(path)
            for path in dict.fromkeys(paths)
            if path.startswith("/") and not path.startswith(_BASE_SYSTEM) and os.path.exists(path)
        )


def _is_within(path: Path, directories: tuple[Path, ...]) -> bool:
    return any(path.is_relative_to(directory) for directory in directories)


def _builds(private_to: str) -> tuple[str, ...]:
    """Allow packages to be built from source, which runs their code, only in a private cache."""
    return () if private_to else ("--only-binary", ":all:")
