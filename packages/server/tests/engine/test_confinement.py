from dataclasses import replace

import pytest

from algorium_server.engine import confinement, sandbox
from algorium_server.engine.confinement import SlotDir
from algorium_server.engine.sandbox import (
    HostLayout,
    Mechanism,
    Mount,
    SandboxLimits,
    SandboxSpec,
)

LIMITS = SandboxLimits(memory_bytes=1 << 28, processes=64, open_files=256, tmp_bytes=1 << 24)
SLOT = SlotDir(path="/state/slots-1-2/3")
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


def confined(spec, mechanism, *, layout=LAYOUT, uid=None):
    return confinement.confinement(
        spec,
        layout,
        mechanism=mechanism,
        slot=None if mechanism.has_own_root else SLOT,
        uid=uid,
        api_path_prefix="/token",
        tasks_of_host=500,
    )


def test_secrets_reach_the_program_as_they_are_and_no_text():
    spec = replace(SPEC, secret_env={"TOKEN": "/tmp/x:/home/algo/y", "PATH_TO": "s3cret-value"})
    for mechanism in Mechanism:
        moved = spec if mechanism.has_own_root else confinement.translated(spec, SLOT, LAYOUT)
        env = confined(moved, mechanism)["env"]

        assert env["TOKEN"] == "/tmp/x:/home/algo/y"
        assert env["PATH_TO"] == "s3cret-value"
        assert "s3cret-value" not in repr(moved)
    assert SandboxSpec.from_dict(spec.as_dict()) == spec


def test_without_a_root_of_its_own_every_path_is_moved():
    moved = confinement.translated(confinement.with_defaults(SPEC), SLOT, LAYOUT)

    assert moved.argv == ("/tmp/envs/e/bin/python", "-u", LAYOUT.runtime_dir, "src.Hello")
    assert moved.cwd == f"{SLOT.path}/0"
    assert moved.copies == (("/home/x/builds/b", f"{SLOT.path}/0"),)
    assert moved.env["PATH"] == f"/tmp/envs/e/bin:{SLOT.home}/.local/bin:/usr/bin"
    assert moved.env["TMPDIR"] == SLOT.tmp
    assert moved.env["SECRET"] == "s3cret"


def test_a_read_only_source_becomes_the_working_directory_itself():
    mount = Mount(kind="ro", source="/home/x/builds/b", target=sandbox.ALGORITHM_DIR)
    moved = confinement.translated(replace(SPEC, copies=(), mounts=(mount,)), SLOT, LAYOUT)

    assert moved.cwd == "/home/x/builds/b"


def test_at_level_reduced_only_scratch_and_devices_are_writable():
    moved = confinement.translated(confinement.with_defaults(SPEC), SLOT, LAYOUT)
    landlock = confined(moved, Mechanism.LANDLOCK)["landlock"]

    assert {path for path in landlock["write"] if not path.startswith("/dev/")} == {
        SLOT.path,
        f"{SLOT.path}/0",
    }
    assert "/tmp/envs/e" in landlock["read"]
    assert "/" not in landlock["read"]
    assert landlock["connect_ports"] == []


def test_a_variable_cannot_make_a_directory_of_the_host_writable():
    spec = replace(SPEC, env={"TMPDIR": "/var/lib", "HOME": "/root"})
    landlock = confined(confinement.translated(spec, SLOT, LAYOUT), Mechanism.LANDLOCK)["landlock"]

    assert not {"/var/lib", "/root"} & set(landlock["write"])


@pytest.mark.parametrize(
    ("mechanism", "listener"),
    [
        (Mechanism.BUBBLEWRAP, {"port": sandbox.API_PORT, "path": "/token"}),
        (Mechanism.LANDLOCK, {"port": 0, "path": "/token"}),
        (Mechanism.PLAIN, {"port": 0, "path": "/token"}),
    ],
)
def test_the_fixed_port_is_used_only_on_a_private_loopback(mechanism, listener):
    assert confined(SPEC, mechanism)["listener"] == listener


def test_without_rules_for_tcp_there_is_no_listener_at_level_reduced():
    layout = replace(LAYOUT, landlock_abi=3)

    assert confined(SPEC, Mechanism.LANDLOCK, layout=layout)["listener"] is None
    assert confined(SPEC, Mechanism.LAUNCHER, layout=layout)["listener"] is not None


def test_processes_are_counted_by_user_only_where_the_user_is_the_slots_own():
    def processes_max(mechanism, **changes):
        return confined(SPEC, mechanism, **changes)["rlimits"]["NPROC"] - LIMITS.processes

    as_user = replace(LAYOUT, is_root=False)
    own = processes_max(Mechanism.BUBBLEWRAP, layout=as_user)
    shared = processes_max(Mechanism.LANDLOCK, layout=as_user)

    assert own == processes_max(Mechanism.LANDLOCK, uid=700_000_001) < 100
    assert shared == processes_max(Mechanism.PLAIN) == processes_max(Mechanism.BUBBLEWRAP)
    assert shared > 500 + 1000  # whatever else that user runs must not count against the slot


@pytest.mark.parametrize(("abi", "ports", "has_scopes"), [(3, None, False), (7, [], True)])
def test_an_older_landlock_is_not_asked_for_what_it_does_not_know(abi, ports, has_scopes):
    layout = replace(LAYOUT, landlock_abi=abi)
    landlock = confined(SPEC, Mechanism.LANDLOCK, layout=layout)["landlock"]

    assert (landlock["connect_ports"], landlock["has_scopes"]) == (ports, has_scopes)


def test_no_sandbox_means_no_fence_but_limits():
    plan = confined(SPEC, Mechanism.PLAIN)

    assert plan["landlock"] is None
    assert not plan["has_filter"]
    assert plan["rlimits"]["CORE"] == 0
