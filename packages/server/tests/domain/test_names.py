"""Names of accounts, algorithms, collections and files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.names import (
    check_account_name,
    check_algorithm_name,
    check_collection_name,
    check_file_name,
)

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


@pytest.mark.parametrize("name", ["a", "Z9_", "RTest_directoryACLUpdatePermissions", "x" * 100])
def test_a_collection_may_be_called_so(name):
    assert check_collection_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "9a", "_a", "a-b", "a.b", "a b", "a/b", ".my", "é", "a\n", "x" * 101]
)
def test_a_collection_may_not_be_called_so(name):
    with pytest.raises(InvalidInput, match="directory name"):
        check_collection_name(name)


@pytest.mark.parametrize(
    "name", ["a", ".hidden", "...", "a b+c%.png", "Пароход.png", "x" * 255, "é" * 127, "a\\b"]
)
def test_a_file_may_be_called_so(name):
    assert check_file_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/", "a\0", "x" * 256, "é" * 128, "a\ud800"]
)
def test_a_file_may_not_be_called_so(name):
    with pytest.raises(InvalidInput, match="file name"):
        check_file_name(name)


@given(st.text(alphabet=st.characters(), max_size=300))
def test_any_text_is_a_file_name_or_is_refused(name):
    try:
        check_file_name(name)
    except InvalidInput:
        return

    assert 1 <= len(name.encode()) <= 255
    assert "/" not in name
    assert name not in {".", ".."}
