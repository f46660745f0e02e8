"""
Errors on the wire: the only place that makes a status, a body and a header of one.

Every error of the tree in `domain/errors.py` becomes `{"error": {...}}`. Anything else that is
raised is our fault: it is logged with its traceback under a fresh id, and the caller gets the id.

Source: wire specification, "Errors", "Envelope".
"""

import uuid
from collections.abc import Iterable

from algorium_server.api.http import Header, Scope, Send, encode_json, respond
from algorium_server.domain.errors import AlgoriumError, InternalError
from algorium_server.domain.limits import ERROR_HEADER_CHARS_MAX
from algorium_server.telemetry import logger

_log = logger(__name__)


async def send_error(
    scope: Scope,
    send: Send,
    error: Exception,
    *,
    request_id: str = "",
    headers: Iterable[Header] = (),
    closes: bool = False,
) -> None:
    """
    Answer with *error*.

    Args:
        scope: The request; the answer to HEAD has no body.
        send: Where to; the answer must not have begun.
        error: What was raised. Not one of the tree: logged, and shown as an internal error.
        request_id: For `X-Request-Id`, if there is one.
        headers: Further headers, such as those for CORS or `Allow`.
        closes: Ask for the connection to be closed after the answer.
    """
    known = as_known(error, request_id=request_id)
    fields = [(b"x-error-message", header_text(known.message)), *headers]
    if known.retry_after_s is not None:
        fields.append((b"retry-after", b"%d" % known.retry_after_s))
    if closes:
        fields.append((b"connection", b"close"))
    await respond(
        send,
        known.status,
        error_body(known),
        headers=fields,
        request_id=request_id,
        is_head=scope.get("method") == "HEAD",
    )


def as_known(error: Exception, *, request_id: str = "") -> AlgoriumError:
    """Return an error of the tree with a message; what it stands for is logged when it is ours."""
    if not isinstance(error, AlgoriumError):
        error_id = str(uuid.uuid4())
        _log.error("internal error", id=error_id, request_id=request_id, exc_info=error)
        return InternalError("There was an internal error.", fields={"id": error_id})
    if isinstance(error, InternalError) and "id" not in error.fields:
        # A copy: the exception is its raiser's, and may be raised again.
        error = InternalError(
            error.message,
            hint=error.hint,
            detail=error.detail,
            fields={"id": str(uuid.uuid4()), **error.fields},
        )
    if error.status >= 500:
        _log.warning(
            error.message,
            kind=type(error).__name__,
            id=error.fields.get("id"),
            request_id=request_id,
            detail=error.detail,
        )
    return error


def error_body(error: AlgoriumError) -> bytes:
    """Return the JSON body of *error*: scalars only, absent members left out."""
    fields = dict(error.fields)
    members: dict[str, str | int | float | bool] = {}
    if "id" in fields:
        members["id"] = fields.pop("id")
    if error.code is not None:
        members["code"] = error.code
    members["message"] = _well_formed(error.message)
    if error.error_type is not None:
        members["error_type"] = error.error_type
    if error.hint:
        members["hint"] = _well_formed(error.hint)
    for name, value in fields.items():
        members[name] = _well_formed(value) if isinstance(value, str) else value
    return encode_json({"error": members})


def header_text(message: str) -> bytes:
    """Return *message* as the value of a header: one line of Latin-1, cut if it is long."""
    if len(message) > ERROR_HEADER_CHARS_MAX:
        message = f"{message[: ERROR_HEADER_CHARS_MAX - 3]}..."
    line = "".join(" " if ord(c) < 0x20 or ord(c) == 0x7F else c for c in message)
    return line.strip().encode("latin-1", "replace")


def _well_formed(text: str) -> str:
    # Names that came in as undecodable bytes may hold lone surrogates; JSON cannot.
    return text.encode("utf-8", "replace").decode()
