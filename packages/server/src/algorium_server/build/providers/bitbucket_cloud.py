"""
Bitbucket Cloud: its API as requests and answers.

Source: Atlassian's documentation, "The Bitbucket Cloud REST API" 2.0, "OAuth on Bitbucket Cloud".
"""

import base64
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from algorium_server.build.providers.provider import (
    Answer,
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
    token_of,
)
from algorium_server.domain.errors import OAuthCodeRefused, ScmRejectsCredentials
from algorium_server.domain.limits import SCM_PAGES_MAX
from algorium_server.domain.scms import Scm, ScmCredentials, ScmOrganization, ScmProfile

_NAME: Final = "Bitbucket Cloud"
_PAGE: Final = 100


class BitbucketCloud:
    """Satisfies `ProviderApi`."""

    def __init__(self, scm: Scm) -> None:
        self._web = scm.urls.web.rstrip("/")
        self._api = base_of(scm, "/2.0")
        self._client_id = scm.client_id

    def authorize_url(self, *, redirect_uri: str, state: str) -> str:
        """Return Bitbucket's page for it; rights are those of the consumer."""
        query = {
            "client_id": self._client_id,
            "response_type": "code",
            "redirect_uri": redirect_uri,
            "state": state,
        }
        return f"{self._web}/site/oauth2/authorize?{urlencode(query)}"

    def exchange(
        self, code: str, *, secret: str, redirect_uri: str, now: datetime
    ) -> Operation[ScmCredentials]:
        """Get a token and the one that gets the next."""
        answer = yield self._token(
            secret, grant_type="authorization_code", code=code, redirect_uri=redirect_uri
        )
        if _is_invalid_grant(answer):
            raise OAuthCodeRefused(f"{_NAME} does not accept the code: connect once more")
        return token_of(checked(answer, provider=_NAME), provider=_NAME, now=now)

    def refresh(
        self, credentials: ScmCredentials, *, secret: str, now: datetime
    ) -> Operation[ScmCredentials]:
        """Get the next token."""
        answer = yield self._token(
            secret, grant_type="refresh_token", refresh_token=credentials.refresh_token
        )
        if _is_invalid_grant(answer):
            raise ScmRejectsCredentials(f"{_NAME} has ended the connection: connect once more")
        return token_of(checked(answer, provider=_NAME), provider=_NAME, now=now)

    def revoke(self, _credentials: ScmCredentials, *, secret: str) -> Operation[None]:  # noqa: ARG002 - others need it
        """Do nothing: Bitbucket offers its users a page for it, and programs no request."""
        return
        yield

    def profile(self, credentials: ScmCredentials) -> Operation[ScmProfile]:
        """Ask for the user, and for the workspaces in which it is."""
        user = yield from self._ask(credentials, "GET", "/user")
        found: list[ScmOrganization] = []
        for page in range(1, SCM_PAGES_MAX + 1):
            # Requests across workspaces are gone since April 2026 (410), but for this one.
            path = f"/user/workspaces?pagelen={_PAGE}&page={page}"
            answer = yield self._request(credentials, "GET", path)
            if answer.status in {403, 404, 410}:  # a token without the right to read workspaces
                break
            value = checked(answer, provider=_NAME)
            for one in entries_of(value, "values", provider=_NAME):
                level = "OWNER" if one.get("administrator") is True else "MEMBER"
                name = text_of(one, "workspace", "slug", provider=_NAME)
                found.append(ScmOrganization(name=name, access_level=level))
            if "next" not in value:
                break
        username = user.get("username") if isinstance(user, dict) else None
        return ScmProfile(
            username=username or text_of(user, "nickname", provider=_NAME),
            organizations=tuple(found),
        )

    def create_repository(
        self, credentials: ScmCredentials, *, owner: str, name: str, description: str
    ) -> Operation[RemoteRepository]:
        """Make a repository in a workspace; addresses there are in lower case."""
        body = {"scm": "git", "is_private": True, "name": name, "description": description}
        path = f"/repositories/{quoted(owner)}/{quoted(name.lower())}"
        made = yield from self._ask(credentials, "POST", path, body)
        return _repository(made)

    def repository(
        self, credentials: ScmCredentials, *, owner: str, name: str
    ) -> Operation[RemoteRepository]:
        """Ask for it by its address."""
        path = f"/repositories/{quoted(owner)}/{quoted(name.lower())}"
        return _repository((yield from self._ask(credentials, "GET", path)))

    def repository_now(
        self, credentials: ScmCredentials, known: RemoteRepository
    ) -> Operation[RemoteRepository]:
        """Ask for it by its id, which stays; empty braces stand for the workspace."""
        path = f"/repositories/{quoted('{}')}/{quoted(known.repository_id)}"
        return _repository((yield from self._ask(credentials, "GET", path)))

    def remove_repository(
        self, credentials: ScmCredentials, repository: RemoteRepository
    ) -> Operation[None]:
        """Delete it."""
        gone_or_done(
            (yield self._request(credentials, "DELETE", _path(repository))), provider=_NAME
        )

    def add_deploy_key(
        self,
        credentials: ScmCredentials,
        repository: RemoteRepository,
        *,
        title: str,
        public_key: str,
    ) -> Operation[str]:
        """Add an access key; they only read."""
        path = f"{_path(repository)}/deploy-keys"
        made = yield from self._ask(credentials, "POST", path, {"key": public_key, "label": title})
        return id_of(made, "id", provider=_NAME)

    def remove_deploy_key(
        self, credentials: ScmCredentials, repository: RemoteRepository, key_id: str
    ) -> Operation[None]:
        """Remove it."""
        path = f"{_path(repository)}/deploy-keys/{quoted(key_id)}"
        gone_or_done((yield self._request(credentials, "DELETE", path)), provider=_NAME)

    def add_webhook(
        self, credentials: ScmCredentials, repository: RemoteRepository, *, url: str, secret: str
    ) -> Operation[str]:
        """Add a webhook: the secret is in the address, and signs as well where that is offered."""
        body = {
            "description": "Algorium",
            "url": f"{url}?{urlencode({'token': secret})}",
            "active": True,
            "events": ["repo:push", "repo:updated"],
            "secret": secret,
        }
        made = yield from self._ask(credentials, "POST", f"{_path(repository)}/hooks", body)
        return id_of(made, "uuid", provider=_NAME)

    def remove_webhook(
        self, credentials: ScmCredentials, repository: RemoteRepository, webhook_id: str
    ) -> Operation[None]:
        """Remove it."""
        path = f"{_path(repository)}/hooks/{quoted(webhook_id)}"
        gone_or_done((yield self._request(credentials, "DELETE", path)), provider=_NAME)

    def git_login(self, credentials: ScmCredentials) -> GitLogin:
        """Return a token, or the user's name and password."""
        if credentials.password:
            # API tokens go with an e-mail address in the API, and with a fixed name in git.
            is_api_token = "@" in credentials.username
            username = "x-bitbucket-api-token-auth" if is_api_token else credentials.username
            return GitLogin(username=username, password=credentials.password)
        return GitLogin(username="x-token-auth", password=credentials.token)

    def _token(self, secret: str, **fields: str) -> Request:
        return Request(
            method="POST",
            url=f"{self._web}/site/oauth2/access_token",
            headers={"Authorization": _basic(self._client_id, secret)},
            form=fields,
        )

    def _ask(
        self,
        credentials: ScmCredentials,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
    ) -> Operation[Any]:
        answer: Answer = yield self._request(credentials, method, path, body)
        return checked(answer, provider=_NAME)

    def _request(
        self,
        credentials: ScmCredentials,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
    ) -> Request:
        proof = f"Bearer {credentials.token}"
        if credentials.password:
            proof = _basic(credentials.username, credentials.password)
        headers = {"Accept": "application/json", "Authorization": proof}
        return Request(method=method, url=f"{self._api}{path}", headers=headers, json=body)


def _path(repository: RemoteRepository) -> str:
    return f"/repositories/{quoted(repository.owner)}/{quoted(repository.name)}"


def _repository(value: Any) -> RemoteRepository:
    owner, _, name = text_of(value, "full_name", provider=_NAME).rpartition("/")
    main = value.get("mainbranch")
    return repository_of(
        repository_id=id_of(value, "uuid", provider=_NAME),
        owner=owner,
        name=name,
        branch=main.get("name") if isinstance(main, dict) else "",
        provider=_NAME,
    )


def _basic(username: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def _is_invalid_grant(answer: Answer) -> bool:
    value = answer.value()
    return (
        answer.status in {400, 401}
        and isinstance(value, dict)
        and value.get("error") in {"invalid_grant", "invalid_request"}
    )
