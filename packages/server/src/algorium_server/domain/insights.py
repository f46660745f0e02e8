"""
Insights: numbers and words that an algorithm reports while it runs, sent to a Kafka topic.

An algorithm reports pairs of a key and a value; when its call ends, they become one *record*,
together with what the platform knows of the call. Only versions that were published with
`insights_enabled` have records.

Source: wire specification, "Insights".
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import (
    INSIGHTS_BROKERS_CHARS_MAX,
    INSIGHTS_BYTES_PER_CALL_MAX,
    INSIGHTS_CERTIFICATE_CHARS_MAX,
    INSIGHTS_PER_CALL_MAX,
    INSIGHTS_TEXT_CHARS_MAX,
    INSIGHTS_TOPIC_CHARS_MAX,
)
from algorium_server.domain.texts import check_text

Value = int | float | str

RESERVED: Final = frozenset(
    {
        "request_id",
        "timestamp",
        "duration_milliseconds",
        "algorithm_owner",
        "algorithm_name",
        "algorithm_version",
    }
)
"""Keys that the platform sets in every record."""
_NUMBER_END: Final = 2**63
"""Whole numbers up to here are what readers of a topic can be expected to hold."""
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]+")
_BROKER: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(?P<port>[0-9]{1,5})")


class ConnectionType(StrEnum):
    """How brokers are spoken to; the values are the wire's."""

    SASL_SSL = "kafka_sasl_ssl"
    PLAINTEXT = "kafka_unauthenticated_plaintext"


class SaslMechanism(StrEnum):
    """How we say who we are; the values are the wire's."""

    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    PLAIN = "PLAIN"


@dataclass(frozen=True, slots=True, kw_only=True)
class InsightsSettings:
    """
    Where records go, without the password.

    Attributes:
        broker_url: `host:port`, several with commas between.
        ca_certificate: That the brokers' certificates are signed with; empty for those of the host.
    """

    connection_type: ConnectionType
    broker_url: str
    topic: str
    broker_username: str = ""
    sasl_mechanism: SaslMechanism = SaslMechanism.SCRAM_SHA_512
    ca_certificate: str = ""

    @property
    def brokers(self) -> tuple[tuple[str, int], ...]:
        """Hosts and ports."""
        return tuple(_brokers(self.broker_url))


@dataclass(frozen=True, slots=True, kw_only=True)
class InsightsConnection:
    """
    The connection of the installation.

    Attributes:
        connection_id: Another one after every change.
        sealed: The password, sealed; empty without one.
    """

    connection_id: str
    settings: InsightsSettings
    sealed: bytes


def check_settings(settings: InsightsSettings, *, has_password: bool) -> InsightsSettings:
    """Return *settings* if a connection can be made of them; `InvalidInput` if not."""
    check_text(settings.broker_url, "broker_url", chars_max=INSIGHTS_BROKERS_CHARS_MAX)
    _brokers(settings.broker_url)
    topic = settings.topic
    if len(topic) > INSIGHTS_TOPIC_CHARS_MAX or not _TOPIC.fullmatch(topic) or topic in {".", ".."}:
        raise InvalidInput(
            f"topic must be 1 to {INSIGHTS_TOPIC_CHARS_MAX} letters, digits, '.', '_' and '-'"
        )
    check_text(settings.broker_username, "broker_username", chars_max=INSIGHTS_TEXT_CHARS_MAX)
    if len(settings.ca_certificate) > INSIGHTS_CERTIFICATE_CHARS_MAX:
        raise InvalidInput(
            f"ca_certificate is limited to {INSIGHTS_CERTIFICATE_CHARS_MAX} characters"
        )
    if settings.connection_type is ConnectionType.SASL_SSL:
        if not settings.broker_username:
            raise InvalidInput("broker_username is missing")
        if not has_password:
            raise InvalidInput("broker_password is missing")
    return settings


def _brokers(text: str) -> list[tuple[str, int]]:
    found = []
    for each in text.split(","):
        match = _BROKER.fullmatch(each.strip())
        if match is None or not 1 <= int(match["port"]) <= 65535:
            raise InvalidInput(
                f"broker_url must be HOST:PORT, several with commas between, not {each[:100]!r}"
            )
        found.append((match["host"].strip("[]"), int(match["port"])))
    return found


def read_pairs(body: object) -> dict[str, Value]:
    """
    Read what an algorithm reports.

    Args:
        body: JSON: `[{"insight_key": "cats", "insight_value": 4}]`.

    Raises:
        InvalidInput: It has another form, or a key is reserved.
    """
    if not isinstance(body, list):
        raise InvalidInput("insights must be a list of objects")
    if len(body) > INSIGHTS_PER_CALL_MAX:
        raise InvalidInput(f"a call may report {INSIGHTS_PER_CALL_MAX} insights, not {len(body)}")
    pairs: dict[str, Value] = {}
    for each in body:
        if not isinstance(each, dict):
            raise InvalidInput("insights must be a list of objects")
        key, value = each.get("insight_key"), each.get("insight_value")
        if not isinstance(key, str) or not key:
            raise InvalidInput("insight_key must be a text that is not empty")
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InvalidInput(f"insight_value of {key[:100]!r} must be a number or a text")
        if isinstance(value, int) and abs(value) >= _NUMBER_END:
            raise InvalidInput(f"insight_value of {key[:100]!r} must be a number of 64 bits")
        if key in RESERVED:
            raise InvalidInput(f"insight_key {key!r} is set by the platform: use another one")
        pairs[key] = value
    return pairs


def joined(known: Mapping[str, Value], more: Mapping[str, Value]) -> dict[str, Value]:
    """
    Return what a call has reported altogether; a key that comes again has its new value.

    Raises:
        InvalidInput: That is too much for one call; nothing of *more* counts then.
    """
    together = {**known, **more}
    if len(together) > INSIGHTS_PER_CALL_MAX:
        raise InvalidInput(
            f"a call may report {INSIGHTS_PER_CALL_MAX} insights, not {len(together)}"
        )
    size = sum(_size(key) + _size(str(value)) for key, value in together.items())
    if size > INSIGHTS_BYTES_PER_CALL_MAX:
        raise InvalidInput(
            f"the insights of a call may have {INSIGHTS_BYTES_PER_CALL_MAX} bytes, not {size}"
        )
    return together


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def record_of(
    pairs: Iterable[tuple[str, Value]],
    *,
    request_id: str,
    timestamp: str,
    run_s: float,
    owner: str,
    name: str,
    version: str,
) -> dict[str, Any]:
    """Return the record of a call."""
    return {
        **dict(pairs),
        "request_id": request_id,
        "timestamp": timestamp,
        "duration_milliseconds": round(run_s * 1000),
        "algorithm_owner": owner,
        "algorithm_name": name,
        "algorithm_version": version,
    }
