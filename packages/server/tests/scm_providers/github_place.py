"""A stand-in for GitHub: the parts of its API that a platform needs, as strict as the real one."""

import hashlib
import hmac
import json
import re
import uuid
from typing import Any
from urllib.parse import urlencode

from scm_providers.place import Call, Delivery, Place, Refusal, Repo, Route, no_key

_EVENTS = {"push", "repository", "ping", "*"}


class GitHubPlace(Place):
    provider = "github"

    def urls(self) -> dict[str, str]:
        return {"web": self.web, "api": f"{self.web}/api/v3", "ssh": self.ssh}

    def routes(self) -> list[Route]:
        api = "/api/v3"
        repo = rf"{api}/repos/([^/]+)/([^/]+)"
        return [
            ("GET", re.compile("/login/oauth/authorize"), self.authorize),
            ("POST", re.compile("/login/oauth/access_token"), self.access_token),
            ("DELETE", re.compile(rf"{api}/applications/([^/]+)/token"), self.forget),
            ("GET", re.compile(f"{api}/user"), lambda _: (200, {"login": self.user, "id": 1})),
            ("GET", re.compile(f"{api}/user/memberships/orgs"), self.memberships),
            ("POST", re.compile(f"{api}/user/repos"), lambda c: self.make(c, self.user)),
            ("POST", re.compile(rf"{api}/orgs/([^/]+)/repos"), self.make),
            ("GET", re.compile(repo), lambda _, o, n: (200, self.shown(self.repo(o, n)))),
            ("GET", re.compile(rf"{api}/repositories/(\d+)"), self.by_number),
            ("DELETE", re.compile(repo), self.remove),
            ("POST", re.compile(f"{repo}/keys"), self.make_key),
            ("DELETE", re.compile(rf"{repo}/keys/(\d+)"), self.drop_key),
            ("POST", re.compile(f"{repo}/hooks"), self.make_hook),
            ("DELETE", re.compile(rf"{repo}/hooks/(\d+)"), self.drop_hook),
        ]

    def authenticate(self, call: Call) -> None:
        if not call.headers.get("user-agent"):
            raise self.refusal(403, "Request forbidden by administrative rules.")
        call.user = self.tokens.get(call.bearer(), "")
        if not call.user:
            raise self.refusal(401, "Bad credentials")

    def refusal(self, status: int, message: str) -> Refusal:
        return Refusal(status, {"message": message, "documentation_url": "https://docs.github.com"})

    @no_key
    def authorize(self, call: Call) -> Any:
        query = call.query
        assert query["client_id"] == self.client_id
        assert set(query["scope"].split()) >= {"repo"}
        code = uuid.uuid4().hex[:20]
        self.codes[code] = (self.user, query["redirect_uri"])
        back = urlencode({"code": code, "state": query["state"]})
        return 302, None, {"Location": f"{query['redirect_uri']}?{back}"}

    @no_key
    def access_token(self, call: Call) -> Any:
        form = call.form
        if (form["client_id"], form["client_secret"]) != (self.client_id, self.client_secret):
            return 200, {"error": "incorrect_client_credentials", "error_description": "wrong"}
        assert call.headers["accept"] == "application/json", "would answer as a form"
        user, redirect_uri = self.codes.pop(form["code"], ("", ""))
        if not user:
            text = "The code passed is incorrect or expired."
            return 200, {"error": "bad_verification_code", "error_description": text}
        if form.get("redirect_uri", redirect_uri) != redirect_uri:
            return 200, {"error": "redirect_uri_mismatch", "error_description": "mismatch"}
        token = f"gho_{uuid.uuid4().hex}"
        self.tokens[token] = user
        return 200, {"access_token": token, "scope": "repo,read:org", "token_type": "bearer"}

    @no_key
    def forget(self, call: Call, client_id: str) -> Any:
        if call.basic() != (self.client_id, self.client_secret) or client_id != self.client_id:
            raise self.refusal(404, "Not Found")
        if self.tokens.pop(call.json["access_token"], None) is None:
            raise self.refusal(422, "Validation Failed")
        return 204, None

    def memberships(self, call: Call) -> Any:
        assert call.query["state"] == "active"
        assert 1 <= int(call.query["per_page"]) <= 100
        mine = [{"role": "admin", "state": "active", "organization": {"login": self.organization}}]
        return 200, mine if call.query["page"] == "1" else []

    def make(self, call: Call, owner: str) -> Any:
        body = call.json
        if not self.may_create_in(owner):
            raise self.refusal(404, "Not Found")
        name = body["name"]
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name)
        if self.find(owner, name) is not None:
            raise Refusal(
                422,
                {
                    "message": "Repository creation failed.",
                    "errors": [{"message": "name already exists on this account"}],
                },
            )
        assert body["private"] is True
        return 201, self.shown(self.create(owner, name))

    def by_number(self, _call: Call, number: str) -> Any:
        repo = self.repos.get(int(number))
        if repo is None:
            raise self.refusal(404, "Not Found")
        return 200, self.shown(repo)

    def remove(self, call: Call, owner: str, name: str) -> Any:
        if call.headers["authorization"].split()[-1].startswith("gho_"):
            raise self.refusal(403, "Must have admin rights to Repository.")  # needs delete_repo
        del self.repos[self.repo(owner, name).number]
        return 204, None

    def make_key(self, call: Call, owner: str, name: str) -> Any:
        body = call.json
        assert body["read_only"] is True
        number = self.add_key(self.repo(owner, name), body["title"], body["key"])
        return 201, {"id": number, "key": body["key"], "read_only": True, "verified": True}

    def drop_key(self, _call: Call, owner: str, name: str, number: str) -> Any:
        if self.repo(owner, name).keys.pop(int(number), None) is None:
            raise self.refusal(404, "Not Found")
        return 204, None

    def make_hook(self, call: Call, owner: str, name: str) -> Any:
        body = call.json
        assert body["name"] == "web"
        assert set(body["events"]) <= _EVENTS
        assert set(body["config"]) <= {"url", "content_type", "secret", "insecure_ssl"}
        assert body["config"]["url"].startswith(("http://", "https://"))
        number = str(self.next())
        hook = {"id": int(number), **body}
        repo = self.repo(owner, name)
        repo.hooks[number] = hook
        ping = {"zen": "Design for failure.", "hook_id": hook["id"], "repository": self.shown(repo)}
        self.deliveries.append(self.delivery(hook, "ping", ping).send())
        return 201, hook

    def drop_hook(self, _call: Call, owner: str, name: str, number: str) -> Any:
        if self.repo(owner, name).hooks.pop(number, None) is None:
            raise self.refusal(404, "Not Found")
        return 204, None

    def shown(self, repo: Repo) -> dict[str, Any]:
        return {
            "id": repo.number,
            "name": repo.name,
            "full_name": repo.full_name,
            "private": True,
            "owner": {"login": repo.owner, "id": 1},
            "default_branch": repo.branch or self.first_branch,
        }

    def push_messages(
        self, repo: Repo, hook: dict[str, Any], changes: dict[str, tuple[str, str]]
    ) -> list[Delivery]:
        if "push" not in hook["events"]:
            return []
        return [
            self.delivery(
                hook,
                "push",
                {
                    "ref": ref,
                    "before": before,
                    "after": after,
                    "created": set(before) == {"0"},
                    "deleted": set(after) == {"0"},
                    "forced": False,
                    "repository": self.shown(repo),
                    "pusher": {"name": self.user},
                    "commits": [],
                },
            )
            for ref, (before, after) in changes.items()
        ]

    def rename(self, repo: Repo, name: str, *, tells: bool = True) -> None:
        old, repo.name = repo.name, name
        payload = {
            "action": "renamed",
            "changes": {"repository": {"name": {"from": old}}},
            "repository": self.shown(repo),
        }
        self._tell(repo, payload, tells=tells)

    def change_branch(self, repo: Repo, branch: str, *, tells: bool = True) -> None:
        old = repo.branch
        self.set_branch(repo, branch)
        payload = {
            "action": "edited",
            "changes": {"default_branch": {"from": old}},
            "repository": self.shown(repo),
        }
        self._tell(repo, payload, tells=tells)

    def _tell(self, repo: Repo, payload: dict[str, Any], *, tells: bool) -> None:
        for hook in repo.hooks.values() if tells else ():
            self.deliveries.append(self.delivery(hook, "repository", payload).send())

    def delivery(self, hook: dict[str, Any], event: str, payload: dict[str, Any]) -> Delivery:
        body = json.dumps(payload).encode()
        secret = hook["config"]["secret"].encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/044aadd",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": str(uuid.uuid4()),
            "X-GitHub-Hook-ID": str(hook["id"]),
            "X-Hub-Signature": f"sha1={hmac.new(secret, body, hashlib.sha1).hexdigest()}",
            "X-Hub-Signature-256": f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}",
        }
        return Delivery(url=hook["config"]["url"], headers=headers, body=body)
