"""
Package sources over HTTP: `/v1/users/{username}/package-sources`, for organizations as well.

What is put with passwords is never shown with them again.

Source: runtime design, "Environments".
"""

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from algorium_server.api.management import Answer, Asking, Body, body_of
from algorium_server.domain.package_sources import Address, PackageSources, parse_address
from algorium_server.services.authoring.package_sources import PackageSourceService, ShownSources


class AddressBody(Body):
    """An index or a proxy; a password that is not given stays as it is."""

    url: str
    username: str = ""
    password: str = Field(default="", repr=False)


class SourcesBody(Body):
    """All sources of an account."""

    indexes: list[AddressBody] = Field(default_factory=list)
    replaces_others: bool = False
    wheelhouse: str = ""
    proxy: AddressBody | None = None
    ca_certificate: str = ""


def package_source_routes(service: PackageSourceService) -> APIRouter:
    """Return the routes; *service* does the work."""
    routes = APIRouter(tags=["package sources"])
    path = "/v1/users/{username}/package-sources"

    @routes.get(path)
    async def show(username: str, principal: Asking) -> Response:
        """Show where builds of an account find packages of its own."""
        return Answer(_shown(await service.shown(principal, username)))

    @routes.put(path)
    async def put(
        username: str, principal: Asking, body: Annotated[SourcesBody, body_of(SourcesBody)]
    ) -> Response:
        """Replace them: what is not said is gone."""
        passwords: dict[str, str] = {}

        def parsed(wanted: AddressBody, what: str) -> Address:
            address, password = parse_address(
                wanted.url, username=wanted.username, password=wanted.password, what=what
            )
            passwords[address.place] = password
            return address

        sources = PackageSources(
            indexes=tuple(parsed(index, "the index") for index in body.indexes),
            replaces_others=body.replaces_others,
            wheelhouse=body.wheelhouse,
            proxy=parsed(body.proxy, "the proxy") if body.proxy is not None else None,
            ca_certificate=body.ca_certificate,
        )
        return Answer(_shown(await service.put(principal, username, sources, passwords=passwords)))

    @routes.delete(path, status_code=204)
    async def remove(username: str, principal: Asking) -> Response:
        """Forget them: builds get packages from where everybody does."""
        await service.remove(principal, username)
        return Response(status_code=204)

    return routes


def _shown(shown: ShownSources) -> dict[str, Any]:
    sources = shown.sources

    def address(each: Address) -> dict[str, Any]:
        has_password = each.place in shown.has_password
        return {"url": each.url, "username": each.username, "has_password": has_password}

    return {
        "indexes": [address(each) for each in sources.indexes],
        "replaces_others": sources.replaces_others,
        "wheelhouse": sources.wheelhouse,
        "proxy": address(sources.proxy) if sources.proxy is not None else None,
        "ca_certificate": sources.ca_certificate,
    }
