"""
Users of the host over HTTP: kept for those who ask, and used for nothing.

Source: wire specification, "Host information (worker isolation)".
"""

from typing import Annotated

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from algorium_server.api.management import Answer, Asking, Body, body_of
from algorium_server.domain.errors import HostInformationMalformed
from algorium_server.services.people.organization_hosts import OrganizationHosts


class HostBody(Body):
    """The user of the host of an organization; the organization by id or name."""

    org_id: str = ""
    host_username: str = ""
    host_user_id: str = ""


class HostObject(BaseModel):
    """The user of the host of an organization."""

    id: str
    org_id: str
    host_username: str
    host_user_id: str


class AlgorithmHost(Body):
    """The user of the host of one algorithm."""

    algorithm_id: str
    functional_id: str


class AlgorithmHostsBody(Body):
    """Users of the host of some algorithms."""

    updates: list[AlgorithmHost]


def organization_host_routes(hosts: OrganizationHosts) -> APIRouter:
    """Return the routes; *hosts* does the work."""
    routes = APIRouter(tags=["organizations"])
    one, all_of_them = "/v1/admin/organization_host_information", "algorithms-host-usernames"
    host_body = body_of(HostBody, refusal=HostInformationMalformed)

    @routes.put(one, response_class=PlainTextResponse)
    async def replace(principal: Asking, body: Annotated[HostBody, host_body]) -> Response:
        """Note another user for an organization."""
        if not body.org_id:
            raise HostInformationMalformed("org_id is missing")
        await hosts.replace(
            principal,
            body.org_id,
            host_username=body.host_username,
            host_user_id=body.host_user_id,
        )
        return PlainTextResponse("updated")

    @routes.get(f"{one}/{{org}}", response_model=HostObject)
    async def get(org: str, principal: Asking) -> Response:
        """Return the user that is noted for an organization."""
        found = await hosts.information(principal, org)
        shown = HostObject(
            id=found.information_id,
            org_id=found.organization_id,
            host_username=found.host_username,
            host_user_id=found.host_user_id,
        )
        return Answer(shown.model_dump())

    @routes.post(f"{one}/{{org}}", response_class=PlainTextResponse)
    async def create(org: str, principal: Asking, body: Annotated[HostBody, host_body]) -> Response:
        """Note a user for an organization that has none."""
        await hosts.create(
            principal, org, host_username=body.host_username, host_user_id=body.host_user_id
        )
        return PlainTextResponse("created")

    @routes.delete(f"{one}/{{org}}", response_class=PlainTextResponse)
    async def remove(org: str, principal: Asking) -> Response:
        """Forget the user of an organization."""
        await hosts.remove(principal, org)
        return PlainTextResponse("deleted")

    @routes.get(f"/v1/organizations/{{org}}/{all_of_them}", response_model=list[AlgorithmHost])
    async def of_algorithms(org: str, principal: Asking) -> Response:
        """List the algorithms of an organization for which a user is noted."""
        found = await hosts.of_algorithms(principal, org)
        return Answer([{"algorithm_id": each, "functional_id": user} for each, user in found])

    @routes.put(f"/v1/organizations/{{org}}/{all_of_them}", status_code=204)
    async def put_for_algorithms(
        org: str,
        principal: Asking,
        body: Annotated[AlgorithmHostsBody, body_of(AlgorithmHostsBody)],
    ) -> Response:
        """Note users for algorithms."""
        updates = {each.algorithm_id.lower(): each.functional_id for each in body.updates}
        await hosts.put_for_algorithms(principal, org, updates)
        return Response(status_code=204)

    @routes.delete(f"/v1/organizations/{{org}}/{all_of_them}/{{algorithm_id}}", status_code=204)
    async def remove_for_algorithm(org: str, algorithm_id: str, principal: Asking) -> Response:
        """Forget the user of an algorithm."""
        await hosts.remove_for_algorithm(principal, org, algorithm_id.lower())
        return Response(status_code=204)

    return routes
