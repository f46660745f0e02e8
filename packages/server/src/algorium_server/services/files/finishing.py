"""
The end of a resumable upload: its parts become a file.

The file is read once for its checksums. For hosted data it then becomes a blob as it is, and the
row that points to it and the note that the upload is finished are one transaction; to other sources
it is sent, and the note follows.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from algorium.wire.uris import DataUri
from algorium_server.data.blobs import BlobMissing, BlobStore, StoredBlob
from algorium_server.data.checksums import Digests
from algorium_server.data.connector import Entry
from algorium_server.data.hosted import HostedCollection
from algorium_server.data.parts import PartFiles, WholeFile
from algorium_server.domain.errors import DigestMismatch, InvalidInput, NotFound
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import UPLOAD_FINISHED_AGE_S
from algorium_server.domain.uploads import BegunUpload, UploadResult
from algorium_server.services.files.data import DataService
from algorium_server.services.files.spots import Spot
from algorium_server.store import uploads
from algorium_server.store.database import AsyncConnection, Database


class Finisher:
    """
    Finishes uploads.

    Args:
        database: Where rows are.
        blobs: Where the finished files of hosted data go.
        parts: Where unfinished files are.
        data: Finds places and checks rights.
        clock: Tells the time.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        parts: PartFiles,
        data: DataService,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._parts = parts
        self._data = data
        self._clock = clock
        self._completing: dict[str, asyncio.Future[UploadResult]] = {}

    async def finish(
        self, principal: Principal, upload: BegunUpload, *, parts_count: int, md5: str
    ) -> UploadResult:
        """
        Make the file, and note that the upload is finished; see `ResumableUploads.complete`.

        Raises:
            NotFound: There are no parts any more: it is finished already, or was given up.
        """
        # It takes a while, and a client that has lost its connection meanwhile asks again: it then
        # waits for what is under way.
        under_way = self._completing.get(upload.upload_id)
        if under_way is None:
            work = self._complete(principal, upload, parts_count=parts_count, md5=md5)
            under_way = self._completing[upload.upload_id] = asyncio.ensure_future(work)
            under_way.add_done_callback(partial(self._forget, upload.upload_id))
        return await asyncio.shield(under_way)

    def _forget(self, upload_id: str, completed: asyncio.Future[UploadResult]) -> None:
        del self._completing[upload_id]
        if not completed.cancelled():
            completed.exception()  # looked at, even if nobody waits for it any more

    async def _complete(
        self, principal: Principal, upload: BegunUpload, *, parts_count: int, md5: str
    ) -> UploadResult:
        spot = await self._data.file_spot(principal, DataUri.parse(upload.uri))
        async with self._parts.whole(upload.upload_id) as file:
            async with self._database.reading() as connection:
                parts = await uploads.parts_of(connection, upload.upload_id)
            size_bytes = upload.size_of(parts, count=parts_count)
            self._data.check_size(size_bytes)
            digests = await file.finish(size_bytes)
            if md5 and md5 != digests.md5:
                raise DigestMismatch("the md5 of what arrived is another one")
            if isinstance(spot.connector, HostedCollection):
                result = await self._adopt(upload, spot, file, size_bytes, digests)
            else:
                result = await self._pass_on(upload, spot, file, size_bytes, digests)
            await self._parts.remove(upload.upload_id)
        return result

    async def _adopt(
        self,
        upload: BegunUpload,
        spot: Spot,
        file: WholeFile,
        size_bytes: int,
        digests: Digests,
    ) -> UploadResult:
        """Make the file itself a blob, and finish the upload with the row that points to it."""
        result: UploadResult | None = None

        async def within(connection: AsyncConnection, entry: Entry) -> None:
            nonlocal result
            result = await self._note(connection, upload, entry, size_bytes, digests.md5)

        try:
            key = await self._blobs.adopt(file.path)
        except BlobMissing as error:
            raise NotFound("upload not found") from error
        blob = StoredBlob(
            key=key, size_bytes=size_bytes, md5=digests.md5, checksum=digests.checksum
        )
        assert isinstance(spot.connector, HostedCollection), "looked at before"
        await spot.connector.place(spot.path[0], blob, condition=upload.demand, within=within)
        assert result is not None, "set within the transaction"
        return result

    async def _pass_on(
        self,
        upload: BegunUpload,
        spot: Spot,
        file: WholeFile,
        size_bytes: int,
        digests: Digests,
    ) -> UploadResult:
        """Send the file to where it belongs, and finish the upload when it is there."""
        entry = await spot.connector.write(
            spot.path,
            file.chunks(size_bytes),
            condition=upload.demand,
            size_bytes=size_bytes,
        )
        async with self._database.transaction() as connection:
            return await self._note(connection, upload, entry, size_bytes, digests.md5)

    async def _note(
        self,
        connection: AsyncConnection,
        upload: BegunUpload,
        entry: Entry,
        size_bytes: int,
        md5: str,
    ) -> UploadResult:
        await check_unfinished(connection, upload)
        result = UploadResult(uri=upload.uri, etag=entry.etag, md5=md5, size_bytes=size_bytes)
        expires_at = self._clock() + timedelta(seconds=UPLOAD_FINISHED_AGE_S)
        await uploads.finish_upload(
            connection, upload.upload_id, result=result, expires_at=expires_at
        )
        return result


async def check_unfinished(connection: AsyncConnection, upload: BegunUpload) -> None:
    """
    Go on only with an upload that nobody finishes, or gives up, until the transaction ends.

    Raises:
        NotFound: It was given up.
        InvalidInput: It is finished.
    """
    found = await uploads.upload(connection, upload.upload_id, is_locked=True)
    if found is None:
        raise NotFound("upload not found")
    if found.result is not None:
        raise InvalidInput("the upload is finished")
