"""What algorithms report goes to Kafka, and nobody waits for it; all but the broker is real."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from authors import Author
from running import RunningServer
from waiting import wait_until

sys.path.append(str(Path(__file__).parents[2] / "packages" / "server" / "tests"))

from stand_in_kafka import StandInKafka

SOURCE = """
import json, os, urllib.error, urllib.request

def apply(input):
    # As the old service's client does it: no key, and the answer is not read.
    body = json.dumps([{"insight_key": key, "insight_value": input[key]} for key in input])
    request = urllib.request.Request(
        os.environ["ALGORITHMIA_API"] + "/v1/insights",
        data=body.encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return [answer.status, json.load(answer)]
    except urllib.error.HTTPError as error:
        return [error.code, json.load(error)]
"""
CONNECTION = "/v1/admin/insights-connection"


@pytest.fixture(scope="module")
def broker() -> Iterator[StandInKafka]:
    with StandInKafka() as broker:
        yield broker


@pytest.fixture(scope="module")
def author(broker: StandInKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Author]:
    place = tmp_path_factory.mktemp("insights")
    options = ("--connector-allow", broker.address)
    with RunningServer(place / "home", *options) as running:
        author = Author(running, place)
        author.create("Report", SOURCE)
        yield author
        author.http.close()


def as_admin(author: Author, method: str, path: str, **body: str) -> dict[str, object]:
    headers = {"Authorization": f"Simple {author.server.credentials['admin_api_key']}"}
    answer = author.http.request(method, path, headers=headers, json=body)
    assert answer.is_success, answer.text
    found: dict[str, object] = answer.json() if answer.content else {}
    return found


def test_a_record_for_each_call_of_a_version_that_wants_them(
    author: Author, broker: StandInKafka
) -> None:
    info = author.publish("Report", insights_enabled=True)["version_info"]
    version, commit = info["semantic_version"], info["git_hash"]
    as_admin(
        author,
        "POST",
        CONNECTION,
        connection_type="kafka_unauthenticated_plaintext",
        broker_url=broker.address,
        topic="metrics",
    )
    call = author.server.call

    # What is called by its commit was not published to report anything.
    assert call(f"admin/Report/{commit}", {"cats": 1}).json()["result"] == [200, {"response": "OK"}]
    answer = call(f"admin/Report/{version}", {"cats": 4, "dogs": "7"})
    assert answer.json()["result"] == [200, {"response": "OK"}]
    assert call(f"admin/Report/{version}", {"timestamp": 1}).json()["result"][0] == 400
    found = {record["request_id"]: record for record in broker.wait_for(2)}
    record = found.pop(answer.headers["x-request-id"])
    assert record.pop("timestamp").endswith("Z")
    assert record.pop("duration_milliseconds") >= 0
    assert record == {
        "request_id": answer.headers["x-request-id"],
        "cats": 4,
        "dogs": "7",
        "algorithm_owner": "admin",
        "algorithm_name": "Report",
        "algorithm_version": version,
    }
    # The call whose report was refused has run: what the platform knows of it is told.
    (other,) = found.values()
    assert set(other) == {*record, "timestamp", "duration_milliseconds"} - {"cats", "dogs"}
    assert {topic for topic, _ in broker.received} == {"metrics"}


def test_brokers_that_take_nothing_hold_up_no_call(author: Author, broker: StandInKafka) -> None:
    before, asked = len(broker.received), broker.asked
    broker.is_refusing = True
    try:
        answer = author.server.call("admin/Report/latestPrivate", {"mice": 1})
        assert answer.json()["result"] == [200, {"response": "OK"}]
        broker.wait_asked(asked + 1)
    finally:
        broker.is_refusing = False
    record = broker.wait_for(before + 1)[-1]
    assert (record["mice"], record["request_id"]) == (1, answer.headers["x-request-id"])

    def delivered() -> bool:
        return as_admin(author, "GET", CONNECTION)["delivery"] == {
            "sent": 3,
            "waiting": 0,
            "lost": 0,
            "remedy": "",
        }

    wait_until(delivered, timeout_s=30, what="everything was sent")


def test_its_owner_was_told_of_the_algorithm_and_of_its_version(author: Author) -> None:
    types = "algorithm-creation,algorithm-release"
    answer = author.http.get("/v1/users/admin/notifications", params={"event_types": types})
    assert answer.status_code == 200, answer.text
    told = [
        (
            each["notification_type"],
            each["notification_context"]["algoname"],
            each["notification_context"].get("semantic_version"),
        )
        for each in answer.json()
    ]

    assert told == [
        ("algorithm-release", "Report", "0.1.0"),
        ("algorithm-creation", "Report", None),
    ]
