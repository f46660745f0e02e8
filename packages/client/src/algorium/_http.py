"""
How requests are written for the HTTP library, and what its answers and exceptions mean.

Both transports use it; nothing here sends anything.
"""

import contextlib
import ssl
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from importlib.metadata import version
from ipaddress import ip_address
from typing import Any, Final, TypeAlias, TypedDict
from urllib.parse import urlsplit

import httpx2

from algorium._config import Connection
from algorium._content import in_thread
from algorium._errors import (
    ConfigurationError,
    ConnectionFailed,
    ConnectionLost,
    ResponseTimeout,
    UnexpectedResponse,
)
from algorium._messages import Replayable, Request, Response
from algorium._retry import RetryPolicy

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
    proxy: str | None = field(repr=False)  # its URL may hold a password
    retry: RetryPolicy


Content: TypeAlias = bytes | Iterable[bytes] | AsyncIterable[bytes] | None


class ClientArguments(TypedDict):
    """Arguments of the library's clients, blocking or not."""

    verify: ssl.SSLContext
    limits: httpx2.Limits
    proxy: httpx2.Proxy | None
    trust_env: bool
    follow_redirects: bool


class Wire:
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
        self._verify = self._tls()

    def with_options(self, options: TransportOptions) -> "Wire":
        """Return the same for other options; certificates are not read again."""
        other = copy(self)
        other._options = options
        return other

    def client_arguments(self) -> ClientArguments:
        """Return the arguments of the library's client, blocking or not."""
        limits = httpx2.Limits(
            max_connections=self._options.connections_max,
            max_keepalive_connections=self._options.connections_max,
            keepalive_expiry=_KEEPALIVE_S,
        )
        return {
            "verify": self._verify,
            "limits": limits,
            "proxy": self._proxy(),
            # What HTTP_PROXY and its kind say does not concern this very machine.
            "trust_env": not self._is_loopback(),
            # A key must not follow a redirect to who knows where.
            "follow_redirects": False,
        }

    def outgoing(self, request: Request, content: Content) -> httpx2.Request:
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

    def _tls(self) -> ssl.SSLContext:
        if self._connection.api_address.startswith("http://"):
            # Nothing to verify, and reading the system's certificates takes 40 ms.
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context = httpx2.create_ssl_context()
        if not self._connection.ca_cert:
            return context
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


def sync_content(request: Request) -> Content:
    """Return a body as the blocking client sends it."""
    if isinstance(request.body, Replayable):
        return request.body.pieces()
    return _content(request, request.body)


def async_content(request: Request) -> Content:
    """Return a body as the other client sends it."""
    if isinstance(request.body, Replayable):
        return in_thread(request.body.pieces())
    return _content(request, request.body)


def _content(request: Request, body: bytes | Iterable[bytes] | AsyncIterable[bytes]) -> Content:
    if body == b"" and request.method in {"GET", "HEAD", "DELETE"}:
        return None
    return body


def response_of(
    incoming: httpx2.Response,
    *,
    body: bytes = b"",
    stream: Any = None,
) -> Response:
    """Return an answer as flows know it; with a *stream* its body is still to come."""
    headers: Mapping[str, str] = dict(incoming.headers.items())  # lower case already
    return Response(status=incoming.status_code, headers=headers, body=body, stream=stream)


def is_packed(incoming: httpx2.Response) -> bool:
    """Whether the answer is compressed."""
    return incoming.headers.get("content-encoding", "identity").lower() != "identity"


def packed(request: httpx2.Request) -> UnexpectedResponse:
    """Return the exception for an answer that is compressed."""
    return UnexpectedResponse(
        f"{request.method} {request.url.path}: the answer is compressed, which was not asked for.",
        hint="Does a proxy do that? It must not, where no Accept-Encoding allows it.",
    )


@contextlib.contextmanager
def translated(request: httpx2.Request) -> Iterator[None]:
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
