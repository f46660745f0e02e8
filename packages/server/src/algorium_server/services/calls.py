"""
Calling algorithms: resolve, allow, admit, run.

A call is admitted before its body is read, so that refused callers cost nothing. A warm call
touches no database: whatever it needs is in the directory.

Source: wire specification, "Calling algorithms"; runtime design, "Scheduling".
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from msgspec.structs import replace

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain import access
from algorium_server.domain.algorithms import NetworkAccess
from algorium_server.domain.calls import (
    CallFailure,
    CallInput,
    CallOptions,
    CallOutcome,
    CallSuccess,
    ContentType,
    Output,
)
from algorium_server.domain.errors import (
    AlgorithmNotFound,
    NotAuthorized,
    TooManyRequests,
    Unavailable,
)
from algorium_server.domain.identity import ActingAlgorithm, Principal
from algorium_server.domain.limits import (
    CALL_OUTPUT_BYTES_MAX,
    CALLS_IN_FLIGHT_PER_ACCOUNT_MAX,
    CHILD_CALLS_PER_TREE_MAX,
)
from algorium_server.engine import outcomes
from algorium_server.engine.program import Program
from algorium_server.engine.slots import Flight
from algorium_server.services.directory import Directory, Resolved

_PROGRAMS_KEPT_MAX: Final = 10_000
"""They are cheap to make again, and most versions are not called for days."""


class Running(Protocol):
    """A call on its way through the engine."""

    def cancel(self) -> None:
        """Give it up, wherever it is; its outcome is not told any more. Idempotent."""


OnOutcome = Callable[[CallOutcome | Exception], None]
"""Told once how a call ended: its outcome, or the error for which it did not run."""


class Engine(Protocol):
    """What runs calls: `engine.local` on this machine."""

    def submit(
        self, program: Program, flight: Flight, call_input: CallInput, on_outcome: OnOutcome
    ) -> Running:
        """Start one call; *on_outcome* is told its end, later and exactly once."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """
    That a principal may call an algorithm: what was found in the directory, and decided.

    It holds as long as the directory has not changed, see `CallService.is_current`.

    Attributes:
        caller: Who called; also who is billed.
        runs_as: As whom the algorithm acts; differs from *caller* under sudo.
        is_sudo: The caller sees what the owner sees.
        revision: Of the directory, when it was granted.
    """

    caller: Principal
    runs_as: Principal
    resolved: Resolved
    program: Program
    is_sudo: bool
    revision: int

    @property
    def sees_stdout(self) -> bool:
        """Whether the caller may see what the algorithm printed."""
        return self.is_sudo or access.is_owner_like(self.caller, self.resolved.algorithm.owner_id)

    @property
    def sees_stacktrace(self) -> bool:
        """Whether the caller may see the algorithm's source, and so its stack traces."""
        return self.is_sudo or access.may_see_source(self.caller, self.resolved.algorithm)


class OpenCall(msgspec.Struct, frozen=True, kw_only=True):
    """
    An admitted call. Whoever opened it closes it, whatever happens in between.

    Attributes:
        request_id: `req-` and a UUID.
        tree_id: Request id of the root call.
        is_root: No algorithm made this call.
        is_counted: It takes part in the limits of open calls.
        deadline_at: Monotonic seconds.
    """

    request_id: str
    grant: Grant
    options: CallOptions
    tree_id: str
    is_root: bool
    is_counted: bool
    deadline_at: float

    def inside(self) -> Principal:
        """Return as whom the algorithm acts while the call runs."""
        grant = self.grant
        acting = grant.caller.acting
        algorithm = grant.resolved.algorithm
        return Principal(
            account=grant.runs_as.account,
            key=grant.runs_as.key,
            roles=grant.runs_as.roles,
            acting=ActingAlgorithm(
                algorithm_id=algorithm.algorithm_id,
                owner_id=algorithm.owner_id,
                tree_id=self.tree_id,
                deadline_at=self.deadline_at,
                depth=acting.depth + 1 if acting is not None else 1,
                is_pipeline_enabled=grant.resolved.is_pipeline_enabled,
            ),
        )


