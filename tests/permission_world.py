"""
Accounts, credentials and things for tests of who may do what, and a request for every operation.

A request names what it is about with words in braces, which the `World` knows: ids of things that
are there for all cases. What an allowed request takes away is made anew before each of them: see
`Ask.makes`.
"""

import base64
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import httpx2
from key_server import AUDIENCE, KeyServer
from projects import write_examples
from running import RunningServer
from waiting import wait_until

PASSWORD: Final = "correct horse battery"
PATIENCE_S: Final = 60
AT_ONCE: Final = 4
"""Requests on their way: one at a time, the two ends would mostly wait for each other."""
NOBODY: Final = "00000000-0000-4000-8000-000000000007"
SOURCE: Final = "def apply(input):\n    return input\n"
PIXEL: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ORGANIZATION: Final = {"org_label": "x", "org_contact_name": "x", "org_email": "x@example.com"}
LISTENER: Final = {
    "sourceType": "AmazonSQS",
    "sourceURI": "https://sqs.us-east-1.amazonaws.com/1/q",
    "algoName": "Hello",
    "algoOwner": "signed",
    "credentials": "arn:aws:iam::1:role/r",
}
SCM: Final = {
    "provider": "github",
    "name": "Host {new}",
    "enabled": False,
    "urls": {
        "web": "https://{new}.example.com",
        "api": "https://{new}.example.com/api",
        "ssh": "git@{new}.example.com",
    },
    "oauth": {"client_id": "i{new}", "client_secret": "s"},
}
PROVIDER: Final = {
    "name": "Vault {new}",
    "factoryClassName": "VaultSecretProviderFactory",
    "description": "x",
    "configuration": {
        "vault_addr": "https://vault.example.com",
        "vault_token": "t",
        "vault_secret_path": "secret/x",
    },
}
SECRET: Final = {
    "owner_type": "algorithm",
    "owner_id": "{tool}",
    "short_name": "s{new}",
    "description": "d",
    "secret_key": "KEY{new}",
    "secret_value": "v",
}


@dataclass(frozen=True)
class Ask:
    """
    A request.

    Attributes:
        params: What words in the path of the operation stand for, if not what they usually do.
        body: JSON, or bytes.
        fine: Statuses of success beside those of the coverage table: the request is understood
            and allowed, and stops at something that is made up.
        query: Behind the path.
        makes: What is made anew before it is allowed to somebody; its id is `{made}`.
    """

    method: str = ""
    path: str = ""
    params: dict[str, str] = field(default_factory=dict)
    body: Any = None
    fine: frozenset[int] = frozenset()
    makes: str = ""
    query: str = ""


def ask(body: Any = None, *, fine: int = 0, makes: str = "", **params: str) -> Ask:
    return Ask(params=params, body=body, fine=frozenset({fine} - {0}), makes=makes)


USUAL: Final = {
    "owner": "lab",
    "algo": "Tool",
    "algorithmId": "{tool}",
    "algorithm_id": "{tool}",
    "version": "{commit}",
    "hash": "{commit}",
    "buildId": "{build}",
    "connectorId": "data",
    "path": "lab/box/file",
    "username": "alice",
    "usernameOrId": "alice",
    "userId": "{alice}",
    "org": "lab",
    "account": "mallory",
    "lang": "python3",
    "scmId": "internal",
    "specId": "{environment}",
    "key": "theme",
    "filepath": "src/Tool.py",
    "name": "none",
}
ABSENT: Final = {"commitSha": "0" * 40}
NO_VERSION: Final = {"version_info": {"version_type": "revision", "git_hash": "0" * 40}}
RESERVATION: Final = {
    "username": "signed",
    "algoname": "Hello",
    "calling_user": "mallory",
    "version_type": "latest_public",
    "num_slots": 1,
}
HOST: Final = {"host_username": "u", "host_user_id": "1001"}
CONNECTION: Final = {
    "connection_type": "kafka_unauthenticated_plaintext",
    "broker_url": "192.0.2.1:9092",
    "topic": "t",
}
CONNECTOR: Final = {
    "username": "alice",
    "protocol": "s3",
    "cred_type": "iam",
    "cred_data": {"access_key": "AKIA" + "X" * 16, "secret_key": "x" * 40},
    "label": "c{new}",
}
HELLO: Final = {"owner": "signed", "algo": "Hello", "algorithmId": "{hello}"}
NEW: Final = {"name": "New{new}", "details": {"label": "x"}, "settings": {"language": "python3"}}

