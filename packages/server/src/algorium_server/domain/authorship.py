"""
What a principal may do with an algorithm beside calling it.

| act | owner, members of the organization | executors | others | administrators |
|---|---|---|---|---|
| see | yes | yes | if it has a public version | yes |
| read logs and errors | yes | yes | no | yes |
| read source | yes | yes | if it is open | yes |
| change: edit, build, publish privately | yes | no | no | no |
| equip: secrets, recycle warm slots | yes | no | no | yes |
| publish publicly | the owner, owners of the organization | no | no | no |
| delete, never public | yes | no | no | no |
| delete, once public | no | no | no | yes |

A key needs `allow_algo_management` for everything but seeing and reading open source. An admin key
stands for its account, which is an administrator. Algorithms may see what their caller may, read
what is open to all, and change nothing: whoever calls one does not hand it their own source.

Source: wire specification, "Roles and rights", "Create, read, update, delete".
"""

from enum import Enum, auto

from algorium_server.domain.access import ALLOWED, Refused, Verdict, is_cluster_admin
from algorium_server.domain.algorithms import Algorithm, SourceVisibility
from algorium_server.domain.identity import KeyKind, Principal, Role


class Act(Enum):
    """What somebody wants to do."""

    SEE = auto()
    READ_SOURCE = auto()
    READ_LOGS = auto()
    CHANGE = auto()
    EQUIP = auto()
    PUBLISH_PUBLICLY = auto()
    DELETE = auto()


def may(principal: Principal, act: Act, algorithm: Algorithm, *, is_public: bool) -> Verdict:
    """
    Decide whether the principal may do something with an algorithm.

    Args:
        principal: Who asks.
        act: What it wants to do.
        algorithm: With what.
        is_public: Whether the algorithm has a version that anyone may call.
    """
    if is_public and act is Act.SEE:
        return ALLOWED
    is_open = algorithm.settings.source_visibility is SourceVisibility.OPEN
    if is_public and is_open and act is Act.READ_SOURCE:
        return ALLOWED
    if act is not Act.SEE and principal.acting is not None:
        return Refused("algorithms may not manage algorithms, nor read what is not open to all")
    if act in _READING or act is Act.EQUIP or (act is Act.DELETE and is_public):
        if is_cluster_admin(principal):
            return ALLOWED
        if act is Act.DELETE:
            return Refused("only administrators may delete what was published to all")
    if act is not Act.SEE and not _key_manages(principal):
        return Refused("the key has allow_algo_management=false")
    return _may_by_role(principal, act, algorithm)


def may_create(principal: Principal, owner_id: str) -> Verdict:
    """Decide whether the principal may create algorithms of an account."""
    if principal.acting is not None:
        return Refused("algorithms may not manage algorithms")
    if not _key_manages(principal):
        return Refused("the key has allow_algo_management=false")
    if principal.account.account_id == owner_id:
        return ALLOWED
    if principal.roles.get(owner_id) in {Role.OWNER, Role.MEMBER}:
        return ALLOWED
    return Refused("only the owner and members of the owning organization may create algorithms")


_READING = frozenset({Act.SEE, Act.READ_SOURCE, Act.READ_LOGS})
_ROLES = {
    Act.SEE: frozenset(Role),
    Act.READ_SOURCE: frozenset(Role),
    Act.READ_LOGS: frozenset(Role),
    Act.CHANGE: frozenset({Role.OWNER, Role.MEMBER}),
    Act.EQUIP: frozenset({Role.OWNER, Role.MEMBER}),
    Act.PUBLISH_PUBLICLY: frozenset({Role.OWNER}),
    Act.DELETE: frozenset({Role.OWNER, Role.MEMBER}),
}
"""Which roles in the owning organization may do it."""


def _may_by_role(principal: Principal, act: Act, algorithm: Algorithm) -> Verdict:
    if principal.account.account_id == algorithm.owner_id:
        return ALLOWED
    if principal.roles.get(algorithm.owner_id) in _ROLES[act]:
        return ALLOWED
    return Refused("neither the owner, nor in a role of the organization that may do this")


def _key_manages(principal: Principal) -> bool:
    key = principal.key
    if key is None or key.kind is KeyKind.ADMIN:
        return True
    return key.permissions.allow_algo_management
