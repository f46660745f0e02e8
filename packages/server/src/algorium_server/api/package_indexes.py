"""
Package indexes of an account, as its builds see them: on a listener inside of the sandbox.

    /KEY/PATH    what the index of that key has at PATH of its host
    /links       a page with links to the files of the account's wheelhouse
    /links/NAME  one of them

Credentials are added here and never enter a sandbox, where packages that are built from source run
code of strangers. Whoever can ask is inside a build of the account, so nobody else is answered.

Pages of an index name files by whole addresses of its host, or by paths. Those are rewritten to
come back here; what lies on other hosts is asked there, without credentials.

Source: PEP 503, PEP 691; RFC 9110, "Redirection".
"""

import asyncio
import functools
import re
import socket
import ssl
from collections.abc import AsyncIterator
from html import escape
from typing import Final
from urllib.parse import quote, unquote, urljoin, urlsplit

import httpx2

from algorium.wire.uris import DataUri
from algorium_server.api.http import Header, Receive, Scope, Send, respond
from algorium_server.api.slots import ServedListener, SlotApi
from algorium_server.build.confined import Serve
from algorium_server.build.packages import OwnSources
from algorium_server.domain.errors import AlgoriumError, NotFound, SourceFailed
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import (
    PACKAGE_PAGE_BYTES_MAX,
    PACKAGE_REDIRECTS_MAX,
    PACKAGE_SOURCE_S,
)
from algorium_server.domain.package_sources import Address
from algorium_server.services.authoring.package_sources import OpenSources, PackageSourceService
from algorium_server.services.directory import Directory
from algorium_server.services.files.data import DataService, Listing
from algorium_server.telemetry import logger

_LINKS: Final = "/links"
_PAGES: Final = re.compile(r"text/html|application/(vnd\.pypi\.simple\.\S+\+)?(html|json)")
_ASKED: Final = ("accept", "range", "if-none-match", "if-modified-since", "if-range", "user-agent")
_TOLD: Final = (
    "content-type",
    "content-length",
    "content-range",
    "accept-ranges",
    "cache-control",
    "etag",
    "last-modified",
)
_HTML: Final = "text/html; charset=utf-8"
_TEXT: Final = "text/plain; charset=utf-8"

_log = logger(__name__)


class PackageIndexes:
    """
    Makes what builds need to get packages of an account.

    Args:
        service: Opens package sources.
        data: Reads wheelhouses.
        directory: Says what accounts may read.
    """

    def __init__(
        self, service: PackageSourceService, data: DataService, directory: Directory
    ) -> None:
        self._service = service
        self._data = data
        self._directory = directory

    async def sources_of(self, owner_id: str) -> OwnSources:
        """Return where builds of an account find packages that others do not get."""
        opened = await self._service.opened(owner_id)
        if opened is None or not opened.sources:
            return OwnSources()
        sources = opened.sources
        return OwnSources(
            indexes=tuple(f"/{index.key}{index.path}" for index in sources.indexes),
            links=(_LINKS,) if sources.wheelhouse else (),
            replaces_others=sources.replaces_others,
            serve=_serving(self, opened),
            secrets=tuple(opened.secrets.values()),
        )

    def client(self, opened: OpenSources) -> httpx2.AsyncClient:
        """Return what sends requests to the indexes; blocks to read certificates."""
        sources = opened.sources
        context = ssl.create_default_context()
        if sources.ca_certificate:
            try:
                context.load_verify_locations(cadata=sources.ca_certificate)
            except (ssl.SSLError, ValueError):
                raise SourceFailed("the ca_certificate of the package sources is none") from None
        proxy = None
        if sources.proxy is not None:
            secret = opened.secrets.get(sources.proxy.place, "")
            proxy = httpx2.Proxy(sources.proxy.url, auth=_auth(sources.proxy, secret))
        return httpx2.AsyncClient(
            verify=context, proxy=proxy, timeout=PACKAGE_SOURCE_S, follow_redirects=False
        )

    async def reached(self, url: str) -> str:
        """Return the address to send a request to; raises `InvalidInput` if there is none."""
        return await self._service.reached(url)

    async def files(self, opened: OpenSources) -> list[str]:
        """Return the names of the files in a wheelhouse."""
        uri, principal = self._wheelhouse(opened)
        names, marker = [], ""
        while True:
            found = await self._data.get(principal, uri, marker=marker)
            if not isinstance(found, Listing):
                await found.close()
                raise NotFound(f"{uri} is no directory")
            names += [entry.name for entry in found.page.files]
            if not (marker := found.page.marker):
                return names

    async def file(self, opened: OpenSources, name: str) -> AsyncIterator[bytes]:
        """Yield a file of a wheelhouse."""
        uri, principal = self._wheelhouse(opened)
        found = await self._data.get(principal, uri.child(name))
        if isinstance(found, Listing):
            raise NotFound(f"{name} is a directory")
        try:
            async for chunk in found.chunks():
                yield chunk
        finally:
            await found.close()

    def _wheelhouse(self, opened: OpenSources) -> tuple[DataUri, Principal]:
        principal = self._directory.principal_of(opened.owner)
        return DataUri.parse(opened.sources.wheelhouse), principal


def _serving(indexes: PackageIndexes, opened: OpenSources) -> Serve:
    async def serve(listener: socket.socket, *, path_prefix: str) -> "_Served":
        client = await asyncio.to_thread(indexes.client, opened)
        gateway = _Gateway(indexes, opened, client, path_prefix)
        served = await SlotApi(gateway).serve(
            listener, principal=lambda: None, path_prefix=path_prefix
        )
        return _Served(served, client)

    return serve


