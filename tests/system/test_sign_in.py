"""Sessions and signed tokens through a whole server with two gateways, calls and data included."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from projects import write_examples
from running import RunningServer
from waiting import wait_until

sys.path.append(str(Path(__file__).parents[2] / "packages" / "server" / "tests"))

from key_server import AUDIENCE, KeyServer, running_key_server

from algorium_server.domain.limits import PASSWORD_FAILURES_MAX

PASSWORD = "correct horse battery"
PATIENCE_S = 60
ALGORITHMS = {"signed/Hello": "def apply(input):\n    return f'Hello {input}'\n"}


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyServer]:
    with running_key_server() as running:
        yield running


@pytest.fixture(scope="module")
def server(keys: KeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    place = tmp_path_factory.mktemp("sign_in")
    examples = write_examples(place / "examples", ALGORITHMS)
    options = ["--workers", "2", "--slots-max", "4", "--demo", "--examples-dir", str(examples)]
    options += ["--oidc-issuer", keys.issuer, "--oidc-jwks-url", keys.url]
    options += ["--oidc-audience", AUDIENCE, "--oidc-group-claim", "groups"]
    options += ["--oidc-admin-groups", "ops", "--trusted-proxies", "127.0.0.1"]
    with RunningServer(place / "home", *options) as running:
        running.add_user("jane")
        set_password = httpx2.put(
            f"{running.api}/v1/users/jane/password",
            json={"password": PASSWORD},
            headers={"Authorization": running.credentials["admin_api_key"]},
            timeout=PATIENCE_S,
        )
        assert set_password.status_code == 204, set_password.text
        yield running


class Gateway(httpx2.Client):
    """One connection, so that the same gateway answers all the time."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__(
            base_url=server.api,
            limits=httpx2.Limits(max_connections=1),
            timeout=PATIENCE_S,
        )
        self.number: int = self.get("/readyz").json()["gateways"]["this"]


@pytest.fixture
def gateways(server: RunningServer) -> Iterator[list[Gateway]]:
    with ExitStack() as stack:
        found: dict[int, Gateway] = {}

        def look() -> bool:
            gateway = Gateway(server)
            stack.callback(gateway.close)
            found.setdefault(gateway.number, gateway)
            return len(found) == 2

        wait_until(look, timeout_s=PATIENCE_S, what="a connection to each gateway")
        yield list(found.values())


def signed_in(gateway: Gateway) -> dict[str, str]:
    """Sign in there; return what a page sends with each request, cookie included."""
    answer = gateway.post("/v1/session", json={"username": "jane", "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    gateway.cookies.clear()
    return {
        "Cookie": f"ALGO_SESSION={answer.cookies['ALGO_SESSION']}",
        "X-CSRF-Token": answer.json()["csrf_token"],
    }


def called(gateway: Gateway, headers: dict[str, str]) -> httpx2.Response:
    return gateway.post(
        "/v1/algo/signed/Hello",
        content=json.dumps("you"),
        headers={"Content-Type": "application/json", **headers},
    )


def test_a_session_opens_calls_and_data_on_every_gateway_and_ends_on_every_one(gateways):
    here, there = gateways
    page = signed_in(here)
    cookie = {"Cookie": page["Cookie"]}
    for gateway in gateways:
        answer = wait_until(
            lambda gateway=gateway: (found := called(gateway, page)).status_code == 200 and found,
            timeout_s=PATIENCE_S,
        )
        assert answer.json()["result"] == "Hello you"
        assert called(gateway, page).json()["result"] == "Hello you"
        assert called(gateway, cookie).status_code == 403
    directory = here.post("/v1/data/jane", json={"name": "pages"}, headers=page)
    assert directory.status_code == 200, directory.text
    file = "/v1/data/jane/pages/a.txt"
    assert there.put(file, content=b"a", headers=cookie).status_code == 403
    assert there.put(file, content=b"a", headers=page).status_code == 200
    assert here.get(file, headers=cookie).content == b"a"

    assert there.delete("/v1/session", headers=page).status_code == 204

    # The same bytes on the same connections as before: nothing that was remembered may count.
    for gateway in gateways:
        wait_until(
            lambda gateway=gateway: called(gateway, page).status_code == 401,
            timeout_s=PATIENCE_S,
        )
        assert gateway.get(file, headers=cookie).status_code == 401


def test_a_signed_token_opens_the_same_and_makes_its_user(gateways, keys: KeyServer):
    here, there = gateways
    bearer = {"Authorization": f"Bearer {keys.token(sub='mona', groups=['ops'])}"}

    assert called(here, bearer).json()["result"] == "Hello you"
    assert called(there, bearer).json()["result"] == "Hello you"
    listed = there.get("/v1/users/mona", headers=bearer)
    assert listed.json()["external_id"] == "mona"
    assert there.get("/v1/users", headers=bearer).status_code == 200  # an administrator's right
    made = here.post("/v1/data/mona", json={"name": "models"}, headers=bearer)
    assert made.status_code == 200, made.text
    expired = {"Authorization": f"Bearer {keys.token(sub='mona', groups=['ops'], exp=1)}"}
    for path in ("/v1/data/mona", "/v1/users/mona", "/v1/usage", "/v1/storage"):
        assert here.get(path, headers=bearer).status_code == 200, path
        refused = here.get(path, headers=expired)
        assert refused.status_code == 401, path
        assert "expired" in refused.json()["error"]["message"]
    assert called(here, expired).status_code == 401


def through_a_proxy(*written: str, scheme: str = "https") -> list[tuple[str, str]]:
    """Return the headers of a request that a proxy passes on, and what it has written."""
    listed = [("X-Forwarded-For", each) for each in written]
    return [*listed, ("X-Forwarded-Proto", scheme), ("Forwarded", "for=6.6.6.6")]


def test_a_session_begins_where_the_proxy_says(gateways):
    here, there = gateways
    who = {"username": "jane", "password": PASSWORD}
    headers = through_a_proxy("6.6.6.6", "203.0.113.7")
    answer = here.post("/v1/session", json=who, headers=headers)
    assert answer.status_code == 200, answer.text
    plain = there.post("/v1/session", json=who, headers=through_a_proxy("junk", scheme="junk"))
    for gateway in gateways:
        gateway.cookies.clear()

    assert answer.json()["session"]["address"] == "203.0.113.7"
    assert "; Secure" in answer.headers["Set-Cookie"]
    assert plain.json()["session"]["address"] == "127.0.0.1"
    assert "; Secure" not in plain.headers["Set-Cookie"]


def test_wrong_passwords_count_on_all_gateways_and_for_their_address(gateways):
    def tried(gateway: Gateway, address: str, name: str = "jane") -> httpx2.Response:
        return gateway.post(
            "/v1/session",
            json={"username": name, "password": "a wrong password"},
            headers=through_a_proxy("6.6.6.6", address),
        )

    for number in range(PASSWORD_FAILURES_MAX):
        assert tried(gateways[number % 2], "198.51.100.9").status_code == 401
    for gateway in gateways:
        refused = tried(gateway, "198.51.100.9")
        assert refused.status_code == 429, refused.text
        assert 1 <= int(refused.headers["Retry-After"]) <= 30
        assert refused.json()["error"]["message"].startswith("Too many wrong passwords")
        assert tried(gateway, "198.51.100.10").status_code == 401
