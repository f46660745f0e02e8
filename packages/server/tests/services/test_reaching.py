"""Which endpoints connectors may be pointed at."""

import asyncio
import ipaddress
import socket

import pytest

from algorium_server.domain.errors import InvalidInput
from algorium_server.services.files.reaching import AllowedPlace, Reach, parse_places

INSIDE = (
    "https://127.0.0.1",
    "https://127.0.0.1:8080",
    "https://localhost:9000",
    "https://0.0.0.0",
    "https://10.1.2.3",
    "https://172.16.0.1",
    "https://192.168.1.1",
    "https://100.64.0.1",
    "https://169.254.169.254",
    "https://168.63.129.16",
    "https://[::1]",
    "https://[::ffff:127.0.0.1]",
    "https://[fd00:ec2::254]",
    "https://[fe80::1]",
    "https://[64:ff9b::7f00:1]",
    "https://[2002:7f00:1::]",
    "https://2130706433",  # 127.0.0.1 as one number
    "https://0x7f.1",
    "https://127.1",
)


def checked(endpoint: str, allowed: str = "") -> str:
    return asyncio.run(Reach(parse_places(allowed)).checked(endpoint))


@pytest.mark.parametrize("allowed", ["", "public"])
@pytest.mark.parametrize("endpoint", INSIDE)
def test_nothing_inside_may_be_reached(endpoint, allowed):
    with pytest.raises(InvalidInput):
        checked(endpoint, allowed)


@pytest.mark.parametrize("endpoint", ["https://93.184.215.14", "https://[2606:2800:21f::1]:9000"])
def test_what_is_public_may_be_reached_if_the_operator_says_so(endpoint):
    assert checked(endpoint, "public") == endpoint
    with pytest.raises(InvalidInput, match="may not be reached"):
        checked(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://s3.amazonaws.com",
        "https://s3.eu-central-1.amazonaws.com",
        "https://s3.dualstack.us-west-2.amazonaws.com",
        "https://s3-us-west-2.amazonaws.com",
        "https://s3.cn-north-1.amazonaws.com.cn",
        "https://storage.googleapis.com",
        "https://account1.blob.core.windows.net",
    ],
)
def test_the_providers_own_services_may_be_reached(endpoint):
    assert checked(endpoint) == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://s3.amazonaws.com",
        "https://s3.amazonaws.com:8443",
        "https://abc.execute-api.us-east-1.amazonaws.com",
        "https://s3.us-east-1.amazonaws.com.example.com",
        "https://examples3.amazonaws.com",
        "https://bucket.storage.googleapis.com",
        "https://a.b.blob.core.windows.net",
    ],
)
def test_what_only_looks_like_a_provider_may_not(endpoint, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("8.8.8.8", 1))])

    with pytest.raises(InvalidInput):
        checked(endpoint)


@pytest.mark.parametrize("allowed", ["minio.example.com", "*.example.com", "minio.example.com:90"])
def test_a_host_may_be_reached_by_its_name(allowed):
    assert checked("https://MinIO.example.com:90", allowed) == "https://MinIO.example.com:90"
    with pytest.raises(InvalidInput):
        checked("https://minio.example.com.invalid:90", allowed)


def test_the_machines_own_address_may_not_be_reached_though_it_be_public(monkeypatch):
    own = {ipaddress.ip_address("93.184.215.14")}
    monkeypatch.setattr("algorium_server.engine.addresses.Addresses.all", lambda _: own)

    with pytest.raises(InvalidInput):
        checked("https://93.184.215.14", "public")


@pytest.mark.parametrize("allowed", ["10.1.0.0/16", "10.1.2.3", "10.1.2.3:9000", "::1, 10.0.0.0/8"])
def test_what_the_operator_allowed_may_be_reached(allowed):
    assert checked("https://10.1.2.3:9000", allowed) == "https://10.1.2.3:9000"


@pytest.mark.parametrize("allowed", ["10.2.0.0/16", "10.1.2.3:9001", "10.1.2.4"])
def test_what_the_operator_allowed_is_that_and_no_more(allowed):
    with pytest.raises(InvalidInput):
        checked("https://10.1.2.3:9000", allowed)


def test_one_port_of_this_machine_can_be_allowed():
    assert checked("http://127.0.0.1:9000", "127.0.0.1:9000") == "http://127.0.0.1:9000"
    with pytest.raises(InvalidInput):
        checked("http://127.0.0.1:8080", "127.0.0.1:9000")


def test_http_goes_to_allowed_places_only_and_to_the_address_that_was_looked_at():
    assert checked("http://localhost:9000/x", "127.0.0.1:9000, [::1]:9000") in {
        "http://127.0.0.1:9000/x",
        "http://[::1]:9000/x",
    }
    with pytest.raises(InvalidInput, match="over http"):
        checked("http://93.184.215.14", "public")


def test_a_name_is_refused_if_one_of_its_addresses_is(monkeypatch):
    def answer(*_: object, **__: object) -> list[object]:
        return [(0, 0, 0, "", (address, 443)) for address in ("93.184.215.14", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", answer)

    with pytest.raises(InvalidInput):
        checked("https://two-faced.example.com", "public")


def test_a_name_without_an_address_is_refused():
    for allowed in ("public", "*.invalid"):
        with pytest.raises(InvalidInput, match="no address"):
            checked("http://no-such-host.invalid", allowed)


def test_nobody_learns_which_names_there_are_inside():
    refusals = []
    for host in ("localhost", "no-such-host.invalid"):
        with pytest.raises(InvalidInput) as refused:
            checked(f"https://{host}", "10.0.0.0/8")
        refusals.append(refused.value.message.replace(host, "HOST"))

    assert len(set(refusals)) == 1


def test_places_are_read():
    assert parse_places("10.0.0.0/8, 127.0.0.1:9000 [::1]:80,::1 *.Example.com:9 public") == (
        AllowedPlace(network=ipaddress.ip_network("10.0.0.0/8")),
        AllowedPlace(network=ipaddress.ip_network("127.0.0.1/32"), port=9000),
        AllowedPlace(network=ipaddress.ip_network("::1/128"), port=80),
        AllowedPlace(network=ipaddress.ip_network("::1/128")),
        AllowedPlace(host="*.example.com", port=9),
        AllowedPlace(host="public"),
    )
    assert parse_places("") == ()


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0/0",
        "::/0",
        "non_sense",
        "*",
        "a.*.b",
        "https://x.y",
        "10.0.0.0/8:80",
        "127.0.0.1:0",
        "224.0.0.1",
        "1:x",
    ],
)
def test_what_is_no_place_is_refused(text):
    with pytest.raises(ValueError, match=r"\S"):
        parse_places(text)
