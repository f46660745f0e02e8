"""
Users over HTTP, and their roles in the installation.

    /v1/users[/{username}]
    /admin/roles/{username}/cluster_viewer

A user is named by its username or its id.

Source: wire specification, "Users", "Roles and rights".
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Response
from pydantic import BaseModel

from algorium_server.api import pages
from algorium_server.api.algorithm_objects import timestamp
from algorium_server.api.http import JSON
from algorium_server.api.management import Answer, Asking, Body, body_of
from algorium_server.api.queries import PAGE, Page, described_query
from algorium_server.domain.errors import MalformedUser
from algorium_server.domain.users import User, WantedUser
from algorium_server.services.people.users import Users


class UserBody(Body):
    """
    A user as somebody describes it.

    `passwordHash` must be empty: hashes of other systems are not taken over. `shouldCreateHello`
    and members not named here are ignored.
    """

    username: str | None = None
    email: str | None = None
    fullname: str | None = None
    company_name: str | None = None
    company_role: str | None = None
    external_id: str | None = None
    disabled: bool | None = None
    passwordHash: str | None = None  # noqa: N815 - as clients spell it

    def wanted(self) -> WantedUser:
        """Return what is said."""
        if self.passwordHash:
            raise MalformedUser(
                "passwordHash is not taken over from elsewhere: leave it empty, and set a password"
                " here"
            )
        return WantedUser(
            username=self.username,
            email=self.email,
            fullname=self.fullname,
            company_name=self.company_name,
            company_role=self.company_role,
            external_id=self.external_id,
            is_disabled=self.disabled,
        )


class UserObject(BaseModel):
    """A user; what is not known is left out."""

    id: str
    username: str
    email: str
    fullname: str
    company_name: str | None = None
    company_role: str | None = None
    external_id: str | None = None
    disabled: bool | None = None
    created_at: str
    self_link: str
    resource_type: str = "user"


class NewUserObject(UserObject):
    """A user that was just created, with the value of its key."""

    api_key: str


class UserPage(BaseModel):
    """A page of users."""

    marker: str | None
    next_link: str | None
    results: list[UserObject]


def user_routes(users: Users, *, api: str) -> APIRouter:
    """
    Return the routes.

    Args:
        users: Does the work.
        api: Base address, for links.
    """
    routes = APIRouter(tags=["users"])

    @routes.get("/v1/users", response_model=UserPage, openapi_extra=described_query(**PAGE))
    async def page(principal: Asking, asked: Page) -> Response:
        """List users by name; for administrators."""
        found = await users.page(principal, after=asked.after_name, limit=asked.limit + 1)
        body = asked.body(
            found,
            api=api,
            marker_of=lambda last: pages.marker_of((last.account.username,)),
            shown=lambda each: user_object(each, api),
        )
        return Answer(body)

    @routes.post("/v1/users", response_model=NewUserObject)
    async def create(
        principal: Asking, body: Annotated[UserBody, body_of(UserBody, refusal=MalformedUser)]
    ) -> Response:
        """
        Create a user with a `default-key`; for administrators.

        The value of the key is in this answer as `api_key`, and in no other.
        """
        user, key = await users.create(principal, body.wanted())
        return Answer(user_object(user, api) | {"api_key": key.secret})

    @routes.get("/v1/users/{username}", response_model=UserObject)
    async def get(username: str, principal: Asking) -> Response:
        """Return a user: oneself, or for administrators any."""
        return Answer(user_object(await users.user(principal, username), api))

    @routes.put("/v1/users/{username}", response_model=UserObject)
    async def update(
        username: str,
        principal: Asking,
        body: Annotated[UserBody, body_of(UserBody, refusal=MalformedUser)],
    ) -> Response:
        """Change a user; what is left out stays."""
        return Answer(user_object(await users.update(principal, username, body.wanted()), api))

    @routes.delete("/v1/users/{username}", status_code=204)
    async def delete(username: str, principal: Asking) -> Response:
        """Delete a user with what it owns; its name and address are never used again."""
        await users.delete(principal, username)
        return Response(status_code=204)

    for role, field in _ROLES.items():
        _add_role(routes, users, role, field)
    return routes


_ROLES: Final = {"cluster_viewer": "is_viewer", "cluster_admin": "is_admin"}
"""Names in paths; the second one is ours."""


def _add_role(routes: APIRouter, users: Users, role: str, field: str) -> None:
    path = f"/admin/roles/{{username}}/{role}"

    @routes.post(path, operation_id=f"grant_{role}", response_class=Response)
    async def grant(username: str, principal: Asking) -> Response:
        """Give a user a role in the installation; for administrators."""
        await users.set_role(principal, username, **{field: True})
        return Response(media_type=JSON)

    @routes.delete(path, operation_id=f"take_{role}", response_class=Response)
    async def take(username: str, principal: Asking) -> Response:
        """Take the role from a user; for administrators."""
        await users.set_role(principal, username, **{field: False})
        return Response(media_type=JSON)


def user_object(user: User, api: str) -> dict[str, Any]:
    """Return a user as clients know it."""
    account, profile = user.account, user.profile
    return UserObject(
        id=account.account_id,
        username=account.username,
        email=account.email,
        fullname=account.fullname or account.username,
        company_name=profile.company_name or None,
        company_role=profile.company_role or None,
        external_id=profile.external_id or None,
        disabled=True if account.is_disabled else None,
        created_at=timestamp(account.created_at),
        self_link=f"{api}/v1/users/{account.username}",
    ).model_dump(exclude_none=True)
