"""
What a principal may do. One place decides; services ask, nothing else does.

| action | the account itself | owners, members | executors | others | administrators |
|---|---|---|---|---|---|
| call public versions | yes | yes | yes | yes | yes |
| call private versions, commits | yes | yes | yes | no | with sudo |
| read a collection | yes | yes | yes | if its ACL says so | if its ACL says so |
| change a collection | yes | yes | no | no | no |
| use connectors | yes | no | no | no | no |
| change connectors | yes | owners | no | no | yes |
| see usage | yes | owners | no | no | yes, and viewers |

Owners, members and executors are those of the organization that owns the thing. Keys restrict all
of it: `allow_algo` with `algo_acl`, `allow_data`, `allow_data_write`, `allow_algo_management` for
usage; admin keys neither call nor touch data.

A "no" is a value with its reason, not an exception: callers choose between "forbidden" and
"not there".

Source: wire specification, "Roles and rights", "API keys", "Special names and who may do what".
"""

from collections.abc import Mapping
from dataclasses import dataclass

from algorium.wire.bodies import ReadAcl
from algorium_server.domain.algorithms import Algorithm, SourceVisibility
from algorium_server.domain.collections import Collection, CollectionKind
from algorium_server.domain.identity import KeyKind, Principal, Role
from algorium_server.domain.patterns import pattern_of


@dataclass(frozen=True, slots=True)
class Allowed:
    """Go ahead."""


@dataclass(frozen=True, slots=True)
class Refused:
    """
    No.

    Attributes:
        reason: For the log, and where it is harmless for the caller.
        is_hidden: The caller may not even learn that the thing exists.
    """

    reason: str
    is_hidden: bool = False


Verdict = Allowed | Refused
ALLOWED = Allowed()


def is_owner_like(principal: Principal, owner_id: str) -> bool:
    """Whether the principal is the owner, or belongs to the owning organization in any role."""
    return principal.account.account_id == owner_id or owner_id in principal.roles


def may_call(principal: Principal, *, owner: str, algorithm: Algorithm) -> Verdict:
    """
    Decide whether the principal may call *algorithm*, whatever the version.

    Args:
        principal: Who calls.
        owner: Username of the algorithm's owner, for the key's allow list.
        algorithm: What is called.
    """
    if principal.acting is not None:
        if not principal.acting.is_pipeline_enabled:
            return Refused("the calling algorithm has pipeline_enabled=false")
        return ALLOWED
    key = principal.key
    if key is None:
        return ALLOWED
    if key.kind is KeyKind.ADMIN:
        return Refused("admin keys may not call algorithms")
    if not key.permissions.allow_algo:
        return Refused("the key has allow_algo=false")
    for entry in key.permissions.algo_acl:
        if _acl_matches(entry, owner, algorithm.name):
            return ALLOWED
    return Refused("no algo_acl entry of the key matches")


def may_call_from_web(principal: Principal, *, origin_host: str) -> Verdict:
    """
    Decide whether the principal's key may be used from a web page.

    Args:
        principal: Who calls.
        origin_host: Host of the page, empty if the browser did not tell.

    Source: wire specification, "Browser client".
    """
    if principal.key is None:
        return ALLOWED
    permissions = principal.key.permissions
    if not permissions.allow_web_algo:
        return Refused("the key has allow_web_algo=false")
    if permissions.referer_host and permissions.referer_host.lower() != origin_host.lower():
        return Refused("the key's referer_host does not match the page")
    return ALLOWED


def may_know_of(principal: Principal, algorithm: Algorithm, *, is_published: bool) -> bool:
    """
    Whether the principal may learn that *algorithm* exists.

    Args:
        principal: Who asks.
        algorithm: What is asked about.
        is_published: It has a version that anyone may call.
    """
    acting = principal.acting
    is_itself = acting is not None and acting.algorithm_id == algorithm.algorithm_id
    return is_published or is_itself or is_owner_like(principal, algorithm.owner_id)


def may_see_source(principal: Principal, algorithm: Algorithm) -> bool:
    """Whether the principal may see source and stack traces."""
    return algorithm.settings.source_visibility is SourceVisibility.OPEN or is_owner_like(
        principal, algorithm.owner_id
    )


def may_use_data(principal: Principal, *, for_writing: bool) -> Verdict:
    """Decide whether the principal's key opens the Data API at all."""
    if principal.acting is not None:
        return ALLOWED  # its own collections are always open to it; the others ask the key
    return _key_opens_data(principal, for_writing=for_writing)


def _key_opens_data(principal: Principal, *, for_writing: bool) -> Verdict:
    key = principal.key
    if key is None:
        return ALLOWED
    if key.kind is KeyKind.ADMIN:
        return Refused("admin keys may not use data")
    if for_writing and not key.permissions.allow_data_write:
        return Refused("the key has allow_data_write=false")
    if not for_writing and not key.permissions.allow_data:
        return Refused("the key has allow_data=false")
    return ALLOWED


def may_use_connectors(principal: Principal, *, for_writing: bool) -> Verdict:
    """Decide whether the principal may use connectors of its account, from algorithms as well."""
    return _key_opens_data(principal, for_writing=for_writing)


