"""
What a principal may do with accounts: users, organizations, members, keys, and the installation.

| action | itself | owners | members, executors | viewers | administrators |
|---|---|---|---|---|---|
| see a user | yes | | | yes | yes |
| change a user's texts | yes | | | no | yes |
| see an organization, its members | yes | yes | yes | yes | yes |
| change its texts, its members, hosts' users | no | yes | no | no | yes |
| see keys, masked | yes | yes | no | yes | yes |
| see what the audit log says of it | yes | yes | no | yes | yes |
| create, rotate, delete keys | yes | yes | no | no | yes |
| set a user's password | yes | | | no | yes |
| change event listeners | yes | | | no | yes |
| see and change connectors | yes | yes | no | no | yes |
| see and change package sources | yes | yes | no | no | yes |
| see reports of an organization | yes | yes | no | yes | yes |
| see accounts and the installation | no | no | no | yes | yes |
| decide about them | no | no | no | no | yes |

"Itself" is the account whose key is shown; owners, members and executors are those of the
organization that it is about. Deciding is everything else: creating and deleting accounts, e-mail
addresses, types, external groups, keys with a given value, keys of members, invites, features,
the front end, roles in the installation. Sessions of a user are seen and ended like keys.

Seeing needs a key with `allow_algo_management`. Changing needs a management key, which has it as
well: a default key lies in too many programs to be the key to the house. Only event listeners,
connectors and package sources are changed with whatever key can see them, as at the old service;
connectors with one that may write data as well, since algorithms of the owner then read elsewhere.
With a password one does all that the account may, so it is set with no key that may less: not with
one that ends, nor one that may not call or not touch data, nor an administrator's with any key but
an admin key. An administrator shows an admin key. Of invites, viewers see all but the codes.
Algorithms may do nothing here, whoever calls them.

Source: wire specification, "Roles and rights", "API keys"; "POST /v1/users/{username}/connectors";
coverage table, columns "Auth".
"""

from dataclasses import replace
from enum import Enum, auto

from algorium_server.domain.access import (
    ALLOWED,
    Refused,
    Verdict,
    is_cluster_admin,
    is_cluster_viewer,
)
from algorium_server.domain.identity import DEFAULT_KEY_PERMISSIONS, KeyKind, Principal, Role
from algorium_server.domain.keys import exceeds


class Action(Enum):
    """What somebody wants to do."""

    SEE_USER = auto()
    CHANGE_USER = auto()
    SEE_ORGANIZATION = auto()
    CHANGE_ORGANIZATION = auto()
    SEE_KEYS = auto()
    SEE_AUDIT = auto()
    MANAGE_KEYS = auto()
    SET_PASSWORD = auto()
    MANAGE_LISTENERS = auto()
    MANAGE_CONNECTORS = auto()
    MANAGE_SOURCES = auto()
    SEE_REPORTS = auto()
    SEE_ALL = auto()
    DECIDE = auto()


def may_administer(principal: Principal, action: Action, account_id: str = "") -> Verdict:
    """
    Decide whether the principal may do something with an account, or with all of them.

    Args:
        principal: Who asks.
        action: What it wants to do.
        account_id: The user or organization that it is about; empty if there is none, or none
            of that name, which must look the same to strangers.
    """
    if principal.acting is not None:
        return Refused("algorithms may not administer accounts")
    if is_cluster_admin(principal):
        return ALLOWED
    if action in _SEEING and is_cluster_viewer(principal):
        return ALLOWED
    if not account_id or action not in _RELATIONS:
        return Refused("only administrators may do this")
    is_any_key_fine = action in _SEEING or action in _AS_SEEING
    if not (_sees(principal) if is_any_key_fine else _manages(principal)):
        return Refused("the key is none for this")
    if action is Action.MANAGE_CONNECTORS and not _writes(principal):
        return Refused("the key is none for this")
    if action is Action.SET_PASSWORD and not _opens_all(principal):
        return Refused("the key may less than whoever knows the password")
    is_itself, roles = _RELATIONS[action]
    if is_itself and principal.account.account_id == account_id:
        return ALLOWED
    if principal.roles.get(account_id) in roles:
        return ALLOWED
    return Refused("neither the account itself, nor in a role there that may do this")


def _sees(principal: Principal) -> bool:
    key = principal.key
    return key is None or key.permissions.allow_algo_management


def _manages(principal: Principal) -> bool:
    key = principal.key
    if key is None:
        return True
    return key.kind is KeyKind.MANAGEMENT and key.permissions.allow_algo_management


def _writes(principal: Principal) -> bool:
    key = principal.key
    return key is None or key.permissions.allow_data_write


def _opens_all(principal: Principal) -> bool:
    key = principal.key
    if key is None:
        return True
    whole = replace(key, permissions=DEFAULT_KEY_PERMISSIONS, expires_at=None)
    return not principal.account.is_admin and not exceeds(whole, key)


_SEEING = frozenset(
    {
        Action.SEE_USER,
        Action.SEE_ORGANIZATION,
        Action.SEE_KEYS,
        Action.SEE_AUDIT,
        Action.SEE_REPORTS,
        Action.SEE_ALL,
    }
)
_AS_SEEING = frozenset({Action.MANAGE_LISTENERS, Action.MANAGE_CONNECTORS, Action.MANAGE_SOURCES})
"""Changes for which a key is enough that may see."""
_NOBODY: frozenset[Role] = frozenset()
_OWNERS = frozenset({Role.OWNER})
_RELATIONS = {
    Action.SEE_USER: (True, _NOBODY),
    Action.CHANGE_USER: (True, _NOBODY),
    Action.SEE_ORGANIZATION: (True, frozenset(Role)),
    Action.CHANGE_ORGANIZATION: (False, _OWNERS),
    Action.SEE_KEYS: (True, _OWNERS),
    Action.SEE_AUDIT: (True, _OWNERS),
    Action.MANAGE_KEYS: (True, _OWNERS),
    Action.SET_PASSWORD: (True, _NOBODY),
    Action.MANAGE_LISTENERS: (True, _NOBODY),
    Action.MANAGE_CONNECTORS: (True, _OWNERS),
    Action.MANAGE_SOURCES: (True, _OWNERS),
    Action.SEE_REPORTS: (True, _OWNERS),
}
"""Whether an account may do it with itself, and which roles in an organization may."""