class CallService:
    """
    Use cases of calling.

    Args:
        directory: Keys, algorithms and versions, in memory.
        engine: Runs the calls.
        builds_dir: Where checked-out trees of builds lie, by build id.
        environments_dir: Where environments lie, by key.
        end_session: Ends the session data of a call tree; None if there is none.
    """

    def __init__(
        self,
        *,
        directory: Directory,
        engine: Engine,
        builds_dir: Path,
        environments_dir: Path,
        end_session: Callable[[str], Coroutine[Any, Any, None] | None],
    ) -> None:
        self._directory = directory
        self._engine = engine
        self._builds_dir = builds_dir
        self._environments_dir = environments_dir
        self._end_session = end_session
        self._in_flight: dict[str, int] = {}
        self._children: dict[str, int] = {}
        self._programs: dict[str, Program] = {}

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
        is_sudo = wants_sudo and principal.account.is_admin and principal.acting is None
        resolved = self._directory.resolve(ref, principal, is_sudo=is_sudo)
        if resolved is None:
            raise AlgorithmNotFound(f"algorithm {ref.uri} not found")
        algorithm, owner = resolved.algorithm, resolved.owner
        verdict = access.may_call(principal, owner=owner.username, algorithm=algorithm)
        if isinstance(verdict, access.Allowed) and web_origin is not None:
            verdict = access.may_call_from_web(principal, origin_host=web_origin)
        if isinstance(verdict, access.Refused):
            raise NotAuthorized(detail=verdict.reason)
        _check_network(resolved)
        return self._grant(principal, resolved, is_sudo=is_sudo)

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
            TooManyRequests: The account or the call tree has too many calls open.
        """
        principal = grant.caller
        account_id = principal.account.account_id
        in_flight = self._in_flight.get(account_id, 0)
        if in_flight >= CALLS_IN_FLIGHT_PER_ACCOUNT_MAX:
            raise TooManyRequests(
                "Too many requests: concurrent session limit reached",
                hint=f"At most {CALLS_IN_FLIGHT_PER_ACCOUNT_MAX} calls of one account may run.",
            )
        deadline_at = time.monotonic() + options.timeout_s
        acting = principal.acting
        tree_id, is_root = request_id, True
        if acting is not None and acting.tree_id:
            children = self._children.get(acting.tree_id, 0)
            if children >= CHILD_CALLS_PER_TREE_MAX:
                raise TooManyRequests(
                    f"Too many requests: one call may have {CHILD_CALLS_PER_TREE_MAX} calls of "
                    "other algorithms open"
                )
            tree_id, is_root = acting.tree_id, False
            deadline_at = min(deadline_at, acting.deadline_at)
            self._children[tree_id] = children + 1
        self._in_flight[account_id] = in_flight + 1
        return OpenCall(
            request_id=request_id,
            grant=grant,
            options=options,
            tree_id=tree_id,
            is_root=is_root,
            is_counted=True,
            deadline_at=deadline_at,
        )

    def resume(
        self,
        principal: Principal,
        resolved: Resolved,
        options: CallOptions,
        *,
        request_id: str,
        is_sudo: bool,
    ) -> OpenCall:
        """Open a call that was admitted before: its time begins now, and it is not counted."""
        return OpenCall(
            request_id=request_id,
            grant=self._grant(principal, resolved, is_sudo=is_sudo),
            options=options,
            tree_id=request_id,
            is_root=True,
            is_counted=False,
            deadline_at=time.monotonic() + options.timeout_s,
        )

    def close(self, call: OpenCall) -> Coroutine[Any, Any, None] | None:
        """
        Give back what `open` took.

        Returns:
            What remains to be awaited when the root call has left session data, else None.
        """
        if call.is_counted:
            _give_back(self._in_flight, call.grant.caller.account.account_id)
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
        flight = Flight(
            account_id=grant.runs_as.account.account_id,
            inside=call.inside,
            deadline_at=call.deadline_at,
            is_nested=not call.is_root,
            on_delivery=on_delivery,
        )
        finish = partial(_finish, call, on_outcome)
        return self._engine.submit(grant.program, flight, call_input, finish)

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

    def _grant(self, principal: Principal, resolved: Resolved, *, is_sudo: bool) -> Grant:
        owner = resolved.owner
        return Grant(
            caller=principal,
            runs_as=self._directory.principal_of(owner) if is_sudo else principal,
            resolved=resolved,
            program=self._program(resolved),
            is_sudo=is_sudo,
            revision=self._directory.revision,
        )

    def _program(self, resolved: Resolved) -> Program:
        build = resolved.build
        program = self._programs.get(build.build_id)
        if program is None:
            if len(self._programs) >= _PROGRAMS_KEPT_MAX:
                self._programs.clear()
            source_dir = self._builds_dir / build.build_id
            program = self._programs[build.build_id] = Program(
                key=build.build_id,
                source_dir=source_dir,
                source_bytes=build.source_bytes,
                environment_dir=self._environments_dir / build.environment,
                entry=build.entry,
            )
        return program


def _finish(call: OpenCall, on_outcome: OnOutcome, outcome: CallOutcome | Exception) -> None:
    on_outcome(outcome if isinstance(outcome, Exception) else _visible(outcome, call))


def _visible(outcome: CallOutcome, call: OpenCall) -> CallOutcome:
    """Enforce the output limit, and take out what this caller may not see."""
    options = call.options
    if isinstance(outcome, CallSuccess):
        size = len(outcome.body)
        if outcome.content_type is ContentType.BINARY and options.output is not Output.RAW:
            size = (size + 2) // 3 * 4
        if size > CALL_OUTPUT_BYTES_MAX:
            outcome = outcomes.too_large(outcome.timings, outcome.stdout)
        elif not outcome.stdout:
            return outcome
    stdout = outcome.stdout if options.wants_stdout and call.grant.sees_stdout else ""
    if isinstance(outcome, CallFailure):
        stacktrace = outcome.stacktrace if call.grant.sees_stacktrace else ""
        return replace(outcome, stdout=stdout, stacktrace=stacktrace)
    return outcome if outcome.stdout == stdout else replace(outcome, stdout=stdout)


def _check_network(resolved: Resolved) -> None:
    if resolved.network_access is NetworkAccess.FULL:
        raise Unavailable(
            "This version asks for network_access=full, which this server cannot give safely yet",
            hint="Publish a version with network_access=isolated.",
        )


def _give_back(counts: dict[str, int], key: str) -> None:
    left = counts.get(key, 0) - 1
    if left > 0:
        counts[key] = left
    else:
        counts.pop(key, None)
