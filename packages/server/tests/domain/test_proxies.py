"""Where requests come from that came through proxies, and what nobody can make of that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain.limits import PROXY_HOPS_MAX
from algorium_server.domain.proxies import (
    NO_PROXIES,
    Caller,
    Proxies,
    ProxyHeaders,
    parse_proxies,
)

OURS = Proxies(networks=parse_proxies("10.0.0.0/8, 192.0.2.1 fd00::/8"))
STANDARD = Proxies(networks=OURS.networks, headers=ProxyHeaders.FORWARDED)
CALLER = "203.0.113.7"
NAMES = {"for": b"x-forwarded-for", "proto": b"x-forwarded-proto", "forwarded": b"forwarded"}


def caller(*headers: str, proxies: Proxies = OURS) -> Caller:
    """Return what is made of headers, each written `for: value`."""
    pairs = [header.partition(": ") for header in headers]
    return proxies.caller([(NAMES[name], value.encode("latin-1")) for name, _, value in pairs])


@pytest.mark.parametrize(
    ("peer", "is_trusted"),
    [
        ("10.255.0.1", True),
        ("192.0.2.1", True),
        ("192.0.2.2", False),
        ("::ffff:10.0.0.1", True),  # a socket for both families
        ("fd12::1", True),
        ("fe80::1%eth0", False),
        ("2001:db8::1", False),
        ("", False),
        ("proxy.example.com", False),
    ],
)
def test_only_what_is_named_is_trusted(peer, is_trusted):
    assert OURS.trusts(peer) is is_trusted
    assert not NO_PROXIES.trusts(peer)


@pytest.mark.parametrize(
    ("listed", "address"),
    [
        (CALLER, CALLER),
        (f"{CALLER}, 10.0.0.2", CALLER),
        (f"{CALLER},10.0.0.2,fd00::2", CALLER),
        (f"6.6.6.6, {CALLER}", CALLER),  # what a caller sends itself stands further left
        (f"10.0.0.9, {CALLER}, 10.0.0.2", CALLER),
        (f"garbage, {CALLER}", CALLER),
        (f", ,{CALLER}", CALLER),
        (f"{CALLER}:5432", CALLER),
        (f"{CALLER}:99999999", ""),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("::ffff:203.0.113.7", CALLER),
        ("10.0.0.5, 10.0.0.2", "10.0.0.5"),  # one of the proxies itself
        ("", ""),
        ("unknown", ""),
        ("6.6.6.6, unknown", ""),
        ("6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"),  # the proxy that says so
        ("6.6.6.6, ", ""),
        ("6.6.6.6, [2001:db8::7", ""),
        ("6.6.6.6, [203.0.113.7]", ""),
        ("6.6.6.6, fe80::1%eth0", ""),
        ("6.6.6.6, 203.0.113.007", ""),
        ("6.6.6.6, 3405803783", ""),
        ("6.6.6.6, 203.0.113.7 9", ""),
        ("6.6.6.6, \u00b2.0.0.1", ""),
    ],
)
def test_the_caller_is_who_the_farthest_trusted_proxy_saw(listed, address):
    assert caller(f"for: {listed}").address == address


def test_several_headers_are_one_list():
    assert caller("for: 6.6.6.6", f"for: {CALLER}").address == CALLER
    assert caller(f"for: {CALLER}", "for: 10.0.0.2, 10.0.0.3").address == CALLER
    assert caller("for: 6.6.6.6", "for: ").address == ""


def test_a_header_of_the_other_kind_means_nothing():
    assert caller(f"forwarded: for={CALLER};proto=https") == Caller()
    assert caller("forwarded: for=6.6.6.6", f"for: {CALLER}").address == CALLER
    assert caller(f"for: {CALLER}", "proto: https", proxies=STANDARD) == Caller()


@pytest.mark.parametrize(
    ("written", "scheme"),
    [
        (["https"], "https"),
        (["HTTPS"], "https"),
        (["http, https"], "https"),
        (["https", "http"], "http"),
        (["javascript"], ""),
        (["https, "], ""),
        ([], ""),
    ],
)
def test_the_nearest_proxy_says_over_which_scheme(written, scheme):
    assert caller(*(f"proto: {value}" for value in written)).scheme == scheme


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([f"for={CALLER}"], (CALLER, "")),
        ([f"For={CALLER};Proto=HTTPS;by=10.0.0.3"], (CALLER, "https")),
        (['for="[2001:db8::7]:4711"'], ("2001:db8::7", "")),
        ([f'for="{CALLER}:4711" ; host=example.com'], (CALLER, "")),
        ([f'for="{CALLER}:_port"'], (CALLER, "")),
        ([f"for=6.6.6.6, for={CALLER};proto=https, for=10.0.0.2;proto=http"], (CALLER, "https")),
        (["for=6.6.6.6", f"for={CALLER}"], (CALLER, "")),
        (
            [f"x, for={CALLER};proto=https"],
            (CALLER, "https"),
        ),  # the caller's own is in front
        ([f", for={CALLER}"], (CALLER, "")),
        ([f'for="6.6.6.6, for={CALLER}'], (CALLER, "")),  # a quote that nobody has closed
        ([f'for=6.6.6.6;by=", for={CALLER};host="a, b"'], (CALLER, "")),
        ([r'for="\\, for="[2001:db8::7]"'], ("2001:db8::7", "")),
        ([f'for={CALLER};host="x, for=6.6.6.6"'], (CALLER, "")),  # a host that the caller made up
        ([rf'for={CALLER};host="x, for=6.6.6.6;by=\"y"'], (CALLER, "")),
        ([f"x, for={CALLER}, for=10.0.0.2"], (CALLER, "")),
        (["x, for=10.0.0.2"], ("10.0.0.2", "")),
        (["for=6.6.6.6, for=203.0.113.7:80"], ("", "")),  # not as the standard has it
        (['for=6.6.6.6;by=", for=203.0.113.7:80'], ("", "")),
        (['for=6.6.6.6;by="', f"for={CALLER}"], (CALLER, "")),
        ([f'by=", for={CALLER}, for="x"'], ("", "")),
        (["for=_hidden"], ("", "")),
        (["for=unknown"], ("", "")),
        (["for=6.6.6.6, for=unknown"], ("", "")),
        (["for=6.6.6.6, proto=https"], ("", "")),
        (["for=6.6.6.6;for=6.6.6.7"], ("", "")),
        (["for=6.6.6.6, for"], ("", "")),
        (["for=6.6.6.6,"], ("", "")),
        ([""], ("", "")),
        ([r'for="203.0.113\.7"'], (CALLER, "")),
    ],
)
def test_the_standard_header_is_read_the_same_way(written, expected):
    assert caller(*(f"forwarded: {each}" for each in written), proxies=STANDARD) == expected


def test_more_proxies_than_there_are_anywhere_are_not_followed():
    listed = ", ".join(["6.6.6.6", *["10.0.0.1"] * PROXY_HOPS_MAX])

    assert caller(f"for: {listed}").address == "10.0.0.1"


HEADERS = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)


@given(st.lists(HEADERS, max_size=3), st.booleans())
def test_whatever_callers_send_themselves_the_proxy_has_the_last_word(sent, is_standard):
    proxies = STANDARD if is_standard else OURS
    kind = "forwarded" if is_standard else "for"
    seen = f"for={CALLER}" if is_standard else CALLER

    assert caller(*(f"{kind}: {each}" for each in [*sent, seen]), proxies=proxies)[0] == CALLER
    assert caller(f"{kind}: {', '.join([*sent, seen])}", proxies=proxies)[0] == CALLER


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.0.0.0/0", "0.0.0.0/0 is everybody"),
        ("::/0", "::/0 is everybody"),
        ("::ffff:0.0.0.0/96", "0.0.0.0/0 is everybody"),
        ("0.0.0.0/1,10.0.0.0/8 128.0.0.0/1", "0.0.0.0/0 is everybody"),
        ("10.0.0.1/8", "10.0.0.1/8 is no network; did you mean 10.0.0.0/8"),
        ("fd00::1/8", "fd00::1/8 is no network; did you mean fd00::/8"),
        ("example.com", "'example.com'"),
        ("10.0.0.0/33", "'10.0.0.0/33'"),
    ],
)
def test_what_cannot_be_the_networks_of_proxies_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_proxies(text)


@pytest.mark.parametrize("text", ["::ffff:10.0.0.0/104", "::ffff:a00:1"])
def test_networks_of_ipv4_may_be_written_as_ipv6(text):
    assert Proxies(networks=parse_proxies(text)).trusts("10.0.0.1")
