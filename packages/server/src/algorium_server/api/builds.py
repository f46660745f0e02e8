"""
Builds over HTTP: which there were, and what they said; and the commits they are of.

Source: wire specification, "Builds".
"""

from fastapi import APIRouter, Response

from algorium_server.api.algorithm_objects import (
    BuildLogObject,
    BuildObject,
    BuildPage,
    CommitList,
    build_object,
    commit_object,
)
from algorium_server.api.management import Answer, Asking
from algorium_server.api.queries import PAGE, Page, Query, described_query
from algorium_server.api.references import Ref, on_algorithm
from algorium_server.api.versions import marker_of, position_of
from algorium_server.services.authoring.views import Views


def build_routes(views: Views, *, api: str) -> APIRouter:
    """
    Return the routes.

    Args:
        views: Shows builds.
        api: Base address, for links.
    """
    routes = APIRouter(tags=["builds"])

    @on_algorithm(
        routes,
        "GET",
        "/builds",
        response_model=BuildPage,
        openapi_extra=described_query(**PAGE),
    )
    async def builds(ref: Ref, principal: Asking, page: Page) -> Response:
        """List builds, newest first, those that wait included."""
        found = await views.builds(
            principal, ref, limit=page.limit + 1, before=position_of(page.marker)
        )
        body = page.body(
            found,
            api=api,
            marker_of=lambda last: marker_of((last[0].started_at, last[0].build_id)),
            shown=lambda each: build_object(*each).model_dump(exclude_none=True),
        )
        return Answer(body)

    @on_algorithm(routes, "GET", "/builds/{build_id}", response_model=BuildObject)
    async def build(ref: Ref, build_id: str, principal: Asking) -> Response:
        """Return a build."""
        found = views.build(principal, ref, build_id)
        return Answer(build_object(*found).model_dump(exclude_none=True))

    @on_algorithm(routes, "GET", "/builds/{build_id}/logs", response_model=BuildLogObject)
    async def logs(ref: Ref, build_id: str, principal: Asking) -> Response:
        """Return what a build said, once it has ended."""
        return Answer({"logs": await views.build_log(principal, ref, build_id)})

    @on_algorithm(
        routes,
        "GET",
        "/log",
        response_model=CommitList,
        openapi_extra=described_query(
            since="The oldest commit, inclusive.", until="The newest commit, inclusive."
        ),
    )
    async def commits(ref: Ref, principal: Asking, query: Query) -> Response:
        """List commits of the default branch, or of what `until` names, newest first."""
        found = await views.commits(
            principal, ref, since=query.get("since", ""), until=query.get("until", "")
        )
        return Answer({"commits": [commit_object(each).model_dump() for each in found]})

    return routes
