"""
What all slots of an environment have in common, decided without touching the system.

A zygote runs in a sandbox made from the template of its slots: the same base system, environment,
interpreter and runtime, but no source, no variables of a version, and empty private directories.
A slot that is forked from it covers whatever was private to the zygote (`slot_steps`), and its
source arrives as an archive.

Source: runtime design, "Zygote".
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from algorium_server.engine.sandbox import (
    ALGORITHM_DIR,
    API_PORT,
    HostLayout,
    Mount,
    SandboxSpec,
    Step,
    is_below,
    root_steps,
)

ZYGOTE_ARGUMENT: Final = "--zygote"
_READ_ONLY: Final = 0o555
_SLOT_KINDS: Final = {"proc": "proc", "tmpfs": "tmpfs", "ro": "show"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ZygoteLimits:
    """
    How many zygotes there may be, how large, and for how long.

    Attributes:
        count_max: On this machine; the least recently used one makes room.
        memory_bytes: For one.
        processes: For one, slots not counted.
        idle_s: Ends when no slot was forked for so long.
        stay_s: Does not make room when a slot was forked more recently.
        age_s: Ends at that age, and is started anew.
        preload_s: For its imports.
        fork_s: For one slot, until it waits for its order.
        birth_s: From the order until nothing is left to give up; then it is started cold.
        pause_s: After a failure, until the same is tried again.
        source_bytes_max: Of a version's source; larger ones are started cold.
        source_entries_max: The same in files and directories.
    """

    count_max: int
    memory_bytes: int
    processes: int
    idle_s: float
    stay_s: float
    age_s: float
    preload_s: float
    fork_s: float
    birth_s: float
    pause_s: float
    source_bytes_max: int
    source_entries_max: int


def template(spec: SandboxSpec, limits: ZygoteLimits) -> SandboxSpec | None:
    """Return the sandbox of the zygote that could fork *spec*; None if none can."""
    if spec.zygote is None or not spec.has_own_network or not spec.has_slot_socket:
        return None
    copied = [Mount(kind="tmpfs", target=target) for _, target in spec.copies]
    if not any(mount.target == ALGORITHM_DIR for mount in copied):
        return None  # what is mounted there could not be mounted later
    if any(mount.kind == "rw" for mount in spec.mounts):
        return None
    api = {"ALGORITHMIA_API": f"http://127.0.0.1:{API_PORT}"} if spec.has_listener else {}
    return SandboxSpec(
        argv=(*spec.argv[:-1], ZYGOTE_ARGUMENT),
        env={**spec.zygote.env, **api},
        cwd=ALGORITHM_DIR,  # modules that look around see the same as in a slot, but empty
        mounts=(*spec.mounts, *copied),
        has_slot_socket=True,
        limits=replace(spec.limits, memory_bytes=limits.memory_bytes, processes=limits.processes),
        zygote=spec.zygote,
    )


def key_of(made: SandboxSpec) -> str:
    """Return the name of a template: equal names, equal zygotes."""
    return hashlib.sha256(json.dumps(asdict(made), sort_keys=True).encode()).hexdigest()[:16]


def template_steps(made: SandboxSpec, layout: HostLayout) -> tuple[Step, ...]:
    """
    Return what the root directory of a zygote is built from.

    Nothing may be mounted over parts of its process file system, else the kernel lets no slot
    have one. So all of it is read-only instead.
    """
    covers = {*layout.proc_covers, *layout.proc_secrets}
    return tuple(
        replace(step, mode=_READ_ONLY) if step.kind == "proc" else step
        for step in root_steps(made, layout)
        if step.target not in covers
    )


def slot_steps(made: SandboxSpec, layout: HostLayout) -> list[tuple[str, str, int, int]]:
    """
    Return what a slot mounts over the root directory that it shares with its zygote.

    Whatever is mounted below one of its private places (a home directory in `/tmp` has environments
    there) must be shown again.

    Returns:
        Kind, place, size in bytes and mode; in this order. For `zygote.py` of the runtime.
    """
    steps = template_steps(made, layout)
    private = private_places(steps)
    return [
        *(
            (_SLOT_KINDS[step.kind], step.target, step.size_bytes, step.mode)
            for step in steps
            if step.kind in {"proc", "tmpfs"}
            or (step.kind == "ro" and is_below(step.target, private))
        ),
        *(("hide", path, 0, 0) for path in layout.proc_secrets),
    ]


def private_places(steps: Sequence[Step]) -> tuple[str, ...]:
    """Return the file systems in memory among *steps*."""
    return tuple(step.target for step in steps if step.kind == "tmpfs")
