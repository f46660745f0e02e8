"""Requests made to be misunderstood: none gets in, none brings a 5xx, and the server goes on."""

import json
import re
from collections.abc import Iterator

import pytest

HEAD = b"GET /v1/data HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
DEEP = 100_000
LONG = 60_000
ESCAPING = (
    "../../../../etc/passwd",
    "..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "..%252f..%252fetc%252fpasswd",
    "%2fetc%2fpasswd",
    "..%5c..%5cetc%5cpasswd",
    "%c0%ae%c0%ae%c0%afetc%c0%afpasswd",
    "....//....//etc/passwd",
    "x%00/../../../etc/passwd",
)
PLACES = (
    "/v1/data/{}",
    "/v1/data/attacker/{}",
    "/v1/connector/{}/x",
    "/v1/algo/{}/x",
    "/v1/algo/attacker/{}",
    "/v1/algorithms/attacker/{}",
    "/v1/algorithms/attacker/x/builds/{}/logs",
    "/v1/algorithms/attacker/x/source/{}",
    "/v1/algorithms/attacker/x/versions/{}",
    "/v1/algorithm-environments/edge/languages/{}/environments",
    "/v1/algorithm-environments/edge/environment-specifications/{}/template",
    "/v1/scms/{}",
    "/v1/users/{}",
    "/v1/organizations/{}/members",
    "/v1/config/frontend/{}",
    "/v1/clients/js/{}",
    "/git/attacker/{}.git/info/refs?service=git-upload-pack",
    "/git/{}/x.git/info/refs?service=git-upload-pack",
    "/git/attacker/x.git/{}",
    "/{}",
)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def answers_in(received: bytes) -> int:
    return received.count(b"HTTP/1.1 ")


def heads(victim: bytes) -> Iterator[tuple[str, bytes]]:
    key = b"Authorization: " + victim
    stranger = b"Authorization: Simple simNobodyKnowsThisKeyAtAll00"
    yield "a space before the colon", HEAD + key.replace(b":", b" :") + b"\r\n\r\n"
    yield "a folded value", HEAD + b"Authorization:\r\n " + victim + b"\r\n\r\n"
    yield "a NUL in the value", HEAD + key.replace(b"sim", b"sim\0") + b"\r\n\r\n"
    yield "a bare line feed", HEAD + b"X: y\n" + stranger + b"\r\n\r\n"
    yield "two keys, the first unknown", HEAD + stranger + b"\r\n" + key + b"\r\n\r\n"
    yield "a key behind the end of the head", HEAD + b"\r\n" + key + b"\r\n\r\n"
    yield "a key in the query", HEAD.replace(b"/data", b"/data?api_key=" + victim[7:]) + b"\r\n"
    yield "a key with a line break", HEAD + b"Authorization: %0d%0a" + victim + b"\r\n\r\n"


@pytest.mark.parametrize("number", range(8))
def test_no_spelling_of_a_head_gets_in(attacked, number: int) -> None:
    name, sent = list(heads(attacked.keys["victim"].encode()))[number]

    received = attacked.raw(sent)

    assert status(received) in {400, 401}, (name, received[:300])


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Content-Length: 4\r\nContent-Length: 60\r\n",
        b"Content-Length: +4\r\n",
        b"Content-Length: 4, 4\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding:\r\n chunked\r\n",
    ],
    ids=range(10),
)
def test_two_lengths_of_a_body_make_no_second_request(attacked, framing: bytes) -> None:
    hidden = b"GET /v1/users/victim HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    sent = b"POST /v1/session HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n0\r\n\r\n" + hidden

    received = attacked.raw(sent)

    assert answers_in(received) <= 1, received[:600]
    assert status(received) in {0, 400, 501}, received[:300]


@pytest.mark.parametrize("place", PLACES)
def test_no_name_leads_out_of_where_it_belongs(attacked, place: str) -> None:
    for name in ESCAPING:
        target = place.replace("{}", name).encode()
        for method in (b"GET", b"POST"):
            received = attacked.raw(
                b"%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"
                b"Authorization: %s\r\n\r\n" % (method, target, attacked.keys["attacker"].encode())
            )
            assert b"root:" not in received
            assert 200 <= status(received) < 500, (method, target, received[:300])


