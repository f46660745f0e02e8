"""
What a slot runs: a built version with its environment, and the sandbox it needs.

Source: wire specification, "File-system and process view".
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from algorium_server.domain.identity import Principal
from algorium_server.domain.languages import Language
from algorium_server.domain.limits import (
    SLOT_MEMORY_BYTES,
    SLOT_OPEN_FILES_MAX,
    SLOT_PROCESSES_MAX,
    SLOT_SOURCE_COPY_BYTES_MAX,
    SLOT_TMP_BYTES,
)
from algorium_server.engine import commands
from algorium_server.engine.sandbox import (
    ALGORITHM_DIR,
    Mount,
    SandboxLimits,
    SandboxSpec,
    ZygoteSpec,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """
    A build that can run.

    Attributes:
        key: Identifies it among all programs; equal keys mean that all the rest is equal, too.
        source_dir: Checked-out tree of the commit.
        source_bytes: Size of that tree; small ones become writable copies inside the slot.
        environment_dir: Virtual environment with the algorithm's dependencies; only for Python.
        interpreter_dir: Holds the interpreter of that environment; None if it is the server's.
        entry: What the build found: a module, a file, a class.
        language: How it is started.
        algorithm_id: Whose build it is.
        is_shared: Its slots serve all accounts, instead of one each.
        slots_min: How many are kept warm for the owner, or for all if they are shared.
        slots_max: How many calls from outside may run at a time in the same slots; 0: as many as
            the server allows.
        memory_bytes: Limit of each slot.
        as_owner: As whom slots load that are shared, or kept warm; without it as nobody.
        network: What it may reach, see `SandboxSpec`.
        preload: Modules that a zygote imports ahead; None if it must always be started cold.
    """

    key: str
    source_dir: Path
    source_bytes: int
    environment_dir: Path
    entry: str
    language: Language = Language.PYTHON
    algorithm_id: str = ""
    is_shared: bool = False
    slots_min: int = 0
    slots_max: int = 0
    memory_bytes: int = SLOT_MEMORY_BYTES
    as_owner: Callable[[], Principal] | None = field(default=None, compare=False)
    preload: tuple[str, ...] | None = None
    network: Literal["isolated", "full"] = "isolated"
    interpreter_dir: Path | None = None


def slot_spec(program: Program, *, cpus: float = 0.0) -> SandboxSpec:
    """Describe the sandbox of a slot that runs *program* on so many processors, 0 for any."""
    source = str(program.source_dir)
    is_small = program.source_bytes <= SLOT_SOURCE_COPY_BYTES_MAX
    source_mount = Mount(kind="ro", source=source, target=ALGORITHM_DIR)
    environment = str(program.environment_dir)
    return SandboxSpec(
        argv=commands.arguments(
            program.language,
            program.entry,
            environment=environment,
            interpreter=base_interpreter(),
            memory_bytes=program.memory_bytes,
        ),
        env=commands.variables(program.language, environment),
        cwd=ALGORITHM_DIR,
        mounts=(
            *interpreter_mounts(),
            *_environment_mounts(program),
            *(() if is_small else (source_mount,)),
        ),
        copies=((source, ALGORITHM_DIR),) if is_small else (),
        network=program.network,
        has_slot_socket=True,
        has_listener=True,
        zygote=_zygote(program, environment),
        limits=SandboxLimits(
            memory_bytes=program.memory_bytes,
            processes=SLOT_PROCESSES_MAX,
            open_files=SLOT_OPEN_FILES_MAX,
            tmp_bytes=SLOT_TMP_BYTES,
            cpus=cpus,
        ),
    )


def _zygote(program: Program, environment: str) -> ZygoteSpec | None:
    if program.language is not Language.PYTHON or program.preload is None:
        return None
    return ZygoteSpec(modules=program.preload, env=commands.variables(Language.PYTHON, environment))


def base_interpreter() -> str:
    """Return the path of the server's interpreter, not one inside of a virtual environment."""
    return str(Path(getattr(sys, "_base_executable", None) or sys.executable).resolve())


def _environment_mounts(program: Program) -> Iterable[Mount]:
    if program.language not in {Language.PYTHON, Language.PYTHON_PIPE}:
        return ()
    shown = [str(program.environment_dir)]
    if program.interpreter_dir is not None and not _is_in_base_system(program.interpreter_dir):
        shown.append(str(program.interpreter_dir))
    return [Mount(kind="ro", source=path, target=path) for path in shown]


def interpreter_mounts() -> Iterable[Mount]:
    """Mount the server's base interpreter where it is not part of the base system."""
    prefix = sys.base_prefix
    if _is_in_base_system(Path(prefix)):
        return ()
    return (Mount(kind="ro", source=prefix, target=prefix),)


def _is_in_base_system(prefix: Path) -> bool:
    return prefix.is_relative_to("/usr")
