"""Usage, through both clients."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from standin import Fault, StandIn

from algorium import NotAuthorized, UnexpectedResponse, UsageRecord, UsageTotal
from algorium.wire.bodies import BodyError
from algorium.wire.usage import UsagePage

FULL = {
    "request_id": "req-1",
    "tree_id": "req-0",
    "started_at": "2026-03-29T01:02:03.456Z",
    "account": "ada",
    "key_id": "k",
    "algorithm": "demo/Hello",
    "version": "1.0.0",
    "commit": "ab",
    "outcome": "error",
    "error_type": "AlgorithmError",
    "is_void": True,
    "queue_s": 0.5,
    "load_s": 1,
    "run_s": 2.5,
    "cpu_s": 0.25,
    "peak_memory_bytes": 1000,
    "input_bytes": 10,
    "output_bytes": 0,
    "something_new": [],
}


def test_records_are_read_page_by_page(client: Any, stand_in: StandIn) -> None:
    stand_in.usage = [{**FULL, "request_id": f"req-{number}"} for number in range(7)]

    records = list(client.usage())

    assert [record.request_id for record in records] == [f"req-{number}" for number in range(7)]
    assert [request.query.get("marker") for request in stand_in.requests] == [None, "3", "6"]
    known = {name: value for name, value in FULL.items() if name != "something_new"}
    moment = datetime(2026, 3, 29, 1, 2, 3, 456000, UTC)
    assert records[1] == UsageRecord(**{**known, "started_at": moment})


def test_sums_are_read_to_the_end(client: Any, stand_in: StandIn) -> None:
    stand_in.usage = [{"day": f"2026-03-0{number}", "calls": number} for number in range(1, 8)]

    totals = client.usage_totals(by=["day"], since=date(2026, 3, 1))

    assert totals == [UsageTotal(day=f"2026-03-0{number}", calls=number) for number in range(1, 8)]
    assert stand_in.requests[0].query == {"from": "2026-03-01", "by": "day", "limit": "1000"}


def test_what_is_wanted_is_asked_for(client: Any, stand_in: StandIn) -> None:
    until = datetime(2026, 3, 29, 3, tzinfo=UTC)
    list(client.usage(until=until, algorithm="demo/Hello", account="lab", page=10))

    assert stand_in.last.query == {
        "to": "2026-03-29T03:00:00+00:00",
        "algorithm": "demo/Hello",
        "account": "lab",
        "limit": "10",
    }


def test_a_key_that_may_not_see_usage_is_told(client: Any, stand_in: StandIn) -> None:
    body = json.dumps({"error": {"message": "no", "code": 2001, "hint": "Not allowed."}}).encode()
    headers = {"Content-Type": "application/json"}
    stand_in.faults.append(Fault(status=403, headers=headers, body=body))

    with pytest.raises(NotAuthorized) as refused:
        client.usage_totals()

    assert refused.value.hint == "Not allowed."


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"results": None},
        {"results": [1]},
        {"results": [{}]},
        {"results": [{"request_id": 1, "started_at": "2026-03-29"}]},
        {"results": [{"request_id": "r", "started_at": "now"}]},
        {"results": [{**FULL, "run_s": "1"}]},
        {"results": [{**FULL, "run_s": True}]},
        {"results": [{**FULL, "input_bytes": 1.5}]},
        {"results": [{**FULL, "is_void": 0}]},
    ],
)
def test_nonsense_is_no_usage(
    make_client: Callable[..., Any], stand_in: StandIn, body: dict[str, Any]
) -> None:
    with pytest.raises(BodyError):
        UsagePage.from_json(body, UsageRecord)
    headers = {"Content-Type": "application/json"}
    stand_in.faults.append(Fault(status=200, headers=headers, body=json.dumps(body).encode()))

    with pytest.raises(UnexpectedResponse):
        list(make_client().usage())


def test_pages_that_lead_nowhere_end(client: Any, stand_in: StandIn) -> None:
    page = json.dumps({"marker": "x", "results": []}).encode()
    headers = {"Content-Type": "application/json"}
    stand_in.faults.extend([Fault(status=200, headers=headers, body=page)] * 2)

    with pytest.raises(UnexpectedResponse, match="does not advance"):
        list(client.usage())
