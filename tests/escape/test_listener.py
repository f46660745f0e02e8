"""The platform's API inside a slot: it serves the caller of the call in flight, and nobody else."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from waiting import wait_until

from .attacked import Attacked
from .outside import descriptors_of, is_alive, resident_bytes

ACCOUNT = "/v1/data/"
MIB = 1024 * 1024
GONE_S = 10


def account(answer: list[Any]) -> str:
    """Return whom an answer to `GET /v1/data/` belongs to."""
    status, _, body = answer
    assert status == 200, body
    names = [folder["name"] for folder in json.loads(body)["folders"]]
    assert len(set(names) & {"admin", "jane"}) == 1, names
    return (set(names) & {"admin", "jane"}).pop()


@pytest.fixture
def hers(site: Attacked) -> Iterator[str]:
    """A file of jane's."""
    site.data("POST", ".my", by="jane", json={"name": "hers"})
    assert site.data("PUT", ".my/hers/secret", by="jane", content=b"hers").status_code == 200

    yield "/v1/data/jane/hers/secret"

    assert site.data("GET", ".my/hers/secret", by="jane").content == b"hers"
    listing = site.data("GET", ".my/hers", by="jane").json()
    assert [entry["filename"] for entry in listing["files"]] == ["secret"]


FORGED = [
    ["X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1;host=x"],
    ["X-Forwarded-User: jane", "X-Remote-User: jane", "Remote-User: jane", "X-User: jane"],
    ["X-Algorithmia-User: jane", "Algorithmia-Username: jane", "X-Algorithmia-Account: jane"],
    ["Algorium-Account: jane", "algorium.principal: jane", "Algorium-Principal: jane"],
    ["Algorium-Acting-As: jane", "Algorium-Tree-Id: req-1", "Algorium-Request-Id: req-1"],
    ["Authorization: Simple jane"],
    ["Authorization: Simple simUnknownUnknownUnknown1234"],
    ["Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJqYW5lIn0."],
    ["Authorization: Basic amFuZTpqYW5l"],
    ["Authorization: Simple "],
    ["Authorization: Simple \x00\xff"],
    ["Authorization: Simple admin", "Authorization: Simple jane"],
    ["Cookie: session=jane; account=jane"],
    ["Host: jane", "Origin: http://jane"],
    ["X-HTTP-Method-Override: DELETE"],
    ["Connection: Authorization, X-Forwarded-For"],
]


def test_forged_headers_change_nobody_into_somebody_else(site: Attacked) -> None:
    answers = site.said("listener.ask_with_each", {"headers_of_each": FORGED})

    assert [answer[0] for answer in answers].count(200) >= len(FORGED) - 2
    for answer in answers:
        assert answer[0] == 400 or account(answer) == "admin"
    mine = site.said("listener.ask_with_each", {"headers_of_each": FORGED}, by="jane")
    for answer in mine:
        assert answer[0] == 400 or account(answer) == "jane"


def test_files_of_others_stay_closed_by_whatever_path(site: Attacked, hers: str) -> None:
    paths = [
        hers,
        hers.upper(),
        "/v1/connector/data/jane/hers/secret",
        "/v1/data/data%3A%2F%2Fjane%2Fhers%2Fsecret",
        "/v1/data/.my/../jane/hers/secret",
        "/v1/data/admin/../jane/hers/secret",
        "/v1/data/.my/%2e%2e/%2e%2e/jane/hers/secret",
        "/v1/data/admin%2f..%2fjane%2fhers%2fsecret",
        "/v1/data/.my/..%00/jane/hers/secret",
        "/v1/data//jane//hers//secret",
        "//v1//data//jane/hers/secret",
        "/v1/data/jane/hers/secret?acting=jane&user=jane&account=jane&sudo=true",
        "/v1/data/.my/hers/secret",
        "/v1/data/.session/../jane/hers/secret",
        "/v1/data/.algo/../jane/hers/secret",
        "/v1/data/jane\\hers\\secret",
    ]
    requests = [[method, path] for path in paths for method in ("GET", "HEAD", "DELETE")]
    requests += [["PUT", path, [], "mine"] for path in paths]
    requests += [["PATCH", "/v1/data/jane/hers", [], '{"acl": {"read": []}}']]
    requests += [["DELETE", "/v1/data/jane/hers?force=true"], ["POST", "/v1/data/jane", [], "{}"]]

    answers = site.said("listener.ask_each", {"requests": requests}, timeout_s=30)

    for request, answer in zip(requests, answers, strict=True):
        assert "hers" not in answer[2] or answer[0] >= 400, (request, answer)
        assert answer[0] in {400, 401, 403, 404, 405} or request[0] == "PUT", (request, answer)


def test_an_administrators_call_lends_no_rights_of_administration(site: Attacked) -> None:
    for query in ("sudo=true", "sudo=1&sudo=true", "SUDO=true"):
        requests = [["POST", f"/v1/algo/escape/Escape?{query}", [], json.dumps({
            "do": "listener.ask", "with": {"method": "GET", "path": ACCOUNT}})]]  # fmt: skip
        headers = ["Content-Type: application/json"]
        requests[0][2] = headers

        nested = site.said("listener.ask_each", {"requests": requests})[0]

        assert nested[0] == 200, nested
        assert account(json.loads(nested[2])["result"]) == "admin", "not the algorithm's owner"


