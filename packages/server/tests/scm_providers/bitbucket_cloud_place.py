"""A stand-in for Bitbucket Cloud, as strict as the real one in the parts that a platform needs."""

import hashlib
import hmac
import json
import re
import uuid
from typing import Any
from urllib.parse import urlencode

from scm_providers.place import Call, Delivery, Place, Refusal, Repo, Route, no_key

_EVENTS = {"repo:push", "repo:updated", "repo:fork", "repo:transfer", "pullrequest:created"}


class BitbucketCloudPlace(Place):
    provider = "bitbucket-cloud"
    password = "app-password-0123"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.refresh_tokens: dict[str, str] = {}

    def urls(self) -> dict[str, str]:
        return {"web": self.web, "api": self.web, "ssh": self.ssh}

    def routes(self) -> list[Route]:
        api = "/2.0"
        repo = rf"{api}/repositories/([^/]+)/([^/]+)"
        key = rf"{repo}/deploy-keys/(\d+)"
        return [
            ("GET", re.compile("/site/oauth2/authorize"), self.authorize),
            ("POST", re.compile("/site/oauth2/access_token"), self.access_token),
            ("GET", re.compile(f"{api}/user"), self.me),
            ("GET", re.compile(f"{api}/user/workspaces"), self.workspaces),
            ("POST", re.compile(repo), self.make),
            ("GET", re.compile(repo), lambda _, o, n: (200, self.shown(self.named(o, n)))),
            ("DELETE", re.compile(repo), self.remove),
            ("POST", re.compile(f"{repo}/deploy-keys"), self.make_key),
            ("DELETE", re.compile(key), self.drop_key),
            ("POST", re.compile(f"{repo}/hooks"), self.make_hook),
            ("DELETE", re.compile(rf"{repo}/hooks/([^/]+)"), self.drop_hook),
        ]

    def authenticate(self, call: Call) -> None:
        name, password = call.basic()
        call.user = self.login(name, password) if name else self.tokens.get(call.bearer(), "")
        if not call.user:
            raise self.refusal(
                401, "Token is invalid, expired, or not supported for this endpoint."
            )

    def refusal(self, status: int, message: str) -> Refusal:
        return Refusal(status, {"type": "error", "error": {"message": message}})

    @no_key
    def authorize(self, call: Call) -> Any:
        query = call.query
        assert query["client_id"] == self.client_id
        assert query["response_type"] == "code"
        code = uuid.uuid4().hex[:18]
        self.codes[code] = (self.user, query["redirect_uri"])
        back = urlencode({"code": code, "state": query["state"]})
        return 302, None, {"Location": f"{query['redirect_uri']}?{back}"}

    @no_key
    def access_token(self, call: Call) -> Any:
        if call.basic() != (self.client_id, self.client_secret):
            return 401, {"error": "unauthorized_client", "error_description": "unknown client"}
        form = call.form
        if form["grant_type"] == "refresh_token":
            user = self.refresh_tokens.get(form["refresh_token"], "")
        else:
            assert form["grant_type"] == "authorization_code"
            user, redirect_uri = self.codes.pop(form["code"], ("", ""))
            user = user if form.get("redirect_uri", redirect_uri) == redirect_uri else ""
        if not user:
            text = "The specified code is not valid."
            return 400, {"error": "invalid_grant", "error_description": text}
        token, refresh = uuid.uuid4().hex, uuid.uuid4().hex[:18]
        self.tokens[token] = user
        self.refresh_tokens[refresh] = user
        return 200, {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": 7200,
            "refresh_token": refresh,
            "scopes": "account repository:admin webhook",
            "state": "code",
        }

    def me(self, _call: Call) -> Any:
        return 200, {"username": self.user, "nickname": "Jane", "uuid": "{1}", "type": "user"}

    def workspaces(self, call: Call) -> Any:
        assert 1 <= int(call.query["pagelen"]) <= 100
        mine = [
            {"administrator": True, "workspace": {"slug": self.user}},
            {"administrator": False, "workspace": {"slug": self.organization}},
        ]
        return 200, {"values": mine, "pagelen": 100, "page": 1, "size": 2}

    def named(self, owner: str, name: str) -> Repo:
        if owner == "{}":
            found = next((r for r in self.repos.values() if r.unique == name), None)
        else:
            found = self.find(owner, name)
        if found is None:
            raise self.refusal(404, f"Repository {owner}/{name} not found")
        return found

    def make(self, call: Call, owner: str, slug: str) -> Any:
        body = call.json
        if not self.may_create_in(owner):
            raise self.refusal(404, f"Workspace {owner} not found")
        if slug != slug.lower():
            raise self.refusal(400, "repository slug must be in lower case")
        if self.find(owner, slug) is not None:
            raise self.refusal(400, "Repository with this Slug and Owner already exists.")
        assert body["scm"] == "git"
        assert body["is_private"] is True
        return 200, self.shown(self.create(owner, slug))

    def remove(self, _call: Call, owner: str, name: str) -> Any:
        del self.repos[self.named(owner, name).number]
        return 204, None

    def make_key(self, call: Call, owner: str, name: str) -> Any:
        body = call.json
        assert set(body) == {"key", "label"}
        number = self.add_key(self.named(owner, name), body["label"], body["key"])
        return 200, {"id": number, "key": body["key"], "label": body["label"]}

    def drop_key(self, _call: Call, owner: str, name: str, number: str) -> Any:
        if self.named(owner, name).keys.pop(int(number), None) is None:
            raise self.refusal(404, "Not found")
        return 204, None

    def make_hook(self, call: Call, owner: str, name: str) -> Any:
        body = call.json
        assert set(body) <= {"description", "url", "active", "events", "secret"}
        assert set(body["events"]) <= _EVENTS
        unique = f"{{{uuid.uuid4()}}}"
        self.named(owner, name).hooks[unique] = {"uuid": unique, **body}
        return 201, {"uuid": unique, "url": body["url"], "events": body["events"]}

    def drop_hook(self, _call: Call, owner: str, name: str, unique: str) -> Any:
        if self.named(owner, name).hooks.pop(unique, None) is None:
            raise self.refusal(404, "Not found")
        return 204, None

    def shown(self, repo: Repo) -> dict[str, Any]:
        main = {"type": "branch", "name": repo.branch} if repo.branch else None
        return {**self._brief(repo), "mainbranch": main, "is_private": True, "scm": "git"}

    def _brief(self, repo: Repo) -> dict[str, Any]:
        return {
            "type": "repository",
            "uuid": repo.unique,
            "full_name": repo.full_name,
            "name": repo.name,
        }

    def push_messages(
        self, repo: Repo, hook: dict[str, Any], changes: dict[str, tuple[str, str]]
    ) -> list[Delivery]:
        def end(ref: str, sha: str) -> dict[str, Any] | None:
            if set(sha) == {"0"}:
                return None
            name = ref.removeprefix("refs/heads/")
            return {"type": "branch", "name": name, "target": {"type": "commit", "hash": sha}}

        listed = [
            {"old": end(ref, before), "new": end(ref, after), "closed": end(ref, after) is None}
            for ref, (before, after) in changes.items()
        ]
        payload = {"repository": self._brief(repo), "push": {"changes": listed}}
        return [self.delivery(hook, "repo:push", payload)]

    def rename(self, repo: Repo, name: str, *, tells: bool = True) -> None:
        old = repo.full_name
        repo.name = name.lower()
        changes = {"full_name": {"old": old, "new": repo.full_name}}
        payload = {"repository": self._brief(repo), "changes": changes}
        for hook in repo.hooks.values() if tells else ():
            self.deliveries.append(self.delivery(hook, "repo:updated", payload).send())

    def change_branch(self, repo: Repo, branch: str, *, tells: bool = True) -> None:
        self.set_branch(repo, branch)  # there is no event for it

    def delivery(self, hook: dict[str, Any], event: str, payload: dict[str, Any]) -> Delivery:
        body = json.dumps(payload).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Bitbucket-Webhooks/2.0",
            "X-Event-Key": event,
            "X-Hook-UUID": hook["uuid"].strip("{}"),
            "X-Request-UUID": str(uuid.uuid4()),
            "X-Attempt-Number": "1",
        }
        if "secret" in hook:
            signature = hmac.new(hook["secret"].encode(), body, hashlib.sha256).hexdigest()
            headers["X-Hub-Signature"] = f"sha256={signature}"
        return Delivery(url=hook["url"], headers=headers, body=body)
