"""
Operations of providers over HTTP: the only module here that knows the HTTP library.

Answers are read up to a limit, redirections are not followed: an address that an administrator gave
could lead to one that nobody did. What goes wrong is told without secrets: libraries quote
requests, and requests hold tokens.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

import httpx2

from algorium_server.build.providers.bitbucket_cloud import BitbucketCloud
from algorium_server.build.providers.bitbucket_server import BitbucketServer
from algorium_server.build.providers.github import GitHub
from algorium_server.build.providers.gitlab import GitLab
from algorium_server.build.providers.provider import (
    Answer,
    OAuthApi,
    Operation,
    ProviderApi,
    Request,
)
from algorium_server.domain.errors import AlgoriumError, OAuthUnsupported, ScmFailed, ScmUnreachable
from algorium_server.domain.limits import SCM_ANSWER_BYTES_MAX, SCM_ANSWER_S_MAX, SCM_CONNECT_S
from algorium_server.domain.scms import Provider, Scm

T = TypeVar("T")

_SECRET_CHARS_MIN: Final = 6
"""Shorter values are no secrets, and striking them out would only garble words."""


def api_of(scm: Scm) -> ProviderApi:
    """Return the API of a host."""
    match scm.provider:
        case Provider.GITHUB:
            return GitHub(scm)
        case Provider.GITLAB:
            return GitLab(scm)
        case Provider.BITBUCKET_CLOUD:
            return BitbucketCloud(scm)
    return BitbucketServer(scm)


def oauth_of(scm: Scm) -> OAuthApi:
    """
    Return what connects accounts with a host in a browser.

    Raises:
        OAuthUnsupported: This one is not connected so.
    """
    match scm.provider:
        case Provider.GITHUB:
            return GitHub(scm)
        case Provider.GITLAB:
            return GitLab(scm)
        case Provider.BITBUCKET_CLOUD:
            return BitbucketCloud(scm)
    raise OAuthUnsupported(
        f"{scm.provider.label} is connected with a token or a password, not in a browser",
        hint=f"POST them to /v1/scms/{scm.scm_id}/token/connect.",
    )


class Caller:
    """
    Drives operations. One for all hosts; close it once.

    Args:
        check: Raises an error if an address may not be reached.
    """

    def __init__(self, check: Callable[[str], Awaitable[None]] | None = None) -> None:
        self._check = check
        self._client: httpx2.AsyncClient | None = None

    async def run(self, operation: Operation[T], *, secrets: Iterable[str] = ()) -> T:
        """
        Do what an operation asks, until it returns.

        Args:
            operation: Fresh.
            secrets: What errors must not show, should the host repeat it.

        Raises:
            AlgoriumError: The host refused, failed, or does not answer.
        """
        hidden = [text for text in secrets if len(text) >= _SECRET_CHARS_MIN]
        try:
            request = next(operation)
            while True:
                request = operation.send(await self._send(request))
        except StopIteration as end:
            result: T = end.value
            return result
        except AlgoriumError as error:
            if not any(text in error.message for text in hidden):
                raise
            message = error.message
            for text in hidden:
                message = message.replace(text, "***")
            raise type(error)(message) from None

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _send(self, request: Request) -> Answer:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                timeout=httpx2.Timeout(SCM_ANSWER_S_MAX, connect=SCM_CONNECT_S),
                follow_redirects=False,
            )
        if self._check is not None:
            await self._check(request.url)
        host = httpx2.URL(request.url).host
        try:
            async with asyncio.timeout(SCM_ANSWER_S_MAX):
                return await self._exchange(self._client, request)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            reason = "in time" if isinstance(error, TimeoutError) else f"({type(error).__name__})"
            raise ScmUnreachable(f"{host} does not answer {reason}") from None

    async def _exchange(self, client: httpx2.AsyncClient, request: Request) -> Answer:
        built = client.build_request(
            request.method,
            request.url,
            headers=dict(request.headers),
            json=request.json,
            data=dict(request.form) if request.form is not None else None,
        )
        response = await client.send(built, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > SCM_ANSWER_BYTES_MAX:
                    raise ScmFailed(f"the answer of {built.url.host} is too long")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(status=response.status_code, body=bytes(body), headers=headers)
        finally:
            await response.aclose()
