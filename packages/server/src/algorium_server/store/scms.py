"""
Source hosting elsewhere: hosts, connections, links, what was begun, what has come in.

Hosts and links are kept in memory by every gateway, so each write of them is noted as a change.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.errors import ScmConflict, ScmInUse, ScmNotFound
from algorium_server.domain.jobs import JobState
from algorium_server.domain.scms import OAuthState, Scm, ScmConnection, ScmLink
from algorium_server.store import changes
from algorium_server.store.columns import is_storable, of_row, row_of
from algorium_server.store.tables.algorithms import algorithms as algorithm_table
from algorium_server.store.tables.algorithms import builds as build_table
from algorium_server.store.tables.scms import scm_connections as connection_table
from algorium_server.store.tables.scms import scm_links as link_table
from algorium_server.store.tables.scms import scm_states as state_table
from algorium_server.store.tables.scms import scms as table
from algorium_server.store.tables.scms import webhook_deliveries as delivery_table
from algorium_server.store.tables.work import jobs as job_table
from algorium_server.store.upserts import insert_each_unless_taken, insert_unless_taken, upsert

_SCM_FIXED: Final = frozenset({"scm_id", "is_default", "created_at"})
_LINK_FIXED: Final = frozenset({"algorithm_id", "scm_id", "created_at"})


async def add_scm(connection: AsyncConnection, scm: Scm) -> None:
    """
    Add a host.

    Raises:
        ScmConflict: There is one with its id.
    """
    await changes.note(connection, ChangeKind.SCM, scm.scm_id)
    if not await insert_unless_taken(connection, table, row_of(scm)):
        raise ScmConflict(f"there is a source host {scm.scm_id!r} already")


async def update_scm(connection: AsyncConnection, scm: Scm) -> None:
    """
    Store everything of a host but its id, its age, and its default, which `set_default` decides.

    Raises:
        ScmNotFound: There is none with its id.
    """
    await changes.note(connection, ChangeKind.SCM, scm.scm_id)
    values = {k: v for k, v in row_of(scm).items() if k not in _SCM_FIXED}
    result = await connection.execute(
        update(table).where(table.c.scm_id == scm.scm_id).values(values)
    )
    if result.rowcount == 0:
        raise ScmNotFound


async def set_default(connection: AsyncConnection, scm_id: str) -> None:
    """Make a host the default one; an empty id makes none of these the default."""
    await changes.note(connection, ChangeKind.SCM, scm_id)
    await connection.execute(update(table).where(table.c.is_default).values(is_default=False))
    if scm_id:
        await connection.execute(
            update(table).where(table.c.scm_id == scm_id).values(is_default=True)
        )


async def remove_scm(connection: AsyncConnection, scm_id: str) -> None:
    """
    Remove a host, with the connections to it.

    Raises:
        ScmInUse: Algorithms have their source there.
    """
    await changes.note(connection, ChangeKind.SCM, scm_id)
    uses = select(func.count()).select_from(algorithm_table)
    if await connection.scalar(uses.where(algorithm_table.c.scm_id == scm_id)):
        raise ScmInUse("algorithms have their source at this host: delete them first")
    try:
        await connection.execute(delete(table).where(table.c.scm_id == scm_id))
    except IntegrityError as error:  # a link whose algorithm is being made or was deleted just now
        raise ScmInUse("an algorithm is being linked to this host; try again later") from error


async def scm(connection: AsyncConnection, scm_id: str) -> Scm | None:
    """Return a host, and keep others from changing it until the transaction ends."""
    if not is_storable(scm_id):
        return None
    result = await connection.execute(
        select(table).where(table.c.scm_id == scm_id).with_for_update()
    )
    row = result.mappings().first()
    return None if row is None else of_row(Scm, row)


async def scms(connection: AsyncConnection) -> list[Scm]:
    """Return all hosts, oldest first."""
    result = await connection.execute(select(table).order_by(table.c.created_at, table.c.scm_id))
    return [of_row(Scm, row) for row in result.mappings()]


async def put_connection(connection: AsyncConnection, made: ScmConnection) -> None:
    """
    Store what an account has given us for a host, instead of what it gave before.

    Raises:
        ScmNotFound: The host is gone meanwhile.
    """
    try:
        await upsert(connection, connection_table, row_of(made))
    except IntegrityError as error:
        raise ScmNotFound from error


async def replace_connection(
    connection: AsyncConnection, made: ScmConnection, *, revision: str
) -> bool:
    """Store what became of a connection, if it still is what it was; return whether it was."""
    values = {k: v for k, v in row_of(made).items() if k not in {"account_id", "scm_id"}}
    result = await connection.execute(
        update(connection_table)
        .where(*_is_between(made.account_id, made.scm_id), connection_table.c.revision == revision)
        .values(values)
    )
    return result.rowcount == 1


async def connection_of(
    connection: AsyncConnection, *, account_id: str, scm_id: str
) -> ScmConnection | None:
    """Return what an account has given us for a host."""
    result = await connection.execute(
        select(connection_table).where(*_is_between(account_id, scm_id))
    )
    row = result.mappings().first()
    return None if row is None else of_row(ScmConnection, row)


async def remove_connection(connection: AsyncConnection, *, account_id: str, scm_id: str) -> bool:
    """Forget what an account has given us for a host; return whether there was something."""
    result = await connection.execute(
        delete(connection_table).where(*_is_between(account_id, scm_id))
    )
    return result.rowcount > 0


async def add_link(connection: AsyncConnection, link: ScmLink) -> None:
    """
    Tie an algorithm to its repository; the algorithm's own row may come later.

    Raises:
        ScmNotFound: The host is gone meanwhile.
    """
    await changes.note(connection, ChangeKind.SCM, link.algorithm_id)
    try:
        await connection.execute(insert(link_table).values(row_of(link)))
    except IntegrityError as error:
        raise ScmNotFound from error


async def update_link(connection: AsyncConnection, algorithm_id: str, **values: Any) -> bool:
    """Change some of what is known of a repository; return whether there is such a link."""
    assert not _LINK_FIXED & values.keys()
    await changes.note(connection, ChangeKind.SCM, algorithm_id)
    result = await connection.execute(
        update(link_table).where(link_table.c.algorithm_id == algorithm_id).values(values)
    )
    return result.rowcount == 1


async def remove_link(connection: AsyncConnection, algorithm_id: str) -> None:
    """Untie an algorithm from its repository."""
    await changes.note(connection, ChangeKind.SCM, algorithm_id)
    await connection.execute(delete(link_table).where(link_table.c.algorithm_id == algorithm_id))


async def link(connection: AsyncConnection, algorithm_id: str) -> ScmLink | None:
    """Return the link of an algorithm."""
    result = await connection.execute(
        select(link_table).where(link_table.c.algorithm_id == algorithm_id)
    )
    row = result.mappings().first()
    return None if row is None else of_row(ScmLink, row)


async def links(connection: AsyncConnection) -> list[ScmLink]:
    """Return all links."""
    result = await connection.execute(select(link_table))
    return [of_row(ScmLink, row) for row in result.mappings()]


async def lonely_links(connection: AsyncConnection, *, created_before: datetime) -> list[ScmLink]:
    """Return links without an algorithm, but those that are as new as an algorithm being made."""
    has_algorithm = exists().where(algorithm_table.c.algorithm_id == link_table.c.algorithm_id)
    result = await connection.execute(
        select(link_table).where(~has_algorithm, link_table.c.created_at < created_before)
    )
    return [of_row(ScmLink, row) for row in result.mappings()]


async def add_state(connection: AsyncConnection, state: OAuthState, *, limit: int) -> None:
    """Note that a connection was begun; of one account, only the newest *limit* are kept."""
    mine = (
        select(state_table.c.digest)
        .where(state_table.c.account_id == state.account_id)
        .order_by(state_table.c.expires_at.desc(), state_table.c.digest)
        .offset(limit - 1)
    )
    too_many = (await connection.scalars(mine)).all()
    await connection.execute(delete(state_table).where(state_table.c.digest.in_(too_many)))
    await connection.execute(insert(state_table).values(row_of(state)))


async def state(connection: AsyncConnection, digest: str) -> OAuthState | None:
    """Return what was begun under a state."""
    result = await connection.execute(select(state_table).where(state_table.c.digest == digest))
    row = result.mappings().first()
    return None if row is None else of_row(OAuthState, row)


async def take_state(connection: AsyncConnection, digest: str) -> bool:
    """Use up what was begun; return whether nobody else has."""
    result = await connection.execute(delete(state_table).where(state_table.c.digest == digest))
    return result.rowcount == 1


async def is_first_delivery(
    connection: AsyncConnection, algorithm_id: str, keys: Sequence[str], *, now: datetime
) -> bool:
    """Note that a message has come; return whether none of its keys had come before."""
    rows = [{"algorithm_id": algorithm_id, "delivery": key, "received_at": now} for key in keys]
    return await insert_each_unless_taken(connection, delivery_table, rows) == len(rows)


async def prune(
    connection: AsyncConnection, *, received_before: datetime, expired_before: datetime
) -> None:
    """Forget old messages, and connections that were begun and not finished."""
    await connection.execute(
        delete(delivery_table).where(delivery_table.c.received_at < received_before)
    )
    await connection.execute(delete(state_table).where(state_table.c.expires_at < expired_before))


async def hasten(connection: AsyncConnection, queue: str, *, now: datetime) -> bool:
    """
    Let a job of a queue that waits for its turn have it now; return whether there is one.

    One that has begun does not count: it may be past the point where it would see what is new.
    """
    result = await connection.execute(
        update(job_table)
        .where(job_table.c.queue == queue, job_table.c.state == JobState.QUEUED)
        .values(due_at=now)
    )
    return result.rowcount > 0


async def has_build(connection: AsyncConnection, algorithm_id: str, commit_sha: str) -> bool:
    """Whether a commit was built, or is being built, whatever came of it."""
    found = select(func.count()).where(
        build_table.c.algorithm_id == algorithm_id, build_table.c.commit_sha == commit_sha
    )
    return bool(await connection.scalar(found.select_from(build_table)))


def _is_between(account_id: str, scm_id: str) -> Collection[Any]:
    columns = connection_table.c
    return (columns.account_id == account_id, columns.scm_id == scm_id)
