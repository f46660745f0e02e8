"""
The list of changes that gateways follow: what was written, never what it holds.

Whoever writes an account, membership, key, algorithm, build or version notes it in the same
transaction. Others read the list from where they stopped, and then the rows it names.

**Order.** Followers go by numbers and never look back, so a number must not become visible after
a higher one. On SQLite there is one writer at a time. On PostgreSQL numbers are given out before
the commit, so two transactions could become visible in the other order; noting therefore takes a
lock that is held until the commit, and numbers are given out under it. Writers note *before* they
write: all of them meet at this lock first, so none can hold rows that another one waits for.

**Length.** The newest few thousand are kept. Who asks for more has to read everything anew; so the
newest one always stays, to tell how far the numbers are.
"""

from typing import Final

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.changes import Change, ChangeKind
from algorium_server.store.columns import of_row
from algorium_server.store.tables.work import changes as table

_LOCK_KEY: Final = 0x616C6763
"""PostgreSQL's advisory locks are numbers; ours spells "algc"."""


async def note(connection: AsyncConnection, kind: ChangeKind, subject: str) -> None:
    """
    Note that a value is about to be written.

    Args:
        connection: Inside the transaction that writes it; until its end others wait here.
        kind: What it is.
        subject: Its id.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    await connection.execute(insert(table).values(kind=kind, subject=subject))


async def newest(connection: AsyncConnection) -> int:
    """Return the number of the newest change, 0 if there has been none."""
    return int(await connection.scalar(select(func.max(table.c.number))) or 0)


async def after(connection: AsyncConnection, number: int, *, limit: int) -> list[Change] | None:
    """
    Return what has changed after *number*, in order; None if that is more than is kept, or asked.

    Args:
        connection: Any.
        number: The newest change that is known already.
        limit: How many are asked for, at most.
    """
    result = await connection.execute(
        select(table).where(table.c.number > number).order_by(table.c.number).limit(limit + 1)
    )
    found = [of_row(Change, row) for row in result.mappings()]
    if len(found) > limit:
        return None
    if found and found[0].number > number + 1:  # a transaction rolled back, or we came too late
        oldest = int(await connection.scalar(select(func.min(table.c.number))) or 0)
        return None if oldest > number + 1 else found
    return found


async def prune(connection: AsyncConnection, *, keep: int) -> int:
    """Delete all but those among the newest *keep* numbers, 1 or more; return how many."""
    last = await newest(connection)
    result = await connection.execute(delete(table).where(table.c.number <= last - max(keep, 1)))
    return result.rowcount
