"""
Calls with the header `Idempotency-Key`: sent again, they get the answer of the first time.

Such a call goes on when its caller goes away: who asks for this comes back for the answer.

Source: The Idempotency-Key HTTP Header Field (IETF, httpapi).
"""

from functools import partial
from typing import Final, NamedTuple

from algorium.wire.refs import AlgorithmRef
from algorium_server.api.callers import while_connected
from algorium_server.api.http import Header, Scope
from algorium_server.domain.calls import CallInput, CallOutcome, Output
from algorium_server.domain.errors import InvalidRequest
from algorium_server.domain.idempotency import parse_key
from algorium_server.services.calling.admitted import OpenCall
from algorium_server.services.calling.calls import CallService
from algorium_server.services.calling.kept_calls import (
    ACCEPTED,
    KeptCalls,
    Repeated,
    UnderWay,
)
from algorium_server.services.calling.void_calls import VoidCalls

_NAME: Final = b"idempotency-key"
REPLAYED: Final[Header] = (b"idempotency-replayed", b"true")
"""Tells an answer that was given before."""


class Ended(NamedTuple):
    """
    What a call has come to.

    Attributes:
        call_id: Request id of the call that was run.
    """

    outcome: CallOutcome
    call_id: str


def idempotency_key(scope: Scope) -> str:
    """
    Return the key of a call, empty if it has none.

    Raises:
        InvalidRequest: It has several, or one that is none.
    """
    found = [value for name, value in scope["headers"] if name == _NAME]
    if not found:
        return ""
    if len(found) > 1:
        raise InvalidRequest("There is more than one Idempotency-Key")
    return parse_key(found[0])


class KeyedCalls:
    """
    Calls with a key.

    Args:
        calls: Runs those that are answered.
        void_calls: Accepts the others.
        kept: Knows which were sent before.
    """

    def __init__(self, calls: CallService, void_calls: VoidCalls, kept: KeptCalls) -> None:
        self._calls = calls
        self._void_calls = void_calls
        self._kept = kept

    async def answer(
        self, scope: Scope, call: OpenCall, call_input: CallInput, *, key: str, ref: AlgorithmRef
    ) -> Ended:
        """
        Run an admitted call, or find the answer that it got before.

        Raises:
            Disconnected: The caller is gone, and somebody else's request runs the call.
            AlgoriumError: As `KeptCalls.claim` and `CallService.run`.
        """
        while True:
            found = await self._kept.claim(call, call_input, key=key, ref=str(ref))
            if not isinstance(found, UnderWay):
                break
            # If it ends without an answer, its key is free, and this call's turn may come.
            await while_connected(scope, partial(found.wait, deadline_at=call.deadline_at))
        if isinstance(found, Repeated):
            call.is_repeat = True
            return Ended(found.outcome, found.call_id)
        if call.options.output is Output.VOID:
            await self._kept.accept(
                found,
                lambda alongside: self._void_calls.accept(call, call_input, alongside=alongside),
            )
            return Ended(ACCEPTED, call.request_id)
        outcome = await self._kept.run(
            found,
            lambda on_delivery: self._calls.run(call, call_input, on_delivery=on_delivery),
        )
        return Ended(outcome, call.request_id)
