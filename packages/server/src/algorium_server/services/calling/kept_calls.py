"""
Calls with an idempotency key: run once, however often they are sent.

Before the input of such a call can reach a slot, there is a row with its key; after its end the
row has its answer. Who comes with the same key gets that answer, or waits for it in the gateway
that runs the call. What happens to a call decides about its key:

| the call | its key |
|---|---|
| was refused, or ended before its input went to a slot | is free again |
| ended, well or badly, after that | gets its answer, for a day |
| ended, but its answer could not be kept | is spent: nobody can say how the call ended |
| was under way when its gateway died | the same |

So nothing is run twice, and what is not known is said. A row without an answer is believed to be
under way until its lease ends, a little after the deadline of the call; a gateway that starts in
place of one that died ends the leases of that one at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any, Final

import msgspec

from algorium_server.domain.calls import (
    IN_MEMORY,
    Body,
    CallInput,
    CallOutcome,
    CallSuccess,
    ContentType,
    Timings,
    content_of,
)
from algorium_server.domain.errors import (
    AlgoriumError,
    CallOutcomeUnknown,
    CallUnderWay,
    IdempotencyKeyReused,
    Unavailable,
)
from algorium_server.domain.idempotency import (
    PIECE_BYTES,
    KeptCall,
    fingerprint,
    key_digest,
    packed,
    unpacked,
)
from algorium_server.domain.limits import (
    CALL_BODY_IN_MEMORY_BYTES_MAX,
    CALL_LEASE_SPARE_S,
    CALL_REPEAT_S,
    KEPT_CALLS_PRUNE_S,
    KEPT_CALLS_PRUNED_MAX,
    KEPT_CALLS_S,
)
from algorium_server.services.calling.admitted import OpenCall
from algorium_server.services.calling.kept_room import KeptRoom
from algorium_server.services.sweeping import keep_pruning
from algorium_server.spool import Spool
from algorium_server.store import kept_calls as rows
from algorium_server.store.database import AsyncConnection, Database
from algorium_server.telemetry import logger

Alongside = Callable[[AsyncConnection], Coroutine[Any, Any, None]]
"""Writes more in the transaction in which something else is written."""

ACCEPTED: Final = CallSuccess(
    content_type=ContentType.VOID, body=b"", timings=Timings(queue_s=0.0, load_s=0.0, run_s=0.0)
)
"""The outcome of a void call, as far as its caller hears of it."""

_log = logger(__name__)


class Repeated(msgspec.Struct, frozen=True, kw_only=True):
    """
    The answer to a call that was answered before.

    Attributes:
        call_id: Request id of the call that was run.
    """

    call_id: str
    outcome: CallOutcome


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A key that is ours now: whoever has it runs the call, and says how it ended."""

    call: KeptCall
    ended: asyncio.Event


class UnderWay(msgspec.Struct, frozen=True, kw_only=True):
    """A call that this gateway runs for somebody else with the same key."""

    ended: asyncio.Event

    async def wait(self, *, deadline_at: float) -> None:
        """
        Wait for its end.

        Args:
            deadline_at: For how long, in monotonic seconds.

        Raises:
            CallUnderWay: It has not ended by then.
        """
        try:
            async with asyncio.timeout(deadline_at - monotonic()):
                await self.ended.wait()
        except TimeoutError:
            raise _under_way() from None


