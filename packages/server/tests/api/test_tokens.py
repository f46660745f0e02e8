"""Signed tokens instead of keys: which are accepted, whose they are, and what their groups mean."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from joserfc.jwk import RSAKey
from key_server import AUDIENCE, KeyServer, certificate_of, running_key_server
from sign_in_site import SignInSite, running_sign_in_site

from algorium_server.api.credentials import PRINCIPAL_KEY
from algorium_server.domain.errors import NotAuthenticated, Unavailable
from algorium_server.domain.federation import ClaimRules, ProviderSettings
from algorium_server.domain.identity import AccountKind, Role
from algorium_server.domain.limits import IDENTITY_KEYS_PAUSE_S, IDENTITY_KEYS_S_MAX
from algorium_server.services.people.federation import Federation
from algorium_server.services.people.identity_provider import IdentityProvider
from algorium_server.services.people.tokens import Tokens, verified
from algorium_server.store import audit, users
from algorium_server.store.database import Database, sqlite_url

RULES = ClaimRules(
    group_claim="groups", admin_groups=frozenset({"ops"}), viewer_groups=frozenset({"auditors"})
)


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyServer]:
    with running_key_server() as running:
        yield running


@pytest.fixture
def settings(keys: KeyServer) -> ProviderSettings:
    return ProviderSettings(issuer=keys.issuer, audience=AUDIENCE, jwks_url=keys.url, rules=RULES)


@pytest.fixture
def site(tmp_path: Path, sqlite_file: Path, settings: ProviderSettings) -> Iterator[SignInSite]:
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        database = runner.run(Database.open(sqlite_url(sqlite_file)))
        made = SignInSite(runner, tmp_path, database, settings)
        runner.run(stack.enter_async_context(running_sign_in_site(made)))
        yield made
        runner.run(stack.aclose())
        runner.run(database.close())


class Program:
    """Shows tokens to a site."""

    def __init__(self, site: SignInSite, keys: KeyServer) -> None:
        self.site, self.keys = site, keys
        self.client = site.browser()

    def show(self, token: str, path: str = "/webapi/user"):
        return self.site.ask(self.client, "GET", path, headers={"Authorization": f"Bearer {token}"})

    def user(self, **claims) -> dict:
        answer = self.show(self.keys.token(**({"groups": ["any"]} | claims)))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refusal(self, **claims) -> str:
        answer = self.show(self.keys.token(**({"groups": []} | claims)))
        assert answer.status_code == 401, answer.text
        assert answer.json()["error"]["code"] == 2002
        return answer.json()["error"]["message"]


@pytest.fixture
def program(site: SignInSite, keys: KeyServer) -> Program:
    return Program(site, keys)


def test_an_unknown_user_is_created(program):
    made = program.user(
        sub="248289761001", email="mona@example.com", name="Mona Lisa", groups=["lab-members"]
    )

    assert made["username"] == "u_248289761001"
    assert made["external_id"] == "248289761001"
    assert (made["email"], made["fullname"]) == ("mona@example.com", "Mona Lisa")
    assert program.user(sub="248289761001")["id"] == made["id"]
    assert program.site.role("u_248289761001", "lab") is None  # "any" is none of its groups


def test_a_claim_that_is_a_name_becomes_the_name(program):
    assert program.user(sub="Mona_L")["username"] == "Mona_L"


def test_nobodys_account_is_opened_by_the_same_name_or_address(program):
    made = program.user(sub="jane", email="JANE@example.com")

    assert made["username"] == "jane_2"
    assert made["email"] == ""
    assert made["id"] != program.site.accounts["jane"].account_id


def test_a_user_is_known_by_the_external_id(program):
    root = program.site.browser(Authorization="root-admin-key")
    jane = program.site.ask(root, "GET", "/v1/users/jane").json()
    changed = jane | {"external_id": "j.doe"}
    assert program.site.ask(root, "PUT", "/v1/users/jane", json=changed).status_code == 200

    assert program.user(sub="j.doe")["username"] == "jane"


def test_a_disabled_user_is_refused_at_once(program):
    token = program.keys.token(sub="mona", groups=["any"])
    mona = program.show(token).json()
    root = program.site.browser(Authorization="root-admin-key")
    body = mona | {"disabled": True}
    assert program.site.ask(root, "PUT", "/v1/users/mona", json=body).status_code == 200

    assert program.show(token).status_code == 401
    assert program.show(program.keys.token(sub="mona", groups=["any"], jti="2")).status_code == 401


@pytest.mark.parametrize("external_id", ["j.doe.2", ""])
def test_a_token_ends_with_the_link_by_which_it_was_somebodys(program, external_id):
    root = program.site.browser(Authorization="root-admin-key")

    def link(external_id: str) -> None:
        jane = program.site.ask(root, "GET", "/v1/users/jane").json()
        changed = jane | {"external_id": external_id}
        assert program.site.ask(root, "PUT", "/v1/users/jane", json=changed).status_code == 200

    link("j.doe")
    token = program.keys.token(sub="j.doe", groups=["any"])
    assert [program.show(token).json()["username"] for _ in range(2)] == ["jane", "jane"]
    link(external_id)

    # Whoever is called so now is somebody else, and nobody has that name here yet.
    assert program.show(token).json()["username"] not in {"jane", "root"}
    assert program.show(token, "/v1/users/jane").status_code == 403


def test_a_token_has_all_rights_of_its_user(program):
    token = program.keys.token(sub="mona", groups=["any"])
    headers = {"Authorization": f"bearer  {token}"}
    body = {"key_label": "l"}

    made = program.site.ask(
        program.client, "POST", "/v1/users/mona/keys", json=body, headers=headers
    )
    assert made.status_code == 200  # without a token against forgery: no browser sends this
    assert program.show(token, "/v1/storage").status_code == 200
    assert program.show(token, "/v1/users/eve").status_code == 403
    assert "csrf_token" not in program.show(token, "/v1/session").json()


def test_keys_are_still_bearers(program):
    assert program.show("jane-key").json()["username"] == "jane"
    assert program.show("nonsense").json()["error"]["message"] == "Unknown or invalid API key."


@pytest.mark.parametrize(
    ("groups", "lab"),
    [
        (["lab-owners"], Role.OWNER),
        (["bosses", "lab-callers"], Role.OWNER),
        (["lab-members", "lab-callers"], Role.MEMBER),
        ("lab-callers,others", Role.EXECUTOR),
        (["LAB-OWNERS", "lab"], None),
    ],
    ids=str,
)
def test_groups_make_roles(program, groups, lab):
    program.user(sub="mona", groups=groups)

    assert program.site.role("mona", "lab") is lab


def test_roles_follow_the_newest_token(program):
    now = int(time.time())
    old = program.keys.token(sub="mona", groups=["lab-owners", "ops"], iat=now - 60)
    assert program.show(old).status_code == 200
    assert program.site.role("mona", "lab") is Role.OWNER
    assert program.site.directory.account_named("mona").is_admin
    program.user(sub="mona", groups=["lab-callers", "auditors"], iat=now)
    mona = program.site.directory.account_named("mona")
    assert (mona.is_admin, mona.is_viewer) == (False, True)
    assert program.site.role("mona", "lab") is Role.EXECUTOR

    # The old token is still valid, and verified anew; what it says is not news any more.
    newer = replace(program.site.directory.account_named("mona"))
    program.user(sub="mona", groups=["lab-owners", "ops"], iat=now - 30)

    assert program.site.directory.account_named("mona") == newer
    assert program.site.role("mona", "lab") is Role.EXECUTOR


def test_no_group_at_all_takes_everything(program):
    root = program.site.browser(Authorization="root-admin-key")
    jane = program.site.ask(root, "GET", "/v1/users/jane").json() | {"external_id": "j"}
    program.site.ask(root, "PUT", "/v1/users/jane", json=jane)
    program.user(sub="j", groups=["lab-members", "ops"])
    assert program.site.role("jane", "club") is Role.MEMBER  # groups say nothing about that one

    program.user(sub="j", groups=[], jti="2")

    assert program.site.directory.roles_of(program.site.accounts["jane"].account_id) == {}
    assert not program.site.directory.account_named("jane").is_admin


def test_the_last_administrator_is_not_locked_out(program):
    root = program.site.browser(Authorization="root-admin-key")
    body = program.site.ask(root, "GET", "/v1/users/root").json() | {"external_id": "r"}
    program.site.ask(root, "PUT", "/v1/users/root", json=body)

    program.user(sub="r", groups=[])

    assert program.site.directory.account_named("root").is_admin


def test_what_a_provider_decides_is_in_the_audit_log(program):
    program.user(sub="mona", groups=["lab-owners", "ops"])

    async def read():
        async with program.site.database.reading() as connection:
            return await audit.page(connection, audit.AuditFilter(), before=None, limit=10)

    found = {each.entry.action: each.entry for each in program.site.runner.run(read())}

    assert found["user.created"].target == "user:mona"
    assert found["user.roles_changed"].detail["is_admin"] == "true"
    assert found["member.added"].detail == {"by": "identity provider", "role": "owner"}


@pytest.mark.parametrize(
    "claims",
    [
        {"groups": None},
        {"sub": None},
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": float("nan")},
        {"nbf": 4102444800},
        {"iat": 4102444800},
    ],
    ids=str,
)
def test_claims_that_are_missing_or_wrong_are_refused(program, claims):
    assert "claim" in program.refusal(**claims) or "expired" in program.refusal(**claims)
    assert program.site.directory.account_named("sub_1") is None


def test_one_of_several_audiences_is_ours(program):
    assert program.user(aud=["another", AUDIENCE])


def test_clocks_may_differ_a_little(program):
    now = int(time.time())

    assert program.user(exp=now - 30, iat=now + 30, nbf=now + 30)
    assert "expired" in program.refusal(exp=now - 90)


def _unsigned(keys):
    body = json.dumps(keys.claims(groups=[])).encode()
    parts = (json.dumps({"alg": "none", "kid": "first"}).encode(), body, b"")
    return ".".join(_encoded(part) for part in parts)


def _encoded(part):
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def _hmac_with_public_key(keys):
    pem = keys.keys["first"].as_pem(private=False)
    header = _encoded(json.dumps({"alg": "HS256", "kid": "first"}).encode())
    signed = f"{header}.{_encoded(json.dumps(keys.claims(groups=[])).encode())}"
    return f"{signed}.{_encoded(hmac.digest(pem, signed.encode(), 'sha256'))}"


def _another_key(keys):
    body = json.dumps(keys.claims(groups=[])).encode()
    header = {"alg": "RS256", "kid": "first"}
    return keys.signed(header, body, RSAKey.generate_key(2048), "RS256")


def _another_algorithm(keys):
    body = json.dumps(keys.claims(groups=[])).encode()
    return keys.signed({"alg": "RS512", "kid": "first"}, body, keys.keys["first"], "RS512")


def _key_in_the_header(keys):
    mine = RSAKey.generate_key(2048)
    body = json.dumps(keys.claims(groups=[])).encode()
    header = {"alg": "RS256", "kid": "first", "jwk": mine.as_dict(private=False)}
    return keys.signed(header, body, mine, "RS256")


def _changed(keys):
    head, _, tail = keys.token(groups=[]).split(".")
    return ".".join((head, _encoded(json.dumps(keys.claims(sub="root")).encode()), tail))


def _no_key(keys):
    return keys.token(header={}, groups=[])


def _no_object(keys):
    return keys.signed({"alg": "RS256", "kid": "first"}, b"[]", keys.keys["first"], "RS256")


def _cut(keys):
    return keys.token(groups=[])[:-4]


def _long(keys):
    return keys.token(groups=["g" * 20_000])


def _odd_kid(keys):
    return ".".join((_encoded(b'{"alg":"RS256","kid":{"$ne":1}}'), "e30", "AA"))


def _critical(keys):
    body = json.dumps(keys.claims(groups=[])).encode()
    header = _encoded(json.dumps({"alg": "RS256", "kid": "first", "crit": ["x"], "x": 1}).encode())
    signed = keys.signed({"alg": "RS256", "kid": "first"}, body, keys.keys["first"], "RS256")
    return ".".join((header, *signed.split(".")[1:]))


@pytest.mark.parametrize(
    "forge",
    [
        _unsigned,
        _hmac_with_public_key,
        _another_key,
        _another_algorithm,
        _key_in_the_header,
        _changed,
        _no_key,
        _no_object,
        _cut,
        _long,
        _odd_kid,
        _critical,
    ],
)
def test_forged_tokens_are_refused(keys, settings, forge):
    async def attempt():
        provider = IdentityProvider(settings)
        try:
            await verified(forge(keys), provider=provider, audience=AUDIENCE, now=time.time())
        finally:
            await provider.close()

    with pytest.raises(NotAuthenticated):
        asyncio.run(attempt())


def test_keys_are_found_by_the_thumbprint_of_their_certificate(keys, settings):
    key = RSAKey.generate_key(2048)
    chain, thumbprint = certificate_of(key)
    keys.extra = [{**key.as_dict(private=False), "x5c": [chain]}]
    keys.keys["by certificate"] = key

    async def verify():
        provider = IdentityProvider(settings)
        token = keys.token(kid="by certificate", header={"x5t": thumbprint})
        try:
            return await verified(token, provider=provider, audience=AUDIENCE, now=time.time())
        finally:
            await provider.close()

    try:
        assert asyncio.run(verify())["sub"] == "sub-1"
    finally:
        keys.extra = []
        del keys.keys["by certificate"]


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "key",
        {},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "odd"},
        {"kty": "RSA", "kid": "odd"},
        {"kty": "RSA", "n": 1, "e": 2, "kid": "odd"},
        {"kty": "RSA", "n": "AQ", "e": "AQAB", "kid": "odd"},
        {"kty": "EC", "crv": "P-256", "x": "", "y": "", "kid": "odd"},
    ],
    ids=str,
)
def test_entries_that_are_no_keys_for_this_are_passed_over(keys, settings, entry):
    keys.extra = [entry]

    async def verify():
        provider = IdentityProvider(settings)
        try:
            await provider.key({"kid": "first"})
            with pytest.raises(NotAuthenticated):
                await provider.key({"kid": "odd"})
        finally:
            await provider.close()

    try:
        asyncio.run(verify())
    finally:
        keys.extra = []


class Seconds:
    """Monotonic time that tests advance."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_keys_are_read_when_needed_and_not_for_every_name_that_strangers_invent(keys, settings):
    seconds = Seconds()

    async def scenario():
        provider = IdentityProvider(settings, now=seconds)
        before = keys.asked
        first = await provider.key({"kid": "first"})
        for number in range(20):
            with pytest.raises(NotAuthenticated):
                await provider.key({"kid": f"invented {number}"})
        asked = keys.asked - before
        seconds.now += IDENTITY_KEYS_PAUSE_S
        outcomes = await asyncio.gather(
            *(provider.key({"kid": f"more {n}"}) for n in range(20)), return_exceptions=True
        )
        assert all(isinstance(each, NotAuthenticated) for each in outcomes)
        keys.add_key("second")
        seconds.now += IDENTITY_KEYS_PAUSE_S
        second = await provider.key({"kid": "second"})
        del keys.keys["second"]
        assert await provider.key({"kid": "second"}) is second
        seconds.now += IDENTITY_KEYS_S_MAX
        with pytest.raises(NotAuthenticated):
            await provider.key({"kid": "second"})
        assert (await provider.key({"kid": "first"})).as_dict(private=False) == first.as_dict(
            private=False
        )
        await provider.close()
        return asked, keys.asked - before

    assert asyncio.run(scenario()) == (1, 4)


