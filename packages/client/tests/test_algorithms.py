import enum
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from standin import KEY, Fault, StandIn

import algorium
from algorium import _errors
from algorium.wire.codes import ERROR_TYPES


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Image:
    url: str
    colour: Colour
    taken: date


def test_text_goes_and_comes_as_text(client: Any, stand_in: StandIn) -> None:
    response = client.algo("demo/Hello").pipe("HAL 9000")

    assert response.as_string() == "Hello HAL 9000"
    assert response.metadata.content_type == "text"
    assert response.metadata.duration == 0.5
    assert response.metadata.request_id == "req-11111111-2222-4333-8444-555555555555"
    assert stand_in.last.path == "/v1/algo/demo/Hello"
    assert stand_in.last.headers["content-type"] == "text/plain; charset=utf-8"
    assert stand_in.last.headers["authorization"] == f"Simple {KEY}"
    assert stand_in.last.query == {}


def test_bytes_go_and_come_as_bytes(client: Any) -> None:
    content = bytes(range(256))

    response = client.algo("util/Echo").pipe(content)

    assert response.as_bytes() == content
    assert response.metadata.content_type == "binary"


@pytest.mark.parametrize("value", [None, True, 1, 1.5, [], {"docsList": ["a", "ä"]}, [[None]]])
def test_other_values_go_and_come_as_json(client: Any, value: Any, stand_in: StandIn) -> None:
    response = client.algo("util/Echo/0.2.1").pipe(value)

    assert response.as_json() == value
    assert json.loads(response.to_json()) == value
    assert stand_in.last.headers["content-type"] == "application/json"
    assert stand_in.last.path == "/v1/algo/util/Echo/0.2.1"


def test_dataclasses_enums_and_dates_are_json(client: Any) -> None:
    image = Image("data://.my/a/b.jpg", Colour.RED, date(2020, 3, 18))

    response = client.algo("util/Echo").pipe({"images": [image]})

    expected = {"url": "data://.my/a/b.jpg", "colour": "red", "taken": "2020-03-18"}
    assert response.result == {"images": [expected]}
    assert response.decode(dict[str, list[Image]]) == {"images": [image]}


@pytest.mark.parametrize("value", [float("nan"), {"a": b"bytes"}, object(), {1, object()}])
def test_a_value_that_is_not_json_is_refused_before_sending(
    client: Any, value: Any, stand_in: StandIn
) -> None:
    with pytest.raises((TypeError, ValueError)):
        client.algo("util/Echo").pipe(value)

    assert stand_in.requests == []


def test_options_make_new_handles(client: Any, stand_in: StandIn) -> None:
    plain = client.algo("demo/Hello")
    handle = plain.timeout(10).stdout(False).timing(True).query(tag="a b")

    handle.pipe("x")
    assert stand_in.last.query == {
        "timeout": "10",
        "stdout": "false",
        "timing": "1",
        "tag": "a b",
    }
    plain.pipe("x")
    assert stand_in.last.query == {}


def test_handles_cannot_be_changed(client: Any) -> None:
    handle = algorium.Algorium(api_address="http://127.0.0.1:1").algo("demo/Hello")

    with pytest.raises(AttributeError, match="immutable"):
        handle.options = handle.timeout(1).options
    assert repr(handle.timeout(1)) == "<AlgorithmHandle algo://demo/Hello?timeout=1>"


def test_stdout_and_timing_arrive_when_asked_for(client: Any) -> None:
    response = client.algo("demo/Hello").stdout(True).timing(True).pipe("x")

    assert response.metadata.stdout == "printed\n"
    assert response.metadata.timing == {"running": 0.25, "total": 0.5}


@pytest.mark.parametrize("value", ["text", b"bytes", {"error": {"message": "not one"}}])
def test_raw_output_gives_the_same_result(client: Any, value: Any, stand_in: StandIn) -> None:
    response = client.algo("util/Echo").output("raw").pipe(value)

    assert response.result == value
    assert stand_in.last.query == {"output": "raw"}


def test_void_output_gives_no_result(client: Any) -> None:
    response = client.algo("demo/Hello").output("void").pipe("x")

    assert response.result is None
    assert response.metadata.content_type == "void"
    assert response.metadata.request_id == "req-void"


