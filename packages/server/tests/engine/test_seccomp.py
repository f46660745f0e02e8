from dataclasses import replace

import pytest

from algorium_server.engine.sandbox import Level
from algorium_server.engine.seccomp import FilterPolicy, compile_filter, rows


def policy(level=Level.FULL, network="isolated", landlock_abi=7):
    return FilterPolicy(level=level, network=network, landlock_abi=landlock_abi)


def allowed(policy: FilterPolicy) -> set[str]:
    return {
        name for action, name, conditions in rows(policy) if (action, conditions) == ("allow", ())
    }


def conditional(policy: FilterPolicy) -> set[str]:
    return {name for action, name, conditions in rows(policy) if action == "allow" and conditions}


@pytest.mark.parametrize("level", [Level.FULL, Level.REDUCED])
@pytest.mark.parametrize(
    "name",
    [
        "mount",
        "umount2",
        "unshare",
        "setns",
        "pivot_root",
        "chroot",
        "ptrace",
        "process_vm_readv",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "io_uring_setup",
        "keyctl",
        "add_key",
        "request_key",
        "kexec_load",
        "init_module",
        "quotactl",
        "reboot",
        "open_by_handle_at",
        "syslog",
        "acct",
        "swapon",
        "clone3",
        "pidfd_getfd",
        "kcmp",
    ],
)
def test_dangerous_calls_are_on_no_list(level, name):
    assert name not in allowed(policy(level)) | conditional(policy(level))


def test_the_reduced_filter_allows_nothing_that_the_full_one_refuses():
    full, reduced = policy(), policy(Level.REDUCED)

    assert allowed(reduced) < allowed(full)
    assert conditional(reduced) <= conditional(full) | allowed(full)


def test_a_zygote_may_make_namespaces_for_slots_and_nothing_else():
    usual, forking = policy(), replace(policy(), forks_slots=True)
    more = {row for row in rows(forking) if row not in set(rows(usual))}

    assert {name for _, name, _ in more} == {"mount", "unshare"}
    assert all(conditions for _, _, conditions in more)
    assert allowed(forking) == allowed(usual)
    (every,) = {conditions[0][2] for _, name, conditions in more if name == "unshare"} - {
        0x02000000
    }
    assert every == 0x7C020000  # user, mount, process, network, ipc and host name: all or none
    flags = {conditions[0][2] for _, name, conditions in more if name == "mount"}
    remount, move, shared = 32, 8192, 1 << 20
    assert not any(each & (remount | move | shared) for each in flags)
    assert len(compile_filter(forking)) > len(compile_filter(usual))


def test_modes_and_times_are_changed_in_pretence_only_at_level_reduced():
    pretended = {name for action, name, _ in rows(policy(Level.REDUCED)) if action == "pretend"}

    assert {"chmod", "fchmodat", "chown", "utimensat"} <= pretended
    assert not [row for row in rows(policy()) if row[0] == "pretend"]


def test_without_rules_for_tcp_there_is_no_socket_at_level_reduced():
    names = {name for _, name, _ in rows(policy(Level.REDUCED, landlock_abi=3))}

    assert "socket" not in names
    assert "socketpair" in names


def test_without_rules_for_signals_none_can_be_sent_at_level_reduced():
    assert "kill" not in {name for _, name, _ in rows(policy(Level.REDUCED, landlock_abi=5))}
    assert "kill" in {name for _, name, _ in rows(policy(Level.REDUCED))}


@pytest.mark.parametrize("level", [Level.FULL, Level.REDUCED])
@pytest.mark.parametrize("network", ["isolated", "host"])
def test_a_filter_is_a_program_the_kernel_can_take(level, network):
    pytest.importorskip("pyseccomp", exc_type=(ImportError, RuntimeError))
    program = compile_filter(policy(level, network))

    assert len(program) % 8 == 0
    assert 100 < len(program) // 8 < 4096
