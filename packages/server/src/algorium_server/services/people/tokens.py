"""
Signed tokens (JWT) that programs show instead of a key: verified once, then known until they end.

They end as well when their user is no longer linked to what they name, whoever has changed that.

RS256 alone, whatever a token says of itself; its key is one that the identity provider publishes.

Source: wire specification, "JWT, SAML, OIDC"; RFC 7519, 8725.
"""

import base64
import binascii
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry

from algorium_server.domain.errors import NotAuthenticated
from algorium_server.domain.federation import read_claims
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import TOKEN_BYTES_MAX, TOKEN_CLOCK_SKEW_S, TOKENS_KEPT_MAX
from algorium_server.services.directory import Directory
from algorium_server.services.people.federation import Federation
from algorium_server.services.people.identity_provider import IdentityProvider
from algorium_server.telemetry import logger

ALGORITHM: Final = "RS256"
_REGISTRY: Final = JWSRegistry(algorithms=[ALGORITHM], strict_check_header=False)
_LOOKS_MAX: Final = 3
"""If links keep changing while one is looked up, the token is looked at again the next time."""
_HINT: Final = "Get a new token from your identity provider, or use an API key."

_log = logger(__name__)


class _Verified(NamedTuple):
    """
    A token that is known.

    Attributes:
        external_id: By which its user was found.
        until: When it ends, in seconds since 1970.
    """

    account_id: str
    external_id: str
    until: float


class Tokens:
    """
    Tokens of one installation.

    Args:
        provider: Has the keys.
        federation: Turns claims into accounts.
        directory: Who there is.
        now: Seconds since 1970.
    """

    def __init__(
        self,
        provider: IdentityProvider,
        federation: Federation,
        directory: Directory,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._provider = provider
        self._federation = federation
        self._directory = directory
        self._now = now
        self._known: OrderedDict[bytes, _Verified] = OrderedDict()

    def principal(self, token: str) -> Principal | None:
        """Return whose token it is, None if it is not known, or has ended; reads memory only."""
        verified = self._known.get(_digest(token))
        if verified is None or verified.until <= self._now():
            return None
        if self._directory.links.of(verified.account_id) != verified.external_id:
            return None  # whose it is has to be found out again
        account = self._directory.account(verified.account_id)
        if account is None or account.is_disabled:
            return None
        return self._directory.principal_of(account)

    async def learn(self, token: str) -> None:
        """
        Verify a token, bring its user's rights to what it says, and know it from now on.

        Raises:
            NotAuthenticated: It is none of ours, has ended, or says too little.
            Unavailable: The identity provider or the database does not answer.
        """
        claims = await verified(
            token,
            provider=self._provider,
            audience=self._provider.settings.audience,
            now=self._now(),
        )
        said = read_claims(
            claims,
            self._provider.settings.rules,
            now=datetime.fromtimestamp(self._now(), UTC),
        )
        for _ in range(_LOOKS_MAX):
            links = self._directory.links
            revision = links.revision
            account = await self._federation.account_of(said)
            if links.of(account.account_id) == said.external_id:
                break
            if links.revision == revision:  # another gateway has just linked it
                links.put(account.account_id, said.external_id)
                break
        self._known[_digest(token)] = _Verified(
            account.account_id, said.external_id, claims["exp"] + TOKEN_CLOCK_SKEW_S
        )
        while len(self._known) > TOKENS_KEPT_MAX:
            self._known.popitem(last=False)


async def verified(
    token: str, *, provider: IdentityProvider, audience: str, now: float
) -> dict[str, Any]:
    """
    Return the claims of a token that the provider signed for *audience*, and that has not ended.

    Raises:
        NotAuthenticated: Anything else.
        Unavailable: The provider's keys cannot be had.
    """
    if len(token) > TOKEN_BYTES_MAX:
        raise NotAuthenticated("The token is too long.")
    header = _header_of(token)
    if header.get("alg") != ALGORITHM:
        raise _refusal(f"it must be signed with {ALGORITHM}")
    key = await provider.key(header)
    try:
        claims = _claims_of(token, key)
        jwt.JWTClaimsRegistry(
            now=int(now),
            leeway=int(TOKEN_CLOCK_SKEW_S),
            iss={"essential": True, "value": provider.settings.issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
        ).validate(claims)
    except ExpiredTokenError:
        raise _refusal("it has expired") from None
    except (InvalidClaimError, MissingClaimError) as error:
        _log.info("a token was refused", reason=str(error), issuer=str(claims.get("iss"))[:200])
        raise _refusal(f"the claim {_claim_in(error)} is missing or wrong") from None
    except (JoseError, ValueError, RecursionError) as error:
        raise _refusal("its signature or form is wrong", detail=str(error)[:500]) from None
    return claims


def _claims_of(token: str, key: RSAKey) -> dict[str, Any]:
    return jwt.decode(token, key, registry=_REGISTRY).claims


def _claim_in(error: JoseError) -> str:
    names = [name for name in ("iss", "aud", "exp", "nbf", "iat", "sub") if name in str(error)]
    return names[0] if names else "that is needed"


def _header_of(token: str) -> Mapping[str, Any]:
    first = token.partition(".")[0]
    try:
        raw = base64.urlsafe_b64decode(first + "=" * (-len(first) % 4))
        header = msgspec.json.decode(raw)
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        header = None
    if not isinstance(header, dict) or not all(
        isinstance(header.get(name, ""), str) for name in ("alg", "kid", "x5t")
    ):
        raise _refusal("it is not readable")
    return header


def _refusal(why: str, *, detail: str = "") -> NotAuthenticated:
    return NotAuthenticated(f"The token is refused: {why}.", hint=_HINT, detail=detail)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
