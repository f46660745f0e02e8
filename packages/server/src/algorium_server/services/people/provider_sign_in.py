"""
Signing in at an identity provider with a browser: there with a question, back with a code.

What has to be the same on both ways is sealed and kept by the browser in a cookie, so strangers who
begin and never come back cost nothing here, and any gateway can take the end of what another one
began: a *state* that the provider hands back, a *nonce* that stands in the token, and a *verifier*
of PKCE, without which a stolen code is of no use.

Source: OpenID Connect Core 1.0, "Authorization Code Flow"; RFC 7636 (PKCE), RFC 9207 (issuers).
"""

import base64
import binascii
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core.claims import CodeIDToken
from joserfc.errors import JoseError

from algorium_server.domain.errors import (
    InternalError,
    InvalidRequest,
    NotAuthenticated,
    Unavailable,
)
from algorium_server.domain.federation import claim_of, read_claims
from algorium_server.domain.identity import Account
from algorium_server.domain.limits import SIGN_IN_S_MAX, TOKEN_CLOCK_SKEW_S
from algorium_server.domain.sessions import check_return_to
from algorium_server.sealing import Seal
from algorium_server.services.people.federation import Federation
from algorium_server.services.people.identity_provider import IdentityProvider
from algorium_server.services.people.tokens import ALGORITHM, verified

_SEAL_NAME: Final = "sign-in at an identity provider"
_AGAIN: Final = "Begin once more at /v1/session/oidc/start."


class _Begun(msgspec.Struct):
    state: str
    nonce: str
    verifier: str
    return_to: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """
    The first half of a sign-in.

    Attributes:
        url: The provider's page.
        browser: What the browser keeps, and shows when it comes back.
    """

    url: str
    browser: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """What a browser brings back; empty where it brings nothing."""

    code: str = ""
    state: str = ""
    issuer: str = ""
    error: str = ""
    browser: str = ""


class ProviderSignIn:
    """
    Use cases of signing in at an identity provider.

    Args:
        provider: Which one.
        federation: Turns claims into accounts.
        seal: Seals what browsers keep.
        api: Base address of this server, which the provider sends browsers back to.
        clock: Says what time it is.
    """

    def __init__(
        self,
        provider: IdentityProvider,
        federation: Federation,
        seal: Seal,
        *,
        api: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._provider = provider
        self._federation = federation
        self._seal = seal
        self._redirect_uri = f"{api}/v1/session/oidc/finish"
        self._clock = clock

    async def start(self, return_to: str) -> Departure:
        """
        Begin.

        Args:
            return_to: Path on this server where the browser goes in the end.

        Raises:
            InvalidInput: It is none.
            Unavailable: The provider does not answer as it should.
        """
        begun = _Begun(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            return_to=check_return_to(return_to or "/"),
            until=self._clock().timestamp() + SIGN_IN_S_MAX,
        )
        settings = self._provider.settings
        url = prepare_grant_uri(
            await self._provider.endpoint("authorization_endpoint"),
            settings.client_id,
            "code",
            redirect_uri=self._redirect_uri,
            scope=settings.scope,
            state=begun.state,
            nonce=begun.nonce,
            code_challenge=create_s256_code_challenge(begun.verifier),
            code_challenge_method="S256",
        )
        sealed = self._seal.seal(msgspec.json.encode(begun), owner="", name=_SEAL_NAME)
        return Departure(url=url, browser=base64.urlsafe_b64encode(sealed).rstrip(b"=").decode())

    async def finish(self, back: Return) -> tuple[Account, str]:
        """
        End what this browser began; return who it is, and where the browser goes.

        Raises:
            InvalidRequest: The browser did not begin, or too long ago, or the provider refuses.
            NotAuthenticated: What the provider says does not do.
            Unavailable: It does not answer as it should.
        """
        begun = self._begun(back)
        settings = self._provider.settings
        if back.issuer and back.issuer != settings.issuer:
            raise InvalidRequest("The answer is from another identity provider.", hint=_AGAIN)
        if back.error or not back.code:
            words = "".join(letter for letter in back.error[:200] if letter.isprintable())
            raise InvalidRequest(
                f"The identity provider says: {words}" if words else "code is missing", hint=_AGAIN
            )
        answer = await self._provider.exchange(
            back.code, redirect_uri=self._redirect_uri, verifier=begun.verifier
        )
        claims = await self._claims(answer, begun.nonce)
        said = read_claims(claims, settings.rules, now=self._clock())
        return await self._federation.account_of(said), begun.return_to

    def _begun(self, back: Return) -> _Begun:
        try:
            padded = back.browser + "=" * (-len(back.browser) % 4)
            sealed = base64.urlsafe_b64decode(padded.encode("ascii", "replace"))
            opened = self._seal.unseal(sealed, owner="", name=_SEAL_NAME)
            begun = msgspec.json.decode(opened, type=_Begun)
        except (binascii.Error, ValueError, InternalError, msgspec.DecodeError):
            raise InvalidRequest("This browser did not begin to sign in.", hint=_AGAIN) from None
        if begun.until < self._clock().timestamp():
            raise InvalidRequest("Signing in took too long.", hint=_AGAIN)
        if not secrets.compare_digest(back.state.encode("utf-8", "replace"), begun.state.encode()):
            raise InvalidRequest(
                "state is not what this browser began with; another tab may have.", hint=_AGAIN
            )
        return begun

    async def _claims(self, answer: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """Return what the provider says of the user, in the token and, if that lacks it, beside."""
        settings = self._provider.settings
        token, access_token = answer.get("id_token"), answer.get("access_token")
        if not isinstance(token, str):
            raise Unavailable(
                "The identity provider gave no ID token.", hint="Is openid in --oidc-scope?"
            )
        now = self._clock().timestamp()
        claims = await verified(
            token, provider=self._provider, audience=settings.client_id, now=now
        )
        try:
            CodeIDToken(
                claims,
                {"alg": ALGORITHM},
                params={
                    "nonce": nonce,
                    "client_id": settings.client_id,
                    "access_token": access_token,
                },
            ).validate(now=int(now), leeway=int(TOKEN_CLOCK_SKEW_S))
        except (JoseError, ValueError, TypeError) as error:
            raise NotAuthenticated(
                "The identity provider's token is not for this sign-in.",
                hint=_AGAIN,
                detail=str(error)[:500],
            ) from None
        rules = settings.rules
        wanted = [
            name for name in (rules.username_claim, rules.email_claim, rules.group_claim) if name
        ]
        if isinstance(access_token, str) and any(claim_of(claims, name) is None for name in wanted):
            more = await self._provider.user_info(access_token)
            if more and more.get("sub") != claims.get("sub"):
                raise NotAuthenticated("The identity provider speaks of two users.", hint=_AGAIN)
            claims = {**more, **claims}
        return claims
