"""
Bitbucket Cloud: its API as requests and answers.

Source: Atlassian's documentation, "The Bitbucket Cloud REST API" 2.0, "OAuth on Bitbucket Cloud".
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
    id_of,
    quoted,
    repository_of,
    text_of,
)
from algorium_server.build.providers.rest import OAuthTokens, basic, proof
from algorium_server.domain.limits import SCM_PAGES_MAX
from algorium_server.domain.scms import Scm, ScmCredentials, ScmOrganization, ScmProfile

_NAME: Final = "Bitbucket Cloud"
_PAGE: Final = 100


class BitbucketCloud(OAuthTokens):
    """Satisfies `ProviderApi`."""

    provider = _NAME
    keys = "deploy-keys"
    webhooks = "hooks"
    refusals = frozenset({"invalid_grant", "invalid_request"})

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

    def add_deploy_key(
        self,
        credentials: ScmCredentials,
        repository: RemoteRepository,
        *,
        title: str,
        public_key: str,
    ) -> Operation[str]:
        """Add an access key; they only read."""
        body = {"key": public_key, "label": title}
        made = yield from self._ask(credentials, "POST", self._keys(repository), body)
        return id_of(made, "id", provider=_NAME)

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
        made = yield from self._ask(credentials, "POST", self._webhooks(repository), body)
        return id_of(made, "uuid", provider=_NAME)

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
            headers={"Authorization": basic(self._client_id, secret)},
            form=fields,
        )

    def _path(self, repository: RemoteRepository) -> str:
        return f"/repositories/{quoted(repository.owner)}/{quoted(repository.name)}"

    def _request(
        self,
        credentials: ScmCredentials,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
    ) -> Request:
        headers = {"Accept": "application/json", **proof(credentials)}
        return Request(method=method, url=f"{self._api}{path}", headers=headers, json=body)


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
