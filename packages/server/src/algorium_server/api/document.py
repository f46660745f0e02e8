"""
The document of the API, in OpenAPI: every route with its bodies and its errors.

FastAPI writes most of it. Bodies are read by ourselves, so what they look like is added here; so
is how to show a key, and the one form of all errors. Calls and data are in `raw_operations.py`.

Source: OpenAPI 3.1.
"""

from collections.abc import Awaitable, Callable, Iterator
from copy import deepcopy
from typing import Any, Final, TypeVar

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from algorium_server.api.raw_operations import RAW_PATHS, RAW_SCHEMAS

Reader = TypeVar("Reader", bound=Callable[..., Awaitable[Any]])

_SHAPE: Final = "algorium_shape"
_REFERENCES: Final = "#/components/schemas/"
_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "description": "A text if there is no such algorithm.",
            "oneOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "required": ["message"],
                    "properties": {
                        "id": {"type": "string"},
                        "code": {"type": "integer"},
                        "message": {"type": "string"},
                        "hint": {"type": "string"},
                    },
                },
            ],
        }
    },
}
_DESCRIPTION: Final = (
    "Algorithms, calls of them, and files. Show a key as `Authorization: Simple KEY`, or as the "
    "bare key."
)


def described_body(read: Reader, shape: type[BaseModel]) -> Reader:
    """Note which shape a dependency reads a body as."""
    setattr(read, _SHAPE, shape)
    return read


def document_of(app: FastAPI) -> dict[str, Any]:
    """Return the document of an application."""
    document = get_openapi(
        title=app.title,
        version="1",
        openapi_version="3.1.0",
        description=_DESCRIPTION,
        routes=app.routes,
    )
    shapes = {shape for _, shape in _bodies(app)}
    ordered = sorted(shapes, key=lambda shape: shape.__name__)
    _, schema = models_json_schema(
        [(shape, "validation") for shape in ordered], ref_template=f"{_REFERENCES}{{model}}"
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas |= schema.get("$defs", {})
    schemas |= RAW_SCHEMAS
    schemas["Error"] = _ERROR
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)  # FastAPI's own, which nobody ever sees here
    components["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "Authorization"}
    }
    document["security"] = [{"key": []}]
    for route, shape in _bodies(app):
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            operation["requestBody"] = {
                "required": False,
                "content": {
                    "application/json": {"schema": {"$ref": f"{_REFERENCES}{shape.__name__}"}}
                },
            }
    document["paths"] |= deepcopy(RAW_PATHS)
    for path in document["paths"].values():
        for operation in path.values():
            responses = operation["responses"]
            responses.pop("422", None)
            responses["default"] = {
                "description": "It was refused, or failed.",
                "content": {"application/json": {"schema": {"$ref": f"{_REFERENCES}Error"}}},
            }
    return document


def _bodies(app: FastAPI) -> Iterator[tuple[APIRoute, type[BaseModel]]]:
    for route in app.routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        for dependency in route.dependant.dependencies:
            shape = getattr(dependency.call, _SHAPE, None)
            if shape is not None:
                yield route, shape
