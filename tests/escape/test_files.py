"""Files: nothing that is not the slot's own can be read or changed, and nothing of it stays."""

import os
import uuid
from pathlib import Path

import pytest

from .attacked import Attacked, refused
from .conftest import SECRET
from .outside import Host

NOT_THERE = ("ENOENT", "EACCES", "EPERM", "ENOTDIR", "ELOOP", "ENXIO")
UNWRITABLE = (*NOT_THERE, "EROFS", "EXDEV", "ETXTBSY", "EISDIR", "ENOTSUP", "EOPNOTSUPP", "EINVAL")


def things_of_the_server(site: Attacked) -> list[Path]:
    home = site.server.home
    named = ["algorium.db", "credentials.json", "endpoint.json", "lock", "secrets/sealing.json"]
    kept = [next((home / d).rglob("*"), home / d) for d in ("blobs", "repos", "builds")]
    return [home, *(home / name for name in named), *kept]


@pytest.fixture
def foreign_paths(site: Attacked, host: Host) -> list[str]:
    """Files that exist and are not for algorithms."""
    site.data("PUT", ".my/escape/blob", content=b"x")
    system = ["/etc/shadow", "/etc/hostname", "/etc/machine-id", "/root/.bashrc", "/boot"]
    system += ["/var/log", "/var/lib", "/run", "/sys/kernel/notes", "/etc/ssl/private"]
    own = [str(path) for path in things_of_the_server(site)]
    return [path for path in (*system, *own, str(host.canary), __file__) if os.path.exists(path)]


def test_files_of_the_host_cannot_be_read(site: Attacked, foreign_paths: list[str]) -> None:
    assert len(foreign_paths) > 8

    told = site.said("files.read", {"paths": foreign_paths})

    assert not refused(told, *NOT_THERE, "EISDIR")


def test_links_lead_to_nothing_of_the_host(site: Attacked, foreign_paths: list[str]) -> None:
    told = site.said("files.read_through_a_link", {"paths": foreign_paths})

    assert not refused(told, *NOT_THERE, "EISDIR")


def test_other_processes_are_no_way_to_files(site: Attacked, host: Host) -> None:
    for path in (host.canary, site.server.home / "credentials.json"):
        told = site.said("processes.climb", {"path": str(path)})

        assert not refused(told, *NOT_THERE)


def test_nothing_of_the_host_is_in_sight(site: Attacked, host: Host) -> None:
    texts = [host.marker, SECRET, *site.keys.values()]

    assert site.said("files.search", {"texts": texts}) == []


def test_files_have_no_handles(site: Attacked, host: Host) -> None:
    told = site.said("files.open_by_handle", {"path": "/"})

    assert not refused(told, "EPERM", "EACCES", "ENOSYS", "EOPNOTSUPP")


def test_nothing_outside_can_be_written(site: Attacked, host: Host) -> None:
    name = f"written-{uuid.uuid4()}"
    folders = ["/", "/usr", "/usr/bin", "/usr/local/lib", "/etc", "/bin", "/lib", "/root", "/var"]
    folders += ["/dev", "/sys", "/proc", "/proc/self", "/run", "/opt", "/opt/algorium"]
    folders += [str(site.server.home), str(host.folder), str(Path(__file__).parent)]
    existing = ["/usr/bin/env", "/etc/passwd", "/bin/sh", str(host.canary)]
    before = {path: Path(path).stat() for path in existing}

    told = site.said("files.write", {"paths": [*(f"{f}/{name}" for f in folders), *existing]})

    # Its own /tmp holds the directories on the way to what is mounted there; nobody else sees them.
    assert all(path.startswith("/tmp/") for path in refused(told, *UNWRITABLE))
    assert not [folder for folder in folders if os.path.exists(f"{folder}/{name}")]
    for path, was in before.items():
        now = Path(path).stat()
        assert (now.st_size, now.st_mtime_ns) == (was.st_size, was.st_mtime_ns)


def test_what_later_slots_run_cannot_be_changed(site: Attacked) -> None:
    told = site.said("files.write_all_over_the_environment")

    assert len(told) > 10
    assert not refused(told, *UNWRITABLE)
    assert not list((site.server.home / "envs").rglob("*poison*"))
    site.error("processes.exit_now")
    assert "POISONED" not in site.said("processes.environment")


def test_what_may_be_written_does_not_outlive_the_slot(site: Attacked) -> None:
    told = site.said("files.write_where_it_may")
    assert [path for path, each in told.items() if "done" in each], "some places are its own"
    assert site.said("files.see_poison")["seen"]

    others = site.said("files.see_poison", by="jane")
    site.error("processes.exit_now")
    later = site.said("files.see_poison")

    for found in (others, later):
        assert found["seen"] == []
        assert found["poisoned"] is None
        assert found["trying"].startswith('"""Trying')
    for path in (site.server.home / "builds").rglob("*.py"):
        assert "POISONED" not in path.read_text() or "files.py" in path.name


def test_shared_files_cannot_be_linked_to(site: Attacked) -> None:
    told = site.said("files.link_to_system_files")

    assert not refused(told, "EXDEV", "EPERM", "EROFS", "EACCES")


def test_a_set_user_id_program_of_its_own_is_an_ordinary_one(site: Attacked) -> None:
    told = site.said("files.make_set_user_id_program")

    assert told["ran_as"] == told["own"]


def test_set_user_id_programs_of_the_system_give_nothing(site: Attacked, host: Host) -> None:
    marker = host.folder / "by-root"

    told = site.said("files.run_set_user_id_programs", {"marker": str(marker)})

    assert told, "su and mount are everywhere"
    assert 0 not in told.values()
    assert not marker.exists()


def test_every_file_system_is_without_set_user_id_and_devices(site: Attacked) -> None:
    told = dict(site.said("files.mounts"))

    devices = [path for path in told if path.startswith("/dev/") and path != "/dev/shm"]
    loose = {
        path: options
        for path, options in told.items()
        if path not in devices and not {"nosuid", "nodev"} <= set(options.split(","))
    }
    assert "/" in told
    assert {path for path in loose if "nosuid" not in loose[path]} == set()


def test_devices_can_be_neither_made_nor_found(site: Attacked) -> None:
    assert not refused(site.said("files.make_devices"), "EPERM", "EACCES")
    assert not refused(site.said("files.open_devices"), *NOT_THERE)
