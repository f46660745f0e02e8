"""Where a gateway stands among those of its home: whoever runs it says so."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

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
        guesses: Counts wrong passwords and codes; likewise.
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
