"""
Calls over HTTP: raw ASGI for `/v1/algo` and `/v1/web/algo`.

Source: wire specification, "Calling algorithms"; quirks, rules 10 to 13.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import Final
from urllib.parse import unquote, urlsplit

from algorium.wire.refs import AlgorithmRef, RefSyntaxError
from algorium_server.api.bodies import read_call_body
from algorium_server.api.callers import while_connected
from algorium_server.api.credentials import Credentials
from algorium_server.api.envelopes import Answer, Streamed, render
from algorium_server.api.errors import header_text, send_error
from algorium_server.api.heads import Head
from algorium_server.api.http import (
    JSON,
    Disconnected,
    Header,
    Receive,
    Scope,
    Send,
    address_of,
    boolean,
    cors_headers,
    encode_json,
    header,
    parse_query,
    respond,
)
from algorium_server.api.inputs import input_type, read_input
from algorium_server.api.keyed_calls import REPLAYED, Ended, KeyedCalls, idempotency_key
from algorium_server.api.protocol import CONNECTION_KEY
from algorium_server.domain.calls import (
    CallInput,
    CallOptions,
    CallOutcome,
    ContentType,
    Output,
    parse_output,
    parse_timeout,
)
from algorium_server.domain.errors import (
    AlgorithmNotFound,
    MethodNotAllowed,
    NotAuthenticated,
    RequestTimedOut,
    Unavailable,
)
from algorium_server.domain.limits import ANSWER_STALL_S_MAX
from algorium_server.origin import Origin
from algorium_server.services.audit_trail import AuditTrail
from algorium_server.services.calling.admitted import OpenCall
from algorium_server.services.calling.calls import CallService
from algorium_server.services.calling.kept_calls import ACCEPTED
from algorium_server.services.calling.void_calls import VoidCalls

_PREFIX: Final = b"/v1/algo"
_WEB_PREFIX: Final = b"/v1/web/algo"
_ON_DISCONNECT_HEADER: Final = b"algorium-on-disconnect"

_REQUEST_IDS_AT_ONCE: Final = 32

_PATHS_CACHED_MAX: Final = 4096
"""Callers use few references many times; what names no algorithm is not kept."""

_DEFAULT_OPTIONS: Final = CallOptions()


class CallFace:
    """
    The ASGI app of calls.

    Args:
        calls: Calls that are answered.
        void_calls: Calls that are accepted only.
        credentials: Tells who asks.
        catch_up: Brings in what other gateways have written, such as a version that one of them
            has just published for this caller.
        trail: Records calls with `sudo`.
        keyed: Answers calls with an idempotency key; without it they are refused.
    """

    def __init__(
        self,
        calls: CallService,
        void_calls: VoidCalls,
        credentials: Credentials,
        *,
        catch_up: Callable[[], Awaitable[None]] | None = None,
        trail: AuditTrail | None = None,
        keyed: KeyedCalls | None = None,
    ) -> None:
        self._calls = calls
        self._void_calls = void_calls
        self._credentials = credentials
        self._catch_up = catch_up
        self._trail = trail
        self._keyed = keyed

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
            await self._call(scope, receive, send, request_id, is_web=is_web, cors=cors)
        except Disconnected:
            return
        except MethodNotAllowed as error:
            allow = [*cors, (b"allow", b"POST, OPTIONS" if is_web else b"POST")]
            await send_error(scope, send, error, request_id=request_id, headers=allow)
            return
        except Exception as error:  # nothing is sent yet: whatever it is can still be told
            await send_error(scope, send, error, request_id=request_id, headers=cors)

    async def _call(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        request_id: str,
        *,
        is_web: bool,
        cors: list[Header],
    ) -> None:
        try:
            head = self._head(scope, is_web=is_web)
        except (AlgorithmNotFound, NotAuthenticated) as error:
            is_new = isinstance(error, NotAuthenticated) and await self._credentials.learn(scope)
            if self._catch_up is not None:
                await self._catch_up()
            elif not is_new:
                raise
            head = self._head(scope, is_web=is_web)
        if head.grant.is_sudo and self._trail is not None:
            await self._trail.sudo_called(
                head.grant.caller,
                head.grant.resolved.algorithm,
                head.grant.resolved.owner,
                Origin(address_of(scope), request_id=request_id),
            )
        call = self._calls.open(head.grant, head.options, request_id)
        outcome: CallOutcome | BaseException | None = None
        try:
            call_input = await self._input(scope, receive, call, head)
            outcome, request_id = await self._carry_out(scope, call, call_input, head)
            if head.options.output is Output.VOID:
                accepted = encode_json({"async": "void", "request_id": request_id})
                answer = Answer(200, JSON, accepted)
            else:
                answer = render(outcome, call)
                if not is_web:
                    _remember(scope, head)
            if isinstance(answer.body, Streamed):
                # The call is open until its result is out: results that nobody reads count.
                headers = _headers(call, answer, cors)
                await _stream(send, answer, answer.body, request_id, headers=headers)
                return
        except Disconnected:
            raise
        except BaseException as error:
            outcome = error
            raise
        finally:
            if (ending := self._calls.close(call, outcome)) is not None:
                await ending
        assert not isinstance(answer.body, Streamed), "sent above"
        await respond(
            send,
            answer.status,
            answer.body,
            content_type=answer.content_type,
            headers=_headers(call, answer, cors),
            request_id=request_id,
        )

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
        content_type = input_type(scope)
        encoding = header(scope, b"content-encoding") or b""
        wish = (header(scope, _ON_DISCONNECT_HEADER) or b"").decode("latin-1")
        wish = wish or query.get("on_disconnect", "")
        return Head(
            grant=grant,
            options=options,
            content_type=content_type,
            is_base64=encoding.strip().lower() == b"base64" and content_type is ContentType.BINARY,
            continues_alone=wish.strip().lower() == "continue",
            idempotency_key=idempotency_key(scope),
        )

    async def _input(self, scope: Scope, receive: Receive, call: OpenCall, head: Head) -> CallInput:
        connection = scope.get(CONNECTION_KEY)
        if connection is not None and connection.has_whole_request:
            return read_input(head, await read_call_body(scope, receive))
        try:
            async with asyncio.timeout(call.deadline_at - time.monotonic()):
                return read_input(head, await read_call_body(scope, receive))
        except TimeoutError:
            raise RequestTimedOut("The input did not arrive within the call's timeout") from None

    async def _carry_out(
        self, scope: Scope, call: OpenCall, call_input: CallInput, head: Head
    ) -> Ended:
        key = head.idempotency_key
        if key:
            if self._keyed is None:
                raise Unavailable("Calls with Idempotency-Key are not taken here")
            ref = parse_path(scope["raw_path"])
            return await self._keyed.answer(scope, call, call_input, key=key, ref=ref)
        if head.options.output is Output.VOID:
            await self._void_calls.accept(call, call_input)
            return Ended(ACCEPTED, call.request_id)
        return Ended(await self._run(scope, call, call_input, head), call.request_id)

    async def _run(
        self, scope: Scope, call: OpenCall, call_input: CallInput, head: Head
    ) -> CallOutcome:
        """Run the call; if its caller goes away, end it, unless the caller asked otherwise."""
        if head.continues_alone:
            return await self._calls.run(call, call_input)
        return await while_connected(scope, partial(self._calls.run, call, call_input))


def _remember(scope: Scope, head: Head) -> None:
    """Spare the next call with the same head the long way, unless there is more to each call."""
    # With `sudo` each one is recorded, with a key looked up.
    is_plain = not head.grant.is_sudo and not head.idempotency_key
    if is_plain and head.grant.caller.is_lasting:
        connection = scope.get(CONNECTION_KEY)
        if connection is not None:
            connection.remember(scope, head)


def _headers(call: OpenCall, answer: Answer, cors: list[Header]) -> list[Header]:
    headers = [*cors]
    if call.is_repeat:
        headers.append(REPLAYED)
    if answer.message:
        headers.append((b"x-error-message", header_text(answer.message)))
    if answer.timing:
        headers.append((b"server-timing", answer.timing))
    return headers


async def _stream(
    send: Send, answer: Answer, body: Streamed, request_id: str, *, headers: list[Header]
) -> None:
    """
    Send a large answer piece by piece.

    Raises:
        Disconnected: The client has stopped to take it.
    """
    fields = [
        *headers,
        (b"content-type", answer.content_type.encode("latin-1")),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode("ascii")),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": fields})
    try:
        for piece in body.pieces:
            async with asyncio.timeout(ANSWER_STALL_S_MAX):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError:
        raise Disconnected from None
    await send({"type": "http.response.body", "body": b"", "more_body": False})


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
