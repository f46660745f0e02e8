"""
Credentials: from what a request shows to a principal.

| shown | whose |
|---|---|
| `Authorization` with an API key | the key's account, as far as the key goes |
| `Authorization: Bearer` with a signed token | the user's that the identity provider names |
| the cookie `ALGO_SESSION`, without `Authorization` | the user's who signed in with this browser |

Every spelling of the old clients is read: `Simple KEY`, the bare key, `Bearer KEY`, the scheme in
any case; an empty value is the same as none. A browser sends its cookie whoever made it ask, so
what changes something also needs the header `X-CSRF-Token`.

Source: wire specification, "Common request rules", "Authorization", "Cookie"; "JWT, SAML, OIDC".
"""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from algorium_server.api.http import Scope, header
from algorium_server.domain.errors import NotAuthenticated, NotAuthorized
from algorium_server.domain.identity import Principal
from algorium_server.domain.sessions import COOKIE, SAFE_METHODS, is_csrf_token, is_from_elsewhere
from algorium_server.origin import NOWHERE, origin
from algorium_server.services.audit_trail import Sightings
from algorium_server.services.directory import Directory

PRINCIPAL_KEY: Final = "algorium.principal"
"""Where the scope of a request from a slot carries a function: who the slot acts as right now."""

_CACHED_MAX: Final = 10_000
"""Header values kept with their principal. Only known keys are kept, so strangers add none."""
_SCHEMES: Final = frozenset({"simple", "bearer"})
_TOKEN_BEGINNING: Final = "eyJ"  # noqa: S105 - of all of them
"""Of a signed token: `{"` in base64."""
_COOKIE: Final = f"{COOKIE}=".encode()


class SignedTokens(Protocol):
    """Who signed tokens belong to: `services/people/tokens`."""

    def principal(self, token: str) -> Principal | None:
        """Return whose token it is, None if it is not known; reads memory only."""

    async def learn(self, token: str) -> None:
        """Verify a token, and know it from now on; raise if it is refused."""


