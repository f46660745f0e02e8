"""
Finds out what a host offers: asks the sandboxes' host for what it tried, and tries the rest.

Source: runtime design, "Sandbox".
"""

import asyncio
import platform
import shutil
from contextlib import suppress
from typing import Final

from algorium_server.domain.limits import MIB
from algorium_server.engine import probe
from algorium_server.engine.findings import Facts, Finding, findings
from algorium_server.engine.host import SandboxHost
from algorium_server.engine.program import base_interpreter, interpreter_mounts
from algorium_server.engine.sandbox import (
    ALGORITHM_DIR,
    RUNTIME_DIR,
    Level,
    SandboxLimits,
    SandboxSpec,
    ZygoteSpec,
)

_ZYGOTE_S_MAX: Final = 10.0
_POLL_S: Final = 0.02


async def examine(host: SandboxHost) -> tuple[Finding, ...]:
    """Say what a host offers and what it lacks, one thing after the other."""
    bubblewrap, translation = await asyncio.gather(
        _version_of(probe.find_bubblewrap()), _version_of(host.translation)
    )
    facts = Facts(
        system=f"{platform.system()} {platform.release()}",
        bubblewrap=bubblewrap,
        landlock_abi=host.landlock_abi,
        cgroups=host.cgroups,
        has_filters=probe.NO_FILTERS not in host.report.missing,
        translation=translation,
        zygotes=_zygotes(host),
        ssh=shutil.which("ssh") or "",
    )
    return tuple(findings(host.report, facts))


async def try_zygote(host: SandboxHost) -> None:
    """Have a zygote made, if this host can have any; `examine` tells how that went."""
    if host.level is not Level.FULL:
        return
    trial = SandboxSpec(
        argv=(base_interpreter(), "-u", RUNTIME_DIR, ""),
        mounts=tuple(interpreter_mounts()),
        copies=((RUNTIME_DIR, ALGORITHM_DIR),),  # a source that only a slot would have copied
        has_slot_socket=True,
        zygote=ZygoteSpec(modules=()),
        limits=SandboxLimits(memory_bytes=256 * MIB, processes=16, open_files=64, tmp_bytes=MIB),
    )
    host.prepare(trial)
    with suppress(TimeoutError):
        async with asyncio.timeout(_ZYGOTE_S_MAX):
            while _zygotes(host) is None:  # noqa: ASYNC110 - it tells nobody of its zygotes
                await asyncio.sleep(_POLL_S)


def _zygotes(host: SandboxHost) -> str | None:
    """Return why slots cannot be forked; nothing if they can, None if nobody knows yet."""
    states = {each["state"]: each["reason"] for each in host.zygote_events}
    return "" if "ready" in states else states.get("refused")


async def _version_of(program: str) -> str:
    """Return what a program says of its version, on its first line; nothing if it is not there."""
    if not program:
        return ""
    asked = await asyncio.create_subprocess_exec(
        program,
        "--version",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await asked.communicate()
    first, *_ = [*said.decode(errors="replace").splitlines(), ""]
    return f"{first.strip()} ({program})" if first.strip() else program
