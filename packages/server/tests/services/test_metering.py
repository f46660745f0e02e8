"""What the record of a call says, for each way in which a call can end."""

import asyncio
from dataclasses import dataclass

import pytest
import rows

from algorium_server.domain.algorithms import BuildStatus, Resolved
from algorium_server.domain.calls import (
    CallFailure,
    CallOptions,
    CallSuccess,
    ContentType,
    Output,
    Timings,
)
from algorium_server.domain.errors import MalformedJson, TooManyRequests, Unavailable
from algorium_server.domain.identity import Principal
from algorium_server.domain.usage import UsageOutcome, UsageSubject
from algorium_server.services.calling.metering import record_of, subject_of

SPENT = Timings(queue_s=0.5, load_s=1.0, run_s=2.0, cpu_s=1.5, peak_memory_bytes=1000)
WAITED = Timings(queue_s=0.5, load_s=0.0, run_s=0.0)
SUBJECT = rows.usage_subject()


@dataclass(frozen=True, kw_only=True)
class Grant:
    subject: UsageSubject = SUBJECT


@dataclass(frozen=True, kw_only=True)
class Run:
    spent: Timings = SPENT

    def timings(self) -> Timings:
        return self.spent


@dataclass(frozen=True, kw_only=True)
class Call:
    request_id: str = "req-child"
    tree_id: str = "req-root"
    started_us: int = rows.NOW_US
    options: CallOptions = CallOptions()  # noqa: RUF009 - it is frozen
    grant: Grant = Grant()
    input_bytes: int = 11
    running: Run | None = Run()


def success(body: bytes = b"result") -> CallSuccess:
    return CallSuccess(content_type=ContentType.TEXT, body=body, timings=SPENT)


def failure(error_type: str) -> CallFailure:
    return CallFailure(message="no", error_type=error_type, timings=SPENT)


def test_a_success_tells_everything():
    record = record_of(Call(), success())

    assert record == rows.usage_record(
        request_id="req-child",
        tree_id="req-root",
        started_us=rows.NOW_US,
        subject=SUBJECT,
        outcome=UsageOutcome.SUCCESS,
        queue_s=0.5,
        load_s=1.0,
        run_s=2.0,
        cpu_s=1.5,
        peak_memory_bytes=1000,
        input_bytes=11,
        output_bytes=6,
    )


@pytest.mark.parametrize(
    ("outcome", "run", "expected", "error_type"),
    [
        (failure("AlgorithmError"), Run(), UsageOutcome.ERROR, "AlgorithmError"),
        (failure("OutOfMemoryError"), Run(), UsageOutcome.ERROR, "OutOfMemoryError"),
        (failure("TimeoutError"), Run(), UsageOutcome.TIMEOUT, "TimeoutError"),
        (None, Run(), UsageOutcome.CANCELLED, ""),
        (None, None, UsageOutcome.CANCELLED, ""),
        (TooManyRequests("full"), Run(spent=WAITED), UsageOutcome.REFUSED, "TooManyRequests"),
        (MalformedJson(), None, UsageOutcome.REFUSED, "MalformedJson"),
        (KeyError("ours"), None, UsageOutcome.REFUSED, "InternalError"),
        (Unavailable("stopping"), Run(), UsageOutcome.INTERRUPTED, "Unavailable"),
        (asyncio.CancelledError(), None, UsageOutcome.INTERRUPTED, ""),
    ],
)
def test_every_end_has_its_outcome(outcome, run, expected, error_type):
    record = record_of(Call(running=run), outcome)

    assert (record.outcome, record.error_type) == (expected, error_type)
    assert record.output_bytes == 0
    assert record.input_bytes == 11
    timings = getattr(outcome, "timings", None) or (run.spent if run is not None else None)
    assert record.queue_s == (timings.queue_s if timings is not None else 0.0)
    assert record.run_s == (timings.run_s if timings is not None else 0.0)


def test_a_connection_that_ends_with_the_server_interrupts():
    assert record_of(Call(), None, is_stopping=True).outcome is UsageOutcome.INTERRUPTED


def test_a_void_call_waits_from_when_it_was_accepted():
    call = Call(options=CallOptions(output=Output.VOID))

    record = record_of(call, success(), now_us=rows.NOW_US + 10_000_000)
    hasty = record_of(call, success(), now_us=rows.NOW_US)

    assert record.is_void
    assert record.queue_s == 10 - 1 - 2
    assert hasty.queue_s == SPENT.queue_s, "whatever the clocks say"


def resolved(*, number: str | None) -> Resolved:
    owner = rows.account("lab")
    algorithm = rows.algorithm(owner.account_id, "Hello")
    build = rows.build(algorithm.algorithm_id, status=BuildStatus.SUCCEEDED)
    version = rows.version(build, number) if number else None
    return Resolved(algorithm=algorithm, owner=owner, version=version, build=build)


def test_the_subject_names_who_called_what():
    jane = rows.account("jane")
    key = rows.key(jane.account_id)
    what = resolved(number="1.2.3")

    assert subject_of(Principal(account=jane, key=key), what) == UsageSubject(
        account_id=jane.account_id,
        caller="jane",
        key_id=key.key_id,
        algorithm_id=what.algorithm.algorithm_id,
        algorithm="lab/Hello",
        version="1.2.3",
        commit_sha="ab" * 20,
    )


def test_a_commit_has_no_version_and_not_every_caller_a_key():
    subject = subject_of(Principal(account=rows.account()), resolved(number=None))

    assert (subject.key_id, subject.version) == ("", "")
    assert subject.commit_sha == "ab" * 20