def may_read(principal: Principal, collection: Collection) -> Verdict:
    """Decide whether the principal may list *collection* and read its files."""
    if collection.kind is not CollectionKind.ACCOUNT:
        return _may_use_special(principal, collection)
    by_key = _key_opens_data(principal, for_writing=False)
    if isinstance(by_key, Refused):
        return by_key
    if is_owner_like(principal, collection.owner_id):
        return ALLOWED
    if collection.acl is ReadAcl.PUBLIC:
        return ALLOWED
    acting = principal.acting
    if (
        collection.acl is ReadAcl.MY_ALGORITHMS
        and acting is not None
        and acting.owner_id == collection.owner_id
    ):
        return ALLOWED
    return Refused("the collection's ACL does not include the caller")


def may_write(principal: Principal, collection: Collection) -> Verdict:
    """Decide whether the principal may change *collection* and its files."""
    if collection.kind is not CollectionKind.ACCOUNT:
        return _may_use_special(principal, collection)
    return may_write_for(principal, collection.owner_id)


def may_write_for(principal: Principal, owner_id: str) -> Verdict:
    """Decide whether the principal may create collections for the account *owner_id*."""
    by_key = _key_opens_data(principal, for_writing=True)
    if isinstance(by_key, Refused):
        return by_key
    if principal.account.account_id == owner_id:
        return ALLOWED
    if principal.roles.get(owner_id) in {Role.OWNER, Role.MEMBER}:
        return ALLOWED
    return Refused("only the owner and members of the owning organization may write")


def may_manage(principal: Principal, owner_id: str) -> Verdict:
    """
    Decide whether the principal may change what belongs to an algorithm.

    Args:
        principal: Who asks.
        owner_id: The algorithm's owner.
    """
    if principal.acting is not None:
        return Refused("algorithms may not manage algorithms")
    key = principal.key
    if key is not None and key.kind is KeyKind.ADMIN:
        return Refused("admin keys may not manage algorithms")
    if key is not None and not key.permissions.allow_algo_management:
        return Refused("the key has allow_algo_management=false")
    if principal.account.account_id == owner_id:
        return ALLOWED
    if principal.roles.get(owner_id) in {Role.OWNER, Role.MEMBER}:
        return ALLOWED
    return Refused("only the owner and members of the owning organization may manage")


def may_write_default(
    collection: Collection, *, algorithm_owner_id: str, roles: Mapping[str, Role]
) -> Verdict:
    """
    Decide whether an algorithm may change the collection that it was given.

    Args:
        collection: What it calls `data://.algo/default`.
        algorithm_owner_id: The algorithm's owner; whoever calls it does not matter.
        roles: The owner's role in each organization.
    """
    if collection.owner_id == algorithm_owner_id:
        return ALLOWED
    if roles.get(collection.owner_id) in {Role.OWNER, Role.MEMBER}:
        return ALLOWED
    return Refused("the algorithm's owner may not write the collection")


def may_use_sudo(principal: Principal) -> bool:
    """Whether the principal may call algorithms as if their owners called."""
    return principal.account.is_admin and principal.acting is None


def is_cluster_admin(principal: Principal) -> bool:
    """Whether the principal acts as an administrator: with an admin key, or without any key."""
    key = principal.key
    is_unrestricted = key is None or key.kind is KeyKind.ADMIN
    return principal.account.is_admin and principal.acting is None and is_unrestricted


def is_cluster_viewer(principal: Principal) -> bool:
    """Whether the principal sees what administrators see: with a key that manages, or none."""
    key = principal.key
    manages = key is None or key.permissions.allow_algo_management
    return principal.account.is_viewer and principal.acting is None and manages


def may_see_usage(principal: Principal, account_id: str | None) -> Verdict:
    """
    Decide whether the principal may see what an account's calls took.

    Args:
        principal: Who asks.
        account_id: Whose calls; None for those of all accounts together.
    """
    if principal.acting is not None:
        return Refused("algorithms may not see usage")
    if is_cluster_admin(principal) or is_cluster_viewer(principal):
        return ALLOWED
    key = principal.key
    if key is not None and not key.permissions.allow_algo_management:
        return Refused("the key has allow_algo_management=false")
    if account_id is None:
        return Refused("only administrators see the usage of all accounts")
    if account_id == principal.account.account_id:
        return ALLOWED
    if principal.roles.get(account_id) is Role.OWNER:
        return ALLOWED
    return Refused("the account is another's", is_hidden=True)


def _may_use_special(principal: Principal, collection: Collection) -> Verdict:
    if collection.owner_id != principal.account.account_id:
        return Refused("the collection belongs to another caller", is_hidden=True)
    acting = principal.acting
    if collection.kind is CollectionKind.SESSION:
        if acting is None or acting.tree_id != collection.name:
            return Refused("the session belongs to another call", is_hidden=True)
        return ALLOWED
    if acting is not None and acting.algorithm_id != collection.algorithm_id:
        return Refused("the collection belongs to another algorithm", is_hidden=True)
    return ALLOWED


def _acl_matches(entry: str, owner: str, name: str) -> bool:
    pattern = pattern_of(entry)
    return pattern is not None and pattern.matches(owner.lower(), name.lower())
