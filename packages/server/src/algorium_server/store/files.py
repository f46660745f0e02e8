"""
Collections and files: rows in, values out.

Blobs are named here and kept elsewhere. Whoever replaces or deletes a row gets the blob keys that
nothing points at any more, and deletes those blobs after the commit.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from typing import Final

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium.wire.bodies import ReadAcl
from algorium_server.domain.collections import IN_ROW_PREFIX, Collection, CollectionKind, File
from algorium_server.domain.errors import AlreadyExists, InternalError, PathNotFound
from algorium_server.domain.limits import LISTING_ENTRIES_MAX
from algorium_server.domain.storage import StorageUse
from algorium_server.store import storage
from algorium_server.store.columns import is_storable, name_key, of_row, row_of
from algorium_server.store.tables.files import collections as collection_table
from algorium_server.store.tables.files import files as file_table
from algorium_server.store.upserts import insert_unless_taken

_COLUMNS: Final = [column for column in file_table.columns if column.name != "content"]
"""What a `File` has: the bytes of small files are read only where they are asked for."""
_PUT_ATTEMPTS_MAX: Final = 10
"""Each further attempt needs somebody else to create and delete the same file in between."""


async def add_collection(connection: AsyncConnection, collection: Collection) -> None:
    """
    Add a collection of any kind.

    Raises:
        AlreadyExists: The owner has that one, names compared without regard to case.
    """
    row = row_of(collection) | {"name_key": name_key(collection.name)}
    if not await insert_unless_taken(connection, collection_table, row):
        raise AlreadyExists("directory already exists")


async def collection(connection: AsyncConnection, *, owner_id: str, name: str) -> Collection | None:
    """Return an account's collection by its name, in whatever case."""
    return await special_collection(
        connection, kind=CollectionKind.ACCOUNT, owner_id=owner_id, algorithm_id="", name=name
    )


async def special_collection(
    connection: AsyncConnection,
    *,
    kind: CollectionKind,
    owner_id: str,
    algorithm_id: str,
    name: str,
) -> Collection | None:
    """
    Return a collection of any kind.

    Args:
        connection: Any.
        kind: Which kind.
        owner_id: Whose data it is.
        algorithm_id: For `TEMP` and `PERM`, else empty.
        name: See `Collection.name`.
    """
    if not is_storable(name):
        return None
    table = collection_table
    of_algorithm = (
        table.c.algorithm_id == algorithm_id if algorithm_id else table.c.algorithm_id.is_(None)
    )
    found = await _collections(
        connection,
        select(table).where(
            table.c.owner_id == owner_id,
            table.c.kind == kind,
            of_algorithm,
            table.c.name_key == name_key(name),
        ),
    )
    return found[0] if found else None


async def collections_of(connection: AsyncConnection, owner_id: str) -> list[Collection]:
    """Return an account's own collections, by name, without regard to case."""
    table = collection_table
    return await _collections(
        connection,
        select(table)
        .where(
            table.c.owner_id == owner_id,
            table.c.kind == CollectionKind.ACCOUNT,
            table.c.algorithm_id.is_(None),
        )
        .order_by(table.c.name_key),
    )


async def all_collections_of(connection: AsyncConnection, owner_id: str) -> list[Collection]:
    """Return all collections with data of an account, those of algorithms and sessions as well."""
    table = collection_table
    return await _collections(
        connection,
        select(table).where(table.c.owner_id == owner_id).order_by(table.c.collection_id),
    )


async def ensure_special_collection(
    connection: AsyncConnection, collection: Collection
) -> Collection | None:
    """
    Return a special collection as it is, which gets its row if it has none.

    Returns:
        The collection with the id that it has; None if somebody else deletes it just now.
    """
    with suppress(AlreadyExists):  # by another first upload
        await add_collection(connection, collection)
    return await special_collection(
        connection,
        kind=collection.kind,
        owner_id=collection.owner_id,
        algorithm_id=collection.algorithm_id,
        name=collection.name,
    )


