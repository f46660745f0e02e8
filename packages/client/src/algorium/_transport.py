"""
Drives flows over HTTP, once blocking and once with `asyncio`; it alone knows the HTTP library.

Credentials are added here and nowhere else, so requests and flows can be shown and logged freely.
"""

import asyncio
import contextlib
import os
import random
import ssl
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from ipaddress import ip_address
from typing import Final, TypeAlias, TypedDict, TypeVar
from urllib.parse import urlsplit

import httpx2

from algorium._config import Connection
from algorium._content import in_thread
from algorium._errors import (
    ConfigurationError,
    ConnectionFailed,
    ConnectionLost,
    ResponseTimeout,
    TransportError,
    UnexpectedResponse,
)
from algorium._messages import Pause, Replayable, Request, Response
from algorium._retry import Flow, RetryPolicy, with_retries

T = TypeVar("T")

CONNECT_TIMEOUT_S_MAX: Final = 10.0
"""A server that does not even accept a connection by then is down."""

_KEEPALIVE_S: Final = 30.0
"""Half of what our servers and usual proxies leave an idle connection: 60 s inside algorithms and
on load balancers, 75 s outside. We must be the ones to let go, or a call that cannot be repeated
is sent into a closing connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportOptions:
    """
    How to talk to the server.

    Attributes:
        timeout_s: Longest wait for a connection, or for the next bytes of an answer.
        connections_max: Connections open at once; further requests wait for one.
        proxy: URL of a proxy; None leaves it to `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`.
    """

    timeout_s: float
    connections_max: int
    proxy: str | None
    retry: RetryPolicy


_Content: TypeAlias = bytes | Iterable[bytes] | AsyncIterable[bytes] | None


class _ClientArguments(TypedDict):
    verify: ssl.SSLContext | bool
    limits: httpx2.Limits
    proxy: httpx2.Proxy | None
    trust_env: bool
    follow_redirects: bool


class SyncStream:
    """A body that is still arriving. Iterate once, close always."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _translated(self._response.request):
            yield from self._response.iter_bytes()

    def close(self) -> None:
        """Give the connection back, or close it when bytes are left unread."""
        self._response.close()


class AsyncStream:
    """A body that is still arriving. Iterate once, close always."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated(self._response.request):
            async for chunk in self._response.aiter_bytes():
                yield chunk

    async def aclose(self) -> None:
        """Give the connection back, or close it when bytes are left unread."""
        await self._response.aclose()


class SyncTransport:
    """Runs flows in the calling thread. Threads may share it, and forks go on with it."""

    def __init__(self, connection: Connection, options: TransportOptions) -> None:
        self._wire = _Wire(connection, options)
        self._clients = {os.getpid(): httpx2.Client(**self._wire.client_arguments())}
        self._retry = options.retry
        self.connections_max = options.connections_max
        self.retries_max = options.retry.retries_max

    def run(self, flow: Flow[T]) -> T:
        """Drive *flow* to its end and return its result."""
        steps = with_retries(flow, self._retry)
        answer: Response | None = None
        failure: TransportError | None = None
        while True:
            try:
                step = steps.throw(failure) if failure else steps.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            except BaseException:
                if answer is not None and answer.stream is not None:
                    answer.stream.close()  # nobody will read it
                raise
            answer = failure = None
            if isinstance(step, Pause):
                self.pause(step)
                continue
            try:
                answer = self._exchange(step)
            except TransportError as error:
                failure = error

    def _exchange(self, request: Request) -> Response:
        outgoing = self._wire.outgoing(request, _sync_content(request))
        with _translated(outgoing):
            incoming = self._client().send(outgoing, stream=True)
            if _is_packed(incoming):
                incoming.close()
                raise _packed(outgoing)
            if request.is_streamed and incoming.is_success:
                return _response(incoming, stream=SyncStream(incoming))
            try:
                incoming.read()
            finally:
                incoming.close()
            return _response(incoming, body=incoming.content)

    @staticmethod
    def pause(pause: Pause) -> None:
        """Wait as long as *pause* says."""
        time.sleep(_draw(pause))

    def _client(self) -> httpx2.Client:
        """
        Return the library's client of this process.

        A fork has the connections of its parent: two who use them get each other's answers. The
        parent's client is kept, or its sockets would be closed with a warning.
        """
        client = self._clients.get(os.getpid())
        if client is None:
            client = httpx2.Client(**self._wire.client_arguments())
            client = self._clients.setdefault(os.getpid(), client)
        return client

    def close(self) -> None:
        """Close all connections."""
        self._client().close()


class AsyncTransport:
    """Runs flows on the running `asyncio` loop."""

    def __init__(self, connection: Connection, options: TransportOptions) -> None:
        self._wire = _Wire(connection, options)
        self._client = httpx2.AsyncClient(**self._wire.client_arguments())
        self._retry = options.retry
        self.connections_max = options.connections_max
        self.retries_max = options.retry.retries_max

    async def run(self, flow: Flow[T]) -> T:
        """Drive *flow* to its end and return its result."""
        steps = with_retries(flow, self._retry)
        answer: Response | None = None
        failure: TransportError | None = None
        while True:
            try:
                step = steps.throw(failure) if failure else steps.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            except BaseException:
                if answer is not None and answer.stream is not None:
                    await answer.stream.aclose()  # nobody will read it
                raise
            answer = failure = None
            if isinstance(step, Pause):
                await self.pause(step)
                continue
            try:
                answer = await self._exchange(step)
            except TransportError as error:
                failure = error

    async def _exchange(self, request: Request) -> Response:
        outgoing = self._wire.outgoing(request, _async_content(request))
        with _translated(outgoing):
            incoming = await self._client.send(outgoing, stream=True)
            if _is_packed(incoming):
                await incoming.aclose()
                raise _packed(outgoing)
            if request.is_streamed and incoming.is_success:
                return _response(incoming, stream=AsyncStream(incoming))
            try:
                await incoming.aread()
            finally:
                await incoming.aclose()
            return _response(incoming, body=incoming.content)

    @staticmethod
    async def pause(pause: Pause) -> None:
        """Wait as long as *pause* says."""
        await asyncio.sleep(_draw(pause))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


class _Wire:
    """What both transports share: how clients are set up and requests are written."""

    def __init__(self, connection: Connection, options: TransportOptions) -> None:
        self._connection = connection
        self._options = options
        # Packed bytes would hide a file's size, and a few of them can fill any memory.
        self._headers = {
            "User-Agent": f"algorium-python/{version('algorium')}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }
        if connection.authorization:
            self._headers["Authorization"] = connection.authorization

    def client_arguments(self) -> _ClientArguments:
        """Return the arguments of the library's client, blocking or not."""
        limits = httpx2.Limits(
            max_connections=self._options.connections_max,
            max_keepalive_connections=self._options.connections_max,
            keepalive_expiry=_KEEPALIVE_S,
        )
        return {
            "verify": self._tls(),
            "limits": limits,
            "proxy": self._proxy(),
            # What HTTP_PROXY and its kind say does not concern this very machine.
            "trust_env": not self._is_loopback(),
            # A key must not follow a redirect to who knows where.
            "follow_redirects": False,
        }

    def outgoing(self, request: Request, content: _Content) -> httpx2.Request:
        """Write a request down for the library."""
        headers = {**self._headers, **request.headers}
        body_bytes = request.body_bytes
        if isinstance(request.body, Replayable):
            body_bytes = request.body.size_bytes
        if body_bytes is not None:
            headers["Content-Length"] = str(body_bytes)
        seconds = self._options.timeout_s
        timeout = httpx2.Timeout(
            seconds, connect=min(seconds, CONNECT_TIMEOUT_S_MAX), read=seconds + request.work_s
        )
        return httpx2.Request(
            request.method,
            f"{self._connection.api_address}{request.path}",
            params=list(request.query) or None,
            headers=headers,
            content=content,
            extensions={"timeout": timeout.as_dict()},
        )

    def _tls(self) -> ssl.SSLContext | bool:
        if self._connection.api_address.startswith("http://"):
            return False  # nothing to verify, and reading the system's certificates takes 40 ms
        if not self._connection.ca_cert:
            return True
        context = httpx2.create_ssl_context()
        try:
            context.load_verify_locations(self._connection.ca_cert)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"Cannot read the certificates in {self._connection.ca_cert}: {error}"
            ) from error
        return context

    def _proxy(self) -> httpx2.Proxy | None:
        if self._options.proxy is None:
            return None
        try:
            return httpx2.Proxy(self._options.proxy)
        except (ValueError, httpx2.InvalidURL) as error:
            # Without the text: a proxy's URL may hold a password.
            raise ConfigurationError("The proxy is not the URL of an HTTP proxy.") from error

    def _is_loopback(self) -> bool:
        host = urlsplit(self._connection.api_address).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def _sync_content(request: Request) -> _Content:
    if isinstance(request.body, Replayable):
        return request.body.pieces()
    return _content(request, request.body)


