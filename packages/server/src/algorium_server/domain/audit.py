"""
The audit log: who did what to what.

The chain that entries make is in `audit_chain`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum


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
    SEALING_KEY_ROTATED = "sealing_key.rotated"
    SEALING_KEYS_FORGOTTEN = "sealing_key.forgotten"
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
        behalf_id: Account in whose place it was done, by `sudo`; empty if in none.
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