async def special_collections_before(
    connection: AsyncConnection, *, kind: CollectionKind, created_before: datetime
) -> list[Collection]:
    """Return collections of one kind that are older than a time, oldest first."""
    table = collection_table
    return await _collections(
        connection,
        select(table)
        .where(table.c.kind == kind, table.c.created_at < created_before)
        .order_by(table.c.created_at, table.c.collection_id),
    )


async def set_acl(connection: AsyncConnection, *, collection_id: str, acl: ReadAcl) -> None:
    """
    Change who may read a collection.

    Raises:
        PathNotFound: There is no such collection.
    """
    table = collection_table
    result = await connection.execute(
        update(table).where(table.c.collection_id == collection_id).values(acl=acl)
    )
    if result.rowcount == 0:
        raise PathNotFound


async def lock_collection(connection: AsyncConnection, collection_id: str) -> bool:
    """
    Keep others from adding files or deleting the collection until the transaction ends.

    Between this and the end "is it empty?" has one answer. Returns whether there is one.
    """
    table = collection_table
    statement = select(table.c.collection_id).where(table.c.collection_id == collection_id)
    return (await connection.execute(statement.with_for_update())).first() is not None


async def count_files(connection: AsyncConnection, collection_id: str) -> int:
    """Return how many files a collection holds."""
    table = file_table
    statement = select(func.count()).where(table.c.collection_id == collection_id)
    return int(await connection.scalar(statement.select_from(table)) or 0)


async def delete_collection(connection: AsyncConnection, collection_id: str) -> list[str]:
    """
    Delete a collection with all its files; return the keys of their blobs.

    Raises:
        PathNotFound: There is no such collection.
    """
    if not await lock_collection(connection, collection_id):
        raise PathNotFound
    deleted = await connection.execute(
        delete(file_table)
        .where(file_table.c.collection_id == collection_id)
        .returning(file_table.c.blob, file_table.c.size_bytes)
    )
    rows = deleted.all()
    gone = StorageUse(bytes=-sum(row.size_bytes for row in rows), files=-len(rows))
    await storage.count_change(connection, collection_id=collection_id, more=gone)
    await connection.execute(
        delete(collection_table).where(collection_table.c.collection_id == collection_id)
    )
    return [row.blob for row in rows]


async def file(connection: AsyncConnection, *, collection_id: str, name: str) -> File | None:
    """Return a file by its exact name."""
    if not is_storable(name):
        return None
    table = file_table
    result = await connection.execute(
        select(*_COLUMNS).where(table.c.collection_id == collection_id, table.c.name == name)
    )
    row = result.mappings().first()
    return None if row is None else of_row(File, row)


async def file_with_content(
    connection: AsyncConnection, *, collection_id: str, name: str
) -> tuple[File, bytes | None] | None:
    """Return a file by its exact name, with its bytes if they are in its row."""
    if not is_storable(name):
        return None
    table = file_table
    result = await connection.execute(
        select(table).where(table.c.collection_id == collection_id, table.c.name == name)
    )
    row = result.mappings().first()
    return None if row is None else (of_row(File, row), row["content"])


async def put_file(
    connection: AsyncConnection, file: File, *, content: bytes | None = None
) -> str | None:
    """
    Add a file, or replace the one of its name; return the replaced one's blob key.

    Args:
        connection: Any.
        file: The new one.
        content: Its bytes, unless a blob has them.

    Raises:
        PathNotFound: The collection is gone; the transaction must be given up.
    """
    table = file_table
    same = (table.c.collection_id == file.collection_id) & (table.c.name == file.name)
    row = row_of(file) | {"content": content}
    for _ in range(_PUT_ATTEMPTS_MAX):
        statement = select(table.c.blob, table.c.size_bytes).where(same).with_for_update()
        replaced = (await connection.execute(statement)).first()
        if replaced is not None:
            await connection.execute(update(table).where(same).values(row))
            more = StorageUse(bytes=file.size_bytes - replaced.size_bytes, files=0)
            await storage.count_change(connection, collection_id=file.collection_id, more=more)
            return str(replaced.blob)
        try:
            is_new = await insert_unless_taken(connection, table, row)
        except IntegrityError as error:
            raise PathNotFound from error
        if is_new:
            more = StorageUse(bytes=file.size_bytes, files=1)
            await storage.count_change(connection, collection_id=file.collection_id, more=more)
            return None
        # On PostgreSQL somebody has committed the same name just now: it is to be replaced.
    raise InternalError(detail=f"file {file.name!r} changes faster than it can be replaced")


