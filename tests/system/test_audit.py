"""The audit log, as those meet it who look after an installation."""

import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from git_client import GitClient, git_url
from running import ALGORIUM, RunningServer
from waiting import wait_until

from algorium_server.cli import main

ORGANIZATION = {
    "org_name": "lab",
    "org_label": "A lab",
    "org_contact_name": "some owner",
    "org_email": "lab@example.com",
}


TOOL = {
    "name": "Tool",
    "details": {"label": "A tool"},
    "settings": {
        "algorithm_callability": "private",
        "language": "python3",
        "license": "apl",
        "network_access": "isolated",
        "pipeline_enabled": False,
        "source_visibility": "closed",
    },
}


class Web:
    """A client that shows one key."""

    def __init__(self, api: str, key: str) -> None:
        self.api = api
        self.key = key

    def __call__(self, method: str, path: str, **options: Any) -> httpx2.Response:
        url = path if path.startswith("http") else self.api + path
        headers = {"Authorization": self.key}
        answer = httpx2.request(method, url, headers=headers, timeout=60, **options)
        assert answer.status_code < 500, answer.text
        return answer

    def log(self, path: str = "/v1/admin/audit", **query: Any) -> list[dict[str, Any]]:
        """Return all entries of a list, page by page, the oldest first."""
        entries: list[dict[str, Any]] = []
        page = self("GET", path, params={"limit": 3, **query}).json()
        while True:
            entries += page["results"]
            if page["next_link"] is None:
                return entries[::-1]
            page = self("GET", page["next_link"]).json()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("audit") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def admin(place: RunningServer) -> Web:
    return Web(place.api, place.credentials["admin_api_key"])


def new_user(place: RunningServer, admin: Web, name: str) -> Web:
    """Create a user, and return a client with a management key of it."""
    body = {"username": name, "email": f"{name}@example.com", "fullName": name, "key_type": ""}
    assert admin("POST", "/v1/users", json=body).status_code == 200
    made = admin(
        "POST",
        f"/v1/users/{name}/keys",
        json={
            "key_label": "m",
            "key_type": "ManagementKey",
            "permissions": {
                "allow_data": True,
                "allow_data_write": True,
                "allow_algo_management": True,
            },
        },
    )
    assert made.status_code == 200, made.text
    return Web(place.api, made.json()["api_key"])


def shown(entry: dict[str, Any]) -> tuple[str, str, str]:
    return entry["actor"], entry["action"], entry["target"]


