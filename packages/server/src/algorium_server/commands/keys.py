"""
The command `algorium key`.

It works on a home directory, beside the server or without it; see `operating`. So whoever has lost
the last admin key stops the server and makes another one. The value of a key is printed once, and
kept nowhere.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import cyclopts

from algorium_server.commands.accounts import (
    Options,
    Yes,
    delete,
    listed,
    org_path,
    quoted,
    told,
    user_path,
)
from algorium_server.commands.common import AdminKey, Json, StorageOptions
from algorium_server.domain.errors import InvalidInput, NotFound
from algorium_server.domain.identity import KeyKind

if TYPE_CHECKING:
    from algorium_server.commands.operating import Operator

key = cyclopts.App(
    name="key",
    help="Look after API keys of users and organizations, beside the server or without it.",
)

_Owner = Annotated[str, cyclopts.Parameter(help="A user or an organization.")]
_KeyId = Annotated[str, cyclopts.Parameter(help="Id of the key; see `algorium key list`.")]
_COLUMNS: Final = (
    "key_id",
    "key_label",
    "key_type",
    "api_key_mask",
    "created_at",
    "expires_at",
    "last_used_at",
)
_KINDS: Final = {
    "standard": KeyKind.STANDARD,
    "management": KeyKind.MANAGEMENT,
    "admin": KeyKind.ADMIN,
}
_DEFAULTS: Final = StorageOptions()


@key.command(name="list")
def list_keys(
    owner: _Owner, *, as_json: Json = False, admin_key: AdminKey = "", options: Options = _DEFAULTS
) -> int:
    """List keys, oldest first, without their values."""

    async def ask(operator: "Operator") -> Any:
        return await operator.ask("GET", await _keys_path(operator, owner))

    return listed(ask, _COLUMNS, as_json, admin_key, options)


@key.command(name="create")
def create_key(
    owner: Annotated[
        str, cyclopts.Parameter(help="A user or an organization; with --admin, an administrator.")
    ] = "",
    *,
    label: Annotated[str, cyclopts.Parameter(help="What people call it.")] = "",
    kind: Annotated[
        Literal["standard", "management", "admin"],
        cyclopts.Parameter(name="--type", help="What it is for."),
    ] = "standard",
    admin: Annotated[
        bool,
        cyclopts.Parameter(
            name="--admin",
            negative="",
            help="Short for --type admin; for the administrator if no OWNER is given.",
        ),
    ] = False,
    expires: Annotated[
        datetime | None, cyclopts.Parameter(help="When it ends, in UTC; never if not given.")
    ] = None,
    as_json: Json = False,
    admin_key: AdminKey = "",
    options: Options = _DEFAULTS,
) -> int:
    """Create a key, and print its value: this once."""
    wanted = KeyKind.ADMIN if admin else _KINDS[kind]

    async def ask(operator: "Operator") -> Any:
        name = owner or (operator.administrator if wanted is KeyKind.ADMIN else "")
        if not name:
            raise InvalidInput("whose key is it to be? Name a user or an organization")
        body = {
            "key_type": wanted.value,
            "key_label": label or None,
            "expires_at": expires.isoformat() if expires else None,
        }
        return await operator.ask("POST", await _keys_path(operator, name), body)

    return told(ask, as_json, admin_key, options)


@key.command(name="rotate")
def rotate_key(
    owner: _Owner,
    key_id: _KeyId,
    *,
    grace_s: Annotated[
        float | None,
        cyclopts.Parameter(help="Seconds for which the old value stays valid; a day if not given."),
    ] = None,
    as_json: Json = False,
    admin_key: AdminKey = "",
    options: Options = _DEFAULTS,
) -> int:
    """Create a key that may the same as an old one, which ends; print its value: this once."""

    async def ask(operator: "Operator") -> Any:
        path = f"{await _keys_path(operator, owner)}/{quoted(key_id)}/rotate"
        return await operator.ask("POST", path, {"grace_seconds": grace_s})

    return told(ask, as_json, admin_key, options)


@key.command(name="delete")
def delete_key(
    owner: _Owner,
    key_id: _KeyId,
    *,
    yes: Yes = False,
    admin_key: AdminKey = "",
    options: Options = _DEFAULTS,
) -> int:
    """Delete a key: whoever shows it is refused from now on."""

    async def ask(operator: "Operator") -> Any:
        path = f"{await _keys_path(operator, owner)}/{quoted(key_id)}"
        return await operator.ask("DELETE", path)

    return delete(ask, f"Delete the key {key_id} of {owner}?", yes, admin_key, options)


async def _keys_path(operator: "Operator", owner: str) -> str:
    """Return where the keys of a user are, or of an organization if there is no such user."""
    try:
        await operator.ask("GET", user_path(owner))
    except NotFound:
        try:
            await operator.ask("GET", org_path(owner))
        except NotFound:
            message = f"there is neither a user nor an organization {owner[:100]!r}"
            raise NotFound(message) from None
        return f"{org_path(owner)}/keys"
    return f"{user_path(owner)}/keys"
