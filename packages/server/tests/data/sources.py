"""
Every kind of source with something behind it, for tests.

| source    | what is behind it                                                |
|-----------|------------------------------------------------------------------|
| `hosted`  | rows in SQLite and files in a directory                          |
| `s3`      | an S3 server of others                                           |
| `gs`      | an emulator, with a front for the requests that it lacks         |
| `azure`   | the emulator of its makers                                       |
| `dropbox` | our own fake                                                     |
"""

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

import peers
from data_site import running_site
from fake_dropbox import running_dropbox
from peers import Peer

from algorium.wire.bodies import ReadAcl
from algorium.wire.uris import DataUri
from algorium_server.data.azure import AzureService
from algorium_server.data.connector import Connector, Path
from algorium_server.data.dropbox import Dropbox
from algorium_server.data.google import GoogleService
from algorium_server.data.objects import Objects
from algorium_server.data.refusals import Scrubber
from algorium_server.data.s3 import S3Service
from algorium_server.domain.connectors import ConnectorOptions
from algorium_server.domain.limits import LISTING_ENTRIES_MAX
from algorium_server.store.database import sqlite_url

NAMES = ("hosted", "s3", "gs", "azure", "dropbox")
ROOTS: Mapping[str, Path] = {"s3": ("bucket",), "gs": ("bucket",), "azure": (), "dropbox": ()}
STARTED = {
    "s3": peers.running_s3,
    "gs": peers.running_gs,
    "azure": peers.running_azure,
    "dropbox": running_dropbox,
}


@dataclass
class Place:
    """An empty directory of a source."""

    connector: Connector
    path: Path

    def at(self, *names: str) -> Path:
        return (*self.path, *names)


@dataclass
class Source:
    """A kind of source that runs."""

    name: str
    peer: Peer | None = None
    connector: Any = None
    site: Any = None
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    async def place(self) -> Place:
        name = f"place{next(self.numbers)}"
        if self.site is not None:
            jane = self.site.principal("jane")
            parent = DataUri(segments=(".my",))
            uri = await self.site.data.create_directory(
                jane, parent, name=name, acl=ReadAcl.PRIVATE
            )
            spot = await self.site.data.file_spot(jane, uri.child("file"))
            return Place(spot.connector, ())
        path = (*ROOTS[self.name], name)
        await self.connector.create_directory(path)
        return Place(self.connector, path)


@asynccontextmanager
async def running(name: str, directory: FilePath) -> AsyncIterator[Source]:
    """Run a source; the test is skipped where what it needs is missing."""
    async with AsyncExitStack() as stack:
        if name == "hosted":
            site = running_site(
                sqlite_url(directory / "algorium.db"), directory / "blobs", serves=False
            )
            yield Source(name, site=await stack.enter_async_context(site))
            return
        peer = stack.enter_context(STARTED[name](directory))
        connector = opened(name, peer)
        stack.push_async_callback(connector.close)
        yield Source(name, peer=peer, connector=connector)


def opened(name: str, peer: Peer, *, entries_max: int = LISTING_ENTRIES_MAX, **changed: str) -> Any:
    """Return a connector to a peer, maybe with shorter pages, or other credentials."""
    credentials = {**peer.credentials, **changed}
    options = ConnectorOptions(**peer.options)
    scrub = Scrubber((*peer.secrets, *changed.values()))
    match name:
        case "s3":
            return Objects(S3Service(credentials, options, scrub), entries_max=entries_max)
        case "gs":
            return Objects(GoogleService(credentials, options, scrub), entries_max=entries_max)
        case "azure":
            options = replace(options, endpoint=peer.endpoint)
            return Objects(AzureService(credentials, options, scrub), entries_max=entries_max)
        case _:
            return Dropbox(credentials, options, scrub)
