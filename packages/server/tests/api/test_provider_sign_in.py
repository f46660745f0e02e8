"""Signing in at a real identity provider: `oidc-provider`, which is certified."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from oidc_provider import CLIENT_ID, CLIENT_SECRET, RunningProvider, query_of, running_provider
from sign_in_site import API, SignInSite, running_sign_in_site

from algorium_server.domain.federation import ClaimRules, ProviderSettings
from algorium_server.domain.identity import Role
from algorium_server.store.database import Database, sqlite_url

FINISH = f"{API}/v1/session/oidc/finish"
PEOPLE = {
    "mona": {"email": "mona@example.com", "email_verified": True, "groups": ["lab-owners"]},
    "nina": {"email": "nina@example.com", "email_verified": False, "groups": []},
}


@pytest.fixture(scope="module")
def provider() -> Iterator[RunningProvider]:
    with running_provider(FINISH, PEOPLE) as running:
        yield running


def settings_of(provider: RunningProvider) -> ProviderSettings:
    return ProviderSettings(
        issuer=provider.issuer,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        audience=CLIENT_ID,
        scope="openid email groups",
        rules=ClaimRules(group_claim="groups"),
    )


def running(home: Path, settings: ProviderSettings, stack: ExitStack) -> SignInSite:
    runner = stack.enter_context(asyncio.Runner())
    database = runner.run(Database.open(sqlite_url(home / "algorium.db")))
    stack.callback(lambda: runner.run(database.close()))
    served = AsyncExitStack()
    site = SignInSite(runner, home, database, settings)
    stack.callback(lambda: runner.run(served.aclose()))
    runner.run(served.enter_async_context(running_sign_in_site(site)))
    return site


@pytest.fixture(scope="module")
def site(
    provider: RunningProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SignInSite]:
    with ExitStack() as stack:
        yield running(tmp_path_factory.mktemp("oidc"), settings_of(provider), stack)


class Visitor:
    """Somebody with a browser, who goes to the provider and comes back."""

    def __init__(self, site: SignInSite, provider: RunningProvider) -> None:
        self.site, self.provider = site, provider
        self.client = site.browser()
        self.elsewhere = httpx2.Client()
        self.cookies: dict[str, str] = {}

    def start(self, **query: str) -> httpx2.Response:
        return self._ask("/v1/session/oidc/start", query)

    def sign_in(self, name: str, **query: str) -> httpx2.Response:
        began = self.start(**query)
        assert began.status_code == 303, began.text
        return self.finish(self.back(began, name))

    def back(self, began: httpx2.Response, name: str) -> str:
        url = began.headers["location"]
        return self.provider.follow(self.elsewhere, url, login=name, until=FINISH)

    def finish(self, url: str) -> httpx2.Response:
        return self._ask(urlsplit(url).path, query_of(url))

    def who(self) -> httpx2.Response:
        return self._ask("/v1/session", {})

    def _ask(self, path: str, query: dict[str, str]) -> httpx2.Response:
        # Its cookies are for TLS only, which there is none of here: so they are kept by hand.
        shown = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self.site.ask(self.client, "GET", path, params=query, headers={"Cookie": shown})
        self.cookies.update(answer.cookies)
        return answer


@pytest.fixture
def visitor(site: SignInSite, provider: RunningProvider) -> Iterator[Visitor]:
    made = Visitor(site, provider)
    yield made
    made.elsewhere.close()


def test_people_sign_in_and_become_users_with_roles(site, visitor):
    back = visitor.sign_in("mona", return_to="/console?tab=1")

    assert back.status_code == 303, back.text
    assert back.headers["location"] == "/console?tab=1"
    cookies = "\n".join(back.headers.get_list("set-cookie"))
    assert "ALGO_SESSION=" in cookies
    assert "HttpOnly" in cookies
    who = visitor.who().json()
    assert who["user"]["username"] == "mona"
    assert who["user"]["email"] == "mona@example.com"
    assert who["session"]["method"] == "oidc"
    assert who["csrf_token"]
    assert site.role("mona", "lab") is Role.OWNER


def test_an_address_that_is_not_verified_is_not_taken(visitor):
    assert visitor.sign_in("nina").headers["location"] == "/"
    assert visitor.who().json()["user"]["email"] == ""


def test_the_question_carries_what_binds_the_answer_to_this_browser(visitor, provider):
    began = visitor.start()

    url = began.headers["location"]
    query = query_of(url)
    assert url.startswith(provider.issuer)
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert query["redirect_uri"] == FINISH
    assert len(query["state"]) >= 32
    assert len(query["nonce"]) >= 32
    cookie = began.headers["set-cookie"]
    assert {"HttpOnly", "Secure", "SameSite=lax"} <= set(cookie.split("; "))
    assert query["state"] not in cookie


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example"])
def test_nobody_is_sent_elsewhere(visitor, target):
    assert visitor.start(return_to=target).status_code == 400


def test_an_answer_counts_in_the_browser_that_began_and_once(site, provider, visitor):
    stranger = Visitor(site, provider)
    url = visitor.back(visitor.start(), "mona")

    without = stranger.finish(url)
    stranger.start()
    with_another = stranger.finish(url)
    first = visitor.finish(url)
    again = visitor.finish(url)
    stranger.elsewhere.close()

    assert (without.status_code, with_another.status_code) == (400, 400)
    assert "ALGO_SESSION" not in stranger.cookies
    assert first.status_code == 303
    assert again.status_code in {400, 401}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"state": "another"}, 400),
        ({"iss": "https://other.example"}, 400),
        ({"code": ""}, 400),
        ({"error": "access_denied"}, 400),
        ({"code": "invented"}, 401),
    ],
    ids=str,
)
def test_an_answer_that_is_not_the_one_is_refused(visitor, change, status):
    url = visitor.back(visitor.start(), "mona")
    query = query_of(url) | change

    refused = visitor._ask(urlsplit(url).path, query)

    assert refused.status_code == status, refused.text
    assert "ALGO_SESSION" not in visitor.cookies


def test_what_the_browser_keeps_cannot_be_changed(visitor):
    url = visitor.back(visitor.start(), "mona")
    sealed = visitor.cookies["algorium_oidc"]

    visitor.cookies["algorium_oidc"] = sealed[:-2] + ("AA" if sealed[-2:] != "AA" else "BB")
    assert visitor.finish(url).status_code == 400
    visitor.cookies["algorium_oidc"] = sealed
    assert visitor.finish(url).status_code == 303


def test_the_tokens_of_the_provider_are_bearers(site, provider):
    # What a program of the company gets for its user, here with the same client.
    began = Visitor(site, provider)
    asked = httpx2.URL(began.start().headers["location"]).copy_merge_params(
        {"code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}  # RFC 7636, appendix B
    )
    back = provider.follow(began.elsewhere, str(asked), login="mona", until=FINISH)
    answer = began.elsewhere.post(
        f"{provider.issuer}/token",
        data={
            "grant_type": "authorization_code",
            "code": query_of(back)["code"],
            "redirect_uri": FINISH,
            "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        },
        auth=httpx2.BasicAuth(CLIENT_ID, str(httpx2.QueryParams({"": CLIENT_SECRET}))[1:]),
    )
    began.elsewhere.close()
    token = answer.json()["id_token"]
    headers = {"Authorization": f"Bearer {token}"}

    # Its groups are at the userinfo endpoint, so it says too little for a program.
    refused = site.ask(site.browser(), "GET", "/webapi/user", headers=headers)
    assert refused.status_code == 401
    assert "groups" in refused.json()["error"]["message"]

    with ExitStack() as stack:
        settings = replace(settings_of(provider), rules=ClaimRules())
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        other = running(home, settings, stack)
        accepted = other.ask(other.browser(), "GET", "/webapi/user", headers=headers)
    assert accepted.json()["external_id"] == "mona"


def test_a_wrong_secret_and_a_provider_that_is_away_are_told(provider, tmp_path):
    with ExitStack() as stack:
        wrong = replace(settings_of(provider), client_secret="wrong")
        visitor = Visitor(running(tmp_path, wrong, stack), provider)
        stack.callback(visitor.elsewhere.close)
        refused = visitor.sign_in("mona")
    away = tmp_path / "away"
    away.mkdir()
    with ExitStack() as stack:
        gone = replace(settings_of(provider), issuer="http://127.0.0.1:9")
        absent = Visitor(running(away, gone, stack), provider)
        stack.callback(absent.elsewhere.close)
        unavailable = absent.start()

    assert refused.status_code == 401
    assert CLIENT_SECRET not in refused.text
    assert unavailable.status_code == 503
