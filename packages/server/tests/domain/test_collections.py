"""Names of collections and files, and who may read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain.collections import (
    ReadAcl,
    check_collection_name,
    check_file_name,
)
from algorium_server.domain.errors import InvalidInput


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


@pytest.mark.parametrize("acl", ReadAcl)
def test_the_wires_list_reads_back(acl):
    assert ReadAcl.of_entries(acl.entries) is acl


def test_the_default_lets_the_owners_algorithms_read():
    assert ReadAcl.of_entries(None) is ReadAcl.MY_ALGORITHMS
    assert ReadAcl.of_entries(["algo://.my/*"]) is ReadAcl.MY_ALGORITHMS


@pytest.mark.parametrize(
    "entries",
    [["user://bob"], ["algo://*"], ["user://*", "algo://.my/*"], ["user://*", "user://*"], [""]],
)
def test_other_lists_are_refused(entries):
    with pytest.raises(InvalidInput, match=r"acl\.read"):
        ReadAcl.of_entries(entries)


@pytest.mark.parametrize("acl", ReadAcl)
def test_the_list_is_the_callers_own(acl):
    acl.entries.append("user://mallory")

    assert ReadAcl.of_entries(acl.entries) is acl
