"""
Every operation, once: a generator that yields requests and receives their responses.

Both clients drive the same generators (`_transport.py`), so they cannot drift apart. No I/O, no
clock: what a flow needs is handed in, what it finds out is returned.

Source: wire specification, "Calling algorithms", "Data API".
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from http import HTTPStatus
from typing import Any, Final, Literal, TypeAlias, TypeVar
from urllib.parse import quote

from algorium._errors import (
    AlreadyExists,
    ApiError,
    NotFound,
    PathNotFound,
    UnexpectedResponse,
    algorithm_error,
    api_error,
)
from algorium._messages import Body, Request, Response
from algorium._responses import AlgoResponse, AsyncReceipt, Metadata
from algorium._retry import Flow
from algorium._values import encode_input, to_json
from algorium.wire.bodies import (
    BodyError,
    CallEnvelope,
    DataAcl,
    ErrorBody,
    Listing,
    VoidReply,
)
from algorium.wire.refs import AlgorithmRef
from algorium.wire.uris import DataUri
from algorium.wire.usage import UsagePage, UsageRecord, UsageTotal

USAGE_PAGE_MAX: Final = 1000
"""Entries that a server puts on one page of usage."""

Row = TypeVar("Row", UsageRecord, UsageTotal)

Output: TypeAlias = Literal["default", "raw", "void"]

_CALL_TIMEOUT_S_DEFAULT: Final = 300.0
_CALL_TIMEOUT_S_MAX: Final = 3000.0
"""What the server grants, unasked and at most; waiting longer would be in vain. A test holds the
two to the server's own limits."""

