"""Files and directories by data URI for `asyncio`: twin of `_data.py` and `_directories.py`."""

import json
import os
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

from algorium import _data_flow
from algorium._content import AsyncContent, async_body
from algorium._copies import copy
from algorium._data import as_acl, as_place, as_uri, download_wish, part_of
from algorium._downloads import download
from algorium._file_headers import Condition, FileStat
from algorium._mirror import MirrorWish, SyncReport, mirror
from algorium._progress import Meter, ProgressCallback, counted_async
from algorium._readers import AsyncFileReader, AsyncOpening
from algorium._steps import PARALLEL_DEFAULT, AsyncDriver
from algorium._transport import AsyncTransport
from algorium._trees import Place
from algorium._uploads import UploadWish, put_bytes, put_pieces, upload
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
        return await self._transport.run(_data_flow.exists(self.uri, "file"))

    async def stat(self) -> FileStat:
        """Ask for size, time, entity tag and digest of the file, as `DataFile.stat`."""
        return (await self._transport.run(_data_flow.stat(self.uri)))[0]

    async def put(
        self,
        content: AsyncContent,
        *,
        if_match: str = "",
        create_only: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> FileStat:
        """Write the file, as `DataFile.put`; *content* may also be an async iterable of bytes."""
        condition = Condition(if_match=if_match, create_only=create_only)
        body, body_bytes = async_body(content)
        meter = Meter(on_progress)
        if isinstance(body, bytes):
            wish = UploadWish(condition=condition, meter=meter)
            return await self._driver(PARALLEL_DEFAULT).run(put_bytes(body, self.uri, wish))
        if body_bytes is not None:
            meter.expect(body_bytes)
        pieces = counted_async(body, meter)
        return await self._transport.run(put_pieces(self.uri, pieces, body_bytes, condition, meter))

    async def put_file(
        self,
        path: str | os.PathLike[str],
        *,
        if_match: str = "",
        create_only: bool = False,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
        resume: bool = True,
    ) -> FileStat:
        """Write the file from a local one, read in threads, as `DataFile.put_file`."""
        wish = UploadWish(
            condition=Condition(if_match=if_match, create_only=create_only),
            resume=resume,
            meter=Meter(on_progress),
        )
        return await self._driver(parallel).run(upload(Path(path), self.uri, wish))

    def get(
        self, *, start: int = 0, end: int | None = None, if_match: str = "", verify: bool = True
    ) -> AsyncOpening:
        """
        Open the file, as `DataFile.get`.

        Either `async with file.get() as reader` or `reader = await file.get()`.
        """
        part = part_of(start, end)

        async def opened() -> AsyncFileReader:
            response = await self._transport.run(
                _data_flow.get(self.uri, is_streamed=True, part=part, if_match=if_match)
            )
            return AsyncFileReader(response, part=part, verify=verify)

        return AsyncOpening(opened)

    async def get_file(
        self,
        path: str | os.PathLike[str],
        *,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
        verify: bool = True,
    ) -> Path:
        """Download the file, written in threads, as `DataFile.get_file`."""
        wish = download_wish(self._transport, on_progress, verify=verify)
        return (await self._driver(parallel).run(download(self.uri, Path(path), wish)))[0]

    async def read(self, *, start: int = 0, end: int | None = None, verify: bool = True) -> bytes:
        """Return the whole file, or a part of it, as `DataFile.read`."""
        return await self._transport.run(
            _data_flow.read(self.uri, verify=verify, part=part_of(start, end))
        )

    async def read_text(self, encoding: str = "utf-8") -> str:
        """Return the whole file as text, as `DataFile.read_text`."""
        return (await self.read()).decode(encoding)

    async def read_json(self) -> Any:
        """Return the whole file as JSON, as `DataFile.read_json`."""
        return json.loads(await self.read())

    async def copy(
        self,
        to: "AsyncDataFile | DataUri | str",
        *,
        if_match: str = "",
        create_only: bool = False,
    ) -> "AsyncDataFile":
        """Copy the file to another place on the server, as `DataFile.copy`."""
        condition = Condition(if_match=if_match, create_only=create_only)
        return await self._copy(to, condition, is_move=False)

    async def move(
        self,
        to: "AsyncDataFile | DataUri | str",
        *,
        if_match: str = "",
        create_only: bool = False,
    ) -> "AsyncDataFile":
        """Move the file to another place on the server, as `DataFile.move`."""
        condition = Condition(if_match=if_match, create_only=create_only)
        return await self._copy(to, condition, is_move=True)

    async def _copy(
        self, to: "AsyncDataFile | DataUri | str", condition: Condition, *, is_move: bool
    ) -> "AsyncDataFile":
        target = as_uri(to)
        await self._driver(1).run(copy(self.uri, target, condition=condition, is_move=is_move))
        return AsyncDataFile(self._transport, target)

    async def delete(self, *, if_match: str = "") -> None:
        """Delete the file, as `DataFile.delete`."""
        await self._transport.run(_data_flow.delete(self.uri, if_match=if_match))

    def _driver(self, parallel: int) -> AsyncDriver:
        return AsyncDriver(self._transport, width=parallel)


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
        return await self._transport.run(_data_flow.exists(self.uri, "directory"))

    async def create(self, acl: DataAcl | ReadAcl | None = None, *, exist_ok: bool = False) -> None:
        """Create the directory, as `DataDirectory.create`."""
        wanted = None if acl is None else as_acl(acl)
        await self._transport.run(_data_flow.create(self.uri, wanted, exist_ok=exist_ok))

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
        markers = _data_flow.Markers(self.uri)
        page = await self._transport.run(_data_flow.page(self.uri, ""))
        yield page
        while marker := markers.after(page):
            page = await self._transport.run(_data_flow.page(self.uri, marker))
            yield page

    async def acl(self) -> DataAcl | None:
        """Return who may read, as `DataDirectory.acl`."""
        return await self._transport.run(_data_flow.acl(self.uri))

    async def set_acl(self, acl: DataAcl | ReadAcl) -> None:
        """Change who may read, as `DataDirectory.set_acl`."""
        await self._transport.run(_data_flow.set_acl(self.uri, as_acl(acl)))

    async def upload_dir(
        self,
        path: str | os.PathLike[str],
        *,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
    ) -> SyncReport:
        """Upload everything in a local directory into this one, as `DataDirectory.upload_dir`."""
        wish = MirrorWish(skip_same=False, download=download_wish(self._transport, on_progress))
        return await self._mirror(Path(path), self.uri, wish, parallel)

    async def download_dir(
        self,
        path: str | os.PathLike[str],
        *,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
        verify: bool = True,
    ) -> SyncReport:
        """Download everything into a local directory, as `DataDirectory.download_dir`."""
        wish = MirrorWish(
            skip_same=False,
            download=download_wish(self._transport, on_progress, verify=verify),
        )
        return await self._mirror(self.uri, Path(path), wish, parallel)

    async def sync_from(
        self,
        path: "str | os.PathLike[str] | AsyncDataDirectory | DataUri",
        *,
        delete: bool = False,
        checksum: bool = False,
        dry_run: bool = False,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
    ) -> SyncReport:
        """Make this directory like another, as `DataDirectory.sync_from`."""
        wish = MirrorWish(
            delete=delete,
            checksum=checksum,
            dry_run=dry_run,
            download=download_wish(self._transport, on_progress),
        )
        return await self._mirror(as_place(path), self.uri, wish, parallel)

    async def sync_to(
        self,
        path: str | os.PathLike[str],
        *,
        delete: bool = False,
        checksum: bool = False,
        dry_run: bool = False,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
    ) -> SyncReport:
        """Make a local directory like this one, as `DataDirectory.sync_to`."""
        wish = MirrorWish(
            delete=delete,
            checksum=checksum,
            dry_run=dry_run,
            download=download_wish(self._transport, on_progress),
        )
        return await self._mirror(self.uri, Path(path), wish, parallel)

    async def copy(
        self,
        to: "AsyncDataDirectory | DataUri | str",
        *,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
    ) -> SyncReport:
        """Copy everything in here to another directory, as `DataDirectory.copy`."""
        wish = MirrorWish(skip_same=False, download=download_wish(self._transport, on_progress))
        return await self._mirror(self.uri, as_uri(to), wish, parallel)

    async def move(
        self,
        to: "AsyncDataDirectory | DataUri | str",
        *,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
    ) -> SyncReport:
        """Move everything in here to another directory, as `DataDirectory.move`."""
        wish = MirrorWish(
            skip_same=False, moves=True, download=download_wish(self._transport, on_progress)
        )
        return await self._mirror(self.uri, as_uri(to), wish, parallel)

    async def _mirror(
        self, source: Place, target: Place, wish: MirrorWish, parallel: int
    ) -> SyncReport:
        driver = AsyncDriver(self._transport, width=parallel)
        return await driver.run(mirror(source, target, wish))

    async def delete(self, *, force: bool = False) -> int:
        """Delete the directory, as `DataDirectory.delete`."""
        return await self._transport.run(_data_flow.delete(self.uri, force=force))