class _Served:
    """A gateway at work."""

    def __init__(self, served: ServedListener, client: httpx2.AsyncClient) -> None:
        self._served = served
        self._client = client
        self._closing: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Stop answering; idempotent."""
        self._served.close()
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._client.aclose())


class _Gateway:
    """Answers one job."""

    def __init__(
        self,
        indexes: PackageIndexes,
        opened: OpenSources,
        client: httpx2.AsyncClient,
        path_prefix: str,
    ) -> None:
        self._indexes = indexes
        self._opened = opened
        self._client = client
        self._prefix = path_prefix
        self._by_key = {index.key: index for index in opened.sources.indexes}

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            path = scope["raw_path"].decode("latin-1").partition("?")[0]
            if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
                raise NotFound("packages can only be read")
            if path.rstrip("/") == _LINKS:
                await self._list(send)
            elif path.startswith(f"{_LINKS}/"):
                await self._send_file(unquote(path.removeprefix(f"{_LINKS}/")), send)
            else:
                key, _, rest = path.removeprefix("/").partition("/")
                index = self._by_key.get(key)
                if index is None:
                    raise NotFound("there is no such index")
                query = scope["query_string"].decode("latin-1")
                target = f"{index.origin}/{rest}" + (f"?{query}" if query else "")
                await self._forward(index, target, scope, send)
        except AlgoriumError as error:
            # What uv shows of an answer that is no success is its status; the log has the rest.
            _log.info("a package is not to be had", reason=error.message)
            await respond(send, error.status, error.message.encode(), content_type=_TEXT)
        except httpx2.HTTPError as error:
            _log.info("a package index fails", reason=type(error).__name__)
            await respond(send, 502, b"the package index does not answer", content_type=_TEXT)

    async def _list(self, send: Send) -> None:
        names = await self._indexes.files(self._opened)
        links = (
            f'<a href="{self._prefix}{_LINKS}/{quote(name)}">{escape(name)}</a>' for name in names
        )
        await respond(send, 200, "<br>".join(links).encode(), content_type=_HTML)

    async def _send_file(self, name: str, send: Send) -> None:
        await _send_all(send, 200, [], self._indexes.file(self._opened, name))

    async def _forward(self, index: Address, target: str, scope: Scope, send: Send) -> None:
        asked = {
            name: value.decode("latin-1")
            for raw, value in scope["headers"]
            if (name := raw.decode("latin-1").lower()) in _ASKED
        }
        asked["accept-encoding"] = "identity"
        for _ in range(PACKAGE_REDIRECTS_MAX):
            is_index = _origin(target) == index.origin
            auth = _auth(index, self._opened.secrets.get(index.place, "")) if is_index else None
            reached = await self._indexes.reached(_origin(target))
            url = target.replace(_origin(target), reached.rstrip("/"), 1)
            request = self._client.build_request(
                scope["method"], url, headers={**asked, "host": urlsplit(target).netloc}
            )
            answer = await self._client.send(request, auth=auth, stream=True)
            try:
                location = answer.headers.get("location", "")
                if not answer.has_redirect_location:
                    await self._pass_on(index, answer, send)
                    return
            finally:
                await answer.aclose()
            target = _joined(target, location)
            if _origin(target) == index.origin and is_index:
                # Pages name files by where they are, so whoever asks must know where that is.
                there = target.removeprefix(index.origin)
                back = f"{self._prefix}/{index.key}{there}".encode("ascii", "replace")
                await respond(send, 302, b"", headers=[(b"location", back)])
                return
        raise SourceFailed("the package index sends in circles")

    async def _pass_on(self, index: Address, answer: httpx2.Response, send: Send) -> None:
        headers: list[Header] = [
            (name.encode(), answer.headers[name].encode("latin-1"))
            for name in _TOLD
            if name in answer.headers
        ]
        kind = answer.headers.get("content-type", "")
        if answer.status_code != 200 or not _PAGES.match(kind):
            await _send_all(send, answer.status_code, headers, answer.aiter_raw())
            return
        page = bytearray()
        async for chunk in answer.aiter_bytes():
            page += chunk
            if len(page) > PACKAGE_PAGE_BYTES_MAX:
                raise SourceFailed("a page of the package index is too long")
        content = rewritten(bytes(page), index, self._prefix)
        headers = [each for each in headers if each[0] not in {b"content-length", b"content-type"}]
        await respond(send, 200, content, content_type=kind, headers=headers)


def rewritten(page: bytes, index: Address, prefix: str) -> bytes:
    """Return a page of an index with the addresses of its host replaced by paths to come back."""
    back = f"{prefix}/{index.key}/".encode()
    return _links_to(index.origin).sub(lambda match: match[1] + back, page)


@functools.lru_cache(maxsize=64)
def _links_to(origin: str) -> re.Pattern[bytes]:
    """Match the beginnings of links to a host, in HTML and in JSON, behind what precedes them."""
    host = re.escape(origin.encode())
    return re.compile(rb'(href\s*=\s*["\']?|"url"\s*:\s*")(?:' + host + rb")?/(?!/)", re.IGNORECASE)


async def _send_all(
    send: Send, status: int, headers: list[Header], chunks: AsyncIterator[bytes]
) -> None:
    is_begun = False
    async for chunk in chunks:
        if not is_begun:
            is_begun = True
            await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    if not is_begun:
        await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _joined(base: str, location: str) -> str:
    try:
        return urljoin(base, location)
    except ValueError:
        raise SourceFailed("the package index sends to what is no address") from None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or "@" in parts.netloc:
        raise SourceFailed("the package index sends to what is no address")
    return f"{parts.scheme}://{parts.netloc}"


def _auth(address: Address, secret: str) -> tuple[str, str] | None:
    return (address.username, secret) if address.username or secret else None
