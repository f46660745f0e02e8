"""
Every kind of caller, asking for every operation around accounts: allowed or not.

What is expected is written here once more, from the specification and not from the code: coverage
table 6.5 and 6.6, "Roles and rights", "API keys". A case that the two see differently fails.
"""

import itertools
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import pytest
from running import RunningServer

ALL: Final = {
    "algo_acl": ["algo://*"],
    "allow_data": True,
    "allow_data_write": True,
    "allow_algo_management": True,
}
AT_ONCE: Final = 4
"""Requests on their way: one at a time, the two ends would mostly wait for each other."""
NOBODY: Final = str(uuid.UUID(int=7))
ROLES: Final = {"owner": "owner", "member": "member", "executor": "executor"}
"""Users called like their roles in the organization `lab`."""


@dataclass(frozen=True)
class Caller:
    """
    Who asks.

    Attributes:
        account: Whose key is shown; empty without a key.
        key: `default`, `reading` (without management), `management` or `admin`.
    """

    account: str
    key: str = "management"

    @property
    def sees(self) -> bool:
        return self.key in {"default", "management"}

    @property
    def manages(self) -> bool:
        return self.key == "management"

    @property
    def is_admin(self) -> bool:
        return self.account == "admin" and self.key == "admin"


CALLERS: Final = (
    Caller("", ""),
    *(
        Caller(account, key)
        for account in ("outsider", "owner", "viewer")
        for key in ("default", "reading", "management")
    ),
    Caller("member"),
    Caller("executor"),
    Caller("lab", "default"),
    Caller("lab"),
    Caller("admin", "default"),
    Caller("admin"),
    Caller("admin", "admin"),
)


@dataclass(frozen=True)
class Operation:
    """
    What is asked for.

    Attributes:
        needs: `see` or `change` something of the user or organization `about`, its `keys` or
            `see keys`; `see all`, `decide`, or `know`: any key does.
    """

    method: str
    path: str
    needs: str
    about: str = ""
    body: Any = None


HOSTS: Final = "/v1/admin/organization_host_information"
OPERATIONS: Final = (
    Operation("GET", "/v1/users", "see all"),
    Operation("POST", "/v1/users", "decide", body={}),
    Operation("GET", "/v1/organizations", "see all"),
    Operation("POST", "/v1/organizations", "decide", body={}),
    Operation("GET", "/v1/organizations/externalId/none", "see all"),
    Operation("GET", "/v1/organization/types", "know"),
    Operation("POST", "/v1/organization/types", "decide", body={"name": "1"}),
    Operation("DELETE", "/v1/organization/types/none", "decide"),
    Operation("GET", "/v1/admin/invites", "see all"),
    Operation("POST", "/v1/admin/invites", "decide", body={"inviteCode": "/"}),
    Operation("DELETE", "/v1/admin/invites/none", "decide"),
    Operation("GET", "/v1/admin/features", "see all"),
    Operation("PUT", "/v1/admin/features/none", "decide", body={"enabled": True}),
    Operation("PUT", "/v1/config/frontend/-", "decide", body={"value": "x"}),
    Operation("DELETE", "/v1/config/frontend/none", "decide"),
    Operation("POST", "/v1/config/favicon", "decide", body={}),
    Operation("DELETE", "/v1/config/favicon", "decide"),
    Operation("POST", "/v1/config/logo", "decide", body={}),
    Operation("DELETE", "/v1/config/logo", "decide"),
    *(
        each
        for user in ("owner", "outsider", "nobody")
        for each in (
            Operation("GET", f"/v1/users/{user}", "see", user),
            Operation("PUT", f"/v1/users/{user}", "change", user, body={}),
            Operation("DELETE", f"/v1/users/{user}/keys/{NOBODY}", "keys", user),
            Operation("POST", f"/v1/users/{user}/keys/{NOBODY}/rotate", "keys", user),
            Operation("GET", f"/v1/users/{user}/keys", "see keys", user),
            Operation("POST", f"/v1/users/{user}/keys", "keys", user, body={"key_label": "\0"}),
            Operation("POST", f"/v1/admin/users/{user}/keys", "decide", body={"api_key": "x"}),
        )
    ),
    Operation("DELETE", "/v1/users/nobody", "decide"),
    Operation("POST", "/admin/roles/nobody/cluster_viewer", "decide"),
    Operation("DELETE", "/admin/roles/nobody/cluster_viewer", "decide"),
    Operation("POST", "/admin/roles/nobody/cluster_admin", "decide"),
    Operation("DELETE", "/admin/roles/nobody/cluster_admin", "decide"),
    *(
        each
        for org in ("lab", "other", "nothing")
        for each in (
            Operation("GET", f"/v1/organizations/{org}", "see", org),
            Operation("PUT", f"/v1/organizations/{org}", "change", org, body={}),
            Operation("GET", f"/v1/organizations/{org}/members", "see", org),
            Operation("PUT", f"/v1/organizations/{org}/members/nobody", "change", org),
            Operation("DELETE", f"/v1/organizations/{org}/members/nobody", "change", org),
            Operation("POST", f"/v1/organizations/{org}/members/nobody/keys", "decide"),
            Operation("GET", f"/v1/organizations/{org}/keys", "see keys", org),
            Operation(
                "POST", f"/v1/organizations/{org}/keys", "keys", org, body={"key_label": "\0"}
            ),
            Operation("DELETE", f"/v1/organizations/{org}/keys/{NOBODY}", "keys", org),
            Operation("POST", f"/v1/organizations/{org}/keys/{NOBODY}/rotate", "keys", org),
            Operation("GET", f"/v1/organizations/{org}/utility-algorithms", "know"),
            Operation("GET", f"/v1/organizations/{org}/algorithms-host-usernames", "see", org),
            Operation(
                "PUT",
                f"/v1/organizations/{org}/algorithms-host-usernames",
                "change",
                org,
                body={"updates": []},
            ),
            Operation(
                "DELETE",
                f"/v1/organizations/{org}/algorithms-host-usernames/{NOBODY}",
                "change",
                org,
            ),
            Operation("GET", f"{HOSTS}/{org}", "see all"),
            Operation("POST", f"{HOSTS}/{org}", "decide", body={}),
            Operation("DELETE", f"{HOSTS}/{org}", "decide"),
        )
    ),
    Operation("DELETE", "/v1/organizations/nothing", "decide"),
    Operation("PUT", HOSTS, "decide", body={"org_id": "lab"}),
)


