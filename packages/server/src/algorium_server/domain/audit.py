"""
The audit log: who did what to what, in a chain that shows whether anything was changed later.

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
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

FIRST: Final = bytes(32)
"""What stands for the digest before the first entry."""
_NOT_OURS: Final = b"not ours"
"""Instead of a seal: the head before had none that was true."""
_FORMAT: Final = 1
"""Of what is digested; another one would make other digests."""


class AuditAction(StrEnum):
    """
    What was done: a noun and what became of it. Texts once written stay, so names never change.

    Actions of newer releases may be in the log; readers take any text.
    """

    USER_CREATED = "user.created"
    USER_CHANGED = "user.changed"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    USER_DELETED = "user.deleted"
    USER_ROLES_CHANGED = "user.roles_changed"
    ORGANIZATION_CREATED = "organization.created"
    ORGANIZATION_CHANGED = "organization.changed"
    ORGANIZATION_DELETED = "organization.deleted"
    ORGANIZATION_TYPE_CREATED = "organization_type.created"
    ORGANIZATION_TYPE_DELETED = "organization_type.deleted"
    HOST_CHANGED = "organization_host.changed"
    HOST_DELETED = "organization_host.deleted"
    MEMBER_ADDED = "member.added"
    MEMBER_REMOVED = "member.removed"
    MEMBER_ROLE_CHANGED = "member.role_changed"
    KEY_CREATED = "key.created"
    KEY_ROTATED = "key.rotated"
    KEY_DELETED = "key.deleted"
    KEY_IMPORTED = "key.imported"
    KEY_NEW_ADDRESS = "key.used_from_new_address"
    PASSWORD_SET = "password.set"  # noqa: S105 - the name of an action
    SIGN_IN = "session.created"
    SIGN_IN_DENIED = "session.denied"
    SIGN_OUT = "session.ended"
    SESSIONS_ENDED = "session.all_ended"
    SECRET_CREATED = "secret.created"  # noqa: S105 - the name of an action
    SECRET_CHANGED = "secret.changed"  # noqa: S105 - the name of an action
    SECRET_DELETED = "secret.deleted"  # noqa: S105 - the name of an action
    SECRET_PROVIDER_CREATED = "secret_provider.created"  # noqa: S105 - the name of an action
    SECRET_PROVIDER_CHANGED = "secret_provider.changed"  # noqa: S105 - the name of an action
    SECRET_PROVIDER_DELETED = "secret_provider.deleted"  # noqa: S105 - the name of an action
    CONNECTOR_CREATED = "connector.created"
    CONNECTOR_CHANGED = "connector.changed"
    CONNECTOR_DELETED = "connector.deleted"
    PACKAGE_SOURCE_CHANGED = "package_source.changed"
    PACKAGE_SOURCE_DELETED = "package_source.deleted"
    SCM_CREATED = "scm.created"
    SCM_CHANGED = "scm.changed"
    SCM_DELETED = "scm.deleted"
    SCM_CONNECTED = "scm_connection.created"
    SCM_DISCONNECTED = "scm_connection.deleted"
    REPOSITORY_PUSHED = "repository.pushed"
    SOURCE_CHANGED = "source.changed"
    ALGORITHM_CREATED = "algorithm.created"
    ALGORITHM_CHANGED = "algorithm.changed"
    ALGORITHM_DELETED = "algorithm.deleted"
    ALGORITHM_SUDO_CALLED = "algorithm.sudo_called"
    SLOTS_RENEWED = "algorithm.slots_renewed"
    VERSION_PUBLISHED = "version.published"
    COLLECTION_ACL_CHANGED = "collection.acl_changed"
    DIRECTORY_DELETED = "directory.deleted"
    DEFAULTS_CHANGED = "default_collection.changed"
    ENVIRONMENT_CHANGED = "environment.changed"
    INVITE_CREATED = "invite.created"
    INVITE_DELETED = "invite.deleted"
    FEATURE_CHANGED = "feature.changed"
    FRONTEND_CHANGED = "frontend.changed"
    IMAGE_CHANGED = "image.changed"
    QUOTA_CHANGED = "quota.changed"
    QUOTA_DELETED = "quota.deleted"
    RESERVATION_CREATED = "reservation.created"
    RESERVATION_DELETED = "reservation.deleted"
    REGISTRY_CREATED = "registry.created"
    REGISTRY_CHANGED = "registry.changed"
    REGISTRY_DELETED = "registry.deleted"
    EVENT_LISTENER_CREATED = "event_listener.created"
    EVENT_LISTENER_CHANGED = "event_listener.changed"
    EVENT_LISTENER_DELETED = "event_listener.deleted"
    INSIGHTS_CONNECTED = "insights_connection.changed"
    INSIGHTS_DISCONNECTED = "insights_connection.deleted"
    COST_RATES_CHANGED = "cost_rates.changed"
    REQUEST_DENIED = "request.denied"
    AUDIT_EXPORTED = "audit.exported"
    SERVER_STARTED = "server.started"


class Outcome(StrEnum):
    """How it ended."""

    DONE = "done"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """
    What somebody did.

    Attributes:
        at: When; aware.
        actor_id: Account of whoever did it; empty for the server itself and for strangers.
        actor: Its name at that time.
        behalf_id: Account in whose place it was done (impersonation, `sudo`); empty if in none.
        behalf: Its name at that time.
        key_id: The API key that was shown; empty without one.
        algorithm_id: The algorithm that acted for the actor; empty if none did.
        action: An `AuditAction`, or one of a newer release.
        target: What it was done to, as people call it.
        account_id: Whom it concerns: the account that the target is, or belongs to.
        request_id: The request it came with; empty for none.
        address: Where that came from; empty if it is not known.
        detail: What else matters. Never a secret.
    """

    at: datetime
    actor_id: str = ""
    actor: str = ""
    behalf_id: str = ""
    behalf: str = ""
    key_id: str = ""
    algorithm_id: str = ""
    action: str
    target: str
    account_id: str = ""
    outcome: Outcome = Outcome.DONE
    request_id: str = ""
    address: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """
    Which entries somebody wants to see; what is empty or None restricts nothing.

    Attributes:
        account_id: Those that concern this account.
        person_id: Those that concern this account, or that it did, or that were done in its place.
        actor: Those of an account, by its name at that time, or its id.
        action: Those whose action begins so.
        target: Those about exactly that.
        outcome: Those that ended so.
        since: Those of that moment and later.
        until: Those before that moment.
    """

    account_id: str = ""
    person_id: str = ""
    actor: str = ""
    action: str = ""
    target: str = ""
    outcome: Outcome | None = None
    since: datetime | None = None
    until: datetime | None = None


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


def changed_names(before: object, after: object) -> str:
    """Return which fields of two values of one dataclass differ, as a list for people."""
    names = (each.name for each in fields(before))  # type: ignore[arg-type]  # callers pass such
    return ", ".join(name for name in names if getattr(before, name) != getattr(after, name))


def changed_values(before: object, after: object) -> dict[str, str]:
    """Return which fields of two values of one dataclass differ, and how."""
    return {
        each.name: f"{getattr(before, each.name)} -> {getattr(after, each.name)}"
        for each in fields(before)  # type: ignore[arg-type]  # as above
        if getattr(before, each.name) != getattr(after, each.name)
    }


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
