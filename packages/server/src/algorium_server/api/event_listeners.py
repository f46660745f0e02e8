"""
Event listeners over HTTP: `/v1/users/{username}/event-listeners`.

The list is an array, as the old service documented it; with `limit` or `marker`, and for the
client that was generated from its API's document, it is a page, as that says.

Source: wire specification, "Event listeners (SQS, Service Bus)", "Ambiguities" E1.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from algorium_server.api import pages
from algorium_server.api.http import JSON
from algorium_server.api.management import Answer, Asking, Body, body_of
from algorium_server.api.queries import PAGE, Page, described_query
from algorium_server.domain.errors import InvalidMarker
from algorium_server.domain.event_listeners import (
    HIDDEN,
    NEWEST,
    EventListener,
    SourceType,
    WantedListener,
)
from algorium_server.domain.identity import Account
from algorium_server.domain.limits import LISTENER_TIMEOUT_S_DEFAULT, LISTENERS_PER_ACCOUNT_MAX
from algorium_server.services.operations.event_listeners import EventListeners

_PATH: Final = "/v1/users/{username}/event-listeners"
_GENERATED_CLIENT: Final = "OpenAPI-Generator/"


class ListenerBody(Body):
    """A listener: a queue, and whose messages are meant for which algorithm."""

    sourceType: SourceType  # noqa: N815 - as clients spell it
    sourceURI: str  # noqa: N815 - the same
    algoName: str  # noqa: N815 - the same
    algoOwner: str  # noqa: N815 - the same
    algoVersion: str | None = None  # noqa: N815 - the same
    algoTimeoutSeconds: int = LISTENER_TIMEOUT_S_DEFAULT  # noqa: N815 - the same
    credentials: str = Field(repr=False)


class ListenerObject(BaseModel):
    """A listener; of its credentials stars are shown, and `delivery` says that it is not polled."""

    id: str
    sourceType: str  # noqa: N815 - as clients spell it
    sourceURI: str  # noqa: N815 - the same
    algoName: str  # noqa: N815 - the same
    algoOwner: str  # noqa: N815 - the same
    algoVersion: str  # noqa: N815 - the same
    algoTimeoutSeconds: int  # noqa: N815 - the same
    credentials: str
    listenerOwner: str  # noqa: N815 - the same
    delivery: str = "stored, not polled"


def event_listener_routes(listeners: EventListeners, *, api: str) -> APIRouter:
    """
    Return the routes.

    Args:
        listeners: Does the work.
        api: Base address, for links.
    """
    routes = APIRouter(tags=["event listeners"])
    sent = body_of(ListenerBody)

    @routes.get(_PATH, response_model=list[ListenerObject], openapi_extra=described_query(**PAGE))
    async def listed(username: str, principal: Asking, request: Request, asked: Page) -> Response:
        """List the event listeners of a user, oldest first."""
        is_page = "limit" in asked.query or bool(asked.marker)
        is_page = is_page or _GENERATED_CLIENT in request.headers.get("user-agent", "")
        limit = asked.limit + 1 if is_page else LISTENERS_PER_ACCOUNT_MAX
        user, found = await listeners.listeners(
            principal, username, limit=limit, after=_key_of(asked.marker)
        )
        if not is_page:
            return Answer([_object(user, each) for each in found])
        body = asked.body(
            found,
            api=api,
            marker_of=lambda last: pages.marker_of((last.created_at.isoformat(), last.listener_id)),
            shown=lambda each: _object(user, each),
        )
        return Answer(body)

    @routes.post(_PATH, response_model=ListenerObject)
    async def create(
        username: str, principal: Asking, body: Annotated[ListenerBody, sent]
    ) -> Response:
        """Add an event listener. It is stored; nothing reads its queue yet."""
        return Answer(_object(*await listeners.create(principal, username, _wanted(body))))

    @routes.get(_PATH + "/{listener_id}", response_model=ListenerObject)
    async def shown(username: str, listener_id: str, principal: Asking) -> Response:
        """Show an event listener."""
        return Answer(_object(*await listeners.listener(principal, username, listener_id)))

    @routes.put(_PATH + "/{listener_id}", response_model=ListenerObject)
    async def change(
        username: str, listener_id: str, principal: Asking, body: Annotated[ListenerBody, sent]
    ) -> Response:
        """Replace what is said of an event listener; stars leave its credentials as they are."""
        changed = await listeners.change(principal, username, listener_id, _wanted(body))
        return Answer(_object(*changed))

    @routes.delete(_PATH + "/{listener_id}", response_class=Response)
    async def remove(username: str, listener_id: str, principal: Asking) -> Response:
        """Delete an event listener."""
        await listeners.remove(principal, username, listener_id)
        return Response(media_type=JSON)

    return routes


def _key_of(marker: str) -> tuple[datetime, str] | None:
    key = pages.key_of_marker(marker, (str, str))
    if key is None:
        return None
    try:
        return datetime.fromisoformat(key[0]).astimezone(UTC), key[1]
    except (ValueError, OverflowError):
        raise InvalidMarker(f"{marker[:100]!r} is no marker of this list") from None


def _wanted(body: ListenerBody) -> WantedListener:
    return WantedListener(
        source_type=body.sourceType,
        source_uri=body.sourceURI,
        algo_owner=body.algoOwner,
        algo_name=body.algoName,
        algo_version=body.algoVersion or NEWEST,
        timeout_s=body.algoTimeoutSeconds,
        credentials=body.credentials,
    )


def _object(user: Account, listener: EventListener) -> dict[str, Any]:
    return ListenerObject(
        id=listener.listener_id,
        sourceType=listener.source_type,
        sourceURI=listener.source_uri,
        algoName=listener.algo_name,
        algoOwner=listener.algo_owner,
        algoVersion=listener.algo_version,
        algoTimeoutSeconds=listener.timeout_s,
        credentials=HIDDEN,
        listenerOwner=user.username,
    ).model_dump()
