"""
A request for every operation of the coverage table, for tests of who may do what.

A request names what it is about with words in braces, which the `World` knows: ids of things that
are there for all cases. What an allowed request takes away is made anew before each of them: see
`Ask.makes`.
"""

import base64
from dataclasses import dataclass, field, replace
from typing import Any, Final

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
    "isEnabled": False,
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
        is_dear: It is made for one of them only: the others stop at what is not there, as `fine`
            says.
    """

    method: str = ""
    path: str = ""
    params: dict[str, str] = field(default_factory=dict)
    body: Any = None
    fine: frozenset[int] = frozenset()
    makes: str = ""
    query: str = ""
    is_dear: bool = False


def ask(body: Any = None, *, fine: int = 0, makes: str = "", **params: str) -> Ask:
    return Ask(params=params, body=body, fine=frozenset({fine} - {0}), makes=makes)


def dear(body: Any = None, *, fine: int = 400, makes: str, **params: str) -> Ask:
    """A request that needs a build, or the source host, which takes its time."""
    return replace(ask(body, fine=fine, makes=makes, **params), is_dear=True)


def coming_back(**params: str) -> Ask:
    """A request that the source host sends a browser to, with a code."""
    return replace(dear(makes="departure", **params), query="?code={made}")


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
COMMIT: Final = {"commitSha": "{commit}"}
VERSION: Final = {"version_info": {"version_type": "revision", "git_hash": "{commit}"}}
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
    "cred_data": {"access_key_id": "AKIA" + "X" * 16, "secret_access_key": "x" * 40},
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
    "19": ask(CONNECTOR),
    "20": ask(NEW),
    "22": ask({"details": {"summary": "x"}}),
    "24": ask({"details": {"summary": "x"}}),
    "25": ask(makes="algorithm", algo="{made}"),
    "26": ask(COMMIT),
    "27": dear({"commitSha": "{made}"}, makes="commit"),
    "29": ask(VERSION, makes="build"),
    "30": dear(VERSION, makes="build"),
    "31": dear(VERSION, makes="build"),
    "32": dear(VERSION, makes="build"),
    # Nothing is pushed here, whoever asks.
    "35": ask({"registry_id": NOBODY}, fine=400),
    "44": ask({}),
    "45": ask({}),
    "49": ask(SECRET),
    "50": ask({"short_name": "s{new}", "description": "d"}, makes="secret", secretId="{made}"),
    "51": ask(makes="secret", secretId="{made}"),
    "52": ask(collectionId="{box}"),
    "57": ask(specId="{spare}"),
    "61": ask(scmId="{host}"),
    "62": coming_back(scmId="{github}"),
    "62+": coming_back(),
    "63": ask(scmId="{host}"),
    "64": dear(fine=404, makes="scm connection", scmId="{github}"),
    "65": dear(fine=404, makes="scm connection", scmId="{github}"),
    "66": dear({"secretToken": "{made}"}, makes="token", scmId="{github}"),
    "67": ask(scmId="{host}"),
    "68": ask({"secretToken": "x"}, scmId="{host}"),
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
    "110": ask({"org_id": "{two}", **HOST}, makes="host"),
    "111": ask(makes="host", org="two"),
    "112": ask(HOST, makes="no host", org="two"),
    "113": ask(makes="host", org="two"),
    "115": ask({"name": "type{new}"}),
    "116": ask(makes="type", name="{made}"),
    "119": ask(PROVIDER),
    "120": ask(makes="provider", providerId="{made}"),
    "121": ask(PROVIDER, makes="provider", providerId="{made}"),
    "122": ask(makes="provider", providerId="{made}"),
    # No modules are taken, and so none are there.
    "123": ask(makes="provider", providerId="{made}", fine=400),
    "124": ask(b"x", makes="provider", providerId="{made}", fine=400),
    "125": ask(providerId="{internal}"),
    "136": Ask(query="?start_date=2026-01-01&end_date=2026-01-02&page_size=5"),
    "137": Ask(query="?start_date=2026-01-01&end_date=2026-01-02&page_size=5"),
    "138": Ask(query="?start_date=2026-01-01&end_date=2026-01-02&page_size=5"),
    "87": Ask(query="?event_types=algorithm-creation"),
    "126": ask([{"insight_key": "a", "insight_value": "b"}]),
    "127": ask(makes="connection"),
    "128": ask(CONNECTION),
    "131": ask({"inviteCode": "welcome-{new}"}),
    "132": ask(makes="invite", code="{made}"),
    "134": ask(RESERVATION),
    "135": ask(makes="reservation", reservationId="{made}"),
    "141": ask({"enabled": True}, name="dark-theme-enabled"),
    "142 PUT": ask({"value": "x"}),
    "142 DELETE": ask(makes="entry", key="{made}"),
    "144 POST": ask(PIXEL),
    "145 POST": ask(PIXEL),
    "6.7 POST /git/{owner}/{algo}.git/git-upload-pack": ask(b"0000"),
    "6.7 POST /git/{owner}/{algo}.git/git-receive-pack": ask(b"0000"),
    "6.7 POST /source/{owner}/{algo}/{filepath}": ask(SOURCE.encode()),
}
MAKING: Final[dict[str, tuple[str, str, Any]]] = {
    # By what is made: who makes it, empty for who asks, and where, and the body.
    "file": ("alice management", "PUT /v1/data/lab/box/f{new}", b"x"),
    "algorithm": ("alice management", "POST /v1/algorithms/lab", NEW),
    "build": ("alice management", "POST /v1/algorithms/{tool}/compile", COMMIT),
    "secret": ("alice management", "POST /v1/algorithms/{tool}/secrets", SECRET),
    "scm": ("root admin", "POST /v1/admin/scms", SCM),
    "scm connection": ("", "POST /v1/scms/{github}/token/connect", {"secretToken": "{token}"}),
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
    "invite": ("root admin", "POST /v1/admin/invites", {"inviteCode": "farewell-{new}"}),
    "reservation": ("root admin", "POST /v1/admin/reservations", RESERVATION),
    "connection": ("root admin", "POST /v1/admin/insights-connection", CONNECTION),
    "entry": ("root admin", "PUT /v1/config/frontend/gone{new}", {"value": "x"}),
}
NAMES: Final = ("name", "username", "org_name", "inviteCode")
"""Members by which a thing is known that has no `id`, or is not asked for by it."""


def request_of(method: str, path: str, row: str) -> Ask:
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
