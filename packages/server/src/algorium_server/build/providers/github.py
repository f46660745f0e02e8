"""
GitHub, the public one and GitHub Enterprise: its API as requests and answers.

Source: GitHub's documentation, "REST API", "Authorizing OAuth apps".
"""

from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from algorium_server.build.providers.provider import (
    GitLogin,
    Operation,
    RemoteRepository,
    Request,
    checked,
    entries_of,
    gone_or_done,
    id_of,
    member,
    quoted,
    repository_of,
    text_of,
    token_of,
)
from algorium_server.build.providers.rest import RestApi, basic
from algorium_server.domain.errors import OAuthCodeRefused, ScmRejectsCredentials
from algorium_server.domain.limits import SCM_PAGES_MAX
from algorium_server.domain.scms import Scm, ScmCredentials, ScmOrganization, ScmProfile

_NAME: Final = "GitHub"
_PAGE: Final = 100
# Repositories with their keys and hooks, and the names of organizations; nothing smaller does.
_SCOPES: Final = "repo read:org"


class GitHub(RestApi):
    """Satisfies `ProviderApi`."""

    provider = _NAME
    keys = "keys"
    webhooks = "hooks"

    def __init__(self, scm: Scm) -> None:
        self._web = scm.urls.web.rstrip("/")
        self._api = scm.urls.api.rstrip("/")
        self._client_id = scm.client_id

    def authorize_url(self, *, redirect_uri: str, state: str) -> str:
        """Return GitHub's page for it."""
        query = {
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": _SCOPES,
            "state": state,
        }
        return f"{self._web}/login/oauth/authorize?{urlencode(query)}"

    def exchange(
        self, code: str, *, secret: str, redirect_uri: str, now: datetime
    ) -> Operation[ScmCredentials]:
        """Get a token; errors come with status 200."""
        value = yield from self._token(
            {"client_secret": secret, "code": code, "redirect_uri": redirect_uri}
        )
        if isinstance(value, dict) and "error" in value:
            if value["error"] == "bad_verification_code":
                raise OAuthCodeRefused(f"{_NAME} does not accept the code: connect once more")
            raise ScmRejectsCredentials(_said(value))
        return token_of(value, provider=_NAME, now=now)

    def refresh(
        self, credentials: ScmCredentials, *, secret: str, now: datetime
    ) -> Operation[ScmCredentials]:
        """Get the next token, where the application's tokens expire."""
        value = yield from self._token(
            {
                "client_secret": secret,
                "grant_type": "refresh_token",
                "refresh_token": credentials.refresh_token,
            }
        )
        if isinstance(value, dict) and "error" in value:
            raise ScmRejectsCredentials(_said(value))
        return token_of(value, provider=_NAME, now=now)

    def revoke(self, credentials: ScmCredentials, *, secret: str) -> Operation[None]:
        """Have the application forget the token."""
        answer = yield Request(
            method="DELETE",
            url=f"{self._api}/applications/{quoted(self._client_id)}/token",
            headers={**_HEADERS, "Authorization": basic(self._client_id, secret)},
            json={"access_token": credentials.token},
        )
        if answer.status != 422:  # it does not know the token
            gone_or_done(answer, provider=_NAME)

    def profile(self, credentials: ScmCredentials) -> Operation[ScmProfile]:
        """Ask for the user, and for the organizations in which it is."""
        user = yield from self._ask(credentials, "GET", "/user")
        found: list[ScmOrganization] = []
        for page in range(1, SCM_PAGES_MAX + 1):
            path = f"/user/memberships/orgs?state=active&per_page={_PAGE}&page={page}"
            answer = yield self._request(credentials, "GET", path)
            if answer.status in {403, 404}:  # a token without the right to read organizations
                break
            entries = entries_of(checked(answer, provider=_NAME), provider=_NAME)
            for one in entries:
                level = "OWNER" if one.get("role") == "admin" else "MEMBER"
                name = text_of(one, "organization", "login", provider=_NAME)
                found.append(ScmOrganization(name=name, access_level=level))
            if len(entries) < _PAGE:
                break
        return ScmProfile(
            username=text_of(user, "login", provider=_NAME), organizations=tuple(found)
        )

    def create_repository(
        self, credentials: ScmCredentials, *, owner: str, name: str, description: str
    ) -> Operation[RemoteRepository]:
        """Make a repository of the user, or of an organization."""
        user = yield from self._ask(credentials, "GET", "/user")
        is_own = text_of(user, "login", provider=_NAME).lower() == owner.lower()
        path = "/user/repos" if is_own else f"/orgs/{quoted(owner)}/repos"
        body = {"name": name, "description": description, "private": True, "auto_init": False}
        made = yield from self._ask(credentials, "POST", path, body)
        return _repository(made)

    def repository(
        self, credentials: ScmCredentials, *, owner: str, name: str
    ) -> Operation[RemoteRepository]:
        """Ask for it by its name."""
        found = yield from self._ask(credentials, "GET", f"/repos/{quoted(owner)}/{quoted(name)}")
        return _repository(found)

    def repository_now(
        self, credentials: ScmCredentials, known: RemoteRepository
    ) -> Operation[RemoteRepository]:
        """Ask for it by its number."""
        found = yield from self._ask(credentials, "GET", f"/repositories/{known.repository_id}")
        return _repository(found)

    def remove_repository(
        self, credentials: ScmCredentials, repository: RemoteRepository
    ) -> Operation[None]:
        """Delete it; takes a scope that is not asked for, so it usually stays."""
        return super().remove_repository(credentials, repository)

    def add_deploy_key(
        self,
        credentials: ScmCredentials,
        repository: RemoteRepository,
        *,
        title: str,
        public_key: str,
    ) -> Operation[str]:
        """Add a key that may only read."""
        body = {"title": title, "key": public_key, "read_only": True}
        made = yield from self._ask(credentials, "POST", self._keys(repository), body)
        return id_of(made, "id", provider=_NAME)

    def add_webhook(
        self, credentials: ScmCredentials, repository: RemoteRepository, *, url: str, secret: str
    ) -> Operation[str]:
        """Add a webhook for pushes, and for renamed, moved and edited repositories."""
        body = {
            "name": "web",
            "active": True,
            "events": ["push", "repository"],
            "config": {"url": url, "content_type": "json", "secret": secret, "insecure_ssl": "0"},
        }
        made = yield from self._ask(credentials, "POST", self._webhooks(repository), body)
        return id_of(made, "id", provider=_NAME)

    def git_login(self, credentials: ScmCredentials) -> GitLogin:
        """Return the token as a password; the name does not matter."""
        return GitLogin(username="x-access-token", password=credentials.token)

    def _token(self, fields: dict[str, str]) -> Operation[Any]:
        answer = yield Request(
            method="POST",
            url=f"{self._web}/login/oauth/access_token",
            headers={"Accept": "application/json"},
            form={"client_id": self._client_id, **fields},
        )
        return checked(answer, provider=_NAME)

    def _path(self, repository: RemoteRepository) -> str:
        return f"/repos/{quoted(repository.owner)}/{quoted(repository.name)}"

    def _request(
        self,
        credentials: ScmCredentials,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
    ) -> Request:
        headers = {**_HEADERS, "Authorization": f"Bearer {credentials.token}"}
        return Request(method=method, url=f"{self._api}{path}", headers=headers, json=body)


_HEADERS: Final = {
    "Accept": "application/vnd.github+json",
    "X-GitHub-Api-Version": "2022-11-28",
    "User-Agent": "algorium",
}


def _repository(value: Any) -> RemoteRepository:
    return repository_of(
        repository_id=id_of(value, "id", provider=_NAME),
        owner=member(value, "owner", "login", provider=_NAME),
        name=member(value, "name", provider=_NAME),
        branch=value.get("default_branch") or "",
        provider=_NAME,
    )


def _said(value: dict[str, Any]) -> str:
    words = str(value.get("error_description") or value["error"])[:200]
    return f"{_NAME} says: {' '.join(words.split())}"
