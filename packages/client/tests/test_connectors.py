"""Connectors and storage, as the client shows them."""

from collections.abc import Callable
from typing import Any

import pytest
from standin import Directory, Fault, StandIn

import algorium
from algorium import ConnectorCheck, StorageUse

S3 = {"access_key_id": "AKIA", "secret_access_key": "secret"}


def test_connectors_are_made_changed_and_deleted(client: Any, stand_in: StandIn) -> None:
    connectors = client.connectors

    made = connectors.create("s3", S3, label="archive", path="bucket/*", options={"region": "x"})
    assert str(made.uri) == "s3+archive://"
    assert (made.owner, made.is_writeable, made.path) == ("ada", False, "bucket/*")
    assert made.options == {"region": "x"}
    assert made.created_at is not None
    assert connectors.get(made.connector_id) == made
    changed = connectors.update(made, is_writeable=True, is_default=True)
    assert (changed.is_writeable, changed.is_default, changed.path) == (True, True, "bucket/*")
    assert "cred_data" not in stand_in.last.body.decode()
    assert list(connectors.list()) == [changed]
    with pytest.raises(algorium.AlreadyExists):
        connectors.create("s3", S3, label="archive")
    connectors.delete(made)
    assert list(connectors.list()) == []
    with pytest.raises(algorium.NotFound):
        connectors.delete(made)


def test_many_connectors_come_page_by_page(client: Any, stand_in: StandIn) -> None:
    for number in range(7):
        client.connectors.create("s3", S3, label=str(number))

    assert [each.label for each in client.connectors.list()] == [str(n) for n in range(7)]


def test_a_test_tells_what_can_be_done(client: Any) -> None:
    connectors = client.connectors
    made = connectors.create("s3", S3, label="x")

    report = connectors.test(made)
    assert (report.ok, report.write) == (True, None)
    report = connectors.test(connectors.update(made, is_writeable=True))
    assert (report.ok, report.write) == (False, ConnectorCheck(ok=False, message="AccessDenied"))


def test_what_is_wrong_is_told(client: Any) -> None:
    with pytest.raises(ValueError, match="azureblob"):
        client.connectors.create("ftp", {})
    with pytest.raises(algorium.NotAuthorized):
        list(client.connectors.of("grace").list())


def test_storage_tells_use_and_limits(client: Any, stand_in: StandIn) -> None:
    stand_in.directories["photos"] = Directory(read=[], files={"a": b"123", "b": b"4567"})

    assert client.storage() == StorageUse(username="ada", bytes=7, files=2, bytes_max=1000)
    with pytest.raises(algorium.AccountNotFound):
        client.storage("lab")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(status=507, body=b'{"error":{"message":"the disk is full"}}'), "OutOfSpace"),
        (
            Fault(
                status=507,
                body=b'{"error":{"message":"m","limit":10,"used":9,"unit":"bytes"}}',
            ),
            "QuotaExceeded",
        ),
        (Fault(status=502, body=b'{"error":{"message":"AccessDenied"}}'), "SourceFailed"),
        (Fault(status=502, headers={"Content-Type": "text/html"}), "Unavailable"),
        (Fault(status=412, body=b'{"error":{"message":"m"}}'), "ConditionFailed"),
    ],
)
def test_refusals_have_classes(
    make_client: Callable[..., Any], stand_in: StandIn, fault: Fault, expected: str
) -> None:
    headers = {"Content-Type": "application/json", **fault.headers}
    stand_in.faults.append(Fault(status=fault.status, headers=headers, body=fault.body))

    with pytest.raises(algorium.ApiError) as caught:
        make_client(retries_max=0).file("data://.my/photos/a").put(b"x")

    assert type(caught.value).__name__ == expected
    if isinstance(caught.value, algorium.QuotaExceeded):
        assert (caught.value.limit, caught.value.used, caught.value.unit) == (10, 9, "bytes")
