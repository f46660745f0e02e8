"""How far the server as a whole is, and what the readiness page of a gateway says about it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from algorium_server.api.health import Readiness
from algorium_server.engine.host import SandboxHost
from algorium_server.wiring.place import Place


@dataclass(slots=True, kw_only=True)
class State:
    """
    The server as a whole, kept up to date by whoever runs the gateway.

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
