"""
What is noted on a server about calls to come and what has happened, as values.

Reservations, event listeners, notifications, container registries, the connection for insights.
Standard library only.

Source: wire specification, "Reservations and work limits", "Event listeners (SQS, Service Bus)",
"Notifications, features, UI configuration", "Container registries (image push)", "Insights".
"""

from dataclasses import dataclass
from datetime import datetime

from algorium.wire.reading import count, inner, members, moment, needed, text


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationInfo:
    """
    Slots that are kept warm for an account.

    Attributes:
        reservation_id: Names it to the server.
        algorithm: `owner/name`.
        algorithm_id: Its id.
        version_type: `latest_public`, `latest_private`, `latest`, `semantic` or `hash`.
        commit: Of the version that this means now, empty while there is none.
        slots: How many.
        account: Whose calls they are for.
        account_id: Its id.
    """

    reservation_id: str
    algorithm: str
    algorithm_id: str = ""
    version_type: str = ""
    commit: str = ""
    slots: int = 0
    account: str = ""
    account_id: str = ""

    @classmethod
    def from_json(cls, value: object) -> "ReservationInfo":
        """
        Read a reservation.

        Raises:
            BodyError: It has no id or no algorithm.
        """
        told = members(value, "reservation")
        owner, name = (needed(told, each, "reservation") for each in ("username", "algoname"))
        return cls(
            reservation_id=needed(told, "reservation_id", "reservation"),
            algorithm=f"{owner}/{name}",
            algorithm_id=text(told, "algorithm_id"),
            version_type=text(told, "version_type"),
            commit=text(told, "version_hash"),
            slots=count(told, "num_slots"),
            account=text(told, "billable_to"),
            account_id=text(told, "billable_to_uuid"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventListenerInfo:
    """
    A queue elsewhere, and the algorithm that its messages are meant for.

    What opens the queue never comes back.

    Attributes:
        listener_id: Names it to the server.
        source_type: `AmazonSQS` or `AzureSB`.
        source_uri: Address of the queue.
        algorithm: `owner/name`.
        version: As it was written; `latest` if none was.
        timeout_s: Of a call.
        owner: Whose calls they are to be.
        delivery: Whether the server reads the queue, in words.
    """

    listener_id: str
    source_type: str
    source_uri: str
    algorithm: str
    version: str = ""
    timeout_s: int = 0
    owner: str = ""
    delivery: str = ""

    @classmethod
    def from_json(cls, value: object) -> "EventListenerInfo":
        """
        Read a listener.

        Raises:
            BodyError: It has no id or no algorithm.
        """
        told = members(value, "listener")
        owner, name = (needed(told, each, "listener") for each in ("algoOwner", "algoName"))
        return cls(
            listener_id=needed(told, "id", "listener"),
            source_type=text(told, "sourceType"),
            source_uri=text(told, "sourceURI"),
            algorithm=f"{owner}/{name}",
            version=text(told, "algoVersion"),
            timeout_s=count(told, "algoTimeoutSeconds"),
            owner=text(told, "listenerOwner"),
            delivery=text(told, "delivery"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationInfo:
    """
    Something that a user is told.

    Attributes:
        notification_id: Names it to the server.
        kind: `algorithm-creation` or `algorithm-release`.
        algorithm: `owner/name` of what it is about.
        algorithm_id: Its id.
        version: That was released, or empty.
        created_at: When it happened.
        read_at: When it was marked as read, None if it was not.
    """

    notification_id: str
    kind: str
    algorithm: str = ""
    algorithm_id: str = ""
    version: str = ""
    created_at: datetime | None = None
    read_at: datetime | None = None

    @classmethod
    def from_json(cls, value: object) -> "NotificationInfo":
        """
        Read a notification.

        Raises:
            BodyError: It has no id or no type.
        """
        told = members(value, "notification")
        about = inner(told, "notification_context")
        return cls(
            notification_id=needed(told, "notification_id", "notification"),
            kind=needed(told, "notification_type", "notification"),
            algorithm=f"{text(about, 'username')}/{text(about, 'algoname')}" if about else "",
            algorithm_id=text(about, "algorithm_id"),
            version=text(about, "semantic_version"),
            created_at=moment(told, "created_at"),
            read_at=moment(told, "read_at"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryInfo:
    """
    A container registry. It is kept for programs that set servers up; no images are pushed to it.

    Attributes:
        registry_id: Names it to the server.
        name: For people.
        url: Where it is.
        created_at: When it was entered, None if the server does not tell.
    """

    registry_id: str
    name: str = ""
    url: str = ""
    created_at: datetime | None = None

    @classmethod
    def from_json(cls, value: object) -> "RegistryInfo":
        """
        Read a registry.

        Raises:
            BodyError: It has no id.
        """
        told = members(value, "registry")
        return cls(
            registry_id=needed(told, "id", "registry"),
            name=text(told, "name"),
            url=text(told, "registry_url"),
            created_at=moment(told, "created_at"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InsightsConnection:
    """
    Where insights go that algorithms report, and how far they come. Its password never comes back.

    Attributes:
        connection_type: `SSL` or `SASL_SSL`, as the server has it.
        broker_url: Of Kafka.
        topic: That gets them.
        broker_username: Or empty.
        sasl_mechanism: Or empty.
        ca_certificate: PEM to trust beside the usual ones, or empty.
        sent: Records since the start of the server.
        waiting: Records that were not sent yet.
        lost: Records that never will be.
        remedy: What to do about that, or empty.
    """

    connection_type: str
    broker_url: str
    topic: str
    broker_username: str = ""
    sasl_mechanism: str = ""
    ca_certificate: str = ""
    sent: int = 0
    waiting: int = 0
    lost: int = 0
    remedy: str = ""

    @classmethod
    def from_json(cls, value: object) -> "InsightsConnection":
        """
        Read a connection.

        Raises:
            BodyError: It leads nowhere.
        """
        told = members(value, "connection")
        delivery = inner(told, "delivery")
        return cls(
            connection_type=text(told, "connection_type"),
            broker_url=needed(told, "broker_url", "connection"),
            topic=text(told, "topic"),
            broker_username=text(told, "broker_username"),
            sasl_mechanism=text(told, "sasl_mechanism"),
            ca_certificate=text(told, "ca_certificate"),
            sent=count(delivery, "sent"),
            waiting=count(delivery, "waiting"),
            lost=count(delivery, "lost"),
            remedy=text(delivery, "remedy"),
        )
