"""Who may do something no more is refused by the next request, and soon at every other gateway."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import httpx2
import pytest
from running import RunningServer
from waiting import wait_until

PATIENCE_S: Final = 60
PASSWORD: Final = "correct horse battery"
ORGANIZATION: Final = {"org_label": "x", "org_contact_name": "x", "org_email": "x@example.com"}


class Gateways:
    """One connection to each of two gateways: `here` something is taken away, not `there`."""

    def __init__(self, server: RunningServer, stack: ExitStack) -> None:
        self._admin = {"Authorization": server.credentials["admin_api_key"]}
        found: dict[int, httpx2.Client] = {}

        def look() -> bool:
            one = stack.enter_context(
                httpx2.Client(
                    base_url=server.api,
                    limits=httpx2.Limits(max_connections=1),
                    timeout=PATIENCE_S,
                )
            )
            found.setdefault(one.get("/readyz").json()["gateways"]["this"], one)
            return len(found) == 2

        wait_until(look, timeout_s=PATIENCE_S, what="a connection to each gateway")
        self.here, self.there = found.values()

    def do(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Ask the one gateway for something, usually as the administrator."""
        answer = self.here.request(method, path, json=body, headers=headers or self._admin)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return answer.json() if answer.content else None


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with (
        RunningServer(tmp_path_factory.mktemp("revoked") / "home", "--workers", "2") as server,
        ExitStack() as stack,
    ):
        gateways = Gateways(server, stack)
        gateways.do("POST", "/v1/organizations", {"org_name": "lab", **ORGANIZATION})
        body = {"key_label": "k", "permissions": {"allow_data": True, "allow_data_write": True}}
        made = gateways.do("POST", "/v1/organizations/lab/keys", body)
        box = {"name": "box", "acl": {"read": []}}
        gateways.do("POST", "/v1/data/lab", box, Authorization=made["api_key"])
        yield gateways


Taken = Callable[[Gateways, str, str], Any]
TAKEN: Final[dict[str, tuple[Taken, str, int]]] = {
    # What is taken away, which path shows it, and how that is refused from then on.
    "a key": (lambda g, name, key: g.do("DELETE", f"/v1/users/{name}/keys/{key}"), "", 401),
    "the old value of a key": (
        lambda g, name, key: g.do(
            "POST", f"/v1/users/{name}/keys/{key}/rotate", {"grace_seconds": 0}
        ),
        "",
        401,
    ),
    "a membership": (
        lambda g, name, _: g.do("DELETE", f"/v1/organizations/lab/members/{name}"),
        "/v1/organizations/lab",
        403,
    ),
    "a membership that opens data": (
        lambda g, name, _: g.do("DELETE", f"/v1/organizations/lab/members/{name}"),
        "/v1/data/lab/box",
        403,
    ),
    "the role of a viewer": (
        lambda g, name, _: g.do("DELETE", f"/admin/roles/{name}/cluster_viewer"),
        "/v1/users",
        403,
    ),
    "the account for now": (
        lambda g, name, _: g.do("PUT", f"/v1/users/{name}", {"disabled": True}),
        "",
        401,
    ),
    "the account": (lambda g, name, _: g.do("DELETE", f"/v1/users/{name}"), "", 401),
    "a session": (lambda g, name, _: g.do("DELETE", f"/v1/users/{name}/sessions"), "session", 401),
    "the password": (
        lambda g, name, _: g.do("PUT", f"/v1/users/{name}/password", {"password": PASSWORD[::-1]}),
        "session",
        401,
    ),
}


@pytest.mark.parametrize("what", TAKEN)
def test_what_is_taken_away_opens_nothing_any_more(gateways: Gateways, what: str) -> None:
    take, path, refusal = TAKEN[what]
    name = f"user{list(TAKEN).index(what)}"
    gateways.do("POST", "/v1/users", {"username": name, "email": f"{name}@example.com"})
    gateways.do("PUT", f"/v1/organizations/lab/members/{name}", {"role": "member"})
    gateways.do("POST", f"/admin/roles/{name}/cluster_viewer") if path == "/v1/users" else None
    body = {"key_type": "ManagementKey", "permissions": {"allow_data": True}}
    made = gateways.do("POST", f"/v1/users/{name}/keys", body)
    shown = {"Authorization": f"Simple {made['api_key']}"}
    if path == "session":
        gateways.do("PUT", f"/v1/users/{name}/password", {"password": PASSWORD})
        signed_in = gateways.here.post("/v1/session", json={"username": name, "password": PASSWORD})
        gateways.here.cookies.clear()
        shown = {"Cookie": f"ALGO_SESSION={signed_in.cookies['ALGO_SESSION']}"}
    asked = path if path.startswith("/") else f"/v1/users/{name}/keys"

    def status(gateway: httpx2.Client) -> int:
        return gateway.get(asked, headers=shown).status_code

    # Whoever was seen by both has left a trace in the memory of both.
    assert status(gateways.here) == 200
    wait_until(lambda: status(gateways.there) == 200, timeout_s=PATIENCE_S)

    take(gateways, name, made["key_id"])

    assert status(gateways.here) == refusal
    if path.startswith("/v1/data"):
        # Read from memory, which follows within a second.
        wait_until(lambda: status(gateways.there) == refusal, timeout_s=PATIENCE_S)
    # The management API of every gateway asks what is new first: it need not wait for that.
    assert status(gateways.there) == refusal
