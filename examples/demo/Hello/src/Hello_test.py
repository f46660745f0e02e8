import pytest

from .Hello import InputError, apply


@pytest.mark.parametrize(
    ("given", "greeting"),
    [
        ("HAL 9000", "Hello HAL 9000"),
        ("", "Hello "),
        ("Zoë", "Hello Zoë"),
        (None, "Hello null"),
        (1, "Hello 1"),
        (True, "Hello true"),
        (["Ada", "Bob"], 'Hello ["Ada", "Bob"]'),
        ("Zoë".encode(), "Hello Zoë"),
    ],
)
def test_the_input_is_greeted(given, greeting):
    assert apply(given) == greeting


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(InputError, match="UTF-8") as caught:
        apply(b"\xff\xfe")

    assert caught.value.error_type == "InputError"
