"""Secrets of algorithms, through both clients."""

import json
from typing import Any

import pytest
from standin import Fault, StandIn

import algorium
from algorium._errors import UnexpectedResponse
from algorium.wire.bodies import BodyError
from algorium.wire.secrets import SecretInfo

TOKEN = {
    "id": "s1",
    "short_name": "weather",
    "description": " ",
    "secret_key": "TOKEN",
    "owner_type": "algorithm",
    "owner_id": "a1",
    "provider_id": "p1",
    "default_secret_value_id": "v1",
    "created": "2026-03-29T01:02:03.456Z",
    "modified": "2026-03-29T01:02:05.456Z",
}


def told(body: Any, status: int = 200) -> Fault:
    return Fault(
        status=status,
        headers={"Content-Type": "application/json"},
        body=json.dumps(body).encode(),
    )


def listed(*secrets: Any) -> Fault:
    return told({"secrets": secrets, "results": secrets})


@pytest.fixture
def secrets(client: Any) -> Any:
    return client.algorithms("ada/echo").secrets


def test_secrets_are_listed_without_values(secrets: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(listed(TOKEN))
    (found,) = secrets.list()

    assert stand_in.last.path == "/v1/algorithms/ada/echo/secrets"
    assert (found.secret_id, found.variable, found.name) == ("s1", "TOKEN", "weather")
    assert (found.description, found.value_id) == ("", "v1")
    assert found.modified_at is not None


def test_a_variable_that_is_new_is_added(secrets: Any, stand_in: StandIn) -> None:
    stand_in.faults += [listed(), told(TOKEN)]
    made = secrets.set("TOKEN", "x", description="d", provider_id="p1")

    assert made.secret_id == "s1"
    assert (stand_in.last.method, stand_in.last.path) == ("POST", "/v1/algorithms/ada/echo/secrets")
    assert json.loads(stand_in.last.body) == {
        "short_name": "TOKEN",
        "description": "d",
        "secret_key": "TOKEN",
        "secret_value": "x",
        "owner_type": "algorithm",
        "provider_id": "p1",
    }


def test_a_variable_that_is_there_is_changed(secrets: Any, stand_in: StandIn) -> None:
    stand_in.faults += [listed(TOKEN), told(TOKEN)]
    secrets.set("TOKEN", name="new")

    assert stand_in.last.method == "PUT"
    assert stand_in.last.path == "/v1/algorithms/ada/echo/secrets/s1"
    assert json.loads(stand_in.last.body) == {
        "short_name": "new",
        "description": "",
        "secret_key": "TOKEN",
    }


def test_a_variable_is_deleted_if_it_is_there(secrets: Any, stand_in: StandIn) -> None:
    stand_in.faults += [listed(TOKEN), Fault(status=204, body=b""), listed()]
    secrets.delete("TOKEN")
    last = stand_in.last
    with pytest.raises(algorium.NotFound, match="no secret TOKEN"):
        secrets.delete("TOKEN")

    assert (last.method, last.path) == ("DELETE", "/v1/algorithms/ada/echo/secrets/s1")


def test_slots_are_recycled(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(Fault(status=204, body=b""))
    client.algorithms("ada/echo").recycle()

    assert (stand_in.last.method, stand_in.last.path) == ("POST", "/v1/algorithms/ada/echo/recycle")


@pytest.mark.parametrize("body", [[], {}, {"secrets": {}}, {"secrets": [1]}, {"secrets": [{}]}])
def test_what_is_no_list_of_secrets_is_told(secrets: Any, stand_in: StandIn, body: Any) -> None:
    stand_in.faults.append(told(body))
    with pytest.raises(UnexpectedResponse):
        secrets.list()


def test_times_may_be_missing_or_without_a_zone() -> None:
    found = SecretInfo.from_json({**TOKEN, "created": None, "modified": "2026-03-29T01:02:03"})

    assert found.created_at is None
    assert found.modified_at is not None
    assert found.modified_at.tzinfo is not None
    with pytest.raises(BodyError):
        SecretInfo.from_json({**TOKEN, "secret_key": ""})
