"""
Algorithms over HTTP: `/v1/algorithms`, so far the collection that an algorithm is given.

    POST /v1/algorithms/{algorithmId}/collections/{collectionId}

Source: wire specification, "Hosted data listing and default collection".
"""

from algorium_server.api.credentials import Credentials
from algorium_server.api.errors import send_error
from algorium_server.api.http import Receive, Scope, Send, respond
from algorium_server.domain.errors import MethodNotAllowed, NotFound
from algorium_server.services.defaults import DefaultCollections


class AlgorithmsFace:
    """
    ASGI application for `/v1/algorithms`.

    Args:
        defaults: Gives algorithms their collections.
        credentials: Tells who asks.
    """

    def __init__(self, defaults: DefaultCollections, credentials: Credentials) -> None:
        self._defaults = defaults
        self._credentials = credentials

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer POST."""
        principal = self._credentials.principal(scope)
        match [segment for segment in scope["path"].split("/") if segment]:
            case ["v1", "algorithms", algorithm_id, "collections", collection_id]:
                pass
            case _:
                raise NotFound(f"nothing answers at {scope['path']}")
        if scope["method"] != "POST":
            allow = [(b"allow", b"POST")]
            await send_error(scope, send, MethodNotAllowed("Method not allowed"), headers=allow)
            return
        await self._defaults.assign(
            principal, algorithm_id=algorithm_id.lower(), collection_id=collection_id.lower()
        )
        await respond(send, 200)