_RAW_TYPES: Final = {
    "text/plain": "text",
    "application/json": "json",
    "application/octet-stream": "binary",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What a caller asks for beside the input; None leaves it to the server."""

    timeout_s: float | None = None
    output: Output = "default"
    stdout: bool | None = None
    timing: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise ValueError(f"timeout must be a positive number of seconds, not {self.timeout_s}")
        if self.output not in {"default", "raw", "void"}:
            raise ValueError(f"output must be default, raw or void, not {self.output!r}")

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The options as the wire spells them."""
        query = dict(self.extra)
        if self.timeout_s is not None:
            query["timeout"] = str(self.timeout_s)
        if self.stdout is not None:
            query["stdout"] = "true" if self.stdout else "false"
        if self.timing:
            query["timing"] = "1"
        if self.output != "default":
            query["output"] = self.output
        return tuple(query.items())

    @property
    def work_s(self) -> float:
        """How long the server may take to answer."""
        if self.output == "void":
            return 0.0
        return min(self.timeout_s or _CALL_TIMEOUT_S_DEFAULT, _CALL_TIMEOUT_S_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageWish:
    """Which usage somebody wants to know; None and empty do not restrict."""

    since: date | None = None
    until: date | None = None
    algorithm: str = ""
    account: str = ""
    by: tuple[str, ...] = ()

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The wish as the wire spells it; a time without a zone is UTC there."""
        wanted = {
            "from": self.since.isoformat() if self.since is not None else "",
            "to": self.until.isoformat() if self.until is not None else "",
            "algorithm": self.algorithm,
            "account": self.account,
            "by": ",".join(self.by),
        }
        return tuple((name, value) for name, value in wanted.items() if value)


def call(ref: AlgorithmRef, value: Any, options: CallOptions) -> Flow[AlgoResponse]:
    """
    Call an algorithm.

    Raises:
        AlgorithmError: The algorithm failed.
        ApiError: The platform refused or failed.
    """
    response = yield _call_request(ref, value, options)
    _raise_for_call(response, options.output)
    if options.output == "void":
        return _void_response(response)
    if options.output == "raw":
        return _raw_response(response)
    return _enveloped_response(response)


def send(ref: AlgorithmRef, value: Any, options: CallOptions) -> Flow[AsyncReceipt]:
    """Start a call without waiting for its end; *options* must ask for output `void`."""
    response = yield _call_request(ref, value, options)
    _raise_for_call(response, "void")
    return AsyncReceipt(request_id=_void_reply(response).request_id)


def _call_request(ref: AlgorithmRef, value: Any, options: CallOptions) -> Request:
    content_type, body = encode_input(value)
    return Request(
        method="POST",
        path=f"/v1/algo/{quote(str(ref))}",
        query=options.query,
        headers={"Content-Type": content_type},
        body=body,
        work_s=options.work_s,
    )


def _raise_for_call(response: Response, output: Output) -> None:
    if response.is_success and output == "raw":
        return  # the body is the result, even if it happens to have a member called "error"
    error = _error_body(response)
    if response.is_success and error is None:
        return
    if error is not None and error.code is None and (error.error_type or response.is_success):
        raise algorithm_error(error, status=response.status, request_id=response.request_id)
    raise _refusal(response, error)


def _enveloped_response(response: Response) -> AlgoResponse:
    try:
        envelope = CallEnvelope.from_json(response.json())
        metadata = envelope.metadata
        result = envelope.result
        if metadata.content_type == "binary":
            result = b64decode(result, validate=True)
    except (BodyError, TypeError, binascii.Error) as error:
        raise _unexpected(response, str(error)) from error
    return AlgoResponse(
        result=result,
        metadata=Metadata(
            content_type=metadata.content_type,
            duration=metadata.duration,
            stdout=metadata.stdout,
            alerts=metadata.alerts,
            timing=metadata.timing,
            request_id=response.request_id,
        ),
    )


def _raw_response(response: Response) -> AlgoResponse:
    content_type = _RAW_TYPES.get(response.media_type)
    if content_type is None:
        raise _unexpected(response, f"unknown content type {response.media_type!r}")
    result: Any = response.body
    if content_type == "text":
        result = response.body.decode(errors="replace")
    elif content_type == "json":
        result = response.json()
    return AlgoResponse(
        result=result, metadata=Metadata(content_type=content_type, request_id=response.request_id)
    )


def _void_response(response: Response) -> AlgoResponse:
    request_id = _void_reply(response).request_id
    return AlgoResponse(result=None, metadata=Metadata(content_type="void", request_id=request_id))


def _void_reply(response: Response) -> VoidReply:
    try:
        return VoidReply.from_json(response.json())
    except BodyError as error:
        raise _unexpected(response, str(error)) from error


def usage(wish: UsageWish, row: type[Row], *, limit: int, marker: str) -> Flow[UsagePage[Row]]:
    """
    Read a page of usage; an empty *marker* asks for the first one.

    Args:
        wish: Which calls.
        row: Records, newest first, or sums.
        limit: Entries on the page, at most 1000.
        marker: From the page before.

    Raises:
        NotAuthorized: The key may not see usage.
        NotFound: No such account, or not for this key.
    """
    path = "/v1/usage" if row is UsageRecord else "/v1/usage/totals"
    query = (*wish.query, ("limit", str(limit)), *((("marker", marker),) if marker else ()))
    response = yield Request(method="GET", path=path, query=query)
    if not response.is_success:
        raise _refusal(response, _error_body(response))
    try:
        page = UsagePage.from_json(response.json(), row)
    except BodyError as error:
        raise _unexpected(response, str(error)) from error
    if marker and page.marker == marker:
        raise UnexpectedResponse(f"The usage does not advance past {marker!r}.")
    return page


def usage_totals(wish: UsageWish) -> Flow[list[UsageTotal]]:
    """
    Read all sums of usage, however many pages they fill.

    Raises:
        NotAuthorized: The key may not see usage.
        NotFound: No such account, or not for this key.
    """
    totals: list[UsageTotal] = []
    marker = ""
    while True:
        page = yield from usage(wish, UsageTotal, limit=USAGE_PAGE_MAX, marker=marker)
        totals += page.results
        if not (marker := page.marker):
            return totals


def exists(uri: DataUri, kind: Literal["file", "directory"]) -> Flow[bool]:
    """Tell whether there is something of this *kind* at *uri*."""
    response = yield Request(method="HEAD", path=_path(uri))
    if response.status == 404:
        return False
    _check(response)
    return response.headers.get("x-data-type", kind) == kind


def create(uri: DataUri, acl: DataAcl | None, *, exist_ok: bool) -> Flow[None]:
    """
    Create a directory.

    Raises:
        AlreadyExists: It exists, and *exist_ok* is false.
        PathNotFound: Its parent does not exist.
    """
    if not uri.segments:
        raise ValueError(f"{uri} is the root, it always exists")
    body: dict[str, Any] = {"name": uri.name}
    if acl is not None:
        body["acl"] = acl.to_json()
    response = yield _json_request("POST", uri.parent, body)
    try:
        _check(response)
    except AlreadyExists:
        if not exist_ok:
            raise


def put(uri: DataUri, body: Body, body_bytes: int | None) -> Flow[None]:
    """
    Write a file, replacing what was there; readers see the old bytes or the new ones.

    Raises:
        PathNotFound: Its directory does not exist.
    """
    response = yield Request(
        method="PUT",
        path=_path(uri),
        headers={"Content-Type": "application/octet-stream"},
        body=body,
        body_bytes=body_bytes,
    )
    _check(response)


def get(uri: DataUri, *, is_streamed: bool) -> Flow[Response]:
    """
    Read a file; its bytes are the response's body or stream.

    Raises:
        PathNotFound: There is no such file, or it is a directory.
    """
    response = yield Request(method="GET", path=_path(uri), is_streamed=is_streamed)
    _check(response)
    if response.headers.get("x-data-type", "file") != "file":
        raise PathNotFound(f"{uri} is a directory, not a file", hint="Use client.dir(...) for it.")
    return response


def delete(uri: DataUri, *, force: bool | None = None) -> Flow[int]:
    """
    Delete a file or directory and return how many entries went, itself included.

    Args:
        uri: What to delete.
        force: Directories only: delete the files in it as well.

    Raises:
        PathNotFound: There is nothing there.
        InvalidInput, InvalidRequest: The directory is not empty, and *force* is not set.
        PartlyDeleted: Some entries could not be deleted.
    """
    query = () if force is None else (("force", "true" if force else "false"),)
    response = yield Request(method="DELETE", path=_path(uri), query=query)
    _check(response)
    result = response.json().get("result")
    deleted = result.get("deleted") if isinstance(result, dict) else None
    return deleted if isinstance(deleted, int) else 0


def page(uri: DataUri, marker: str) -> Flow[Listing]:
    """
    Read one page of a directory; an empty *marker* asks for the first one.

    Raises:
        PathNotFound: There is no such directory.
    """
    listing = yield from _listing(uri, (("marker", marker),) if marker else ())
    if marker and listing.marker == marker:
        raise UnexpectedResponse(f"The listing of {uri} does not advance past {marker!r}.")
    return listing


def acl(uri: DataUri) -> Flow[DataAcl | None]:
    """Read a directory's access list; None where there is none (special and foreign places)."""
    listing = yield from _listing(uri, (("acl", "true"),))
    return listing.acl


def set_acl(uri: DataUri, wanted: DataAcl) -> Flow[None]:
    """Replace a directory's access list."""
    response = yield _json_request("PATCH", uri, {"acl": wanted.to_json()})
    _check(response)


def _listing(uri: DataUri, query: tuple[tuple[str, str], ...]) -> Flow[Listing]:
    response = yield Request(method="GET", path=_path(uri), query=query)
    _check(response)
    if response.headers.get("x-data-type", "directory") != "directory":
        raise PathNotFound(f"{uri} is a file, not a directory", hint="Use client.file(...) for it.")
    try:
        return Listing.from_json(response.json())
    except BodyError as error:
        raise _unexpected(response, str(error)) from error


def _json_request(method: str, uri: DataUri, body: Mapping[str, Any]) -> Request:
    return Request(
        method=method,
        path=_path(uri),
        headers={"Content-Type": "application/json"},
        body=to_json(body).encode(),
    )


def _path(uri: DataUri) -> str:
    connector = quote(uri.connector, safe="+")
    return "/".join((f"/v1/connector/{connector}", *(quote(s, safe="") for s in uri.segments)))


def _check(response: Response) -> None:
    """Raise what a refused data request means."""
    if not response.is_success:
        raise _refusal(response, _error_body(response), missing=PathNotFound)


def _error_body(response: Response) -> ErrorBody | None:
    """Return what the server said; None for no body, a proxy's page, or no error at all."""
    if response.media_type != "application/json" or not response.body:
        return None
    try:
        return ErrorBody.from_json(response.json())
    except UnexpectedResponse:
        return None


def _refusal(
    response: Response, error: ErrorBody | None, *, missing: type[NotFound] = NotFound
) -> ApiError | UnexpectedResponse:
    if not 400 <= response.status <= 599:
        return _unexpected(response, "neither success nor error, redirects are not followed")
    if error is None:
        error = ErrorBody(message=response.headers.get("x-error-message") or _phrase(response))
    return api_error(error, status=response.status, request_id=response.request_id, missing=missing)


def _unexpected(response: Response, reason: str) -> UnexpectedResponse:
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
