"""
Signing up with an invite over HTTP.

    POST  /v1/sign-up

Source: wire specification, "Invites"; the address is ours.
"""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field

from algorium_server.api.http import address_of
from algorium_server.api.management import Answer, Body, body_of
from algorium_server.api.users import NewUserObject, user_object
from algorium_server.domain.errors import SignUpRefused
from algorium_server.services.people.signing_up import SignUp, SignUps


class SignUpBody(Body):
    """Who signs up; `inviteCode` is spelled as where invites are made."""

    inviteCode: str  # noqa: N815 - as clients spell it
    username: str
    email: str
    password: str = Field(repr=False)
    fullname: str | None = None


def sign_up_routes(sign_ups: SignUps, *, api: str) -> APIRouter:
    """
    Return the route.

    Args:
        sign_ups: Does the work.
        api: Base address, for links.
    """
    routes = APIRouter(tags=["sessions"])

    @routes.post("/v1/sign-up", response_model=NewUserObject)
    async def sign_up(
        request: Request, body: Annotated[SignUpBody, body_of(SignUpBody, refusal=SignUpRefused)]
    ) -> Response:
        """
        Become a user, with the code of an invite; no credentials are needed.

        The user has a password, and a `default-key` whose value is in this answer and no other.
        """
        wanted = SignUp(
            code=body.inviteCode,
            username=body.username,
            email=body.email,
            password=body.password,
            fullname=body.fullname or "",
        )
        user, key = await sign_ups.sign_up(wanted, address=address_of(request.scope))
        return Answer(user_object(user, api) | {"api_key": key.secret})

    return routes
