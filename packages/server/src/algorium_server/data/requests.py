"""
Single requests to a source: those that obstore has no function for.

Answers are small, and read up to a limit; redirections are not followed, since an address that was
allowed could lead to one that is not.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import httpx2

from algorium_server.data.refusals import Scrubber, failure, refusal
from algorium_server.domain.errors import InvalidInput, SourceFailed
from algorium_server.domain.limits import (
    SOURCE_ANSWER_S_MAX,
    SOURCE_CONNECT_S,
    SOURCE_LISTING_BYTES_MAX,
    SOURCE_STALL_S,
)

_CONTEXTS_MAX: Final = 16
"""Different authorities that are remembered: an installation has one or two of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Requests:
    """
    A client for one source.

    Args:
        protocol: Which kind of source, for messages.
        scrub: Knows its secrets.
        ca_certificate: PEM of an authority to trust as well; may be empty.
    """

    def __init__(self, protocol: str, scrub: Scrubber, *, ca_certificate: str = "") -> None:
        self._protocol = protocol
        self._scrub = scrub
        self._client = httpx2.AsyncClient(
            verify=trusting(ca_certificate),
            timeout=httpx2.Timeout(SOURCE_STALL_S, connect=SOURCE_CONNECT_S),
            follow_redirects=False,
        )
        self._active = 0
        self._is_retired = False

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes = b""
    ) -> Answer:
        """
        Send a request and return the answer, whatever its status.

        Raises:
            SourceFailed: None came, or one that is too long.
        """
        self._active += 1
        try:
            async with asyncio.timeout(SOURCE_ANSWER_S_MAX):
                return await self._send(method, url, headers=headers, body=body)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            raise failure(self._protocol, error, self._scrub) from None
        finally:
            self._active -= 1
            if self._is_retired and not self._active:
                await self._client.aclose()

    def checked(self, answer: Answer) -> Answer:
        """
        Return *answer* if it is a success.

        Raises:
            AlgoriumError: It is not; what the source said, see `refusals`.
        """
        if 200 <= answer.status < 300:
            return answer
        text = answer.body.decode("utf-8", "replace")
        raise refusal(self._protocol, answer.status, text, self._scrub)

    async def close(self) -> None:
        """Close the connections once nobody uses them any more."""
        self._is_retired = True
        if not self._active:
            await asyncio.shield(self._client.aclose())

    async def _send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        request = self._client.build_request(method, url, headers=dict(headers), content=body)
        response = await self._client.send(request, stream=True)
        try:
            read = bytearray()
            async for chunk in response.aiter_bytes():
                read += chunk
                if len(read) > SOURCE_LISTING_BYTES_MAX:
                    raise SourceFailed(f"{self._protocol}: the source's answer is too long")
            return Answer(
                status=response.status_code, body=bytes(read), headers=dict(response.headers)
            )
        finally:
            await response.aclose()


@lru_cache(maxsize=_CONTEXTS_MAX)
def trusting(ca_certificate: str) -> ssl.SSLContext:
    """
    Return a context that trusts the usual authorities and one more; not to be changed.

    Reading the usual ones takes some hundredths of a second, in which nothing else runs.

    Raises:
        InvalidInput: The certificate is none.
    """
    context = ssl.create_default_context()
    if ca_certificate:
        try:
            context.load_verify_locations(cadata=ca_certificate)
        except (ssl.SSLError, TypeError, ValueError):  # TypeError: it is not ASCII
            raise InvalidInput("options.ca_certificate must be a certificate in PEM") from None
    return context
