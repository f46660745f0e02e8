"""
Metering: what the record of a call says. The record's way to the database is in `meter.py`.

Source: wire specification, "Usage and governance".
"""

from typing import Final

from algorium_server.domain.algorithms import Resolved
from algorium_server.domain.calls import (
    CallFailure,
    CallOutcome,
    CallSuccess,
    Output,
    Timings,
)
from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.identity import Principal
from algorium_server.domain.usage import UsageOutcome, UsageRecord, UsageSubject
from algorium_server.services.calling.admitted import OpenCall

_NOTHING: Final = Timings(queue_s=0.0, load_s=0.0, run_s=0.0)


def subject_of(caller: Principal, resolved: Resolved) -> UsageSubject:
    """Return who calls what."""
    algorithm, version = resolved.algorithm, resolved.version
    return UsageSubject(
        account_id=caller.person.account_id,
        caller=caller.person.username,
        key_id=caller.key.key_id if caller.key is not None else "",
        algorithm_id=algorithm.algorithm_id,
        algorithm=f"{resolved.owner.username}/{algorithm.name}",
        version=str(version.semantic_version) if version is not None else "",
        commit_sha=resolved.build.commit_sha,
    )


def record_of(
    call: OpenCall,
    outcome: CallOutcome | BaseException | None,
    *,
    now_us: int = 0,
    is_stopping: bool = False,
) -> UsageRecord:
    """
    Return the record of a call that has ended.

    Args:
        call: As it was admitted.
        outcome: What its caller was answered: an outcome, or the error for which it did not run.
            None if there was nobody left to answer.
        now_us: The time, for calls whose caller did not wait: what they waited is in line, too.
        is_stopping: The server is being stopped, so connections end whatever their callers want.
    """
    is_void = call.options.output is Output.VOID
    error_type, output_bytes = "", 0
    if isinstance(outcome, CallSuccess):
        how, timings, output_bytes = UsageOutcome.SUCCESS, outcome.timings, len(outcome.body)
    elif isinstance(outcome, CallFailure):
        error_type, timings = outcome.error_type, outcome.timings
        how = UsageOutcome.TIMEOUT if error_type == "TimeoutError" else UsageOutcome.ERROR
    else:
        running = call.running
        timings = _NOTHING if running is None else running.timings()
        how, error_type = _unanswered(outcome, has_run=timings.run_s > 0, is_stopping=is_stopping)
    queue_s = timings.queue_s
    if is_void and now_us:
        spent_s = timings.load_s + timings.run_s
        queue_s = max((now_us - call.started_us) / 1_000_000 - spent_s, queue_s)
    return UsageRecord(
        request_id=call.request_id,
        tree_id=call.tree_id,
        started_us=call.started_us,
        subject=call.grant.subject,
        outcome=how,
        error_type=error_type,
        is_void=is_void,
        queue_s=queue_s,
        load_s=timings.load_s,
        run_s=timings.run_s,
        cpu_s=timings.cpu_s,
        peak_memory_bytes=timings.peak_memory_bytes,
        input_bytes=call.input_bytes,
        output_bytes=output_bytes,
    )


def _unanswered(
    error: BaseException | None, *, has_run: bool, is_stopping: bool
) -> tuple[UsageOutcome, str]:
    """Return outcome and kind of error of a call without an outcome of its own."""
    if error is None:
        return (UsageOutcome.INTERRUPTED if is_stopping else UsageOutcome.CANCELLED), ""
    if not isinstance(error, Exception):  # the task was cut off: only a stop does that
        return UsageOutcome.INTERRUPTED, ""
    kind = type(error).__name__ if isinstance(error, AlgoriumError) else "InternalError"
    # What fails although a slot had it is no refusal any more.
    return (UsageOutcome.INTERRUPTED if has_run else UsageOutcome.REFUSED), kind
