from datetime import UTC, datetime
from typing import Any

import pytest

from algorium.wire.bodies import (
    BodyError,
    CallEnvelope,
    CallMetadata,
    DataAcl,
    ErrorBody,
    FileEntry,
    Listing,
    ReadAcl,
    VoidReply,
)


@pytest.mark.parametrize("acl", list(ReadAcl))
def test_access_lists_survive_the_way_there_and_back(acl: ReadAcl) -> None:
    assert DataAcl.from_json(DataAcl.from_read(acl).to_json()) == DataAcl(read=acl)
    assert ReadAcl.of_entries(acl.entries) is acl


@pytest.mark.parametrize("acl", list(ReadAcl))
def test_the_list_is_the_callers_own(acl: ReadAcl) -> None:
    acl.entries.append("user://mallory")

    assert ReadAcl.of_entries(acl.entries) is acl


@pytest.mark.parametrize("value", [None, [], {}, {"read": None}, {"read": ["user://ada"]}])
def test_other_access_lists_are_refused(value: Any) -> None:
    with pytest.raises(BodyError, match="acl"):
        DataAcl.from_json(value)


def test_a_listing_is_read_whole() -> None:
    listing = Listing.from_json(
        {
            "folders": [{"name": "sub"}],
            "files": [
                {"filename": "a.txt", "size": 12, "last_modified": "2020-03-18T17:00:33.000Z"}
            ],
            "marker": "m",
            "acl": {"read": []},
            "later": "ignored",
        }
    )

    at = datetime(2020, 3, 18, 17, 0, 33, tzinfo=UTC)
    assert listing == Listing(
        folders=("sub",),
        files=(FileEntry(filename="a.txt", size=12, last_modified=at),),
        marker="m",
        acl=DataAcl(read=ReadAcl.PRIVATE),
    )
    assert Listing.from_json({}) == Listing()


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"folders": {}},
        {"folders": [{}]},
        {"folders": [{"name": "../up"}]},
        {"files": [{"filename": "a", "size": "1", "last_modified": "2020-03-18T17:00:33.000Z"}]},
        {"files": [{"filename": "a", "size": 1, "last_modified": "yesterday"}]},
        {"files": [{"filename": "..", "size": 1, "last_modified": "2020-03-18T17:00:33.000Z"}]},
    ],
)
def test_other_listings_are_refused(value: Any) -> None:
    with pytest.raises(BodyError):
        Listing.from_json(value)


def test_an_envelope_is_read_whole() -> None:
    envelope = CallEnvelope.from_json(
        {
            "metadata": {
                "content_type": "json",
                "duration": 0.5,
                "stdout": "printed",
                "alerts": ["careful"],
                "timing": {"running": 1, "odd": "x"},
            },
            "result": None,
        }
    )

    assert envelope.result is None
    assert envelope.metadata == CallMetadata(
        content_type="json",
        duration=0.5,
        stdout="printed",
        alerts=("careful",),
        timing={"running": 1},
    )


@pytest.mark.parametrize(
    "value",
    [
        7,
        {},
        {"metadata": {"content_type": "json"}},
        {"result": 1},
        {"result": 1, "metadata": {"content_type": "xml"}},
    ],
)
def test_other_envelopes_are_refused(value: Any) -> None:
    with pytest.raises(BodyError):
        CallEnvelope.from_json(value)


def test_a_receipt_needs_its_request() -> None:
    assert VoidReply.from_json({"async": "void", "request_id": "req-1"}).request_id == "req-1"
    with pytest.raises(BodyError, match="request_id"):
        VoidReply.from_json({"async": "void"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"error": "No such algorithm"}, ErrorBody(message="No such algorithm")),
        ({"error": {"message": "no", "code": 2001}}, ErrorBody(message="no", code=2001)),
        ({"error": {"code": "x"}}, ErrorBody(message="The server gave no reason.")),
        (
            {"error": {"message": "m", "stack_trace": "T", "id": "i", "hint": "h", "deleted": 3}},
            ErrorBody(message="m", stacktrace="T", error_id="i", hint="h", deleted=3),
        ),
        ({"result": 1}, None),
        ({"error": None}, None),
        ([], None),
    ],
)
def test_errors_are_read_in_every_spelling(value: Any, expected: ErrorBody | None) -> None:
    assert ErrorBody.from_json(value) == expected
