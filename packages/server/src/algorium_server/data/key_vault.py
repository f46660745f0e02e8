"""
Values of secrets in an Azure Key Vault.

Names there are letters, digits and hyphens, and a deleted one is taken for months; so an entry is
called by the secret's id, and the variable is its tag.

Source: Azure Key Vault, REST API: "Get Secret", "Set Secret", "Delete Secret"; Microsoft identity
platform, "OAuth 2.0 client credentials flow".
"""

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from algorium_server.data.refusals import Scrubber
from algorium_server.data.requests import Answer, Requests
from algorium_server.domain.errors import PathNotFound, SourceFailed
from algorium_server.domain.secrets import Place

_VERSION: Final = "api-version=7.4"
_SCOPE: Final = "https://vault.azure.net/.default"
_EARLY_S: Final = 120.0
"""A token is replaced before its end, so that none ends on the way."""


class KeyVault:
    """
    A key vault.

    Args:
        configuration: What `check_configuration` has checked.
        address: Where the vault is.
        authority: Where tokens come from.
    """

    def __init__(self, configuration: Mapping[str, str], *, address: str, authority: str) -> None:
        self._configuration = configuration
        self._address = address.rstrip("/")
        self._authority = authority.rstrip("/")
        self._scrub = Scrubber([configuration["client_secret"]])
        self._requests = Requests("key vault", self._scrub)
        self._token = ""
        self._ends_at = 0.0

    async def read(self, place: Place) -> str:
        """
        Return a value.

        Raises:
            PathNotFound: There is none.
        """
        answer = await self._ask("GET", place)
        if answer.status == 404:
            raise PathNotFound(f"there is no value at {self.address_of(place)}")
        value = _content(answer).get("value")
        if not isinstance(value, str):
            raise SourceFailed(f"{self.address_of(place)} holds no text")
        return value

    async def write(self, place: Place, value: str) -> None:
        """Keep a value instead of what was there."""
        tags = {"algorithm": place.algorithm_id, "variable": place.secret_key}
        await self._ask("PUT", place, msgspec.json.encode({"value": value, "tags": tags}))

    async def remove(self, place: Place) -> None:
        """Forget a value; the vault keeps it for as long as it was told to."""
        await self._ask("DELETE", place)

    def address_of(self, place: Place) -> str:
        """Return the name of the entry."""
        return f"algorium-{place.secret_id}"

    async def close(self) -> None:
        """Close the connections."""
        await self._requests.close()

    async def _ask(self, method: str, place: Place, body: bytes = b"") -> Answer:
        headers = {"Authorization": f"Bearer {await self._current_token()}"}
        if body:
            headers["Content-Type"] = "application/json"
        url = f"{self._address}/secrets/{quote(self.address_of(place))}?{_VERSION}"
        answer = await self._requests.send(method, url, headers=headers, body=body)
        if 200 <= answer.status < 300 or (answer.status == 404 and method != "PUT"):
            return answer
        raise self._refusal(answer)

    async def _current_token(self) -> str:
        if time.monotonic() < self._ends_at:
            return self._token
        form = {
            "grant_type": "client_credentials",
            "client_id": self._configuration["client_id"],
            "client_secret": self._configuration["client_secret"],
            "scope": _SCOPE,
        }
        tenant = quote(self._configuration["tenant_id"], safe="")
        answer = await self._requests.send(
            "POST",
            f"{self._authority}/{tenant}/oauth2/v2.0/token",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
        )
        content = _content(answer)
        token, ends_in = content.get("access_token"), content.get("expires_in")
        if answer.status != 200 or not isinstance(token, str) or not isinstance(ends_in, int):
            words = self._scrub(str(content.get("error", f"status {answer.status}")))
            raise SourceFailed(f"the client's credentials are refused: {words}")
        self._token, self._ends_at = token, time.monotonic() + max(ends_in - _EARLY_S, 0.0)
        return token

    def _refusal(self, answer: Answer) -> SourceFailed:
        error = _content(answer).get("error")
        error = error if isinstance(error, dict) else {}
        said = error.get("message") or error.get("code")
        words = self._scrub(str(said or f"status {answer.status}")).replace(self._token, "***")
        if answer.status in {401, 403}:
            return SourceFailed(f"the key vault refuses the client: {words}")
        return SourceFailed(f"the key vault answers: {words}")


def _content(answer: Answer) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(answer.body) if answer.body else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SourceFailed("what answers there is no key vault: its answer is not JSON") from None
    return content if isinstance(content, dict) else {}
