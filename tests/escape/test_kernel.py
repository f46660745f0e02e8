"""The kernel: what is dangerous is refused, by whatever number or program it is asked for."""

import os
import socket
import time
from pathlib import Path

import pytest

from .attacked import Attacked, refused
from .outside import Host

NO = ("EPERM", "EACCES", "ENOSYS")
ABSENT = ("ENOENT", "EROFS", "EISDIR")


def test_dangerous_system_calls_are_refused(site: Attacked) -> None:
    told = site.said("kernel.refused_calls")

    assert len(told) > 50
    assert not refused(told, *NO)


def test_programs_of_the_system_do_not_help(site: Attacked, host: Host) -> None:
    marker = host.folder / "by-a-program"

    told = site.said("kernel.through_programs", {"marker": str(marker)})

    assert {"unshare", "nsenter", "mount"} & told.keys()
    assert 0 not in told.values()
    assert not marker.exists()


def test_clock_and_name_of_the_host_stay(site: Attacked) -> None:
    name, offset_s = socket.gethostname(), time.time() - time.monotonic()

    assert not refused(site.said("kernel.set_the_clock"), *NO)

    assert socket.gethostname() == name
    assert abs(time.time() - time.monotonic() - offset_s) < 1


def test_the_kernel_cannot_be_configured(site: Attacked) -> None:
    told = site.said("kernel.settings_of_the_kernel")

    own = {path: each for path, each in told.items() if path.startswith("/proc/self/")}
    assert not refused({p: e for p, e in told.items() if p not in own}, *NO, *ABSENT)
    # Its own maps are written already, and a second time is refused.
    assert "done" not in own["/proc/self/uid_map"] or os.geteuid() != 0


def test_the_kernel_keeps_its_secrets(site: Attacked) -> None:
    told = site.said("kernel.secrets_of_the_kernel")

    assert told.pop("addresses") == 0, "of functions in the kernel, which attacks need"
    assert set(told.pop("frames")) <= {0}, "of its own pages in the machine's memory"
    assert not refused(told, *NO, *ABSENT, "EIO", "EINVAL")


def test_nothing_given_up_comes_back(site: Attacked) -> None:
    told = site.said("kernel.attributes")

    status = told.pop("status")
    told.pop("keep capabilities")  # there are none to keep
    told.pop("set capabilities")  # succeeds where it asks for nothing that is not held
    assert not refused(told, *NO, "EINVAL", "EFAULT", "EBUSY")
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name][0], 16) == 0
    assert len(set(status["Uid"])) == len(set(status["Gid"])) == 1
    assert status["Groups"] in ([], [""], ["65534"])
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])


def test_a_filter_of_its_own_loosens_nothing(site: Attacked) -> None:
    told = site.said("kernel.own_filter")

    assert "done" in told["installed"], "filters of its own are allowed: they only forbid more"
    assert told["unshare"] == {"refused": "EPERM"}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="only x86-64 has these entrances")
def test_other_entrances_to_the_kernel_are_closed(site: Attacked) -> None:
    told = site.said("kernel.old_numbers")

    assert told.pop("x32 unshare")["refused"] in {"ENOSYS", "EPERM"}
    assert told.pop("x32 getpid")["refused"] in {"ENOSYS", "EPERM"}
    for said in told.values():  # refused (ENOSYS), or ended, where the kernel has no such entrance
        assert said == -38 or str(said).startswith("ended")


def test_there_is_no_terminal_to_type_into(site: Attacked) -> None:
    told = site.said("kernel.type_into_the_terminal")

    told.pop("/dev/ptmx")  # a private one, with nobody at the other end
    assert not refused(told, *NO, *ABSENT, "ENXIO", "ENOTTY", "EIO")
    assert Path("/dev/ptmx").exists()
