"""
The management API: routes that are rare and structured, with a document that describes them all.

FastAPI finds the route and reads paths and queries; bodies are read here, since clients of the old
service send them without a type, as `null`, or as forms. Every error has the form of the others.

Source: wire specification, "Common request rules", "Errors", "Algorithm object".
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from algorium_server.api.credentials import Credentials
from algorium_server.api.document import described_body, document_of
from algorium_server.api.errors import as_known, error_body, header_text
from algorium_server.api.http import (
    JSON,
    AsgiApp,
    Receive,
    Scope,
    Send,
    encode_json,
    read_body,
)
from algorium_server.domain.errors import (
    AlgoriumError,
    InvalidInput,
    InvalidRequest,
    MalformedJson,
    MethodNotAllowed,
    NoSuchAlgorithm,
    NotFound,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import MANAGEMENT_BODY_BYTES_MAX

M = TypeVar("M", bound=BaseModel)
CatchUp = Callable[[], Awaitable[None]]

_NO_SUCH_ALGORITHM: Final = b'{"error":"No such algorithm"}'
"""Clients of the old service compare these bytes."""
_FORM: Final = "application/x-www-form-urlencoded"


class Answer(Response):
    """An answer in JSON; what stands in it is for whoever asked, so nobody keeps it."""

    media_type = JSON

    def __init__(self, content: object = None, status_code: int = 200) -> None:
        body = b"" if content is None else encode_json(content)
        super().__init__(body, status_code, headers={"Cache-Control": "no-store"})


class Body(BaseModel):
    """A body: what it does not know, it ignores; old clients send whole objects back."""

    model_config = {"extra": "ignore", "str_strip_whitespace": False}


async def _asking(request: Request) -> Principal:
    credentials: Credentials = request.app.state.credentials
    return await credentials.asking(request.scope)


Asking = Annotated[Principal, Depends(_asking)]
"""Who asks; without credentials the route is not entered."""
KNOWN: Final = Depends(_asking)
"""The same for routes that answer everybody who has a key."""


def body_of(shape: type[M], *, refusal: type[AlgoriumError] | None = None) -> Any:
    """
    Return a dependency that reads the body as JSON of a shape, whatever its type says.

    No body, `null` and a form are an empty object. Wrong JSON is code 2013, a missing field 2015,
    a wrong value 6001.

    Args:
        shape: Of the body.
        refusal: What is raised instead of these three.
    """

    async def read(request: Request) -> M:
        try:
            return _checked(shape, await _json_of(request))
        except (MalformedJson, InvalidRequest, InvalidInput) as error:
            if refusal is None or type(error) not in {MalformedJson, InvalidRequest, InvalidInput}:
                raise
            raise refusal(error.message) from error

    return Depends(described_body(read, shape))


def build_management(
    credentials: Credentials, *routers: APIRouter, catch_up: CatchUp | None = None
) -> AsgiApp:
    """
    Make the application for the management API.

    Args:
        credentials: Tells who asks.
        routers: The routes, each with its whole path.
        catch_up: Brings into memory what other gateways have written, if there are any: whoever
            has had an answer from one of them sees what it was about on every other.
    """
    app = FastAPI(
        title="Algorium",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers={
            AlgoriumError: _on_error,
            RequestValidationError: _on_invalid,
            HTTPException: _on_http,
            Exception: _on_bug,
        },
    )
    app.state.credentials = credentials
    # Of two routes that fit, the one with an id is meant: no account is called like one.
    routes = [route for router in routers for route in router.routes]
    app.router.routes += [route for route in routes if _has_id(route)]
    app.router.routes += [route for route in routes if not _has_id(route)]

    described: list[dict[str, Any]] = []

    @app.get("/v1/openapispec", include_in_schema=False)
    async def document() -> Response:
        # Made once: it takes half a second, in which nobody else is answered, and needs no key.
        if not described:
            described.append(document_of(app))
        return Answer(described[0])

    async def management(scope: Scope, receive: Receive, send: Send) -> None:
        if catch_up is not None:
            await catch_up()
        await app(_without_spare_slashes(scope), receive, send)

    return management


def _has_id(route: BaseRoute) -> bool:
    return ":uuid}" in getattr(route, "path", "")


def _without_spare_slashes(scope: Scope) -> Scope:
    path = "/" + "/".join(part for part in scope["path"].split("/") if part)
    return scope if path == scope["path"] else {**scope, "path": path, "raw_path": path.encode()}


async def _json_of(request: Request) -> object:
    raw = await read_body(
        request.scope,
        request.receive,
        bytes_max=MANAGEMENT_BODY_BYTES_MAX,
        too_large=f"the body is limited to {MANAGEMENT_BODY_BYTES_MAX} bytes",
    )
    if not raw.strip():
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        # `curl -d` calls JSON a form, and misspelt JSON must not publish something else.
        if kind == _FORM and not raw.lstrip().startswith((b"{", b"[")):
            return None  # py 2.x sends a dict as a form, which holds its keys only
        raise MalformedJson(f"the body is not JSON: {error}") from error


def _checked(shape: type[M], value: object) -> M:
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object")
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise _of_faults(error.errors(include_url=False, include_input=False)) from None


def _of_faults(faults: Any) -> AlgoriumError:
    first = faults[0]
    name = ".".join(str(part) for part in first["loc"] if part not in {"body", "query", "path"})
    if first["type"] == "missing":
        return InvalidRequest(f"{name} is missing")
    return InvalidInput(f"{name}: {first['msg']}" if name else str(first["msg"]))


async def _on_error(_request: Request, error: Exception) -> Response:
    known = as_known(error)
    body = _NO_SUCH_ALGORITHM if isinstance(known, NoSuchAlgorithm) else error_body(known)
    response = Response(body, known.status, media_type=JSON)
    response.headers["X-Error-Message"] = header_text(known.message).decode("latin-1")
    if known.retry_after_s is not None:
        response.headers["Retry-After"] = str(known.retry_after_s)
    return response


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _on_error(request, _of_faults(error.errors()))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == MethodNotAllowed.status:
        response = await _on_error(request, MethodNotAllowed("Method not allowed"))
        response.headers["Allow"] = (error.headers or {}).get("Allow", "")
        return response
    return await _on_error(request, NotFound(f"nothing answers at {request.url.path}"))


async def _on_bug(_request: Request, error: Exception) -> Response:
    # Starlette would answer with plain text and raise on; so whoever called us answers, in JSON.
    raise error
