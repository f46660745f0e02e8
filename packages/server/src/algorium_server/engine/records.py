"""
What the scheduler knows: pools, the accounts that use them, the versions that they run.

Everything here is found or made, and forgotten when it says nothing any more.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from algorium_server.engine.fairness import Usage
from algorium_server.engine.footprint import Footprint
from algorium_server.engine.pools import Party, Pool, PoolKey, Seat, Version
from algorium_server.engine.program import Program
from algorium_server.engine.room import EngineLimits

_VERSIONS_KNOWN_MAX: Final = 10_000
"""Estimates are cheap to learn again."""
_USED_S_MIN: Final = 0.01
"""Less slot time than this is as good as none."""


class Records:
    """
    All pools.

    Args:
        limits: What versions get that do not say otherwise.

    Attributes:
        by_key: The pools; to be read only.
    """

    def __init__(self, limits: EngineLimits) -> None:
        self.by_key: dict[PoolKey, Pool] = {}
        self._limits = limits
        self._versions: dict[str, Version] = {}
        self._accounts: dict[str, Usage] = {}

    @property
    def pools(self) -> Iterable[Pool]:
        """Every pool."""
        return self.by_key.values()

    def seats(self) -> Iterator[Seat]:
        """Yield every seat, in whatever state."""
        return (seat for pool in self.pools for seat in pool.seats)

    def pool(self, program: Program, account_id: str, now: float) -> Pool:
        """Return the pool that runs *program* for an account, made if need be."""
        key = ("" if program.is_shared else account_id, program.key)
        pool = self.by_key.get(key)
        if pool is None:
            slots_max = program.slots_max or self._limits.slots_per_pool_max
            pool = Pool(key, program, self._version(program), slots_max=slots_max)
            self.by_key[key] = pool
            if not program.is_shared:
                pool.sole = self.party(pool, account_id, now)
        return pool

    def party(self, pool: Pool, account_id: str, now: float) -> Party:
        """Return the record of an account in a pool, made if need be."""
        party = pool.parties.get(account_id)
        if party is None:
            account = self._accounts.get(account_id)
            if account is None:
                account = self._accounts[account_id] = Usage(now)
            party = pool.parties[account_id] = Party(account, now)
        return party

    def drop_if_empty(self, pool: Pool) -> None:
        """Forget a pool without slots and calls, unless it failed and that is to be remembered."""
        if not pool.seats and not pool.waiting and not pool.floor and not pool.failed_at:
            del self.by_key[pool.key]

    def forget(self, now: float) -> None:
        """Forget what is empty and owes nothing, and let what was used lately count less."""
        for pool in tuple(self.pools):
            pool.prune()
            pool.forget_failures(now)
            self.drop_if_empty(pool)
        parties = [party for pool in self.pools for party in pool.parties.values()]
        for usage in (*self._accounts.values(), *(party.usage for party in parties)):
            usage.fade(now)
        in_use = {party.account for party in parties}
        for account_id, account in tuple(self._accounts.items()):
            if account not in in_use and account.used_s < _USED_S_MIN:
                del self._accounts[account_id]
        while len(self._versions) > _VERSIONS_KNOWN_MAX:
            del self._versions[next(iter(self._versions))]

    def _version(self, program: Program) -> Version:
        version = self._versions.get(program.key)
        if version is None:
            footprint = Footprint(
                limit_bytes=program.memory_bytes, is_strict=self._limits.is_memory_strict
            )
            version = self._versions[program.key] = Version(footprint)
        return version
