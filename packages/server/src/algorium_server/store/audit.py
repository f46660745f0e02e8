"""
The audit log: entries written at the end of the transaction that they are about, and read.

**Order.** Entries are numbered without gaps, and each holds the digest of the one before it, so
writers must take turns. They meet at the row of the head, on both databases; it is locked as the
very last thing in a transaction, when nothing is left to wait for. So nobody waits there for
long, and nobody waits in a circle. Until then entries are kept with the connection: `leave` puts
them there, and `Database` calls `settle` right before it commits. A transaction that is rolled
back leaves none.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, RowMapping, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.audit import AuditAction, AuditEntry, AuditFilter
from algorium_server.domain.audit_chain import (
    ChainedEntry,
    ChainHead,
    ChainKeys,
    append,
    sealed_head,
)
from algorium_server.store.columns import is_storable, of_row, row_of
from algorium_server.store.tables.audit import audit_entries as entries
from algorium_server.store.tables.audit import audit_head as head
from algorium_server.store.tables.audit import key_addresses as addresses
from algorium_server.store.upserts import insert_unless_taken, upsert

_LEFT: Final = "algorium_audit_entries"
"""Where a connection has the entries that its transaction is going to write."""
_HEAD_ID: Final = 1
"""Of the one row of the head."""


def leave(connection: AsyncConnection, entry: AuditEntry) -> None:
    """
    Have *entry* written at the end of the transaction.

    Args:
        connection: Inside a transaction that writes.
        entry: What is going to have happened then.
    """
    plain = connection.sync_connection
    if plain is None:
        raise RuntimeError("the connection is not open")
    left = plain.get_execution_options().get(_LEFT)
    if left is None:
        left = []
        plain.execution_options(**{_LEFT: left})
    left.append(entry)


async def settle(connection: AsyncConnection, keys: ChainKeys) -> None:
    """Write what was left for the end of the transaction; nothing may follow but the commit."""
    plain = connection.sync_connection
    left = plain.get_execution_options().get(_LEFT) if plain is not None else None
    if not left:
        return
    was = known = await _head(connection, locks=True)
    rows = []
    for entry in left:
        chained = append(known, entry, keys)
        rows.append(_row(chained))
        known = replace(known, number=chained.number, digest=chained.digest)
    left.clear()
    await connection.execute(insert(entries), rows)
    new = row_of(sealed_head(chained, keys, was=was))
    await upsert(connection, head, {"head_id": _HEAD_ID, **new})


async def newest(connection: AsyncConnection) -> ChainHead:
    """Return how far the chain goes."""
    return await _head(connection, locks=False)


async def in_order(
    connection: AsyncConnection, wanted: AuditFilter, *, after: int, until: int, limit: int
) -> list[ChainedEntry]:
    """
    Return at most *limit* entries that are *wanted*, oldest first.

    Args:
        connection: Any.
        wanted: Which ones.
        after: The number that they come behind.
        until: The last number that may be among them.
        limit: How many.
    """
    result = await connection.execute(
        select(entries)
        .where(*_conditions(wanted), entries.c.number > after, entries.c.number <= until)
        .order_by(entries.c.number)
        .limit(limit)
    )
    return [_chained(row) for row in result.mappings()]


async def last_number(connection: AsyncConnection) -> int:
    """Return the highest number that there is, whatever the head says; 0 if there is none."""
    return int(await connection.scalar(select(func.max(entries.c.number))) or 0)


async def newest_entry(
    connection: AsyncConnection, action: AuditAction | None = None
) -> ChainedEntry | None:
    """Return the newest entry, or the newest one of an action, whatever the head says."""
    query = select(entries).order_by(entries.c.number.desc()).limit(1)
    if action is not None:
        query = query.where(entries.c.action == action)
    row = (await connection.execute(query)).mappings().first()
    return _chained(row) if row is not None else None


async def has_entry_of(
    connection: AsyncConnection, chain_keys: Collection[str], *, before: int
) -> bool:
    """Return whether one of these keys has written something before that number."""
    query = (
        select(entries.c.number)
        .where(entries.c.chain_key.in_(chain_keys), entries.c.number < before)
        .limit(1)
    )
    return (await connection.execute(query)).first() is not None


async def page(
    connection: AsyncConnection, wanted: AuditFilter, *, before: int | None, limit: int
) -> list[ChainedEntry]:
    """Return at most *limit* entries that are *wanted*, newest first, from below *before*."""
    query = select(entries).where(*_conditions(wanted))
    if before is not None:
        query = query.where(entries.c.number < before)
    result = await connection.execute(query.order_by(entries.c.number.desc()).limit(limit))
    return [_chained(row) for row in result.mappings()]


async def note_address(
    connection: AsyncConnection, key_id: str, address: str, *, now: datetime, keep: int
) -> bool:
    """
    Note from where a key was used; return whether it is new.

    Args:
        connection: Inside a transaction that writes; the key exists.
        key_id: Of the key.
        address: From where.
        now: When.
        keep: How many addresses of one key are kept; those not used for longest go.
    """
    row = {"key_id": key_id, "address": address, "first_used_at": now, "last_used_at": now}
    is_new = await insert_unless_taken(connection, addresses, row)
    mine = addresses.c.key_id == key_id
    if not is_new:
        await connection.execute(
            update(addresses).where(mine, addresses.c.address == address).values(last_used_at=now)
        )
        return False
    kept = (
        select(addresses.c.address)
        .where(mine)
        .order_by(addresses.c.last_used_at.desc(), addresses.c.address)
        .limit(keep)
    )
    await connection.execute(delete(addresses).where(mine, addresses.c.address.not_in(kept)))
    return True


async def addresses_of(connection: AsyncConnection, key_id: str) -> list[str]:
    """Return from where a key was used, the newest use first."""
    result = await connection.scalars(
        select(addresses.c.address)
        .where(addresses.c.key_id == key_id)
        .order_by(addresses.c.last_used_at.desc(), addresses.c.address)
    )
    return list(result)


def _conditions(wanted: AuditFilter) -> Iterable[ColumnElement[bool]]:
    if wanted.account_id:
        yield entries.c.account_id == wanted.account_id
    if wanted.person_id:
        yield or_(
            entries.c.account_id == wanted.person_id,
            entries.c.actor_id == wanted.person_id,
            entries.c.behalf_id == wanted.person_id,
        )
    if wanted.actor:
        name = wanted.actor
        yield (
            or_(entries.c.actor_id == name.lower(), func.lower(entries.c.actor) == name.lower())
            if is_storable(name)
            else entries.c.number < 0
        )
    if wanted.action:
        yield _starts_with(wanted.action)
    if wanted.target:
        yield (
            entries.c.target == wanted.target
            if is_storable(wanted.target)
            else entries.c.number < 0
        )
    if wanted.outcome is not None:
        yield entries.c.outcome == wanted.outcome
    if wanted.since is not None:
        yield entries.c.at >= wanted.since
    if wanted.until is not None:
        yield entries.c.at < wanted.until


def _starts_with(text: str) -> ColumnElement[bool]:
    if not is_storable(text):
        return entries.c.number < 0
    # A range, not a pattern: an index serves it, and nothing in it has another meaning.
    return (entries.c.action >= text) & (entries.c.action < text + "\U0010ffff")


async def _head(connection: AsyncConnection, *, locks: bool) -> ChainHead:
    query = select(head).with_for_update() if locks else select(head)
    row = (await connection.execute(query)).mappings().first()
    if row is not None:
        known = of_row(ChainHead, row)
        return replace(known, digest=bytes(known.digest), seal=bytes(known.seal))
    # Somebody has deleted it. Work goes on behind the newest entry, and the missing seal tells.
    query = select(entries).order_by(entries.c.number.desc()).limit(1)
    last = (await connection.execute(query)).mappings().first()
    if last is None:
        return ChainHead()
    return ChainHead(number=last["number"], digest=bytes(last["digest"]))


def _row(chained: ChainedEntry) -> dict[str, object]:
    entry = chained.entry
    return {
        **row_of(entry),
        "detail": json.dumps(dict(entry.detail), ensure_ascii=True, sort_keys=True),
        "number": chained.number,
        "chain_key": chained.chain_key,
        "digest": chained.digest,
    }


def _chained(row: RowMapping) -> ChainedEntry:
    values = {**row, "detail": json.loads(row["detail"])}
    return ChainedEntry(
        number=row["number"],
        entry=of_row(AuditEntry, values),  # type: ignore[arg-type]  # a mapping by name is enough
        chain_key=row["chain_key"],
        digest=bytes(row["digest"]),
    )
