"""
Builds over HTTP: what they say while they say it, what they installed, and how to end them.

    GET  /v1/algorithms/{ref}/builds/{buildId}/logs/stream
    GET  /v1/algorithms/{ref}/builds/{buildId}/lock
    POST /v1/algorithms/{ref}/builds/{buildId}/cancel

The stream is one of server-sent events. The id of an event is where the log goes on behind it, in
bytes, so a client that lost its connection says so in `Last-Event-ID` and misses nothing:

    id: 128                     id: 4711
    event: log                  event: end
    data: "Checking out ..."    data: {"build_id": .., "status": "succeeded", ..}

Source: wire specification, "Builds"; of server-sent events, the HTML standard.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from algorium_server.api.algorithm_objects import BuildObject, build_object
from algorium_server.api.http import encode_json
from algorium_server.api.management import Answer, Asking
from algorium_server.api.references import Ref, on_algorithm
from algorium_server.domain.errors import AlgoriumError, InvalidInput
from algorium_server.services.authoring.author_builds import AuthorBuilds

EVENT_STREAM: Final = "text/event-stream"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""The second keeps nginx from collecting what should be seen now."""
_SILENCE: Final = b": still building\n\n"
_OFFSET_DIGITS_MAX: Final = 15


def build_log_routes(builds: AuthorBuilds) -> APIRouter:
    """Return the routes; *builds* does the work."""
    routes = APIRouter(tags=["builds"])

    @on_algorithm(
        routes,
        "GET",
        "/builds/{build_id}/logs/stream",
        response_class=StreamingResponse,
        responses={200: {"content": {EVENT_STREAM: {}}, "description": "The log, as events"}},
    )
    async def stream(ref: Ref, build_id: str, principal: Asking, request: Request) -> Response:
        """Follow a build: its log from the beginning to the end, then the build."""
        builds.check_log(principal, ref, build_id)
        after_bytes = _offset(request.headers.get("last-event-id", ""))
        events = _events(builds, build_id, after_bytes)
        return StreamingResponse(events, media_type=EVENT_STREAM, headers=_HEADERS)

    @on_algorithm(routes, "POST", "/builds/{build_id}/cancel", response_model=BuildObject)
    async def cancel(ref: Ref, build_id: str, principal: Asking) -> Response:
        """End a build that has not ended; it may take a moment."""
        found = await builds.cancel(principal, ref, build_id)
        return Answer(build_object(*found).model_dump(exclude_none=True))

    @on_algorithm(routes, "GET", "/builds/{build_id}/lock", response_class=PlainTextResponse)
    async def lock(ref: Ref, build_id: str, principal: Asking) -> Response:
        """Return what the build has installed, as a `requirements.txt` with every version."""
        text = await builds.lock(principal, ref, build_id)
        disposition = 'attachment; filename="requirements.lock"'
        headers = {"Cache-Control": "no-store", "Content-Disposition": disposition}
        return PlainTextResponse(text, headers=headers)

    return routes


async def _events(builds: AuthorBuilds, build_id: str, after_bytes: int) -> AsyncIterator[bytes]:
    end_bytes = after_bytes
    yield _SILENCE  # the headers do not wait until the build says something
    try:
        async for piece in builds.log(build_id, after_bytes=after_bytes):
            end_bytes = piece.end_bytes
            yield _event("log", end_bytes, piece.text) if piece.text else _SILENCE
        build = build_object(*builds.shown(build_id)).model_dump(exclude_none=True)
        yield _event("end", end_bytes, build)
    except AlgoriumError as error:
        yield _event("error", end_bytes, {"error": {"message": error.message}})


def _event(name: str, end_bytes: int, value: Any) -> bytes:
    # JSON has no line breaks of its own, so it is always one line of the event.
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (end_bytes, name.encode(), encode_json(value))


def _offset(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= _OFFSET_DIGITS_MAX):
        raise InvalidInput("Last-Event-ID is none that this stream has given")
    return int(text)
