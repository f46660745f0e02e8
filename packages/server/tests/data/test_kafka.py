"""Records sent to a broker that speaks Kafka's protocol: plain, and over TLS with a password."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from stand_in_kafka import StandInKafka

from algorium_server.data import kafka
from algorium_server.data.kafka import KafkaSender
from algorium_server.domain.errors import InvalidInput, SourceFailed, Unavailable
from algorium_server.domain.insights import ConnectionType, InsightsSettings, SaslMechanism


def plain(address: str) -> InsightsSettings:
    return InsightsSettings(
        connection_type=ConnectionType.PLAINTEXT, broker_url=address, topic="metrics"
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1, which signs itself, in one file with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "broker.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def secured(certificate: Path) -> Iterator[StandInKafka]:
    with StandInKafka(certificate=certificate, login=("jane", "s3cret")) as broker:
        yield broker


async def send(settings: InsightsSettings, password: str, *records: bytes) -> None:
    sender = await KafkaSender.open(settings, password)
    try:
        await sender.send(records)
    finally:
        await sender.close()


def test_records_arrive_in_their_topic():
    with StandInKafka() as broker:
        asyncio.run(send(plain(broker.address), "", b'{"a": 1}', b'{"a": 2}'))

        assert sorted(record["a"] for record in broker.wait_for(2)) == [1, 2]
        assert {topic for topic, _ in broker.received} == {"metrics"}


def test_over_tls_with_a_password(secured: StandInKafka, certificate: Path):
    settings = sasl(secured, certificate.read_text().partition("-----BEGIN CERT")[2])

    asyncio.run(send(settings, "s3cret", b'{"a": 1}'))

    assert secured.wait_for(1) == [{"a": 1}]


def sasl(broker: StandInKafka, certificate: str) -> InsightsSettings:
    return InsightsSettings(
        connection_type=ConnectionType.SASL_SSL,
        broker_url=broker.address,
        topic="metrics",
        broker_username="jane",
        sasl_mechanism=SaslMechanism.PLAIN,
        ca_certificate=f"-----BEGIN CERT{certificate}" if certificate else "",
    )


def test_a_wrong_password_is_an_error_without_it(secured: StandInKafka, certificate: Path):
    settings = sasl(secured, certificate.read_text().partition("-----BEGIN CERT")[2])

    with pytest.raises(SourceFailed) as caught:
        asyncio.run(send(settings, "wr0ng", b"{}"))

    assert "wr0ng" not in caught.value.message
    assert secured.received == []


def test_a_broker_whose_certificate_nobody_vouches_for_gets_no_password(secured: StandInKafka):
    with pytest.raises(SourceFailed):
        asyncio.run(send(sasl(secured, ""), "s3cret", b"{}"))


def test_where_nobody_listens_is_an_error():
    with StandInKafka() as broker:
        settings = plain(broker.address)

    with pytest.raises(SourceFailed, match="the brokers do not take records"):
        asyncio.run(send(settings, "", b"{}"))


def test_what_is_no_certificate_is_refused():
    with pytest.raises(InvalidInput, match="PEM"):
        kafka.check_certificate("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----")


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "aiokafka", None)

    assert not kafka.is_installed()
    with pytest.raises(Unavailable) as caught:
        asyncio.run(KafkaSender.open(plain("127.0.0.1:9"), ""))
    assert kafka.REMEDY in caught.value.hint
