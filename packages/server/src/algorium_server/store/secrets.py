"""
Secrets, their providers, and when slots are to be renewed: rows in, values out.

Values of secrets come and go sealed. Whatever changes what slots have is noted as a change, in the
same transaction: other gateways then renew theirs.
"""

from collections.abc import Collection
from typing import Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.errors import SecretNotDeleted
from algorium_server.domain.secrets import INTERNAL_PROVIDER_ID, SecretProvider, StoredSecret
from algorium_server.store import changes
from algorium_server.store.columns import is_storable, of_row, row_of
from algorium_server.store.tables.algorithms import algorithms as algorithm_table
from algorium_server.store.tables.algorithms import slot_renewals as renewal_table
from algorium_server.store.tables.secrets import secret_providers as provider_table
from algorium_server.store.tables.secrets import secrets as table
from algorium_server.store.upserts import insert_unless_taken, upsert

_FIXED: Final = frozenset({"secret_id", "algorithm_id", "provider_id", "secret_key", "created_at"})


async def add_secret(connection: AsyncConnection, secret: StoredSecret) -> bool:
    """Add a secret; return whether its variable was free."""
    return await insert_unless_taken(connection, table, row_of(secret))


async def change_secret(connection: AsyncConnection, secret: StoredSecret, *, was: str) -> bool:
    """
    Store what may change of a secret, unless somebody else has given it another value meanwhile.

    Args:
        connection: Inside a transaction.
        secret: As it is to be.
        was: The value id that it had.

    Returns:
        Whether it had that one still.
    """
    values = {name: value for name, value in row_of(secret).items() if name not in _FIXED}
    is_it = (table.c.secret_id == secret.secret_id) & (table.c.value_id == was)
    result = await connection.execute(update(table).where(is_it).values(values))
    return result.rowcount > 0


async def remove_secret(connection: AsyncConnection, secret_id: str) -> bool:
    """Remove a secret; return whether it was there."""
    result = await connection.execute(delete(table).where(table.c.secret_id == secret_id))
    return result.rowcount > 0


async def secret(
    connection: AsyncConnection, *, algorithm_id: str, secret_id: str
) -> StoredSecret | None:
    """Return a secret of an algorithm."""
    if not is_storable(secret_id):
        return None
    result = await connection.execute(
        select(table).where(table.c.secret_id == secret_id, table.c.algorithm_id == algorithm_id)
    )
    row = result.mappings().first()
    return None if row is None else of_row(StoredSecret, row)


async def secrets_of(connection: AsyncConnection, algorithm_id: str) -> list[StoredSecret]:
    """Return all secrets of an algorithm, by their variables."""
    result = await connection.execute(
        select(table).where(table.c.algorithm_id == algorithm_id).order_by(table.c.secret_key)
    )
    return [of_row(StoredSecret, row) for row in result.mappings()]


async def owners_of_secrets(
    connection: AsyncConnection, *, among: Collection[str] | None = None, provider_id: str = ""
) -> set[str]:
    """
    Return the ids of algorithms that have secrets.

    Args:
        connection: Any.
        among: Only of these; None for all.
        provider_id: Only those that have some at this provider; empty for any.
    """
    statement = select(table.c.algorithm_id).distinct()
    if among is not None:
        statement = statement.where(table.c.algorithm_id.in_(among))
    if provider_id:
        statement = statement.where(table.c.provider_id == provider_id)
    return set((await connection.execute(statement)).scalars())


async def renew_slots(connection: AsyncConnection, algorithm_ids: Collection[str]) -> list[str]:
    """
    Have all slots of these algorithms replaced, on every gateway; before anything else is written.

    Returns:
        Those that there are.
    """
    renewed = []
    for algorithm_id in sorted(algorithm_ids):
        await changes.note(connection, ChangeKind.SLOTS, algorithm_id)
        known = select(algorithm_table.c.algorithm_id).where(
            algorithm_table.c.algorithm_id == algorithm_id
        )
        if await connection.scalar(known.with_for_update(key_share=True)) is None:
            continue
        # The number of the change: it grows, whatever is deleted meanwhile.
        number = await changes.newest(connection)
        row = {"algorithm_id": algorithm_id, "number": number}
        await upsert(connection, renewal_table, row)
        renewed.append(algorithm_id)
    return renewed


async def newest_renewal(connection: AsyncConnection) -> int:
    """Return a number that no renewal so far is above."""
    return await changes.newest(connection)


async def take_turn(connection: AsyncConnection) -> None:
    """Begin to change providers: nobody else changes any, or what they keep, until the end."""
    await changes.note(connection, ChangeKind.SLOTS, INTERNAL_PROVIDER_ID)


async def renewals_after(connection: AsyncConnection, number: int) -> dict[str, int]:
    """Return algorithms whose slots were to be renewed after *number*, with their own numbers."""
    result = await connection.execute(
        select(renewal_table.c.algorithm_id, renewal_table.c.number).where(
            renewal_table.c.number > number
        )
    )
    return {row.algorithm_id: int(row.number) for row in result}


async def providers(connection: AsyncConnection) -> list[SecretProvider]:
    """Return all providers: the default one first, then by age."""
    result = await connection.execute(
        select(provider_table).order_by(
            provider_table.c.is_default.desc(),
            provider_table.c.created_at,
            provider_table.c.provider_id,
        )
    )
    return [of_row(SecretProvider, row) for row in result.mappings()]


async def provider(connection: AsyncConnection, provider_id: str) -> SecretProvider | None:
    """Return a provider."""
    if not is_storable(provider_id):
        return None
    result = await connection.execute(
        select(provider_table).where(provider_table.c.provider_id == provider_id)
    )
    row = result.mappings().first()
    return None if row is None else of_row(SecretProvider, row)


async def default_provider(connection: AsyncConnection) -> SecretProvider | None:
    """Return the provider of secrets that name none."""
    result = await connection.execute(
        select(provider_table).where(provider_table.c.is_default.is_(True))
    )
    row = result.mappings().first()
    return None if row is None else of_row(SecretProvider, row)


async def put_provider(connection: AsyncConnection, made: SecretProvider) -> None:
    """Store a provider, new or changed; if it is to be the default, no other one is any more."""
    if made.is_default:
        await _unset_default(connection, but=made.provider_id)
    await upsert(connection, provider_table, row_of(made))


async def set_default_provider(connection: AsyncConnection, provider_id: str) -> None:
    """Make a provider the default one."""
    await _unset_default(connection, but=provider_id)
    await connection.execute(
        update(provider_table)
        .where(provider_table.c.provider_id == provider_id)
        .values(is_default=True)
    )


async def remove_provider(connection: AsyncConnection, provider_id: str) -> None:
    """
    Remove a provider.

    Raises:
        SecretNotDeleted: It keeps secrets.
    """
    kept = select(func.count()).select_from(table).where(table.c.provider_id == provider_id)
    count = int(await connection.scalar(kept) or 0)
    if count:
        raise SecretNotDeleted(
            f"the provider keeps {count} secret{'s' if count > 1 else ''}: delete those first"
        )
    try:
        await connection.execute(
            delete(provider_table).where(provider_table.c.provider_id == provider_id)
        )
    except IntegrityError as error:
        raise SecretNotDeleted("the provider keeps secrets: delete those first") from error


async def _unset_default(connection: AsyncConnection, *, but: str) -> None:
    await connection.execute(
        update(provider_table)
        .where(provider_table.c.is_default.is_(True), provider_table.c.provider_id != but)
        .values(is_default=False)
    )
