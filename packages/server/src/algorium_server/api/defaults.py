"""
The collection that an algorithm is given, over HTTP.

    POST /v1/algorithms/{algorithmId}/collections/{collectionId}

Source: wire specification, "Hosted data listing and default collection".
"""

from fastapi import APIRouter, Response

from algorium_server.api.management import Asking
from algorium_server.services.files.defaults import DefaultCollections


def default_routes(defaults: DefaultCollections) -> APIRouter:
    """Return the route; *defaults* does the work."""
    routes = APIRouter(tags=["algorithms"])

    @routes.post(
        "/v1/algorithms/{algorithm_id}/collections/{collection_id}", response_class=Response
    )
    async def assign(algorithm_id: str, collection_id: str, principal: Asking) -> Response:
        """Give an algorithm the collection that it calls `data://.algo/default`."""
        await defaults.assign(
            principal, algorithm_id=algorithm_id.lower(), collection_id=collection_id.lower()
        )
        return Response(media_type="application/json")

    return routes
