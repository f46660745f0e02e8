"""
API keys in memory: whose key is shown, and when it stops to be one.

Part of the directory, and brought up to date with it.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

from algorium_server.domain.identity import ApiKey


class KnownKeys:
    """
    All keys that have not ended, by what is kept of their secrets.

    Args:
        clock: Says what time it is.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._keys: dict[str, ApiKey] = {}
        self._next_end: datetime | None = None

    def load(self, keys: Iterable[tuple[ApiKey, str]]) -> None:
        """Take in all there are, with their digests, instead of what is known."""
        self._keys = {digest: key for key, digest in keys}
        self._find_next_end()

    def valid(self, digest: str) -> ApiKey | None:
        """Return the key with a digest, None if there is none or it has ended."""
        key = self._keys.get(digest)
        return None if key is None or key.has_expired(self._clock()) else key

    def digest_of(self, key_id: str) -> str:
        """Return the digest of a key, empty if it is not known."""
        return next((digest for digest, key in self._keys.items() if key.key_id == key_id), "")

    def has_one_of(self, account_id: str) -> bool:
        """Whether an account has a key of its own."""
        return any(key.account_id == account_id for key in self._keys.values())

    def put(self, key: ApiKey, *, digest: str) -> bool:
        """Take in a new or changed key; return whether anything is different now."""
        if self._keys.get(digest) == key:
            return False
        if key.has_expired(self._clock()):
            return self.remove(key.key_id)
        self._drop(key.key_id)
        self._keys[digest] = key
        self._find_next_end()
        return True

    def remove(self, key_id: str) -> bool:
        """Forget a key; return whether it was known."""
        was_known = self._drop(key_id)
        if was_known:
            self._find_next_end()
        return was_known

    def remove_of(self, account_id: str) -> None:
        """Forget all keys of an account."""
        self._keys = {d: key for d, key in self._keys.items() if key.account_id != account_id}
        self._find_next_end()

    def end(self) -> bool:
        """Forget the keys that have expired; return whether the time of one had come."""
        if self._next_end is None or self._next_end > (now := self._clock()):
            return False
        self._keys = {d: key for d, key in self._keys.items() if not key.has_expired(now)}
        self._find_next_end()
        return True

    def _drop(self, key_id: str) -> bool:
        digests = [digest for digest, key in self._keys.items() if key.key_id == key_id]
        for digest in digests:
            del self._keys[digest]
        return bool(digests)

    def _find_next_end(self) -> None:
        ends = (key.expires_at for key in self._keys.values())
        self._next_end = min((end for end in ends if end is not None), default=None)
