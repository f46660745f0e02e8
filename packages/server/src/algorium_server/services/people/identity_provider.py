"""
An identity provider over HTTP: what it says of itself, its keys, and codes turned into tokens.

The only module that asks it anything. Answers are read up to a limit and redirections are not
followed. Its keys are read when one is needed that is not known, but not more often than every
`IDENTITY_KEYS_PAUSE_S`: whoever invents names of keys must not make us ask for each.

Source: OpenID Connect Discovery 1.0; RFC 7517 (keys), 6749 and 7636 (codes), 9207 (issuers).
"""

import asyncio
import base64
import binascii
import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx2
import msgspec
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_token_request
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from algorium_server.domain.errors import AlgoriumError, NotAuthenticated, Unavailable
from algorium_server.domain.federation import ProviderSettings, is_safe_address
from algorium_server.domain.limits import (
    IDENTITY_ANSWER_BYTES_MAX,
    IDENTITY_ANSWER_S_MAX,
    IDENTITY_KEYS_MAX,
    IDENTITY_KEYS_PAUSE_S,
    IDENTITY_KEYS_S_MAX,
)
from algorium_server.telemetry import logger

_RSA_BITS_MIN: Final = 2048
"""RFC 7518 refuses shorter keys for RS256."""
_WELL_KNOWN: Final = "/.well-known/openid-configuration"

_log = logger(__name__)


class _Keys:
    """Keys for RS256 by their names: `kid`, and `x5t` of a certificate."""

    def __init__(self) -> None:
        self.by_name: dict[tuple[str, str], RSAKey] = {}
        self.read_at = float("-inf")
        self.tried_at = float("-inf")


class _ClientRefused(NotAuthenticated):
    """The provider does not take this server for its client."""


class IdentityProvider:
    """
    The identity provider of an installation.

    Args:
        settings: What is known of it.
        now: Monotonic seconds.
    """

    def __init__(
        self, settings: ProviderSettings, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self._now = now
        self._keys = _Keys()
        self._reading = asyncio.Lock()
        self._described: Mapping[str, Any] | None = None
        self._describing = asyncio.Lock()
        self._described_tried_at = float("-inf")
        self._client: httpx2.AsyncClient | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def described(self) -> Mapping[str, Any]:
        """
        Return the provider's discovery document, read once.

        Raises:
            Unavailable: It cannot be had, or is none of this issuer; or that was so a moment ago.
        """
        if self._described is not None:
            return self._described
        async with self._describing:  # strangers may begin to sign in as often as they like
            if self._described is None:
                if self._now() - self._described_tried_at < IDENTITY_KEYS_PAUSE_S:
                    raise Unavailable(
                        "The identity provider could not be reached a moment ago.",
                        hint="Try again, or sign in with a password.",
                        retry_after_s=int(IDENTITY_KEYS_PAUSE_S),
                    )
                self._described_tried_at = self._now()
                self._described = await self._description()
            return self._described

    async def endpoint(self, name: str) -> str:
        """
        Return an address out of the discovery document.

        Raises:
            Unavailable: There is none, or it is not safe.
        """
        return _checked((await self.described()).get(name), name)

    async def key(self, header: Mapping[str, Any]) -> RSAKey:
        """
        Return the key that the header of a token names.

        Raises:
            NotAuthenticated: The provider has none of that name.
            Unavailable: Its keys cannot be had.
        """
        names = [(kind, header[kind]) for kind in ("kid", "x5t") if header.get(kind)]
        if not names:
            raise NotAuthenticated("The token does not say which key it is signed with.")
        found = self._known(names)
        if found is None or self._now() - self._keys.read_at >= IDENTITY_KEYS_S_MAX:
            async with self._reading:
                found = self._known(names)
                if found is None or self._now() - self._keys.read_at >= IDENTITY_KEYS_S_MAX:
                    await self._read_keys()
                    found = self._known(names)
        if found is None:
            raise NotAuthenticated("The token is signed with a key that is not known.")
        return found

    async def exchange(self, code: str, *, redirect_uri: str, verifier: str) -> Mapping[str, Any]:
        """
        Turn a code into tokens.

        Raises:
            NotAuthenticated: The provider does not accept the code.
            Unavailable: It does not answer as it should.
        """
        url = await self.endpoint("token_endpoint")
        form = prepare_token_request(
            "authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=verifier
        )
        refused: AlgoriumError = NotAuthenticated()
        for auth in await self._client_auths():
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            _, headers, body = auth.prepare("POST", url, headers, form)
            try:
                return await self._json("POST", url, headers=headers, body=body, refusal=_refused)
            except _ClientRefused as error:  # before it has looked at the code
                refused = error
        raise refused

    async def user_info(self, access_token: str) -> Mapping[str, Any]:
        """
        Return what the provider says of the user of a token; empty if it says nothing there.

        Raises:
            Unavailable: It does not answer as it should.
        """
        url = (await self.described()).get("userinfo_endpoint")
        if not url:
            return {}
        headers = {"Authorization": f"Bearer {access_token}"}
        return await self._json("GET", _checked(url, "userinfo_endpoint"), headers=headers)

    async def _client_auths(self) -> list[ClientAuth]:
        """Return how to show the secret: nobody tells which way a client is registered for."""
        client_id, secret = self.settings.client_id, self.settings.client_secret
        if not secret:
            return [ClientAuth(client_id, "", "none")]
        # RFC 6749, section 2.3.1: both are encoded before they become a header.
        basic = ClientAuth(quote(client_id, safe=""), quote(secret, safe=""))
        in_body = ClientAuth(client_id, secret, "client_secret_post")
        methods = (await self.described()).get("token_endpoint_auth_methods_supported")
        if not isinstance(methods, list):
            return [basic]  # what every provider has to take, where nothing is said
        found = [basic] if "client_secret_basic" in methods else []
        return found + ([in_body] if "client_secret_post" in methods else []) or [basic]

    async def _description(self) -> Mapping[str, Any]:
        issuer = self.settings.issuer
        found = await self._json("GET", issuer.rstrip("/") + _WELL_KNOWN)
        if found.get("issuer") != issuer:
            raise Unavailable(
                "The identity provider calls itself otherwise than --oidc-issuer.",
                detail=f"{found.get('issuer')!r} instead of {issuer!r}",
            )
        return found

    def _known(self, names: list[tuple[str, Any]]) -> RSAKey | None:
        # A token that names two keys must mean the same one.
        found = {id(key): key for each in names if (key := self._keys.by_name.get(each))}
        return next(iter(found.values())) if len(found) == 1 else None

    async def _read_keys(self) -> None:
        """Read the keys anew, unless that was tried a moment ago; the old ones stay if it fails."""
        keys = self._keys
        if self._now() - keys.tried_at >= IDENTITY_KEYS_PAUSE_S:
            keys.tried_at = self._now()
            try:
                url = self.settings.jwks_url or await self.endpoint("jwks_uri")
                keys.by_name = _keys_of(await self._json("GET", url))
                keys.read_at = self._now()
            except AlgoriumError as error:
                _log.warning(
                    "the keys of the identity provider cannot be read; those known are used",
                    reason=error.message,
                    detail=error.detail,
                )
        if not keys.by_name:
            raise Unavailable(
                "The keys of the identity provider cannot be read now.",
                hint="Try again, or use an API key.",
                retry_after_s=int(IDENTITY_KEYS_PAUSE_S),
            )

    async def _json(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
        refusal: Callable[[Mapping[str, Any]], AlgoriumError] | None = None,
    ) -> Mapping[str, Any]:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                timeout=IDENTITY_ANSWER_S_MAX, follow_redirects=False, trust_env=True
            )
        failure = Unavailable(
            "The identity provider does not answer as it should.",
            hint="Try again; if it stays so, tell the administrator of this server.",
        )
        try:
            async with asyncio.timeout(IDENTITY_ANSWER_S_MAX):
                status, raw = await self._exchange(
                    self._client,
                    self._client.build_request(
                        method,
                        url,
                        headers={"Accept": "application/json", **(headers or {})},
                        content=body,
                    ),
                )
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            failure.detail = f"{method} {url}: {type(error).__name__}"
            raise failure from None
        try:
            found = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = None
        if refusal is not None and 400 <= status < 500 and isinstance(found, dict):
            raise refusal(found)
        if status != 200 or not isinstance(found, dict):
            failure.detail = f"{method} {url}: status {status}, {len(raw)} bytes"
            raise failure
        return found

    async def _exchange(
        self, client: httpx2.AsyncClient, request: httpx2.Request
    ) -> tuple[int, bytes]:
        response = await client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > IDENTITY_ANSWER_BYTES_MAX:
                    break  # cut JSON is none
            return response.status_code, bytes(body)
        finally:
            await response.aclose()