def test_what_is_echoed_adds_no_header_and_no_line(attacked) -> None:
    bad = "%0d%0aX-Evil:%20yes%0d%0a%0d%0a%1b[31mevil"
    for path in (f"/v1/users/{bad}", f"/v1/algo/{bad}/x", f"/v1/data/{bad}", f"/{bad}"):
        answer = attacked.ask("GET", path, "admin", headers={"User-Agent": "a\x1b[31mb"})
        assert answer.status_code < 500
        assert "x-evil" not in answer.headers
        assert "\r" not in answer.headers.get("X-Error-Message", "")
    attacked.ask("POST", "/v1/session", json={"username": "x\nevil=1\x1b[31m", "password": "x"})
    assert not any(line.startswith(("evil", "X-Evil")) for line in attacked.server.lines)
    assert not any("\x1b" in line for line in attacked.server.lines)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/session"),
        ("POST", "/v1/users/attacker/keys"),
        ("POST", "/v1/algorithms/attacker"),
        ("POST", "/v1/data/attacker"),
        ("POST", "/v1/users/attacker/connectors"),
        ("PUT", "/v1/users/attacker/package-sources"),
        ("POST", "/v1/users/attacker/event-listeners"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b"[" * DEEP,
        b'{"username": ' + b"1" * DEEP + b"}",
        b'{"username": "\\ud800", "password": "\\ud800", "name": "\\ud800"}',
        b'{"username": 1e999999, "password": NaN}',
        b"\xff\xfe{}",
        b"\x00" * 100,
    ],
    ids=["array", "object", "open", "number", "surrogate", "infinity", "utf-16", "zeros"],
)
def test_no_json_is_too_deep_or_too_odd_to_be_refused(
    attacked, method: str, path: str, body: bytes
) -> None:
    answer = attacked.ask(
        method, path, "attacker", content=body, headers={"Content-Type": "application/json"}
    )

    assert 400 <= answer.status_code < 500, answer.text[:300]
    assert json.loads(answer.content)["error"]


def test_too_large_a_body_is_refused_where_it_is_read(attacked) -> None:
    answer = attacked.ask(
        "POST", "/v1/users/attacker/keys", "attacker", content=b'"' + b"a" * 20_000_000 + b'"'
    )

    assert answer.status_code == 413


def test_a_thousand_parameters_and_a_long_header_are_no_trouble(attacked) -> None:
    many = "&".join(f"p{n}=1" for n in range(4000))
    answer = attacked.ask("GET", f"/v1/users/attacker/keys?{many}", "attacker")
    assert answer.status_code in {200, 414, 431}
    for name in ("User-Agent", "Cookie", "X-CSRF-Token", "Origin", "Accept", "If-Match", "Range"):
        answer = attacked.ask("GET", "/v1/data", "attacker", headers={name: "a;=," * 10_000})
        assert answer.status_code < 500, name


