"""
Versions over HTTP: compile, publish, list.

Source: wire specification, "Compile", "Versions and publishing".
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Response

from algorium_server.api import pages
from algorium_server.api.algorithm_bodies import CompileBody, PublishBody
from algorium_server.api.algorithm_objects import (
    AlgorithmObject,
    AlgorithmObjects,
    AlgorithmPage,
)
from algorium_server.api.management import Answer, Asking, body_of
from algorium_server.api.queries import PAGE, Page, described_query, flag
from algorium_server.api.references import Ref, on_algorithm
from algorium_server.domain import markers
from algorium_server.services.authoring.releases import Releases
from algorium_server.services.authoring.views import Position, Views

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FILTERS: Final = {
    "published": "`true` for versions only, `false` for builds that are none.",
    "callable": "`true` for what anyone may call, `false` for what is private.",
}


def version_routes(
    releases: Releases, views: Views, objects: AlgorithmObjects, *, api: str
) -> APIRouter:
    """
    Return the routes.

    Args:
        releases: Compiles and publishes.
        views: Shows what there is.
        objects: Makes JSON of it.
        api: Base address, for links.
    """
    routes = APIRouter(tags=["versions"])

    @on_algorithm(routes, "POST", "/compile", response_model=AlgorithmObject)
    async def compile_commit(
        ref: Ref, principal: Asking, body: Annotated[CompileBody, body_of(CompileBody)]
    ) -> Response:
        """
        Build a commit, and answer when the build has ended.

        A build that fails is answered with 200 too: see `compilation` and `build.failure`. A
        build of the same commit that has not ended is joined.
        """
        waits = not body.sshPrivateKey
        view = await releases.compile(principal, ref, body.commitSha or "", waits=waits)
        if not waits:
            return Response(status_code=202)
        return Answer(objects.algorithm(view))

    async def publish(
        ref: Ref, principal: Asking, body: Annotated[PublishBody, body_of(PublishBody)]
    ) -> Response:
        """Publish a build as a version, which never changes from then on."""
        view, warnings = await releases.publish(principal, ref, body.wanted())
        return Answer(objects.algorithm(view, warnings=warnings))

    on_algorithm(routes, "POST", "/versions", response_model=AlgorithmObject)(publish)
    on_algorithm(
        routes,
        "POST",
        "/version",
        response_model=AlgorithmObject,
        description="The same as `/versions`, for older clients.",
    )(publish)

    @on_algorithm(
        routes,
        "GET",
        "/versions",
        response_model=AlgorithmPage,
        openapi_extra=described_query(**PAGE, **_FILTERS),
    )
    async def versions(ref: Ref, principal: Asking, page: Page) -> Response:
        """List versions, and successful builds that are not published, newest first."""
        found = views.versions(
            principal,
            ref,
            is_published=flag(page.query.get("published", "")),
            is_callable=flag(page.query.get("callable", "")),
            limit=page.limit + 1,
            after=position_of(page.marker),
        )
        body = page.body(
            found,
            api=api,
            marker_of=lambda last: marker_of(last.position),
            shown=objects.algorithm,
        )
        return Answer(body)

    @on_algorithm(routes, "GET", "/versions/{version}", response_model=AlgorithmObject)
    async def version(ref: Ref, version: str, principal: Asking) -> Response:
        """Return a version by its commit, its number or its id."""
        return Answer(objects.algorithm(await views.version(principal, ref, version)))

    return routes


def marker_of(position: Position) -> str:
    """Return the marker of a page that goes on behind a position."""
    moment, name = position
    return pages.marker_of([(moment - _EPOCH) // timedelta(microseconds=1), name])


def position_of(marker: str) -> Position | None:
    """
    Return the position behind which a page goes on, None for the first one.

    Raises:
        InvalidMarker: No page of such a list gave it.
    """
    key = pages.key_of_marker(marker, (int, str))
    if key is None:
        return None
    microseconds, name = key
    try:
        return _EPOCH + timedelta(microseconds=microseconds), name
    except OverflowError:
        raise markers.unknown(marker, of="this list") from None