def is_expected(caller: Caller, operation: Operation) -> bool:
    if caller.is_admin or operation.needs == "know":
        return True
    is_seeing = operation.needs.startswith("see")
    if is_seeing and caller.account == "viewer" and caller.sees:
        return True
    if operation.needs in {"see all", "decide"}:
        return False
    if not (caller.sees if is_seeing else caller.manages):
        return False
    if operation.about == caller.account:
        return (operation.needs, caller.account) != ("change", "lab")
    # The administrator has created the organizations, so it is an owner of both.
    role = "owner" if caller.account == "admin" else ROLES.get(caller.account)
    if operation.about == "other" and caller.account != "admin":
        role = None
    if operation.about not in {"lab", "other"} or role is None:
        return False
    return role == "owner" or operation.needs == "see"


class Site:
    """A server with a key of each caller."""

    def __init__(self, server: RunningServer, http: httpx2.Client) -> None:
        self._http = http
        self._admin = server.credentials["admin_api_key"]
        self.keys = {
            Caller("", ""): "",
            Caller("admin", "admin"): self._admin,
            Caller("admin", "default"): server.key,
        }
        for name in ("outsider", "viewer", *ROLES):
            body = {"username": name, "email": f"{name}@example.com"}
            self.keys[Caller(name, "default")] = self._do("POST", "/v1/users", body)["api_key"]
        for name in ("lab", "other"):
            texts = {"org_label": "x", "org_contact_name": "x", "org_email": "x"}
            self._do("POST", "/v1/organizations", {"org_name": name, **texts})
        for name, role in ROLES.items():
            self._do("PUT", f"/v1/organizations/lab/members/{name}", {"role": role})
        self._do("POST", "/admin/roles/viewer/cluster_viewer")
        for caller in CALLERS:
            if caller not in self.keys:
                self.keys[caller] = self._new_key(caller)

    def ask(self, caller: Caller, operation: Operation) -> httpx2.Response:
        return self._ask(self.keys[caller], operation.method, operation.path, operation.body)

    def _ask(self, key: str, method: str, path: str, body: Any) -> httpx2.Response:
        headers = {"Authorization": key} if key else {}
        return self._http.request(method, path, headers=headers, json=body)

    def _do(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._ask(self._admin, method, path, body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def _new_key(self, caller: Caller) -> str:
        kind = "ManagementKey" if caller.key == "management" else "AlgorithmKey"
        permissions = ALL | {"allow_algo_management": caller.key != "reading"}
        owners = "organizations" if caller.account == "lab" else "users"
        body = {"key_type": kind, "permissions": permissions}
        found: str = self._do("POST", f"/v1/{owners}/{caller.account}/keys", body)["api_key"]
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with (
        RunningServer(tmp_path_factory.mktemp("rights") / "home") as running,
        httpx2.Client(base_url=running.api, timeout=60) as http,
    ):
        yield Site(running, http)


def test_every_caller_may_what_the_specification_says_and_no_more(site: Site) -> None:
    wrong = []
    cases = list(itertools.product(CALLERS, OPERATIONS))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda case: site.ask(*case), cases))
    for (caller, operation), answer in zip(cases, answers, strict=True):
        if not caller.account:
            is_right = answer.status_code == 401
        elif is_expected(caller, operation):
            is_right = answer.status_code not in {401, 403} and answer.status_code < 500
        else:
            is_right = answer.status_code == 403 and answer.json()["error"]["code"] == 2001
        if not is_right:
            wrong.append(f"{caller} {operation.method} {operation.path}: {answer.status_code}")

    assert wrong == []


def test_whoever_may_not_see_accounts_cannot_tell_whether_they_exist(site: Site) -> None:
    outsider = Caller("outsider")
    for path in ("/v1/users/{}", "/v1/users/{}/keys", "/v1/organizations/{}/members"):
        answers = {
            site.ask(outsider, Operation("GET", path.format(name), "see")).content
            for name in ("owner", "lab", "nobody", NOBODY)
        }
        assert len(answers) == 1