def algorium(place: RunningServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [ALGORIUM, "audit", *arguments, "--home", str(place.home)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


class Audit:
    """The same command in this process, which has loaded everything already."""

    def __init__(self, place: RunningServer, capsys: pytest.CaptureFixture[str]) -> None:
        self.place = place
        self.capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str]:
        self.capsys.readouterr()
        code = main(["audit", *arguments, "--home", str(self.place.home)])
        return code, self.capsys.readouterr().out


def test_who_did_what_is_told_to_those_it_concerns(place: RunningServer, admin: Web):
    jane, joe = (new_user(place, admin, name) for name in ("jane", "joe"))
    made = admin("POST", "/v1/organizations", json=ORGANIZATION)
    assert made.status_code == 200, made.text
    for name, role in (("jane", "owner"), ("joe", "member")):
        put = admin("PUT", f"/v1/organizations/lab/members/{name}", json={"role": role})
        assert put.status_code < 300, put.text
    demoted = jane("PUT", "/v1/organizations/lab/members/joe", json={"role": "executor"})
    assert demoted.status_code < 300, demoted.text
    refused = joe("DELETE", "/v1/organizations/lab/members/jane")
    assert refused.status_code == 403

    of_lab = jane.log("/v1/organizations/lab/audit")
    assert [shown(each)[1:] for each in of_lab] == [
        ("organization.created", "organization:lab"),
        ("member.added", "member:lab/jane"),
        ("member.added", "member:lab/joe"),
        ("member.role_changed", "member:lab/joe"),
    ]
    last = of_lab[-1]
    assert last["actor"] == "jane"
    assert last["detail"] == {"before": "member", "after": "executor"}
    assert last["request_id"] == demoted.headers["x-request-id"]
    assert last["address"] == "127.0.0.1"
    assert last["outcome"] == "done"

    wait_until(lambda: joe.log("/v1/users/joe/audit", action="request."), timeout_s=30)
    (denied,) = joe.log("/v1/users/joe/audit", action="request.")
    assert denied["outcome"] == "denied"
    assert denied["target"] == "DELETE /v1/organizations/lab/members/jane"
    assert denied["request_id"] == refused.headers["x-request-id"]

    assert joe("GET", "/v1/organizations/lab/audit").status_code == 403
    assert joe("GET", "/v1/users/jane/audit").status_code == 403
    assert joe("GET", "/v1/admin/audit").status_code == 403
    assert joe("GET", "/v1/admin/audit/export").status_code == 403
    # Whoever else acted on an account is named there; from where is not.
    (created,) = jane.log("/v1/users/jane/audit", action="user.created")
    assert created["actor"] == place.credentials["username"]
    assert created["address"] == ""
    assert "digest" not in created
    (known,) = admin.log(target="user:jane", action="user.created")
    assert known["address"] == "127.0.0.1"
    assert len(known["digest"]) == 64


def test_lists_are_filtered_and_nonsense_is_told(admin: Web):
    started = admin.log(action="server.")
    assert [each["target"] for each in started] == ["server"]
    assert admin.log(action="server.", until=started[0]["at"]) == []
    assert len(admin.log(action="server.", since=started[0]["at"])) == 1
    assert admin.log(actor="nobody") == []
    for query in ({"outcome": "maybe"}, {"since": "yesterday"}, {"until": "2026-13-01"}):
        answer = admin("GET", "/v1/admin/audit", params=query)
        assert answer.status_code == 400
        assert next(iter(query)) in answer.json()["error"]["message"]
    assert admin("GET", "/v1/admin/audit?marker=nonsense").status_code == 400


def test_the_export_has_everything_and_is_recorded(place: RunningServer, admin: Web):
    answer = admin("GET", "/v1/admin/audit/export")
    assert answer.headers["content-type"] == "application/x-ndjson"
    entries = [json.loads(line) for line in answer.text.splitlines()]

    assert [each["number"] for each in entries] == list(range(1, len(entries) + 1))
    assert entries[-1]["action"] == "audit.exported"

    done = algorium(place, "export", "--action", "server.")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        each for each in entries if each["action"] == "server.started"
    ]


def test_a_key_from_a_new_address_is_told_once(place: RunningServer, admin: Web):
    kim = new_user(place, admin, "kim")
    for _ in range(3):
        assert kim("GET", "/v1/users/kim").status_code == 200

    wait_until(lambda: kim.log("/v1/users/kim/audit", action="key.used"), timeout_s=30)
    (used,) = kim.log("/v1/users/kim/audit", action="key.used")
    assert used["actor"] == "kim"
    assert used["detail"] == {"label": "m", "address": "127.0.0.1", "known": "0"}
    assert used["target"] == f"key:kim/{used['key_id']}"


def test_wrong_passwords_are_recorded_without_what_was_typed(place: RunningServer, admin: Web):
    password = "correct horse battery"
    new_user(place, admin, "pam")
    set_it = admin("PUT", "/v1/users/pam/password", json={"password": password})
    assert set_it.status_code == 204
    for name in ("pam", password):
        refs = httpx2.get(
            f"{place.api}/git/pam/x.git/info/refs?service=git-upload-pack", auth=(name, "wrong")
        )
        assert refs.status_code == 401

    def denied() -> list[dict[str, Any]]:
        return admin.log(action="session.denied")

    wait_until(lambda: len(denied()) == 2, timeout_s=30)
    assert [each["target"] for each in denied()] == ["user:pam", "user:unknown"]
    (set_entry,) = admin.log(action="password.set")
    assert set_entry["target"] == "user:pam"
    everything = admin("GET", "/v1/admin/audit/export").text
    assert password not in everything
    assert "wrong" not in everything


