"""How versions want to be run."""

import pytest

from algorium_server.domain.algorithms import Isolation, Scaling
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import MIB, SLOT_MEMORY_BYTES_MAX, SLOTS_PER_VERSION_MAX


def test_without_a_wish_the_server_decides() -> None:
    assert Scaling() == Scaling(
        isolation=Isolation.ACCOUNT, slots_min=0, slots_max=0, memory_bytes=0
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"slots_min": -1},
        {"slots_max": -1},
        {"slots_min": 3, "slots_max": 2},
        {"slots_max": SLOTS_PER_VERSION_MAX + 1},
        {"slots_min": SLOTS_PER_VERSION_MAX + 1},
        {"memory_bytes": 1},
        {"memory_bytes": -MIB},
        {"memory_bytes": SLOT_MEMORY_BYTES_MAX + 1},
    ],
)
def test_numbers_have_bounds(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidInput):
        Scaling(**wrong)
