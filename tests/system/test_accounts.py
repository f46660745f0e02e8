"""Users, organizations, members and keys as administrators and their users meet them."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from running import RunningServer
from waiting import wait_until

SCRIPTS = Path(__file__).parent
ORGANIZATION = {
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
UNKNOWN = str(uuid.UUID(int=1))


class Web:
    """A client that shows one key."""

    def __init__(self, http: httpx2.Client, key: str) -> None:
        self.http = http
        self.key = key

    def __call__(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {"Authorization": self.key} if self.key else {}
        return self.http.request(method, path, headers=headers, **options)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("accounts") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def http(place: RunningServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=place.api, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def admin(place: RunningServer, http: httpx2.Client) -> Web:
    return Web(http, place.credentials["admin_api_key"])


@pytest.fixture
def new_user(http: httpx2.Client, admin: Web):
    """Return a function that creates a user and returns its name and a client for its key."""

    def make(**key: Any) -> tuple[str, Web]:
        name = unique("user")
        made = admin("POST", "/v1/users", json=user_body(name))
        assert made.status_code == 200, made.text
        if not key:
            return name, Web(http, made.json()["api_key"])
        return name, Web(http, key_of(admin, name, **key)["api_key"])

    return make


@pytest.fixture
def new_organization(admin: Web):
    def make(**fields: Any) -> str:
        name = unique("org")
        made = admin("POST", "/v1/organizations", json={"org_name": name, **ORGANIZATION, **fields})
        assert made.status_code == 200, made.text
        return name

    return make


def unique(prefix: str) -> str:
    return f"{prefix}{uuid.uuid4().hex[:12]}"


def user_body(name: str) -> dict[str, Any]:
    return {"username": name, "email": f"{name}@example.com"}


def key_of(admin: Web, name: str, **body: Any) -> dict[str, Any]:
    made = admin("POST", f"/v1/users/{name}/keys", json=body)
    assert made.status_code == 200, made.text
    return made.json()


def code_of(answer: httpx2.Response) -> tuple[int, int | None]:
    error = answer.json()["error"]
    assert answer.headers["x-error-message"]
    return answer.status_code, error.get("code")


ALL = {
    "algo_acl": ["algo://*"],
    "allow_data": True,
    "allow_data_write": True,
    "allow_algo_management": True,
}
MANAGING = {"key_type": "ManagementKey", "permissions": ALL}


# Users


def test_a_user_is_created_found_changed_and_deleted_for_good(admin: Web) -> None:
    name = unique("jane")
    sent = user_body(name) | {"passwordHash": "", "shouldCreateHello": False}
    made = admin("POST", "/v1/users", json=sent)

    assert made.status_code == 200
    user = made.json()
    assert user["fullname"] == user["username"] == name
    assert user["resource_type"] == "user"
    assert user["self_link"].endswith(f"/v1/users/{name}")
    assert "company_name" not in user
    secret = user.pop("api_key")
    assert admin("GET", f"/v1/users/{name.upper()}").json() == user
    assert admin("GET", f"/v1/users/{user['id'].upper()}").json() == user
    labels = [key["key_label"] for key in admin("GET", f"/v1/users/{name}/keys").json()]
    assert labels == ["default-key"]

    changed = admin(
        "PUT",
        f"/v1/users/{name}",
        json=user | {"fullname": "Jane Ñ", "company_name": "Firm", "company_role": None},
    )
    assert changed.status_code == 200
    assert changed.json() == user | {"fullname": "Jane Ñ", "company_name": "Firm"}
    renamed = admin("PUT", f"/v1/users/{name}", json={"username": "other"})
    assert code_of(renamed) == (400, 3007)

    assert admin("DELETE", f"/v1/users/{name}").status_code == 204
    assert code_of(admin("DELETE", f"/v1/users/{name}")) == (404, 3000)
    assert Web(admin.http, secret)("GET", "/v1/data").status_code == 401
    again = user_body(name.upper()) | {"email": "another@example.com"}
    assert code_of(admin("POST", "/v1/users", json=again)) == (409, 3003)
    again = user_body(unique("joe")) | {"email": f"{name.upper()}@example.com"}
    assert code_of(admin("POST", "/v1/users", json=again)) == (409, 3004)
    assert code_of(admin("POST", "/v1/organizations", json={"org_name": name, **ORGANIZATION})) == (
        409,
        3101,
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"email": "a@example.com"}, 3005),
        ({"username": "abc"}, 3005),
        ({"username": "abc", "email": ""}, 3005),
        ({"username": "abc", "email": "no address"}, 3001),
        ({"username": "abc", "email": "a@example.com\n"}, 3001),
        ({"username": "abc", "email": "a" * 100 + "@example.com"}, 3001),
        ({"username": "abc", "email": "a@" + "a." * 40 + "!"}, 3001),
        ({"username": "a b", "email": "a@example.com"}, 6001),
        ({"username": "аdmin", "email": "a@example.com"}, 6001),  # noqa: RUF001 - Cyrillic
        ({"username": "a" * 31, "email": "a@example.com"}, 6001),
        ({"username": "../x", "email": "a@example.com"}, 6001),
        ({"username": 7, "email": "a@example.com"}, 3001),
        ({"username": "abc", "email": "a@example.com", "fullname": "x" * 101}, 3001),
        ({"username": "abc", "email": "a@example.com", "fullname": "a\nlevel=error"}, 3001),
        ({"username": "abc", "email": "a@example.com", "fullname": "\0"}, 3001),
        ({"username": "abc", "email": "a@example.com", "passwordHash": "$2a$"}, 3001),
        ([], 3001),
        ("text", 3001),
        (None, 3005),
    ],
)
def test_what_is_no_user_is_refused_with_its_code(admin: Web, body: Any, expected: int) -> None:
    answer = admin("POST", "/v1/users", content=json.dumps(body))

    assert code_of(answer) == (400, expected)
    assert code_of(admin("GET", "/v1/users/abc")) == (404, 3000)


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff", b"[" * 100_000, b'{"username":"\\ud800","email":"a@example.com"}', b"NaN"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/users"), ("POST", "/v1/organizations"), ("PUT", "/v1/users/admin")],
)
def test_broken_json_is_a_clean_error(admin: Web, method: str, path: str, content: bytes) -> None:
    answer = admin(method, path, content=content)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_lists_come_in_pages_by_name(admin: Web, new_user) -> None:
    names = sorted(new_user()[0] for _ in range(3))
    seen: list[str] = []
    path = "/v1/users?limit=2"
    while path:
        page = admin("GET", path).json()
        assert set(page) == {"marker", "next_link", "results"}
        assert len(page["results"]) <= 2
        seen += [user["username"] for user in page["results"]]
        path = page["next_link"]

    assert seen == sorted(seen, key=str.lower)
    assert set(names) < set(seen)
    assert len(seen) == len(set(seen))
    assert code_of(admin("GET", "/v1/users?limit=0")) == (400, 5003)
    assert code_of(admin("GET", "/v1/users?limit=1001")) == (400, 5003)
    assert code_of(admin("GET", "/v1/organizations?marker=nonsense!")) == (400, 5002)
    assert admin("GET", "/v1/organizations?marker=").status_code == 200


def test_users_change_themselves_but_not_what_others_go_by(new_user, admin: Web) -> None:
    name, jane = new_user(**MANAGING)
    other, _ = new_user()
    own = jane("GET", f"/v1/users/{name}")

    assert own.json()["email"] == f"{name}@example.com"
    assert jane("PUT", f"/v1/users/{name}", json={"fullname": "J"}).json()["fullname"] == "J"
    assert jane("PUT", f"/v1/users/{name}", json=own.json()).status_code == 200
    email = {"email": "new@example.com"}
    assert code_of(jane("PUT", f"/v1/users/{name}", json=email)) == (400, 3008)
    for decided in ({"external_id": "x"}, {"disabled": False}):
        assert code_of(jane("PUT", f"/v1/users/{name}", json=decided)) == (403, 2001)
    for hidden in (other, "nobody", UNKNOWN):
        assert code_of(jane("GET", f"/v1/users/{hidden}")) == (403, 2001)
    assert admin("PUT", f"/v1/users/{name}", json={"external_id": name}).status_code == 200
    taken = admin("PUT", f"/v1/users/{other}", json={"external_id": name})
    assert taken.status_code == 409
    taken = admin("PUT", f"/v1/users/{other}", json={"email": f"{name.upper()}@example.com"})
    assert code_of(taken) == (409, 3004)


def test_a_disabled_user_is_nobody_until_it_is_enabled(new_user, admin: Web) -> None:
    name, jane = new_user()
    assert jane("GET", "/v1/data").status_code == 200

    assert admin("PUT", f"/v1/users/{name}", json={"disabled": True}).json()["disabled"] is True
    assert code_of(jane("GET", "/v1/data")) == (401, 2002)
    assert "disabled" not in admin("PUT", f"/v1/users/{name}", json={"disabled": False}).json()
    assert jane("GET", "/v1/data").status_code == 200


def test_there_is_an_administrator_always(admin: Web, new_user, http: httpx2.Client) -> None:
    name, _ = new_user()
    listed = admin("GET", "/v1/users/admin/keys").json()
    (last,) = [
        key["key_id"]
        for key in listed
        if key["key_type"] == "PlatformAdminKey" and "expires_at" not in key
    ]

    for refused in (
        admin("DELETE", f"/v1/users/admin/keys/{last}"),
        admin("DELETE", "/v1/users/admin"),
        admin("PUT", "/v1/users/admin", json={"disabled": True}),
        admin("DELETE", "/admin/roles/admin/cluster_admin"),
    ):
        assert code_of(refused) == (400, 6001)
    assert admin("POST", f"/admin/roles/{name}/cluster_admin").status_code == 200
    key = key_of(admin, name, key_type="PlatformAdminKey")["api_key"]
    other = Web(http, key)
    assert other("GET", "/v1/users").status_code == 200
    assert admin("DELETE", f"/admin/roles/{name}/cluster_admin").status_code == 200
    assert other("GET", "/v1/users").status_code == 403
    refused = admin("POST", f"/v1/users/{name}/keys", json={"key_type": "PlatformAdminKey"})
    assert code_of(refused) == (400, 6001)


# Organizations


def test_an_organization_has_every_text_that_clients_need(admin: Web) -> None:
    name = unique("lab")
    body = {
        "org_name": name,
        **ORGANIZATION,
        "org_url": None,
        "type_id": None,
        "external_id": f"ext/{name}",
        "external_admin_group": ["ops", " dev ", "ops"],
        "external_member_group_id": "a, b",
    }
    made = admin("POST", "/v1/organizations", json=body)

    assert made.status_code == 200
    found = made.json()
    (basic,) = [
        t["id"] for t in admin("GET", "/v1/organization/types").json() if t["name"] == "basic"
    ]
    assert found == {
        "id": found["id"],
        "org_name": name,
        **ORGANIZATION,
        "org_url": "",
        "type_id": basic,
        "external_id": f"ext/{name}",
        "external_admin_group": "ops,dev",
        "external_member_group": "a,b",
        "external_executor_group": "",
        "org_created_at": found["org_created_at"],
        "stripe_customer_id": None,
        "owner_ids": None,
        "resource_type": "organization",
        "self_link": f"{str(admin.http.base_url).rstrip('/')}/v1/organizations/{name}",
    }
    datetime.strptime(found["org_created_at"], "%Y-%m-%dT%H:%M:%S")
    assert admin("GET", f"/v1/organizations/{found['id']}").json() == found
    assert admin("GET", f"/v1/organizations/externalId/ext/{name}").json() == found
    assert code_of(admin("GET", "/v1/organizations/externalId/none")) == (404, 3100)

    other = {"org_name": "zzz", "id": UNKNOWN, "org_label": "New", "org_email": None}
    changed = admin("PUT", f"/v1/organizations/{name}", json=found | other)
    assert (changed.status_code, changed.content) == (204, b"")
    assert admin("GET", f"/v1/organizations/{name}").json() == found | {"org_label": "New"}
    assert code_of(admin("PUT", "/v1/organizations/nothing", json={})) == (404, 3100)
    for type_id in ("", "garbage"):
        refused = admin("PUT", f"/v1/organizations/{name}", json={"type_id": type_id})
        assert code_of(refused) == (404, 3108)
    for _ in range(2):
        gone = admin("DELETE", f"/v1/organizations/{name}")
        assert (gone.status_code, gone.content) == (204, b"")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, 3005)),
        ({"org_name": "abc"}, (400, 3005)),
        ({"org_name": "abc", **ORGANIZATION, "org_email": None}, (400, 3005)),
        ({"org_name": "a b", **ORGANIZATION}, (400, 6001)),
        ({"org_name": "abc", **ORGANIZATION, "org_label": "x" * 101}, (400, 3103)),
        ({"org_name": "abc", **ORGANIZATION, "org_url": 5}, (400, 3103)),
        ({"org_name": "abc", **ORGANIZATION, "external_id": "\x1b[31m"}, (400, 3103)),
        ({"org_name": "abc", **ORGANIZATION, "type_id": "garbage"}, (404, 3108)),
        ({"org_name": "abc", **ORGANIZATION, "owner_ids": [UNKNOWN]}, (404, 3000)),
        ({"org_name": "admin", **ORGANIZATION}, (409, 3101)),
    ],
)
def test_what_is_no_organization_is_refused_with_its_code(
    admin: Web, body: Any, expected: tuple[int, int]
) -> None:
    assert code_of(admin("POST", "/v1/organizations", json=body)) == expected
    assert code_of(admin("GET", "/v1/organizations/abc")) == (404, 3100)


def test_members_come_and_go_and_an_owner_stays(admin: Web, new_user, new_organization) -> None:
    (jane, as_jane), (joe, _) = new_user(**MANAGING), new_user()
    lab = new_organization()
    members = f"/v1/organizations/{lab}/members"

    added = admin("PUT", f"{members}/{jane}", content=b"")
    assert (added.status_code, added.content) == (201, b"")
    again = admin("PUT", f"{members}/{jane}", data={})
    assert (again.status_code, again.content) == (200, b"")
    assert as_jane("PUT", f"{members}/{joe}").status_code == 403
    assert admin("PUT", f"{members}/{jane}", json={"role": "owner"}).status_code == 200
    assert as_jane("PUT", f"{members}/{joe}", json={"role": "executor"}).status_code == 201
    page = admin("GET", f"{members}?limit=2").json()
    rest = admin("GET", page["next_link"]).json()
    roles = {
        m["username"]: (m["role"], m["organization_role"])
        for m in page["results"] + rest["results"]
    }
    assert roles == {
        "admin": ("owner", "owner"),
        jane: ("owner", "owner"),
        joe: ("member", "executor"),
    }
    assert page["results"][0]["resource_type"] == "organization_member"
    assert rest["next_link"] is rest["marker"] is None

    assert admin("DELETE", f"{members}/admin").status_code == 204
    assert admin("DELETE", f"{members}/admin").status_code == 204
    for refused in (
        admin("DELETE", f"{members}/{jane}"),
        admin("PUT", f"{members}/{jane}", json={"role": "member"}),
        admin("DELETE", f"/v1/users/{jane}"),
    ):
        assert code_of(refused) == (400, 3102)
    assert code_of(admin("PUT", f"{members}/{jane}", json={"role": "king"})) == (400, 6001)
    assert code_of(admin("PUT", f"{members}/nobody")) == (404, 3000)
    assert code_of(admin("PUT", f"/v1/organizations/nothing/members/{jane}")) == (404, 3100)
    assert as_jane("GET", f"/v1/data/{lab}").status_code == 200
    # What members may do ends with the membership.
    assert admin("PUT", f"{members}/admin", json={"role": "owner"}).status_code == 201
    assert admin("DELETE", f"{members}/{jane}").status_code == 204
    assert as_jane("GET", f"/v1/organizations/{lab}").status_code == 403


def test_owners_change_texts_but_not_who_belongs_to_it(
    admin: Web, new_user, new_organization
) -> None:
    jane, as_jane = new_user(**MANAGING)
    lab = new_organization()
    admin("PUT", f"/v1/organizations/{lab}/members/{jane}", json={"role": "owner"})
    whole = as_jane("GET", f"/v1/organizations/{lab}").json()

    assert (
        as_jane("PUT", f"/v1/organizations/{lab}", json=whole | {"org_url": "u"}).status_code == 204
    )
    assert as_jane("GET", f"/v1/organizations/{lab}").json()["org_url"] == "u"
    group = {"external_admin_group": "everybody"}
    assert as_jane("PUT", f"/v1/organizations/{lab}", json=group).status_code == 403
    assert as_jane("DELETE", f"/v1/organizations/{lab}").status_code == 403


def test_types_are_known_by_name(admin: Web, new_organization) -> None:
    types = admin("GET", "/v1/organization/types").json()
    assert [kind["name"] for kind in types][:3] == ["basic", "legacy", "pro"]
    name = unique("type")

    made = admin("POST", "/v1/organization/types", json={"name": name})
    assert made.json() == {"id": made.json()["id"], "name": name}
    duplicate = admin("POST", "/v1/organization/types", json={"name": name.upper()})
    assert code_of(duplicate) == (400, 3109)
    lab = new_organization(type_id=made.json()["id"])
    assert code_of(admin("DELETE", f"/v1/organization/types/{name}")) == (400, 3110)
    admin("DELETE", f"/v1/organizations/{lab}")
    assert admin("DELETE", f"/v1/organization/types/{name}").status_code == 204
    assert code_of(admin("DELETE", f"/v1/organization/types/{name}")) == (404, 3108)
    assert code_of(admin("DELETE", "/v1/organization/types/basic")) == (400, 3110)


def test_users_of_the_host_are_kept(admin: Web, new_organization, http: httpx2.Client) -> None:
    lab = new_organization()
    path = f"/v1/admin/organization_host_information/{lab}"
    body = {"host_username": "worker", "host_user_id": "1001"}

    assert code_of(admin("GET", path)) == (400, 3300)
    assert code_of(admin("POST", path, json={"host_username": "x"})) == (400, 3302)
    assert code_of(admin("POST", path, content=b"[]")) == (400, 3302)
    assert admin("POST", path, json=body).status_code == 200
    assert code_of(admin("POST", path, json=body)) == (400, 3301)
    found = admin("GET", path).json()
    assert found == {"id": found["id"], "org_id": found["org_id"], **body}
    whole = found | {"host_user_id": "2"}
    base = "/v1/admin/organization_host_information"
    assert admin("PUT", base, json=whole).status_code == 200
    assert admin("GET", path).json() == whole
    assert admin("DELETE", path).status_code == 200
    assert code_of(admin("DELETE", path)) == (400, 3300)
    assert code_of(admin("PUT", base, json=whole)) == (400, 3300)

    owner = Web(http, key_of(admin, "admin", **MANAGING)["api_key"])
    made = owner("POST", f"/v1/algorithms/{lab}", json=TOOL)
    assert made.status_code == 201, made.text
    algorithm_id = made.json()["id"]
    hosts = f"/v1/organizations/{lab}/algorithms-host-usernames"
    update = {"algorithm_id": algorithm_id, "functional_id": "f1"}
    assert admin("PUT", hosts, json={"updates": [update]}).status_code == 204
    assert admin("GET", hosts).json() == [update]
    stranger = {"algorithm_id": UNKNOWN, "functional_id": "f1"}
    assert code_of(admin("PUT", hosts, json={"updates": [stranger]})) == (400, 6001)
    tools = admin("GET", f"/v1/organizations/{lab}/utility-algorithms").json()
    assert tools == [{"id": algorithm_id, "algoname": "Tool", "username": lab}]
    assert admin("DELETE", f"{hosts}/{algorithm_id}").status_code == 204
    assert admin("GET", hosts).json() == []


def test_what_a_deleted_organization_owned_is_gone_with_it(
    admin: Web, new_organization, place: RunningServer, http: httpx2.Client
) -> None:
    lab = new_organization()
    owner = Web(http, key_of(admin, "admin", **MANAGING)["api_key"])
    made = owner("POST", f"/v1/algorithms/{lab}", json=TOOL)
    assert made.status_code == 201, made.text
    repository = next((place.home / "repos").rglob(f"{made.json()['id']}*"))
    assert owner("POST", f"/v1/data/{lab}", json={"name": "c"}).status_code == 200
    for name, size in (("small", 10), ("large", 200_000)):
        put = owner("PUT", f"/v1/data/{lab}/c/{name}", content=bytes(size))
        assert put.status_code == 200, put.text
    key = admin("POST", f"/v1/organizations/{lab}/keys", json={"permissions": ALL}).json()
    as_lab = Web(http, key["api_key"])
    assert as_lab("GET", f"/v1/data/{lab}/c/small").status_code == 200
    (blob,) = blobs_of(place.home, 200_000)

    assert admin("DELETE", f"/v1/organizations/{lab}").status_code == 204
    assert as_lab("GET", "/v1/data").status_code == 401
    assert owner("GET", f"/v1/algorithms/{lab}/Tool").status_code == 404
    assert owner("GET", f"/v1/data/{lab}/c").status_code == 404
    assert not blob.exists()
    assert not repository.exists()


def blobs_of(home: Path, size_bytes: int) -> list[Path]:
    found = (home / "blobs").rglob("*")
    return [path for path in found if path.is_file() and path.stat().st_size == size_bytes]


# Keys


def test_the_value_of_a_key_is_told_once_and_stored_nowhere(
    admin: Web, place: RunningServer, new_user
) -> None:
    name, _ = new_user()
    made = key_of(admin, name, key_label="ci", key_type="AlgorithmKey")
    value = made["api_key"]

    assert len(value) == 28
    assert value.startswith("sim")
    assert made["api_key_mask"] == f"{value[:4]}…{value[-4:]}"
    assert made["permissions"] == {
        "allow_algo": True,
        "algo_acl": [],
        "allow_web_algo": False,
        "allow_data": False,
        "allow_data_write": False,
        "allow_algo_management": False,
    }
    listed = admin("GET", f"/v1/users/{name}/keys")
    assert listed.json()[1] == made | {"api_key": made["api_key_mask"]}
    for path in place.home.iterdir():
        if path.name.startswith("algorium.db"):
            assert value.encode() not in path.read_bytes()
    assert not any(value in line for line in place.lines)


def test_a_management_key_makes_keys_that_may_no_more(new_user) -> None:
    name, jane = new_user(
        key_type="ManagementKey",
        permissions={"algo_acl": ["algo://lab/*", "algo://x/Y"], "allow_data": True},
    )
    path = f"/v1/users/{name}/keys"

    for allowed in (
        {},
        {"permissions": {"algo_acl": ["algo://LAB/z", "algo://lab/*", "algo://x/y/*"]}},
        {"permissions": {"allow_data": True}, "expires_at": "2099-01-01T00:00:00Z"},
        {"key_type": "ManagementKey", "permissions": {}},
    ):
        made = jane("POST", path, json=allowed)
        assert made.status_code == 200, made.text
    for excess in (
        {"permissions": {"algo_acl": ["algo://*"]}},
        {"permissions": {"algo_acl": ["algo://x/*"]}},
        {"permissions": {"allow_data_write": True}},
        {"permissions": {"allow_web_algo": True}},
        {"key_type": "PlatformAdminKey"},
        {"key_label": "default-key"},
    ):
        assert code_of(jane("POST", path, json=excess)) == (403, 2001)
    # The default key may more than this one: it can be neither taken over nor taken away.
    (default, *_) = jane("GET", path).json()
    assert default["key_label"] == "default-key"
    assert jane("POST", f"{path}/{default['key_id']}/rotate").status_code == 403
    assert jane("DELETE", f"{path}/{default['key_id']}").status_code == 403


def test_a_key_that_ends_makes_none_that_lives_on(new_user) -> None:
    end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    later = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    name, jane = new_user(**MANAGING, expires_at=end)
    path = f"/v1/users/{name}/keys"

    assert jane("POST", path, json={}).status_code == 403
    assert jane("POST", path, json={"expires_at": later}).status_code == 403
    assert jane("POST", path, json={"expires_at": end}).status_code == 200


def test_an_admin_key_that_ends_makes_no_admin_key_that_lives_on(
    admin: Web, http: httpx2.Client
) -> None:
    end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    path = "/v1/users/admin/keys"
    made = key_of(admin, "admin", key_type="PlatformAdminKey", expires_at=end)
    other = Web(http, made["api_key"])

    assert other("POST", path, json={"key_type": "PlatformAdminKey"}).status_code == 403
    again = other("POST", path, json={"key_type": "PlatformAdminKey", "expires_at": end})
    assert again.status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"permissions": {"algo_acl": ["algo://"]}},
        {"permissions": {"algo_acl": ["lab/*"]}},
        {"permissions": {"algo_acl": ["algo://*/x"]}},
        {"permissions": {"algo_acl": ["algo://a/b/c"]}},
        {"permissions": {"algo_acl": ["algo://a b/*"]}},
        {"permissions": {"algo_acl": ["algo://a/b\n"]}},
        {"permissions": {"algo_acl": ["algo://*"] * 201}},
        {"permissions": {"referer_host": "https://example.com"}},
        {"permissions": {"referer_host": "a" * 300}},
        {"permissions": {"referer_host": "a\r\nb"}},
        {"permissions": {"allow_data": "maybe"}},
        {"permissions": []},
        {"key_type": "SuperKey"},
        {"key_label": "x" * 101},
        {"key_label": "a\x00b"},
        {"expires_at": "2001-01-01T00:00:00Z"},
        {"expires_at": "9999-12-31T23:59:59-14:00"},
        {"expires_at": "soon"},
        {"expires_at": 10**40},
    ],
)
def test_a_key_that_cannot_be_is_refused(admin: Web, body: dict[str, Any]) -> None:
    assert code_of(admin("POST", "/v1/users/admin/keys", json=body)) == (400, 6001)


def test_a_key_ends_when_it_expires(admin: Web, new_user, http: httpx2.Client) -> None:
    name, _ = new_user()
    end = datetime.now(UTC) + timedelta(seconds=2)
    made = key_of(admin, name, permissions=ALL, expires_at=end.isoformat())
    jane = Web(http, made["api_key"])

    assert jane("GET", "/v1/data").status_code == 200
    wait_until(lambda: jane("GET", "/v1/data").status_code == 401, timeout_s=30)
    assert timedelta(0) <= datetime.now(UTC) - end < timedelta(seconds=2)


def test_a_rotated_key_stays_valid_for_its_grace(admin: Web, new_user, http: httpx2.Client) -> None:
    name, _ = new_user()
    path = f"/v1/users/{name}/keys"
    old = key_of(admin, name, key_label="ci", permissions=ALL)
    made = admin("POST", f"{path}/{old['key_id']}/rotate", json={"grace_seconds": 3600})

    new = made.json()
    fresh = {"key_id", "api_key", "api_key_mask", "created_at"}
    assert {k: v for k, v in new.items() if k not in fresh} == {
        k: v for k, v in old.items() if k not in fresh
    }
    for key in (old, new):
        assert Web(http, key["api_key"])("GET", "/v1/data").status_code == 200
    listed = {key["key_id"]: key for key in admin("GET", path).json()}
    assert "expires_at" in listed[old["key_id"]]
    assert "expires_at" not in listed[new["key_id"]]

    admin("POST", f"{path}/{new['key_id']}/rotate", json={"grace_seconds": 0})
    assert Web(http, new["api_key"])("GET", "/v1/data").status_code == 401
    assert admin("POST", f"{path}/{new['key_id']}/rotate").status_code == 404
    for nonsense in (-1, 1e12, "x"):
        refused = admin("POST", f"{path}/{old['key_id']}/rotate", json={"grace_seconds": nonsense})
        assert refused.status_code == 400
    assert admin("DELETE", f"{path}/{old['key_id']}").status_code == 204
    assert Web(http, old["api_key"])("GET", "/v1/data").status_code == 401
    assert admin("DELETE", f"{path}/{old['key_id']}").status_code == 404


def test_a_value_from_elsewhere_becomes_a_key(admin: Web, new_user, http: httpx2.Client) -> None:
    name, _ = new_user()
    value = f"sim{uuid.uuid4().hex}/+"
    path = f"/v1/admin/users/{name}/keys"
    body = {"api_key": value, "key_type": "AlgorithmKey", "permissions": ALL}

    assert admin("POST", path, json=body).json()["api_key"] == value
    assert Web(http, value)("GET", "/v1/data").status_code == 200
    assert admin("POST", path, json=body).status_code == 409
    for wrong in ("short", "with a space in it, long", "x" * 200, "ключ" * 8):
        assert code_of(admin("POST", path, json=body | {"api_key": wrong})) == (400, 6001)


def test_keys_of_members_and_of_organizations(
    admin: Web, new_user, new_organization, http: httpx2.Client
) -> None:
    (jane, as_jane), lab = new_user(**MANAGING), new_organization()
    path = f"/v1/organizations/{lab}"
    admin("PUT", f"{path}/members/{jane}")

    made = admin("POST", f"{path}/members/{jane}/keys", json={"permissions": ALL})
    assert (made.status_code, made.json()["username"]) == (201, jane)
    assert code_of(admin("POST", f"{path}/members/admin2/keys", json={})) == (404, 3000)
    assert as_jane("POST", f"{path}/keys", json={}).status_code == 403
    admin("PUT", f"{path}/members/{jane}", json={"role": "owner"})
    made = as_jane("POST", f"{path}/keys", json={"key_label": "l", "permissions": ALL})
    assert (made.status_code, made.json()["username"]) == (200, lab)
    labels = [key["key_label"] for key in as_jane("GET", f"{path}/keys").json()]
    assert labels == ["l"]
    as_lab = Web(http, made.json()["api_key"])
    assert as_lab("POST", "/v1/data/.my", json={"name": "c"}).status_code == 200
    assert as_jane("GET", f"/v1/data/{lab}/c").status_code == 200
    assert code_of(admin("GET", "/v1/organizations/nothing/keys")) == (404, 3100)


def test_it_is_noted_when_a_key_was_used(admin: Web, new_user) -> None:
    name, jane = new_user()
    path = f"/v1/users/{name}/keys"
    assert "last_used_at" not in admin("GET", path).json()[0]

    assert jane("GET", "/v1/data").status_code == 200
    used_at = wait_until(lambda: admin("GET", path).json()[0].get("last_used_at"), timeout_s=30)
    moment = datetime.fromisoformat(used_at)
    assert datetime.now(UTC) - moment < timedelta(minutes=1)


# The installation


def test_whoever_was_invited_signs_up_and_in(admin: Web) -> None:
    code, name = unique("welcome"), unique("u")
    person = {"username": name, "email": f"{name}@example.com", "password": "correct horse battery"}
    stranger = Web(admin.http, "")
    assert code_of(stranger("POST", "/v1/sign-up", json={"inviteCode": code, **person})) == (
        400,
        3009,
    )
    assert admin("POST", "/v1/admin/invites", json={"inviteCode": code}).status_code == 200

    made = stranger("POST", "/v1/sign-up", json={"inviteCode": code, **person})

    assert made.status_code == 200, made.text
    assert Web(admin.http, made.json()["api_key"])("GET", f"/v1/users/{name}").json()["id"]
    again = stranger("POST", "/v1/sign-up", json={"inviteCode": code, **person})
    assert code_of(again) == (409, 3003)
    signed_in = stranger("POST", "/v1/session", json=person)
    admin.http.cookies.clear()
    assert signed_in.json()["user"]["username"] == name
    (entry,) = admin("GET", f"/v1/users/{name}/audit?action=user.created").json()["results"]
    assert (entry["actor"], entry["detail"]["by"]) == (name, "invite")
    assert code not in json.dumps(entry)


def test_invites_features_and_texts(admin: Web, new_user) -> None:
    name, jane = new_user()
    code = unique("code")

    made = admin("POST", "/v1/admin/invites", json={"inviteCode": code, "comments": "c"})
    assert (made.status_code, made.content) == (200, b"")
    assert code_of(admin("POST", "/v1/admin/invites", json={"inviteCode": code})) == (400, 6001)
    (found,) = [i for i in admin("GET", "/v1/admin/invites").json() if i["inviteCode"] == code]
    assert (found["comments"], found["createdBy"], found["signupCredits"]) == ("c", "admin", 0)
    assert admin("DELETE", f"/v1/admin/invites/{code}").status_code == 200
    assert admin("DELETE", f"/v1/admin/invites/{code}").status_code == 400
    for wrong in (
        {"inviteCode": "a/b"},
        {"inviteCode": ""},
        {"inviteCode": "x", "signupCredits": -1},
        {"inviteCode": "x", "signupCredits": 10**30},
    ):
        assert admin("POST", "/v1/admin/invites", json=wrong).status_code == 400

    of_jane = f"/v1/admin/features?username={name}"
    feature = "/v1/admin/features/algorithm-errors"
    off = {"enabled": False}
    assert admin("PUT", f"{feature}?username={name}", json=off).status_code == 204
    assert {"name": "algorithm-errors", **off} in admin("GET", of_jane).json()
    assert {"name": "algorithm-errors", **off} not in admin("GET", "/v1/admin/features").json()
    assert jane("GET", f"/v1/users/{name}/errors").status_code == 403
    admin("PUT", f"{feature}?username={name}", json={"enabled": True})
    assert jane("GET", f"/v1/users/{name}/errors").json() == []
    assert code_of(admin("GET", "/v1/admin/features?username=nobody")) == (404, 3000)
    assert admin("PUT", "/v1/admin/features/none", json=off).status_code == 404
    assert admin("PUT", feature, json={}).status_code == 400

    key = f"{code}.title"
    entry = f"/v1/config/frontend/{key}"
    assert code_of(admin("GET", entry)) == (404, 5004)
    assert jane("PUT", entry, json={"keyname": key, "value": "x"}).status_code == 403
    put = admin("PUT", entry, json={"keyname": key, "value": "<b>"})
    assert put.json()["value"] == "<b>"
    anonymous = Web(admin.http, "")
    assert len(anonymous("GET", "/v1/config/frontend?limit=1").json()["results"]) == 1
    assert anonymous("GET", entry).json() == put.json()
    for wrong in ("a", ".ab", "a" * 65, "a b"):
        assert admin("PUT", f"/v1/config/frontend/{wrong}", json={"value": ""}).status_code == 400
    assert admin("DELETE", entry).status_code == 204
    assert code_of(admin("DELETE", entry)) == (404, 5004)


@pytest.mark.parametrize(("name", "too_large"), [("favicon", 3105), ("logo", 3107)])
def test_images_are_shown_to_everybody(admin: Web, name: str, too_large: int) -> None:
    path, anonymous = f"/v1/config/{name}", Web(admin.http, "")
    png = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 3 + b"\r\n--\r\n"

    default = anonymous("GET", path)
    assert (default.status_code, default.headers["content-type"]) == (200, "image/svg+xml")
    assert anonymous("POST", path, content=png).status_code == 401
    for upload in ({"content": png}, {"files": {"file": ("a.png", png, "text/html")}}):
        assert admin("POST", path, **upload).status_code == 201
        shown = anonymous("GET", path)
        assert (shown.headers["content-type"], shown.content) == ("image/png", png)
        assert shown.headers["x-content-type-options"] == "nosniff"
        assert admin("DELETE", path).status_code == 204
        assert anonymous("GET", path).content == default.content
    for wrong in (b"", b"<svg/>", b"<html>", b"GIF"):
        assert code_of(admin("POST", path, content=wrong)) == (400, 3106)
    assert code_of(admin("POST", path, data={"file": "x"}, files={"a": ("", b"")}))[0] == 400
    assert code_of(admin("POST", path, content=png + bytes(2 * 1024 * 1024))) == (400, too_large)


@pytest.mark.network
def test_the_official_client_for_python(place: RunningServer, official: Path) -> None:
    name = unique("py")
    done = subprocess.run(
        [
            str(official),
            str(SCRIPTS / "official_accounts.py"),
            place.credentials["admin_api_key"],
            place.api,
            name,
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "done"
