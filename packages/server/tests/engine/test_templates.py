"""What slots of an environment have in common, and what each has of its own."""

from dataclasses import replace

import pytest

from algorium_server.engine.host import ZYGOTE_LIMITS
from algorium_server.engine.sandbox import (
    HostLayout,
    Mount,
    SandboxLimits,
    SandboxSpec,
    ZygoteSpec,
)
from algorium_server.engine.templates import key_of, slot_steps, template, template_steps

LAYOUT = HostLayout(
    system_dirs=("/usr",),
    system_links=(("/bin", "usr/bin"),),
    etc_isolated="/state/etc-isolated",
    etc_host="/state/etc-host",
    etc_files=("/etc/hosts",),
    proc_covers=("/proc/sys",),
    proc_secrets=("/proc/kcore",),
    python="/opt/python/bin/python3",
    python_prefix="/opt/python",
    runtime_dir="/site/algorium_runtime",
    landlock_abi=6,
    is_root=True,
)
SPEC = SandboxSpec(
    argv=("/envs/k/bin/python", "-u", "/opt/algorium/algorium_runtime", "src.Hello"),
    env={"PATH": "/envs/k/bin", "SECRET": "of a version"},
    mounts=(Mount(kind="ro", source="/envs/k", target="/envs/k"),),
    copies=(("/builds/b", "/opt/algorithm"),),
    limits=SandboxLimits(memory_bytes=1 << 30, processes=64, open_files=256, tmp_bytes=1 << 24),
    has_slot_socket=True,
    has_listener=True,
    zygote=ZygoteSpec(modules=("numpy",), env={"PATH": "/envs/k/bin"}),
)


def made(spec: SandboxSpec = SPEC) -> SandboxSpec:
    found = template(spec, ZYGOTE_LIMITS)
    assert found is not None
    return found


def test_a_zygote_sees_the_environment_and_nothing_of_a_version():
    zygote = made()

    assert zygote.argv == (*SPEC.argv[:-1], "--zygote")
    assert zygote.env == {"PATH": "/envs/k/bin", "ALGORITHMIA_API": "http://127.0.0.1:9000"}
    assert zygote.copies == ()
    assert [mount.source for mount in zygote.mounts] == ["/envs/k", ""]
    assert not zygote.has_listener
    assert zygote.network == "isolated"
    assert "/builds/b" not in repr(zygote)
    assert zygote.limits.memory_bytes == ZYGOTE_LIMITS.memory_bytes


@pytest.mark.parametrize(
    "changes",
    [
        {"argv": (*SPEC.argv[:-1], "src.Other")},
        {"copies": (("/builds/c", "/opt/algorithm"),)},
        {"env": {}},
        {"network": "full"},
        {"secret_env": {"TOKEN": "of an algorithm"}},
        {"limits": replace(SPEC.limits, memory_bytes=1, processes=1)},
    ],
)
def test_versions_of_an_environment_share_a_zygote(changes):
    assert key_of(made(replace(SPEC, **changes))) == key_of(made())


@pytest.mark.parametrize(
    "changes",
    [
        {"argv": ("/envs/other/bin/python", *SPEC.argv[1:])},
        {"mounts": ()},
        {"zygote": replace(SPEC.zygote, modules=())},
        {"zygote": replace(SPEC.zygote, env={})},
        {"limits": replace(SPEC.limits, open_files=1)},
        {"has_listener": False},
    ],
)
def test_what_a_fork_could_not_change_makes_another_zygote(changes):
    assert key_of(made(replace(SPEC, **changes))) != key_of(made())


@pytest.mark.parametrize(
    "changes",
    [
        {"zygote": None},
        {"network": "host"},
        {"has_slot_socket": False},
        {"copies": (), "mounts": (Mount(kind="ro", source="/b", target="/opt/algorithm"),)},
        {"mounts": (Mount(kind="rw", source="/x", target="/x"),)},
    ],
)
def test_some_programs_are_always_started_cold(changes):
    assert template(replace(SPEC, **changes), ZYGOTE_LIMITS) is None


def test_the_process_file_system_of_a_zygote_is_whole_and_read_only():
    steps = {step.target: step for step in template_steps(made(), LAYOUT)}

    assert steps["/proc"].mode == 0o555
    assert not [target for target in steps if target.startswith("/proc/")]
    assert steps["/opt/algorithm"].kind == "tmpfs"
    assert steps["/etc"].source == "/state/etc-isolated"


def test_a_slot_covers_all_that_is_private_and_shows_again_what_it_covered():
    below = Mount(kind="ro", source="/tmp/home/envs/k", target="/tmp/home/envs/k")
    steps = slot_steps(made(replace(SPEC, mounts=(*SPEC.mounts, below))), LAYOUT)

    assert [(kind, target) for kind, target, _, _ in steps] == [
        ("tmpfs", "/dev/shm"),
        ("tmpfs", "/home/algo"),
        ("tmpfs", "/opt/algorithm"),
        ("proc", "/proc"),
        ("tmpfs", "/tmp"),
        ("show", "/tmp/home/envs/k"),
        ("hide", "/proc/kcore"),
    ]
    sizes = {target: (size, mode) for _, target, size, mode in steps}
    assert sizes["/tmp"] == (1 << 24, 0o1777)
    assert sizes["/opt/algorithm"] == (1 << 24, 0o755)
