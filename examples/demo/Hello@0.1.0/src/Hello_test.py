import pytest

from .Hello import apply


@pytest.mark.parametrize(
    ("given", "greeting"), [("HAL 9000", "Hello HAL 9000"), ("", "Hello "), (None, "Hello null")]
)
def test_the_input_is_greeted(given, greeting):
    assert apply(given) == greeting
