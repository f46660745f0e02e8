"""Flows by themselves: requests out, answers in, no network and no clock."""

import json
from collections.abc import Generator
from typing import Any

import pytest

from algorium import (
    AlgorithmError,
    AlgorithmNotFound,
    AlreadyExists,
    DataAcl,
    InputError,
    NotAuthenticated,
    PartlyDeleted,
    PathNotFound,
    ReadAcl,
    TooManyRequests,
    UnexpectedResponse,
    _data_flow,
    _flow,
)
from algorium._flow import CallOptions
from algorium._messages import Request, Response
from algorium.wire.refs import AlgorithmRef
from algorium.wire.uris import DataUri

HELLO = AlgorithmRef.parse("demo/Hello/0.1.0")
PHOTOS = DataUri.parse("data://.my/photos")
PHOTO = DataUri.parse("data://.my/photos/a b.png")


def walk(flow: Generator[Request, Response, Any], *answers: Response) -> tuple[list[Request], Any]:
    """Drive a flow with these answers; return what it asked and what it returned."""
    asked = [next(flow)]
    for answer in answers:
        try:
            asked.append(flow.send(answer))
        except StopIteration as done:
            return asked, done.value
    raise AssertionError(f"it wants more than {len(answers)} answers: {asked[-1]}")


def answer(value: Any = None, status: int = 200, **headers: str) -> Response:
    body = b"" if value is None else json.dumps(value).encode()
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(status=status, headers={"content-type": "application/json", **named}, body=body)


def refusal(status: int, message: str = "no", **fields: Any) -> Response:
    return answer({"error": {"message": message, **fields}}, status, x_request_id="req-1")


def envelope(result: Any, content_type: str = "json") -> Response:
    return answer(
        {"metadata": {"content_type": content_type, "duration": 0.5}, "result": result},
        x_request_id="req-1",
    )


class TestCall:
    def test_one_request_and_its_result(self) -> None:
        (request,), response = walk(
            _flow.call(HELLO, "HAL 9000", CallOptions()), envelope("Hello HAL 9000", "text")
        )

        assert (request.method, request.path, request.query) == (
            "POST", "/v1/algo/demo/Hello/0.1.0", (),
        )  # fmt: skip
        assert request.headers["Content-Type"].startswith("text/plain")
        assert request.body == b"HAL 9000"
        assert response.result == "Hello HAL 9000"
        assert (response.metadata.duration, response.metadata.request_id) == (0.5, "req-1")

    def test_options_are_in_the_query(self) -> None:
        options = CallOptions(timeout_s=2, stdout=False, timing=True, extra={"future": "1"})

        (request,), _ = walk(_flow.call(HELLO, None, options), envelope(None))

        assert dict(request.query) == {
            "future": "1", "timeout": "2", "stdout": "false", "timing": "1",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("options", "work_s"),
        [
            (CallOptions(), 300),
            (CallOptions(timeout_s=7), 7),
            (CallOptions(timeout_s=99_999), 3000),
            (CallOptions(timeout_s=7, output="void"), 0),
        ],
    )
    def test_the_answer_may_take_as_long_as_the_call(
        self, options: CallOptions, work_s: float
    ) -> None:
        assert next(_flow.call(HELLO, None, options)).work_s == work_s

    @pytest.mark.parametrize("seconds", [0, -1, float("nan")])
    def test_an_impossible_timeout_is_refused(self, seconds: float) -> None:
        with pytest.raises(ValueError, match="timeout"):
            CallOptions(timeout_s=seconds)

    def test_binary_results_are_unpacked(self) -> None:
        _, response = walk(_flow.call(HELLO, b"", CallOptions()), envelope("AP8=", "binary"))

        assert response.result == b"\x00\xff"

    @pytest.mark.parametrize(
        ("content_type", "body", "result"),
        [
            ("text/plain; charset=utf-8", b"text", "text"),
            ("application/json", b'{"error": "mine"}', {"error": "mine"}),
            ("application/octet-stream", b"\xff", b"\xff"),
        ],
    )
    def test_raw_results_are_the_body(self, content_type: str, body: bytes, result: Any) -> None:
        raw = Response(status=200, headers={"content-type": content_type}, body=body)

        _, response = walk(_flow.call(HELLO, None, CallOptions(output="raw")), raw)

        assert response.result == result

    def test_a_failed_algorithm_is_told_by_its_type(self) -> None:
        failed = refusal(200, "bad", error_type="InputError", stacktrace="here")

        with pytest.raises(InputError, match="bad") as error:
            walk(_flow.call(HELLO, None, CallOptions()), failed)

        assert (error.value.stacktrace, error.value.request_id) == ("here", "req-1")

    def test_a_type_nobody_knows_is_still_the_algorithms(self) -> None:
        with pytest.raises(AlgorithmError) as error:
            walk(_flow.call(HELLO, None, CallOptions()), refusal(200, error_type="NewError"))

        assert error.value.error_type == "NewError"

    @pytest.mark.parametrize(
        ("response", "expected"),
        [
            (refusal(404, code=1000), AlgorithmNotFound),
            (refusal(401, code=2002), NotAuthenticated),
            (refusal(429), TooManyRequests),
            (Response(status=302), UnexpectedResponse),
            (Response(status=200, headers={"content-type": "text/html"}), UnexpectedResponse),
            (answer({"result": 1}), UnexpectedResponse),
            (envelope("no base64!", "binary"), UnexpectedResponse),
        ],
    )
    def test_other_answers_are_errors(self, response: Response, expected: type[Exception]) -> None:
        with pytest.raises(expected):
            walk(_flow.call(HELLO, None, CallOptions()), response)

    def test_send_returns_the_receipt(self) -> None:
        reply = answer({"async": "void", "request_id": "req-7"})

        (request,), receipt = walk(_flow.send(HELLO, None, CallOptions(output="void")), reply)

        assert dict(request.query) == {"output": "void"}
        assert receipt.request_id == "req-7"


