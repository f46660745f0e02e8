"""Algorithms, builds and versions: rows in, values out."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    LargeBinary,
    Select,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.algorithms import Algorithm, Build, BuildStatus, Version
from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.errors import (
    AlgorithmNotFound,
    AlreadyExists,
    NotFound,
    PathNotFound,
)
from algorium_server.domain.versions import SemanticVersion
from algorium_server.store import changes, files
from algorium_server.store.columns import is_storable, name_key, of_row, row_of
from algorium_server.store.tables.algorithms import algorithms as algorithm_table
from algorium_server.store.tables.algorithms import builds as build_table
from algorium_server.store.tables.algorithms import version_documents as document_table
from algorium_server.store.tables.algorithms import versions as version_table
from algorium_server.store.tables.files import collections as collection_table
from algorium_server.store.upserts import insert_unless_taken

_FIXED: Final = frozenset({"algorithm_id", "owner_id", "name", "created_at"})
_VERSION_FIELDS: Final = frozenset(
    field.name for field in fields(Version) if field.name != "semantic_version"
)
_BUILD_FIXED: Final = frozenset({"build_id", "algorithm_id", "commit_sha", "started_at"})


async def add_algorithm(connection: AsyncConnection, algorithm: Algorithm) -> None:
    """
    Add an algorithm.

    Raises:
        AlreadyExists: Its owner has one of that name, in whatever case.
    """
    await changes.note(connection, ChangeKind.ALGORITHM, algorithm.algorithm_id)
    row = row_of(algorithm) | {"name_key": name_key(algorithm.name)}
    if not await insert_unless_taken(connection, algorithm_table, row):
        raise AlreadyExists(f"an algorithm {algorithm.name!r} of this owner exists already")


async def algorithms(
    connection: AsyncConnection, *, ids: Collection[str] | None = None
) -> list[Algorithm]:
    """Return algorithms, by owner and name: all, or those of *ids* that exist."""
    table = algorithm_table
    statement = select(table)
    if ids is not None:
        statement = statement.where(table.c.algorithm_id.in_(ids))
    result = await connection.execute(statement.order_by(table.c.owner_id, table.c.name_key))
    return [of_row(Algorithm, row) for row in result.mappings()]


async def algorithms_of(connection: AsyncConnection, owner_id: str) -> list[Algorithm]:
    """Return the algorithms of an account, by name."""
    table = algorithm_table
    statement = select(table).where(table.c.owner_id == owner_id).order_by(table.c.name_key)
    return [of_row(Algorithm, row) for row in await _all(connection, statement)]


async def update_algorithm(connection: AsyncConnection, algorithm: Algorithm) -> None:
    """
    Store the texts and settings of *algorithm*; its owner, name and age stay as they are.

    Raises:
        AlgorithmNotFound: There is none with its id.
    """
    await changes.note(connection, ChangeKind.ALGORITHM, algorithm.algorithm_id)
    values = {name: value for name, value in row_of(algorithm).items() if name not in _FIXED}
    result = await connection.execute(
        update(algorithm_table)
        .where(algorithm_table.c.algorithm_id == algorithm.algorithm_id)
        .values(values)
    )
    if result.rowcount == 0:
        raise AlgorithmNotFound


async def add_build(connection: AsyncConnection, build: Build) -> None:
    """Add a build, usually one that has just begun."""
    await changes.note(connection, ChangeKind.BUILD, build.build_id)
    await connection.execute(insert(build_table).values(row_of(build)))


async def update_build(connection: AsyncConnection, build: Build) -> None:
    """
    Store everything of *build* but its id, algorithm, commit and start.

    Raises:
        NotFound: There is no such build.
    """
    await changes.note(connection, ChangeKind.BUILD, build.build_id)
    values = {name: value for name, value in row_of(build).items() if name not in _BUILD_FIXED}
    result = await connection.execute(
        update(build_table).where(build_table.c.build_id == build.build_id).values(values)
    )
    if result.rowcount == 0:
        raise NotFound(f"there is no build {build.build_id}")


async def build_in_progress(
    connection: AsyncConnection, algorithm_id: str, commit_sha: str
) -> Build | None:
    """Return the oldest build of a commit that has not ended, without its log."""
    result = await connection.execute(
        _without_log()
        .where(
            build_table.c.algorithm_id == algorithm_id,
            build_table.c.commit_sha == commit_sha,
            build_table.c.status == BuildStatus.IN_PROGRESS,
            build_table.c.failure.is_(None),  # else it is being cancelled
        )
        .order_by(build_table.c.started_at, build_table.c.build_id)
        .limit(1)
    )
    row = result.mappings().first()
    return None if row is None else of_row(Build, row)


async def page_of_builds(
    connection: AsyncConnection,
    algorithm_id: str,
    *,
    limit: int,
    before: tuple[datetime, str] | None = None,
) -> list[Build]:
    """
    Return builds of an algorithm, newest first, without logs.

    Args:
        connection: Any.
        algorithm_id: Whose.
        limit: So many at most.
        before: Start and id of the last build of the page before.
    """
    table = build_table
    statement = _without_log().where(table.c.algorithm_id == algorithm_id)
    if before is not None:
        statement = statement.where(tuple_(table.c.started_at, table.c.build_id) < before)
    ordered = statement.order_by(table.c.started_at.desc(), table.c.build_id.desc())
    return [of_row(Build, row) for row in await _all(connection, ordered.limit(limit))]


async def builds(
    connection: AsyncConnection,
    *,
    algorithm_id: str | None = None,
    ids: Collection[str] | None = None,
) -> list[Build]:
    """
    Return builds, oldest first, with empty `log`s: all of them together may not fit in memory.

    Args:
        connection: Any.
        algorithm_id: Only this algorithm's; None for all.
        ids: Only those of these ids that exist; None for all.
    """
    statement = _without_log()
    if algorithm_id is not None:
        statement = statement.where(build_table.c.algorithm_id == algorithm_id)
    if ids is not None:
        statement = statement.where(build_table.c.build_id.in_(ids))
    return [
        of_row(Build, row)
        for row in await _all(
            connection, statement.order_by(build_table.c.started_at, build_table.c.build_id)
        )
    ]


async def build(
    connection: AsyncConnection, build_id: str, *, is_held: bool = False
) -> Build | None:
    """Return a build with its log; keep others from changing it until then if it is *held*."""
    if not is_storable(build_id):
        return None
    query = select(build_table).where(build_table.c.build_id == build_id)
    result = await connection.execute(query.with_for_update() if is_held else query)
    row = result.mappings().first()
    return None if row is None else of_row(Build, row)


async def part_of_log(
    connection: AsyncConnection, build_id: str, *, after_bytes: int, bytes_max: int
) -> bytes:
    """Return some of a build's log in UTF-8, empty behind its end and if there is no build."""
    if not is_storable(build_id):
        return b""
    column = type_coerce(build_table.c.log, LargeBinary())
    part = func.substr(column, after_bytes + 1, bytes_max, type_=LargeBinary())
    found: bytes | None = await connection.scalar(
        select(part).where(build_table.c.build_id == build_id)
    )
    return bytes(found or b"")