def _checked(url: Any, name: str) -> str:
    if not isinstance(url, str) or not is_safe_address(url):
        raise Unavailable(
            f"The identity provider names no address over https as {name}.", detail=f"{url!r}"
        )
    return url


def _refused(answer: Mapping[str, Any]) -> AlgoriumError:
    words = f"{answer.get('error', '')} {answer.get('error_description', '')}"
    kind = _ClientRefused if answer.get("error") == "invalid_client" else NotAuthenticated
    return kind(
        "The identity provider does not accept the sign-in: begin once more.",
        detail="".join(letter for letter in words[:500] if letter.isprintable()),
    )


def _keys_of(document: Mapping[str, Any]) -> dict[tuple[str, str], RSAKey]:
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise Unavailable("The identity provider has no list of keys.")
    found: dict[tuple[str, str], RSAKey] = {}
    for entry in entries[:IDENTITY_KEYS_MAX]:
        key = _rsa_key(entry)
        if key is None:
            continue
        if isinstance(entry.get("kid"), str) and entry["kid"]:
            found["kid", entry["kid"]] = key
        for thumbprint in _thumbprints(entry):
            found["x5t", thumbprint] = key
    return found


def _rsa_key(entry: Any) -> RSAKey | None:
    """Return the key of an entry, None if it is for something else than RS256."""
    if (
        not isinstance(entry, dict)
        or entry.get("kty") != "RSA"
        or entry.get("use", "sig") != "sig"
        or entry.get("alg", "RS256") != "RS256"
    ):
        return None
    try:
        key = RSAKey.import_key({"kty": "RSA", "n": str(entry["n"]), "e": str(entry["e"])})
        bits = key.public_key.key_size
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return key if bits >= _RSA_BITS_MIN else None


def _thumbprints(entry: Mapping[str, Any]) -> list[str]:
    found = [entry["x5t"]] if isinstance(entry.get("x5t"), str) else []
    chain = entry.get("x5c")
    if isinstance(chain, list) and chain and isinstance(chain[0], str):
        try:
            certificate = base64.b64decode(chain[0], validate=True)
        except (binascii.Error, ValueError):
            return found
        digest = hashlib.sha1(certificate, usedforsecurity=False).digest()
        found.append(base64.urlsafe_b64encode(digest).rstrip(b"=").decode())
    return found
