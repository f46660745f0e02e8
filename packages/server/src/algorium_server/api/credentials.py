"""
Credentials: from the `Authorization` header to a principal.

Every spelling of the old clients is read: `Simple KEY`, the bare key, `Bearer KEY`, the scheme in
any case; an empty value is the same as none. Signed tokens (JWT) are not understood yet: a
bearer token counts only if it is an API key.

Source: wire specification, "Common request rules", "Authorization".
"""

from typing import Final

from algorium_server.api.http import Scope, header
from algorium_server.domain.errors import NotAuthenticated
from algorium_server.domain.identity import Principal
from algorium_server.services.directory import Directory

PRINCIPAL_KEY: Final = "algorium.principal"
"""Where the scope of a request from a slot carries a function: who the slot acts as right now."""

_CACHED_MAX: Final = 10_000
"""Header values kept with their principal. Only known keys are kept, so strangers add none."""
_SCHEMES: Final = frozenset({"simple", "bearer"})


class Credentials:
    """
    Who sends a request. Reads memory only, so it may be asked for every call.

    Attributes:
        used_keys: Ids of the keys that were shown since somebody has emptied it.
    """

    def __init__(self, directory: Directory) -> None:
        self.used_keys: set[str] = set()
        self._directory = directory
        self._cached: dict[bytes, Principal] = {}
        self._generation = directory.generation

    def principal(self, scope: Scope) -> Principal:
        """
        Return who sends the request.

        Inside a slot it is whoever the call in flight belongs to, unless the algorithm shows a
        known key of its own; between calls nobody may ask at all.

        Raises:
            NotAuthenticated: No credentials, or none that are known.
        """
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
            raise NotAuthenticated("authorization required")
        raise NotAuthenticated("Unknown or invalid API key.")

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
