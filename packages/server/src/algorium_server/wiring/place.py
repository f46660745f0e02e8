"""
Where a gateway stands among those of its home, and how far the server as a whole is.

Both are told by whoever runs the gateway, and both are what its readiness page shows.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from algorium_server.api.health import Readiness
from algorium_server.engine.host import SandboxHost
from algorium_server.services.calling.admission import Admission
from algorium_server.services.calling.rates import Rates
from algorium_server.services.people.guessing import Guesses


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    Where a gateway stands among those of its home.

    Attributes:
        number: Which one it is, from 0.
        gateways: How many there are.
        admission: Counts the open calls of accounts on all of them; None for a single one.
        rates: Counts their calls by minute; likewise.
        guesses: Counts wrong passwords; likewise.
        since: When the server started.
    """

    number: int = 0
    gateways: int = 1
    admission: Admission | None = None
    rates: Rates | None = None
    guesses: Guesses | None = None
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def is_alone(self) -> bool:
        """Whether there is no other gateway."""
        return self.gateways == 1

    def share_of(self, whole: int) -> int:
        """Return this gateway's part of what the machine may have, but 1 at least."""
        return max(whole // self.gateways + (self.number < whole % self.gateways), 1)


@dataclass(slots=True, kw_only=True)
class State:
    """
    The server as a whole: what its readiness page shows.

    Attributes:
        stops_at: When the grace of a stop ends, monotonic seconds; 0 before it began.
    """

    is_ready: bool = False
    demo: str = ""
    gateways: Mapping[str, int] = field(default_factory=dict)
    stops_at: float = 0.0

    def stop(self, grace_s: float) -> None:
        """Begin to stop: from now on everything under way has *grace_s* together."""
        self.is_ready = False
        self.stops_at = time.monotonic() + grace_s

    @property
    def grace_left_s(self) -> float:
        """What is left of the grace of a stop, in seconds."""
        return max(self.stops_at - time.monotonic(), 0.0)


def readiness(state: State, host: SandboxHost, place: Place) -> Readiness:
    """Return what the readiness page of a gateway shows right now."""
    return Readiness(
        is_ready=state.is_ready,
        sandbox={**host.report.as_dict(), **host.usage()},
        demo=state.demo,
        gateways={} if place.is_alone else {**state.gateways, "this": place.number},
    )
