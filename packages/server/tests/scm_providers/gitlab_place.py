"""A stand-in for GitLab: the parts of its API that a platform needs, as strict as the real one."""

import json
import re
import uuid
from typing import Any
from urllib.parse import urlencode

from scm_providers.place import Call, Delivery, Place, Refusal, Repo, Route, no_key


class GitLabPlace(Place):
    provider = "gitlab"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.refresh_tokens: dict[str, str] = {}
        self.expires_in = 7200

    def urls(self) -> dict[str, str]:
        return {"web": self.web, "api": self.web, "ssh": self.ssh}

    def routes(self) -> list[Route]:
        api = "/api/v4"
        project = rf"{api}/projects/([^/]+)"
        return [
            ("GET", re.compile("/oauth/authorize"), self.authorize),
            ("POST", re.compile("/oauth/token"), self.access_token),
            ("POST", re.compile("/oauth/revoke"), self.forget),
            ("GET", re.compile(f"{api}/user"), lambda _: (200, {"id": 7, "username": self.user})),
            ("GET", re.compile(f"{api}/groups"), self.groups),
            ("GET", re.compile(rf"{api}/namespaces/([^/]+)"), self.namespace),
            ("POST", re.compile(f"{api}/projects"), self.make),
            ("GET", re.compile(project), lambda _, i: (200, self.shown(self.project(i)))),
            ("DELETE", re.compile(project), self.remove),
            ("POST", re.compile(f"{project}/deploy_keys"), self.make_key),
            ("DELETE", re.compile(rf"{project}/deploy_keys/(\d+)"), self.drop_key),
            ("POST", re.compile(f"{project}/hooks"), self.make_hook),
            ("DELETE", re.compile(rf"{project}/hooks/(\d+)"), self.drop_hook),
        ]

    def authenticate(self, call: Call) -> None:
        call.user = self.tokens.get(call.bearer() or call.headers.get("private-token", ""), "")
        if not call.user:
            raise Refusal(401, {"message": "401 Unauthorized"})

    def refusal(self, status: int, message: str) -> Refusal:
        return Refusal(status, {"message": f"{status} {message}"})

    @no_key
    def authorize(self, call: Call) -> Any:
        query = call.query
        assert query["client_id"] == self.client_id
        assert query["response_type"] == "code"
        assert query["scope"] == "api"
        code = uuid.uuid4().hex
        self.codes[code] = (self.user, query["redirect_uri"])
        back = urlencode({"code": code, "state": query["state"]})
        return 302, None, {"Location": f"{query['redirect_uri']}?{back}"}

    @no_key
    def access_token(self, call: Call) -> Any:
        form = call.form
        if (form["client_id"], form["client_secret"]) != (self.client_id, self.client_secret):
            return 401, {"error": "invalid_client", "error_description": "unknown client"}
        if form["grant_type"] == "refresh_token":
            user = self.refresh_tokens.pop(form["refresh_token"], "")
        else:
            assert form["grant_type"] == "authorization_code"
            user, redirect_uri = self.codes.pop(form["code"], ("", ""))
            user = user if form["redirect_uri"] == redirect_uri else ""
        if not user:
            text = "The provided authorization grant is invalid, expired, revoked"
            return 400, {"error": "invalid_grant", "error_description": text}
        token, refresh = uuid.uuid4().hex, uuid.uuid4().hex
        self.tokens[token] = user
        self.refresh_tokens[refresh] = user
        return 200, {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "refresh_token": refresh,
            "scope": "api",
            "created_at": 1,
        }

    @no_key
    def forget(self, call: Call) -> Any:
        form = call.form
        assert (form["client_id"], form["client_secret"]) == (self.client_id, self.client_secret)
        self.tokens.pop(form["token"], None)
        return 200, {}

    def groups(self, call: Call) -> Any:
        assert int(call.query["min_access_level"]) in {10, 20, 30, 40, 50}
        assert 1 <= int(call.query["per_page"]) <= 100
        mine = [{"id": 9, "full_path": self.organization, "path": self.organization}]
        return 200, mine if call.query["page"] == "1" else []

    def namespace(self, _call: Call, path: str) -> Any:
        numbers = {self.user: 7, self.organization: 9}
        if path not in numbers:
            raise self.refusal(404, "Namespace Not Found")
        return 200, {"id": numbers[path], "path": path, "full_path": path, "kind": "user"}

    def make(self, call: Call) -> Any:
        body = call.json
        owner = {7: self.user, 9: self.organization}.get(body["namespace_id"], "")
        if not owner:
            raise Refusal(400, {"message": {"namespace": ["is not valid"]}})
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", body["path"])
        if self.find(owner, body["path"]) is not None:
            taken = ["has already been taken"]
            raise Refusal(400, {"message": {"path": taken, "name": taken}})
        assert body["visibility"] == "private"
        return 201, self.shown(self.create(owner, body["path"]))

    def project(self, project_id: str) -> Repo:
        if project_id.isdigit():
            found = self.repos.get(int(project_id))
            if found is None:
                raise self.refusal(404, "Project Not Found")
            return found
        owner, _, name = project_id.rpartition("/")
        return self.repo(owner, name)

    def remove(self, _call: Call, project_id: str) -> Any:
        del self.repos[self.project(project_id).number]
        return 202, {"message": "202 Accepted"}

    def make_key(self, call: Call, project_id: str) -> Any:
        body = call.json
        assert body["can_push"] is False
        number = self.add_key(self.project(project_id), body["title"], body["key"])
        return 201, {"id": number, "title": body["title"], "key": body["key"], "can_push": False}

    def drop_key(self, _call: Call, project_id: str, number: str) -> Any:
        if self.project(project_id).keys.pop(int(number), None) is None:
            raise self.refusal(404, "Deploy Key Not Found")
        return 204, None

    def make_hook(self, call: Call, project_id: str) -> Any:
        body = call.json
        known = {"url", "token", "push_events", "enable_ssl_verification"}
        assert set(body) <= known
        assert body["url"].startswith(("http://", "https://"))
        number = str(self.next())
        self.project(project_id).hooks[number] = {"id": int(number), **body}
        return 201, {"id": int(number), "url": body["url"]}

    def drop_hook(self, _call: Call, project_id: str, number: str) -> Any:
        if self.project(project_id).hooks.pop(number, None) is None:
            raise self.refusal(404, "Not found")
        return 204, None

    def shown(self, repo: Repo) -> dict[str, Any]:
        return {
            "id": repo.number,
            "name": repo.name,
            "path": repo.name,
            "path_with_namespace": repo.full_name,
            "default_branch": repo.branch or None,
            "visibility": "private",
        }

    def push_messages(
        self, repo: Repo, hook: dict[str, Any], changes: dict[str, tuple[str, str]]
    ) -> list[Delivery]:
        return [
            self.delivery(
                hook,
                {
                    "object_kind": "push",
                    "event_name": "push",
                    "ref": ref,
                    "before": before,
                    "after": after,
                    "checkout_sha": None if set(after) == {"0"} else after,
                    "project_id": repo.number,
                    "project": self.shown(repo),
                    "commits": [],
                },
            )
            for ref, (before, after) in changes.items()
        ]

    def rename(self, repo: Repo, name: str, *, tells: bool = True) -> None:
        repo.name = name  # hooks of projects are not told; the next push says it

    def change_branch(self, repo: Repo, branch: str, *, tells: bool = True) -> None:
        self.set_branch(repo, branch)

    def delivery(self, hook: dict[str, Any], payload: dict[str, Any]) -> Delivery:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "GitLab/17.0.0",
            "X-Gitlab-Event": "Push Hook",
            "X-Gitlab-Event-UUID": str(uuid.uuid4()),
            "Idempotency-Key": str(uuid.uuid4()),
            "X-Gitlab-Token": hook["token"],
        }
        return Delivery(url=hook["url"], headers=headers, body=json.dumps(payload).encode())
