"""
Container registries over HTTP.

    /v1/registries[/{registry_id}]
    /v1/algorithms/{algorithm_id}/versions/{commit}/registry

Nothing is pushed: of each version it is said so, and whoever asks for a push hears it as an error.

Source: wire specification, "Container registries (image push)".
"""

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from algorium_server.api.algorithm_objects import timestamp
from algorium_server.api.http import JSON
from algorium_server.api.management import KNOWN, Answer, Asking, Body, body_of
from algorium_server.api.references import Ref, on_algorithm
from algorium_server.domain.authorship import Act
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.registries import NOT_PUSHED, Registry, WantedRegistry
from algorium_server.services.operations.registries import Registries


class RegistryBody(Body):
    """A registry; name and password for it are only ever sent."""

    registry_url: str
    name: str = ""
    registry_username: str | None = Field(default=None, repr=False)
    registry_password: str | None = Field(default=None, repr=False)


class RegistryObject(BaseModel):
    """A registry without what opens it."""

    id: str
    created_at: str
    name: str
    registry_url: str


class PushStatus(BaseModel):
    """Whether a version was pushed."""

    status: str
    updated_at: str
    status_message: str


def registry_routes(registries: Registries) -> APIRouter:
    """Return the routes; *registries* does the work."""
    routes = APIRouter(tags=["registries"])
    sent = body_of(RegistryBody)

    @routes.get("/v1/registries", response_model=list[RegistryObject], dependencies=[KNOWN])
    async def listed() -> Response:
        """List registries, oldest first."""
        return Answer([_object(each) for each in await registries.registries()])

    @routes.post("/v1/registries", response_model=RegistryObject)
    async def create(principal: Asking, body: Annotated[RegistryBody, sent]) -> Response:
        """Add a registry, to which nothing is pushed; for administrators."""
        return Answer(_object(await registries.create(principal, _wanted(body))))

    @routes.put("/v1/registries/{registry_id}", response_model=RegistryObject)
    async def change(
        registry_id: str, principal: Asking, body: Annotated[RegistryBody, sent]
    ) -> Response:
        """Replace what is said of a registry; a name or password that is not sent stays."""
        return Answer(_object(await registries.change(principal, registry_id, _wanted(body))))

    @routes.delete("/v1/registries/{registry_id}", response_class=Response)
    async def remove(registry_id: str, principal: Asking) -> Response:
        """Delete a registry; for administrators."""
        await registries.remove(principal, registry_id)
        return Response(media_type=JSON)

    @on_algorithm(routes, "GET", "/versions/{commit}/registry", response_model=list[PushStatus])
    async def status(ref: Ref, commit: str, principal: Asking) -> Response:
        """Say that the version was not pushed anywhere."""
        _, version = registries.version(principal, ref, commit, Act.SEE)
        status = PushStatus(
            status="not_pushed",
            updated_at=timestamp(version.published_at),
            status_message=NOT_PUSHED,
        )
        return Answer([status.model_dump()])

    @on_algorithm(routes, "POST", "/versions/{commit}/registry", status_code=204)
    async def push(ref: Ref, commit: str, principal: Asking) -> Response:
        """Refuse to push: there is no image."""
        registries.version(principal, ref, commit, Act.CHANGE)
        raise InvalidInput(
            NOT_PUSHED, hint="Bring its source to the other server with git, and build it there."
        )

    return routes


def _wanted(body: RegistryBody) -> WantedRegistry:
    return WantedRegistry(
        name=body.name,
        registry_url=body.registry_url,
        username=body.registry_username,
        password=body.registry_password,
    )


def _object(registry: Registry) -> dict[str, Any]:
    return RegistryObject(
        id=registry.registry_id,
        created_at=timestamp(registry.created_at),
        name=registry.name,
        registry_url=registry.registry_url,
    ).model_dump()
