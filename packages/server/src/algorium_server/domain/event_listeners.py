"""
Event listeners: a queue elsewhere, and the algorithm that its messages are meant for.

What is here is the definition. Nothing reads the queues yet: listeners are kept, so that programs
that manage them work, and whoever asks is told that they are not polled.

Source: wire specification, "Event listeners (SQS, Service Bus)".
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import CALL_TIMEOUT_S_MAX, LISTENER_TEXT_CHARS_MAX
from algorium_server.domain.texts import check_text

HIDDEN: Final = "********"
"""What is shown of credentials; sent back, they stay as they are."""
NEWEST: Final = "latest"
"""The version of a listener that names none."""


class SourceType(StrEnum):
    """What kind of queue it is; the values are the wire's."""

    AMAZON_SQS = "AmazonSQS"
    AZURE_SERVICE_BUS = "AzureSB"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventListener:
    """
    A listener.

    Attributes:
        account_id: Whose calls they are to be.
        source_uri: Address of the queue.
        algo_version: As it was written.
        sealed: What opens the queue, sealed.
    """

    listener_id: str
    account_id: str
    source_type: SourceType
    source_uri: str
    algo_owner: str
    algo_name: str
    algo_version: str
    timeout_s: int
    sealed: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedListener:
    """
    What somebody says of a listener.

    Attributes:
        credentials: A role, or a connection string.
    """

    source_type: SourceType
    source_uri: str
    algo_owner: str
    algo_name: str
    algo_version: str
    timeout_s: int
    credentials: str = field(repr=False)


def check_listener(wanted: WantedListener) -> WantedListener:
    """Return *wanted* if it can be kept; `InvalidInput` if not."""
    for what, value in (
        ("sourceURI", wanted.source_uri),
        ("algoName", wanted.algo_name),
        ("algoOwner", wanted.algo_owner),
        ("algoVersion", wanted.algo_version),
        ("credentials", wanted.credentials),
    ):
        if not value.strip():
            raise InvalidInput(f"{what} is empty")
        check_text(value, what, chars_max=LISTENER_TEXT_CHARS_MAX)
    if not 1 <= wanted.timeout_s <= CALL_TIMEOUT_S_MAX:
        raise InvalidInput(f"algoTimeoutSeconds must be 1 to {CALL_TIMEOUT_S_MAX:.0f}")
    return wanted
