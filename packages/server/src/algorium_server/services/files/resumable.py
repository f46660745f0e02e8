"""
Resumable uploads: begun, fed part by part, looked at, finished or given up.

What has been acknowledged survives a crash: a part is on disk before its row says that it has
arrived, and forgotten before it is written anew. The row of the file and the note that the upload
is finished are one transaction, so finishing may be asked for again by a client that lost the
answer. Rights are checked at the beginning and at the end: between them nobody sees anything.

Only who began an upload knows of it: the same account, through the same algorithm if it was one.

Source: ours; the old service had nothing like it.
"""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from algorium.wire.uris import DataUri
from algorium_server.data.blobs import BlobStore
from algorium_server.data.parts import PartFiles
from algorium_server.data.room import within_room
from algorium_server.domain.access import Refused, may_use_data
from algorium_server.domain.conditions import UNCONDITIONAL, Preconditions
from algorium_server.domain.errors import (
    DigestMismatch,
    InvalidInput,
    NotAuthorized,
    NotFound,
    QuotaExceeded,
    TooLarge,
    TooManyRequests,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import (
    BLOB_GRACE_S,
    LISTING_ENTRIES_MAX,
    SWEEP_EVERY_S,
    UPLOAD_AGE_S,
    UPLOADS_PER_ACCOUNT_MAX,
)
from algorium_server.domain.storage import QuotaOf, StorageUse, check_quota, no_quota
from algorium_server.domain.uploads import (
    BegunUpload,
    UploadPart,
    UploadResult,
    part_bytes_for,
)
from algorium_server.services.files.data import DataService
from algorium_server.services.files.finishing import Finisher, check_unfinished
from algorium_server.services.files.spots import condition_at
from algorium_server.services.sweeping import keep_sweeping
from algorium_server.store import storage, uploads
from algorium_server.store.database import AsyncConnection, Database
from algorium_server.telemetry import logger

_log = logger(__name__)

_NOT_FOUND: Final = "upload not found"


class ResumableUploads:
    """
    What can be done with resumable uploads.

    Every method that takes an id raises `NotFound` unless the caller began that upload, and
    `NotAuthorized` if the caller's key may not write data.

    Args:
        database: Where rows are.
        blobs: Where the finished files of hosted data go.
        parts: Where unfinished files are.
        data: Finds places and checks rights.
        quota_of: Says what an account may store.
        clock: Tells the time.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        parts: PartFiles,
        data: DataService,
        *,
        quota_of: QuotaOf = no_quota,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._parts = parts
        self._data = data
        self._quota_of = quota_of
        self._clock = clock
        self._finisher = Finisher(database, blobs, parts, data, clock=clock)

    async def begin(
        self,
        principal: Principal,
        uri: DataUri,
        *,
        size_bytes: int | None = None,
        part_bytes: int | None = None,
        preconditions: Preconditions = UNCONDITIONAL,
    ) -> BegunUpload:
        """
        Begin an upload.

        Args:
            principal: Who stores.
            uri: Where the file is to be.
            size_bytes: How long it will be, if that is known.
            part_bytes: How long its parts are to be; by default it is decided here.
            preconditions: What the caller demands of the file that is there; judged now, and again
                at the end.

        Raises:
            InvalidInput: There can be no file at this place, or no parts of this length.
            NotAuthorized: The caller may not write there.
            TooLarge: The file is longer than is accepted.
            ConditionFailed: *preconditions* do not hold.
            QuotaExceeded: The account may not store so much.
            TooManyRequests: The account has too many unfinished uploads.
        """
        spot = await self._data.file_spot(principal, uri)
        self._data.check_size(size_bytes or 0)
        condition = await condition_at(spot, preconditions)
        now = self._clock()
        upload = BegunUpload(
            upload_id=uuid4().hex,
            account_id=principal.account.account_id,
            algorithm_id=_algorithm_of(principal),
            owner_id=spot.owner_id or principal.account.account_id,
            uri=str(spot.uri),
            demand=condition,
            size_bytes=size_bytes,
            part_bytes=part_bytes_for(size_bytes, part_bytes),
            created_at=now,
            expires_at=now + timedelta(seconds=UPLOAD_AGE_S),
        )
        async with self._database.reading() as connection:
            if (
                await uploads.count_uploads(connection, upload.account_id)
                >= UPLOADS_PER_ACCOUNT_MAX
            ):
                raise TooManyRequests(
                    f"{UPLOADS_PER_ACCOUNT_MAX} uploads are unfinished",
                    hint="Finish or delete some: GET /v1/uploads lists them.",
                )
            await self._room(connection, upload, size_bytes or 0, number=0)
        await self._parts.create(upload.upload_id)
        async with self._database.transaction() as connection:
            await uploads.add_upload(connection, upload)
        return upload

    async def put_part(
        self,
        principal: Principal,
        upload_id: str,
        number: int,
        chunks: AsyncIterator[bytes],
        *,
        size_bytes: int | None = None,
    ) -> UploadPart:
        """
        Take in a part, or take it in anew.

        Args:
            principal: Who stores.
            upload_id: Which upload.
            number: Which part, from 1.
            chunks: Its bytes; not asked for before it is clear that they are wanted.
            size_bytes: How many bytes, if that is known.

        Raises:
            InvalidInput: There is no such part, or it is too short.
            TooLarge: It is too long.
            AlreadyExists: Another request is writing the part, or the upload is finished.
            QuotaExceeded: The account may not store so much.
        """
        upload = await self._of(principal, upload_id)
        if upload.result is not None:
            raise InvalidInput("the upload is finished")
        start, least_bytes, most_bytes = upload.place_of(number)
        _check_length(least_bytes, most_bytes, size_bytes)
        async with self._database.reading() as connection:
            room_bytes = await self._room(connection, upload, size_bytes or 0, number=number)
        if room_bytes is not None:
            chunks = within_room(
                self._database,
                self._quota_of(upload.owner_id),
                chunks,
                owner_id=upload.owner_id,
                room_bytes=room_bytes,
            )
        arriving = self._parts.arriving(upload.upload_id, start=start, size_bytes=most_bytes)
        async with arriving as file:
            async with self._database.transaction() as connection:
                await check_unfinished(connection, upload)
                await uploads.delete_part(connection, upload.upload_id, number)
            md5 = await file.write(_bounded(chunks, most_bytes))
            if file.size_bytes < least_bytes:
                await file.forget()
                raise InvalidInput(f"part {number} has {least_bytes} bytes, not {file.size_bytes}")
            part = UploadPart(
                upload_id=upload.upload_id, number=number, size_bytes=file.size_bytes, md5=md5
            )
            try:
                async with self._database.transaction() as connection:
                    await check_unfinished(connection, upload)
                    await self._room(connection, upload, part.size_bytes, number=number)
                    await uploads.put_part(connection, part)
            except QuotaExceeded:  # after most other errors it may be recorded all the same
                await file.forget()
                raise
        return part

    async def look_at(
        self, principal: Principal, upload_id: str
    ) -> tuple[BegunUpload, list[UploadPart]]:
        """Return an upload and the parts that have arrived."""
        upload = await self._of(principal, upload_id)
        async with self._database.reading() as connection:
            return upload, await uploads.parts_of(connection, upload.upload_id)

    async def begun(self, principal: Principal) -> list[BegunUpload]:
        """Return what the caller has begun and not finished, oldest first."""
        _require_writing(principal)
        async with self._database.reading() as connection:
            return await uploads.uploads_of(
                connection,
                account_id=principal.account.account_id,
                algorithm_id=_algorithm_of(principal),
            )

    async def complete(
        self, principal: Principal, upload_id: str, *, parts_count: int, md5: str = ""
    ) -> UploadResult:
        """
        Make a file of the parts; may be repeated, with the same result.

        Args:
            principal: Who stores.
            upload_id: Which upload.
            parts_count: How many parts the file has.
            md5: What the MD5 of all bytes must be, hexadecimal; empty for anything.

        Raises:
            InvalidInput: Parts are missing, or have the wrong length.
            DigestMismatch: The bytes have another MD5.
            NotAuthorized: The caller may not write there any more.
            ConditionFailed: What was demanded at the beginning does not hold any more.
            QuotaExceeded: The account may not store so much.
            AlreadyExists: Parts are arriving just now.
        """
        upload = await self._of(principal, upload_id)
        result = upload.result
        if result is None:
            try:
                result = await self._finisher.finish(
                    principal, upload, parts_count=parts_count, md5=md5
                )
            except NotFound:
                result = (await self._of(principal, upload_id)).result
                if result is None:  # else another gateway was asked, and went for the file first
                    raise
        if md5 and md5 != result.md5:
            raise DigestMismatch("the md5 of what arrived is another one")
        return result

    async def abort(self, principal: Principal, upload_id: str) -> None:
        """Give an upload up, or forget what became of it."""
        upload = await self._of(principal, upload_id)
        async with self._database.transaction() as connection:
            await uploads.delete_upload(connection, upload.upload_id)
        await self._parts.remove(upload.upload_id)

    async def keep_swept(self, *, every_s: float = SWEEP_EVERY_S) -> None:
        """Give up what has expired, now and then every so often, until cancelled."""
        await keep_sweeping(lambda: self.sweep(self._clock()), what="uploads", every_s=every_s)

    async def sweep(self, now: datetime) -> None:
        """Give up uploads whose time is over, and files that a crash has left without an upload."""
        while True:
            async with self._database.transaction() as connection:
                expired = await uploads.expired_uploads(
                    connection, now=now, limit=LISTING_ENTRIES_MAX
                )
                for upload_id in expired:
                    await uploads.delete_upload(connection, upload_id)
            await self._parts.remove(*expired)
            if len(expired) < LISTING_ENTRIES_MAX:
                break
        async with self._database.reading() as connection:
            live = await uploads.unfinished_ids(connection)
        await self._parts.sweep(live, before=now - timedelta(seconds=BLOB_GRACE_S))

    async def _of(self, principal: Principal, upload_id: str) -> BegunUpload:
        _require_writing(principal)
        async with self._database.reading() as connection:
            upload = await uploads.upload(connection, upload_id)
        if (
            upload is None
            or upload.account_id != principal.account.account_id
            or upload.algorithm_id != _algorithm_of(principal)
            or upload.expires_at <= self._clock()
        ):
            raise NotFound(_NOT_FOUND)
        return upload

    async def _room(
        self, connection: AsyncConnection, upload: BegunUpload, size_bytes: int, *, number: int
    ) -> int | None:
        """
        Return for how many bytes the account's quota has room, None if nothing limits them.

        Parts that wait count as stored.

        Args:
            connection: Any.
            upload: Whose bytes they are.
            size_bytes: How many there are at least.
            number: The part that they are; if it is there already, it will not be any more.

        Raises:
            QuotaExceeded: There is no room for so many.
        """
        quota = self._quota_of(upload.owner_id)
        if quota.bytes_max is None:
            return None
        used = await storage.use_of(connection, upload.owner_id)
        used += StorageUse(
            bytes=await uploads.bytes_of_parts(
                connection, upload.owner_id, upload_id=upload.upload_id, but_number=number
            )
        )
        check_quota(quota, used, StorageUse(bytes=size_bytes))
        return max(quota.bytes_max - used.bytes, 0)


def _algorithm_of(principal: Principal) -> str:
    return principal.acting.algorithm_id if principal.acting is not None else ""


def _require_writing(principal: Principal) -> None:
    verdict = may_use_data(principal, for_writing=True)
    if isinstance(verdict, Refused):
        raise NotAuthorized(detail=verdict.reason)


def _check_length(least_bytes: int, most_bytes: int, size_bytes: int | None) -> None:
    if size_bytes is None:
        return
    if size_bytes > most_bytes:
        raise TooLarge(f"this part has at most {most_bytes} bytes, not {size_bytes}")
    if size_bytes < least_bytes:
        raise InvalidInput(f"this part has {least_bytes} bytes, not {size_bytes}")


async def _bounded(chunks: AsyncIterator[bytes], most_bytes: int) -> AsyncIterator[bytes]:
    size_bytes = 0
    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > most_bytes:
            raise TooLarge(f"this part has at most {most_bytes} bytes")
        yield chunk