def test_a_provider_that_says_nothing_of_use_is_not_asked_for_everybody_who_begins(keys, settings):
    seconds = Seconds()

    async def scenario():
        provider = IdentityProvider(settings, now=seconds)
        before = keys.asked
        outcomes = await asyncio.gather(
            *(provider.described() for _ in range(20)), return_exceptions=True
        )
        assert all(isinstance(each, Unavailable) for each in outcomes)
        seconds.now += IDENTITY_KEYS_PAUSE_S
        with pytest.raises(Unavailable, match="otherwise"):
            await provider.described()
        await provider.close()
        return keys.asked - before

    assert asyncio.run(scenario()) == 2


def test_known_keys_are_used_while_the_provider_is_down(keys, settings):
    seconds = Seconds()

    async def scenario():
        provider = IdentityProvider(settings, now=seconds)
        keys.is_down = True
        with pytest.raises(Unavailable) as told:
            await provider.key({"kid": "first"})
        keys.is_down = False
        with pytest.raises(Unavailable):  # asked a moment ago
            await provider.key({"kid": "first"})
        seconds.now += IDENTITY_KEYS_PAUSE_S
        found = await provider.key({"kid": "first"})
        keys.is_down = True
        seconds.now += IDENTITY_KEYS_S_MAX
        assert await provider.key({"kid": "first"}) is found
        await provider.close()
        return told.value.retry_after_s

    try:
        assert asyncio.run(scenario()) == IDENTITY_KEYS_PAUSE_S
    finally:
        keys.is_down = False