@dataclass(frozen=True)
class Step:
    """
    A request that changes something, and the action that it is recorded as.

    Attributes:
        route: Method and path, as the document of the API has it.
        path: With values; `{...}` stands for what an earlier step has answered.
        keeps: Field of the answer, and under which name later steps find it.
    """

    route: str
    path: str
    action: str
    body: Any = None
    raw: bytes = b""
    keeps: tuple[str, str] = ("", "")


def step(method: str, template: str, path: str, action: str, body: Any = None, **more: Any) -> Step:
    return Step(f"{method} {template}", path, action, body, **more)


HOST = {
    "id": "hub",
    "provider": "github",
    "name": "Hub",
    "enabled": True,
    "urls": {
        "web": "https://h.example.com",
        "api": "https://h.example.com",
        "ssh": "git@h.example.com",
    },
    "oauth": {"client_id": "c", "client_secret": "very secret"},
}
SECRET = {
    "short_name": "s",
    "description": "",
    "secret_key": "TOKEN",
    "secret_value": "very secret",
}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)
KEY = {"key_label": "k"}
ALGORITHM, ORG, USER = (
    "/v1/algorithms/{owner}/{name}",
    "/v1/organizations/{org}",
    "/v1/users/{username}",
)
USER_KEYS, ORG_KEYS = "/v1/users/{owner}/keys", "/v1/organizations/{owner}/keys"
SPEC = "/v1/algorithm-environments/edge/environment-specifications/{specification_id}"
TOUR = (
    step(
        "POST",
        "/v1/users",
        "/v1/users",
        "user.created",
        {"username": "tim", "email": "tim@example.com"},
    ),
    step("PUT", USER, "/v1/users/tim", "user.changed", {"fullname": "Tim"}),
    step("PUT", USER, "/v1/users/tim", "user.disabled", {"disabled": True}),
    step("PUT", USER, "/v1/users/tim", "user.enabled", {"disabled": False}),
    *(
        step(
            method,
            f"/admin/roles/{{username}}/{role}",
            f"/admin/roles/tim/{role}",
            "user.roles_changed",
        )
        for role in ("cluster_viewer", "cluster_admin")
        for method in ("POST", "DELETE")
    ),
    step(
        "PUT",
        f"{USER}/password",
        "/v1/users/tim/password",
        "password.set",
        {"password": "correct horse battery"},
    ),
    step("POST", USER_KEYS, "/v1/users/tim/keys", "key.created", KEY, keeps=("key_id", "key")),
    step("POST", USER_KEYS + "/{key_id}/rotate", "/v1/users/tim/keys/{key}/rotate", "key.rotated"),
    step("DELETE", USER_KEYS + "/{key_id}", "/v1/users/tim/keys/{key}", "key.deleted"),
    step(
        "POST",
        "/v1/admin/users/{username}/keys",
        "/v1/admin/users/tim/keys",
        "key.imported",
        {**KEY, "api_key": "sim" + "0123456789" * 3},
    ),
    step(
        "PUT",
        f"{USER}/package-sources",
        "/v1/users/tim/package-sources",
        "package_source.changed",
        {"indexes": []},
    ),
    step(
        "DELETE",
        f"{USER}/package-sources",
        "/v1/users/tim/package-sources",
        "package_source.deleted",
    ),
    step(
        "POST",
        "/v1/organization/types",
        "/v1/organization/types",
        "organization_type.created",
        {"name": "clubs"},
    ),
    step(
        "DELETE",
        "/v1/organization/types/{name}",
        "/v1/organization/types/clubs",
        "organization_type.deleted",
    ),
    step(
        "POST",
        "/v1/organizations",
        "/v1/organizations",
        "organization.created",
        {**ORGANIZATION, "org_name": "club"},
    ),
    step("PUT", ORG, "/v1/organizations/club", "organization.changed", {"org_label": "The club"}),
    step(
        "PUT",
        f"{ORG}/members/{{username}}",
        "/v1/organizations/club/members/tim",
        "member.added",
        {"role": "member"},
    ),
    step(
        "PUT",
        f"{ORG}/members/{{username}}",
        "/v1/organizations/club/members/tim",
        "member.role_changed",
        {"role": "owner"},
    ),
    step(
        "POST",
        f"{ORG}/members/{{username}}/keys",
        "/v1/organizations/club/members/tim/keys",
        "key.created",
        KEY,
    ),
    step(
        "DELETE",
        f"{ORG}/members/{{username}}",
        "/v1/organizations/club/members/tim",
        "member.removed",
    ),
    step(
        "POST", ORG_KEYS, "/v1/organizations/club/keys", "key.created", KEY, keeps=("key_id", "key")
    ),
    step(
        "POST",
        ORG_KEYS + "/{key_id}/rotate",
        "/v1/organizations/club/keys/{key}/rotate",
        "key.rotated",
    ),
    step("DELETE", ORG_KEYS + "/{key_id}", "/v1/organizations/club/keys/{key}", "key.deleted"),
    step(
        "POST",
        "/v1/admin/organization_host_information/{org}",
        "/v1/admin/organization_host_information/club",
        "organization_host.changed",
        {"host_username": "u", "host_user_id": "1"},
    ),
    step(
        "PUT",
        "/v1/admin/organization_host_information",
        "/v1/admin/organization_host_information",
        "organization_host.changed",
        {"org_id": "club", "host_username": "v", "host_user_id": "2"},
    ),
    step(
        "DELETE",
        "/v1/admin/organization_host_information/{org}",
        "/v1/admin/organization_host_information/club",
        "organization_host.deleted",
    ),
    step(
        "POST",
        "/v1/admin/invites",
        "/v1/admin/invites",
        "invite.created",
        {"inviteCode": "very-secret"},
    ),
    step("DELETE", "/v1/admin/invites/{code}", "/v1/admin/invites/very-secret", "invite.deleted"),
    step(
        "PUT",
        "/v1/admin/features/{name}",
        "/v1/admin/features/dark-theme-enabled",
        "feature.changed",
        {"enabled": True},
    ),
    step(
        "PUT",
        "/v1/config/frontend/{keyname}",
        "/v1/config/frontend/loginText",
        "frontend.changed",
        {"value": "hello"},
    ),
    step(
        "DELETE",
        "/v1/config/frontend/{keyname}",
        "/v1/config/frontend/loginText",
        "frontend.changed",
    ),
    *(
        step(method, f"/v1/config/{image}", f"/v1/config/{image}", "image.changed", raw=raw)
        for image in ("favicon", "logo")
        for method, raw in (("POST", PNG), ("DELETE", b""))
    ),
    step("POST", "/v1/admin/scms", "/v1/admin/scms", "scm.created", HOST),
    step("POST", "/v1/admin/scms/{scm_id}/default", "/v1/admin/scms/hub/default", "scm.changed"),
    step(
        "POST", "/v1/admin/scms/{scm_id}/default", "/v1/admin/scms/internal/default", "scm.changed"
    ),
    step(
        "PATCH", "/v1/admin/scms/{scm_id}", "/v1/admin/scms/hub", "scm.changed", {"enabled": False}
    ),
    step("DELETE", "/v1/admin/scms/{scm_id}", "/v1/admin/scms/hub", "scm.deleted"),
    step(
        "DELETE",
        SPEC,
        "/v1/algorithm-environments/edge/environment-specifications/{spec}",
        "environment.changed",
    ),
    step(
        "POST",
        f"{SPEC}/syncs",
        "/v1/algorithm-environments/edge/environment-specifications/{spec}/syncs",
        "environment.changed",
    ),
    step(
        "POST",
        "/v1/algorithms/{owner}",
        "/v1/algorithms/club",
        "algorithm.created",
        TOOL,
        keeps=("id", "algorithm"),
    ),
    step(
        "PUT",
        ALGORITHM,
        "/v1/algorithms/club/Tool",
        "algorithm.changed",
        {"settings": {"source_visibility": "open"}},
    ),
    step(
        "POST",
        f"{ALGORITHM}/secrets",
        "/v1/algorithms/club/Tool/secrets",
        "secret.created",
        SECRET,
        keeps=("id", "secret"),
    ),
    step(
        "PUT",
        f"{ALGORITHM}/secrets/{{secret_id}}",
        "/v1/algorithms/club/Tool/secrets/{secret}",
        "secret.changed",
        SECRET,
    ),
    step(
        "DELETE",
        f"{ALGORITHM}/secrets/{{secret_id}}",
        "/v1/algorithms/club/Tool/secrets/{secret}",
        "secret.deleted",
    ),
    step(
        "POST",
        f"{ALGORITHM}/recycle",
        "/v1/algorithms/club/Tool/recycle",
        "algorithm.slots_renewed",
    ),
    step(
        "POST",
        f"{ALGORITHM}/commits",
        "/v1/algorithms/club/Tool/commits",
        "source.changed",
        {"changes": [{"path": "a.txt", "content": "a"}]},
    ),
    step(
        "PUT",
        f"{ORG}/algorithms-host-usernames",
        "/v1/organizations/club/algorithms-host-usernames",
        "organization_host.changed",
        {"updates": [{"algorithm_id": "{algorithm}", "functional_id": "f"}]},
    ),
    step(
        "DELETE",
        f"{ORG}/algorithms-host-usernames/{{algorithm_id}}",
        "/v1/organizations/club/algorithms-host-usernames/{algorithm}",
        "organization_host.deleted",
    ),
    step("DELETE", ALGORITHM, "/v1/algorithms/club/Tool", "algorithm.deleted"),
    step("DELETE", ORG, "/v1/organizations/club", "organization.deleted"),
    step("DELETE", USER, "/v1/users/tim", "user.deleted"),
)
ELSEWHERE = {
    f"POST {ALGORITHM}/compile": "a build changes nothing that others may do",
    f"POST {ALGORITHM}/builds/{{build_id}}/cancel": "the same",
    f"POST {ALGORITHM}/versions": "version.published, of the demo algorithms",
    f"POST {ALGORITHM}/version": "the same",
    f"POST {ALGORITHM}/versions/{{commit}}/registry": "nothing is kept",
    f"POST {ALGORITHM}/scm/webhook": "repository.pushed, with a host of source",
    "POST /source/{owner}/{name}/{path}": "source.changed, as for commits",
    f"POST {ALGORITHM}/collections/{{collection_id}}": "default_collection.changed, with data",
    "POST /v1/admin/secret-provider": "secret_provider.*, with providers",
    "POST /v1/admin/secret-provider/{provider_id}": "the same",
    "DELETE /v1/admin/secret-provider/{provider_id}": "the same",
    "POST /v1/admin/plugins/secret-provider/{provider_id}": "the same",
    "POST /v1/admin/plugins/secret-provider/{provider_id}/default": "the same",
    "POST /v1/scms/{scm_id}/oauth/revoke": "scm_connection.*, with a host of source",
    "POST /v1/scms/{scm_id}/token/connect": "the same",
    "POST /v1/scms/{scm_id}/token/status": "it changes nothing",
    "POST /v1/insights": "what algorithms tell of themselves",
    f"POST {USER}/notifications/read": "it changes nothing for others",
    "POST /v1/session": "session.*, with those who sign in",
    "DELETE /v1/session": "the same",
    f"DELETE {USER}/sessions": "the same",
    f"DELETE {USER}/sessions/{{session_id}}": "the same",
    "POST /v1/registries": "registry.*, with the tests of operations",
    "PUT /v1/registries/{registry_id}": "the same",
    "DELETE /v1/registries/{registry_id}": "the same",
    f"POST {USER}/event-listeners": "event_listener.*, with the same",
    f"PUT {USER}/event-listeners/{{listener_id}}": "the same",
    f"DELETE {USER}/event-listeners/{{listener_id}}": "the same",
    "PUT /v1/admin/governance/rates": "the same",
    "POST /v1/admin/insights-connection": "the same",
    "DELETE /v1/admin/insights-connection": "the same",
    "PUT /v1/admin/quotas/{account}": "quota.*, with those of quotas",
    "DELETE /v1/admin/quotas/{account}": "the same",
    "POST /v1/admin/reservations": "the same",
    "DELETE /v1/admin/reservations/{reservationId}": "the same",
    "POST /v1/sign-up": "user.created, with the tests of signing up",
}
"""Routes that change something and are not in the tour, and why."""
OF_CALLERS = re.compile(r" /v1/((web/)?algo|data|connector|uploads)(/|$)")
"""Calls, and what is done with one's own data: usage tells of them; what opens data comes below."""


