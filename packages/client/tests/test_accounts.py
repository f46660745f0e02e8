"""Users, organizations, keys, source hosts and what administrators set, through both clients."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from standin import Fault, StandIn

import algorium
from algorium import KeyPermissions
from algorium.wire import accounts, governance, installation, keys, reading, scms
from algorium.wire.bodies import BodyError

ADA = {
    "id": "u1",
    "username": "ada",
    "email": "ada@example.com",
    "fullname": "Ada",
    "created_at": "2026-03-29T01:02:03.456Z",
}
LAB = {
    "id": "o1",
    "org_name": "lab",
    "org_label": "The Lab",
    "org_email": "lab@example.com",
    "org_created_at": "2026-03-29T01:02:03",
}
KEY = {
    "key_id": "k1",
    "username": "ada",
    "key_label": "nightly",
    "key_type": "AlgorithmKey",
    "api_key": "simA…bcde",
    "api_key_mask": "simA…bcde",
    "created_at": "2026-03-29T01:02:03Z",
    "permissions": {"allow_algo": True, "algo_acl": ["algo://demo/*"], "allow_data": True},
}
SCM = {
    "id": "github",
    "provider": "github",
    "name": "GitHub",
    "default": False,
    "enabled": True,
    "urls": {"web": "https://github.com", "api": "https://api.github.com", "ssh": "x"},
    "oauth": {"client_id": "Iv1"},
}
JSON = {"Content-Type": "application/json"}


def told(body: Any, status: int = 200) -> Fault:
    return Fault(status=status, headers=JSON, body=json.dumps(body).encode())


def nothing(status: int = 204) -> Fault:
    return Fault(status=status, headers=JSON, body=b"")


def last(stand_in: StandIn) -> tuple[str, str, Any]:
    request = stand_in.last
    return request.method, request.path, json.loads(request.body) if request.body else None


def test_a_key_says_whose_it_is(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(told({"user": ADA, "csrf_token": None}))
    me = client.users.me()

    assert stand_in.last.path == "/v1/session"
    assert (me.username, me.user_id, me.fullname, me.is_disabled) == ("ada", "u1", "Ada", False)
    assert me.created_at == datetime(2026, 3, 29, 1, 2, 3, 456000, UTC)


def test_lists_are_gone_through_page_by_page(client: Any, stand_in: StandIn) -> None:
    stand_in.faults += [
        told({"marker": "m", "results": [ADA]}),
        told({"marker": None, "results": [{**ADA, "username": "bob"}]}),
    ]

    assert [user.username for user in client.users.list(page=1)] == ["ada", "bob"]
    assert [request.query for request in stand_in.requests] == [
        {"limit": "1"},
        {"limit": "1", "marker": "m"},
    ]


def test_users_are_made_changed_and_deleted(client: Any, stand_in: StandIn) -> None:
    stand_in.faults += [told({**ADA, "api_key": "simNew"}), told(ADA), nothing(), nothing()]
    made = client.users.create("ada", "ada@example.com", fullname="Ada")
    first = last(stand_in)
    client.users.update("ada", disabled=True)
    second = last(stand_in)
    client.users.set_password("ada", "twelve letters")
    third = last(stand_in)
    client.users.delete("ada")

    assert (made.api_key, "simNew" in repr(made)) == ("simNew", False)
    body = {"username": "ada", "email": "ada@example.com", "passwordHash": "", "fullname": "Ada"}
    assert first == ("POST", "/v1/users", body)
    assert second == ("PUT", "/v1/users/ada", {"disabled": True})
    assert third == ("PUT", "/v1/users/ada/password", {"password": "twelve letters"})
    assert last(stand_in) == ("DELETE", "/v1/users/ada", None)


def test_somebody_signs_up_with_an_invite(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(told({**ADA, "api_key": "simNew"}))
    made = client.users.sign_up("crew", "ada", "ada@example.com", "twelve letters", fullname="Ada")

    assert (made.username, made.api_key) == ("ada", "simNew")
    assert last(stand_in) == (
        "POST",
        "/v1/sign-up",
        {
            "inviteCode": "crew",
            "username": "ada",
            "email": "ada@example.com",
            "password": "twelve letters",
            "fullname": "Ada",
        },
    )


@pytest.mark.parametrize(
    ("group", "method", "arguments"),
    [
        ("users", "create", ("ada", "ada@example.com")),
        ("users", "update", ("ada",)),
        ("organizations", "create", ("lab",)),
        ("organizations", "update", ("lab",)),
        ("algorithms", "update", ("ada/echo",)),
    ],
)
def test_a_misspelt_option_is_a_type_error(
    client: Any, stand_in: StandIn, group: str, method: str, arguments: tuple[str, ...]
) -> None:
    right = {"users": "fullname", "organizations": "label", "algorithms": "tagline"}[group]

    with pytest.raises(TypeError, match=rf"did you mean {right}\?\); known are .*{right}"):
        getattr(getattr(client, group), method)(*arguments, **{f"{right}e": "x"})
    assert not stand_in.requests


def test_names_are_quoted(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(told({"error": {"message": "no"}}, 404))
    with pytest.raises(algorium.AccountNotFound):
        client.users.get("../admin?x")

    assert stand_in.last.path == "/v1/users/..%2Fadmin%3Fx"


@pytest.mark.parametrize("name", ["..", ".", ""])
def test_no_name_leads_to_another_path(client: Any, stand_in: StandIn, name: str) -> None:
    with pytest.raises(ValueError, match="nothing can be called"):
        client.organizations.remove_member("acme", name)
    with pytest.raises(ValueError, match="nothing can be called"):
        client.keys.delete(name, user="ada")

    assert not stand_in.requests


def test_organizations_are_made_changed_and_deleted(client: Any, stand_in: StandIn) -> None:
    stand_in.faults += [told(LAB), nothing(), told(LAB), nothing(), told(LAB)]
    client.organizations.create(
        "lab", label="The Lab", contact_name="Ada", email="lab@example.com", owners=["u1"]
    )
    first = last(stand_in)
    changed = client.organizations.update("lab", url="https://example.com")
    second = [(request.method, request.path) for request in stand_in.requests[1:]]
    client.organizations.delete("lab")
    third = last(stand_in)
    client.organizations.of_external_id("Lab/1")

    assert first[2] == {
        "org_name": "lab",
        "org_label": "The Lab",
        "org_contact_name": "Ada",
        "org_email": "lab@example.com",
        "owner_ids": ["u1"],
    }
    assert second == [("PUT", "/v1/organizations/lab"), ("GET", "/v1/organizations/lab")]
    assert third == ("DELETE", "/v1/organizations/lab", None)
    assert stand_in.last.path == "/v1/organizations/externalId/Lab%2F1"
    assert (changed.name, changed.label, changed.created_at) == (
        "lab",
        "The Lab",
        datetime(2026, 3, 29, 1, 2, 3, tzinfo=UTC),
    )


def test_members_come_and_go(client: Any, stand_in: StandIn) -> None:
    member = {"username": "bob", "role": "member", "organization_role": "executor"}
    stand_in.faults += [
        told({"marker": None, "results": [member, {"username": "old", "role": "owner"}]}),
        nothing(201),
        nothing(200),
        nothing(),
    ]
    found = list(client.organizations.members("lab"))
    is_new = client.organizations.add_member("lab", "bob", role="executor")
    first = last(stand_in)
    is_new_again = client.organizations.add_member("lab", "bob")
    second = last(stand_in)
    client.organizations.remove_member("lab", "bob")

    assert [(each.username, each.role) for each in found] == [("bob", "executor"), ("old", "owner")]
    assert (is_new, is_new_again) == (True, False)
    assert first == ("PUT", "/v1/organizations/lab/members/bob", {"role": "executor"})
    assert second == ("PUT", "/v1/organizations/lab/members/bob", {})
    assert last(stand_in) == ("DELETE", "/v1/organizations/lab/members/bob", None)


def test_what_an_organization_has_is_listed(client: Any, stand_in: StandIn) -> None:
    algorithm = {"id": "a1", "algoname": "Echo", "username": "lab"}
    stand_in.faults += [told([algorithm]), told([{"id": "t1", "name": "basic"}])]
    (found,) = client.organizations.algorithms("lab")
    (kind,) = client.organizations.types()

    assert (found.algorithm_id, found.owner, found.name) == ("a1", "lab", "Echo")
    assert (kind.type_id, kind.name) == ("t1", "basic")


def test_keys_are_those_of_the_caller_unless_said_otherwise(client: Any, stand_in: StandIn) -> None:
    stand_in.faults += [told({"user": ADA}), told([KEY]), told([]), told([])]
    (key,) = client.keys.list()
    own = stand_in.last.path
    client.keys.list(user="bob")
    of_user = stand_in.last.path
    client.keys.list(organization="lab")

    assert (own, of_user) == ("/v1/users/ada/keys", "/v1/users/bob/keys")
    assert stand_in.last.path == "/v1/organizations/lab/keys"
    assert (key.key_id, key.label, key.mask, key.value) == ("k1", "nightly", "simA…bcde", "")
    assert key.permissions == KeyPermissions(algo_acl=("algo://demo/*",), allow_data=True)
    with pytest.raises(ValueError, match="not to both"):
        client.keys.list(user="bob", organization="lab")


def test_a_key_is_made_and_its_value_never_shown_by_accident(
    client: Any, stand_in: StandIn
) -> None:
    stand_in.faults.append(told({**KEY, "api_key": "simSecret"}))
    made = client.keys.create(
        "nightly",
        permissions=KeyPermissions(allow_data=True, algo_acl=("algo://demo/*",)),
        expires_at=datetime(2030, 1, 1, tzinfo=UTC),
        user="ada",
    )
    method, path, body = last(stand_in)

    assert (made.value, "simSecret" in repr(made)) == ("simSecret", False)
    assert (method, path) == ("POST", "/v1/users/ada/keys")
    assert body["permissions"]["algo_acl"] == ["algo://demo/*"]
    assert (body["key_label"], body["expires_at"]) == ("nightly", "2030-01-01T00:00:00+00:00")
    with pytest.raises(ValueError, match="time zone"):
        client.keys.create("x", expires_at=datetime(2030, 1, 1))


def test_keys_are_rotated_deleted_and_brought(client: Any, stand_in: StandIn) -> None:
    stand_in.faults += [told(KEY), told(KEY), nothing(), told(KEY), told(KEY, 201)]
    client.keys.rotate("k1", user="ada")
    client.keys.rotate("k1", grace_s=0, organization="lab")
    client.keys.delete("k1", user="ada")
    client.keys.bring("ada", "sim1234567890123456", label="old")
    client.keys.create_for_member("lab", "ada", kind="ManagementKey")

    seen = [(request.method, request.path) for request in stand_in.requests]
    assert seen == [
        ("POST", "/v1/users/ada/keys/k1/rotate"),
        ("POST", "/v1/organizations/lab/keys/k1/rotate"),
        ("DELETE", "/v1/users/ada/keys/k1"),
        ("POST", "/v1/admin/users/ada/keys"),
        ("POST", "/v1/organizations/lab/members/ada/keys"),
    ]
    bodies = [json.loads(request.body or b"null") for request in stand_in.requests]
    assert bodies[0] == {}
    assert bodies[1] == {"grace_seconds": 0}
    assert bodies[3]["api_key"] == "sim1234567890123456"


def test_source_hosts_are_listed_and_connected(client: Any, stand_in: StandIn) -> None:
    status = {
        "authorization_status": "authorized",
        "scm_username": "jane",
        "scm_organizations": [
            {"scm_org_username": "lab", "scm_username": "lab", "access_level": "MEMBER"}
        ],
    }
    stand_in.faults += [
        told({"results": [SCM]}),
        told(SCM),
        told(status),
        told({"authorization_status": "unauthorized"}),
        nothing(),
    ]
    (listed,) = client.scms.list()
    found = client.scms.get("github")
    connection = client.scms.connect("github", "token")
    sent = last(stand_in)
    other = client.scms.status("github")
    client.scms.revoke("github")

    assert listed == found
    assert (found.scm_id, found.web_url, found.client_id) == ("github", SCM["urls"]["web"], "Iv1")
    assert (connection.is_authorized, connection.username) == (True, "jane")
    assert connection.organizations == (algorium.ScmMembership(name="lab", access_level="MEMBER"),)
    assert sent == ("POST", "/v1/scms/github/token/connect", {"secretToken": "token"})
    assert other == algorium.ScmConnection(is_authorized=False)
    assert stand_in.last.path == "/v1/scms/github/oauth/revoke"
    with pytest.raises(ValueError, match="takes a token"):
        client.scms.connect("github", username="jane")


def test_administrators_set_what_holds_for_all(client: Any, stand_in: StandIn) -> None:
    entry = {"keyname": "title", "value": "Hi", "created_at": 1000, "updated_at": 2000}
    invite = {"inviteCode": "welcome", "signupCredits": 5, "comments": "", "createdBy": "ada"}
    stand_in.faults += [
        nothing(200),
        told([invite]),
        nothing(200),
        told([{"name": "dark-theme-enabled", "enabled": False}]),
        nothing(),
        told({"marker": None, "results": [entry]}),
        told(entry),
        told(entry),
        nothing(),
    ]
    admin = client.admin
    admin.invite("welcome", signup_credits=5)
    (found,) = admin.invites()
    admin.delete_invite("welcome")
    features = admin.features("ada")
    admin.set_feature("dark-theme-enabled", enabled=True, username="ada")
    switched = (stand_in.last.path, stand_in.last.query, json.loads(stand_in.last.body))
    (listed,) = admin.frontend_entries()
    same = admin.frontend_entry("title")
    admin.set_frontend_entry("title", "Hi")
    admin.delete_frontend_entry("title")

    assert (found.code, found.signup_credits, found.created_by) == ("welcome", 5, "ada")
    assert features == {"dark-theme-enabled": False}
    assert switched == (
        "/v1/admin/features/dark-theme-enabled",
        {"username": "ada"},
        {"enabled": True},
    )
    assert listed == same
    assert listed.updated_at == datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)
    with pytest.raises(ValueError, match="time zone"):
        admin.invite("x", expires_at=datetime(2030, 1, 1))


def test_administrators_give_roles_and_add_source_hosts(client: Any, stand_in: StandIn) -> None:
    stand_in.faults += [
        nothing(200),
        nothing(200),
        told(SCM, 201),
        told(SCM),
        nothing(),
        nothing(),
        told({"id": "t1", "name": "lab"}),
        nothing(),
        told({"level": "full"}),
    ]
    client.admin.grant("ada", "cluster_viewer")
    client.admin.revoke("ada", "cluster_viewer")
    client.admin.add_scm({"provider": "github"})
    client.admin.change_scm("github", {"enabled": False})
    client.admin.set_default_scm("internal")
    client.admin.delete_scm("github")
    client.admin.create_organization_type("lab")
    client.admin.delete_organization_type("lab")
    host = client.admin.host()

    seen = [(request.method, request.path) for request in stand_in.requests]
    assert seen == [
        ("POST", "/admin/roles/ada/cluster_viewer"),
        ("DELETE", "/admin/roles/ada/cluster_viewer"),
        ("POST", "/v1/admin/scms"),
        ("PATCH", "/v1/admin/scms/github"),
        ("POST", "/v1/admin/scms/internal/default"),
        ("DELETE", "/v1/admin/scms/github"),
        ("POST", "/v1/organization/types"),
        ("DELETE", "/v1/organization/types/lab"),
        ("GET", "/v1/admin/host"),
    ]
    assert host == {"level": "full"}


def test_what_accounts_may_use_is_told_and_set(client: Any, stand_in: StandIn) -> None:
    quota = {"limit": 600, "used": 12, "renews_at": "2031-05-06T07:09:00Z", "is_default": False}
    quotas = {
        "account": "ada",
        "account_id": "u1",
        "quotas": {"calls_per_minute": quota, "slots": {"limit": None, "is_default": True}},
    }
    stand_in.faults += [
        told({"user": ADA}),
        *[told(quotas)] * 5,
        told({"marker": None, "results": [{"account": "ada", "limits": {}}]}),
    ]
    own = client.users.quotas()
    first = stand_in.last.path
    client.organizations.quotas("lab")
    client.admin.quotas("ada")
    client.admin.set_quotas("ada", {"calls_per_minute": 600, "slots": "unlimited"})
    sent = last(stand_in)
    client.admin.reset_quotas("ada")
    limited = list(client.admin.limited_accounts())

    assert first == "/v1/users/ada/quotas"
    assert (own.account, own.quotas["slots"].limit) == ("ada", None)
    assert own.quotas["calls_per_minute"] == algorium.QuotaInfo(
        limit=600, used=12, renews_at=datetime(2031, 5, 6, 7, 9, tzinfo=UTC), is_default=False
    )
    assert sent == (
        "PUT",
        "/v1/admin/quotas/ada",
        {"calls_per_minute": 600, "slots": "unlimited"},
    )
    assert limited == ["ada"]


def test_what_was_done_is_gone_through(client: Any, stand_in: StandIn) -> None:
    entry = {"number": 7, "at": "2031-01-01T00:00:00Z", "actor": "ada", "action": "key.created"}
    stand_in.faults += [
        told({"marker": "m", "results": [entry]}),
        told({"marker": None, "results": [{**entry, "number": 6, "detail": {"a": 1}}]}),
        told({"marker": None, "results": []}),
        told({"marker": None, "results": []}),
    ]
    since = datetime(2031, 1, 1, tzinfo=UTC)
    found = list(client.admin.audit(action="key.", since=since, page=1))
    asked = [request.query for request in stand_in.requests]
    list(client.users.audit("ada"))
    list(client.organizations.audit("lab", outcome="denied"))

    assert [(each.number, each.detail) for each in found] == [(7, {}), (6, {"a": 1})]
    assert asked == [
        {"action": "key.", "since": "2031-01-01T00:00:00+00:00", "limit": "1"},
        {"action": "key.", "since": "2031-01-01T00:00:00+00:00", "limit": "1", "marker": "m"},
    ]
    assert [request.path for request in stand_in.requests[2:]] == [
        "/v1/users/ada/audit",
        "/v1/organizations/lab/audit",
    ]


@pytest.mark.parametrize("body", [[], "text", {}, {"results": 1}, {"results": [{}]}])
def test_what_is_not_of_this_protocol_is_told(client: Any, stand_in: StandIn, body: Any) -> None:
    asks = [
        lambda: list(client.users.list()),
        lambda: list(client.organizations.members("lab")),
        client.scms.list,
        lambda: client.users.get("ada"),
    ]
    for ask in asks:
        stand_in.faults.append(told(body))
        with pytest.raises(algorium.UnexpectedResponse):
            ask()


@pytest.mark.parametrize(
    "read",
    [
        accounts.UserInfo.from_json,
        accounts.OrganizationInfo.from_json,
        accounts.OrganizationType.from_json,
        accounts.MemberInfo.from_json,
        accounts.AlgorithmName.from_json,
        keys.KeyInfo.from_json,
        scms.ScmInfo.from_json,
        scms.ScmConnection.from_json,
        governance.AccountQuotas.from_json,
        governance.AuditEntry.from_json,
        installation.InviteInfo.from_json,
        installation.FrontendEntry.from_json,
        installation.feature,
    ],
    ids=lambda read: getattr(read, "__qualname__", ""),
)
@pytest.mark.parametrize("value", [None, [], {}, {"id": 1}], ids=["null", "list", "empty", "id"])
def test_values_without_their_names_are_refused(read: Any, value: Any) -> None:
    with pytest.raises(BodyError):
        read(value)


def test_what_is_of_another_type_is_as_if_it_were_missing() -> None:
    body = {"a": 1, "b": [1, "x"], "c": "no time", "d": True, "e": 1e30, "f": "yes"}

    assert (reading.text(body, "a"), reading.texts(body, "b")) == ("", ("x",))
    assert (reading.moment(body, "c"), reading.milliseconds(body, "d")) == (None, None)
    assert (reading.milliseconds(body, "e"), reading.flag(body, "f")) == (None, False)
    assert (reading.inner(body, "a"), reading.texts(body, "a")) == ({}, ())
