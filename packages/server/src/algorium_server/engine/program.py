"""
What a slot runs: a built version with its environment, and the sandbox it needs.

Source: wire specification, "File-system and process view".
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from algorium_server.domain.environments import variables_of
from algorium_server.domain.limits import (
    SLOT_MEMORY_BYTES,
    SLOT_OPEN_FILES_MAX,
    SLOT_PROCESSES_MAX,
    SLOT_SOURCE_COPY_BYTES_MAX,
    SLOT_TMP_BYTES,
)
from algorium_server.engine.sandbox import (
    ALGORITHM_DIR,
    RUNTIME_DIR,
    Mount,
    SandboxLimits,
    SandboxSpec,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """
    A build that can run.

    Attributes:
        key: Identifies it among all programs; equal keys mean equal code and environment.
        source_dir: Checked-out tree of the commit.
        source_bytes: Size of that tree; small ones become writable copies inside the slot.
        environment_dir: Virtual environment with the algorithm's dependencies.
        entry: Importable module of the entry point.
    """

    key: str
    source_dir: Path
    source_bytes: int
    environment_dir: Path
    entry: str


def slot_spec(program: Program) -> SandboxSpec:
    """Describe the sandbox of a slot that runs *program*."""
    source = str(program.source_dir)
    is_small = program.source_bytes <= SLOT_SOURCE_COPY_BYTES_MAX
    source_mount = Mount(kind="ro", source=source, target=ALGORITHM_DIR)
    environment = str(program.environment_dir)
    return SandboxSpec(
        argv=(f"{environment}/bin/python", "-u", RUNTIME_DIR, program.entry),
        env=variables_of(environment),
        cwd=ALGORITHM_DIR,
        mounts=(
            *interpreter_mounts(),
            Mount(kind="ro", source=environment, target=environment),
            *(() if is_small else (source_mount,)),
        ),
        copies=((source, ALGORITHM_DIR),) if is_small else (),
        network="isolated",
        has_slot_socket=True,
        has_listener=True,
        limits=SandboxLimits(
            memory_bytes=SLOT_MEMORY_BYTES,
            processes=SLOT_PROCESSES_MAX,
            open_files=SLOT_OPEN_FILES_MAX,
            tmp_bytes=SLOT_TMP_BYTES,
        ),
    )


def interpreter_mounts() -> Iterable[Mount]:
    """Mount the server's base interpreter where it is not part of the base system."""
    prefix = sys.base_prefix
    if prefix == "/usr" or prefix.startswith("/usr/"):
        return ()
    return (Mount(kind="ro", source=prefix, target=prefix),)