def test_every_change_is_recorded_under_the_id_of_its_request(place: RunningServer, admin: Web):
    offered = admin("GET", "/v1/algorithm-environments/edge/environments/available").json()
    known = {"spec": next(e for e in offered if e["enabled"])["environment_specification_id"]}
    made: list[tuple[Step, str]] = []
    for each in TOUR:
        body = json.loads(re.sub(r"\{(\w+)\}", lambda m: known[m[1]], json.dumps(each.body)))
        method, path = each.route.split()[0], each.path.format(**known)
        sent = {"content": each.raw} if each.raw else {"json": body} if body else {}
        answer = admin(method, path, **sent)
        assert answer.status_code < 300, (each.route, answer.text)
        made.append((each, answer.headers["x-request-id"]))
        field, name = each.keeps
        if name:
            known[name] = answer.json()[field]

    export = admin("GET", "/v1/admin/audit/export").text
    entries = {entry["request_id"]: entry for entry in map(json.loads, export.splitlines())}
    assert {(each.path, entries[request_id]["action"]) for each, request_id in made} == {
        (each.path, each.action) for each in TOUR
    }
    actor = place.credentials["username"]
    assert {entries[request_id]["actor"] for _, request_id in made} == {actor}
    for secret in ("very secret", "very-secret", "correct horse", "0123456789" * 3):
        assert secret not in export


