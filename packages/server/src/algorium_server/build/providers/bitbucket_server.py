"""
Bitbucket Server and Data Center: its API as requests and answers.

There is no OAuth here: users give a token that they made there, or their name and password.

Source: Atlassian's documentation, "Bitbucket Data Center REST API" 1.0, "Access keys".
"""

from typing import Any, Final

from algorium_server.build.providers.provider import (
    Answer,
    GitLogin,
    Operation,
    RemoteRepository,
    Request,
    checked,
    entries_of,
    id_of,
    member,
    quoted,
    repository_of,
    text_of,
)
from algorium_server.build.providers.rest import RestApi, proof
from algorium_server.domain.errors import ScmFailed
from algorium_server.domain.limits import SCM_PAGES_MAX
from algorium_server.domain.scms import Scm, ScmCredentials, ScmOrganization, ScmProfile

_NAME: Final = "Bitbucket Server"
_PAGE: Final = 100
_BRANCH: Final = "master"
"""What older servers take an empty repository's default branch to be; newer ones are told."""


class BitbucketServer(RestApi):
    """Satisfies `ProviderApi`."""

    provider = _NAME
    webhooks = "webhooks"

    def __init__(self, scm: Scm) -> None:
        self._root = scm.urls.api.rstrip("/").removesuffix("/rest/api/1.0").removesuffix("/rest")
        self._api = f"{self._root}/rest/api/1.0"

    def profile(self, credentials: ScmCredentials) -> Operation[ScmProfile]:
        """Ask for the projects in which the user may work; a header says who it is."""
        found: list[ScmOrganization] = []
        username = credentials.username
        start = 0
        for _ in range(SCM_PAGES_MAX):
            path = f"/projects?permission=PROJECT_WRITE&limit={_PAGE}&start={start}"
            answer: Answer = yield self._request(credentials, "GET", path)
            value = checked(answer, provider=_NAME)
            username = answer.headers.get("x-ausername", username)
            found += [
                ScmOrganization(name=text_of(one, "key", provider=_NAME))
                for one in entries_of(value, "values", provider=_NAME)
            ]
            if value.get("isLastPage", True):
                break
            start = int(value.get("nextPageStart") or 0)
        if not username or not username.isprintable():
            raise ScmFailed(f"{_NAME} does not say whose token this is: give the username, too")
        return ScmProfile(username=username, organizations=tuple(found))

    def create_repository(
        self, credentials: ScmCredentials, *, owner: str, name: str, description: str
    ) -> Operation[RemoteRepository]:
        """Make a repository in a project."""
        body = {
            "name": name,
            "scmId": "git",
            "forkable": True,
            "public": False,
            "description": description,
            "defaultBranch": _BRANCH,
        }
        made = yield from self._ask(credentials, "POST", f"/projects/{quoted(owner)}/repos", body)
        return _repository(made, _BRANCH)

    def repository(
        self, credentials: ScmCredentials, *, owner: str, name: str
    ) -> Operation[RemoteRepository]:
        """Ask for it by project and name, and for its default branch."""
        path = f"/projects/{quoted(owner)}/repos/{quoted(name)}"
        found = yield from self._ask(credentials, "GET", path)
        answer = yield self._request(credentials, "GET", f"{path}/default-branch")
        if answer.status == 404:  # an older server, or no branch yet
            answer = yield self._request(credentials, "GET", f"{path}/branches/default")
        branch = answer.value() if answer.is_success else None
        name_of_branch = branch.get("displayId") if isinstance(branch, dict) else ""
        return _repository(found, name_of_branch)

    def repository_now(
        self, credentials: ScmCredentials, known: RemoteRepository
    ) -> Operation[RemoteRepository]:
        """Ask for it by what it was called: there is no other way to find it."""
        found = yield from self.repository(credentials, owner=known.owner, name=known.name)
        return found

    def add_deploy_key(
        self,
        credentials: ScmCredentials,
        repository: RemoteRepository,
        *,
        title: str,
        public_key: str,
    ) -> Operation[str]:
        """Add an access key that may only read."""
        body = {"key": {"text": f"{public_key} {title}"}, "permission": "REPO_READ"}
        made = yield from self._ask(credentials, "POST", self._keys(repository), body)
        return id_of(made, "key", "id", provider=_NAME)

    def add_webhook(
        self, credentials: ScmCredentials, repository: RemoteRepository, *, url: str, secret: str
    ) -> Operation[str]:
        """Add a webhook for pushes, and for renamed and moved repositories."""
        body = {
            "name": "Algorium",
            "url": url,
            "active": True,
            "events": ["repo:refs_changed", "repo:modified"],
            "configuration": {"secret": secret},
        }
        made = yield from self._ask(credentials, "POST", self._webhooks(repository), body)
        return id_of(made, "id", provider=_NAME)

    def git_login(self, credentials: ScmCredentials) -> GitLogin:
        """Return the user's name with the token or password."""
        return GitLogin(
            username=credentials.username, password=credentials.password or credentials.token
        )

    def _keys(self, repository: RemoteRepository) -> str:
        project, name = quoted(repository.owner), quoted(repository.name)
        return f"{self._root}/rest/keys/1.0/projects/{project}/repos/{name}/ssh"

    def _path(self, repository: RemoteRepository) -> str:
        return f"/projects/{quoted(repository.owner)}/repos/{quoted(repository.name)}"

    def _request(
        self,
        credentials: ScmCredentials,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
    ) -> Request:
        # Without the header, requests that look like a browser's are refused.
        headers = {
            "Accept": "application/json",
            "X-Atlassian-Token": "no-check",
            **proof(credentials),
        }
        # Keys belong to another interface, whose address is whole already.
        url = path if path.startswith(self._root) else f"{self._api}{path}"
        return Request(method=method, url=url, headers=headers, json=body)


def _repository(value: Any, branch: object) -> RemoteRepository:
    return repository_of(
        repository_id=id_of(value, "id", provider=_NAME),
        owner=member(value, "project", "key", provider=_NAME),
        name=member(value, "slug", provider=_NAME),
        branch=branch,
        provider=_NAME,
    )
