"""
Whether there is room for one more answer of an account.

Counting what is kept takes as long as much is kept, in the one transaction that may write. So a
gateway counts anew only after it has added a sixty-fourth of what it last found, or of what may be
kept: an account exceeds its limits by that for each gateway at most, and the work for each call
stays the same however much there is.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from algorium_server.domain.errors import TooManyRequests
from algorium_server.domain.limits import (
    KEPT_CALLS_PER_ACCOUNT_BYTES_MAX,
    KEPT_CALLS_PER_ACCOUNT_MAX,
    KEPT_CALLS_PRUNE_S,
)
from algorium_server.store import kept_calls as rows
from algorium_server.store.database import AsyncConnection

_PART: Final = 64
_ACCOUNTS_MAX: Final = 10_000
"""That are remembered; with more of them, all are counted anew."""
_FULL_FOR: Final = timedelta(seconds=60)
"""So long nobody counts again for an account that has no room."""


@dataclass(slots=True, kw_only=True)
class _Known:
    """What was counted, what was added since, and until when a refusal stands."""

    calls: int = 0
    calls_since: int = 0
    bytes_since: int = 0
    full_until: datetime | None = None


class KeptRoom:
    """What is kept for accounts, as far as one gateway has to know."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    async def check(self, connection: AsyncConnection, *, account_id: str, now: datetime) -> None:
        """
        Make sure that there is room for the call that was just added.

        Raises:
            TooManyRequests: There is none; the transaction is to be rolled back.
        """
        if len(self._known) >= _ACCOUNTS_MAX:
            self._known.clear()
        known = self._known.setdefault(account_id, _Known())
        if known.full_until is not None and now < known.full_until:
            raise _full()
        known.calls_since += 1
        is_exact = known.calls_since <= known.calls // _PART
        if is_exact and known.bytes_since <= KEPT_CALLS_PER_ACCOUNT_BYTES_MAX // _PART:
            return
        held = await rows.held(connection, account_id=account_id)
        if (
            held.calls > KEPT_CALLS_PER_ACCOUNT_MAX
            or held.size_bytes > KEPT_CALLS_PER_ACCOUNT_BYTES_MAX
        ):
            known.full_until = now + _FULL_FOR
            raise _full()
        self._known[account_id] = _Known(calls=held.calls)

    def add(self, *, account_id: str, size_bytes: int) -> None:
        """Note an answer that will be kept."""
        if (known := self._known.get(account_id)) is not None:
            known.bytes_since += size_bytes


def _full() -> TooManyRequests:
    return TooManyRequests(
        f"Too many requests: of an account, the answers to {KEPT_CALLS_PER_ACCOUNT_MAX} calls with"
        f" a key and {KEPT_CALLS_PER_ACCOUNT_BYTES_MAX} bytes of them are kept, no more",
        hint="Answers go a day after their calls. Calls without Idempotency-Key are not kept.",
        retry_after_s=int(KEPT_CALLS_PRUNE_S),
    )
