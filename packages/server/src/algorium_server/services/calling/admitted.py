"""
What is known of a call from its admission to its end.

A grant is the same for all calls that a caller makes in one way; an open call is one of them.
"""

from typing import Protocol

import msgspec
from msgspec.structs import replace

from algorium_server.domain import access
from algorium_server.domain.algorithms import Resolved
from algorium_server.domain.call_errors import INPUT_HEAD_BYTES
from algorium_server.domain.calls import (
    IN_MEMORY,
    CallFailure,
    CallInput,
    CallOptions,
    CallOutcome,
    CallSuccess,
    ContentType,
    LargeBody,
    Output,
    Timings,
)
from algorium_server.domain.identity import ActingAlgorithm, Principal
from algorium_server.domain.limits import CALL_OUTPUT_BYTES_MAX
from algorium_server.domain.usage import UsageSubject
from algorium_server.engine import outcomes
from algorium_server.engine.program import Program
from algorium_server.services.allowances import Allowance


class Running(Protocol):
    """A call on its way through the engine."""

    def timings(self) -> Timings:
        """Return where its time went until it ended, or until now."""

    def cancel(self) -> None:
        """Give it up, wherever it is; its outcome is not told any more. Idempotent."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """
    That a principal may call an algorithm: what was found in the directory, and decided.

    It holds as long as the directory has not changed, see `CallService.is_current`.

    Attributes:
        caller: Who called; also who is billed.
        runs_as: As whom the algorithm acts; differs from *caller* under sudo.
        subject: The same, as usage records name it.
        allowance: What the caller may use.
        is_sudo: The caller sees what the owner sees.
        revision: Of the directory, when it was granted.
    """

    caller: Principal
    runs_as: Principal
    resolved: Resolved
    program: Program
    subject: UsageSubject
    allowance: Allowance
    is_sudo: bool
    revision: int

    @property
    def has_insights(self) -> bool:
        """Whether what its calls report is wanted."""
        version = self.resolved.version
        return version is not None and version.is_insights_enabled

    @property
    def sees_stdout(self) -> bool:
        """Whether the caller may see what the algorithm printed."""
        return self.is_sudo or access.is_owner_like(self.caller, self.resolved.algorithm.owner_id)

    @property
    def sees_stacktrace(self) -> bool:
        """Whether the caller may see the algorithm's source, and so its stack traces."""
        return self.is_sudo or access.may_see_source(self.caller, self.resolved.algorithm)


class OpenCall(msgspec.Struct, kw_only=True):
    """
    An admitted call. Whoever opened it closes it, whatever happens in between.

    Attributes:
        request_id: `req-` and a UUID.
        tree_id: Request id of the root call.
        is_root: No algorithm made this call.
        is_counted: It takes part in the limits of open calls.
        deadline_at: Monotonic seconds.
        started_us: When it was admitted, in microseconds since 1970 UTC.
        is_nested: An algorithm made this call, although nobody may wait for it.
        input_bytes: Size of its input, 0 until that is known.
        input_type: Type of its input, once that is known.
        input_head: First bytes of its input, for the error log.
        large_input: Its input, if that is kept outside of memory; freed when the call is closed.
        running: None until the engine has it.
        is_metered: Its usage is recorded by somebody else: not when it is closed.
        is_repeat: It was answered with what an earlier call with its key has come to.
        stacktrace: Of its failure, whoever may see it; empty if there is none.
    """

    request_id: str
    grant: Grant
    options: CallOptions
    tree_id: str
    is_root: bool
    is_counted: bool
    deadline_at: float
    started_us: int
    is_nested: bool = False
    input_bytes: int = 0
    input_type: ContentType = ContentType.JSON
    input_head: bytes = b""
    large_input: LargeBody | None = None
    running: Running | None = None
    is_metered: bool = False
    is_repeat: bool = False
    stacktrace: str = ""

    def take(self, call_input: CallInput) -> None:
        """Remember of the input what the end of the call is told with."""
        body = call_input.body
        self.input_bytes = len(body)
        self.input_type = call_input.content_type
        if isinstance(body, IN_MEMORY):
            self.input_head = body[:INPUT_HEAD_BYTES]
        else:
            self.large_input = body
            self.input_head = body.read(0, INPUT_HEAD_BYTES)

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
                call_id=self.request_id,
                build_id=grant.resolved.build.build_id,
            ),
            sudo_by=grant.caller.account if grant.is_sudo else grant.caller.sudo_by,
        )

    def visible(self, outcome: CallOutcome) -> CallOutcome:
        """Enforce the output limit, and take out what this caller may not see."""
        options = self.options
        if isinstance(outcome, CallSuccess):
            size = len(outcome.body)
            if outcome.content_type is ContentType.BINARY and options.output is not Output.RAW:
                size = (size + 2) // 3 * 4
            if size > CALL_OUTPUT_BYTES_MAX:
                outcome = outcomes.too_large(outcome.timings, outcome.stdout)
            elif not outcome.stdout:
                return outcome
        stdout = outcome.stdout if options.wants_stdout and self.grant.sees_stdout else ""
        if isinstance(outcome, CallFailure):
            self.stacktrace = outcome.stacktrace
            stacktrace = outcome.stacktrace if self.grant.sees_stacktrace else ""
            return replace(outcome, stdout=stdout, stacktrace=stacktrace)
        return outcome if outcome.stdout == stdout else replace(outcome, stdout=stdout)
