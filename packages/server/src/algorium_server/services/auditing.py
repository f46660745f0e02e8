"""
Writing the audit log: one function for all services.

An entry is written in the transaction of the change that it tells of: it exists exactly if the
change does. Where the request came from is taken from the context (`origin.py`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from algorium_server.domain.algorithms import Algorithm
from algorium_server.domain.audit import AuditAction, AuditEntry, Outcome
from algorium_server.domain.identity import Account, Principal
from algorium_server.domain.limits import (
    AUDIT_DETAIL_CHARS_MAX,
    AUDIT_DETAILS_MAX,
    AUDIT_TARGET_CHARS_MAX,
)
from algorium_server.origin import NOWHERE, Origin, origin
from algorium_server.services.directory import Directory
from algorium_server.store import audit as rows
from algorium_server.store.database import AsyncConnection


async def record(
    connection: AsyncConnection,
    principal: Principal | None,
    action: AuditAction,
    target: str,
    *,
    outcome: Outcome = Outcome.DONE,
    detail: Mapping[str, str] | None = None,
    about: str = "",
    behalf: Account | None = None,
) -> None:
    """
    Write an entry in the caller's transaction.

    Args:
        connection: Inside the transaction of the change; a transaction that is rolled back
            leaves no entry.
        principal: Who does it; None for the server itself and for strangers.
        action: What is done.
        target: What it is done to, as people call it, such as `user:jane`, `key:jane/laptop`,
            `algorithm:acme/Hello` or `data://acme/models`.
        outcome: How it ended.
        detail: What else matters, such as old and new values. Never a secret.
        about: Id of the account that the target is or belongs to; that of the principal if it is
            not said. Who owns that account may read the entry.
        behalf: In whose place it is done, if in somebody else's. What an algorithm does that an
            administrator called with `sudo` is the administrator's, in its owner's place.
    """
    rows.leave(
        connection,
        entry_of(
            principal, action, target, outcome=outcome, detail=detail, about=about, behalf=behalf
        ),
    )


async def record_on(
    connection: AsyncConnection,
    principal: Principal | None,
    action: AuditAction,
    algorithm: Algorithm,
    directory: Directory,
    *,
    outcome: Outcome = Outcome.DONE,
    detail: Mapping[str, str] | None = None,
    behalf: Account | None = None,
) -> None:
    """
    Write an entry about an algorithm, or what belongs to one; like `record`.

    Args:
        connection: As for `record`, like all that is not named here.
        principal: Who does it.
        action: What is done.
        algorithm: What it is done to.
        directory: Knows how its owner is called.
        outcome: How it ended.
        detail: What else matters.
        behalf: In whose place.
    """
    await record(
        connection,
        principal,
        action,
        algorithm_target(algorithm, directory),
        outcome=outcome,
        detail=detail,
        about=algorithm.owner_id,
        behalf=behalf,
    )


def algorithm_target(algorithm: Algorithm, directory: Directory) -> str:
    """Return how entries call an algorithm."""
    owner = directory.account(algorithm.owner_id)
    return (
        f"algorithm:{owner.username if owner is not None else algorithm.owner_id}/{algorithm.name}"
    )


def entry_of(
    principal: Principal | None,
    action: AuditAction,
    target: str,
    *,
    outcome: Outcome = Outcome.DONE,
    detail: Mapping[str, str] | None = None,
    about: str = "",
    behalf: Account | None = None,
    source: Origin | None = None,
) -> AuditEntry:
    """
    Return what `record` writes.

    Args:
        principal: As for `record`, like all that is not named here.
        action: What is done.
        target: What it is done to.
        outcome: How it ended.
        detail: What else matters.
        about: Whom it concerns.
        behalf: In whose place.
        source: The request it came with; the one at hand if it is not said.
    """
    here = source or origin.get()
    account = principal.account if principal is not None else None
    person = principal.person if principal is not None else None
    behalf = behalf or (account if account is not person else None)
    key = principal.key if principal is not None else None
    acting = principal.acting if principal is not None else None
    details = list((detail or {}).items())[:AUDIT_DETAILS_MAX]
    return AuditEntry(
        at=datetime.now(UTC),
        actor_id=person.account_id if person is not None else "",
        actor=person.username if person is not None else "",
        behalf_id=behalf.account_id if behalf is not None else "",
        behalf=behalf.username if behalf is not None else "",
        key_id=key.key_id if key is not None else "",
        algorithm_id=acting.algorithm_id if acting is not None else "",
        action=action.value,
        target=_plain(target, AUDIT_TARGET_CHARS_MAX),
        account_id=about or (account.account_id if account is not None else ""),
        outcome=outcome,
        request_id="" if here is NOWHERE else here.request_id,
        address=here.address,
        detail={
            _plain(name, AUDIT_DETAIL_CHARS_MAX): _plain(value, AUDIT_DETAIL_CHARS_MAX)
            for name, value in details
        },
    )


def _plain(text: str, chars_max: int) -> str:
    # Whatever people send as names comes here: both databases must take it, and no terminal or
    # line of a log may be led astray by it.
    cut = text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in cut)
