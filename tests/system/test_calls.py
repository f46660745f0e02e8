"""Calls over HTTP as the old clients make and read them."""

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from running import RunningServer


@pytest.fixture(scope="module")
def http(server: RunningServer) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Simple {server.key}"}
    limits = httpx2.Limits(max_connections=200, max_keepalive_connections=200)
    with httpx2.Client(base_url=server.api, headers=headers, timeout=120, limits=limits) as client:
        yield client


def post(http: httpx2.Client, path: str, body: bytes, kind: str = "text/plain") -> httpx2.Response:
    return http.post(path, content=body, headers={"Content-Type": kind})


HELLO = "/v1/algo/demo/Hello"
ECHO = "/v1/algo/util/Echo"
SLEEP = "/v1/algo/util/Sleep"


class TestInput:
    def test_text(self, http: httpx2.Client) -> None:
        answer = post(http, HELLO, b"HAL 9000")

        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert list(answer.json()) == ["metadata", "result"]
        assert list(answer.json()["metadata"]) == ["content_type", "duration"]
        assert answer.json()["metadata"]["content_type"] == "text"
        assert answer.json()["metadata"]["duration"] > 0
        assert answer.json()["result"] == "Hello HAL 9000"

    @pytest.mark.parametrize(
        ("body", "result"),
        [(b'"HAL 9000"', "Hello HAL 9000"), (b'"1"', "Hello 1"), (b"1", "Hello 1"),
         (b"null", "Hello null")],
    )  # fmt: skip
    def test_json_strings_reach_it_like_text(
        self, http: httpx2.Client, body: bytes, result: str
    ) -> None:
        answer = post(http, HELLO, body, "application/json; charset=UTF-8")

        assert answer.json()["result"] == result

    @pytest.mark.parametrize(
        "value", [None, True, 0, -1.5, "text", "\u00fc\u4e16\U0001f600", [], {}, [1, {"a": [None]}]]
    )
    def test_json_comes_back_as_it_went(self, http: httpx2.Client, value: object) -> None:
        answer = post(http, ECHO, json.dumps(value).encode(), "application/json")

        assert answer.json()["result"] == value

    def test_binary_comes_back_as_base64(self, http: httpx2.Client) -> None:
        answer = post(http, ECHO, b"\x00\xff\x80", "application/octet-stream")

        assert answer.json()["metadata"]["content_type"] == "binary"
        assert answer.json()["result"] == "AP+A"

    def test_an_empty_body_without_a_type_is_null(self, http: httpx2.Client) -> None:
        assert http.post(ECHO).json()["result"] is None

    def test_ten_mebibytes_pass_and_one_byte_more_does_not(self, http: httpx2.Client) -> None:
        body = os.urandom(10 * 1024 * 1024)

        fits = http.post(
            ECHO,
            content=body,
            params={"output": "raw"},
            headers={"Content-Type": "application/octet-stream"},
        )
        refused = post(http, ECHO, body + b"x", "application/octet-stream")

        assert fits.content == body
        assert refused.status_code == 413
        assert refused.json()["error"] == {
            "code": 6001,
            "message": "Algorithm input exceeds the 10MiB limit",
        }

    @pytest.mark.parametrize(
        ("body", "kind", "status", "code"),
        [
            (b"{", "application/json", 400, 2013),
            (b'"\xff"', "application/json", 400, 2013),
            (b"1 2", "application/json", 400, 2013),
            (b"[" * 100_000, "application/json", 400, 2013),
            (b"\xff", "text/plain", 400, 6001),
            (b"x", "application/xml", 415, 2015),
            (b"x", "", 415, 2015),
        ],
    )
    def test_what_cannot_be_read_is_refused(
        self, http: httpx2.Client, body: bytes, kind: str, status: int, code: int
    ) -> None:
        answer = post(http, ECHO, body, kind)

        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert answer.headers["x-error-message"]


class TestOutput:
    @pytest.mark.parametrize(
        ("body", "kind", "raw_kind", "raw"),
        [
            (b"text", "text/plain", "text/plain; charset=utf-8", b"text"),
            (b'{"a": 1}', "application/json", "application/json", b'{"a":1}'),
            (b"\x00\xff", "application/octet-stream", "application/octet-stream", b"\x00\xff"),
        ],
    )
    def test_raw(
        self, http: httpx2.Client, body: bytes, kind: str, raw_kind: str, raw: bytes
    ) -> None:
        answer = post(http, f"{ECHO}?output=raw", body, kind)

        assert answer.status_code == 200
        assert answer.headers["content-type"] == raw_kind
        assert answer.content.replace(b" ", b"") == raw

    def test_void_names_the_request_and_nothing_else(self, http: httpx2.Client) -> None:
        answer = post(http, f"{HELLO}?output=void", b"x")

        assert answer.status_code == 200
        assert list(answer.json()) == ["async", "request_id"]
        assert answer.json()["async"] == "void"
        assert answer.json()["request_id"].startswith("req-")

    def test_stdout_and_timing_only_when_asked_for(self, http: httpx2.Client) -> None:
        answer = post(http, f"{HELLO}?stdout=True&timing=1", b"x").json()["metadata"]

        assert answer["stdout"] == ""
        assert set(answer["timing"]) == {"running", "total"}
        assert answer["timing"]["total"] >= answer["timing"]["running"] > 0

    @pytest.mark.parametrize("output", ["", "default"])
    def test_the_envelope_may_be_asked_for(self, http: httpx2.Client, output: str) -> None:
        assert post(http, f"{HELLO}?output={output}", b"x").json()["result"] == "Hello x"

    def test_an_unknown_output_is_refused(self, http: httpx2.Client) -> None:
        assert post(http, f"{HELLO}?output=maybe", b"x").json()["error"]["code"] == 6001


