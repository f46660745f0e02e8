"""
Records sent to a topic of Kafka. The only module that knows the library, which is an extra.

Without `pip install 'algorium-server[kafka]'` it says so to whoever wants to send.

The library finds the brokers of a cluster by itself, from the first one that answers, and follows
them when they move. It retries for a moment; how long records live is decided by whoever has them.
"""

import asyncio
import importlib
import ssl
from collections.abc import Sequence
from typing import Any, Final, Self

from algorium_server.domain.errors import InvalidInput, SourceFailed, Unavailable
from algorium_server.domain.insights import ConnectionType, InsightsSettings
from algorium_server.domain.limits import INSIGHTS_SEND_S_MAX

MISSING: Final = "the library for Kafka is not installed"
REMEDY: Final = "pip install 'algorium-server[kafka]'"


def is_installed() -> bool:
    """Whether records can be sent at all."""
    try:
        _library()
    except Unavailable:
        return False
    return True


def check_certificate(pem: str) -> None:
    """Raise `InvalidInput` unless *pem* holds certificates, or is empty."""
    if pem:
        _tls(pem)


class KafkaSender:
    """An open connection to the brokers of a topic."""

    def __init__(self, producer: Any, errors: type[Exception], topic: str) -> None:
        self._producer = producer
        self._errors = errors
        self._topic = topic

    @classmethod
    async def open(cls, settings: InsightsSettings, password: str) -> Self:
        """
        Connect.

        Raises:
            Unavailable: The library is not installed.
            SourceFailed: No broker answers, or it does not want us.
            InvalidInput: The certificate is none.
        """
        library = _library()
        options: dict[str, Any] = {}
        if settings.connection_type is ConnectionType.SASL_SSL:
            options = {
                "security_protocol": "SASL_SSL",
                "ssl_context": _tls(settings.ca_certificate),
                "sasl_mechanism": settings.sasl_mechanism.value,
                "sasl_plain_username": settings.broker_username,
                "sasl_plain_password": password,
            }
        producer = library.AIOKafkaProducer(
            bootstrap_servers=[f"{host}:{port}" for host, port in settings.brokers],
            client_id="algorium",
            acks="all",
            request_timeout_ms=int(INSIGHTS_SEND_S_MAX * 1000),
            **options,
        )
        errors = library.errors.KafkaError
        try:
            async with asyncio.timeout(INSIGHTS_SEND_S_MAX):
                await producer.start()
        except (errors, OSError, TimeoutError) as error:
            await _stopped(producer, errors)
            raise _failed(error) from error
        except BaseException:
            await _stopped(producer, errors)
            raise
        return cls(producer, errors, settings.topic)

    async def send(self, records: Sequence[bytes]) -> None:
        """
        Send records; each may arrive more than once, if this fails in between.

        Raises:
            SourceFailed: Not all of them arrived.
        """
        try:
            async with asyncio.timeout(INSIGHTS_SEND_S_MAX):
                waiting = [await self._producer.send(self._topic, each) for each in records]
                await asyncio.gather(*waiting)
        except (self._errors, OSError, TimeoutError) as error:
            raise _failed(error) from error

    async def close(self) -> None:
        """Close the connection; what has not arrived is given up."""
        await _stopped(self._producer, self._errors)


async def _stopped(producer: Any, errors: type[Exception]) -> None:
    try:
        # It would wait for brokers that are gone; by now nobody waits for what they say.
        async with asyncio.timeout(1):
            await producer.stop()
    except (errors, OSError, TimeoutError):
        await producer.client.close()


def _library() -> Any:
    try:
        # An extra: whoever does not use it need not have it.
        return importlib.import_module("aiokafka")
    except ImportError as error:
        raise Unavailable(MISSING, hint=f"The operator can install it: {REMEDY}") from error


def _tls(ca_certificate: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=ca_certificate)
        except (ssl.SSLError, ValueError) as error:
            raise InvalidInput("ca_certificate holds no certificate in PEM form") from error
    return context


def _failed(error: Exception) -> SourceFailed:
    reason = str(error) or type(error).__name__
    return SourceFailed(f"the brokers do not take records: {reason[:300]}")
