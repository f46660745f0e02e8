"""
Calling algorithms: resolve, allow, admit, run.

A call is admitted before its body is read, so that refused callers cost nothing. A warm call
touches no database: whatever it needs is in the directory.

Source: wire specification, "Calling algorithms"; runtime design, "Scheduling".
"""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

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


class Engine(Protocol):
    """What runs calls: `engine.local` on this machine."""

    async def call(self, program: Program, flight: Flight, call_input: CallInput) -> CallOutcome:
        """Run one call to its outcome."""


class OpenCall(msgspec.Struct, frozen=True, kw_only=True):
    """
    An admitted call. Whoever opened it closes it, whatever happens in between.

    Attributes:
        request_id: `req-` and a UUID.
        caller: Who called; also who is billed.
        runs_as: As whom the algorithm acts; differs from *caller* under sudo.
        tree_id: Request id of the root call.
        is_root: No algorithm made this call.
        is_counted: It takes part in the limits of open calls.
        deadline_at: Monotonic seconds.
        is_sudo: The caller sees what the owner sees.
    """

    request_id: str
    caller: Principal
    runs_as: Principal
    resolved: Resolved
    options: CallOptions
    tree_id: str
    is_root: bool
    is_counted: bool
    deadline_at: float
    is_sudo: bool

    @property
    def sees_stdout(self) -> bool:
        """Whether the caller may see what the algorithm printed."""
        return self.is_sudo or access.is_owner_like(self.caller, self.resolved.algorithm.owner_id)

    @property
    def sees_stacktrace(self) -> bool:
        """Whether the caller may see the algorithm's source, and so its stack traces."""
        return self.is_sudo or access.may_see_source(self.caller, self.resolved.algorithm)


class CallService:
    """
    Use cases of calling.

    Args:
        directory: Keys, algorithms and versions, in memory.
        engine: Runs the calls.
        builds_dir: Where checked-out trees of builds lie, by build id.
        environments_dir: Where environments lie, by key.
        end_session: Ends the session data of a call tree.
    """

    def __init__(
        self,
        *,
        directory: Directory,
        engine: Engine,
        builds_dir: Path,
        environments_dir: Path,
        end_session: Callable[[str], Awaitable[None]],
    ) -> None:
        self._directory = directory
        self._engine = engine
        self._builds_dir = builds_dir
        self._environments_dir = environments_dir
        self._end_session = end_session
        self._in_flight: dict[str, int] = {}
        self._children: dict[str, int] = {}
        self._programs: dict[str, Program] = {}

    def open(
        self,
        principal: Principal,
        ref: AlgorithmRef,
        options: CallOptions,
        request_id: str,
        *,
        web_origin: str | None = None,
    ) -> OpenCall:
        """
        Admit a call, before its input is read.

        Args:
            principal: Who calls.
            ref: What is called.
            options: How.
            request_id: `req-` and a UUID, fresh.
            web_origin: Host of the calling page for calls from browsers, else None.

        Raises:
            AlgorithmNotFound: No such algorithm or version for this caller.
            NotAuthorized: The key or the calling algorithm may not make this call.
            TooManyRequests: The account or the call tree has too many calls open.
            Unavailable: The version needs something that this server cannot give.
        """
        is_sudo = options.is_sudo and principal.account.is_admin and principal.acting is None
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
            caller=principal,
            runs_as=self._runs_as(principal, resolved, is_sudo=is_sudo),
            resolved=resolved,
            options=options,
            tree_id=tree_id,
            is_root=is_root,
            is_counted=True,
            is_sudo=is_sudo,
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
            caller=principal,
            runs_as=self._runs_as(principal, resolved, is_sudo=is_sudo),
            resolved=resolved,
            options=options,
            tree_id=request_id,
            is_root=True,
            is_counted=False,
            is_sudo=is_sudo,
            deadline_at=time.monotonic() + options.timeout_s,
        )

    async def close(self, call: OpenCall) -> None:
        """Give back what `open` took; the root call also ends its session data."""
        if call.is_counted:
            _give_back(self._in_flight, call.caller.account.account_id)
        if call.is_root:
            self._children.pop(call.tree_id, None)
            await self._end_session(call.tree_id)
        else:
            _give_back(self._children, call.tree_id)

    async def run(
        self,
        call: OpenCall,
        call_input: CallInput,
        *,
        on_delivery: Callable[[], None] | None = None,
    ) -> CallOutcome:
        """
        Run an admitted call and return what its caller may see of the outcome.

        Args:
            call: What `open` returned.
            call_input: Its input, checked.
            on_delivery: Told right before the input goes to a slot.

        Raises:
            TooManyRequests: The algorithm's queue is full.
            Unavailable: No slot can be started.
        """
        flight = Flight(
            account_id=call.runs_as.account.account_id,
            inside=lambda: _inside(call),
            deadline_at=call.deadline_at,
            is_nested=not call.is_root,
            on_delivery=on_delivery,
        )
        outcome = await self._engine.call(self._program(call.resolved), flight, call_input)
        return _visible(outcome, call)

    def _runs_as(self, principal: Principal, resolved: Resolved, *, is_sudo: bool) -> Principal:
        return self._directory.principal_of(resolved.owner) if is_sudo else principal

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


def _inside(call: OpenCall) -> Principal:
    """Return as whom the algorithm acts while the call runs."""
    acting = call.caller.acting
    algorithm = call.resolved.algorithm
    return Principal(
        account=call.runs_as.account,
        key=call.runs_as.key,
        roles=call.runs_as.roles,
        acting=ActingAlgorithm(
            algorithm_id=algorithm.algorithm_id,
            owner_id=algorithm.owner_id,
            tree_id=call.tree_id,
            deadline_at=call.deadline_at,
            depth=acting.depth + 1 if acting is not None else 1,
            is_pipeline_enabled=call.resolved.is_pipeline_enabled,
        ),
    )


def _visible(outcome: CallOutcome, call: OpenCall) -> CallOutcome:
    """Enforce the output limit, and take out what this caller may not see."""
    if isinstance(outcome, CallSuccess):
        size = len(outcome.body)
        if outcome.content_type is ContentType.BINARY and call.options.output is not Output.RAW:
            size = (size + 2) // 3 * 4
        if size > CALL_OUTPUT_BYTES_MAX:
            outcome = outcomes.too_large(outcome.timings, outcome.stdout)
    stdout = outcome.stdout if call.options.wants_stdout and call.sees_stdout else ""
    if isinstance(outcome, CallFailure):
        stacktrace = outcome.stacktrace if call.sees_stacktrace else ""
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