SMUGGLED = {
    "two lengths": "GET $/v1/data/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    "Content-Length: 60\r\n\r\nGET $/v1/data/jane HTTP/1.1\r\nHost: x\r\n\r\n",
    "length and chunks": "PUT $/v1/data/.my/escape/s1 HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET $/v1/data/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "odd chunks": "PUT $/v1/data/.my/escape/s2 HTTP/1.1\r\nHost: x\r\n"
    "Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "two encodings": "PUT $/v1/data/.my/escape/s3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
    "chunked\r\nTransfer-Encoding: identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "negative length": "PUT $/v1/data/.my/escape/s4 HTTP/1.1\r\nHost: x\r\n"
    "Content-Length: -1\r\n\r\nx",
    "huge chunk": "PUT $/v1/data/.my/escape/s5 HTTP/1.1\r\nHost: x\r\n"
    "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx",
    "folded header": "GET $/v1/data/ HTTP/1.1\r\nHost: x\r\nAuthorization:\r\n Simple jane\r\n\r\n",
    "space before colon": "GET $/v1/data/ HTTP/1.1\r\nHost: x\r\nAuthorization : Simple j\r\n\r\n",
    "bare newlines": "GET $/v1/data/ HTTP/1.1\nHost: x\n\n",
    "nul in header": "GET $/v1/data/ HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n",
    "whole address": "GET http://127.0.0.1:1/v1/data/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "tunnel": "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\nSSH-2.0-x\r\n",
    "upgrade": "GET $/v1/data/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "websocket": "GET $/v1/data/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Version: 13\r\n\r\n",
    "old protocol": "GET $/v1/data/\r\n\r\n",
    "other protocol": "GET $/v1/data/ HTTP/9.9\r\nHost: x\r\n\r\n",
    "trace": "TRACE $/v1/data/ HTTP/1.1\r\nHost: x\r\nX-Secret: y\r\n\r\n",
    "tls": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\x00" * 40,
    "nonsense": "\x00\x01\x02\x03" * 100 + "\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_smuggled_requests_are_ones_own_or_none(site: Attacked, name: str) -> None:
    answers = site.said("listener.send_raw", {"raw": SMUGGLED[name], "patience_s": 0.3})

    for status, head, body in answers:
        assert status in {200, 400, 401, 404, 405, 408, 411, 413, 415, 426, 431, 501, 505}, head
        if status == 200 and '"folders"' in body:
            assert account([status, head, body]) == "admin"
        assert "X-Secret" not in body


def test_a_second_request_behind_the_first_is_asked_by_the_same_caller(site: Attacked) -> None:
    two = "GET $/v1/data/ HTTP/1.1\r\nHost: x\r\n\r\n" * 2

    answers = site.said("listener.send_raw", {"raw": two, "patience_s": 5.0})

    assert [account(answer) for answer in answers] == ["admin", "admin"]


def test_a_connection_serves_whoever_is_calling(site: Attacked) -> None:
    site.said("listener.keep_connection", {"name": "kept"})
    site.said("listener.keep_connection", {"name": "kept"}, by="jane")

    his = site.said("listener.use_kept_connection", {"name": "kept"})
    hers = site.said("listener.use_kept_connection", {"name": "kept"}, by="jane")

    assert account(his[0]) == "admin"
    assert account(hers[0]) == "jane"


def test_between_calls_nobody_is_asking_on_an_open_connection(site: Attacked) -> None:
    for action, more in (
        ("listener.ask_after_the_end", {}),
        ("listener.call_after_the_end", {"ref": "escape/Escape"}),
    ):
        assert site.said(action, {"delay_s": 0.3, **more}) == "left"
        time.sleep(0.6)  # a pause between two calls is what is tested here

        answers = wait_until(
            lambda: site.said("listener.told"), timeout_s=30, what="the thread was answered"
        )[0]

        assert answers[0][0] == 401, answers
        assert json.loads(answers[0][2])["error"]["message"] == "authorization required"


def test_a_request_ends_with_the_call_in_which_it_began(site: Attacked) -> None:
    """Half an upload in one call, the rest in the next: nothing is stored in anybody's name."""
    site.data("POST", ".my", json={"name": "escape"})
    length = 2 * 65536
    begin = {"name": "half", "method": "PUT", "path": "/v1/data/.my/escape/half", "length": length}
    assert "100 Continue" in site.said("listener.begin_request", begin)

    answers = site.said("listener.finish_request", {"name": "half", "length": length})

    assert answers[0][0] == 401, answers
    assert site.data("GET", ".my/escape/half").status_code == 404


def test_the_platforms_place_cannot_be_taken(site: Attacked) -> None:
    told = site.said("listener.listen_instead")

    assert "listens" not in told.values()


def test_a_flood_of_connections_is_bounded(site: Attacked) -> None:
    before = descriptors_of(site.server.pid)

    told = site.said("listener.flood", {"count": 560}, timeout_s=30)

    assert told["opened"] > 512
    assert told["alive"] <= 2 * 256
    wait_until(
        lambda: descriptors_of(site.server.pid) <= before + 16, timeout_s=10,
        what="the gateway closed them",
    )  # fmt: skip


def test_endless_requests_are_bounded(site: Attacked) -> None:
    before = resident_bytes(site.server.pid)

    head = site.said("listener.endless_head", {"size": 4 * MIB}, timeout_s=30)
    body = {"path": "/v1/algo/escape/Escape", "size": 256 * MIB}
    site.said("listener.endless_body", body, timeout_s=30)

    assert not head or head[0][0] == 431
    assert resident_bytes(site.server.pid) - before < 64 * MIB
    assert is_alive(site.server.pid)
