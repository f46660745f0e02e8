"""
What this host offers, for whoever runs the server: sandboxes, network, languages.

Source: runtime design, "Sandbox"; ours: `/v1/admin/host`.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import groupby
from typing import Any

from algorium_server.build.languages import FoundTool, toolchains
from algorium_server.build.source.git import GIT_MIN, git_version
from algorium_server.domain import access
from algorium_server.domain.errors import NotAuthorized
from algorium_server.domain.identity import Principal
from algorium_server.engine import doctor
from algorium_server.engine.findings import Finding, State
from algorium_server.engine.host import SandboxHost


class Examination:
    """
    Use case of examining the host.

    Args:
        host: What starts the sandboxes of this server.
    """

    def __init__(self, host: SandboxHost) -> None:
        self._host = host

    async def report(self, principal: Principal) -> dict[str, Any]:
        """
        Return what `examine` does, to administrators.

        Raises:
            NotAuthorized: Somebody else asks.
        """
        if not access.is_cluster_admin(principal):
            raise NotAuthorized(detail="only administrators see the host")
        return await examine(self._host)


async def examine(host: SandboxHost) -> dict[str, Any]:
    """
    Return what there is to know about a host, as JSON.

    The members of the sandbox's report, `findings` with a remedy for what is missing, and `usage`.
    """
    findings = [
        *await doctor.examine(host),
        git(await asyncio.to_thread(git_version)),
        *languages(await asyncio.to_thread(toolchains)),
    ]
    return {
        **host.report.as_dict(),
        "findings": [asdict(finding) for finding in findings],
        "usage": host.usage(),
    }


def git(version: tuple[int, int] | None) -> Finding:
    """Return a finding for git, which clones, pushes and builds need."""
    found = ".".join(map(str, version)) if version is not None else "not installed"
    if version is not None and version >= GIT_MIN:
        return Finding(what="git", state=State.OK, found=found)
    return Finding(
        what="git",
        state=State.MISSING if version is None else State.PARTIAL,
        found=f"{found}; {'.'.join(map(str, GIT_MIN))} or later is needed to clone and push",
        remedy="apt-get install git",
    )


def languages(tools: Iterable[FoundTool]) -> Iterator[Finding]:
    """Yield a finding for each language beside Python: it is there when all its tools are."""
    for language, group in groupby(tools, key=lambda tool: tool.language):
        of_language = list(group)
        lacking = [tool for tool in of_language if tool.path is None]
        needed = [tool for tool in lacking if not tool.is_optional]
        found = ", ".join(f"{tool.path}" for tool in of_language if tool.path is not None)
        if lacking:
            names = ", ".join(tool.command for tool in lacking)
            found = f"{found}; without {names}" if found else f"without {names}"
        packages = " ".join(sorted({tool.package for tool in lacking}))
        yield Finding(
            what=f"language {language}",
            state=State.MISSING if needed else State.PARTIAL if lacking else State.OK,
            found=found,
            remedy=f"apt-get install {packages}" if lacking else "",
        )
