from dataclasses import asdict, replace
from itertools import pairwise

import pytest

from algorium_server.engine import sandbox
from algorium_server.engine.sandbox import (
    HostLayout,
    Level,
    Mechanism,
    Mount,
    SandboxLimits,
    SandboxSpec,
)

LIMITS = SandboxLimits(memory_bytes=1 << 28, processes=64, open_files=256, tmp_bytes=1 << 24)
LAYOUT = HostLayout(
    system_dirs=("/usr", "/lib64"),
    system_links=(("/bin", "usr/bin"), ("/lib", "usr/lib")),
    etc_isolated="/state/etc-isolated",
    etc_host="/state/etc-host",
    etc_files=("/etc/localtime", "/etc/passwd"),
    proc_covers=("/proc/sys",),
    python="/opt/python/3.11/bin/python3.11",
    python_prefix="/opt/python/3.11",
    runtime_dir="/srv/lib/algorium_runtime",
    landlock_abi=7,
    is_root=True,
)
SPEC = SandboxSpec(
    argv=("/tmp/envs/e/bin/python", "-u", sandbox.RUNTIME_DIR, "src.Hello"),
    env={"PATH": "/tmp/envs/e/bin:/home/algo/.local/bin:/usr/bin", "SECRET": "s3cret"},
    mounts=(Mount(kind="ro", source="/tmp/envs/e", target="/tmp/envs/e"),),
    copies=(("/home/x/builds/b", sandbox.ALGORITHM_DIR),),
    limits=LIMITS,
    has_slot_socket=True,
    has_listener=True,
)


def test_a_spec_and_a_layout_survive_the_journey_to_the_supervisor():
    assert SandboxSpec.from_dict(SPEC.as_dict()) == SPEC
    assert HostLayout.from_dict(asdict(LAYOUT)) == LAYOUT


def test_directories_are_mounted_before_what_lies_in_them():
    targets = [step.target for step in sandbox.root_steps(SPEC, LAYOUT)]

    for index, target in enumerate(targets):
        assert not any(later in target.split("/") for later in targets[index + 1 :])
        for later in targets[index + 1 :]:
            assert not target.startswith(f"{later}/")


def test_a_mount_of_the_spec_replaces_what_is_there_by_default():
    mount = Mount(kind="tmpfs", target="/tmp", size_bytes=4096)

    steps = sandbox.root_steps(replace(SPEC, mounts=(mount,)), LAYOUT)

    assert [step.size_bytes for step in steps if step.target == "/tmp"] == [4096]


def test_the_host_is_seen_only_through_named_places():
    sources = {
        step.source for step in sandbox.root_steps(SPEC, LAYOUT) if step.kind in {"ro", "rw"}
    }

    assert sources == {
        "/usr",
        "/lib64",
        "/proc/sys",
        "/state/etc-isolated",
        "/opt/python/3.11",
        "/srv/lib/algorium_runtime",
        "/tmp/envs/e",
        "/home/x/builds/b",
    }


def test_nothing_of_the_environment_reaches_a_command_line():
    argv = sandbox.bwrap_argv("/usr/bin/bwrap", SPEC, LAYOUT, command=["/p"])

    assert not any("s3cret" in argument for argument in argv)
    assert argv[-2:] == ["--", "/p"]


@pytest.mark.parametrize(("network", "is_unshared"), [("isolated", True), ("host", False)])
def test_only_the_hosts_network_is_shared_on_demand(network, is_unshared):
    argv = sandbox.bwrap_argv("bwrap", replace(SPEC, network=network), LAYOUT, command=["/p"])

    assert ("--unshare-net" in argv) is is_unshared
    for flag in ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--die-with-parent"):
        assert flag in argv
    for option, value in pairwise(argv):
        assert option != "--cap-add", value


def test_the_level_of_each_mechanism():
    assert {mechanism: mechanism.level for mechanism in Mechanism} == {
        Mechanism.BUBBLEWRAP: Level.FULL,
        Mechanism.LAUNCHER: Level.FULL,
        Mechanism.LANDLOCK: Level.REDUCED,
        Mechanism.PLAIN: Level.NONE,
    }