class TestData:
    def test_names_are_encoded(self) -> None:
        (request,), _ = walk(_data_flow.put(PHOTO, b"x", None), answer({"result": "data://..."}))

        assert (request.method, request.path) == ("PUT", "/v1/connector/data/.my/photos/a%20b.png")

    @pytest.mark.parametrize(
        ("response", "found"),
        [
            (answer(x_data_type="file"), True),
            (answer(x_data_type="directory"), False),
            (answer(status=404), False),
        ],
    )
    def test_exists_tells_the_kinds_apart(self, response: Response, found: bool) -> None:
        (request,), result = walk(_data_flow.exists(PHOTO, "file"), response)

        assert request.method == "HEAD"
        assert result is found

    def test_exists_does_not_take_a_refusal_for_a_no(self) -> None:
        with pytest.raises(NotAuthenticated):
            walk(_data_flow.exists(PHOTO, "file"), answer(status=401))

    def test_a_directory_is_created_in_its_parent(self) -> None:
        acl = DataAcl.from_read(ReadAcl.PUBLIC)

        (request,), _ = walk(_data_flow.create(PHOTOS, acl, exist_ok=False), answer({"result": ""}))

        assert (request.method, request.path) == ("POST", "/v1/connector/data/.my")
        assert isinstance(request.body, bytes)
        assert json.loads(request.body) == {"name": "photos", "acl": {"read": ["user://*"]}}

    def test_existing_is_an_error_unless_welcome(self) -> None:
        with pytest.raises(AlreadyExists):
            walk(_data_flow.create(PHOTOS, None, exist_ok=False), refusal(409))
        walk(_data_flow.create(PHOTOS, None, exist_ok=True), refusal(409))

    def test_a_file_is_not_taken_for_a_directory_nor_the_other_way_round(self) -> None:
        with pytest.raises(PathNotFound, match="is a directory"):
            walk(_data_flow.get(PHOTO, is_streamed=False), answer({}, x_data_type="directory"))
        with pytest.raises(PathNotFound, match="is a file"):
            walk(_data_flow.page(PHOTOS, ""), answer({}, x_data_type="file"))

    def test_deleting_counts(self) -> None:
        (request,), count = walk(
            _data_flow.delete(PHOTOS, force=True), answer({"result": {"deleted": 3}})
        )

        assert (request.method, request.query) == ("DELETE", (("force", "true"),))
        assert count == 3

    def test_a_partial_deletion_says_how_much_went(self) -> None:
        with pytest.raises(PartlyDeleted) as error:
            walk(_data_flow.delete(PHOTOS, force=True), refusal(500, deleted=2))

        assert error.value.deleted == 2

    def test_a_page_names_its_marker(self) -> None:
        listing = answer({"files": [], "folders": [], "marker": "next"})

        (first,), page = walk(_data_flow.page(PHOTOS, ""), listing)
        (second,), _ = walk(_data_flow.page(PHOTOS, "start"), listing)

        assert (first.query, second.query) == ((), (("marker", "start"),))
        assert page.marker == "next"
