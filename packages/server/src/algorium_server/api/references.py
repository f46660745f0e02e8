"""
Routes of one algorithm: each has two spellings, by owner and name, and by id.

    /v1/algorithms/{owner}/{name}/builds
    /v1/algorithms/{algorithm_id}/builds

The first segment is an id if it has the form of a UUID, which no account's name has.

Source: wire specification, "Route disambiguation".
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from algorium.wire.refs import AlgorithmRef, RefSyntaxError
from algorium_server.domain.errors import NoSuchAlgorithm

Handler = Callable[..., Awaitable[Response]]

PREFIX: Final = "/v1/algorithms"


def _by_name(owner: str, name: str) -> AlgorithmRef:
    try:
        return AlgorithmRef(owner=owner, name=name)
    except RefSyntaxError:
        raise NoSuchAlgorithm from None  # nothing can be called so


def _by_id(algorithm_id: UUID) -> AlgorithmRef:
    return AlgorithmRef(algorithm_id=str(algorithm_id))


Ref = Annotated[AlgorithmRef, Depends(_by_name)]
"""Which algorithm a request is about; `on_algorithm` makes the routes that hold it."""
_RefById = Annotated[AlgorithmRef, Depends(_by_id)]


def on_algorithm(
    routes: APIRouter, method: str, suffix: str = "", **options: Any
) -> Callable[[Handler], Handler]:
    """
    Return a decorator that makes both routes of a handler, which has a parameter of type `Ref`.

    Args:
        routes: Where to add them; has no prefix.
        method: Such as `GET`.
        suffix: Of the path, such as `/builds/{build_id}`.
        options: For both routes, such as `status_code`.
    """

    def add(handler: Handler) -> Handler:
        for spelling, path in (
            (handler, "{owner}/{name}"),
            (_by_id_instead(handler), "{algorithm_id:uuid}"),
        ):
            routes.add_api_route(f"{PREFIX}/{path}{suffix}", spelling, methods=[method], **options)
        return handler

    return add


def _by_id_instead(handler: Handler) -> Handler:
    async def by_id(**arguments: Any) -> Response:
        return await handler(**arguments)

    signature = inspect.signature(handler)
    parameters = [
        parameter.replace(annotation=_RefById) if parameter.annotation == Ref else parameter
        for parameter in signature.parameters.values()
    ]
    by_id.__name__ = f"{handler.__name__}_by_id"
    by_id.__doc__ = handler.__doc__
    by_id.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # what FastAPI reads
    return by_id