class TestRequestIds:
    @pytest.mark.parametrize(
        ("path", "body", "kind", "status"),
        [
            (HELLO, b"x", "text/plain", 200),
            (SLEEP, b'"nonsense"', "application/json", 200),
            (f"{SLEEP}?output=raw", b'"nonsense"', "application/json", 400),
            (f"{HELLO}?timeout=soon", b"x", "text/plain", 400),
            (HELLO, b"{", "application/json", 400),
            (HELLO, b"x", "application/xml", 415),
            (HELLO, b"x" * (10 * 1024 * 1024 + 1), "text/plain", 413),
            ("/v1/algo/util/WhoopsWrongAlgo", b"x", "text/plain", 404),
            ("/v1/web/algo/demo/Hello", b"x", "text/plain", 403),
        ],
    )
    def test_every_answer_names_its_request(
        self, http: httpx2.Client, path: str, body: bytes, kind: str, status: int
    ) -> None:
        answers = [post(http, path, body, kind) for _ in range(2)]

        ids = [answer.headers["x-request-id"] for answer in answers]
        assert [answer.status_code for answer in answers] == [status] * 2
        assert all(re.fullmatch(r"req-[0-9a-f-]{36}", request_id) for request_id in ids)
        assert ids[0] != ids[1]

    def test_a_refusal_of_the_caller_names_it_too(self, server: RunningServer) -> None:
        nobody = httpx2.post(server.api + HELLO, content=b"x")
        other_verb = httpx2.get(
            server.api + HELLO, headers={"Authorization": f"Simple {server.key}"}
        )

        assert (nobody.status_code, other_verb.status_code) == (401, 405)
        assert nobody.headers["x-request-id"].startswith("req-")
        assert other_verb.headers["x-request-id"].startswith("req-")

    def test_a_void_call_tells_the_same_id_twice(self, http: httpx2.Client) -> None:
        answer = post(http, f"{HELLO}?output=void", b"x")

        assert answer.headers["x-request-id"] == answer.json()["request_id"]


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        [
            "/v1/algo/demo/Hello",
            "/v1/algo/demo/hello/",
            "/v1/algo/DEMO/HELLO",
            "/v1/algo/demo/Hello/0.1.1",
            "/v1/algo/demo/Hello/0.1.0/?timeout=300&stdout=false",
            "/v1/algo/demo/Hello/latest",
            "/v1/algo/demo/Hello/0.1.x",
            "/v1/algo/demo/Hello/0.1.*",
            "/v1/algo/demo/Hello/0.1",
            "/v1/algo/demo/Hello/0",
            "/v1/algo/demo/Hello/0.*",
            "/v1/algo/algo://demo/Hello",
            "/v1/algo/algo:/demo/Hello",
            "//v1/algo/demo/Hello",
            "/v1/algo//demo//Hello",
            "/v1/algo/demo%2FHello",
            "/v1/algo/demo/Hello?",
            "/v1/algo/demo/Hello?a=1?timeout=10",
        ],
    )
    def test_every_spelling_of_a_reference(self, http: httpx2.Client, path: str) -> None:
        # An absolute URL: the client would otherwise normalise what is tested here.
        url = f"{http.base_url.scheme}://{http.base_url.netloc.decode()}{path}"

        assert post(http, url, b"x").json()["result"] == "Hello x"

    @pytest.mark.parametrize(
        ("path", "shown"),
        [
            ("util/WhoopsWrongAlgo", "util/WhoopsWrongAlgo"),
            ("nobody/Hello/", "nobody/Hello"),
            ("demo/Hello/9.9.9", "demo/Hello/9.9.9"),
            ("demo/Hello/nonsense", "demo/Hello/nonsense"),
            ("demo/Hello/latestPrivate", "demo/Hello/latestPrivate"),
            (f"demo/Hello/{'0' * 40}", f"demo/Hello/{'0' * 40}"),
            ("justone", "justone"),
        ],
    )
    def test_what_does_not_exist_is_named(self, http: httpx2.Client, path: str, shown: str) -> None:
        answer = post(http, f"/v1/algo/{path}", b"x")

        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == f"algorithm algo://{shown} not found"
        assert answer.headers["x-error-message"] == f"algorithm algo://{shown} not found"

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
    def test_other_verbs_are_refused(self, http: httpx2.Client, method: str) -> None:
        answer = http.request(method, HELLO)

        assert answer.status_code == 405
        assert answer.json()["error"] == {"code": 2015, "message": "Method not allowed"}


