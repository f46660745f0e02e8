"""
GitLab, the public one and one's own: its API as requests and answers.

Source: GitLab's documentation, "REST API" v4, "OAuth 2.0 identity provider API".
"""

from typing import Any, Final
from urllib.parse import urlencode

from algorium_server.build.providers.provider import (
    GitLogin,
    Operation,
    RemoteRepository,
    Request,
    base_of,
    checked,
    entries_of,
    gone_or_done,
    id_of,
    quoted,
    repository_of,
    text_of,
)
from algorium_server.build.providers.rest import OAuthTokens
from algorium_server.domain.limits import SCM_PAGES_MAX
from algorium_server.domain.scms import Scm, ScmCredentials, ScmOrganization, ScmProfile

_NAME: Final = "GitLab"
_PAGE: Final = 100
_OWNER: Final = 50
"""GitLab's number for the role; a developer has 30, and may make projects in most groups."""
_DEVELOPER: Final = 30


class GitLab(OAuthTokens):
    """Satisfies `ProviderApi`."""

    provider = _NAME
    keys = "deploy_keys"
    webhooks = "hooks"

    def __init__(self, scm: Scm) -> None:
        self._web = scm.urls.web.rstrip("/")
        self._api = base_of(scm, "/api/v4")
        self._client_id = scm.client_id

    def authorize_url(self, *, redirect_uri: str, state: str) -> str:
        """Return GitLab's page for it."""
        query = {
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "response_type": "code",
            "scope": "api",
            "state": state,
        }
        return f"{self._web}/oauth/authorize?{urlencode(query)}"

    def revoke(self, credentials: ScmCredentials, *, secret: str) -> Operation[None]:
        """Have GitLab forget the token."""
        answer = yield Request(
            method="POST",
            url=f"{self._web}/oauth/revoke",
            form={
                "client_id": self._client_id,
                "client_secret": secret,
                "token": credentials.token,
            },
        )
        gone_or_done(answer, provider=_NAME)

    def profile(self, credentials: ScmCredentials) -> Operation[ScmProfile]:
        """Ask for the user, and for the groups in which it may work."""
        user = yield from self._ask(credentials, "GET", "/user")
        owned = yield from self._groups(credentials, _OWNER)
        all_groups = yield from self._groups(credentials, _DEVELOPER)
        return ScmProfile(
            username=text_of(user, "username", provider=_NAME),
            organizations=tuple(
                ScmOrganization(name=name, access_level="OWNER" if name in owned else "MEMBER")
                for name in all_groups
            ),
        )

    def create_repository(
        self, credentials: ScmCredentials, *, owner: str, name: str, description: str
    ) -> Operation[RemoteRepository]:
        """Make a project in a namespace: the user's own, or a group's."""
        namespace = yield from self._ask(credentials, "GET", f"/namespaces/{quoted(owner)}")
        body = {
            "name": name,
            "path": name,
            "namespace_id": int(id_of(namespace, "id", provider=_NAME)),
            "description": description,
            "visibility": "private",
            "initialize_with_readme": False,
        }
        made = yield from self._ask(credentials, "POST", "/projects", body)
        return _repository(made)

    def repository(
        self, credentials: ScmCredentials, *, owner: str, name: str
    ) -> Operation[RemoteRepository]:
        """Ask for the project by its path."""
        found = yield from self._ask(credentials, "GET", f"/projects/{quoted(f'{owner}/{name}')}")
        return _repository(found)

    def repository_now(
        self, credentials: ScmCredentials, known: RemoteRepository
    ) -> Operation[RemoteRepository]:
        """Ask for the project by its number."""
        found = yield from self._ask(credentials, "GET", self._path(known))
        return _repository(found)

    def add_deploy_key(
        self,
        credentials: ScmCredentials,
        repository: RemoteRepository,
        *,
        title: str,
        public_key: str,
    ) -> Operation[str]:
        """Add a key that may only read."""
        body = {"title": title, "key": public_key, "can_push": False}
        made = yield from self._ask(credentials, "POST", self._keys(repository), body)
        return id_of(made, "id", provider=_NAME)

    def add_webhook(
        self, credentials: ScmCredentials, repository: RemoteRepository, *, url: str, secret: str
    ) -> Operation[str]:
        """Add a webhook for pushes; each of them also says what the project is called now."""
        body = {
            "url": url,
            "token": secret,
            "push_events": True,
            "enable_ssl_verification": True,
        }
        made = yield from self._ask(credentials, "POST", self._webhooks(repository), body)
        return id_of(made, "id", provider=_NAME)

    def git_login(self, credentials: ScmCredentials) -> GitLogin:
        """Return the token as a password; the name says what kind of token it is."""
        return GitLogin(username="oauth2", password=credentials.token)

    def _token(self, secret: str, **fields: str) -> Request:
        return Request(
            method="POST",
            url=f"{self._web}/oauth/token",
            form={"client_id": self._client_id, "client_secret": secret, **fields},
        )

    def _groups(self, credentials: ScmCredentials, level: int) -> Operation[list[str]]:
        found: list[str] = []
        for page in range(1, SCM_PAGES_MAX + 1):
            path = f"/groups?min_access_level={level}&per_page={_PAGE}&page={page}"
            answer = yield self._request(credentials, "GET", path)
            if answer.status == 403:  # a token that may not read groups
                break
            entries = entries_of(checked(answer, provider=_NAME), provider=_NAME)
            found += [text_of(one, "full_path", provider=_NAME) for one in entries]
            if len(entries) < _PAGE:
                break
        return found

    def _path(self, repository: RemoteRepository) -> str:
        return f"/projects/{quoted(repository.repository_id)}"

    def _request(
        self,
        credentials: ScmCredentials,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
    ) -> Request:
        # Tokens of OAuth and those that users make are both taken like this.
        headers = {"Accept": "application/json", "Authorization": f"Bearer {credentials.token}"}
        return Request(method=method, url=f"{self._api}{path}", headers=headers, json=body)


def _repository(value: Any) -> RemoteRepository:
    owner, _, name = text_of(value, "path_with_namespace", provider=_NAME).rpartition("/")
    return repository_of(
        repository_id=id_of(value, "id", provider=_NAME),
        owner=owner,
        name=name,
        branch=value.get("default_branch") or "",
        provider=_NAME,
    )
