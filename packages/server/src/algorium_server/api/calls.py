"""
Calls over HTTP: raw ASGI for `/v1/algo` and `/v1/web/algo`.

Source: wire specification, "Calling algorithms"; quirks, rules 10 to 13.
"""

import asyncio
import os
import time
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from algorium.wire.refs import AlgorithmRef, RefSyntaxError
from algorium_server.api.credentials import Credentials
from algorium_server.api.errors import header_text, send_error
from algorium_server.api.heads import Head
from algorium_server.api.http import (
    JSON,
    Disconnected,
    Receive,
    Scope,
    Send,
    boolean,
    cors_headers,
    encode_json,
    header,
    parse_query,
    read_body,
    respond,
)
from algorium_server.api.protocol import CONNECTION_KEY
from algorium_server.domain.calls import (
    CallFailure,
    CallInput,
    CallOptions,
    CallOutcome,
    CallSuccess,
    ContentType,
    Output,
    is_json,
    parse_output,
    parse_timeout,
)
from algorium_server.domain.errors import (
    AlgorithmNotFound,
    InvalidInput,
    MalformedJson,
    MethodNotAllowed,
    RequestTimedOut,
    UnsupportedContentType,
)
from algorium_server.domain.limits import CALL_INPUT_BYTES_MAX
from algorium_server.services.calls import CallService, OpenCall
from algorium_server.services.void_calls import VoidCalls

_PREFIX: Final = b"/v1/algo"
_WEB_PREFIX: Final = b"/v1/web/algo"
_ON_DISCONNECT_HEADER: Final = b"algorium-on-disconnect"

_REQUEST_IDS_AT_ONCE: Final = 32

_PATHS_CACHED_MAX: Final = 4096
"""Callers use few references many times; what names no algorithm is not kept."""

_INPUT_TYPES: Final = {
    b"application/json": ContentType.JSON,
    b"text/plain": ContentType.TEXT,
    b"application/text": ContentType.TEXT,
    b"application/octet-stream": ContentType.BINARY,
}
_RAW_TYPES: Final = {
    ContentType.TEXT: "text/plain; charset=utf-8",
    ContentType.JSON: JSON,
    ContentType.BINARY: "application/octet-stream",
    ContentType.VOID: "text/plain",
}
_DEFAULT_OPTIONS: Final = CallOptions()


class Answer(NamedTuple):
    """An answer to a call; *message* goes into the header for readers of the status only."""

    status: int
    content_type: str
    body: bytes
    message: str = ""