# By the number of the row in the coverage table, and the method where a row has several.
REQUESTS: Final[dict[str, Ask]] = {
    "1": ask("x", **HELLO),
    "2": ask("x"),
    "3": ask("x", **HELLO),
    "4": ask("x"),
    "5": ask("x", **HELLO, version="1.0.0"),
    "5+": ask(**HELLO),
    "8": ask(b"x"),
    "9": ask({"name": "new{new}"}, path="lab"),
    "10": ask({"acl": {"read": []}}, path="lab/box"),
    "11": ask(makes="file", path="lab/box/{made}"),
    "14": ask(b"x"),
    "15": ask({"name": "new{new}"}, path="lab"),
    "16": ask({"acl": {"read": []}}, path="lab/box"),
    "17": ask(makes="file", path="lab/box/{made}"),
    "19": ask(CONNECTOR, fine=400),
    "20": ask(NEW),
    "22": ask({"details": {"summary": "x"}}),
    "24": ask({"details": {"summary": "x"}}),
    "25": ask(makes="algorithm", algo="{made}"),
    "26": ask(ABSENT, fine=400),
    "27": ask(ABSENT, fine=400),
    "29": ask(NO_VERSION, fine=400),
    "30": ask(NO_VERSION, fine=400),
    "31": ask(NO_VERSION, fine=400),
    "32": ask(NO_VERSION, fine=400),
    "34": ask(fine=404),
    "35": ask({"registry_id": NOBODY}, fine=404),
    "44": ask({}),
    "45": ask({}),
    "49": ask(SECRET),
    "50": ask({"short_name": "s{new}", "description": "d"}, makes="secret", secretId="{made}"),
    "51": ask(makes="secret", secretId="{made}"),
    "52": ask(collectionId="{box}"),
    "57": ask(specId=NOBODY, fine=404),
    "61": ask(fine=400),
    "62": ask(fine=400),
    "62+": ask(fine=400),
    "63": ask(fine=400),
    "64": ask(fine=404),
    "65": ask(fine=404),
    "66": ask({"secretToken": "x"}, fine=400),
    "67": ask(fine=400),
    "68": ask({"secretToken": "x"}, fine=400),
    "69": ask(SCM),
    "70": ask({"name": "n{new}"}, makes="scm", scmId="{made}"),
    "71": ask(makes="scm", scmId="{made}"),
    "74": ask({"registry_url": "https://r.example.com", "name": "r"}),
    "75": ask(
        {"registry_url": "https://r.example.com", "name": "r"},
        makes="registry",
        registryId="{made}",
    ),
    "76": ask(makes="registry", registryId="{made}"),
    "78": ask({"username": "new{new}", "email": "new{new}@example.com"}),
    "80": ask({"username": "alice", "email": "alice@example.com", "fullname": "Alice"}),
    "81": ask(makes="user", usernameOrId="{made}"),
    "84": ask({"key_type": "AlgorithmKey", "key_label": "k{new}"}),
    "85": ask({"key_type": "AlgorithmKey", "api_key": "simBrought{new}xxxxxxxxxxxxxxxx"}),
    "89": ask(LISTENER),
    "90": ask(makes="listener", listenerId="{made}"),
    "91": ask(LISTENER, makes="listener", listenerId="{made}"),
    "92": ask(makes="listener", listenerId="{made}"),
    "94": ask({"org_name": "org{new}", **ORGANIZATION}),
    "96": ask({"org_label": "y"}),
    "97": ask(makes="organization", org="{made}"),
    "98": ask(externalId="outside"),
    "100": ask({"role": "member"}, username="bob"),
    "101": ask(makes="user", username="{made}"),
    "102": ask({"key_type": "AlgorithmKey"}, username="alice"),
    "104": ask({"key_label": "k{new}", "permissions": {}}),
    "108": ask({"updates": []}),
    "110": ask({"org_id": "{two}", **HOST}, makes="no host", fine=400),
    "111": ask(makes="host", org="two"),
    "112": ask(HOST, makes="no host", org="two"),
    "113": ask(makes="host", org="two"),
    "115": ask({"name": "type{new}"}),
    "116": ask(makes="type", name="{made}"),
    "119": ask(PROVIDER),
    "120": ask(makes="provider", providerId="{made}"),
    "121": ask(PROVIDER, makes="provider", providerId="{made}"),
    "122": ask(makes="provider", providerId="{made}"),
    "123": ask(makes="provider", providerId="{made}", fine=400),
    "124": ask(b"x", makes="provider", providerId="{made}", fine=400),
    "125": ask(providerId="{internal}"),
    "136": Ask(query="?start_date=2026-01-01&end_date=2026-01-02"),
    "137": Ask(query="?start_date=2026-01-01&end_date=2026-01-02"),
    "138": Ask(query="?start_date=2026-01-01&end_date=2026-01-02"),
    "87": Ask(query="?event_types=algorithm-creation"),
    "126": ask([{"insight_key": "a", "insight_value": "b"}]),
    "127": ask(fine=404),
    "128": ask(CONNECTION),
    "131": ask({"inviteCode": "code{new}"}),
    "132": ask(makes="invite", code="{made}"),
    "134": ask(RESERVATION),
    "135": ask(makes="reservation", reservationId="{made}"),
    "141": ask({"enabled": True}, name="none", fine=404),
    "142 GET": ask(fine=404),
    "142 PUT": ask({"value": "x"}),
    "142 DELETE": ask(makes="entry", key="{made}"),
    "144 POST": ask(PIXEL),
    "145 POST": ask(PIXEL),
    "6.7 POST /git/{owner}/{algo}.git/git-upload-pack": ask(b"0000"),
    "6.7 POST /git/{owner}/{algo}.git/git-receive-pack": ask(b"0000"),
    "6.7 POST /source/{owner}/{algo}/{filepath}": ask(SOURCE.encode()),
}
MAKING: Final[dict[str, tuple[str, str, Any]]] = {
    # By what is made: who makes it and where, the body, and the member that is its `{made}`.
    "file": ("alice management", "PUT /v1/data/lab/box/f{new}", b"x"),
    "algorithm": ("alice management", "POST /v1/algorithms/lab", NEW),
    "secret": ("alice management", "POST /v1/algorithms/{tool}/secrets", SECRET),
    "scm": ("root admin", "POST /v1/admin/scms", SCM),
    "registry": ("root admin", "POST /v1/registries", {"registry_url": "https://r.example.com"}),
    "user": (
        "root admin",
        "POST /v1/users",
        {"username": "gone{new}", "email": "gone{new}@example.com"},
    ),
    "listener": ("alice management", "POST /v1/users/alice/event-listeners", LISTENER),
    "organization": (
        "root admin",
        "POST /v1/organizations",
        {"org_name": "gone{new}", **ORGANIZATION},
    ),
    "host": ("root admin", "POST /v1/admin/organization_host_information/two", HOST),
    "no host": ("root admin", "DELETE /v1/admin/organization_host_information/two", None),
    "type": ("root admin", "POST /v1/organization/types", {"name": "gone{new}"}),
    "provider": ("root admin", "POST /v1/admin/secret-provider", PROVIDER),
    "invite": ("root admin", "POST /v1/admin/invites", {"inviteCode": "gone{new}"}),
    "reservation": ("root admin", "POST /v1/admin/reservations", RESERVATION),
    "entry": ("root admin", "PUT /v1/config/frontend/gone{new}", {"value": "x"}),
}
NAMES: Final = ("name", "username", "org_name", "inviteCode")
"""Members by which a thing is known that has no `id`, or is not asked for by it."""


