"""
Algorithms over HTTP: create, look, change, delete; and whose there are.

Source: wire specification, "Create, read, update, delete", "Algorithm SCM status", "Users".
"""

from typing import Annotated, Any

from fastapi import APIRouter, Response

from algorium.wire.refs import AlgorithmRef
from algorium_server.api.algorithm_bodies import CreateBody, UpdateBody
from algorium_server.api.algorithm_objects import (
    AlgorithmName,
    AlgorithmObject,
    AlgorithmObjects,
)
from algorium_server.api.management import Answer, Asking, body_of
from algorium_server.api.references import PREFIX, Ref, on_algorithm
from algorium_server.services.authoring.algorithms import Algorithms
from algorium_server.services.authoring.views import Views


def algorithm_routes(algorithms: Algorithms, views: Views, objects: AlgorithmObjects) -> APIRouter:
    """
    Return the routes.

    Args:
        algorithms: Makes and changes them.
        views: Shows them.
        objects: Makes JSON of them.
    """
    routes = APIRouter(tags=["algorithms"])

    @routes.post(f"{PREFIX}/{{owner}}", status_code=201, response_model=AlgorithmObject)
    async def create(
        owner: str, principal: Asking, body: Annotated[CreateBody, body_of(CreateBody)]
    ) -> Response:
        """
        Create an algorithm; its source begins with the template of its language.

        The owner is the caller, or an organization it is an owner or a member of.
        """
        await algorithms.create(principal, owner, body.wanted())
        ref = AlgorithmRef(owner=owner, name=body.name)
        return Answer(objects.algorithm(await views.algorithm(principal, ref)), 201)

    @on_algorithm(routes, "GET", response_model=AlgorithmObject)
    async def get(ref: Ref, principal: Asking) -> Response:
        """Return an algorithm with its newest build; for strangers its newest public version."""
        return Answer(objects.algorithm(await views.algorithm(principal, ref)))

    @on_algorithm(routes, "PUT", response_model=AlgorithmObject)
    async def update(
        ref: Ref, principal: Asking, body: Annotated[UpdateBody, body_of(UpdateBody)]
    ) -> Response:
        """Change texts and settings; what is left out stays."""
        settings = body.wanted_settings()
        await algorithms.update(
            principal,
            ref,
            details=body.wanted_details(),
            settings=settings.wanted(),
            language=settings.wanted_language(),
        )
        return Answer(objects.algorithm(await views.algorithm(principal, ref)))

    @on_algorithm(routes, "DELETE", status_code=204)
    async def delete(ref: Ref, principal: Asking) -> Response:
        """Delete an algorithm with its builds, versions and source; its name is free at once."""
        await algorithms.delete(principal, ref)
        return Response(status_code=204)

    @on_algorithm(routes, "GET", "/scm/status", response_model=dict[str, Any])
    async def scm_status(ref: Ref, principal: Asking) -> Response:
        """Return how the connection to the host of the source is."""
        return Answer(dict(await algorithms.scm_status(principal, ref)))

    @routes.get("/v1/users/{username}/algorithms", response_model=list[AlgorithmName])
    async def of_user(username: str, principal: Asking) -> Response:
        """List the algorithms of an account that the caller may see."""
        account, found = views.of_account(principal, username)
        return Answer(
            [
                AlgorithmName(
                    id=each.algorithm_id, algoname=each.name, username=account.username
                ).model_dump()
                for each in found
            ]
        )

    return routes
