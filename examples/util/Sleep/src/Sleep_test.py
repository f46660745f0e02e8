import time

import pytest

from .Sleep import InputError, apply


@pytest.mark.parametrize(
    ("given", "slept"), [(0, 0), (0.05, 0.05), ("0.05", 0.05), ({"seconds": 0.05}, 0.05)]
)
def test_it_sleeps_and_returns_what_it_slept(given, slept):
    started_at = time.monotonic()

    assert apply(given) == slept
    assert time.monotonic() - started_at >= slept


@pytest.mark.parametrize(
    "given",
    [
        None,
        True,
        "soon",
        "nan",
        -1,
        3000.5,
        10**400,
        float("inf"),
        [1],
        {},
        {"seconds": None},
        b"1",
    ],
)
def test_anything_else_is_an_input_error(given):
    with pytest.raises(InputError) as caught:
        apply(given)

    assert caught.value.error_type == "InputError"
    assert "seconds" in str(caught.value)
