"""
What is noted on a server about calls, builds and events: every operation once, as in `_flow.py`.

Source: wire specification, "Reservations and work limits", "Event listeners (SQS, Service Bus)",
"Notifications, features, UI configuration", "Container registries (image push)", "Insights";
runtime design, "Environments".
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from algorium._account_flow import named, path_to
from algorium._algorithm_flow import (
    Page,
    get,
    json_request,
    page_query,
    read,
    read_each,
    read_list,
    read_page,
)
from algorium._answers import check, unexpected
from algorium._errors import AccountNotFound, AlgorithmNotFound, NotFound, PathNotFound
from algorium._messages import Request
from algorium._retry import Flow
from algorium._wishes import given
from algorium.wire.operations import (
    EventListenerInfo,
    InsightsConnection,
    NotificationInfo,
    RegistryInfo,
    ReservationInfo,
)
from algorium.wire.package_sources import PackageSourcesInfo
from algorium.wire.reading import members, needed, text
from algorium.wire.refs import AlgorithmRef
from algorium.wire.uris import DataUri

NOTIFICATION_KINDS: Final = ("algorithm-creation", "algorithm-release")
"""What users are told of; the wire wants them named."""

_HIDDEN: Final = "********"
"""Sent as the credentials of a listener, it leaves them as they are."""


def reservations() -> Flow[list[ReservationInfo]]:
    """Read all reservations, oldest first."""
    response = yield Request(method="GET", path="/v1/admin/reservations")
    check(response)
    return read_list(response, ReservationInfo.from_json)


def reserve(
    ref: AlgorithmRef, account: str, slots: int, version_type: str, version: str
) -> Flow[None]:
    """
    Keep slots warm for an account.

    Raises:
        InvalidInput: There is no such algorithm, version or account, or too many slots.
    """
    _check_named(ref)
    body: dict[str, Any] = {
        "username": ref.owner,
        "algoname": ref.name,
        "calling_user": account,
        "version_type": version_type,
        "num_slots": slots,
    }
    if version:
        body["version_identifier"] = version
    check((yield json_request("POST", "/v1/admin/reservations", body)))


def release(reservation_id: str) -> Flow[None]:
    """
    Keep slots warm no longer.

    Raises:
        NotFound: There is no such reservation.
    """
    path = path_to("admin", "reservations", reservation_id)
    check((yield Request(method="DELETE", path=path)), missing=NotFound)


def listeners(username: str, marker: str, limit: int) -> Flow[Page[EventListenerInfo]]:
    """
    Read some event listeners of a user, oldest first.

    Raises:
        AccountNotFound: There is no such user, or not for you.
    """
    path = path_to("users", (yield from named(username)), "event-listeners")
    response = yield Request(method="GET", path=path, query=page_query(marker, limit))
    check(response, missing=AccountNotFound)
    return read_page(response, EventListenerInfo.from_json, marker=marker)


def listener(username: str, listener_id: str) -> Flow[EventListenerInfo]:
    """
    Read an event listener.

    Raises:
        NotFound: There is none.
    """
    path = path_to("users", (yield from named(username)), "event-listeners", listener_id)
    response = yield Request(method="GET", path=path)
    check(response, missing=NotFound)
    return read(response, EventListenerInfo.from_json)


def create_listener(
    username: str,
    *,
    source_type: str,
    source_uri: str,
    ref: AlgorithmRef,
    credentials: str,
    timeout_s: int | None,
) -> Flow[EventListenerInfo]:
    """
    Add an event listener.

    Raises:
        InvalidInput: There is no such kind of queue, or something is missing.
    """
    body = _listener(
        source_type=source_type,
        source_uri=source_uri,
        ref=ref,
        credentials=credentials,
        timeout_s=timeout_s,
    )
    path = path_to("users", (yield from named(username)), "event-listeners")
    response = yield json_request("POST", path, body)
    check(response)
    return read(response, EventListenerInfo.from_json)


def update_listener(
    username: str,
    listener_id: str,
    *,
    source_uri: str | None,
    ref: AlgorithmRef | None,
    credentials: str | None,
    timeout_s: int | None,
) -> Flow[EventListenerInfo]:
    """Change an event listener; what is None stays as it is. Raises as `listener`."""
    owner = yield from named(username)
    known = yield from listener(owner, listener_id)
    body = _listener(
        source_type=known.source_type,
        source_uri=known.source_uri if source_uri is None else source_uri,
        ref=AlgorithmRef.parse(f"{known.algorithm}/{known.version}") if ref is None else ref,
        credentials=_HIDDEN if credentials is None else credentials,
        timeout_s=known.timeout_s if timeout_s is None else timeout_s,
    )
    path = path_to("users", owner, "event-listeners", listener_id)
    response = yield json_request("PUT", path, body)
    check(response, missing=NotFound)
    return read(response, EventListenerInfo.from_json)


def delete_listener(username: str, listener_id: str) -> Flow[None]:
    """Delete an event listener; raises as `listener`."""
    path = path_to("users", (yield from named(username)), "event-listeners", listener_id)
    check((yield Request(method="DELETE", path=path)), missing=NotFound)


def notifications(
    username: str, *, kinds: Sequence[str], since: datetime | None, limit: int
) -> Flow[list[NotificationInfo]]:
    """
    Read what a user was told, newest first.

    Raises:
        AccountNotFound: There is no such user, or not for you.
        ValueError: *since* has no time zone.
    """
    if since is not None and since.tzinfo is None:
        raise ValueError("since needs a time zone")
    path = path_to("users", (yield from named(username)), "notifications")
    query = {"event_types": ",".join(kinds or NOTIFICATION_KINDS), "limit": str(limit)}
    if since is not None:
        query["since"] = since.isoformat()
    response = yield Request(method="GET", path=path, query=tuple(query.items()))
    check(response, missing=AccountNotFound)
    return read_list(response, NotificationInfo.from_json)


def mark_read(username: str, notification_ids: Sequence[str] | None) -> Flow[None]:
    """Mark notifications as read; all for None. Raises as `notifications`."""
    path = path_to("users", (yield from named(username)), "notifications", "read")
    body = {} if notification_ids is None else {"notification_ids": list(notification_ids)}
    check((yield json_request("POST", path, body)), missing=AccountNotFound)


def registries() -> Flow[list[RegistryInfo]]:
    """Read all container registries, oldest first."""
    response = yield Request(method="GET", path="/v1/registries")
    check(response)
    return read_list(response, RegistryInfo.from_json)


def set_default_collection(ref: AlgorithmRef, uri: DataUri) -> Flow[None]:
    """
    Give an algorithm a collection as its `data://.algo/default`.

    Raises:
        AlgorithmNotFound: There is no such algorithm.
        PathNotFound: There is no such collection of yours.
    """
    if uri.connector != "data" or len(uri.segments) != 2:
        raise ValueError(f"a collection is data://OWNER/NAME, not {uri}")
    owner, name = uri.segments
    username = (yield from named("" if owner == ".my" else owner)).lower()
    response = yield Request(method="GET", path="/v1/hostedData")
    check(response)
    told = response.json()
    if not isinstance(told, dict) or not isinstance(told.get("result"), list):
        raise unexpected(response, "no list of collections")
    for each in read_each(response, told["result"], lambda value: members(value, "result[]")):
        if (text(each, "username").lower(), text(each, "collection_name")) == (username, name):
            collection_id = needed(each, "id", "result[]")
            break
    else:
        raise PathNotFound(
            f"There is no collection {uri} of yours.",
            status=404,
            request_id=response.request_id,
        )
    algorithm_id = ref.algorithm_id or (yield from get(ref)).algorithm_id
    path = path_to("algorithms", algorithm_id, "collections", collection_id)
    check((yield Request(method="POST", path=path)), missing=AlgorithmNotFound)


def put_registry(
    registry_id: str, *, url: str, name: str, username: str | None, password: str | None
) -> Flow[RegistryInfo]:
    """
    Enter a container registry, or without *registry_id* a new one.

    Raises:
        NotFound: There is none.
        InvalidInput: It cannot be one.
    """
    body = given(
        registry_url=url, name=name, registry_username=username, registry_password=password
    )
    response = yield json_request(
        "PUT" if registry_id else "POST",
        path_to("registries", *([registry_id] if registry_id else [])),
        body,
    )
    check(response, missing=NotFound)
    return read(response, RegistryInfo.from_json)


def delete_registry(registry_id: str) -> Flow[None]:
    """Delete a container registry; raises as `put_registry`."""
    response = yield Request(method="DELETE", path=path_to("registries", registry_id))
    check(response, missing=NotFound)


def package_sources(account: str) -> Flow[PackageSourcesInfo]:
    """
    Read where builds of an account find packages of its own.

    Raises:
        AccountNotFound: There is no such account, or not for you.
    """
    path = path_to("users", (yield from named(account)), "package-sources")
    response = yield Request(method="GET", path=path)
    check(response, missing=AccountNotFound)
    return read(response, PackageSourcesInfo.from_json)


def set_package_sources(account: str, sources: PackageSourcesInfo) -> Flow[PackageSourcesInfo]:
    """
    Replace them; raises as `package_sources`.

    Raises:
        InvalidInput: An address is none, or not one that builds may reach.
    """
    path = path_to("users", (yield from named(account)), "package-sources")
    response = yield json_request("PUT", path, sources.to_json())
    check(response, missing=AccountNotFound)
    return read(response, PackageSourcesInfo.from_json)


def delete_package_sources(account: str) -> Flow[None]:
    """Forget them; raises as `package_sources`."""
    path = path_to("users", (yield from named(account)), "package-sources")
    check((yield Request(method="DELETE", path=path)), missing=AccountNotFound)


def insights_connection() -> Flow[InsightsConnection]:
    """
    Read where insights go.

    Raises:
        NotFound: Nowhere.
    """
    response = yield Request(method="GET", path="/v1/admin/insights-connection")
    check(response, missing=NotFound)
    return read(response, InsightsConnection.from_json)


def connect_insights(connection: InsightsConnection, password: str) -> Flow[InsightsConnection]:
    """
    Say where insights go.

    Raises:
        InvalidInput: It cannot be reached so.
    """
    told = {
        "connection_type": connection.connection_type,
        "broker_url": connection.broker_url,
        "topic": connection.topic,
        "broker_username": connection.broker_username,
        "broker_password": password,
        "sasl_mechanism": connection.sasl_mechanism,
        "ca_certificate": connection.ca_certificate,
    }
    body: Mapping[str, Any] = {name: value for name, value in told.items() if value}
    response = yield json_request("POST", "/v1/admin/insights-connection", body)
    check(response)
    return read(response, InsightsConnection.from_json)


def disconnect_insights() -> Flow[None]:
    """Have insights go nowhere."""
    check((yield Request(method="DELETE", path="/v1/admin/insights-connection")))


def _listener(
    *, source_type: str, source_uri: str, ref: AlgorithmRef, credentials: str, timeout_s: int | None
) -> dict[str, Any]:
    _check_named(ref)
    return given(
        sourceType=source_type,
        sourceURI=source_uri,
        algoOwner=ref.owner,
        algoName=ref.name,
        algoVersion=ref.version or None,
        algoTimeoutSeconds=timeout_s,
        credentials=credentials,
    )


def _check_named(ref: AlgorithmRef) -> None:
    if ref.algorithm_id:
        raise ValueError(f"this takes OWNER/NAME, not an id: {ref}")
