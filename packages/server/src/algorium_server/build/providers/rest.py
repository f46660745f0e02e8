"""
What APIs of providers have in common: what is below a repository is made and removed by its path.

`RestApi` is the part of `ProviderApi` that differs by names only. `OAuthTokens` is the exchange of
codes and tokens where it keeps to the standard; GitHub's does not.

Source: RFC 6749, sections 4.1.3 and 6.
"""

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from algorium_server.build.providers.provider import (
    Answer,
    Operation,
    RemoteRepository,
    Request,
    checked,
    gone_or_done,
    quoted,
    token_of,
)
from algorium_server.domain.errors import OAuthCodeRefused, ScmRejectsCredentials
from algorium_server.domain.scms import ScmCredentials


class RestApi(ABC):
    """
    The common part of a provider's API.

    Attributes:
        provider: Its name, for messages.
        keys: What the path of deploy keys ends in, below a repository's.
        webhooks: The same of webhooks.
    """

    provider: ClassVar[str]
    keys: ClassVar[str]
    webhooks: ClassVar[str]

    def remove_repository(
        self, credentials: ScmCredentials, repository: RemoteRepository
    ) -> Operation[None]:
        """Delete it; see `ProviderApi`."""
        return self._remove(credentials, self._path(repository))

    def remove_deploy_key(
        self, credentials: ScmCredentials, repository: RemoteRepository, key_id: str
    ) -> Operation[None]:
        """Remove it; see `ProviderApi`."""
        return self._remove(credentials, f"{self._keys(repository)}/{quoted(key_id)}")

    def remove_webhook(
        self, credentials: ScmCredentials, repository: RemoteRepository, webhook_id: str
    ) -> Operation[None]:
        """Remove it; see `ProviderApi`."""
        return self._remove(credentials, f"{self._webhooks(repository)}/{quoted(webhook_id)}")

    @abstractmethod
    def _path(self, repository: RemoteRepository) -> str:
        """Return the path of a repository."""

    @abstractmethod
    def _request(
        self,
        credentials: ScmCredentials,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
    ) -> Request:
        """Return a request with the credentials in it; *path* begins behind the API's address."""

    def _keys(self, repository: RemoteRepository) -> str:
        return f"{self._path(repository)}/{self.keys}"

    def _webhooks(self, repository: RemoteRepository) -> str:
        return f"{self._path(repository)}/{self.webhooks}"

    def _ask(
        self,
        credentials: ScmCredentials,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
    ) -> Operation[Any]:
        answer: Answer = yield self._request(credentials, method, path, body)
        return checked(answer, provider=self.provider)

    def _remove(self, credentials: ScmCredentials, path: str) -> Operation[None]:
        answer = yield self._request(credentials, "DELETE", path)
        gone_or_done(answer, provider=self.provider)


class OAuthTokens(RestApi):
    """
    Codes for tokens, and tokens for the next ones.

    Attributes:
        refusals: What an answer says of a code or token that is not, or no more, accepted.
    """

    refusals: ClassVar[frozenset[str]] = frozenset({"invalid_grant"})

    def exchange(
        self, code: str, *, secret: str, redirect_uri: str, now: datetime
    ) -> Operation[ScmCredentials]:
        """Get a token and the one that gets the next; see `OAuthApi`."""
        answer = yield self._token(
            secret, grant_type="authorization_code", code=code, redirect_uri=redirect_uri
        )
        if self._is_refused(answer):
            raise OAuthCodeRefused(f"{self.provider} does not accept the code: connect once more")
        return token_of(checked(answer, provider=self.provider), provider=self.provider, now=now)

    def refresh(
        self, credentials: ScmCredentials, *, secret: str, now: datetime
    ) -> Operation[ScmCredentials]:
        """Get the next token; the one before ends."""
        answer = yield self._token(
            secret, grant_type="refresh_token", refresh_token=credentials.refresh_token
        )
        if self._is_refused(answer):
            raise ScmRejectsCredentials(
                f"{self.provider} has ended the connection: connect once more"
            )
        return token_of(checked(answer, provider=self.provider), provider=self.provider, now=now)

    @abstractmethod
    def _token(self, secret: str, **fields: str) -> Request:
        """Return a request to the token endpoint, with the application's id and secret."""

    def _is_refused(self, answer: Answer) -> bool:
        value = answer.value()
        return (
            answer.status in {400, 401}
            and isinstance(value, dict)
            and value.get("error") in self.refusals
        )


def basic(username: str, password: str) -> str:
    """Return the header value that shows a name and a password."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def proof(credentials: ScmCredentials) -> Mapping[str, str]:
    """Return the header that shows credentials: name and password if there are any, or a token."""
    if credentials.password:
        return {"Authorization": basic(credentials.username, credentials.password)}
    return {"Authorization": f"Bearer {credentials.token}"}