def test_send_gives_a_receipt(client: Any, stand_in: StandIn) -> None:
    receipt = client.algo("demo/Hello").send("x")

    assert receipt.request_id == "req-void"
    assert stand_in.last.query == {"output": "void"}


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_impossible_options_are_refused(client: Any, seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        client.algo("demo/Hello").timeout(seconds)
    with pytest.raises(ValueError, match="output"):
        client.algo("demo/Hello").output("loud")


def test_a_malformed_reference_is_refused(client: Any) -> None:
    with pytest.raises(algorium.RefSyntaxError, match="column"):
        client.algo("demo")


@pytest.mark.parametrize("output", ["default", "raw"])
@pytest.mark.parametrize("error_type", [row.name for row in ERROR_TYPES])
def test_every_failure_of_an_algorithm_has_its_class(
    client: Any, error_type: str, output: Any
) -> None:
    with pytest.raises(algorium.AlgorithmError) as caught:
        client.algo(f"fail/{error_type}").output(output).pipe("x")

    error = caught.value
    assert type(error).error_type == error_type
    assert error.error_type == error_type
    assert str(error) == error.message == f"it is a {error_type}"
    assert error.stacktrace == "Traceback"
    assert error.request_id.startswith("req-")
    assert error.code is None
    assert not isinstance(error, algorium.ApiError)


def test_an_unknown_failure_is_the_base_class(client: Any) -> None:
    with pytest.raises(algorium.AlgorithmError) as caught:
        client.algo("fail/Brandnew").pipe("x")

    assert type(caught.value) is algorium.AlgorithmError
    assert caught.value.error_type == "Brandnew"


def test_an_unknown_algorithm_is_the_platforms_no(client: Any) -> None:
    with pytest.raises(algorium.AlgorithmNotFound) as caught:
        client.algo("util/WhoopsWrongAlgo").pipe("Hello, world!")

    error = caught.value
    assert str(error) == "algorithm algo://util/WhoopsWrongAlgo not found"
    assert (error.status, error.code, error.code_name) == (404, 1000, "AlgorithmNotFound")
    assert "version" in error.hint
    assert error.hint in "".join(error.__notes__)


def test_a_wrong_key_is_never_shown(make_client: Callable[..., Any]) -> None:
    client = make_client(api_key="simSECRETSECRET")

    with pytest.raises(algorium.NotAuthenticated) as caught:
        client.algo("demo/Hello").pipe("x")

    shown = repr(caught.value) + repr(client) + repr(client.algo("demo/Hello")) + repr(vars(client))
    assert "SECRET" not in shown + "".join(caught.value.__notes__)


def test_without_a_key_nothing_is_claimed(
    stand_in: StandIn, make_client: Callable[..., Any]
) -> None:
    stand_in.accepts_anonymous = True

    make_client(api_key=None).algo("demo/Hello").pipe("x")

    assert "authorization" not in stand_in.last.headers


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(status=503), _errors.Unavailable),
        (Fault(status=502), _errors.Unavailable),
        (Fault(status=500), _errors.InternalError),
        (Fault(status=418), _errors.InvalidRequest),
        (Fault(status=301, headers={"Location": "/elsewhere"}), _errors.UnexpectedResponse),
        (Fault(status=200), _errors.UnexpectedResponse),
        (
            Fault(status=200, headers={"Content-Type": "application/json"}, body=b"{"),
            _errors.UnexpectedResponse,
        ),
        (
            Fault(status=200, headers={"Content-Type": "application/json"}, body=b"[]"),
            _errors.UnexpectedResponse,
        ),
        (Fault(drops=True), _errors.ConnectionLost),
        (Fault(status=200, claims_bytes=1000), _errors.ConnectionLost),
    ],
)
def test_a_call_is_sent_once_whatever_happens(
    client: Any, stand_in: StandIn, fault: Fault, expected: type[Exception]
) -> None:
    stand_in.faults.append(fault)

    with pytest.raises(expected) as caught:
        client.algo("demo/Hello").pipe("x")

    assert type(caught.value) is expected
    assert len(stand_in.requests) == 1


def test_a_call_that_is_refused_for_now_is_sent_again(client: Any, stand_in: StandIn) -> None:
    stand_in.faults += [Fault(status=429, headers={"Retry-After": "0"})] * 2
    response = client.algo("demo/Hello").pipe("x")
    stand_in.faults.append(Fault(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(algorium.TooManyRequests):
        client.algo("demo/Hello").pipe("x")

    assert response.result == "Hello x"
    assert len(stand_in.requests) == 4


def test_a_call_may_take_its_timeout_and_the_clients(
    make_client: Callable[..., Any], stand_in: StandIn
) -> None:
    client = make_client(timeout_s=0.1)
    stand_in.faults.extend([Fault(stalls=True)] * 3)
    begun = time.monotonic()

    with pytest.raises(algorium.ResponseTimeout):
        client.algo("demo/Hello").timeout(0.2).pipe("x")
    called = time.monotonic()
    with pytest.raises(algorium.ResponseTimeout):
        client.algo("demo/Hello").send("x")
    with pytest.raises(algorium.ResponseTimeout):
        client.file("data://.my/photos/a").read()

    assert called - begun >= 0.3
    assert len(stand_in.requests) == 3


def test_errors_name_the_message_of_the_header_when_there_is_no_body(
    client: Any, stand_in: StandIn
) -> None:
    stand_in.faults.append(Fault(status=403, headers={"X-Error-Message": "not yours"}, body=b""))

    with pytest.raises(algorium.NotAuthorized, match="not yours"):
        client.algo("demo/Hello").pipe("x")


def test_connections_are_reused(client: Any, stand_in: StandIn) -> None:
    for _ in range(5):
        client.algo("demo/Hello").pipe("x")

    assert stand_in.connections == 1
