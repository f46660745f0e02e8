"""How the limits of a machine are divided among its gateways."""

from hypothesis import given
from hypothesis import strategies as st

from algorium_server.wiring.place import Place


@given(gateways=st.integers(1, 64), whole=st.integers(1, 10_000))
def test_shares_add_up_and_nobody_goes_without(gateways: int, whole: int) -> None:
    shares = [Place(number=n, gateways=gateways).share_of(whole) for n in range(gateways)]

    assert min(shares) >= 1
    assert max(shares) - min(shares) <= 1
    assert sum(shares) == max(whole, gateways)


def test_a_single_gateway_has_everything() -> None:
    assert Place().is_alone
    assert Place().share_of(64) == 64
