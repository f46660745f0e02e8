"""
Void calls: accepted now, run later by a worker, their output discarded.

An accepted call is a row of the job table. It survives a restart of the server until its input
has gone to a slot; from then on it is never sent again, whatever happens to it.

Source: wire specification, "output=void".
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec

from algorium_server.domain.calls import (
    CallFailure,
    CallInput,
    CallOptions,
    ContentType,
    Output,
    content_of,
)
from algorium_server.domain.errors import TooManyRequests, Unavailable
from algorium_server.domain.identity import Principal
from algorium_server.domain.jobs import Job, JobFailed, NotDelivered
from algorium_server.domain.quotas import QuotaName, too_many_waiting
from algorium_server.domain.usage import UsageOutcome, UsageRecord, UsageSubject, moment_of, us_of
from algorium_server.jobs.retry import GiveUp
from algorium_server.services.calling.admitted import OpenCall
from algorium_server.services.calling.calls import CallService
from algorium_server.services.calling.kept_calls import Alongside
from algorium_server.services.directory import Directory
from algorium_server.store import jobs as job_rows
from algorium_server.store.database import Database

JOB_KIND: Final = "call"


class _Payload(msgspec.Struct, frozen=True):
    """A void call at rest."""

    account_id: str
    key_id: str
    build_id: str
    version_id: str
    timeout_s: float
    is_sudo: bool
    content_type: str
    body: bytes
    subject: UsageSubject | None = None
    is_nested: bool = False
    sudo_by: str = ""


class VoidCalls:
    """
    Use cases of void calls.

    Args:
        calls: Runs them.
        database: Keeps them until they have run.
        directory: Keys, algorithms and versions, in memory.
        wake: Tells the worker that one is waiting.
        record: Takes usage records of calls that end without having been run to an outcome.
    """

    def __init__(
        self,
        *,
        calls: CallService,
        database: Database,
        directory: Directory,
        wake: Callable[[], None],
        record: Callable[[UsageRecord], None],
    ) -> None:
        self._calls = calls
        self._database = database
        self._directory = directory
        self._wake = wake
        self._record = record

    async def accept(
        self, call: OpenCall, call_input: CallInput, *, alongside: Alongside | None = None
    ) -> None:
        """
        Store an admitted call durably.

        Args:
            call: What `CallService.open` returned.
            call_input: Its input, checked.
            alongside: Writes more in the same transaction.

        Raises:
            TooManyRequests: The account has too many void calls waiting.
        """
        grant = call.grant
        resolved = grant.resolved
        payload = _Payload(
            account_id=grant.caller.account.account_id,
            key_id=grant.caller.key.key_id if grant.caller.key else "",
            build_id=resolved.build.build_id,
            version_id=resolved.version.version_id if resolved.version else "",
            timeout_s=call.options.timeout_s,
            is_sudo=grant.is_sudo,
            content_type=call_input.content_type.value,
            body=content_of(call_input.body),
            subject=grant.subject,
            is_nested=call.is_nested,
            sudo_by=grant.caller.sudo_by.account_id if grant.caller.sudo_by is not None else "",
        )
        job = Job.new(
            call.request_id,
            JOB_KIND,
            account_id=payload.account_id,
            payload=msgspec.msgpack.encode(payload),
            now=moment_of(call.started_us),
        )
        async with self._database.transaction() as connection:
            await job_rows.hold(connection, account_id=job.account_id)
            waiting = await job_rows.count_unfinished(
                connection, account_id=job.account_id, kind=JOB_KIND
            )
            limit = grant.allowance.quotas.void_calls_waiting
            if waiting >= limit:
                raise too_many_waiting(QuotaName.VOID_CALLS_WAITING, limit, waiting)
            await job_rows.enqueue(connection, job)
            if alongside is not None:
                await alongside(connection)
        call.is_metered = True  # when it has run
        self._wake()

    async def run(self, job: Job) -> None:
        """
        Run a stored call.

        Raises:
            JobFailed: The call failed; the reason is kept with the job.
            NotDelivered: No slot has seen the call; it may be tried again.
        """
        payload = msgspec.msgpack.decode(job.payload, type=_Payload)
        principal = self._principal(payload)
        resolved = self._directory.resolved_build(payload.build_id, version_id=payload.version_id)
        if principal is None or resolved is None:
            self._record_unrun(job, payload, UsageOutcome.REFUSED, error_type="NotFound")
            raise JobFailed("the calling account, its key or the algorithm no longer exists")
        call = self._calls.resume(
            principal,
            resolved,
            CallOptions(timeout_s=payload.timeout_s, output=Output.VOID),
            request_id=job.job_id,
            is_sudo=payload.is_sudo,
            is_nested=payload.is_nested,
            started_us=us_of(job.created_at),
        )
        call_input = CallInput(content_type=ContentType(payload.content_type), body=payload.body)
        delivery = asyncio.Event()
        outcome = None
        try:
            outcome = await self._calls.run(call, call_input, on_delivery=delivery.set)
        except (TooManyRequests, Unavailable, asyncio.CancelledError) as error:
            if delivery.is_set():
                raise
            raise NotDelivered(str(error) or "the server is stopping") from error
        finally:
            call.is_metered = outcome is None  # it is tried again, or given up: recorded then
            if (ending := self._calls.close(call, outcome)) is not None:
                await ending
        if isinstance(outcome, CallFailure):
            raise JobFailed(f"{outcome.error_type}: {outcome.message}")

    def _principal(self, payload: _Payload) -> Principal | None:
        principal = self._directory.principal_of_call(payload.account_id, payload.key_id)
        if principal is None or not payload.sudo_by:
            return principal
        person = self._directory.principal_of_call(payload.sudo_by, "")
        return None if person is None else replace(principal, sudo_by=person.account)

    def given_up(self, job: Job, decision: GiveUp) -> None:
        """Record a stored call that nobody will run, or run again."""
        payload = msgspec.msgpack.decode(job.payload, type=_Payload)
        if decision.may_have_run:
            self._record_unrun(job, payload, UsageOutcome.INTERRUPTED)
        else:
            self._record_unrun(job, payload, UsageOutcome.REFUSED, error_type="Unavailable")

    def _record_unrun(
        self, job: Job, payload: _Payload, outcome: UsageOutcome, *, error_type: str = ""
    ) -> None:
        if payload.subject is None:  # stored by an earlier release
            return
        self._record(
            UsageRecord(
                request_id=job.job_id,
                tree_id=job.job_id,
                started_us=us_of(job.created_at),
                subject=payload.subject,
                outcome=outcome,
                error_type=error_type,
                is_void=True,
                queue_s=0.0,
                load_s=0.0,
                run_s=0.0,
                cpu_s=0.0,
                peak_memory_bytes=0,
                input_bytes=len(payload.body),
                output_bytes=0,
            )
        )
