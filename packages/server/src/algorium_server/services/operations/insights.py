"""
Insights: what algorithms report, and the connection that it is sent through.

What a call reports is kept with the call until it ends; then it becomes one record.

Source: wire specification, "Insights".
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import msgspec

from algorium_server.data import kafka
from algorium_server.domain.administration import Action
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.calls import CallFailure, CallOutcome, CallSuccess
from algorium_server.domain.errors import NotAuthorized, NotFound
from algorium_server.domain.identity import Principal
from algorium_server.domain.insights import (
    ConnectionType,
    InsightsConnection,
    InsightsSettings,
    Value,
    check_settings,
    joined,
    read_pairs,
    record_of,
)
from algorium_server.domain.usage import moment_of
from algorium_server.sealing import Seal
from algorium_server.services.auditing import record
from algorium_server.services.calling.admitted import OpenCall
from algorium_server.services.files.reaching import Reach
from algorium_server.services.operations.insight_delivery import InsightDelivery
from algorium_server.services.people.administrators import Administrators
from algorium_server.store import insights as rows
from algorium_server.store.database import Database


class InsightReports:
    """
    Gathers what calls report.

    Args:
        delivery: Takes the records.
        shown_time: Makes a text of a time.
    """

    def __init__(
        self,
        delivery: InsightDelivery,
        *,
        shown_time: Callable[[datetime], str] = lambda moment: moment.isoformat(
            timespec="milliseconds"
        ).replace("+00:00", "Z"),
    ) -> None:
        self._delivery = delivery
        self._shown_time = shown_time
        self._open: dict[str, dict[str, Value]] = {}

    def begin(self, call: OpenCall) -> None:
        """Expect reports of a call, whose version has insights enabled."""
        self._open[call.request_id] = {}

    def end(self, call: OpenCall, outcome: CallOutcome | BaseException | None) -> None:
        """Make a record of a call that has ended, if it has run."""
        pairs = self._open.pop(call.request_id, None)
        if pairs is None:
            return
        if isinstance(outcome, CallSuccess | CallFailure):
            run_s = outcome.timings.run_s
        else:
            run_s = call.running.timings().run_s if call.running is not None else 0.0
        if not run_s:
            return  # nothing was executed
        resolved = call.grant.resolved
        version = resolved.version
        made = record_of(
            pairs.items(),
            request_id=call.request_id,
            timestamp=self._shown_time(moment_of(call.started_us)),
            run_s=run_s,
            owner=resolved.owner.username,
            name=resolved.algorithm.name,
            version=str(version.semantic_version) if version else resolved.build.commit_sha,
        )
        self._delivery.put(msgspec.json.encode(made))

    def report(self, principal: Principal, body: object) -> None:
        """
        Take what an algorithm reports in its call.

        Unless its version has insights enabled, nothing comes of it.

        Args:
            principal: Who asks.
            body: JSON that was sent.

        Raises:
            NotAuthorized: No algorithm asks.
            InvalidInput: It has another form, a key is reserved, or there is too much.
        """
        if principal.acting is None:
            raise NotAuthorized(
                hint="Insights are reported by algorithms, while they run.",
                detail="insights from outside",
            )
        pairs = read_pairs(body)
        call_id = principal.acting.call_id
        together = joined(self._open.get(call_id, {}), pairs)
        if call_id in self._open:
            self._open[call_id] = together


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryState:
    """
    How the delivery of a gateway is doing.

    Attributes:
        remedy: What is to be done so that records can be sent at all; empty if nothing is.
    """

    sent: int
    waiting: int
    lost: int
    remedy: str


class InsightsAdministration:
    """
    Use cases of the connection; all raise `NotAuthorized`.

    Args:
        database: Where it is.
        administrators: Says who may do what.
        seal: Seals the password.
        reach: Says where brokers may be.
        delivery: Told of changes.
    """

    def __init__(
        self,
        database: Database,
        administrators: Administrators,
        seal: Seal,
        reach: Reach,
        delivery: InsightDelivery,
    ) -> None:
        self._database = database
        self._administrators = administrators
        self._seal = seal
        self._reach = reach
        self._delivery = delivery

    async def connection(self, principal: Principal) -> InsightsConnection:
        """Return the connection; `NotFound` if there is none."""
        self._administrators.check(principal, Action.SEE_ALL)
        async with self._database.reading() as connection:
            found = await rows.connection_of(connection)
        if found is None:
            raise NotFound("there is no insights connection")
        return found

    def state(self) -> DeliveryState:
        """Return how this gateway's delivery is doing."""
        delivery = self._delivery
        return DeliveryState(
            sent=delivery.sent,
            waiting=delivery.waiting,
            lost=delivery.lost,
            remedy="" if kafka.is_installed() else f"{kafka.MISSING}: {kafka.REMEDY}",
        )

    async def connect(
        self, principal: Principal, settings: InsightsSettings, password: str
    ) -> InsightsConnection:
        """
        Create or replace the connection.

        Whether its brokers answer is not tried: records wait for them.

        Raises:
            InvalidInput: A value is wrong or missing, or the brokers may not be reached.
        """
        self._administrators.check(principal, Action.DECIDE)
        check_settings(settings, has_password=bool(password))
        kafka.check_certificate(settings.ca_certificate)
        is_plain = settings.connection_type is ConnectionType.PLAINTEXT
        for host, port in settings.brokers:
            name = f"[{host}]" if ":" in host else host
            await self._reach.checked(f"{'http' if is_plain else 'https'}://{name}:{port}")
        connection_id = str(uuid4())
        sealed = b""
        if password and not is_plain:
            sealed = self._seal.seal(password.encode(), owner=connection_id, name="insights")
        made = InsightsConnection(connection_id=connection_id, settings=settings, sealed=sealed)
        async with self._database.transaction() as connection:
            await rows.put(connection, made)
            await record(
                connection,
                principal,
                AuditAction.INSIGHTS_CONNECTED,
                "insights_connection",
                detail={"broker_url": settings.broker_url, "topic": settings.topic},
            )
        self._delivery.connection_changed()
        return made

    async def disconnect(self, principal: Principal) -> None:
        """Remove the connection, if there is one; records are lost from now on."""
        self._administrators.check(principal, Action.DECIDE)
        async with self._database.transaction() as connection:
            await rows.remove(connection)
            await record(
                connection, principal, AuditAction.INSIGHTS_DISCONNECTED, "insights_connection"
            )
        self._delivery.connection_changed()
