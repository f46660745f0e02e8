"""What calls need of others, as far as they need it: an engine, and those who are told of them."""

from typing import Protocol

from algorium_server.domain.calls import CallInput, CallOutcome
from algorium_server.domain.usage import UsageRecord
from algorium_server.engine.flights import Flight, OnOutcome
from algorium_server.engine.program import Program
from algorium_server.services.calling.admitted import OpenCall, Running


class Engine(Protocol):
    """What runs calls: `engine.local` on this machine."""

    def submit(
        self, program: Program, flight: Flight, call_input: CallInput, on_outcome: OnOutcome
    ) -> Running:
        """Start one call; *on_outcome* is told its end, later and exactly once."""

    def check_network(self) -> None:
        """Raise `Unavailable` unless algorithms can be given network access."""


class UsageMeter(Protocol):
    """Where usage records go: `services.meter`."""

    is_full: bool
    is_stopping: bool

    def record(self, record: UsageRecord) -> None:
        """Take one, at once."""


class FailedCalls(Protocol):
    """Where failed calls go: `services.error_log`."""

    def record(self, call: OpenCall, outcome: CallOutcome | BaseException | None) -> None:
        """Take a call that has ended, if it has failed, at once."""


class InsightReports(Protocol):
    """Where calls report insights: `services.operations.insights`."""

    def begin(self, call: OpenCall) -> None:
        """Expect reports of a call, whose version has insights enabled."""

    def end(self, call: OpenCall, outcome: CallOutcome | BaseException | None) -> None:
        """Make a record of such a call that has ended, at once."""
