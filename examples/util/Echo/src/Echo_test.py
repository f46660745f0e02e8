import pytest

from .Echo import apply


@pytest.mark.parametrize(
    "value", ["text", "", b"\x00\xff", None, 0, 1.5, False, [], [1, [2]], {"a": {"b": None}}]
)
def test_the_input_comes_back_unchanged(value):
    assert apply(value) == value
    assert type(apply(value)) is type(value)