async def move_file(connection: AsyncConnection, moved: File, *, overwritten: File | None) -> None:
    """
    Give a file another place; both places, and their collections, have been locked.

    Args:
        connection: Any.
        moved: As it is to be; its id finds it.
        overwritten: What is at its new place.

    Raises:
        AlreadyExists: Somebody has just created it; the transaction must be given up.
    """
    table = file_table
    if overwritten is not None:
        await delete_file(
            connection, collection_id=overwritten.collection_id, name=overwritten.name
        )
    this = table.c.file_id == moved.file_id
    source = await connection.scalar(select(table.c.collection_id).where(this))
    try:
        await connection.execute(update(table).where(this).values(row_of(moved)))
    except IntegrityError as error:
        raise AlreadyExists from error
    if source is not None and source != moved.collection_id:
        more = StorageUse(bytes=moved.size_bytes, files=1)
        gone = StorageUse(bytes=-moved.size_bytes, files=-1)
        await storage.count_change(connection, collection_id=source, more=gone)
        await storage.count_change(connection, collection_id=moved.collection_id, more=more)


async def delete_file(connection: AsyncConnection, *, collection_id: str, name: str) -> str | None:
    """Delete a file; return its blob key, None if there was none."""
    if not is_storable(name):
        return None
    table = file_table
    deleted = await connection.execute(
        delete(table)
        .where(table.c.collection_id == collection_id, table.c.name == name)
        .returning(table.c.blob, table.c.size_bytes)
    )
    row = deleted.first()
    if row is None:
        return None
    gone = StorageUse(bytes=-row.size_bytes, files=-1)
    await storage.count_change(connection, collection_id=collection_id, more=gone)
    return str(row.blob)


async def lock_file(connection: AsyncConnection, *, collection_id: str, name: str) -> File | None:
    """Return a file by its exact name; nobody else changes it until the transaction ends."""
    if not is_storable(name):
        return None
    table = file_table
    result = await connection.execute(
        select(*_COLUMNS)
        .where(table.c.collection_id == collection_id, table.c.name == name)
        .with_for_update()
    )
    row = result.mappings().first()
    return None if row is None else of_row(File, row)


async def files_of(
    connection: AsyncConnection, *, collection_id: str, after: str, limit: int
) -> list[File]:
    """
    Return one page of a collection's files, in the byte order of their names.

    Args:
        connection: Any.
        collection_id: Which collection.
        after: Name the page begins after; empty for the first page. Need not exist.
        limit: How many at most.
    """
    table = file_table
    result = await connection.execute(
        select(*_COLUMNS)
        .where(table.c.collection_id == collection_id, table.c.name > _storable_start(after))
        .order_by(table.c.name)
        .limit(limit)
    )
    return [of_row(File, row) for row in result.mappings()]


async def blob_keys(connection: AsyncConnection) -> AsyncIterator[str]:
    """Yield the key of every blob that files have, in no particular order, a page at a time."""
    table = file_table
    after = ""
    while True:
        page = await connection.execute(
            select(table.c.file_id, table.c.blob)
            .where(table.c.file_id > after, ~table.c.blob.startswith(IN_ROW_PREFIX))
            .order_by(table.c.file_id)
            .limit(LISTING_ENTRIES_MAX)
        )
        rows = page.all()
        for _, blob in rows:
            yield blob
        if len(rows) < LISTING_ENTRIES_MAX:
            return
        after = rows[-1].file_id


def _storable_start(name: str) -> str:
    """
    Cut *name* before the first character that no stored name has.

    A NUL sorts before everything, so what follows the cut name follows the whole one as well.
    """
    for index, character in enumerate(name):
        if not is_storable(character):
            return name[:index]
    return name


async def _collections(
    connection: AsyncConnection, statement: Select[tuple[object, ...]]
) -> list[Collection]:
    result = await connection.execute(statement)
    return [of_row(Collection, row) for row in result.mappings()]
