"""Files and directories by data URI, for `asyncio`: the twin of `_data.py`."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

from algorium import _flow
from algorium._content import AsyncContent, async_body
from algorium._data import as_acl
from algorium._downloads import Download
from algorium._readers import AsyncFileReader, AsyncOpening
from algorium._transport import AsyncTransport
from algorium.wire.bodies import DataAcl, Listing, ReadAcl
from algorium.wire.uris import DataUri


class AsyncDataFile:
    """A file by its data URI; see `DataFile`."""

    __slots__ = ("_transport", "modified_at", "size_bytes", "uri")

    def __init__(
        self,
        transport: AsyncTransport,
        uri: DataUri,
        *,
        size_bytes: int | None = None,
        modified_at: datetime | None = None,
    ) -> None:
        self._transport = transport
        self.uri = uri
        self.size_bytes = size_bytes
        self.modified_at = modified_at

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.uri}>"

    def __str__(self) -> str:
        return str(self.uri)

    @property
    def name(self) -> str:
        """The last part of the URI."""
        return self.uri.name

    async def exists(self) -> bool:
        """Tell whether there is a file here, as `DataFile.exists`."""
        return await self._transport.run(_flow.exists(self.uri, "file"))

    async def put(self, content: AsyncContent) -> None:
        """Write the file, as `DataFile.put`; *content* may also be an async iterable of bytes."""
        body, body_bytes = async_body(content)
        await self._transport.run(_flow.put(self.uri, body, body_bytes))

    async def put_file(self, path: str | os.PathLike[str]) -> None:
        """Write the file from a local one, read in a thread, as `DataFile.put_file`."""
        with await asyncio.to_thread(Path(path).open, "rb") as file:
            await self.put(file)

    def get(self) -> AsyncOpening:
        """Open the file: `async with file.get() as reader` or `reader = await file.get()`."""
        return AsyncOpening(self._open)

    async def _open(self) -> AsyncFileReader:
        return AsyncFileReader(await self._transport.run(_flow.get(self.uri, is_streamed=True)))

    async def get_file(self, path: str | os.PathLike[str]) -> Path:
        """Download the file, written in a thread, as `DataFile.get_file`."""
        async with self.get() as reader:
            with Download(path, name=self.name) as download:
                async for piece in reader.chunks():
                    await asyncio.to_thread(download.write, piece)
        return download.path

    async def read(self) -> bytes:
        """Return the whole file."""
        return (await self._transport.run(_flow.get(self.uri, is_streamed=False))).body

    async def read_text(self, encoding: str = "utf-8") -> str:
        """Return the whole file as text, as `DataFile.read_text`."""
        return (await self.read()).decode(encoding)

    async def read_json(self) -> Any:
        """Return the whole file as JSON, as `DataFile.read_json`."""
        return json.loads(await self.read())

    async def delete(self) -> None:
        """Delete the file, as `DataFile.delete`."""
        await self._transport.run(_flow.delete(self.uri))


class AsyncDataDirectory:
    """A directory by its data URI; see `DataDirectory`."""

    __slots__ = ("_transport", "uri")

    def __init__(self, transport: AsyncTransport, uri: DataUri) -> None:
        self._transport = transport
        self.uri = uri

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.uri}>"

    def __str__(self) -> str:
        return str(self.uri)

    @property
    def name(self) -> str:
        """The last part of the URI, empty at the root."""
        return self.uri.name

    def file(self, name: str) -> AsyncDataFile:
        """Return the file called *name* in here."""
        return AsyncDataFile(self._transport, self.uri.child(name))

    def dir(self, name: str) -> "AsyncDataDirectory":
        """Return the directory called *name* in here."""
        return AsyncDataDirectory(self._transport, self.uri.child(name))

    async def exists(self) -> bool:
        """Tell whether there is a directory here, as `DataDirectory.exists`."""
        return await self._transport.run(_flow.exists(self.uri, "directory"))

    async def create(self, acl: DataAcl | ReadAcl | None = None, *, exist_ok: bool = False) -> None:
        """Create the directory, as `DataDirectory.create`."""
        wanted = None if acl is None else as_acl(acl)
        await self._transport.run(_flow.create(self.uri, wanted, exist_ok=exist_ok))

    async def list(self) -> AsyncIterator["AsyncDataFile | AsyncDataDirectory"]:
        """Go through directories and files in here, as `DataDirectory.list`."""
        async for page in self._pages():
            for folder in page.folders:
                yield self.dir(folder)
            for entry in page.files:
                yield AsyncDataFile(
                    self._transport,
                    self.uri.child(entry.filename),
                    size_bytes=entry.size,
                    modified_at=entry.last_modified,
                )

    async def files(self) -> AsyncIterator[AsyncDataFile]:
        """Go through the files in here."""
        async for entry in self.list():
            if isinstance(entry, AsyncDataFile):
                yield entry

    async def dirs(self) -> AsyncIterator["AsyncDataDirectory"]:
        """Go through the directories in here."""
        async for entry in self.list():
            if isinstance(entry, AsyncDataDirectory):
                yield entry

    async def _pages(self) -> AsyncIterator[Listing]:
        page = await self._transport.run(_flow.page(self.uri, ""))
        yield page
        while page.marker:
            page = await self._transport.run(_flow.page(self.uri, page.marker))
            yield page

    async def acl(self) -> DataAcl | None:
        """Return who may read, as `DataDirectory.acl`."""
        return await self._transport.run(_flow.acl(self.uri))

    async def set_acl(self, acl: DataAcl | ReadAcl) -> None:
        """Change who may read, as `DataDirectory.set_acl`."""
        await self._transport.run(_flow.set_acl(self.uri, as_acl(acl)))

    async def delete(self, *, force: bool = False) -> int:
        """Delete the directory, as `DataDirectory.delete`."""
        return await self._transport.run(_flow.delete(self.uri, force=force))