class Credentials:
    """
    Who sends a request. Reads memory only, so it may be asked for every call.

    Args:
        directory: Who there is.
        tokens: Knows signed tokens; None where there is no identity provider.
        public_url: Where browsers reach this server.
        catch_up: Brings in what other gateways have written, such as a new key; None if nobody
            else writes.

    Attributes:
        used_keys: Ids of the keys that were shown since somebody has emptied it.
        sightings: From where they were.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        tokens: SignedTokens | None = None,
        public_url: str = "",
        catch_up: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.used_keys: set[str] = set()
        self.sightings = Sightings()
        self._directory = directory
        self._tokens = tokens
        self._public_url = public_url
        self._catch_up = catch_up
        self._cached: dict[bytes, Principal] = {}
        self._generation = directory.generation

    def principal(self, scope: Scope) -> Principal:
        """
        Return who sends the request.

        Inside a slot it is whoever the call in flight belongs to, unless the algorithm shows a
        known key of its own; between calls nobody may ask at all.

        Raises:
            NotAuthenticated: No credentials, or none that are known.
            NotAuthorized: A cookie, but nothing that shows that its user wants this.
        """
        known = self._known(scope)
        self.note(scope, known)
        return known

    def note(self, scope: Scope, principal: Principal) -> None:
        """Note who sends a request, for what is recorded of it; costs next to nothing."""
        here = origin.get()
        if here is not NOWHERE:
            here.principal = principal
        if scope.get(PRINCIPAL_KEY) is None and (client := scope.get("client")):
            self.sightings.see(principal, client[0])

    def _known(self, scope: Scope) -> Principal:
        raw = header(scope, b"authorization")
        in_slot = scope.get(PRINCIPAL_KEY)
        inside: Principal | None = in_slot() if in_slot is not None else None
        if in_slot is not None and inside is None:
            raise NotAuthenticated("authorization required")
        known = self._of_header(raw) if raw else None
        if known is not None:
            if known.key is not None:
                self.used_keys.add(known.key.key_id)
            return known
        if inside is not None:
            return inside
        if not raw or not parse_authorization(raw):
            by_cookie = self._of_cookie(scope)
            if by_cookie is not None:
                return by_cookie
            raise NotAuthenticated("authorization required")
        by_token = self._of_token(raw)
        if by_token is not None:
            return by_token
        raise NotAuthenticated("Unknown or invalid API key.")

    async def asking(self, scope: Scope) -> Principal:
        """
        Return who sends the request, and verify a signed token that is new.

        What is not known here may have been made by another gateway a moment ago, so that is looked
        up, once; whoever is known waits for nothing.

        Raises:
            NotAuthenticated: No credentials, or none that are accepted.
            NotAuthorized: See `principal`.
            Unavailable: The identity provider or the database does not answer.
        """
        try:
            return self.principal(scope)
        except NotAuthenticated:
            if not await self.learn(scope):
                if self._catch_up is None or not self._shows_something(scope):
                    raise
                await self._catch_up()
        return self.principal(scope)

    async def learn(self, scope: Scope) -> bool:
        """
        Verify the signed token of a request, so that `principal` knows it.

        Returns:
            Whether there is one.

        Raises:
            NotAuthenticated: It is refused.
            Unavailable: The identity provider does not answer.
        """
        raw = header(scope, b"authorization")
        if self._tokens is None or raw is None or not _is_token(raw):
            return False
        if scope.get(PRINCIPAL_KEY) is not None:
            return False  # an algorithm is whoever it works for
        await self._tokens.learn(parse_authorization(raw))
        return True

    def cookie(self, scope: Scope) -> str:
        """Return the value of the session's cookie, empty without one."""
        for name, value in scope["headers"]:
            if name == b"cookie":
                for part in value.split(b";"):
                    stripped = part.strip()
                    if stripped.startswith(_COOKIE):
                        return stripped[len(_COOKIE) :].decode("latin-1")  # type: ignore[no-any-return]  # ASGI: always bytes
        return ""

    def check_page(self, scope: Scope) -> None:
        """
        Refuse what a page of somebody else makes a browser ask.

        Raises:
            NotAuthorized: The browser says that it is so.
        """
        origin, fetch_site = header(scope, b"origin"), header(scope, b"sec-fetch-site")
        if is_from_elsewhere(
            origin=None if origin is None else origin.decode("latin-1"),
            fetch_site=None if fetch_site is None else fetch_site.decode("latin-1"),
            host=(header(scope, b"host") or b"").decode("latin-1"),
            public_url=self._public_url,
        ):
            raise NotAuthorized(
                "A page of another site has made your browser ask for this, so it is refused.",
                hint="Pages elsewhere use an API key. If this page is the server's own, its address"
                " must be that of --public-url.",
            )

    def _shows_something(self, scope: Scope) -> bool:
        """Whether a request from outside of slots shows a key or a cookie at all."""
        if scope.get(PRINCIPAL_KEY) is not None:
            return False  # between calls nobody may ask
        raw = header(scope, b"authorization")
        return bool((raw and parse_authorization(raw)) or self.cookie(scope))

    def _of_cookie(self, scope: Scope) -> Principal | None:
        cookie = self.cookie(scope)
        known = self._directory.principal_of_cookie(cookie) if cookie else None
        if known is None or scope["method"] in SAFE_METHODS:
            return known
        self.check_page(scope)
        token = header(scope, b"x-csrf-token") or b""
        if not is_csrf_token(token.decode("latin-1"), cookie):
            raise NotAuthorized(
                "The header X-CSRF-Token is missing or not that of your session.",
                hint="GET /v1/session tells it as csrf_token; send it with everything that is not"
                " GET or HEAD. Programs use an API key, and need none.",
            )
        return known

    def _of_token(self, raw: bytes) -> Principal | None:
        if self._tokens is None or not _is_token(raw):
            return None
        return self._tokens.principal(parse_authorization(raw))

    def _of_header(self, raw: bytes) -> Principal | None:
        if self._generation != self._directory.generation:
            self._cached.clear()
            self._generation = self._directory.generation
        known = self._cached.get(raw)
        if known is None:
            secret = parse_authorization(raw)
            known = self._directory.principal_of_key(secret) if secret else None
            if known is not None:
                if len(self._cached) >= _CACHED_MAX:
                    self._cached.clear()
                self._cached[raw] = known
        return known


def parse_authorization(raw: bytes) -> str:
    """Return the key or token in a header value, empty if it holds none."""
    text = raw.decode("latin-1").strip()
    scheme, _, rest = text.replace("\t", " ").partition(" ")
    return rest.strip() if scheme.lower() in _SCHEMES else text


def _is_token(raw: bytes) -> bool:
    """Whether a header value may hold a signed token: three parts behind `Bearer`."""
    return (
        raw[:6].lower() == b"bearer"
        and raw.count(b".") == 2
        and parse_authorization(raw).startswith(_TOKEN_BEGINNING)
    )
