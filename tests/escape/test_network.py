"""Network: a slot reaches the platform's API on its own loopback device, and nothing else."""

import uuid

import pytest

from .attacked import Attacked, refused
from .outside import Host

UNREACHABLE = ("ENETUNREACH", "ECONNREFUSED", "EHOSTUNREACH", "EPERM", "EACCES", "EADDRNOTAVAIL")
PORT = 5555


def test_the_host_cannot_be_reached(site: Attacked, host: Host) -> None:
    gateway = int(site.server.api.rpartition(":")[2])
    addresses = [*host.addresses, ["127.0.0.1", gateway], ["localhost", gateway], ["::1", gateway]]

    told = site.said("network.connect", {"addresses": addresses})

    # A datagram to a port of its own loopback device, where nobody listens, is sent and lost.
    reached = refused(told, *UNREACHABLE, "gaierror")
    assert all(name.startswith("udp ") for name in reached)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fd00:ec2::254",
        "100.100.100.200",
        "10.0.0.1",
        "172.17.0.1",
        "192.168.0.1",
        "198.51.100.1",
        "2001:db8::1",
    ],
)
def test_no_other_machine_can_be_reached(site: Attacked, address: str) -> None:
    told = site.said("network.connect", {"addresses": [[address, 80], [address, 53]]})

    assert not refused(told, *UNREACHABLE)


def test_nothing_is_broadcast(site: Attacked) -> None:
    assert not refused(site.said("network.broadcast"), *UNREACHABLE)


def test_the_only_device_is_loopback(site: Attacked) -> None:
    told = site.said("network.interfaces")

    assert told["names"] == ["lo"]
    assert told["routes"] == []
    assert site.said("network.names_of_interfaces") == ["lo"]


def test_the_network_cannot_be_set_up(site: Attacked) -> None:
    told = site.said("network.configure")

    assert not refused(told, "EPERM", "EACCES", "ENODEV")


def test_other_kinds_of_sockets_are_refused(site: Attacked) -> None:
    told = site.said("network.families")

    assert len(told) > 10
    assert not refused(told, "EPERM", "EACCES", "EAFNOSUPPORT", "EPROTONOSUPPORT")


def test_sockets_without_a_place_in_the_file_system_are_out_of_reach(
    site: Attacked, host: Host
) -> None:
    told = site.said("network.abstract", {"names": [host.marker, "/tmp/.X11-unix/X0"]})

    assert told.pop("listed") == []
    assert not refused(told, "ECONNREFUSED", "EPERM", "EPROTOTYPE")


def test_sockets_of_the_host_are_out_of_reach(site: Attacked, host: Host) -> None:
    paths = [host.socket_path, "/run/dbus/system_bus_socket", "/var/run/docker.sock", "/dev/log"]

    told = site.said("network.by_path", {"paths": paths})

    assert not refused(told, "ENOENT", "EACCES", "EPERM")


def test_slots_do_not_meet(site: Attacked) -> None:
    marker = f"victim-{uuid.uuid4()}"
    site.said("network.settle", {"marker": marker, "port": PORT}, by="jane")

    told = site.said("network.visit", {"marker": marker, "port": PORT})

    assert told.pop("files") == []
    assert marker not in told.pop("memory")
    told = {name: each for name, each in told.items() if not name.startswith("udp ")}
    assert told.pop("listed") == []
    assert not refused(told, "ECONNREFUSED", "ENOENT", "EPERM", "EPROTOTYPE", "ENOSYS")
    left = site.said("network.visitors", by="jane")
    assert left == {"visitors": [], "memory": marker}
