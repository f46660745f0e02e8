"""
Every operation, once: a generator that yields requests and receives their responses.

Both clients drive the same generators (`_transport.py`), so they cannot drift apart. No I/O, no
clock: what a flow needs is handed in, what it finds out is returned. Files and directories are in
`_data_flow.py`, connectors in `_connector_flow.py`.

Source: wire specification, "Calling algorithms".
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, Literal, TypeAlias, TypeVar
from urllib.parse import quote

from algorium._answers import error_body, refusal, unexpected
from algorium._errors import UnexpectedResponse, algorithm_error
from algorium._messages import Request, Response
from algorium._responses import AlgoResponse, AsyncReceipt, Metadata
from algorium._retry import Flow
from algorium._values import encode_input
from algorium.wire.bodies import BodyError, CallEnvelope, VoidReply
from algorium.wire.refs import AlgorithmRef
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
    is_idempotent: bool = False
    idempotency_key: str = ""
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
    headers = {"Content-Type": content_type}
    if options.idempotency_key:
        headers["Idempotency-Key"] = f'"{options.idempotency_key}"'
    return Request(
        method="POST",
        path=f"/v1/algo/{quote(str(ref))}",
        query=options.query,
        headers=headers,
        body=body,
        work_s=options.work_s,
        is_kept=bool(options.idempotency_key),
    )


def _raise_for_call(response: Response, output: Output) -> None:
    if response.is_success and output == "raw":
        return  # the body is the result, even if it happens to have a member called "error"
    error = error_body(response)
    if response.is_success and error is None:
        return
    if error is not None and error.code is None and (error.error_type or response.is_success):
        raise algorithm_error(error, status=response.status, request_id=response.request_id)
    raise refusal(response, error)


def _enveloped_response(response: Response) -> AlgoResponse:
    try:
        envelope = CallEnvelope.from_json(response.json())
        metadata = envelope.metadata
        result = envelope.result
        if metadata.content_type == "binary":
            result = b64decode(result, validate=True)
    except (BodyError, TypeError, binascii.Error) as error:
        raise unexpected(response, str(error)) from error
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
        raise unexpected(response, f"unknown content type {response.media_type!r}")
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
        raise unexpected(response, str(error)) from error


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
        raise refusal(response, error_body(response))
    try:
        page = UsagePage.from_json(response.json(), row)
    except BodyError as error:
        raise unexpected(response, str(error)) from error
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
