"""
Calling algorithms: resolve, allow, admit, run.

A call is admitted before its body is read, so that refused callers cost nothing. A warm call
touches no database: whatever it needs is in the directory.

Source: wire specification, "Calling algorithms"; runtime design, "Scheduling".
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain import access
from algorium_server.domain.algorithms import NetworkAccess, Resolved
from algorium_server.domain.calls import (
    IN_MEMORY,
    CallInput,
    CallOptions,
    CallOutcome,
    CallSuccess,
    Output,
)
from algorium_server.domain.errors import (
    AlgorithmNotFound,
    NotAuthorized,
    Unavailable,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import (
    CHILD_CALLS_PER_TREE_MAX,
)
from algorium_server.domain.quotas import (
    busy,
    minute_of,
    too_many_in_a_minute,
    too_many_open,
)
from algorium_server.engine.flights import Flight, OnOutcome
from algorium_server.services.allowances import Allowances
from algorium_server.services.calling.admission import Admission, OwnAdmission
from algorium_server.services.calling.admitted import Grant, OpenCall, Running
from algorium_server.services.calling.interfaces import (
    Engine,
    FailedCalls,
    InsightReports,
    UsageMeter,
)
from algorium_server.services.calling.metering import record_of, subject_of
from algorium_server.services.calling.programs import Programs
from algorium_server.services.calling.rates import OwnRates, Rates
from algorium_server.services.directory import Directory


class CallService:
    """
    Use cases of calling.

    Args:
        directory: Keys, algorithms and versions, in memory.
        engine: Runs the calls.
        builds_dir: Where checked-out trees of builds lie, by build id.
        environments_dir: Where environments lie, by key.
        end_session: Ends the session data of a call tree; None if there is none.
        meter: Takes the usage record of every call; None if nobody wants them.
        errors: Takes failed calls; None if nobody wants them.
        insights: Takes what calls report; None if nobody wants it.
        allowances: What accounts may use; by default what a server allows whose operator says
            nothing.
        admission: Counts the open calls of accounts; by default those of this service alone.
        rates: Counts their calls by minute; likewise.
        share_of: See `Programs`.
    """

    def __init__(
        self,
        *,
        directory: Directory,
        engine: Engine,
        builds_dir: Path,
        environments_dir: Path,
        end_session: Callable[[str], Coroutine[Any, Any, None] | None],
        meter: UsageMeter | None = None,
        errors: FailedCalls | None = None,
        insights: InsightReports | None = None,
        allowances: Allowances | None = None,
        admission: Admission | None = None,
        rates: Rates | None = None,
        share_of: Callable[[int], int] = int,
    ) -> None:
        self._directory = directory
        self._engine = engine
        self.programs = Programs(
            directory,
            builds_dir=builds_dir,
            environments_dir=environments_dir,
            share_of=share_of,
        )
        self._end_session = end_session
        self._meter = meter
        self._errors = errors
        self._insights = insights
        self._allowances = allowances or Allowances()
        self.admission = self._admission = admission or OwnAdmission()
        self.rates = self._rates = rates or OwnRates()
        self._children: dict[str, int] = {}

    def grant(
        self,
        principal: Principal,
        ref: AlgorithmRef,
        *,
        wants_sudo: bool = False,
        web_origin: str | None = None,
    ) -> Grant:
        """
        Find what is called, and decide whether it may be.

        Args:
            principal: Who calls.
            ref: What is called.
            wants_sudo: Call as the algorithm's owner, for administrators.
            web_origin: Host of the calling page for calls from browsers, else None.

        Raises:
            AlgorithmNotFound: No such algorithm or version for this caller.
            NotAuthorized: The key or the calling algorithm may not make this call.
            Unavailable: The version needs something that this server cannot give.
        """
        is_sudo = wants_sudo and access.may_use_sudo(principal)
        resolved = self._directory.resolve(ref, principal, is_sudo=is_sudo)
        if resolved is None:
            raise AlgorithmNotFound(f"algorithm {ref.uri} not found")
        algorithm, owner = resolved.algorithm, resolved.owner
        verdict = access.may_call(principal, owner=owner.username, algorithm=algorithm)
        if isinstance(verdict, access.Allowed) and web_origin is not None:
            verdict = access.may_call_from_web(principal, origin_host=web_origin)
        if isinstance(verdict, access.Refused):
            raise NotAuthorized(detail=verdict.reason)
        if resolved.network_access is NetworkAccess.FULL:
            self._engine.check_network()
        return self.grant_of(principal, resolved, is_sudo=is_sudo)

    def is_current(self, grant: Grant) -> bool:
        """Whether nothing has changed since *grant* was given."""
        return grant.revision == self._directory.revision

    def open(self, grant: Grant, options: CallOptions, request_id: str) -> OpenCall:
        """
        Admit a call, before its input is read.

        Args:
            grant: A current grant.
            options: How it is called.
            request_id: `req-` and a UUID, fresh.

        Raises:
            TooManyRequests: The account or the call tree has too many calls open, or the account
                has made too many in this minute.
            BudgetExceeded: The account has used up its compute time of this month.
            Unavailable: Usage cannot be recorded now; what cannot be recorded must not run.
        """
        if self._meter is not None and self._meter.is_full:
            raise Unavailable(
                "Usage cannot be recorded now, so no calls are taken.",
                hint="The operator should look at the database and the disk of the server.",
            )
        principal = grant.caller
        account_id = principal.account.account_id
        allowance = grant.allowance
        acting = principal.acting
        # What an admitted call does on its way to its own answer is not cut off in the middle.
        is_part = acting is not None and acting.tree_id and options.output is not Output.VOID
        if allowance.is_spent and not is_part and (refusal := allowance.refusal(_now())):
            raise refusal
        if not self._admission.enter(account_id, allowance.calls_max):
            raise too_many_open(allowance.calls_max)
        if allowance.calls_per_minute is not None and not is_part:
            self._count(account_id, allowance.calls_per_minute)
        deadline_at = time.monotonic() + options.timeout_s
        tree_id, is_root = request_id, True
        if acting is not None and acting.tree_id:
            children = self._children.get(acting.tree_id, 0)
            if children >= CHILD_CALLS_PER_TREE_MAX:
                self._admission.leave(account_id)
                raise busy(
                    f"Too many requests: one call may have {CHILD_CALLS_PER_TREE_MAX} calls of "
                    "other algorithms open"
                )
            tree_id, is_root = acting.tree_id, False
            deadline_at = min(deadline_at, acting.deadline_at)
            self._children[tree_id] = children + 1
        return OpenCall(
            request_id=request_id,
            grant=grant,
            options=options,
            tree_id=tree_id,
            is_root=is_root,
            is_counted=True,
            deadline_at=deadline_at,
            started_us=time.time_ns() // 1000,
            is_nested=acting is not None,
        )

    def _count(self, account_id: str, limit: int) -> None:
        """Count a call that was admitted in its minute; give it back if it is one too many."""
        now_s = time.time()
        if not self._rates.count(account_id, limit, minute_of(now_s)):
            self._admission.leave(account_id)
            raise too_many_in_a_minute(limit, now_s)

    def resume(
        self,
        principal: Principal,
        resolved: Resolved,
        options: CallOptions,
        *,
        request_id: str,
        is_sudo: bool,
        is_nested: bool = False,
        started_us: int,
    ) -> OpenCall:
        """
        Open a call that was admitted before: its time begins now, and it is not counted.

        Args:
            principal: Who called.
            resolved: What.
            options: How.
            request_id: As it was admitted.
            is_sudo: The same.
            is_nested: An algorithm called.
            started_us: When it was, in microseconds since 1970 UTC.
        """
        return OpenCall(
            request_id=request_id,
            grant=self.grant_of(principal, resolved, is_sudo=is_sudo),
            options=options,
            tree_id=request_id,
            is_root=True,
            is_counted=False,
            deadline_at=time.monotonic() + options.timeout_s,
            started_us=started_us,
            is_nested=is_nested,
        )

    def close(
        self, call: OpenCall, outcome: CallOutcome | BaseException | None
    ) -> Coroutine[Any, Any, None] | None:
        """
        Give back what `open` took, and record the call.

        Args:
            call: What `open` returned.
            outcome: What its caller was answered, or the error for which it did not run. None if
                there was nobody left to answer.

        Returns:
            What remains to be awaited when the root call has left session data, else None.
        """
        is_new = not call.is_repeat
        if self._meter is not None and is_new and not call.is_metered:
            now_us = 0 if call.is_counted else time.time_ns() // 1000
            stopping = self._meter.is_stopping
            self._meter.record(record_of(call, outcome, now_us=now_us, is_stopping=stopping))
        if self._errors is not None and is_new and not isinstance(outcome, CallSuccess):
            self._errors.record(call, outcome)
        if self._insights is not None and call.grant.has_insights:
            self._insights.end(call, outcome)
        _free(call, outcome)
        if call.is_counted:
            self._admission.leave(call.grant.caller.account.account_id)
        if not call.is_root:
            _give_back(self._children, call.tree_id)
            return None
        self._children.pop(call.tree_id, None)
        return self._end_session(call.tree_id)

    def start(
        self,
        call: OpenCall,
        call_input: CallInput,
        on_outcome: OnOutcome,
        *,
        on_delivery: Callable[[], None] | None = None,
    ) -> Running:
        """
        Start an admitted call.

        Args:
            call: What `open` returned.
            call_input: Its input, checked.
            on_outcome: Told its end, later and exactly once: what its caller may see of the
                outcome, or the error for which it did not run.
            on_delivery: Told right before the input goes to a slot.

        Raises:
            TooManyRequests: The algorithm's queue is full.
            Unavailable: No slot can be started.
        """
        grant = call.grant
        acting = grant.caller.acting
        flight = Flight(
            account_id=grant.runs_as.account.account_id,
            inside=call.inside,
            deadline_at=call.deadline_at,
            is_nested=acting is not None,
            call_id=call.request_id,
            parent_id=acting.call_id if acting is not None else "",
            tree_id=call.tree_id,
            on_delivery=on_delivery,
        )
        call.take(call_input)
        if self._insights is not None and grant.has_insights:
            self._insights.begin(call)
        finish = partial(_finish, call, on_outcome)
        running = call.running = self._engine.submit(grant.program, flight, call_input, finish)
        return running

    async def run(
        self,
        call: OpenCall,
        call_input: CallInput,
        *,
        on_delivery: Callable[[], None] | None = None,
    ) -> CallOutcome:
        """
        Run an admitted call; like `start`, for who can wait. Cancelled, the call is given up.

        Raises:
            TooManyRequests: The algorithm's queue is full.
            Unavailable: No slot can be started.
        """
        ended: asyncio.Future[CallOutcome] = asyncio.get_running_loop().create_future()

        def on_outcome(outcome: CallOutcome | Exception) -> None:
            if ended.done():
                return
            if isinstance(outcome, Exception):
                ended.set_exception(outcome)
            else:
                ended.set_result(outcome)

        running = self.start(call, call_input, on_outcome, on_delivery=on_delivery)
        try:
            return await ended
        except asyncio.CancelledError:
            running.cancel()
            raise

    def grant_of(self, principal: Principal, resolved: Resolved, *, is_sudo: bool) -> Grant:
        """Return a grant for what the principal may call for another reason than its key."""
        return Grant(
            caller=principal,
            runs_as=self._directory.principal_of(resolved.owner) if is_sudo else principal,
            resolved=resolved,
            program=self.programs.of(resolved),
            subject=subject_of(principal, resolved),
            allowance=self._allowances.of(principal.account.account_id),
            is_sudo=is_sudo,
            revision=self._directory.revision,
        )


def _now() -> datetime:
    return datetime.now(UTC)


def _finish(call: OpenCall, on_outcome: OnOutcome, outcome: CallOutcome | Exception) -> None:
    on_outcome(outcome if isinstance(outcome, Exception) else call.visible(outcome))


def _free(call: OpenCall, outcome: CallOutcome | BaseException | None) -> None:
    """Free what is kept outside of memory now, not when the garbage is collected."""
    if call.large_input is not None:
        call.large_input.close()
    if isinstance(outcome, CallSuccess) and not isinstance(outcome.body, IN_MEMORY):
        outcome.body.close()


def _give_back(counts: dict[str, int], key: str) -> None:
    left = counts.get(key, 0) - 1
    if left > 0:
        counts[key] = left
    else:
        counts.pop(key, None)