@pytest.mark.parametrize(
    "text", ["a" * LONG, "a-" * (LONG // 2), "." * LONG, "/" * 8000, "a@" * 20_000, "!" * LONG]
)
def test_long_names_are_looked_at_once(attacked, text: str) -> None:
    # Whatever goes over them twice as often as they are long would not end before the client.
    bodies = (
        ("POST", "/v1/users", "admin", {"username": text, "email": text}),
        ("POST", "/v1/users", "admin", {"username": "x", "email": f"{text}@{text}"}),
        ("POST", "/v1/session", "", {"username": text, "password": text}),
        ("POST", "/v1/data/attacker", "attacker", {"name": text}),
        ("POST", "/v1/algorithms/attacker", "attacker", {"name": text, "details": {"label": text}}),
        ("POST", "/v1/users/attacker/keys", "attacker", {"permissions": {"algo_acl": [text]}}),
        ("PUT", "/v1/users/attacker/package-sources", "attacker", {"indexes": [{"url": text}]}),
        (
            "POST",
            "/v1/admin/scms",
            "admin",
            {"name": text, "urls": dict.fromkeys(["web", "api", "ssh"], text)},
        ),
    )
    for method, path, who, body in bodies:
        answer = attacked.ask(method, path, who, json=body, timeout=20)
        assert 400 <= answer.status_code < 500, (path, answer.text[:200])


@pytest.mark.parametrize(
    "name",
    [
        "v\u0456ctim",
        "\uff56ictim",
        "victim\u200b",
        "victim\u0000",
        "\uff36\uff29\uff23\uff34\uff29\uff2d",
        "VICTIM",
        "victim ",
        "vict\u0131m",
        "victim\u0301",
    ],
    ids=range(9),
)
def test_nobody_can_be_called_almost_like_somebody(attacked, name: str) -> None:
    for path, body in (
        ("/v1/users", {"username": name, "email": "almost@example.com"}),
        (
            "/v1/organizations",
            {"org_name": name, "org_label": "x", "org_contact_name": "x", "org_email": "x@y.org"},
        ),
    ):
        answer = attacked.ask("POST", path, "admin", json=body)
        assert answer.status_code in {400, 409}, answer.text


def test_guessing_tells_nothing_about_keys(attacked) -> None:
    right = attacked.keys["victim"].removeprefix("Simple ")
    guesses = [
        right[:-1],
        right[:-1] + "!",
        right[:4] + "x" * 24,
        right.swapcase(),
        "sim" + "a" * 25,
        "x",
    ]
    answers = [
        attacked.ask("GET", "/v1/data", headers={"Authorization": f"Simple {guess}"})
        for guess in guesses
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert len({tuple(sorted(answer.headers.keys())) for answer in answers}) == 1


def test_ids_of_others_open_nothing(attacked) -> None:
    body = {"name": "Mine", "details": {"label": "x"}, "settings": {"language": "python3"}}
    made = attacked.ask("POST", "/v1/algorithms/victim", "victim", json=body)
    assert made.status_code == 201, made.text
    algorithm = made.json()["id"]
    ref = f"/v1/algorithms/{algorithm}"
    secret = attacked.ask(
        "POST",
        f"{ref}/secrets",
        "victim",
        json={
            "owner_type": "algorithm",
            "owner_id": algorithm,
            "short_name": "s",
            "description": "d",
            "secret_key": "KEY",
            "secret_value": "v",
        },
    )
    key = attacked.ask("GET", "/v1/users/victim/keys", "victim").json()[0]["key_id"]
    assert secret.status_code == 200, secret.text
    listener = attacked.ask(
        "POST",
        "/v1/users/victim/event-listeners",
        "victim",
        json={
            "sourceType": "AmazonSQS",
            "sourceURI": "https://sqs.us-east-1.amazonaws.com/1/q",
            "algoName": "Mine",
            "algoOwner": "victim",
            "credentials": "arn:aws:iam::1:role/r",
        },
    )
    assert listener.status_code == 200, listener.text
    box = attacked.ask("POST", "/v1/data/victim", "victim", json={"name": "parts"})
    assert box.status_code == 200, box.text
    begun = {"uri": "data://victim/parts/file", "size": 10}
    upload = attacked.ask("POST", "/v1/uploads", "victim", json=begun)
    assert upload.status_code == 201, upload.text
    begun_at = f"/v1/uploads/{upload.json()['upload_id']}"
    theirs = attacked.ask("POST", "/v1/algorithms/attacker", "attacker", json=body)
    assert theirs.status_code == 201, theirs.text
    through = f"/v1/algorithms/{theirs.json()['id']}"
    listened = f"/v1/users/attacker/event-listeners/{listener.json()['id']}"
    asked = [
        ("GET", ref),
        ("DELETE", ref),
        ("GET", f"{ref}/secrets"),
        ("DELETE", f"{ref}/secrets/{secret.json()['id']}"),
        ("GET", f"{ref}/source"),
        ("GET", f"{ref}/source.tar.gz"),
        ("GET", f"{ref}/builds"),
        ("POST", f"{ref}/recycle"),
        ("GET", begun_at),
        ("DELETE", begun_at),
        # Through what is one's own, with the id of something of somebody else.
        ("DELETE", f"{through}/secrets/{secret.json()['id']}"),
        ("GET", listened),
        ("DELETE", listened),
        ("DELETE", f"/v1/users/attacker/keys/{key}"),
        ("POST", f"/v1/users/attacker/keys/{key}/rotate"),
        ("DELETE", f"/v1/users/victim/keys/{key}"),
    ]
    answers = {one: attacked.ask(*one, "attacker").status_code for one in asked}

    assert set(answers.values()) <= {403, 404}, answers
    left = (ref, begun_at, listened.replace("attacker", "victim"))
    assert {attacked.ask("GET", each, "victim").status_code for each in left} == {200}


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/%09/evil.example",
        "javascript:alert(1)",
        "https:evil.example",
        "/\t/evil.example",
        "//evil.example/%2f..",
    ],
    ids=range(9),
)
def test_no_address_of_ours_sends_browsers_elsewhere(attacked, target: str) -> None:
    for path in (
        "/v1/session/oidc/start",
        "/v1/session/oidc/finish",
        "/v1/scms/oauth/finish",
        "/v1/scms/internal/oauth/finish",
    ):
        answer = attacked.ask(
            "GET", path, params={"return_to": target, "redirect_uri": target, "state": target}
        )
        assert "evil" not in answer.headers.get("Location", "")
        assert not re.search(r"(?i)<script|href=", answer.text)
