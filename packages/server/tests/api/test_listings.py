import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium.wire.bodies import ReadAcl
from algorium_server.api.listings import (
    listing_of,
    parse_acl,
    parse_new_directory,
    timestamp,
)
from algorium_server.data.connector import Entry, Page
from algorium_server.domain.errors import InvalidInput, MalformedJson
from algorium_server.services.files.data import Listing

MOMENT = datetime(2020, 3, 18, 17, 0, 33, 987654, tzinfo=UTC)


def test_the_fraction_of_a_timestamp_is_three_zeros():
    assert timestamp(MOMENT) == "2020-03-18T17:00:33.000Z"
    east = timezone(timedelta(hours=5))
    assert timestamp(MOMENT.astimezone(east)) == "2020-03-18T17:00:33.000Z"


def test_a_listing_has_its_members_in_order():
    entry = Entry(name="a", is_directory=False, size_bytes=12, modified_at=MOMENT)
    page = Page(folders=("sub",), files=(entry,), marker="m")
    listing = listing_of(Listing(page=page, acl=ReadAcl.PRIVATE))

    assert list(listing) == ["folders", "files", "marker", "acl"]
    assert listing == {
        "folders": [{"name": "sub"}],
        "files": [{"filename": "a", "size": 12, "last_modified": "2020-03-18T17:00:33.000Z"}],
        "marker": "m",
        "acl": {"read": []},
    }


def test_what_there_is_nothing_of_is_left_out_but_the_arrays():
    assert listing_of(Listing(page=Page())) == {"folders": [], "files": []}


@pytest.mark.parametrize("is_text", [True, False])
def test_a_new_directory(is_text):
    body = b'{"name":"a","acl":{"read":["user://*"],"_dummy":null},"x":[]}'

    assert parse_new_directory(body, is_text=is_text) == ("a", ReadAcl.PUBLIC)


def test_text_is_a_name():
    assert parse_new_directory(b" a ", is_text=True) == ("a", ReadAcl.MY_ALGORITHMS)


@pytest.mark.parametrize("body", [b'{"name":"a"}', b'{"name":"a","acl":{"read":null}}'])
def test_the_default_lets_the_owners_algorithms_read(body):
    assert parse_new_directory(body, is_text=False) == ("a", ReadAcl.MY_ALGORITHMS)


@pytest.mark.parametrize(
    "entries",
    [["user://bob"], ["algo://*"], ["user://*", "algo://.my/*"], ["user://*", "user://*"], [""]],
)
def test_access_lists_that_are_not_known_are_refused(entries):
    body = json.dumps({"name": "a", "acl": {"read": entries}}).encode()

    for parse in (lambda: parse_new_directory(body, is_text=False), lambda: parse_acl(body)):
        with pytest.raises(InvalidInput, match=r"acl\.read must be"):
            parse()


@given(st.binary(), st.booleans())
def test_any_body_is_read_or_refused(body, is_text):
    for parse in (lambda: parse_new_directory(body, is_text=is_text), lambda: parse_acl(body)):
        try:
            parse()
        except (InvalidInput, MalformedJson):
            continue