class KeptCalls:
    """
    Use cases of calls with a key.

    Args:
        database: Keeps them.
        gateway: Name of this gateway on the database. What ran under it before has ended.
        is_alone: No other gateway works on the database.
        clock: Returns the time, UTC-aware.
    """

    def __init__(
        self,
        database: Database,
        *,
        gateway: str,
        is_alone: bool,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._gateway = gateway
        self._is_alone = is_alone
        self._clock = clock
        self._room = KeptRoom()
        self._under_way: dict[tuple[str, str], Claim] = {}

    async def start(self) -> None:
        """Give up what a gateway that died has left under way."""
        gateway = None if self._is_alone else self._gateway
        async with self._database.transaction() as connection:
            count = await rows.give_up_all(connection, now=self._clock(), gateway=gateway)
        if count:
            _log.warning("calls with a key were interrupted; they are not run again", calls=count)

    async def keep_pruned(self) -> None:
        """Delete old answers now and then, until cancelled."""
        await keep_pruning(self.prune, what="answers to calls", every_s=KEPT_CALLS_PRUNE_S)

    async def prune(self) -> None:
        """Delete the answers that were kept for long enough."""
        before = self._clock() - timedelta(seconds=KEPT_CALLS_S)
        prune = partial(rows.prune, before=before, limit=KEPT_CALLS_PRUNED_MAX)
        while await self._database.write(prune) >= KEPT_CALLS_PRUNED_MAX:
            pass

    async def claim(
        self, call: OpenCall, call_input: CallInput, *, key: str, ref: str
    ) -> Claim | Repeated | UnderWay:
        """
        Find out what is to be done about a call with a key.

        Args:
            call: Admitted, not started.
            call_input: Its input, checked.
            key: As its caller made it.
            ref: What is called, as the caller wrote it.

        Returns:
            A claim if it is to be run: by `run` or `accept`, at once. Its answer if it has one. If
            this gateway is running it, what to wait for before claiming again.

        Raises:
            IdempotencyKeyReused: The key belongs to another call.
            CallUnderWay: Another gateway is running it.
            CallOutcomeUnknown: It may have run.
            TooManyRequests: Too much is kept for the account.
            Unavailable: The database does not answer.
        """
        kept = self._kept(call, key, await _fingerprint(ref, call, call_input))
        identity = kept.account_id, kept.key_digest
        if (other := self._under_way.get(identity)) is not None:
            if other.call.fingerprint != kept.fingerprint:
                raise _reused()
            return UnderWay(ended=other.ended)
        # Ours before the first await: of two calls in this gateway, the second one waits.
        claim = self._under_way[identity] = Claim(call=kept, ended=asyncio.Event())
        try:
            found = await self._database.write(partial(self._first_or, kept))
        except BaseException:
            self._end(claim)
            raise
        if found is None:
            return claim
        self._end(claim)
        return self._repeated(call, kept, found)

    async def run(
        self, claim: Claim, run: Callable[[Callable[[], None]], Awaitable[CallOutcome]]
    ) -> CallOutcome:
        """
        Run a call that was claimed, and keep its answer.

        Args:
            claim: Nobody else has it.
            run: Runs the call; it gets what is to be told right before the input goes to a slot.
        """
        delivery = asyncio.Event()
        try:
            outcome = await run(delivery.set)
        except BaseException:
            await self._leave(claim, may_have_run=delivery.is_set())
            raise
        if delivery.is_set():
            await self._answer(claim, outcome)
        else:
            await self._leave(claim, may_have_run=False)
        return outcome

    async def accept(self, claim: Claim, accept: Callable[[Alongside], Awaitable[None]]) -> None:
        """
        Accept a void call that was claimed: that it was accepted is its answer.

        Args:
            claim: Nobody else has it.
            accept: Stores the call, and writes what it gets in the same transaction.
        """
        is_stored = False

        async def alongside(connection: AsyncConnection) -> None:
            nonlocal is_stored
            is_stored = True  # or will be, as far as anybody knows
            await rows.answer(
                connection, claim.call, now=self._clock(), outcome=packed(ACCEPTED), body=b""
            )

        try:
            await accept(alongside)
        except BaseException:
            await self._leave(claim, may_have_run=is_stored)
            raise
        self._end(claim)

    async def _first_or(self, kept: KeptCall, connection: AsyncConnection) -> KeptCall | None:
        """Insert a call; return the one that has its key already, None if it is the first."""
        account_id = kept.account_id
        if await rows.add(connection, kept):
            await self._room.check(connection, account_id=account_id, now=self._clock())
            return None
        found = await rows.find(connection, account_id=account_id, key_digest=kept.key_digest)
        if found is None:
            raise Unavailable("the call with this key has just ended without an answer; try again")
        return found

    def _kept(self, call: OpenCall, key: str, print_of_call: str) -> KeptCall:
        caller = call.grant.caller
        now = self._clock()
        left_s = max(call.deadline_at - monotonic(), 0.0) + CALL_LEASE_SPARE_S
        algorithm_id = caller.acting.algorithm_id if caller.acting is not None else ""
        return KeptCall(
            account_id=caller.account.account_id,
            key_digest=key_digest(key, algorithm_id=algorithm_id),
            call_id=call.request_id,
            fingerprint=print_of_call,
            gateway=self._gateway,
            created_at=now,
            lease_until=now + timedelta(seconds=left_s),
        )

    def _repeated(self, call: OpenCall, kept: KeptCall, found: KeptCall) -> Repeated:
        if found.fingerprint != kept.fingerprint:
            raise _reused()
        if found.outcome is None or found.body is None:
            raise _under_way() if found.lease_until > self._clock() else _unknown(found)
        body: Body = found.body
        if len(body) > CALL_BODY_IN_MEMORY_BYTES_MAX:
            body = Spool.of(found.body)
        # Who repeats a call may see less than who made it, with another key of the same account.
        return Repeated(call_id=found.call_id, outcome=call.visible(unpacked(found.outcome, body)))

    async def _answer(self, claim: Claim, outcome: CallOutcome) -> None:
        body = content_of(outcome.body) if isinstance(outcome, CallSuccess) else b""
        head = packed(outcome)
        self._room.add(account_id=claim.call.account_id, size_bytes=len(head) + len(body))

        async def answer(connection: AsyncConnection) -> None:
            now = self._clock()
            await rows.answer(connection, claim.call, now=now, outcome=head, body=body)

        await self._settle(claim, answer)

    async def _leave(self, claim: Claim, *, may_have_run: bool) -> None:
        async def leave(connection: AsyncConnection) -> None:
            if may_have_run:
                await rows.give_up(connection, claim.call, now=self._clock())
            else:
                await rows.remove(connection, claim.call)

        await self._settle(claim, leave)

    async def _settle(self, claim: Claim, settle: Alongside) -> None:
        """Write how a call ended; if that fails, its caller hears of its end all the same."""
        try:
            await self._database.write(settle)
        except AlgoriumError as error:
            _log.error(
                "the end of a call with a key was not kept: its key is spent",
                request_id=claim.call.call_id,
                error=error.detail or error.message,
            )
        finally:
            self._end(claim)

    def _end(self, claim: Claim) -> None:
        self._under_way.pop((claim.call.account_id, claim.call.key_digest), None)
        claim.ended.set()


async def _fingerprint(ref: str, call: OpenCall, call_input: CallInput) -> str:
    body = call_input.body
    if isinstance(body, IN_MEMORY):
        return fingerprint(ref, call.options, call_input, (body,))
    pieces = _pieces(body)
    return await asyncio.to_thread(fingerprint, ref, call.options, call_input, pieces)


def _pieces(body: Body) -> Iterator[bytes]:
    assert not isinstance(body, IN_MEMORY), "that is one piece"
    at = 0
    while piece := body.read(at, PIECE_BYTES):
        at += len(piece)
        yield piece


def _reused() -> IdempotencyKeyReused:
    return IdempotencyKeyReused(
        "This Idempotency-Key belongs to another call: algorithm, options or input differ",
        hint="Send a fresh key with each call, and the same key only to repeat one.",
    )


def _under_way() -> CallUnderWay:
    return CallUnderWay(
        "The call with this Idempotency-Key has not ended yet",
        hint="Send the same request again to get its answer.",
        retry_after_s=CALL_REPEAT_S,
    )


def _unknown(found: KeptCall) -> CallOutcomeUnknown:
    return CallOutcomeUnknown(
        "The call with this Idempotency-Key may have run, but its answer is lost; "
        "it is not run again",
        hint="Look at what it was to change. To run it anew, send it with another key.",
        fields={"request_id": found.call_id},
    )
