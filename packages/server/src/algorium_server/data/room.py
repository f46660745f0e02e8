"""
Room: how much more an account may store, asked before its bytes arrive and while they do.

What counts in the end is checked again in the transaction that makes a file visible; this only
spares everybody the bytes that would be refused then.
"""

from collections.abc import AsyncIterator

from algorium_server.domain.collections import Collection, File
from algorium_server.domain.storage import NO_QUOTA, Quota, StorageUse, check_quota
from algorium_server.store import files, storage, uploads
from algorium_server.store.database import AsyncConnection, Database


async def room_for(
    database: Database, quota: Quota, *, collection: Collection, name: str, size_bytes: int
) -> int | None:
    """
    Return how long a new file may be, None if nothing limits it.

    Args:
        database: Where use is counted.
        quota: Of the collection's owner.
        collection: Where the file is to be.
        name: Of the file; what it replaces counts no more.
        size_bytes: How long it will be at least.

    Raises:
        QuotaExceeded: There is no room for that, or there may be no further file.
    """
    if quota == NO_QUOTA:
        return None
    async with database.reading() as connection:
        used = await _used(connection, collection.owner_id)
        there = await files.file(connection, collection_id=collection.collection_id, name=name)
    freed_bytes = there.size_bytes if there else 0
    more = StorageUse(bytes=size_bytes - freed_bytes, files=0 if there else 1)
    check_quota(quota, used, more)
    if quota.bytes_max is None:
        return None
    return max(quota.bytes_max - used.bytes, 0) + freed_bytes


async def within_room(
    database: Database,
    quota: Quota,
    chunks: AsyncIterator[bytes],
    *,
    owner_id: str,
    room_bytes: int,
) -> AsyncIterator[bytes]:
    """
    Yield *chunks* as long as there is room for them.

    Whoever does not say how much will come must not fill the disk before it is refused.

    Raises:
        QuotaExceeded: More came than there was room for, and there is no more room now.
    """
    size_bytes = 0
    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > room_bytes:
            async with database.reading() as connection:
                used = await _used(connection, owner_id)
            check_quota(quota, used, StorageUse(bytes=size_bytes))
        yield chunk


async def check_move(
    connection: AsyncConnection,
    quota: Quota,
    *,
    source: Collection,
    goal: Collection,
    moved: File,
    overwritten: File | None,
) -> None:
    """
    Lock what is counted for the two owners, and refuse a move for which the new one has no room.

    Args:
        connection: Inside the transaction of the move.
        quota: Of the new owner.
        source: Where the file is.
        goal: Where it is to be.
        moved: The file.
        overwritten: What it replaces.

    Raises:
        QuotaExceeded: It has none.
    """
    counted = await storage.locked_use(connection, {source.owner_id, goal.owner_id})
    if quota == NO_QUOTA or source.owner_id == goal.owner_id:
        return
    arriving = await uploads.bytes_of_parts(connection, goal.owner_id)
    more = StorageUse(bytes=moved.size_bytes, files=1)
    if overwritten is not None:
        more += StorageUse(bytes=-overwritten.size_bytes, files=-1)
    check_quota(quota, counted[goal.owner_id] + StorageUse(bytes=arriving), more)


async def _used(connection: AsyncConnection, owner_id: str) -> StorageUse:
    used = await storage.use_of(connection, owner_id)
    return used + StorageUse(bytes=await uploads.bytes_of_parts(connection, owner_id))