def test_data_that_is_opened_or_goes_is_recorded(place: RunningServer, admin: Web):
    ann = new_user(place, admin, "ann")
    data = "/v1/connector/data/.my"
    assert ann("POST", data, json={"name": "shared"}).status_code == 200
    assert ann("PUT", f"{data}/shared/a.txt", content=b"a").status_code == 200
    opened = ann("PATCH", f"{data}/shared", json={"acl": {"read": ["user://*"]}})
    assert opened.status_code == 200, opened.text
    refused = ann("DELETE", f"{data}/shared")
    assert refused.status_code == 400
    gone = ann("DELETE", f"{data}/shared?force=true")
    assert gone.status_code == 200, gone.text
    assert ann("DELETE", f"{data}/shared?force=true").status_code == 404

    of_data = [e for e in ann.log("/v1/users/ann/audit") if e["target"].startswith("data:")]
    assert [(e["action"], e["outcome"], e["request_id"]) for e in of_data] == [
        ("collection.acl_changed", "done", opened.headers["x-request-id"]),
        ("directory.deleted", "done", gone.headers["x-request-id"]),
    ]
    assert of_data[1]["detail"] == {"forced": "true"}


def test_pushes_are_recorded_and_those_that_are_refused_as_well(
    place: RunningServer, admin: Web, tmp_path: Path
):
    bob = new_user(place, admin, "bob")
    assert bob("POST", "/v1/algorithms/bob", json=TOOL).status_code == 201
    git = GitClient(tmp_path)
    clone = git.clone(git_url(place.api, "bob/Tool", user="bob", secret=bob.key), "clone")
    commit = git.commit(clone, {"a.txt": "a"})
    git("push", "origin", "HEAD:refs/heads/topic", cwd=clone)  # not built
    assert git.run("push", "origin", "HEAD:refs/odd/topic", cwd=clone).returncode != 0

    done, refused = bob.log("/v1/users/bob/audit", action="repository.")
    assert shown(done) == ("bob", "repository.pushed", "algorithm:bob/Tool")
    assert done["detail"] == {"refs/heads/topic": f"{'0' * 12} -> {commit[:12]}"}
    assert (done["outcome"], refused["outcome"]) == ("done", "denied")
    assert "refs/odd/topic cannot be pushed" in refused["detail"]["reason"]
    assert done["key_id"]
    assert done["address"] == "127.0.0.1"