async def add_version(connection: AsyncConnection, version: Version) -> None:
    """
    Add a published version.

    Raises:
        AlreadyExists: The algorithm has that version already.
    """
    await changes.note(connection, ChangeKind.VERSION, version.version_id)
    row = row_of(version)
    semantic: SemanticVersion = row.pop("semantic_version")
    row |= {"major": semantic.major, "minor": semantic.minor, "revision": semantic.revision}
    if not await insert_unless_taken(connection, version_table, row):
        raise AlreadyExists(f"version {semantic} exists already")


async def versions(
    connection: AsyncConnection,
    *,
    algorithm_id: str | None = None,
    ids: Collection[str] | None = None,
) -> list[Version]:
    """
    Return published versions, by algorithm, lowest first.

    Args:
        connection: Any.
        algorithm_id: Only this algorithm's; None for all.
        ids: Only those of these ids that exist; None for all.
    """
    table = version_table
    statement = select(table)
    if algorithm_id is not None:
        statement = statement.where(table.c.algorithm_id == algorithm_id)
    if ids is not None:
        statement = statement.where(table.c.version_id.in_(ids))
    ordered = statement.order_by(
        table.c.algorithm_id, table.c.major, table.c.minor, table.c.revision
    )
    return [_version(row) for row in await _all(connection, ordered)]


async def add_document(
    connection: AsyncConnection, version_id: str, *, kind: str, content: str
) -> None:
    """Add what is told of a version, in the transaction that adds the version."""
    row = {"version_id": version_id, "kind": kind, "content": content}
    await connection.execute(insert(document_table).values(row))


async def document(connection: AsyncConnection, version_id: str, *, kind: str) -> str | None:
    """Return what is told of a version, None if it has no document of this kind."""
    table = document_table
    statement = select(table.c.content).where(
        table.c.version_id == version_id, table.c.kind == kind
    )
    found: str | None = await connection.scalar(statement)
    return found


async def hold_algorithm(connection: AsyncConnection, algorithm_id: str) -> None:
    """
    Let nobody else who holds the algorithm decide about it until this transaction ends.

    Raises:
        AlgorithmNotFound: It is gone.
    """
    table = algorithm_table
    found = await connection.scalar(
        select(table.c.algorithm_id)
        .where(table.c.algorithm_id == algorithm_id)
        .with_for_update(key_share=True)
    )
    if found is None:
        raise AlgorithmNotFound


async def delete_algorithm(connection: AsyncConnection, algorithm_id: str) -> None:
    """
    Delete an algorithm with its versions, builds and special collections; its files' blobs stay.

    Raises:
        AlgorithmNotFound: There is none.
    """
    await changes.note(connection, ChangeKind.ALGORITHM, algorithm_id)
    # One after the other, so that what their owners store is counted down.
    special = select(collection_table.c.collection_id).where(
        collection_table.c.algorithm_id == algorithm_id
    )
    ordered = special.order_by(collection_table.c.collection_id)
    for collection_id in (await connection.scalars(ordered)).all():
        with suppress(PathNotFound):
            await files.delete_collection(connection, collection_id)
    await connection.execute(
        delete(version_table).where(version_table.c.algorithm_id == algorithm_id)
    )
    result = await connection.execute(
        delete(algorithm_table).where(algorithm_table.c.algorithm_id == algorithm_id)
    )
    if result.rowcount == 0:
        raise AlgorithmNotFound


def _without_log() -> Select[Any]:
    columns = [column for column in build_table.c if column.name != "log"]
    return select(*columns, literal("", build_table.c.log.type).label("log"))


def _version(row: RowMapping) -> Version:
    semantic = SemanticVersion(row["major"], row["minor"], row["revision"])
    return Version(semantic_version=semantic, **{name: row[name] for name in _VERSION_FIELDS})


async def _all(connection: AsyncConnection, statement: Select[Any]) -> list[RowMapping]:
    return list((await connection.execute(statement)).mappings())