def _async_content(request: Request) -> _Content:
    if isinstance(request.body, Replayable):
        return in_thread(request.body.pieces())
    return _content(request, request.body)


def _content(request: Request, body: bytes | Iterable[bytes] | AsyncIterable[bytes]) -> _Content:
    if body == b"" and request.method in {"GET", "HEAD", "DELETE"}:
        return None
    return body


def _response(
    incoming: httpx2.Response,
    *,
    body: bytes = b"",
    stream: SyncStream | AsyncStream | None = None,
) -> Response:
    headers: Mapping[str, str] = dict(incoming.headers.items())  # lower case already
    return Response(status=incoming.status_code, headers=headers, body=body, stream=stream)


def _is_packed(incoming: httpx2.Response) -> bool:
    return incoming.headers.get("content-encoding", "identity").lower() != "identity"


def _packed(request: httpx2.Request) -> UnexpectedResponse:
    return UnexpectedResponse(
        f"{request.method} {request.url.path}: the answer is compressed, which was not asked for.",
        hint="Does a proxy do that? It must not, where no Accept-Encoding allows it.",
    )


def _draw(pause: Pause) -> float:
    return random.uniform(pause.shortest_s, pause.longest_s)  # noqa: S311 - not a secret


@contextlib.contextmanager
def _translated(request: httpx2.Request) -> Iterator[None]:
    """Turn the library's exceptions into ours."""
    try:
        yield
    except httpx2.RequestError as error:
        raise _translation(error, request) from error


def _translation(error: httpx2.RequestError, request: httpx2.Request) -> Exception:
    origin = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
    what = f"{request.method} {request.url.path}"
    reason = str(error) or type(error).__name__
    if _is_untrusted(error):
        return ConfigurationError(
            f"The certificate of {origin} is not trusted: {reason}",
            hint="Name the file of your own certificate authority with ca_cert.",
        )
    if isinstance(error, httpx2.PoolTimeout):
        return ResponseTimeout(
            f"{what}: all connections of this client were busy for too long.",
            hint="Raise the client's connections_max or timeout_s.",
        )
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        return ConnectionFailed(f"Cannot connect to {origin}: {reason}")
    if isinstance(error, httpx2.TimeoutException):
        return ResponseTimeout(f"{what}: no answer from {origin} in time.")
    return ConnectionLost(f"{what}: the connection to {origin} broke off: {reason}")


def _is_untrusted(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
