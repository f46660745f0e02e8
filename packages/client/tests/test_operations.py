"""Sessions, listeners, notifications, reservations, reports and the like, through both clients."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from standin import Fault, StandIn

import algorium
from algorium import InsightsConnection, PackageAddress, PackageSourcesInfo
from algorium.wire import accounts, governance, operations, package_sources, secrets
from algorium.wire.bodies import BodyError

ME = {"user": {"id": "u1", "username": "ada", "email": "ada@example.com"}}
LISTENER = {
    "id": "l1",
    "sourceType": "AmazonSQS",
    "sourceURI": "https://sqs.example.com/q",
    "algoOwner": "demo",
    "algoName": "Hello",
    "algoVersion": "1.0.0",
    "algoTimeoutSeconds": 300,
    "credentials": "********",
    "listenerOwner": "ada",
    "delivery": "stored, not polled",
}
PROVIDER = {
    "id": "p1",
    "name": "vault",
    "description": "",
    "factoryClassName": "HashiCorpVault",
    "isEnabled": True,
    "isDefault": False,
}
RESERVATION = {
    "reservation_id": "r1",
    "username": "demo",
    "algoname": "Hello",
    "version_type": "latest",
    "version_hash": "abc",
    "num_slots": 2,
    "billable_to": "ada",
}


def told(body: Any, status: int = 200) -> Fault:
    return Fault(
        status=status,
        headers={"Content-Type": "application/json"},
        body=b"" if body is None else json.dumps(body).encode(),
    )


def last(stand_in: StandIn) -> tuple[str, str, Any]:
    request = stand_in.last
    return request.method, request.path, json.loads(request.body) if request.body else None


def test_sessions_are_listed_and_ended(client: Any, stand_in: StandIn) -> None:
    session = {"id": "s1", "method": "password", "created_at": "2026-03-29T01:02:03Z"}
    pages = [
        {"marker": "m", "results": [session]},
        {"marker": None, "results": [{**session, "id": "s2", "is_current": True}]},
    ]
    stand_in.faults += [told(page) for page in pages]
    found = list(client.sessions.list("ada", page=1))
    stand_in.faults += [told(ME), told(None, 204), told(None, 204)]
    client.sessions.end("s1")
    one = last(stand_in)
    client.sessions.end_all("ada")

    assert [(each.session_id, each.is_current) for each in found] == [("s1", False), ("s2", True)]
    assert found[0].created_at == datetime(2026, 3, 29, 1, 2, 3, tzinfo=UTC)
    assert one == ("DELETE", "/v1/users/ada/sessions/s1", None)
    assert last(stand_in) == ("DELETE", "/v1/users/ada/sessions", None)


def test_a_change_to_a_listener_keeps_the_rest(client: Any, stand_in: StandIn) -> None:
    stand_in.faults += [told(LISTENER), told({**LISTENER, "algoTimeoutSeconds": 10})]
    changed = client.event_listeners.update("l1", timeout_s=10, username="ada")

    assert (changed.algorithm, changed.version, changed.timeout_s) == ("demo/Hello", "1.0.0", 10)
    kept = {name: LISTENER[name] for name in LISTENER if name[:4] in {"sour", "algo", "cred"}}
    assert last(stand_in) == (
        "PUT",
        "/v1/users/ada/event-listeners/l1",
        {**kept, "algoTimeoutSeconds": 10},
    )
    with pytest.raises(ValueError, match="OWNER/NAME"):
        client.event_listeners.create(
            "AmazonSQS", "x", "11111111-2222-4333-8444-555555555555", credentials="c", username="a"
        )


def test_notifications_are_read(client: Any, stand_in: StandIn) -> None:
    about = {"algorithm_id": "a1", "username": "demo", "algoname": "Hello"}
    notification = {
        "notification_id": "n1",
        "notification_type": "algorithm-release",
        "created_at": "2026-03-29T01:02:03Z",
        "notification_context": {**about, "semantic_version": "1.0.0"},
    }
    stand_in.faults += [told([notification]), told(None, 204)]
    (found,) = client.notifications.list(since=datetime(2026, 3, 1, tzinfo=UTC), username="ada")
    query = stand_in.last.query
    client.notifications.mark_read([found.notification_id], username="ada")

    assert (found.algorithm, found.version, found.read_at) == ("demo/Hello", "1.0.0", None)
    assert query == {
        "event_types": "algorithm-creation,algorithm-release",
        "limit": "100",
        "since": "2026-03-01T00:00:00+00:00",
    }
    body = {"notification_ids": ["n1"]}
    assert last(stand_in) == ("POST", "/v1/users/ada/notifications/read", body)
    with pytest.raises(ValueError, match="time zone"):
        client.notifications.list(since=datetime(2026, 3, 1), username="ada")


def test_reservations_come_and_go(client: Any, stand_in: StandIn) -> None:
    stand_in.faults += [told(None), told([RESERVATION]), told(None)]
    client.reservations.create(
        "demo/Hello", "ada", slots=2, version_type="semantic", version="1.0.0"
    )
    made = last(stand_in)
    (found,) = client.reservations.list()
    client.reservations.delete(found.reservation_id)

    assert made[2] == {
        "username": "demo",
        "algoname": "Hello",
        "calling_user": "ada",
        "version_type": "semantic",
        "version_identifier": "1.0.0",
        "num_slots": 2,
    }
    assert (found.algorithm, found.slots, found.account) == ("demo/Hello", 2, "ada")
    assert last(stand_in) == ("DELETE", "/v1/admin/reservations/r1", None)


def test_a_change_to_a_provider_keeps_the_rest(client: Any, stand_in: StandIn) -> None:
    stand_in.faults += [told(PROVIDER), told(PROVIDER), told([PROVIDER]), told(None, 204)]
    client.secret_providers.update("p1", is_enabled=False)
    changed = last(stand_in)
    (found,) = client.secret_providers.offered()
    client.secret_providers.make_default(found.provider_id)

    assert changed == (
        "POST",
        "/v1/admin/secret-provider/p1",
        {key: value for key, value in PROVIDER.items() if key != "id"} | {"isEnabled": False},
    )
    path = "/v1/admin/plugins/secret-provider/p1/default"
    assert last(stand_in) == ("POST", path, None)


def test_passwords_of_package_sources_are_only_sent(client: Any, stand_in: StandIn) -> None:
    index = {"url": "https://pypi.example.com/simple", "username": "ada"}
    stand_in.faults.append(told({"indexes": [{**index, "has_password": True}], "proxy": None}))
    address = PackageAddress(**index, password="s3cret")
    found = client.package_sources.set(PackageSourcesInfo(indexes=(address,)), account="lab")

    assert last(stand_in)[2]["indexes"] == [{**index, "password": "s3cret"}]
    assert found.indexes == (PackageAddress(**index, has_password=True),)
    assert "s3cret" not in repr(address)


def test_registries_are_entered_and_replaced(client: Any, stand_in: StandIn) -> None:
    registry = {"id": "g1", "name": "ours", "registry_url": "https://r.example.com"}
    stand_in.faults += [told(registry), told(registry), told(None)]
    made = client.registries.create("https://r.example.com", name="ours", password="x")
    first = last(stand_in)
    client.registries.replace(made.registry_id, made.url, name="ours")
    second = last(stand_in)
    client.registries.delete("g1")

    body = {"registry_url": "https://r.example.com", "name": "ours"}
    assert first == ("POST", "/v1/registries", {**body, "registry_password": "x"})
    assert second == ("PUT", "/v1/registries/g1", body)
    assert last(stand_in) == ("DELETE", "/v1/registries/g1", None)


def test_reports_are_values_or_csv(client: Any, stand_in: StandIn) -> None:
    row = {"day": "2026-03-29", "account": "ada", "executions": 3, "hosted_storage_mib": 1.5}
    days = {"start_date": "2026-03-01", "end_date": "2026-03-29", "by": "account"}
    csv = Fault(
        status=200, headers={"Content-Type": "text/csv; charset=utf-8"}, body=b"day,account\r\n"
    )
    stand_in.faults += [told({**days, "results": [row]}), csv]
    found = client.reports.governance(by="account", first=date(2026, 3, 1))
    asked = stand_in.last.path, stand_in.last.query
    text = client.reports.governance_csv(by="account", organization="lab")

    assert asked == ("/v1/admin/governance", {"by": "account", "start_date": "2026-03-01"})
    (shown,) = found.rows
    assert (shown.subject, shown.executions, shown.hosted_storage_mib) == ("ada", 3, 1.5)
    assert (shown.members, shown.cpu_cost, found.last) == (None, 0.0, "2026-03-29")
    assert (stand_in.last.path, text) == ("/v1/organizations/lab/governance", "day,account\r\n")


def test_insights_go_where_it_is_said(client: Any, stand_in: StandIn) -> None:
    wanted = InsightsConnection(
        connection_type="kafka_sasl_ssl", broker_url="k.example.com:9093", topic="t"
    )
    body = {"connection_type": "kafka_sasl_ssl", "broker_url": "k.example.com:9093", "topic": "t"}
    stand_in.faults += [told({**body, "id": "i1", "delivery": {"sent": 4, "lost": 1}})]
    made = client.admin.connect_insights(wanted, password="s3cret")

    path = "/v1/admin/insights-connection"
    assert last(stand_in) == ("POST", path, {**body, "broker_password": "s3cret"})
    assert (made.sent, made.lost, made.waiting) == (4, 1, 0)


@pytest.mark.parametrize(
    "reader",
    [
        accounts.SessionInfo.from_json,
        governance.GovernanceReport.from_json,
        governance.LegacyAlgorithm.from_json,
        operations.EventListenerInfo.from_json,
        operations.InsightsConnection.from_json,
        operations.NotificationInfo.from_json,
        operations.RegistryInfo.from_json,
        operations.ReservationInfo.from_json,
        package_sources.PackageSourcesInfo.from_json,
        secrets.ProviderInfo.from_json,
    ],
    ids=lambda reader: reader.__self__.__name__,
)
def test_what_is_none_is_refused(reader: Any) -> None:
    for body in (None, [], {}, "x", {"id": 1}):
        with pytest.raises(BodyError):
            reader(body)


def test_an_answer_of_another_kind_is_told(client: Any, stand_in: StandIn) -> None:
    stand_in.faults += [told([{}]), told({"results": {}}), told({"day": 1})]

    with pytest.raises(algorium.UnexpectedResponse):
        client.reservations.list()
    with pytest.raises(algorium.UnexpectedResponse):
        client.reports.legacy_algorithms()
    assert client.reports.rates() == {"day": 1}


def test_an_image_of_the_installation_is_chosen(client: Any, stand_in: StandIn) -> None:
    image = Fault(status=200, headers={"Content-Type": "image/png"}, body=b"\x89PNG")
    stand_in.faults += [image, told(None, 201), told(None, 204)]
    found = client.admin.image("logo")
    client.admin.set_image("favicon", b"\x00\x00\x01\x00")
    sent = stand_in.last
    client.admin.reset_image("favicon")

    assert found == b"\x89PNG"
    assert (sent.method, sent.path, sent.body) == (
        "POST",
        "/v1/config/favicon",
        b"\x00\x00\x01\x00",
    )
    assert last(stand_in) == ("DELETE", "/v1/config/favicon", None)
    with pytest.raises(ValueError, match="favicon and a logo"):
        client.admin.image("banner")


def test_the_audit_log_comes_as_lines_in_pieces(client: Any, stand_in: StandIn) -> None:
    lines = b'{"number":1}\n{"number":2}\n'
    kind = {"Content-Type": "application/x-ndjson"}
    stand_in.faults.append(Fault(status=200, headers=kind, body=lines))
    found = b"".join(client.admin.export_audit(actor="ada", since=datetime(2026, 3, 1, tzinfo=UTC)))

    assert found == lines
    assert stand_in.last.path == "/v1/admin/audit/export"
    assert stand_in.last.query == {"actor": "ada", "since": "2026-03-01T00:00:00+00:00"}
    stand_in.faults.append(Fault(status=200, headers=kind, body=lines, claims_bytes=10_000))
    with pytest.raises(algorium.ConnectionLost):
        list(client.admin.export_audit())
    stand_in.faults.append(Fault(status=200))
    with pytest.raises(algorium.UnexpectedResponse, match="no lines"):
        list(client.admin.export_audit())


def test_environments_are_switched_by_administrators(client: Any, stand_in: StandIn) -> None:
    cuda = {"id": "e1", "environment_specification_id": "sp1", "display_name": "CUDA"}
    stand_in.faults += [
        told([{**cuda, "enabled": False, "reason": "no GPU here"}]),
        told({**cuda, "enabled": True}),
        told(None, 204),
    ]
    (found,) = client.environments.available()
    enabled = client.environments.enable(found.specification_id)
    path = "/v1/algorithm-environments/edge/environment-specifications/sp1"
    asked = last(stand_in)
    client.environments.disable(found.specification_id)

    assert (found.is_enabled, found.reason, enabled.is_enabled) == (False, "no GPU here", True)
    assert asked == ("POST", f"{path}/syncs", None)
    assert last(stand_in) == ("DELETE", path, None)


def test_documents_in_openapi_and_source_are_fetched(client: Any, stand_in: StandIn) -> None:
    hello = client.algorithms("demo/Hello")
    archive = Fault(status=200, headers={"Content-Type": "application/gzip"}, body=b"\x1f\x8b...")
    stand_in.faults += [told({"openapi": "3.1.0"}), told({"openapi": "3.1.0", "info": {}}), archive]
    whole = client.openapi()
    of_server = stand_in.last.path
    one = hello.openapi("1.0.0")
    of_one = (stand_in.last.path, stand_in.last.query)

    assert (whole, one) == ({"openapi": "3.1.0"}, {"openapi": "3.1.0", "info": {}})
    assert of_server == "/v1/openapispec"
    assert of_one == ("/v1/algorithms/demo/Hello/openapi.json", {"version": "1.0.0"})
    assert hello.source_archive(at="abc") == b"\x1f\x8b..."
    assert stand_in.last.path == "/v1/algorithms/demo/Hello/source.tar.gz"
    assert stand_in.last.query == {"ref": "abc"}
    stand_in.faults.append(told({"error": "a proxy's"}))
    with pytest.raises(algorium.UnexpectedResponse, match="no document"):
        client.openapi()
    stand_in.faults.append(told({}))
    with pytest.raises(algorium.UnexpectedResponse, match="no archive"):
        hello.source_archive()


def test_an_algorithm_is_given_a_collection(client: Any, stand_in: StandIn) -> None:
    of_acme = {"id": "c1", "username": "acme", "collection_name": "models"}
    hosted = {"result": [of_acme, {**of_acme, "id": "c2", "username": "Ada"}]}
    hello = client.algorithms("demo/Hello")
    stand_in.faults += [told(ME), told(hosted), told({"id": "a1", "name": "Hello"}), told(None)]
    hello.set_default_collection("data://.my/models")

    assert last(stand_in) == ("POST", "/v1/algorithms/a1/collections/c2", None)
    stand_in.faults += [told(hosted)]
    with pytest.raises(algorium.PathNotFound, match="data://acme/none"):
        hello.set_default_collection("data://acme/none")
    for wrong in ("data://acme/models/x", "s3://acme/models", "data://.my"):
        with pytest.raises(ValueError, match="a collection is"):
            hello.set_default_collection(wrong)
