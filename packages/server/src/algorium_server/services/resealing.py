"""
The keys that secrets are sealed with, replaced: everything sealed is sealed anew.

Three steps, and after each of them everything opens, also for a server that starts there:

1. The file of keys gets a key more, which is the current one (`sealing.add_key`).
2. In one transaction all seals are opened and made anew with it, and the audit log says so.
3. Later, and only if somebody asks: older keys are forgotten (`sealing.forget_keys`), if they open
   nothing any more.

So a rotation that is killed is simply done again. Between the second step and the third, backups
and copies of the database from before still open with the file of the home.

Keys in memory would be outdated by it, and the audit log is chained with them. So nobody else uses
the keys meanwhile: `home.using_keys`, and on PostgreSQL a look for other connections.

So would keys in the file of another home, which works on the same PostgreSQL and has not got the
new file yet: its first entry would end the chain for good. Whoever opens the database compares its
keys with those that the log names (`check_newest`).
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import InternalError, InvalidInput, Unavailable
from algorium_server.domain.limits import RESEALING_PAGE_MAX, RESEALING_SHOWN_MAX
from algorium_server.sealing import Seal, forget_keys, key_of
from algorium_server.services.auditing import record
from algorium_server.store import audit, seals
from algorium_server.store.database import AsyncConnection, Database

_Ids = Mapping[str, str]
_TARGET: Final = "sealing_key:"
"""Before the id of a key, where the audit log names one."""

BOUND_TO: Final[Mapping[str, Callable[[_Ids], tuple[str, str]]]] = {
    "connectors": lambda ids: (ids["owner_id"], f"connector/{ids['connector_id']}"),
    "event_listeners": lambda ids: (ids["account_id"], f"event_listener/{ids['listener_id']}"),
    "insights_connections": lambda ids: (ids["connection_id"], "insights"),
    "package_sources": lambda ids: (ids["owner_id"], "package sources"),
    "registries": lambda ids: (ids["registry_id"], "registry"),
    "scm_connections": lambda ids: (ids["account_id"], f"connection {ids['scm_id']}"),
    "scm_links": lambda ids: (ids["algorithm_id"], "link"),
    "scms": lambda ids: (ids["scm_id"], "oauth client"),
    "secret_providers": lambda ids: ("secret providers", ids["provider_id"]),
    "secrets": lambda ids: (ids["algorithm_id"], f"{ids['secret_id']} {ids['value_id']}"),
}
"""Owner and name that the seals of each table are made for, by those who make them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resealed:
    """
    What came of it.

    Attributes:
        key_id: Of the key that they are sealed with now.
        counts: How many seals were made anew, by table.
        unreadable: How many do not open with the keys that there are; they were left.
        shown: The first of those: table and primary key, as text.
    """

    key_id: str
    counts: Mapping[str, int]
    unreadable: int
    shown: tuple[str, ...]

    @property
    def total(self) -> int:
        """How many seals were made anew."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingKey:
    """
    A key, and what it is needed for.

    Attributes:
        key_id: Its id.
        is_current: It makes new seals.
        is_forgotten: It opens nothing any more; the audit log is verified with what is left of it.
        seals: How many things are sealed with it.
    """

    key_id: str
    is_current: bool
    is_forgotten: bool
    seals: int


class Resealing:
    """
    Use cases of sealing keys, for whoever runs the server.

    Args:
        database: Where everything sealed is.
        seal: The keys of the home, as they are in its file right now.
    """

    def __init__(self, database: Database, seal: Seal) -> None:
        self._database = database
        self._seal = seal

    async def reseal(self) -> Resealed:
        """
        Seal everything with the current key: all of it, or nothing.

        Raises:
            Unavailable: Others change the same at this moment, or the database does not answer.
        """
        counts: dict[str, int] = {}
        shown: list[str] = []
        unreadable = 0
        async with self._database.transaction() as connection:
            for name in seals.TABLES:
                async for row in _rows(connection, name):
                    if key_of(row.sealed) == self._seal.current:
                        continue
                    opened = self._opened(name, row)
                    if opened is not None:
                        await self._replace(connection, name, row, opened)
                        counts[name] = counts.get(name, 0) + 1
                        continue
                    unreadable += 1
                    if len(shown) < RESEALING_SHOWN_MAX:
                        shown.append(f"{name} {' '.join(map(str, row.key))}")
            await record(
                connection,
                None,
                AuditAction.SEALING_KEY_ROTATED,
                f"{_TARGET}{self._seal.current}",
                detail={
                    "older": ", ".join(self._older),
                    "resealed": str(sum(counts.values())),
                    "unreadable": str(unreadable),
                },
            )
        return Resealed(
            key_id=self._seal.current, counts=counts, unreadable=unreadable, shown=tuple(shown)
        )

    async def keys(self) -> list[SealingKey]:
        """Return all keys, the oldest first, with how much is sealed with each."""
        counts: dict[str, int] = {}
        async with self._database.reading() as connection:
            for name in seals.TABLES:
                async for row in _rows(connection, name):
                    key_id = key_of(row.sealed) or ""
                    counts[key_id] = counts.get(key_id, 0) + 1
        forgotten = [
            key_id for key_id in self._seal.chain_keys.keys if key_id not in self._seal.key_ids
        ]
        return [
            SealingKey(
                key_id=key_id,
                is_current=key_id == self._seal.current,
                is_forgotten=key_id in forgotten,
                seals=counts.get(key_id, 0),
            )
            for key_id in (*forgotten, *self._seal.key_ids)
        ]

    async def forget(self, home: Path) -> tuple[str, ...]:
        """
        Forget all keys but the current one, and return their ids.

        The audit log says so first: it may tell of what did not come about, never the other way.

        Args:
            home: Where the file of keys is.

        Raises:
            InvalidInput: Something opens with one of them only.
            Unavailable: The file cannot be written, or the database does not answer.
        """
        if not self._older:
            return ()
        async with self._database.transaction() as connection:
            for name in seals.TABLES:
                async for row in _rows(connection, name):
                    # One that does not open with its key, either, needs none.
                    is_older = key_of(row.sealed) != self._seal.current
                    if is_older and self._opened(name, row) is not None:
                        raise InvalidInput(
                            f"something in {name} is still sealed with an older key",
                            hint="Run `algorium sealing-key rotate` first.",
                        )
            await record(
                connection,
                None,
                AuditAction.SEALING_KEYS_FORGOTTEN,
                f"{_TARGET}{self._seal.current}",
                detail={"forgotten": ", ".join(self._older)},
            )
        return forget_keys(home)

    @property
    def _older(self) -> list[str]:
        """Ids of the keys that open, and do not seal any more."""
        return [key_id for key_id in self._seal.key_ids if key_id != self._seal.current]

    async def _replace(
        self, connection: AsyncConnection, name: str, row: seals.SealedRow, opened: bytes
    ) -> None:
        owner, bound_name = BOUND_TO[name](row.ids)
        sealed = self._seal.seal(opened, owner=owner, name=bound_name)
        if not await seals.replace(connection, name, row, sealed=sealed):
            raise Unavailable(
                "others are changing the same at this moment; nothing was sealed anew",
                hint="Stop all servers on this database, and try again.",
            )

    def _opened(self, name: str, row: seals.SealedRow) -> bytes | None:
        owner, bound_name = BOUND_TO[name](row.ids)
        try:
            return self._seal.unseal(row.sealed, owner=owner, name=bound_name)
        except InternalError:
            return None


async def check_newest(database: Database, seal: Seal, *, home: Path) -> None:
    """
    Refuse keys from before they were replaced elsewhere, and those of another database.

    Keys that are newer than the database will do: those of a rotation that was killed, or beside a
    backup of before. So do new ones beside SQLite: with the file of before, all is lost that there
    was, and no other server has it. Where that is so once, it is no reason later.

    Args:
        database: Just opened.
        seal: The keys of the home.
        home: Whose they are.

    Raises:
        Unavailable: They are.
    """
    missing = await _missing(database, seal)
    if missing:
        raise Unavailable(
            f"the database was written with the sealing key {missing}, which is not the current one"
            f" of {home}",
            hint="Copy secrets/sealing.json from the server where the key was replaced. Only if no"
            " copy is left: `algorium sealing-key rotate --lost`.",
        )


async def _missing(database: Database, seal: Seal) -> str:
    """Return the id of the key that a home should have; empty if nothing is missing."""
    current = seal.key_ids.index(seal.current)
    known = {*seal.chain_keys.keys} - {*seal.key_ids[current + 1 :]}
    async with database.reading() as connection:
        newest = await audit.newest_entry(connection)
        rotated = await audit.newest_entry(connection, AuditAction.SEALING_KEY_ROTATED)
        named = [(newest.chain_key, newest.number)] if newest is not None else []
        if not database.is_embedded and named and named[0][0] not in {"", *known}:
            return named[0][0]
        if rotated is not None:
            named.append((rotated.entry.target.removeprefix(_TARGET), rotated.number))
        for key_id, number in named:
            # Whoever has written before it, and does not know it, has fallen behind.
            is_known = key_id in {"", *known}
            if not is_known and await audit.has_entry_of(connection, known, before=number):
                return key_id
    return ""


async def _rows(connection: AsyncConnection, name: str) -> AsyncIterator[seals.SealedRow]:
    after = None
    while page := await seals.page(connection, name, after=after, limit=RESEALING_PAGE_MAX):
        for row in page:
            yield row
        after = page[-1].key
