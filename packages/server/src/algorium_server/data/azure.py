"""
Azure's blob storage, by a shared access signature for one container.

obstore reads, writes and deletes blobs. It does not list directories a page at a time, and cannot
name keys that end in a slash; those requests are made here.

Source: Microsoft, "Blob service REST API": List Blobs, Put Blob, Delete Blob.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree.ElementTree import Element

from obstore.store import AzureStore

from algorium_server.data.connector import Entry
from algorium_server.data.levels import (
    Level,
    Store,
    hexadecimal,
    moment_of,
    size_of,
    texts,
    unquoted,
    xml_of,
)
from algorium_server.data.opening import client_options, retry_config
from algorium_server.data.refusals import Scrubber, failure
from algorium_server.data.requests import Answer, Requests
from algorium_server.data.signing import encoded, query_of
from algorium_server.domain.connectors import ConnectorOptions
from algorium_server.domain.limits import LISTING_ENTRIES_MAX

_VERSION: Final = "2021-12-02"
"""Of the protocol: old enough for every emulator, new enough for names with odd characters."""


class AzureService:
    """
    A container of Azure's; see `ObjectService`.

    Args:
        credentials: `sas_token` and `container_name`.
        options: How; the endpoint is that of the storage account.
        scrub: Knows the secrets among these.
    """

    protocol = "azureblob"
    has_buckets = False

    def __init__(
        self,
        credentials: Mapping[str, str],
        options: ConnectorOptions,
        scrub: Scrubber,
    ) -> None:
        self._base = options.endpoint.rstrip("/")
        self._container = credentials["container_name"]
        self._sas = dict(parse_qsl(credentials["sas_token"].lstrip("?")))
        self._options = options
        self._scrub = scrub
        self._requests = Requests("azureblob", scrub, ca_certificate=options.ca_certificate)

    async def store(self, _bucket: str) -> Store:
        """Return obstore's view of the container."""
        # Azure's own hosts have the account's name in front, an emulator has it in the path; with
        # a signature nothing depends on it.
        parts = urlsplit(self._base)
        account = parts.path.strip("/") or (parts.hostname or "").partition(".")[0]
        return AzureStore(
            self._container,
            account_name=account,
            endpoint=self._base,
            sas_key=query_of(self._sas),
            client_options=client_options(self._options),
            retry_config=retry_config(),
        )

    async def level(
        self, _bucket: str, prefix: str, *, token: str = "", limit: int = LISTING_ENTRIES_MAX
    ) -> Level:
        """List a level; see `ObjectService.level`."""
        parameters = {
            "restype": "container",
            "comp": "list",
            "delimiter": "/",
            "maxresults": str(limit),
            "prefix": prefix,
        }
        if token:
            parameters["marker"] = token
        answer = await self._send("GET", "", parameters)
        root = xml_of(self._requests.checked(answer).body, "azureblob", kind="EnumerationResults")
        return Level.below(
            prefix,
            map(_entry, root.iterfind("Blobs/Blob")),
            map(_name, root.iterfind("Blobs/BlobPrefix")),
            token=next(texts(root, "NextMarker"), ""),
        )

    async def buckets(self) -> list[str]:
        """There are none: the root is the container."""
        return []

    async def put_mark(self, _bucket: str, key: str) -> None:
        """Make a mark; see `ObjectService.put_mark`."""
        headers = {"x-ms-blob-type": "BlockBlob"}
        self._requests.checked(await self._send("PUT", key, {}, headers=headers))

    async def delete_mark(self, _bucket: str, key: str) -> None:
        """Delete a mark; see `ObjectService.delete_mark`."""
        answer = await self._send("DELETE", key, {})
        if answer.status != 404:
            self._requests.checked(answer)

    def etag_of(self, meta: Any) -> str:
        """Return a blob's ETag."""
        return unquoted(meta.get("e_tag"))

    def version_of(self, etag: str) -> dict[str, str]:
        """Return the version that has an ETag."""
        return {"e_tag": f'"{etag}"'}

    def reason(self, error: BaseException) -> Exception:
        """Return the error that stands for what obstore raised."""
        return failure("azureblob", error, self._scrub)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._requests.close()

    async def _send(
        self,
        method: str,
        key: str,
        parameters: Mapping[str, str],
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        path = f"{encoded(self._container)}/{encoded(key, keep='/')}".removesuffix("/")
        if key.endswith("/"):
            path = f"{path}/"
        url = f"{self._base}/{path}?{query_of({**parameters, **self._sas})}"
        return await self._requests.send(
            method, url, headers={"x-ms-version": _VERSION, **(headers or {})}
        )


def _name(found: Element) -> str:
    name = found.find("Name")
    if name is None:
        return ""
    text = name.text or ""
    return unquote(text) if name.get("Encoded") == "true" else text


def _entry(found: Element) -> Entry:
    properties = found.find("Properties")
    known = {each.tag: each.text or "" for each in (properties if properties is not None else ())}
    return Entry(
        name=_name(found),
        is_directory=False,
        size_bytes=size_of(known.get("Content-Length", "")),
        modified_at=moment_of(known.get("Last-Modified", "")),
        etag=unquoted(known.get("Etag")),
        md5=hexadecimal(known.get("Content-MD5", "")),
    )
