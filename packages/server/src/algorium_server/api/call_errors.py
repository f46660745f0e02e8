"""
Error logs over HTTP.

    GET /v1/algorithms/{algorithmId}/errors
    GET /v1/algorithms/{owner}/{name}/errors
    GET /v1/users/{usernameOrId}/errors
    GET /v1/organizations/{organization}/errors

Source: wire specification, "Error logs".
"""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from algorium_server.api.management import Answer, Asking
from algorium_server.api.references import Ref, on_algorithm
from algorium_server.domain.call_errors import CallError
from algorium_server.services.authoring.reading_errors import FailedCallReader


class FailedCall(BaseModel):
    """A failed call, as the API's document describes it."""

    created_at: int = Field(description="When it failed, in milliseconds since 1970 UTC.")
    request_id: str
    username: str = Field(description="Owner of the algorithm.")
    algoname: str
    algoversion: str = Field(description="Version, or commit if one was called.")
    input: str = Field(description="Its first 128 characters, bytes as base64.")
    error: str = Field(description="Message and, for those who may see it, stack trace.")
    error_type: str
    billable_to: str = Field(description="Who called.")
    worker: str = Field(description="What ran the call; empty for mere callers.")


def call_error_routes(reader: FailedCallReader) -> APIRouter:
    """Return the routes; *reader* does the work."""
    routes = APIRouter(tags=["error logs"])
    shape: dict[int | str, dict[str, Any]] = {200: {"model": list[FailedCall]}}

    @on_algorithm(routes, "GET", "/errors", responses=shape)
    async def of_algorithm(ref: Ref, principal: Asking) -> Response:
        """Return the failed calls of an algorithm, newest first."""
        return _answer(await reader.of_algorithm(principal, ref))

    @routes.get("/v1/users/{username}/errors", responses=shape)
    async def of_user(username: str, principal: Asking) -> Response:
        """Return the failed calls of a user's algorithms, and those that the user made."""
        return _answer(await reader.of_user(principal, username))

    @routes.get("/v1/organizations/{organization}/errors", responses=shape)
    async def of_organization(organization: str, principal: Asking) -> Response:
        """Return the failed calls of an organization's algorithms."""
        return _answer(await reader.of_organization(principal, organization))

    return routes


def _answer(errors: list[CallError]) -> Response:
    return Answer([_object_of(error) for error in errors])


def _object_of(error: CallError) -> dict[str, Any]:
    return {
        "created_at": error.created_us // 1000,
        "request_id": error.request_id,
        "username": error.owner,
        "algoname": error.name,
        "algoversion": error.version,
        "input": error.input,
        "error": error.text,
        "error_type": error.error_type,
        "billable_to": error.caller,
        "worker": error.worker,
    }