class CallFace:
    """
    The ASGI app of calls.

    Args:
        calls: Calls that are answered.
        void_calls: Calls that are accepted only.
        credentials: Tells who asks.
        clock: Returns the present time, UTC-aware.
    """

    def __init__(
        self,
        calls: CallService,
        void_calls: VoidCalls,
        credentials: Credentials,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._calls = calls
        self._void_calls = void_calls
        self._credentials = credentials
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_web = scope["raw_path"].startswith(_WEB_PREFIX)
        is_preflight = is_web and scope["method"] == "OPTIONS"
        cors = cors_headers(scope, is_preflight=is_preflight) if is_web else []
        if is_preflight:
            await respond(send, 204, headers=cors)
            return
        request_id = new_request_id()
        try:
            answer = await self._call(scope, receive, request_id, is_web=is_web)
        except Disconnected:
            return
        except MethodNotAllowed as error:
            allow = [*cors, (b"allow", b"POST, OPTIONS" if is_web else b"POST")]
            await send_error(scope, send, error, request_id=request_id, headers=allow)
            return
        except Exception as error:  # nothing is sent yet: whatever it is can still be told
            await send_error(scope, send, error, request_id=request_id, headers=cors)
            return
        status, content_type, body, message = answer
        if message:
            cors = [*cors, (b"x-error-message", header_text(message))]
        await respond(
            send, status, body, content_type=content_type, headers=cors, request_id=request_id
        )

    async def _call(
        self, scope: Scope, receive: Receive, request_id: str, *, is_web: bool
    ) -> Answer:
        head = self._head(scope, is_web=is_web)
        call = self._calls.open(head.grant, head.options, request_id)
        try:
            call_input = await self._input(scope, receive, call, head)
            if head.options.output is Output.VOID:
                await self._void_calls.accept(call, call_input, now=self._clock())
                return Answer(200, JSON, encode_json({"async": "void", "request_id": request_id}))
            answer = render(await self._run(scope, call, call_input, head), call)
        finally:
            if (ending := self._calls.close(call)) is not None:
                await ending
        connection = scope.get(CONNECTION_KEY)
        if connection is not None and not is_web:
            connection.remember(scope, head)
        return answer

    def _head(self, scope: Scope, *, is_web: bool) -> Head:
        principal = self._credentials.principal(scope)
        if scope["method"] != "POST":
            raise MethodNotAllowed("Method not allowed")
        ref = parse_path(scope["raw_path"])
        query = parse_query(scope) if scope["query_string"] else {}
        options = parse_options(query) if query else _DEFAULT_OPTIONS
        grant = self._calls.grant(
            principal,
            ref,
            wants_sudo=options.is_sudo,
            web_origin=_origin_host(scope) if is_web else None,
        )
        content_type = _content_type(scope)
        encoding = header(scope, b"content-encoding") or b""
        wish = (header(scope, _ON_DISCONNECT_HEADER) or b"").decode("latin-1")
        wish = wish or query.get("on_disconnect", "")
        return Head(
            grant=grant,
            options=options,
            content_type=content_type,
            is_base64=encoding.strip().lower() == b"base64" and content_type is ContentType.BINARY,
            continues_alone=wish.strip().lower() == "continue",
        )

    async def _input(self, scope: Scope, receive: Receive, call: OpenCall, head: Head) -> CallInput:
        connection = scope.get(CONNECTION_KEY)
        if connection is not None and connection.has_whole_request:
            return read_input(head, await _body(scope, receive))
        try:
            async with asyncio.timeout(call.deadline_at - time.monotonic()):
                return read_input(head, await _body(scope, receive))
        except TimeoutError:
            raise RequestTimedOut("The input did not arrive within the call's timeout") from None

    async def _run(
        self, scope: Scope, call: OpenCall, call_input: CallInput, head: Head
    ) -> CallOutcome:
        """Run the call; if its caller goes away, end it, unless the caller asked otherwise."""
        connection = scope.get(CONNECTION_KEY)
        if connection is None or head.continues_alone:
            return await self._calls.run(call, call_input)
        if connection.is_lost:
            raise Disconnected
        task = asyncio.current_task()
        assert task is not None
        is_lost = False

        def give_up() -> None:
            nonlocal is_lost
            is_lost = True
            task.cancel()

        connection.on_lost = give_up
        try:
            return await self._calls.run(call, call_input)
        except asyncio.CancelledError:
            if is_lost and task.uncancel() == 0:
                raise Disconnected from None
            raise
        finally:
            connection.on_lost = None


@lru_cache(maxsize=_PATHS_CACHED_MAX)
def parse_path(raw_path: bytes) -> AlgorithmRef:
    """
    Read the reference from a request's undecoded path.

    Raises:
        AlgorithmNotFound: The path names no algorithm.
    """
    prefix = _WEB_PREFIX if raw_path.startswith(_WEB_PREFIX) else _PREFIX
    text = unquote(raw_path[len(prefix) :].decode("latin-1"), errors="replace")
    try:
        return AlgorithmRef.parse(text)
    except RefSyntaxError:
        shown = text.strip("/").removeprefix("algo:").strip("/")
        raise AlgorithmNotFound(f"algorithm algo://{shown} not found") from None


def parse_options(query: dict[str, str]) -> CallOptions:
    """
    Read the options from a query; unknown parameters are ignored.

    Raises:
        InvalidInput: `timeout` or `output` cannot be read.
    """
    return CallOptions(
        timeout_s=(
            parse_timeout(query["timeout"]) if query.get("timeout") else _DEFAULT_OPTIONS.timeout_s
        ),
        output=parse_output(query.get("output", "")),
        wants_stdout=boolean(query.get("stdout", "")),
        wants_timing=boolean(query.get("timing", "")),
        is_sudo=boolean(query.get("sudo", "")),
    )


def _content_type(scope: Scope) -> ContentType | None:
    raw = header(scope, b"content-type") or b""
    content_type = _INPUT_TYPES.get(raw)  # as most clients spell it
    if content_type is None:
        media_type = raw.partition(b";")[0].strip().lower()
        content_type = _INPUT_TYPES.get(media_type)
        if content_type is None and media_type:
            raise UnsupportedContentType(f"unsupported content type {raw.decode('latin-1')!r}")
    return content_type


async def _body(scope: Scope, receive: Receive) -> bytes:
    return await read_body(
        scope,
        receive,
        bytes_max=CALL_INPUT_BYTES_MAX,
        too_large="Algorithm input exceeds the 10MiB limit",
    )


def read_input(head: Head, body: bytes) -> CallInput:
    """
    Make the input of a call of its body.

    Raises:
        UnsupportedContentType: There is a body, but nothing says what it is.
        MalformedJson: It is not JSON.
        InvalidInput: It is not UTF-8, or not base64.
    """
    content_type = head.content_type
    if content_type is None:
        if body:
            raise UnsupportedContentType("unsupported content type ''")
        return CallInput(content_type=ContentType.JSON, body=b"null")
    if head.is_base64:
        try:
            return CallInput(content_type=content_type, body=b64decode(body))
        except Base64Error:
            raise InvalidInput("The body is not valid base64") from None
    _check(content_type, body)
    return CallInput(content_type=content_type, body=body)


def _check(content_type: ContentType, body: bytes) -> None:
    if content_type is ContentType.BINARY:
        return
    if content_type is ContentType.JSON:
        if not is_json(body):
            raise MalformedJson("Invalid JSON")
        return
    if body.isascii():
        return
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The text is not valid UTF-8: byte {error.start}") from None


def render(outcome: CallOutcome, call: OpenCall) -> Answer:
    """Write an outcome as the caller asked for it."""
    if isinstance(outcome, CallFailure):
        return _render_failure(outcome, call)
    if call.options.output is Output.RAW:
        return Answer(200, _RAW_TYPES[outcome.content_type], outcome.body)
    return Answer(200, JSON, _envelope(outcome, call))


def _envelope(outcome: CallSuccess, call: OpenCall) -> bytes:
    """Splice the checked result into the envelope; `metadata` comes first, old clients compare."""
    timings = outcome.timings
    metadata = b'"content_type":"%s","duration":%s' % (
        outcome.content_type.encode(),
        _duration(timings.run_s),
    )
    if call.options.wants_stdout and call.grant.sees_stdout:
        metadata += b',"stdout":%s' % encode_json(outcome.stdout)
    if call.options.wants_timing:
        total_s = timings.queue_s + timings.load_s + timings.run_s
        metadata += b',"timing":{"running":%s,"total":%s}' % (
            _duration(timings.run_s),
            _duration(total_s),
        )
    match outcome.content_type:
        case ContentType.JSON:
            result = outcome.body
        case ContentType.TEXT:
            result = encode_json(outcome.body.decode("utf-8"))
        case ContentType.BINARY:
            result = encode_json(outcome.body)
        case ContentType.VOID:
            result = b"null"
    return b"".join((b'{"metadata":{', metadata, b'},"result":', result, b"}"))


def _render_failure(outcome: CallFailure, call: OpenCall) -> Answer:
    error: dict[str, object] = {"message": outcome.message, "error_type": outcome.error_type}
    if outcome.stacktrace:
        error["stacktrace"] = error["stack_trace"] = outcome.stacktrace
    metadata: dict[str, object] = {"duration": float(_duration(outcome.timings.run_s))}
    if outcome.stdout:
        metadata["stdout"] = outcome.stdout
    body = encode_json({"error": error, "metadata": metadata, "result": None})
    status = _failure_status(outcome, call)
    return Answer(status, JSON, body, message=outcome.message if status != 200 else "")


def _failure_status(outcome: CallFailure, call: OpenCall) -> int:
    """200 for the envelope, whose readers look inside; raw readers have only the status."""
    if outcome.is_input_refused:
        return 400
    if call.options.output is not Output.RAW:
        return 200
    return {"TimeoutError": 504, "OutOfMemoryError": 500}.get(outcome.error_type, 400)


def _duration(seconds: float) -> bytes:
    """Write a duration as JSON, above zero: an old client asserts that it is."""
    return b"%.6f" % max(seconds, 0.000001)


class _RequestIds:
    """`req-` and a random UUID for every call; randomness is fetched for many at a time."""

    def __init__(self) -> None:
        self._digits = ""

    def __call__(self) -> str:
        if not self._digits:
            self._digits = os.urandom(_REQUEST_IDS_AT_ONCE * 16).hex()
        digits, self._digits = self._digits[:32], self._digits[32:]
        return f"req-{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


new_request_id = _RequestIds()


def _origin_host(scope: Scope) -> str:
    """Return the host of the calling page, empty if the browser did not tell."""
    found = dict(scope["headers"])
    raw: bytes = found.get(b"origin") or found.get(b"referer") or b""
    try:
        return urlsplit(raw.decode("latin-1")).hostname or ""
    except ValueError:
        return ""