def test_every_route_that_changes_something_is_toured_or_says_why_not(admin: Web):
    document = admin("GET", "/v1/openapispec").json()
    routes = {
        f"{method.upper()} {path}".replace("/v1/algorithms/{algorithm_id}", ALGORITHM)
        for path, methods in document["paths"].items()
        for method in methods
        if method in {"post", "put", "patch", "delete"}
    }
    routes = {route for route in routes if not OF_CALLERS.search(route)}

    toured = {each.route for each in TOUR}
    assert not toured & set(ELSEWHERE)
    assert routes == toured | set(ELSEWHERE)


def test_the_log_is_verified_with_and_without_a_server_and_tampering_is_found(
    place: RunningServer, admin: Web, capsys: pytest.CaptureFixture[str]
):
    for value in ("true", "false"):
        on = admin("PUT", "/v1/admin/features/algorithm-errors", json={"enabled": value == "true"})
        assert on.status_code == 204
    whole = algorium(place, "verify", "--json")
    report = json.loads(whole.stdout)
    assert (whole.returncode, report["is_whole"]) == (0, True), whole.stdout
    assert report["entries"] >= 4
    audit = Audit(place, capsys)
    head = f"{report['head']['number']}:{report['head']['digest']}"
    assert audit("verify", "--checkpoint", head)[0] == 0
    code, out = audit("verify", "--checkpoint", f"2:{'0' * 64}")
    assert code == 1
    assert "from entry 2 on" in out
    assert audit("verify", "--checkpoint", "2:zz")[0] == 2
    numbers = [each["number"] for each in json.loads(audit("list", "--limit", "2", "--json")[1])]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 2
    assert audit("list", "--outcome", "maybe")[0] == 2
    assert "done" in audit("list", "--action", "server.")[1]

    with closing(sqlite3.connect(place.home / "algorium.db", timeout=30)) as database, database:
        database.execute("DROP TRIGGER audit_entries_no_update")
        database.execute("UPDATE audit_entries SET actor = 'somebody' WHERE number = 3")
    code, out = audit("verify", "--json")
    assert code == 1
    assert json.loads(out)["broken"]["number"] == 3
    assert "from entry 3 on" in audit("verify")[1]

    place.stop()
    lines = (place.home / "logs" / "audit-checkpoints.jsonl").read_text().splitlines()
    # Somebody puts an empty log in place of it, with a head that needs no seal.
    with closing(sqlite3.connect(place.home / "algorium.db")) as database, database:
        database.execute("DROP TRIGGER audit_entries_no_delete")
        database.execute("DELETE FROM audit_entries")
        database.execute("DELETE FROM audit_head")
    code, out = audit("verify", "--json")
    assert code == 1
    assert json.loads(out)["broken"]["number"] == 1
    assert str(json.loads(lines[-1])["number"]) in json.loads(out)["broken"]["reason"]


def test_calls_with_sudo_are_recorded_each_with_both_names(server: RunningServer):
    root = Web(server.api, server.credentials["admin_api_key"])
    before = len(root.log(action="algorithm.sudo_called"))
    ids = []
    caller = Web(server.api, server.credentials["api_key"])
    for _ in range(3):  # a head that was seen before would take a shorter way
        answer = caller("POST", "/v1/algo/demo/Hello?sudo=true", json="HAL 9000")
        assert answer.status_code == 200
        assert answer.json()["result"] == "Hello HAL 9000"
        ids.append(answer.headers["x-request-id"])

    made = root.log(action="algorithm.sudo_called")[before:]
    assert [each["request_id"] for each in made] == ids
    assert {(each["actor"], each["behalf"], each["target"]) for each in made} == {
        (server.credentials["username"], "demo", "algorithm:demo/Hello")
    }
