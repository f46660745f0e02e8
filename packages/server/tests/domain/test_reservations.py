"""Kinds of versions as they are spelled, and what they need."""

import pytest

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.reservations import (
    VersionType,
    check_identifier,
    check_slots,
    parse_version_type,
)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("latest_public", VersionType.LATEST_PUBLIC),
        ("Latest-Public", VersionType.LATEST_PUBLIC),
        ("Latest PUBLIC version", VersionType.LATEST_PUBLIC),
        ("LATEST_PRIVATE", VersionType.LATEST_PRIVATE),
        ("Latest compiled version", VersionType.LATEST),
        ("latest", VersionType.LATEST),
        ("Specific semantic version", VersionType.SEMANTIC),
        ("semantic_version", VersionType.SEMANTIC),
        ("Specific version hash", VersionType.HASH),
        ("HASH", VersionType.HASH),
    ],
)
def test_a_kind_of_version_is_read_leniently(text, meant):
    assert parse_version_type(text) is meant


@pytest.mark.parametrize("text", ["", "public", "version", "newest"])
def test_what_is_no_kind_is_refused_with_those_there_are(text):
    with pytest.raises(InvalidInput, match="latest_public, latest_private, latest"):
        parse_version_type(text)


def test_an_identifier_is_what_its_kind_needs():
    sha = "AB" * 20

    assert check_identifier(VersionType.SEMANTIC, " 1.2.3 ") == "1.2.3"
    assert check_identifier(VersionType.HASH, sha) == sha.lower()
    assert check_identifier(VersionType.LATEST, "whatever") == ""
    for version_type, text in (
        (VersionType.SEMANTIC, ""),
        (VersionType.SEMANTIC, "1.2"),
        (VersionType.SEMANTIC, sha),
        (VersionType.HASH, ""),
        (VersionType.HASH, "1.2.3"),
    ):
        with pytest.raises(InvalidInput):
            check_identifier(version_type, text)


def test_slots_are_a_positive_number():
    assert check_slots(1) == 1
    for number in (0, -1, 10**9):
        with pytest.raises(InvalidInput):
            check_slots(number)