def requests_of(method: str, path: str, row: str) -> Ask:
    """Return the request for an operation of the coverage table."""
    found = next(
        (
            REQUESTS[key]
            for key in (f"{row} {method} {path}", f"{row} {method}", row)
            if key in REQUESTS
        ),
        Ask(),
    )
    return replace(found, method=method, path=path)


class World:
    """
    A server with everything that requests are about.

    Attributes:
        headers: What each caller shows, by its name.
    """

    def __init__(self, server: RunningServer, http: httpx2.Client, keys: KeyServer) -> None:
        self.server = server
        self.http = http
        self._numbers = itertools.count(100)
        root = server.credentials["admin_api_key"]
        self.headers: dict[str, dict[str, str]] = {
            "nobody": {},
            "unknown key": {"Authorization": "Simple simNobodyKnowsThisKeyAtAll00"},
            "root admin": {"Authorization": f"Simple {root}"},
            "root default": {"Authorization": f"Simple {server.key}"},
            "jwt token": {"Authorization": f"Bearer {keys.token(sub='jwt')}"},
        }
        self.words: dict[str, str] = {}
        self._add_people()
        self._add_keys()
        self._add_things()

    @classmethod
    @contextmanager
    def running(cls, place: Path, keys: KeyServer) -> "Iterator[Self]":
        """Run one for as long as the block lasts."""
        examples = write_examples(place / "examples", {"signed/Hello": SOURCE})
        options = ["--demo", "--examples-dir", str(examples), "--slots-max", "8"]
        options += ["--connector-allow", "vault.example.com,192.0.2.1:9092"]
        options += ["--oidc-issuer", keys.issuer, "--oidc-jwks-url", keys.url]
        options += ["--oidc-audience", AUDIENCE]
        with (
            RunningServer(place / "home", *options) as server,
            httpx2.Client(base_url=server.api, timeout=120) as http,
        ):
            yield cls(server, http, keys)

    def ask(
        self, request: Ask, who: str, *, is_allowed: bool = False, **params: str
    ) -> httpx2.Response:
        """Send a request as somebody."""
        words = {**self.words, "new": str(next(self._numbers)), "made": NOBODY}
        if request.makes == "algorithm":
            words["made"] = "Tool"  # those who are refused must know it
        if is_allowed and request.makes:
            words["made"] = self._make(request.makes, words)
        path = request.path.replace("[", "").replace("]", "")
        for name, value in {**USUAL, **request.params, **params}.items():
            path = path.replace(f"{{{name}}}", value)
        path = f"{_filled(path, words)}{request.query}"
        return self._send(request.method, path, _filled(request.body, words), who)

    def _make(self, what: str, words: dict[str, str]) -> str:
        who, where, body = MAKING[what]
        filled = _filled(body, words)
        method, _, path = _filled(where, words).partition(" ")
        made = self._send(method, path, filled, who)
        assert made.is_success or what in {"no host", "host"}, f"{what}: {made.text}"
        if what in {"file", "entry"}:
            return path.rpartition("/")[2]
        if what == "reservation":
            listed = self._do("GET", "/v1/admin/reservations")
            return str(listed[-1]["reservation_id"])
        found = made.json() if made.text.startswith("{") else {}
        named = next((filled[name] for name in NAMES if name in (filled or {})), "")
        is_known_by_name = what in {"algorithm", "user", "organization", "type", "invite"}
        return str(named if is_known_by_name else found.get("id", ""))

    def _send(self, method: str, path: str, body: Any, who: str) -> httpx2.Response:
        headers = dict(self.headers[who])
        if isinstance(body, bytes):
            content = body
            headers["Content-Type"] = "application/octet-stream"
            if "/git-" in path:
                service = path.rpartition("/")[2]
                headers["Content-Type"] = f"application/x-{service}-request"
        else:
            content = b"" if body is None else json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        return self.http.request(
            method, path, headers=headers, content=content, follow_redirects=False
        )

    def _do(self, method: str, path: str, body: Any = None, who: str = "root admin") -> Any:
        answer = self._send(method, path, body, who)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return answer.json() if answer.content else None

    def _add_people(self) -> None:
        for name in ("alice", "bob", "eve", "mallory", "olga", "vera"):
            body = {"username": name, "email": f"{name}@example.com"}
            made = self._do("POST", "/v1/users", body)
            self.words[name] = made["id"]
            self.headers[f"{name} default"] = {"Authorization": f"Simple {made['api_key']}"}
        for name, owner in (("lab", "alice"), ("two", "olga")):
            body = {"org_name": name, "owner_ids": [self.words[owner]], **ORGANIZATION}
            if name == "lab":
                body["external_id"] = "outside"
            self.words[name] = self._do("POST", "/v1/organizations", body)["id"]
        for name, role in (("bob", "member"), ("eve", "executor")):
            self._do("PUT", f"/v1/organizations/lab/members/{name}", {"role": role})
        self._do("POST", "/admin/roles/vera/cluster_viewer")
        for name in ("alice", "mallory", "admin"):
            self._do("PUT", f"/v1/users/{name}/password", {"password": PASSWORD})
            body = {"username": name, "password": PASSWORD}
            answer = self._send("POST", "/v1/session", body, "nobody")
            assert answer.is_success, answer.text
            self.http.cookies.clear()
            cookie = {"Cookie": f"ALGO_SESSION={answer.cookies['ALGO_SESSION']}"}
            who = "root" if name == "admin" else name
            self.headers[f"{who} session without token"] = cookie
            self.headers[f"{who} session"] = {
                **cookie,
                "X-CSRF-Token": answer.json()["csrf_token"],
            }

    def _add_keys(self) -> None:
        all_of_it = {
            "algo_acl": ["algo://*"],
            "allow_data": True,
            "allow_data_write": True,
            "allow_algo_management": True,
        }
        for name in ("alice", "bob", "eve", "mallory", "olga", "lab"):
            self._add_key(name, "management", "ManagementKey", all_of_it)
        calls = {"algo_acl": ["algo://*"]}
        self._add_key("alice", "standard", "AlgorithmKey", {**calls, "allow_data": True})
        self._add_key("alice", "pages", "AlgorithmKey", {**calls, "allow_web_algo": True})
        self._add_key("alice", "nothing", "AlgorithmKey", {"allow_algo": False})

    def _add_key(self, name: str, label: str, kind: str, permissions: dict[str, Any]) -> None:
        owners = "organizations" if name == "lab" else "users"
        body = {"key_type": kind, "key_label": label, "permissions": permissions}
        made = self._do("POST", f"/v1/{owners}/{name}/keys", body)
        self.headers[f"{name} {label}"] = {"Authorization": f"Simple {made['api_key']}"}

    def _add_things(self) -> None:
        author = "alice management"
        self._do("POST", "/v1/data/lab", {"name": "box", "acl": {"read": []}}, author)
        self._do("PUT", "/v1/data/lab/box/file", b"x", author)
        hosted = self._do("GET", "/v1/hostedData", who=author)
        self.words["box"] = next(
            each["id"] for each in hosted["result"] if each["collection_name"] == "box"
        )
        body = {"name": "Tool", "details": {"label": "x"}, "settings": {"language": "python3"}}
        self.words["tool"] = self._do("POST", "/v1/algorithms/lab", body, author)["id"]
        changes = [
            {"path": "requirements.txt", "content": ""},
            {"path": "src/Tool.py", "content": SOURCE},
            {"path": "src/Tool_test.py", "delete": True},
        ]
        committed = self._do(
            "POST", "/v1/algorithms/lab/Tool/commits", {"message": "x", "changes": changes}, author
        )
        self.words["commit"] = committed["commit"]
        built = self._do("POST", "/v1/algorithms/lab/Tool/compile", {}, author)
        assert built["build"]["status"] == "succeeded", built
        self.words["build"] = built["build"]["build_id"]
        wait_until(
            lambda: self.http.get("/readyz").json()["demo"] == "published",
            timeout_s=PATIENCE_S,
            what="the demo",
        )
        self.words["hello"] = self._do("GET", "/v1/algorithms/signed/Hello")["id"]
        available = self._do(
            "GET", "/v1/algorithm-environments/edge/languages/python3/environments"
        )
        self.words["environment"] = available["environments"][0]["environment_specification_id"]
        providers = self._do("GET", "/v1/secret-provider", who=author)
        self.words["internal"] = providers[0]["id"]
        self._do("PUT", "/v1/config/frontend/theme", {"value": "dark"})


def _filled(value: Any, words: dict[str, str]) -> Any:
    """Put words in the place of their names, wherever they stand."""
    if isinstance(value, dict):
        return {name: _filled(each, words) for name, each in value.items()}
    if isinstance(value, str):
        for name, word in words.items():
            value = value.replace(f"{{{name}}}", word)
    return value
