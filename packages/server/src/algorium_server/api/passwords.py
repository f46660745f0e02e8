"""
Passwords over HTTP: `PUT /v1/users/{username}/password`.

Source: wire specification, "Internal git hosting".
"""

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from algorium_server.api.management import Asking, Body, body_of
from algorium_server.services.people.passwords import Passwords


class PasswordBody(Body):
    """A new password."""

    password: str = Field(repr=False)


def password_routes(passwords: Passwords) -> APIRouter:
    """Return the route; *passwords* does the work."""
    routes = APIRouter(tags=["users"])

    @routes.put("/v1/users/{username}/password", status_code=204)
    async def change(
        username: str,
        principal: Asking,
        body: Annotated[PasswordBody, body_of(PasswordBody)],
    ) -> Response:
        """Set the password with which the user signs in and uses git; sessions end, keys stay."""
        await passwords.change(principal, username, body.password)
        return Response(status_code=204)

    return routes
