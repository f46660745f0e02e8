"""
The chain that entries of the audit log make: it shows whether anything was changed later.

Each entry's digest is made of the entry, of the digest before it, and of a key that is not in the
database. So an entry that was changed, taken out, moved or slipped in does not fit what follows,
and nobody without the key can make it fit again. The *head* says how far the chain goes, and is
sealed with the same key: an end that was cut off does not fit the head.

What this finds, and what it cannot, is in the decision record on the audit log.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC
from typing import Any, Final

from algorium_server.domain.audit import AuditEntry

FIRST: Final = bytes(32)
"""What stands for the digest before the first entry."""
_NOT_OURS: Final = b"not ours"
"""Instead of a seal: the head before had none that was true."""
_FORMAT: Final = 1
"""Of what is digested; another one would make other digests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainedEntry:
    """
    An entry at its place.

    Attributes:
        number: Its place, from 1, without gaps.
        chain_key: Id of the key that its digest is made with; empty for none.
        digest: Of all of it, and of the digest before.
    """

    number: int
    entry: AuditEntry
    chain_key: str
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """
    How far the chain goes.

    Attributes:
        number: Of the newest entry; 0 if there is none.
        digest: Of the newest entry.
        chain_key: Id of the key of *seal*.
        seal: Says that whoever wrote this had the key.
    """

    number: int = 0
    digest: bytes = FIRST
    chain_key: str = ""
    seal: bytes = b""


@dataclass(frozen=True, slots=True)
class ChainKeys:
    """
    What digests are made with.

    Attributes:
        keys: All that there are, by id.
        current: Id of the one for new entries.
    """

    keys: Mapping[str, bytes]
    current: str


UNKEYED: Final = ChainKeys({"": b""}, current="")
"""Of no home. Anybody can make such digests, so no home takes them for its own."""


def append(head: ChainHead, entry: AuditEntry, keys: ChainKeys) -> ChainedEntry:
    """Return *entry* as the one behind *head*."""
    number, chain_key = head.number + 1, keys.current
    digest = _digest(head.digest, number, chain_key, entry, keys.keys[chain_key])
    return ChainedEntry(number=number, entry=entry, chain_key=chain_key, digest=digest)


def sealed_head(newest: ChainedEntry, keys: ChainKeys, *, was: ChainHead) -> ChainHead:
    """
    Return the head of a chain that ends with *newest*.

    A head that was none of ours stays that: what goes on behind it does not heal it.

    Args:
        newest: The last entry.
        keys: What to seal with.
        was: The head before.
    """
    key = keys.keys[keys.current]
    seal = _head_seal(newest.number, newest.digest, key) if is_sealed(was, keys) else _NOT_OURS
    return ChainHead(number=newest.number, digest=newest.digest, chain_key=keys.current, seal=seal)


def is_sealed(head: ChainHead, keys: ChainKeys) -> bool:
    """Whether a head was made with one of the keys; one without entries needs none."""
    if not head.number:
        return True
    key = keys.keys.get(head.chain_key)
    return key is not None and hmac.compare_digest(
        _head_seal(head.number, head.digest, key), head.seal
    )


def canonical(number: int, chain_key: str, entry: AuditEntry) -> bytes:
    """
    Return what is digested of an entry: one text for each entry, and no text for two.

    A JSON array of numbers and texts in ASCII, so that others can make it as well.
    """
    members = [
        _FORMAT,
        number,
        chain_key,
        entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        entry.actor_id,
        entry.actor,
        entry.behalf_id,
        entry.behalf,
        entry.key_id,
        entry.algorithm_id,
        entry.action,
        entry.target,
        entry.account_id,
        entry.outcome.value,
        entry.request_id,
        entry.address,
        sorted([name, value] for name, value in entry.detail.items()),
    ]
    return json.dumps(members, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def as_object(chained: ChainedEntry, *, has_digest: bool) -> dict[str, Any]:
    """Return an entry as JSON has it; with *has_digest* all that the digest is made of, and it."""
    entry = chained.entry
    shown: dict[str, Any] = {
        "number": chained.number,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        **{
            each.name: getattr(entry, each.name)
            for each in fields(entry)
            if each.name not in {"at", "outcome", "detail"}
        },
        "outcome": entry.outcome.value,
        "detail": dict(entry.detail),
    }
    if has_digest:
        shown |= {"chain_key": chained.chain_key, "digest": chained.digest.hex()}
    return shown


@dataclass(frozen=True, slots=True)
class Broken:
    """
    The first place where a chain does not hold.

    Attributes:
        number: Of the entry.
        reason: What is wrong with it.
    """

    number: int
    reason: str


class Examination:
    """
    A look through a chain from its beginning, a few entries at a time.

    Args:
        keys: Of the home that the chain is said to be of.
        known: Digests by number, from elsewhere; the chain must have them.
    """

    def __init__(self, keys: ChainKeys, known: Mapping[int, bytes]) -> None:
        self._keys = keys
        self._known = known
        self.number = 0
        self.digest = FIRST

    def take(self, entries: Iterable[ChainedEntry]) -> Broken | None:
        """Go on with what comes next; return the first place that does not hold."""
        for each in entries:
            wanted = self.number + 1
            if each.number != wanted:
                return Broken(wanted, "it is missing")
            key = self._keys.keys.get(each.chain_key)
            if key is None:
                return Broken(wanted, "it was written with a key that is none of this home")
            digest = _digest(self.digest, wanted, each.chain_key, each.entry, key)
            if not hmac.compare_digest(digest, each.digest):
                return Broken(wanted, "it was changed, or what is before it was")
            if not hmac.compare_digest(self._known.get(wanted, digest), digest):
                return Broken(wanted, "it is another one than when its checkpoint was made")
            self.number, self.digest = wanted, digest
        return None

    def finish(self, head: ChainHead) -> Broken | None:
        """Compare the end of what was taken with the head; return where it does not hold."""
        newest_known = max(self._known, default=0)
        if self.number < head.number:
            return Broken(self.number + 1, "it is missing")
        if self.number > head.number:
            return Broken(head.number + 1, "it is behind the head")
        if self.digest != head.digest:
            return Broken(head.number, "the head knows another one")
        if self.number < newest_known:
            return Broken(self.number + 1, f"it is missing: a checkpoint knows {newest_known}")
        if not is_sealed(head, self._keys):
            return Broken(head.number + 1, "the head is none of ours: an end was cut off")
        return None


def checkpoint_seal(number: int, digest: bytes, keys: ChainKeys) -> str:
    """Return what says that a checkpoint was made with the current key."""
    return _sealed(b"checkpoint", number, digest, keys.keys[keys.current]).hex()


def is_checkpoint(number: int, digest: bytes, *, seal: str, keys: ChainKeys) -> bool:
    """Whether a checkpoint was made with one of the keys."""
    return any(
        hmac.compare_digest(
            _sealed(b"checkpoint", number, digest, key).hex().encode(), seal.encode()
        )
        for key in keys.keys.values()
    )


def _digest(previous: bytes, number: int, chain_key: str, entry: AuditEntry, key: bytes) -> bytes:
    return hmac.digest(key, previous + canonical(number, chain_key, entry), hashlib.sha256)


def _head_seal(number: int, digest: bytes, key: bytes) -> bytes:
    return _sealed(b"head", number, digest, key)


def _sealed(what: bytes, number: int, digest: bytes, key: bytes) -> bytes:
    # No entry begins like this: what is digested of one begins with a digest of 32 bytes, and
    # then "[".
    return hmac.digest(key, b"%b %d %b" % (what, number, digest.hex().encode()), hashlib.sha256)
