"""
Invites, features, and entries for the front end over HTTP.

    /v1/admin/invites[/{code}]
    /v1/admin/features[/{name}]
    /v1/config/frontend[/{keyname}]

Source: wire specification, "Invites", "Notifications, features, UI configuration".
"""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from algorium_server.api import pages
from algorium_server.api.algorithm_objects import timestamp
from algorium_server.api.http import JSON
from algorium_server.api.management import Answer, Asking, Body, body_of
from algorium_server.api.queries import PAGE, Page, Query, described_query
from algorium_server.api.times import UtcTime
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.installation import ConfigEntry, Invite
from algorium_server.services.people.installation import Installation


class InviteBody(Body):
    """A new invite."""

    inviteCode: str  # noqa: N815 - as clients spell it
    signupCredits: int | None = None  # noqa: N815 - the same
    comments: str | None = None
    expiresAt: UtcTime | None = None  # noqa: N815 - the same


class InviteObject(BaseModel):
    """A code with which somebody may sign up."""

    inviteCode: str  # noqa: N815 - as clients spell it
    signupCredits: int  # noqa: N815 - the same
    comments: str
    expiresAt: str | None = None  # noqa: N815 - the same
    createdAt: str  # noqa: N815 - the same
    createdBy: str  # noqa: N815 - the same


class FeatureBody(Body):
    """Whether a feature is on."""

    enabled: bool


class FeatureObject(BaseModel):
    """A feature, and whether it is on."""

    name: str
    enabled: bool


class EntryBody(Body):
    """A text for the front end."""

    keyname: str | None = None
    value: str


class EntryObject(BaseModel):
    """A text for the front end; times are milliseconds since 1970 UTC."""

    keyname: str
    value: str
    created_at: int
    updated_at: int
    resource_type: str = "frontend_config"


class EntryPage(BaseModel):
    """A page of texts for the front end."""

    marker: str | None
    next_link: str | None
    results: list[EntryObject]


def installation_routes(installation: Installation, *, api: str) -> APIRouter:
    """
    Return the routes.

    Args:
        installation: Does the work.
        api: Base address, for links.
    """
    routes = APIRouter(tags=["installation"])
    _add_invites(routes, installation)
    _add_features(routes, installation)
    _add_entries(routes, installation, api)
    return routes


def _add_invites(routes: APIRouter, installation: Installation) -> None:
    @routes.get("/v1/admin/invites", response_model=list[InviteObject])
    async def invites(principal: Asking) -> Response:
        """List invites, oldest first; for administrators."""
        return Answer([_invite_object(each) for each in await installation.invites(principal)])

    @routes.post("/v1/admin/invites", response_class=Response)
    async def invite(
        principal: Asking, body: Annotated[InviteBody, body_of(InviteBody)]
    ) -> Response:
        """Create an invite; for administrators."""
        await installation.invite(
            principal,
            body.inviteCode,
            signup_credits=body.signupCredits or 0,
            comments=body.comments or "",
            expires_at=body.expiresAt,
        )
        return Response(media_type=JSON)

    @routes.delete("/v1/admin/invites/{code}", response_class=Response)
    async def remove_invite(code: str, principal: Asking) -> Response:
        """Delete an invite; for administrators."""
        await installation.remove_invite(principal, code)
        return Response(media_type=JSON)


def _add_features(routes: APIRouter, installation: Installation) -> None:
    of_user = described_query(username="Of this user; of everybody without it.")

    @routes.get("/v1/admin/features", response_model=list[FeatureObject], openapi_extra=of_user)
    async def features(principal: Asking, query: Query) -> Response:
        """List features; for administrators."""
        found = await installation.features(principal, query.get("username", ""))
        return Answer([{"name": name, "enabled": is_on} for name, is_on in found.items()])

    @routes.put("/v1/admin/features/{name}", status_code=204, openapi_extra=of_user)
    async def set_feature(
        name: str,
        principal: Asking,
        query: Query,
        body: Annotated[FeatureBody, body_of(FeatureBody)],
    ) -> Response:
        """Switch a feature on or off; for administrators."""
        await installation.set_feature(
            principal, name, is_enabled=body.enabled, username=query.get("username", "")
        )
        return Response(status_code=204)


def _add_entries(routes: APIRouter, installation: Installation, api: str) -> None:
    @routes.get(
        "/v1/config/frontend", response_model=EntryPage, openapi_extra=described_query(**PAGE)
    )
    async def entries(asked: Page) -> Response:
        """List texts for the front end by name; no key is needed."""
        found = await installation.entries(after=asked.after_name, limit=asked.limit + 1)
        body = asked.body(
            found,
            api=api,
            marker_of=lambda last: pages.marker_of((last.keyname,)),
            shown=_entry_object,
        )
        return Answer(body)

    @routes.get("/v1/config/frontend/{keyname}", response_model=EntryObject)
    async def entry(keyname: str) -> Response:
        """Return a text for the front end; no key is needed."""
        return Answer(_entry_object(await installation.entry(keyname)))

    @routes.put("/v1/config/frontend/{keyname}", response_model=EntryObject)
    async def put_entry(
        keyname: str, principal: Asking, body: Annotated[EntryBody, body_of(EntryBody)]
    ) -> Response:
        """Create or replace a text for the front end; for administrators."""
        if body.keyname is not None and body.keyname != keyname:
            raise InvalidInput("keyname is another one than in the path")
        return Answer(_entry_object(await installation.put_entry(principal, keyname, body.value)))

    @routes.delete("/v1/config/frontend/{keyname}", status_code=204)
    async def remove_entry(keyname: str, principal: Asking) -> Response:
        """Delete a text for the front end; for administrators."""
        await installation.remove_entry(principal, keyname)
        return Response(status_code=204)


def _invite_object(invite: Invite) -> dict[str, Any]:
    return InviteObject(
        inviteCode=invite.code,
        signupCredits=invite.signup_credits,
        comments=invite.comments,
        expiresAt=None if invite.expires_at is None else timestamp(invite.expires_at),
        createdAt=timestamp(invite.created_at),
        createdBy=invite.created_by,
    ).model_dump(exclude_none=True)


def _entry_object(entry: ConfigEntry) -> dict[str, Any]:
    return EntryObject(
        keyname=entry.keyname,
        value=entry.value,
        created_at=_milliseconds(entry.created_at),
        updated_at=_milliseconds(entry.updated_at),
    ).model_dump()


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
