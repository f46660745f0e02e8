"""
Accounts, credentials and things for tests of who may do what.

Source: wire specification, "Roles and rights", "API keys".
"""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import httpx2
from key_server import AUDIENCE, KeyServer
from permission_requests import (
    MAKING,
    NAMES,
    NOBODY,
    ORGANIZATION,
    SCM,
    SOURCE,
    USUAL,
    VERSION,
    Ask,
)
from projects import write_examples
from running import RunningServer
from scm_providers.github_place import GitHubPlace
from scm_providers.place import Place
from scm_providers.place import running as running_place
from waiting import wait_until

PASSWORD: Final = "correct horse battery"
PATIENCE_S: Final = 60


class World:
    """
    A server with everything that requests are about.

    Attributes:
        headers: What each caller shows, by its name.
    """

    def __init__(
        self, server: RunningServer, http: httpx2.Client, keys: KeyServer, place: Place
    ) -> None:
        self.server = server
        self.http = http
        self._place = place
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
        options = ["--demo", "--examples-dir", str(examples), "--slots-max", "16"]
        options += ["--oidc-issuer", keys.issuer, "--oidc-jwks-url", keys.url]
        options += ["--oidc-audience", AUDIENCE]
        with running_place(GitHubPlace(place / "github")) as github:
            allowed = f"vault.example.com,192.0.2.1:9092,127.0.0.1:{github.http_port}"
            options += ["--connector-allow", f"{allowed},127.0.0.1:{github.ssh_port}"]
            with (
                RunningServer(place / "home", *options) as server,
                httpx2.Client(base_url=server.api, timeout=120) as http,
            ):
                yield cls(server, http, keys, github)
            assert github.complaints == []

    def ask(self, request: Ask, who: str, *, makes: bool = False, **params: str) -> httpx2.Response:
        """Send a request as somebody, after what it needs was made if *makes*."""
        words = {**self.words, "new": str(next(self._numbers)), "made": NOBODY, "cookie": ""}
        if request.makes == "algorithm":
            words["made"] = "Tool"  # those who are refused must know it
        if makes and request.makes:
            words["made"] = self._make(request.makes, words, who)
        path = request.path.replace("[", "").replace("]", "")
        for name, value in {**USUAL, **request.params, **params}.items():
            path = path.replace(f"{{{name}}}", value)
        path = _filled(f"{path}{request.query}", words)
        body = _filled(request.body, words)
        return self._send(request.method, path, body, who, cookie=words["cookie"])

    def _make(self, what: str, words: dict[str, str], asker: str) -> str:
        if what in {"commit", "token"}:
            return words[what]
        if what == "departure":
            return self._depart(words)
        who, where, body = MAKING[what]
        who = who or asker
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

    def _depart(self, words: dict[str, str]) -> str:
        """Send a browser to the source host; return what it brings back."""
        path = _filled("/v1/scms/{github}/oauth/start", words)
        started = self._send("GET", path, None, "alice management")
        words["cookie"] = started.headers["Set-Cookie"].partition(";")[0]
        self.http.cookies.clear()
        back = httpx2.get(started.headers["Location"], timeout=PATIENCE_S).headers["Location"]
        return back.partition("?code=")[2]

    def _send(
        self, method: str, path: str, body: Any, who: str, *, cookie: str = ""
    ) -> httpx2.Response:
        headers = dict(self.headers[who])
        if cookie:
            headers["Cookie"] = "; ".join(filter(None, (headers.get("Cookie"), cookie)))
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
        settings = {"language": "python3", "network_access": "isolated"}
        body = {"name": "Tool", "details": {"label": "x"}, "settings": settings}
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
        version = _filled(VERSION, self.words)
        self._do("POST", "/v1/algorithms/lab/Tool/versions", version, author)
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
        everything = self._do("GET", "/v1/algorithm-environments/edge/environments/available")
        self.words["spare"] = everything[-1]["environment_specification_id"]
        assert self.words["spare"] != self.words["environment"]
        providers = self._do("GET", "/v1/secret-provider", who=author)
        self.words["internal"] = providers[0]["id"]
        self._do("PUT", "/v1/config/frontend/theme", {"value": "dark"})
        host = _filled(SCM, {"new": "1"}) | {"enabled": True}
        self.words["host"] = self._do("POST", "/v1/admin/scms", host)["id"]
        github = self._place.scm("our-github")
        self.words["github"] = self._do("POST", "/v1/admin/scms", github)["id"]
        self.words["token"] = self._place.token


def _filled(value: Any, words: dict[str, str]) -> Any:
    """Put words in the place of their names, wherever they stand."""
    if isinstance(value, dict):
        return {name: _filled(each, words) for name, each in value.items()}
    if isinstance(value, str):
        for name, word in words.items():
            value = value.replace(f"{{{name}}}", word)
    return value
