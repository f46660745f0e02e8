"""Names of algorithms and accounts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain.algorithms import check_algorithm_name
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.identity import check_account_name

CHECKS = [(check_algorithm_name, 100), (check_account_name, 30)]


@pytest.mark.parametrize(("check", "chars_max"), CHECKS)
def test_a_letter_then_letters_digits_and_underscores_is_a_name(check, chars_max):
    for name in ("a", "Hello", "Face_Detection2", "x" * chars_max):
        assert check(name) == name


@pytest.mark.parametrize(("check", "chars_max"), CHECKS)
def test_other_names_are_refused_and_repeated(check, chars_max):
    for name in ("", "2fast", "_x", "a-b", "a.b", "a b", "a/b", "ä", "a\n", "x" * (chars_max + 1)):
        with pytest.raises(InvalidInput) as caught:
            check(name)

        assert repr(name) in caught.value.message


@pytest.mark.parametrize(("check", "chars_max"), CHECKS)
@given(name=st.text(max_size=110))
def test_any_text_is_a_short_ascii_name_or_is_refused(check, chars_max, name):
    try:
        check(name)
    except InvalidInput:
        return

    assert name.isascii()
    assert name.isidentifier()
    assert len(name) <= chars_max