def test_a_verified_token_is_known_until_it_ends_without_asking_anybody(
    database: Database, runner: asyncio.Runner, keys, settings, tmp_path
):
    now = [time.time()]
    site = SignInSite(runner, tmp_path, database, settings)

    async def scenario():
        await site.directory.load()
        provider = IdentityProvider(settings)
        federation = Federation(database, site.directory, RULES)
        tokens = Tokens(provider, federation, site.directory, now=lambda: now[0])
        token = keys.token(sub="mona", groups=["any"], exp=int(now[0]) + 100)
        assert tokens.principal(token) is None
        await tokens.learn(token)
        known = tokens.principal(token)
        now[0] += 200
        with pytest.raises(NotAuthenticated):
            await tokens.learn(token)
        await provider.close()
        return known, tokens.principal(token)

    known, later = runner.run(scenario())

    assert known.account.username == "mona"
    assert (known.key, known.is_lasting) == (None, False)
    assert later is None


def test_one_user_is_created_however_many_gateways_meet_it_first(
    database: Database, runner: asyncio.Runner, tmp_path, keys, settings
):
    site = SignInSite(runner, tmp_path, database, settings)

    async def scenario():
        await site.directory.load()
        provider = IdentityProvider(settings)
        several = [
            Tokens(provider, Federation(database, site.directory, RULES), site.directory)
            for _ in range(4)
        ]
        tokens = [keys.token(sub="mona@x.y", groups=["any"], jti=str(n)) for n in range(8)]
        await asyncio.gather(*(several[n % 4].learn(token) for n, token in enumerate(tokens)))
        await provider.close()
        async with database.reading() as connection:
            return await users.user_of_external_id(connection, "mona@x.y")

    account_id = runner.run(scenario())

    found = [each for each in site.directory.accounts() if each.kind is AccountKind.USER]
    assert [each.account_id for each in found] == [account_id]


def test_inside_of_a_slot_the_call_in_flight_counts_and_no_token(program):
    token = program.keys.token(sub="mona", groups=["any"])
    program.show(token)
    inside = object()
    scope = {
        "method": "GET",
        "headers": [(b"authorization", f"Bearer {token}".encode())],
        PRINCIPAL_KEY: lambda: inside,
    }

    assert program.site.runner.run(program.site.credentials.asking(scope)) is inside
