"""Algorithms, builds and versions: rows in, values out."""

from collections.abc import Collection
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import Select, insert, literal, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.algorithms import Algorithm, Build, Version
from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.errors import AlgorithmNotFound, AlreadyExists, NotFound
from algorium_server.domain.versions import SemanticVersion
from algorium_server.store import changes
from algorium_server.store.schema import algorithms as algorithm_table
from algorium_server.store.schema import builds as build_table
from algorium_server.store.schema import is_storable, name_key, of_row, row_of
from algorium_server.store.schema import versions as version_table
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


async def finish_build(connection: AsyncConnection, build: Build) -> None:
    """
    Store how *build* ended: everything but its id, algorithm, commit and start.

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
    without_log = [column for column in build_table.c if column.name != "log"]
    statement = select(*without_log, literal("", build_table.c.log.type).label("log"))
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


async def build(connection: AsyncConnection, build_id: str) -> Build | None:
    """Return a build with its log."""
    if not is_storable(build_id):
        return None
    result = await connection.execute(select(build_table).where(build_table.c.build_id == build_id))
    row = result.mappings().first()
    return None if row is None else of_row(Build, row)


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


def _version(row: RowMapping) -> Version:
    semantic = SemanticVersion(row["major"], row["minor"], row["revision"])
    return Version(semantic_version=semantic, **{name: row[name] for name in _VERSION_FIELDS})


async def _all(connection: AsyncConnection, statement: Select[Any]) -> list[RowMapping]:
    return list((await connection.execute(statement)).mappings())