class TestAuthorization:
    @pytest.mark.parametrize("form", ["Simple {}", "simple {}", "{}", "Bearer {}", "SIMPLE  {}"])
    def test_every_spelling(self, server: RunningServer, form: str) -> None:
        headers = {"Authorization": form.format(server.key), "Content-Type": "text/plain"}

        answer = httpx2.post(server.api + HELLO, content=b"x", headers=headers)

        assert answer.json()["result"] == "Hello x"

    def test_nobody(self, server: RunningServer) -> None:
        answer = httpx2.post(server.api + HELLO, content=b"x")

        assert answer.status_code == 401
        assert answer.json()["error"] == {"code": 2002, "message": "authorization required"}

    def test_a_stranger(self, server: RunningServer) -> None:
        answer = httpx2.post(
            server.api + HELLO, content=b"x", headers={"Authorization": "Simple simabcd123"}
        )

        assert answer.status_code == 401
        assert answer.json()["error"]["message"] == "Unknown or invalid API key."

    def test_admin_keys_call_nothing(self, server: RunningServer) -> None:
        key = server.credentials["admin_api_key"]

        answer = httpx2.post(
            server.api + HELLO, content=b"x", headers={"Authorization": f"Simple {key}"}
        )

        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == 2001

    def test_the_browser_client_asks_first(self, server: RunningServer) -> None:
        url = f"{server.api}/v1/web/algo/demo/Hello"

        answer = httpx2.options(url, headers={"Origin": "https://page.example"})
        refused = httpx2.post(url, headers={"Authorization": f"Simple {server.key}"}, json="x")

        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        assert "authorization" in answer.headers["access-control-allow-headers"]
        assert refused.status_code == 403
        assert "access-control-allow-origin" in refused.headers


class TestDeadlines:
    def test_a_call_past_its_timeout_ends(self, http: httpx2.Client) -> None:
        answer = post(http, f"{SLEEP}?timeout=1", b"30", "application/json")

        assert answer.status_code == 200
        assert answer.elapsed.total_seconds() < 4
        assert answer.json()["error"] == {
            "message": "Failed to run algorithm - may have timed-out or hit out-of-memory error",
            "error_type": "TimeoutError",
        }
        assert answer.json()["result"] is None
        assert answer.json()["metadata"]["duration"] > 0

    def test_a_raw_reader_learns_it_from_the_status(self, http: httpx2.Client) -> None:
        answer = post(http, f"{SLEEP}?timeout=0.5&output=raw", b"30", "application/json")

        assert answer.status_code == 504
        assert answer.json()["error"]["error_type"] == "TimeoutError"

    @pytest.mark.parametrize("timeout", ["0", "-1", "soon", "nan"])
    def test_nonsense_is_refused(self, http: httpx2.Client, timeout: str) -> None:
        answer = post(http, f"{HELLO}?timeout={timeout}", b"x")

        assert (answer.status_code, answer.json()["error"]["code"]) == (400, 6001)

    def test_too_long_is_clamped(self, http: httpx2.Client) -> None:
        assert post(http, f"{HELLO}?timeout=999999", b"x").json()["result"] == "Hello x"

    def test_the_slot_is_replaced_afterwards(self, http: httpx2.Client) -> None:
        post(http, f"{SLEEP}?timeout=0.5", b"30", "application/json")

        answer = post(http, SLEEP, b"0", "application/json")

        assert "error" not in answer.json()


class TestConcurrency:
    def test_the_eighty_first_call_of_an_account_is_refused(self, http: httpx2.Client) -> None:
        def nap(_: int) -> httpx2.Response:
            return post(http, f"{SLEEP}?timeout=20", b"2", "application/json")

        with ThreadPoolExecutor(100) as threads:
            answers = list(threads.map(nap, range(100)))

        refused = [answer for answer in answers if answer.status_code == 429]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert len(refused) >= 10
        assert refused[0].json()["error"]["message"] == (
            "Too many requests: concurrent session limit reached"
        )
        assert post(http, HELLO, b"x").json()["result"] == "Hello x"


class TestKeys:
    def test_a_head_that_is_repeated_is_never_taken_for_another_call(
        self, http: httpx2.Client
    ) -> None:
        headers = {"Content-Type": "text/plain", "Idempotency-Key": f'"{os.urandom(8).hex()}"'}

        answers = [http.post(HELLO, content=b"HAL 9000", headers=headers) for _ in range(4)]

        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.headers["x-request-id"] for answer in answers}) == 1
        assert len({answer.content for answer in answers}) == 1
        replayed = [answer.headers.get("idempotency-replayed") for answer in answers]
        assert replayed == [None, "true", "true", "true"]
