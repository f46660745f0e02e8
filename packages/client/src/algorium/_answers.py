"""What answers mean that are not what was asked for: refusals, and what is not of this protocol."""

from http import HTTPStatus

from algorium._errors import ApiError, NotFound, PathNotFound, UnexpectedResponse, api_error
from algorium._messages import Response
from algorium.wire.bodies import ErrorBody


def check(response: Response, *, missing: type[NotFound] = NotFound) -> None:
    """
    Raise what a refused request means.

    Args:
        response: Of any status.
        missing: What a 404 without a code of its own means here.
    """
    if not response.is_success:
        raise refusal(response, error_body(response), missing=missing)


def check_path(response: Response) -> None:
    """Raise what a refused request about a file or directory means."""
    check(response, missing=PathNotFound)


def error_body(response: Response) -> ErrorBody | None:
    """Return what the server said; None for no body, a proxy's page, or no error at all."""
    if response.media_type != "application/json" or not response.body:
        return None
    try:
        return ErrorBody.from_json(response.json())
    except UnexpectedResponse:
        return None


def refusal(
    response: Response, error: ErrorBody | None, *, missing: type[NotFound] = NotFound
) -> ApiError | UnexpectedResponse:
    """Return the exception for an answer that is no success, of which *error* is the body."""
    if not 400 <= response.status <= 599:
        return unexpected(response, "neither success nor error, redirects are not followed")
    told = response.headers.get("x-error-message", "")
    return api_error(
        error or ErrorBody(message=told or _phrase(response)),
        status=response.status,
        request_id=response.request_id,
        missing=missing,
        is_told=error is not None or bool(told),
    )


def unexpected(response: Response, reason: str) -> UnexpectedResponse:
    """Return the exception for an answer of the right status and the wrong kind."""
    return UnexpectedResponse(
        f"The answer (HTTP {response.status}) is not of this protocol: {reason}.",
        status=response.status,
        request_id=response.request_id,
    )


def _phrase(response: Response) -> str:
    try:
        return f"HTTP {response.status} {HTTPStatus(response.status).phrase}"
    except ValueError:
        return f"HTTP {response.status}"
