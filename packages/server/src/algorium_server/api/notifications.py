"""
Notifications over HTTP: `/v1/users/{username}/notifications`.

Source: wire specification, "Notifications, features, UI configuration"; ours: `…/read`.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Response
from pydantic import BaseModel

from algorium_server.api.algorithm_objects import timestamp
from algorium_server.api.management import Answer, Asking, Body, body_of
from algorium_server.api.queries import Query, described_query
from algorium_server.domain.notifications import (
    Notification,
    NotificationType,
    wanted_notifications,
)
from algorium_server.services.operations.notifications import Notifications

_PATH: Final = "/v1/users/{username}/notifications"


class NotificationContext(BaseModel):
    """What a notification is about."""

    algorithm_id: str
    username: str
    algoname: str
    semantic_version: str | None = None


class NotificationObject(BaseModel):
    """Something that a user is told."""

    notification_id: str
    notification_type: str
    created_at: str
    read_at: str | None = None
    notification_context: NotificationContext


class ReadBody(Body):
    """Which notifications were read; without ids, all."""

    notification_ids: list[str] | None = None


def notification_routes(notifications: Notifications) -> APIRouter:
    """Return the routes; *notifications* does the work."""
    routes = APIRouter(tags=["notifications"])
    parameters = described_query(
        event_types=f"Which, with commas between: {', '.join(NotificationType)}. Needed.",
        limit="So many at most, the newest: 1 to 100.",
        since="Only what came after this moment, RFC 3339.",
    )

    @routes.get(_PATH, response_model=list[NotificationObject], openapi_extra=parameters)
    async def listed(username: str, principal: Asking, query: Query) -> Response:
        """List what a user is told, newest first."""
        wanted = wanted_notifications(
            event_types=query.get("event_types", ""),
            limit=query.get("limit", ""),
            since=query.get("since", ""),
        )
        found = await notifications.newest(principal, username, wanted)
        return Answer([_object(each) for each in found])

    @routes.post(_PATH + "/read", status_code=204)
    async def read(
        username: str, principal: Asking, body: Annotated[ReadBody, body_of(ReadBody)]
    ) -> Response:
        """Mark notifications of one's own as read: those named, or all."""
        await notifications.mark_read(principal, username, body.notification_ids)
        return Response(status_code=204)

    return routes


def _object(notification: Notification) -> dict[str, Any]:
    read_at = notification.read_at
    return NotificationObject(
        notification_id=notification.notification_id,
        notification_type=notification.kind,
        created_at=timestamp(notification.created_at),
        read_at=None if read_at is None else timestamp(read_at),
        notification_context=NotificationContext(
            algorithm_id=notification.algorithm_id,
            username=notification.owner,
            algoname=notification.name,
            semantic_version=notification.semantic_version or None,
        ),
    ).model_dump(exclude_none=True)
