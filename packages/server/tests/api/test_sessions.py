"""Signing in with a browser: the cookie, what it opens, what it does not, and how it ends."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from sign_in_site import API, PASSWORD, SignInSite, running_sign_in_site

from algorium_server.api.credentials import PRINCIPAL_KEY
from algorium_server.domain.audit import AuditFilter
from algorium_server.domain.errors import NotAuthenticated
from algorium_server.domain.limits import (
    PASSWORD_FAILURES_MAX,
    SESSION_IDLE_S_MAX,
    SESSION_S_MAX,
    SESSION_USE_WRITE_S,
    SESSIONS_PER_ACCOUNT_MAX,
)
from algorium_server.domain.sessions import session_digest
from algorium_server.services.directory import Directory
from algorium_server.services.following import Following
from algorium_server.services.people.passwords import Passwords
from algorium_server.services.people.session_upkeep import SessionUpkeep
from algorium_server.store import audit, sessions
from algorium_server.store.database import Database, sqlite_url


@pytest.fixture
def site(tmp_path: Path, sqlite_file: Path) -> Iterator[SignInSite]:
    yield from running(tmp_path, sqlite_file)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignInSite]:
    """For tests that leave `jane` as she was."""
    home = tmp_path_factory.mktemp("sign_in")
    yield from running(home, home / "algorium.db")


def running(home: Path, file: Path) -> Iterator[SignInSite]:
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        database = runner.run(Database.open(sqlite_url(file)))
        made = SignInSite(runner, home, database)
        runner.run(stack.enter_async_context(running_sign_in_site(made)))
        yield made
        runner.run(stack.aclose())
        runner.run(database.close())


class Person:
    """A browser whose user has signed in."""

    def __init__(self, site: SignInSite, **body: str) -> None:
        self.site = site
        self.client = site.browser()
        signed_in = site.ask(
            self.client,
            "POST",
            "/v1/session",
            json=body or {"username": "jane", "password": PASSWORD},
        )
        assert signed_in.status_code == 200, signed_in.text
        self.answer = signed_in
        self.csrf = {"X-CSRF-Token": signed_in.json()["csrf_token"]}
        # It is for TLS only, which there is none of here.
        self.cookie = signed_in.cookies["ALGO_SESSION"]
        self.client.headers["Cookie"] = f"other=1; ALGO_SESSION={self.cookie}"

    def ask(self, method: str, path: str, **options) -> httpx2.Response:
        return self.site.ask(self.client, method, path, **options)

    @property
    def is_signed_in(self) -> bool:
        return self.ask("GET", "/v1/session").status_code == 200


def test_a_password_opens_a_session_whose_cookie_no_script_reads(shared):
    jane = Person(shared)

    header = jane.answer.headers["set-cookie"]
    assert jane.answer.json()["user"]["username"] == "jane"
    assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/"} <= set(header.split("; "))
    assert jane.answer.headers["cache-control"] == "no-store"
    who = jane.ask("GET", "/v1/session").json()
    assert who["csrf_token"] == jane.csrf["X-CSRF-Token"]
    assert who["session"]["is_current"]
    assert who["session"]["method"] == "password"


@pytest.mark.parametrize("name", ["JANE", "jane@example.com", "Jane@Example.COM"])
@pytest.mark.parametrize("field", ["username", "email"])
def test_the_name_or_the_address_in_any_case_will_do(shared, field, name):
    assert Person(shared, **{field: name, "password": PASSWORD}).is_signed_in


@pytest.mark.parametrize(
    "body",
    [
        {"username": "jane", "password": "wrong"},
        {"username": "nobody", "password": PASSWORD},
        {"username": "eve", "password": PASSWORD},
        {"username": "lab", "password": PASSWORD},
        {"username": "jane", "password": "jane-key"},
        {"email": "no@example.com", "password": PASSWORD},
    ],
    ids=["password", "nobody", "without", "organization", "key", "address"],
)
def test_what_is_wrong_is_not_said(shared, body):
    client = shared.browser()
    content = json.dumps(body)
    refused = shared.ask(client, "POST", "/v1/session", content=content)

    assert refused.status_code == 401
    assert refused.json()["error"]["message"] == "Wrong name or password."
    assert "set-cookie" not in refused.headers


@pytest.mark.parametrize("body", [{}, {"username": "jane"}, {"password": "x"}])
def test_a_body_that_lacks_something_is_refused(shared, body):
    refused = shared.ask(shared.browser(), "POST", "/v1/session", json=body)

    assert refused.status_code == 400


def test_guessing_is_stopped_and_told_when_to_come_back(site):
    client = site.browser()
    for name in ["jane", "JANE"] * (PASSWORD_FAILURES_MAX // 2):
        body = {"username": name, "password": "wrong"}
        site.ask(client, "POST", "/v1/session", json=body)

    right = {"username": "jane", "password": PASSWORD}
    refused = site.ask(client, "POST", "/v1/session", json=right)

    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 300


def test_guessing_at_an_address_does_not_tell_whose_it_is(site):
    client = site.browser()

    def told(name: str) -> int:
        body = {"username": name, "password": "wrong"}
        return site.ask(client, "POST", "/v1/session", json=body).status_code

    spellings = ["jane@example.com", " jane@EXAMPLE.com "]
    wrong = [told(each) for each in spellings * (PASSWORD_FAILURES_MAX // 2)]

    assert wrong == [401] * PASSWORD_FAILURES_MAX
    assert [told(each) for each in spellings] == [429, 429]
    assert told("jane") == told("nobody") == 401


def test_a_session_has_the_rights_of_its_user(shared):
    jane = Person(shared)

    assert jane.ask("GET", "/webapi/user").json()["username"] == "jane"
    assert jane.ask("GET", "/v1/users/jane").status_code == 200
    assert jane.ask("GET", "/v1/users/eve").status_code == 403
    assert jane.ask("GET", "/v1/storage").status_code == 200  # a raw face
    made = jane.ask("POST", "/v1/users/jane/keys", json={"key_label": "l"}, headers=jane.csrf)
    assert made.status_code == 200
    key = shared.browser(Authorization=made.json()["api_key"])
    assert shared.ask(key, "GET", "/webapi/user").json()["username"] == "jane"


@pytest.mark.parametrize(
    ("extra", "is_refused"),
    [
        ({}, False),
        ({"Origin": API}, False),
        ({"Origin": API, "Sec-Fetch-Site": "same-origin"}, False),
        ({"X-CSRF-Token": ""}, True),
        ({"X-CSRF-Token": "0" * 64}, True),
        ({"X-CSRF-Token": "\xff"}, True),
        ({"Origin": "https://evil.example"}, True),
        ({"Origin": "http://algorium.example.com"}, True),
        ({"Origin": "https://algorium.example.com.evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "https://[::1"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
    ],
    ids=str,
)
def test_what_changes_something_needs_the_token_and_a_page_of_ours(shared, extra, is_refused):
    jane = Person(shared)
    headers = {name: value.encode("latin-1") for name, value in (jane.csrf | extra).items()}
    before = jane.ask("GET", "/v1/users/jane/keys").json()

    answer = jane.ask("POST", "/v1/users/jane/keys", json={"key_label": "l"}, headers=headers)

    assert answer.status_code == (403 if is_refused else 200)
    if is_refused:
        assert answer.json()["error"]["hint"]
        assert jane.ask("GET", "/v1/users/jane/keys").json() == before


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_every_unsafe_method_needs_the_token(shared, method):
    jane = Person(shared)
    credentials = shared.credentials
    scope = {
        "method": method,
        "headers": [(b"host", b"x"), (b"cookie", f"ALGO_SESSION={jane.cookie}".encode())],
    }

    refused = jane.ask(method, "/v1/users/jane/sessions")
    assert refused.status_code in {403, 405}
    with pytest.raises(Exception, match="X-CSRF-Token"):
        credentials.principal(scope)
    scope["headers"].append((b"x-csrf-token", jane.csrf["X-CSRF-Token"].encode()))
    assert credentials.principal(scope).account.username == "jane"


def test_the_token_of_another_session_does_not_do(shared):
    first, second = Person(shared), Person(shared)

    refused = first.ask("DELETE", "/v1/session", headers=second.csrf)

    assert refused.status_code == 403
    assert first.is_signed_in


def test_nobody_is_signed_in_by_a_page_of_somebody_else(shared):
    refused = shared.ask(
        shared.browser(),
        "POST",
        "/v1/session",
        json={"username": "jane", "password": PASSWORD},
        headers={"Origin": "https://evil.example"},
    )

    assert refused.status_code == 403
    assert "set-cookie" not in refused.headers


def test_a_key_counts_and_the_cookie_does_not_where_both_are_shown(shared):
    jane = Person(shared)

    by_key = jane.ask("GET", "/v1/session", headers={"Authorization": "eve-key"})
    wrong = jane.ask("GET", "/v1/session", headers={"Authorization": "Simple nonsense"})
    empty = jane.ask("GET", "/v1/session", headers={"Authorization": ""})

    assert by_key.json()["user"]["username"] == "eve"
    assert "csrf_token" not in by_key.json()
    assert wrong.status_code == 401
    assert empty.json()["user"]["username"] == "jane"


def test_a_cookie_opens_nothing_inside_of_a_slot(shared):
    jane = Person(shared)
    scope = {
        "method": "GET",
        "headers": [(b"cookie", f"ALGO_SESSION={jane.cookie}".encode())],
        PRINCIPAL_KEY: lambda: None,
    }

    with pytest.raises(NotAuthenticated):
        shared.credentials.principal(scope)


@pytest.mark.parametrize("cookie", ["", "ALGO_SESSION=", "ALGO_SESSION=x", "ALGO_SESSIONx=1", "="])
def test_another_cookie_is_none(shared, cookie):
    assert shared.ask(shared.browser(Cookie=cookie), "GET", "/v1/session").status_code == 401


def test_signing_out_ends_the_session_and_forgets_the_cookie(site):
    jane, other = Person(site), Person(site)

    out = jane.ask("DELETE", "/v1/session", headers=jane.csrf)

    assert out.status_code == 204
    assert 'ALGO_SESSION=""' in out.headers["set-cookie"]
    assert not jane.is_signed_in
    assert other.is_signed_in
    assert jane.ask("DELETE", "/v1/session").status_code == 204


def test_signing_in_again_replaces_the_session_of_the_browser(site):
    jane = Person(site)

    again = jane.ask("POST", "/v1/session", json={"username": "jane", "password": PASSWORD})

    assert again.cookies["ALGO_SESSION"] != jane.cookie
    assert not jane.is_signed_in


def test_sessions_are_listed_and_ended_by_their_user(site):
    jane, phone = Person(site), Person(site)
    pages = [jane.ask("GET", "/v1/users/jane/sessions?limit=1").json()]
    pages.append(
        jane.ask("GET", f"/v1/users/jane/sessions?limit=1&marker={pages[0]['marker']}").json()
    )
    listed = [page["results"][0] for page in pages]

    assert [each["is_current"] for each in listed] == [True, False]
    assert pages[1]["marker"] is None
    assert listed[1]["user_agent"].startswith("python-httpx")
    assert listed[1]["address"] == "127.0.0.1"
    path = f"/v1/users/jane/sessions/{listed[1]['id']}"
    assert jane.ask("DELETE", path, headers=jane.csrf).status_code == 204
    assert jane.ask("DELETE", path, headers=jane.csrf).status_code == 404
    assert not phone.is_signed_in
    assert jane.is_signed_in
    assert jane.ask("DELETE", "/v1/users/jane/sessions", headers=jane.csrf).status_code == 204
    assert not jane.is_signed_in


def test_others_see_and_end_nothing_and_administrators_all(site):
    jane = Person(site)
    own = jane.ask("GET", "/v1/session").json()["session"]["id"]
    eve = site.browser(Authorization="eve-key")
    plain = site.browser(Authorization="jane-key")
    root = site.browser(Authorization="root-admin-key")

    for path in ("/v1/users/jane/sessions", f"/v1/users/jane/sessions/{own}"):
        assert site.ask(eve, "DELETE", path).status_code == 403
        assert site.ask(plain, "DELETE", path).status_code == 403  # a default key manages nothing
    assert site.ask(eve, "GET", "/v1/users/jane/sessions").status_code == 403
    assert site.ask(eve, "GET", "/v1/users/nobody/sessions").status_code == 403
    assert jane.is_signed_in
    assert len(site.ask(root, "GET", "/v1/users/jane/sessions").json()["results"]) == 1
    assert site.ask(root, "GET", "/v1/users/nobody/sessions").status_code == 404
    assert site.ask(root, "DELETE", f"/v1/users/jane/sessions/{own}").status_code == 204
    assert not jane.is_signed_in


def _password(site):
    body = {"password": "another long password"}
    for name in ("jane-key", "jane-manage-key"):  # they may less than whoever knows it
        key = site.browser(Authorization=name)
        refused = site.ask(key, "PUT", "/v1/users/jane/password", json=body)
        assert refused.status_code == 403
        assert "signed in" in refused.json()["error"]["hint"]
    root = site.browser(Authorization="root-admin-key")
    assert site.ask(root, "PUT", "/v1/users/jane/password", json=body).status_code == 204


def _disabled(site):
    root = site.browser(Authorization="root-admin-key")
    user = site.ask(root, "GET", "/v1/users/jane").json()
    for is_disabled in (True, False):
        body = user | {"disabled": is_disabled}
        assert site.ask(root, "PUT", "/v1/users/jane", json=body).status_code == 200


def _deleted(site):
    root = site.browser(Authorization="root-admin-key")
    assert site.ask(root, "DELETE", "/v1/users/jane").status_code == 204


def _linked_to_somebody_else(site):
    root = site.browser(Authorization="root-admin-key")
    user = site.ask(root, "GET", "/v1/users/jane").json()
    for external_id in ("jane.doe", "jane.roe"):
        body = user | {"external_id": external_id}
        assert site.ask(root, "PUT", "/v1/users/jane", json=body).status_code == 200


@pytest.mark.parametrize("change", [_password, _disabled, _deleted, _linked_to_somebody_else])
def test_what_changes_who_the_user_is_ends_all_sessions(site, change):
    jane = Person(site)

    change(site)

    assert not jane.is_signed_in


def test_a_session_ends_when_nobody_uses_it_and_in_any_case(site):
    idle, busy = Person(site), Person(site)
    site.clock.passed += timedelta(seconds=SESSION_IDLE_S_MAX * 0.9)
    assert busy.is_signed_in
    site.clock.passed += timedelta(seconds=SESSION_IDLE_S_MAX * 0.2)

    assert not idle.is_signed_in
    assert busy.is_signed_in
    while site.clock.passed.total_seconds() < SESSION_S_MAX - SESSION_IDLE_S_MAX * 0.9:
        site.clock.passed += timedelta(seconds=SESSION_IDLE_S_MAX * 0.9)
        assert busy.is_signed_in
    site.clock.passed += timedelta(seconds=SESSION_IDLE_S_MAX * 0.9)
    assert not busy.is_signed_in


def test_the_session_used_longest_ago_makes_room(site):
    people = [Person(site) for _ in range(SESSIONS_PER_ACCOUNT_MAX)]
    assert people[0].is_signed_in  # used again, so the second one is the oldest

    Person(site)

    assert people[0].is_signed_in
    assert not people[1].is_signed_in
    assert people[2].is_signed_in


def test_only_a_digest_of_the_cookie_is_kept(site):
    jane = Person(site)

    async def kept():
        async with site.database.reading() as connection:
            return await sessions.sessions(connection)

    ((session, digest),) = site.runner.run(kept())

    assert digest == session_digest(jane.cookie)
    assert jane.cookie not in repr(session)


def test_uses_are_noted_so_that_no_other_gateway_takes_a_session_for_idle(site):
    jane = Person(site)
    upkeep = SessionUpkeep(site.database, site.directory, {}, clock=site.clock)
    other = Directory(site.database, clock=site.clock)

    async def follow():
        following = Following(site.database, other, position=await other.load())
        site.clock.passed += timedelta(seconds=SESSION_IDLE_S_MAX * 0.8)
        assert (await jane.client.get("/v1/session")).status_code == 200
        await upkeep.note_uses()
        await following.catch_up()
        site.clock.passed += timedelta(seconds=SESSION_IDLE_S_MAX * 0.8)

    site.runner.run(follow())

    assert other.principal_of_cookie(jane.cookie).account.username == "jane"
    assert jane.is_signed_in


def test_others_learn_of_sessions_and_their_end(site):
    other = Directory(site.database)

    async def begin():
        return Following(site.database, other, position=await other.load())

    following = site.runner.run(begin())
    jane = Person(site)
    assert other.principal_of_cookie(jane.cookie) is None
    site.runner.run(following.catch_up())
    assert other.principal_of_cookie(jane.cookie).account.username == "jane"
    jane.ask("DELETE", "/v1/session", headers=jane.csrf)
    site.runner.run(following.catch_up())

    assert other.principal_of_cookie(jane.cookie) is None


def test_a_command_beside_the_server_ends_sessions_as_well(site):
    jane = Person(site)
    upkeep = SessionUpkeep(site.database, site.directory, {})
    site.runner.run(upkeep.look())
    assert jane.is_signed_in
    elsewhere = Directory(site.database)

    async def set_password():
        await elsewhere.load()
        await Passwords(site.database, elsewhere).set("jane", "another long password")
        await upkeep.look()

    site.runner.run(set_password())

    assert not jane.is_signed_in


def test_what_has_ended_is_swept(site):
    Person(site)
    upkeep = SessionUpkeep(site.database, site.directory, {}, clock=site.clock)
    site.runner.run(upkeep.sweep())
    assert len(site.directory.sessions) == 1
    site.clock.passed += timedelta(seconds=SESSION_IDLE_S_MAX + 3 * SESSION_USE_WRITE_S)

    site.runner.run(upkeep.sweep())

    assert len(site.directory.sessions) == 0


def test_signing_in_and_out_and_refusals_are_in_the_audit_log(site):
    jane = Person(site)
    wrong = {"username": "jane", "password": "wrong"}
    for body in (wrong, wrong, {"username": "typed by mistake: " + PASSWORD, "password": "x"}):
        site.ask(site.browser(), "POST", "/v1/session", json=body)
    jane.ask("DELETE", "/v1/session", headers=jane.csrf)

    async def read():
        await site.signing_in.close()
        async with site.database.reading() as connection:
            return await audit.page(connection, AuditFilter(), before=None, limit=100)

    entries = site.runner.run(read())

    told = [(each.entry.action, each.entry.target) for each in entries]
    assert ("session.created", "user:jane") in told
    assert ("session.ended", "user:jane") in told
    denied = [each.entry for each in entries if each.entry.action == "session.denied"]
    assert [each.detail for each in denied] == [{"address": "127.0.0.1", "times": "2"}]
    assert PASSWORD not in repr(entries)


def test_without_a_provider_people_hear_what_there_is(shared):
    client = shared.browser()

    assert shared.ask(client, "GET", "/v1/session/methods").json() == {
        "password": True,
        "oidc": None,
    }
    assert shared.ask(client, "GET", "/v1/session/oidc/start").status_code == 404
    assert shared.ask(client, "GET", "/v1/session/oidc/finish").status_code == 404
