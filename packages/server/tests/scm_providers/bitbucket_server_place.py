"""A stand-in for Bitbucket Server, as strict as the real one in the parts that a platform needs."""

import hashlib
import hmac
import json
import re
import uuid
from typing import Any

from scm_providers.place import Call, Delivery, Place, Refusal, Repo, Route

_EVENTS = {"repo:refs_changed", "repo:modified", "repo:forked", "pr:opened"}


class BitbucketServerPlace(Place):
    provider = "bitbucket"
    organization = "ALGO"
    password = "password-0123"
    first_branch = "master"

    def urls(self) -> dict[str, str]:
        return {"web": self.web, "api": self.web, "ssh": self.ssh}

    def scm(self, scm_id: str) -> dict[str, Any]:
        described = super().scm(scm_id)
        del described["oauth"]
        return {**described, "scm": {"project_key": self.organization}}

    def clone_url(self, repo: Repo) -> str:
        host = f"127.0.0.1:{self.http_port}"
        return f"http://{self.user}:{self.password}@{host}/scm/{repo.full_name}.git"

    def routes(self) -> list[Route]:
        api = "/rest/api/1.0"
        repo = r"/projects/([^/]+)/repos/([^/]+)"
        keys = rf"/rest/keys/1.0{repo}/ssh"
        return [
            ("GET", re.compile(f"{api}/projects"), self.projects),
            ("POST", re.compile(rf"{api}/projects/([^/]+)/repos"), self.make),
            ("GET", re.compile(api + repo), lambda _, o, n: (200, self.shown(self.repo(o, n)))),
            ("DELETE", re.compile(api + repo), self.remove),
            ("GET", re.compile(f"{api}{repo}/default-branch"), self.default_branch),
            ("GET", re.compile(f"{api}{repo}/branches/default"), self.default_branch),
            ("POST", re.compile(keys), self.make_key),
            ("DELETE", re.compile(rf"{keys}/(\d+)"), self.drop_key),
            ("POST", re.compile(f"{api}{repo}/webhooks"), self.make_hook),
            ("DELETE", re.compile(rf"{api}{repo}/webhooks/(\d+)"), self.drop_hook),
        ]

    def authenticate(self, call: Call) -> None:
        name, password = call.basic()
        call.user = self.login(name, password) if name else self.tokens.get(call.bearer(), "")
        if not call.user:
            raise self.refusal(401, "Authentication failed. Please check your credentials.")

    def login(self, name: str, password: str) -> str:
        return self.user if name == self.user and super().login(name, password) else ""

    def refusal(self, status: int, message: str) -> Refusal:
        exception = "com.atlassian.bitbucket.Exception"
        errors = [{"context": None, "message": message, "exceptionName": exception}]
        return Refusal(status, {"errors": errors})

    def projects(self, call: Call) -> Any:
        assert call.query["permission"] in {"PROJECT_READ", "PROJECT_WRITE", "PROJECT_ADMIN"}
        values = [{"key": self.organization, "id": 1, "name": "Algorithms", "type": "NORMAL"}]
        page = {"size": 1, "limit": int(call.query["limit"]), "isLastPage": True, "values": values}
        return 200, page, {"X-AUSERNAME": call.user, "X-AUSERID": "2"}

    def make(self, call: Call, project: str) -> Any:
        body = call.json
        if project != self.organization:
            raise self.refusal(404, f"Project {project} does not exist.")
        slug = body["name"].lower()
        if self.find(project, slug) is not None:
            raise self.refusal(409, "This repository URL is already taken.")
        assert body["scmId"] == "git"
        return 201, self.shown(self.create(project, slug))

    def repo(self, owner: str, name: str) -> Repo:
        found = self.find(owner, name)
        if found is None:
            raise self.refusal(404, f"Repository {owner}/{name} does not exist.")
        return found

    def remove(self, _call: Call, project: str, slug: str) -> Any:
        del self.repos[self.repo(project, slug).number]
        return 202, {"context": None, "message": "Repository scheduled for deletion."}

    def default_branch(self, _call: Call, project: str, slug: str) -> Any:
        repo = self.repo(project, slug)
        if not repo.branch:
            raise self.refusal(404, "There is no default branch.")
        return 200, {"id": f"refs/heads/{repo.branch}", "displayId": repo.branch, "type": "BRANCH"}

    def make_key(self, call: Call, project: str, slug: str) -> Any:
        body = call.json
        assert body["permission"] == "REPO_READ"
        text = body["key"]["text"]
        number = self.add_key(self.repo(project, slug), text.split(" ", 2)[-1], text)
        return 201, {"key": {"id": number, "text": text}, "permission": "REPO_READ"}

    def drop_key(self, _call: Call, project: str, slug: str, number: str) -> Any:
        if self.repo(project, slug).keys.pop(int(number), None) is None:
            raise self.refusal(404, "No such key.")
        return 204, None

    def make_hook(self, call: Call, project: str, slug: str) -> Any:
        body = call.json
        assert set(body) <= {"name", "url", "active", "events", "configuration"}
        assert set(body["events"]) <= _EVENTS
        number = str(self.next())
        self.repo(project, slug).hooks[number] = {"id": int(number), **body}
        return 201, {"id": int(number), "name": body["name"], "events": body["events"]}

    def drop_hook(self, _call: Call, project: str, slug: str, number: str) -> Any:
        if self.repo(project, slug).hooks.pop(number, None) is None:
            raise self.refusal(404, "No such webhook.")
        return 204, None

    def shown(self, repo: Repo) -> dict[str, Any]:
        return {
            "id": repo.number,
            "slug": repo.name,
            "name": repo.name,
            "scmId": "git",
            "state": "AVAILABLE",
            "project": {"key": repo.owner, "id": 1},
        }

    def push_messages(
        self, repo: Repo, hook: dict[str, Any], changes: dict[str, tuple[str, str]]
    ) -> list[Delivery]:
        def kind(before: str, after: str) -> str:
            if set(before) == {"0"}:
                return "ADD"
            return "DELETE" if set(after) == {"0"} else "UPDATE"

        listed = [
            {
                "ref": {
                    "id": ref,
                    "displayId": ref.removeprefix("refs/heads/"),
                    "type": "BRANCH",
                },
                "refId": ref,
                "fromHash": before,
                "toHash": after,
                "type": kind(before, after),
            }
            for ref, (before, after) in changes.items()
        ]
        payload = {
            "eventKey": "repo:refs_changed",
            "date": "2026-01-01T00:00:00+0000",
            "repository": self.shown(repo),
            "changes": listed,
        }
        return [self.delivery(hook, "repo:refs_changed", payload)]

    def rename(self, repo: Repo, name: str, *, tells: bool = True) -> None:
        old = self.shown(repo)
        repo.name = name.lower()
        payload = {"eventKey": "repo:modified", "old": old, "new": self.shown(repo)}
        for hook in repo.hooks.values() if tells else ():
            self.deliveries.append(self.delivery(hook, "repo:modified", payload).send())

    def change_branch(self, repo: Repo, branch: str, *, tells: bool = True) -> None:
        self.set_branch(repo, branch)  # there is no event for it

    def delivery(self, hook: dict[str, Any], event: str, payload: dict[str, Any]) -> Delivery:
        body = json.dumps(payload).encode()
        secret = hook["configuration"]["secret"].encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "X-Event-Key": event,
            "X-Request-Id": str(uuid.uuid4()),
            "X-Hub-Signature": f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}",
        }
        return Delivery(url=hook["url"], headers=headers, body=body)
