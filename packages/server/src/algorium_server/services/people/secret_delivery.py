"""
Secrets on their way into slots, and slots that are replaced because of them.

A slot's variables are fixed when it starts. So a secret that changed reaches calls in a new slot:
idle ones are ended, busy ones end after their call. The same is what an author asks for who has put
a new model beside the algorithm: a *renewal*.

    write    secret and renewal, in one transaction with a change that gateways follow
    here     right after the commit, before whoever asked is answered
    others   as they follow changes: within a second

Which algorithms have secrets at all is in memory: a slot of any other starts without a look into
the database. A slot that is just starting when a renewal arrives is replaced like the others, so it
does not matter whether it was early or late.

Source: wire specification of the runtime, "Environment variables", "Reloading models".
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain.algorithms import Algorithm
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.authorship import Act
from algorium_server.domain.errors import NoSuchAlgorithm
from algorium_server.domain.identity import Principal
from algorium_server.services.auditing import record
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.people.secret_stores import SecretStores
from algorium_server.store import secrets as rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_log = logger(__name__)


class Engine(Protocol):
    """What has the slots."""

    async def drain(self, *, algorithm_id: str = "", program_key: str = "") -> None:
        """Replace the warm slots of an algorithm."""


class SecretDelivery:
    """
    Opens secrets for slots that start.

    Args:
        database: Where secrets are.
        stores: Opens them.
    """

    def __init__(self, database: Database, stores: SecretStores) -> None:
        self._database = database
        self._stores = stores
        self._having: set[str] = set()

    async def load(self) -> None:
        """Learn which algorithms have secrets."""
        async with self._database.reading() as connection:
            self._having = await rows.owners_of_secrets(connection)

    def put(self, algorithm_id: str, *, has_secrets: bool) -> None:
        """Learn it of one algorithm; whatever was read for it is read anew."""
        self._stores.forget(algorithm_id)
        if has_secrets:
            self._having.add(algorithm_id)
        else:
            self._having.discard(algorithm_id)

    async def variables(self, algorithm_id: str) -> Mapping[str, str]:
        """
        Return the secrets of an algorithm, open; nothing of them is kept here.

        Raises:
            AlgoriumError: One cannot be had; the message names the provider.
        """
        if algorithm_id not in self._having:
            return {}
        async with self._database.reading() as connection:
            found = await rows.secrets_of(connection, algorithm_id)
            providers = await rows.providers(connection)
        return await self._stores.values(found, {each.provider_id: each for each in providers})


class SlotRenewals:
    """
    Sees to it that slots are replaced.

    Args:
        database: Where renewals are.
        authors: Says who may ask for one.
        delivery: Told of algorithms whose secrets may be others.
        engine: Has the slots of this gateway.
    """

    def __init__(
        self,
        database: Database,
        authors: Authors,
        delivery: SecretDelivery,
        engine: Engine,
    ) -> None:
        self._database = database
        self._authors = authors
        self._delivery = delivery
        self._engine = engine
        self._number = 0
        self._turn = asyncio.Lock()
        self._draining: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Begin here: slots that start from now on have what there is."""
        async with self._database.reading() as connection:
            self._number = await rows.newest_renewal(connection)
        await self._delivery.load()

    async def recycle(self, principal: Principal, ref: AlgorithmRef) -> None:
        """
        Replace the warm slots of an algorithm, on all gateways; calls under way go on.

        Raises:
            NoSuchAlgorithm: There is none.
            NotAuthorized: The caller may not change it, and is no administrator.
        """
        algorithm = self.equipped(principal, ref)
        async with self._database.transaction() as connection:
            if not await rows.renew_slots(connection, [algorithm.algorithm_id]):
                raise NoSuchAlgorithm
            await record(
                connection,
                principal,
                AuditAction.SLOTS_RENEWED,
                self.target(algorithm),
                about=algorithm.owner_id,
            )
        await self.settle()

    def equipped(self, principal: Principal, ref: AlgorithmRef) -> Algorithm:
        """
        Return an algorithm of which the caller may change what its slots have.

        Raises:
            NoSuchAlgorithm: There is none.
            NotAuthorized: The caller may not change it, and is no administrator.
        """
        return self._authors.algorithm(principal, ref, Act.EQUIP)

    def target(self, algorithm: Algorithm) -> str:
        """Return how the audit log calls an algorithm."""
        return self._authors.target(algorithm)

    async def settle(self) -> None:
        """Do what was committed by now: no call that begins afterwards meets an old slot here."""
        await asyncio.gather(*(self._drain(each) for each in await self._look()))

    async def follow(self) -> None:
        """Do what others have committed, without waiting for slots to end."""
        for algorithm_id in await self._look():
            task = asyncio.get_running_loop().create_task(self._drain(algorithm_id))
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)

    async def _look(self) -> list[str]:
        async with self._turn:
            async with self._database.reading() as connection:
                found = await rows.renewals_after(connection, self._number)
                having = await rows.owners_of_secrets(connection, among=found) if found else set()
            for algorithm_id in found:
                self._delivery.put(algorithm_id, has_secrets=algorithm_id in having)
            self._number = max([self._number, *found.values()])
            return list(found)

    async def _drain(self, algorithm_id: str) -> None:
        try:
            await self._engine.drain(algorithm_id=algorithm_id)
        except Exception as error:  # what could not be ended ends with its next call
            _log.error("slots were not renewed as they should", exc_info=error)
