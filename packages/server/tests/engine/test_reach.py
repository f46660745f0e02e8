"""Which addresses may be reached: properties, and the addresses that matter most by name."""

import ipaddress
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.engine import reach
from algorium_server.engine.reach import Address, Network

DOCUMENTATION = [
    ipaddress.ip_network(text)
    for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")
]
"""Not global by the registry, but nobody's: they stand for public ones in tests."""
OF_NETWORKS = [ipaddress.ip_network(text) for text in ("192.88.99.0/24", "2001::/23", "5f00::/16")]
"""Not global either, and of no host: anycast and protocol numbers."""

versions_4 = st.ip_addresses(v=4)
addresses = st.ip_addresses()
networks = st.one_of(
    st.builds(
        lambda address, length: ipaddress.ip_network((address, length), strict=False),
        st.ip_addresses(v=4),
        st.integers(8, 32),
    ),
    st.builds(
        lambda address, length: ipaddress.ip_network((address, length), strict=False),
        st.ip_addresses(v=6),
        st.integers(8, 128),
    ),
).filter(lambda network: not (network.is_loopback or network.is_multicast))


def may_reach(
    address: Address, *, own: Iterable[Address] = (), allowed: Iterable[Network] = ()
) -> bool:
    """Decide like the packet filter: the first that fits."""
    made = reach.decisions(own, allowed)
    return next((verdict for network, verdict in made if address in network), True)


@given(addresses)
def test_nothing_that_is_not_global_may_be_reached(address: Address):
    if any(address in network for network in (*DOCUMENTATION, *OF_NETWORKS)):
        return
    if not address.is_global or address.is_multicast:
        assert not may_reach(address)


@given(versions_4)
def test_another_notation_opens_nothing(address: ipaddress.IPv4Address):
    number = int(address)
    forms = (
        ipaddress.IPv6Address(number),
        ipaddress.IPv6Address(0xFFFF << 32 | number),
        ipaddress.IPv6Address(0x64FF9B << 96 | number),
        ipaddress.IPv6Address(0x2002 << 112 | number << 80 | 5),
    )
    for form in forms:
        assert not may_reach(form) or may_reach(address)


@given(addresses, networks)
def test_this_machine_is_closed_whatever_network_is_allowed(address: Address, network: Network):
    if network.num_addresses > 1:
        assert not may_reach(address, own=[address], allowed=[network])


@given(networks, st.data())
def test_what_is_allowed_may_be_reached(network: Network, data: st.DataObject):
    first, last = network[0], network[-1]
    number = data.draw(st.integers(int(first), int(last)))
    address = type(first)(number)

    assert may_reach(address, allowed=[network])


@given(addresses)
def test_one_address_of_this_machine_can_be_allowed(address: Address):
    assert may_reach(address, own=[address], allowed=[ipaddress.ip_network(address)])


@pytest.mark.parametrize(
    "text",
    [
        "169.254.169.254",  # metadata of most clouds
        "fd00:ec2::254",
        "fd20:ce::254",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.127.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "::ffff:10.0.0.1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_closed(text: str):
    assert not may_reach(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["1.1.1.1", "172.32.0.1", "2606:4700::1", "64:ff9b::101:101"])
def test_open(text: str):
    assert may_reach(ipaddress.ip_address(text))


def test_what_operators_write_is_read():
    read = reach.parse_allowed(" 10.1.0.0/16, 192.168.5.4\n fd12::/64 ")

    assert [str(each) for each in read] == ["10.1.0.0/16", "192.168.5.4/32", "fd12::/64"]
    assert reach.parse_allowed("") == ()


@pytest.mark.parametrize(
    "text", ["10.1.0.1/16", "example.com", "127.0.0.1", "::1/128", "0.0.0.0/0", "::/0", "224.0.0.1"]
)
def test_what_cannot_be_allowed_is_refused(text: str):
    with pytest.raises(ValueError, match=r"\S"):
        reach.parse_allowed(text)
