"""
How much memory a slot is expected to take: pure.

A slot's limit is a fence, not a forecast: with 2 GiB each, four gigabytes would hold one slot,
although most algorithms need a few dozen megabytes. So admission books what slots of a version
were seen to need, with a margin, and a guess before the first was seen. That may be wrong. The
fence then holds for each slot, `memory.has_free` for all together: no slot starts while the
machine is short, whatever the books say. Booking limits instead is a setting.

Source: runtime design, "Scheduling".
"""

from typing import Final

from algorium_server.domain.limits import SLOT_MEMORY_BYTES_MIN, SLOT_MEMORY_GUESS_BYTES

_MARGIN: Final = 1.25
"""What was seen is rarely the most there will be."""
_FORGETS: Final = 0.1
"""Of a former peak, with every smaller measurement: a rare giant is not booked for ever."""


class Footprint:
    """
    The expected memory of slots of one version.

    Args:
        limit_bytes: What no slot of it may exceed.
        is_strict: Expect the limit, whatever was seen.
    """

    __slots__ = ("_is_strict", "_limit_bytes", "_peak_bytes")

    def __init__(self, *, limit_bytes: int, is_strict: bool) -> None:
        self._limit_bytes = limit_bytes
        self._is_strict = is_strict
        self._peak_bytes = 0.0

    @property
    def is_known(self) -> bool:
        """Whether a slot was seen."""
        return self._peak_bytes > 0

    def learn(self, used_bytes: int) -> None:
        """Take in what a slot was seen to use, now or at its peak."""
        if used_bytes >= self._peak_bytes:
            self._peak_bytes = used_bytes
        else:
            self._peak_bytes += _FORGETS * (used_bytes - self._peak_bytes)

    def expected_bytes(self, *, used_bytes: int = 0) -> int:
        """Return what to book for a slot, of which *used_bytes* are known already."""
        if self._is_strict:
            return self._limit_bytes
        seen = max(self._peak_bytes, used_bytes)
        expected = int(seen * _MARGIN) if seen else SLOT_MEMORY_GUESS_BYTES
        return min(max(expected, SLOT_MEMORY_BYTES_MIN), self._limit_bytes)
