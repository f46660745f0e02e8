"""`algo keys`: `list`, `create`, `rotate`, `delete`."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App

from algorium._cli.program import (
    AsJson,
    Server,
    Switch,
    UsageError,
    app,
    connect,
    note,
    write_json,
    write_line,
    write_list,
)
from algorium._rendering_authoring import as_json as value_json
from algorium._rendering_authoring import table
from algorium.wire.keys import KeyPermissions

if TYPE_CHECKING:
    from algorium import KeyInfo

_HEADS: Final = ("id", "label", "kind", "key", "used", "ends")
_KINDS: Final[Mapping[str, str]] = {
    "algorithm": "AlgorithmKey",
    "management": "ManagementKey",
    "admin": "PlatformAdminKey",
}
_DAY_S: Final = 86_400

keys = App(name="keys", help="API keys: yours, or of an organization that you own.")
app.command(keys)


@keys.command(name="list")
def list_keys(
    *,
    user: str = "",
    organization: str = "",
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    List keys, oldest first; of each only its ends are shown.

    Parameters
    ----------
    user
        Of this user, for administrators.
    organization
        Of this organization, which you own.
    as_json
        Print a JSON list.
    """
    with connect(server) as client:
        found = client.keys.list(user=user, organization=organization)
    rows = [
        (
            each.key_id,
            each.label,
            _kind_of(each),
            each.mask,
            _day(each.last_used_at, "never"),
            _day(each.expires_at, "never"),
        )
        for each in found
    ]
    # Without what only an answer to `create` has.
    write_list([replace(each, value="") for each in found], table(_HEADS, rows), as_json=as_json)


@keys.command
def create(
    label: str = "",
    /,
    *,
    kind: str = "algorithm",
    algo: tuple[str, ...] = (),
    read_data: Annotated[bool, Switch] = False,
    write_data: Annotated[bool, Switch] = False,
    manage: Annotated[bool, Switch] = False,
    days: float | None = None,
    user: str = "",
    organization: str = "",
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Create a key and print it: it cannot be shown again.

    Without any of --algo, --read-data, --write-data and --manage it may what its kind implies.

    Parameters
    ----------
    label
        What people call it.
    kind
        algorithm, management, or for administrators admin.
    algo
        It may call these only: OWNER/NAME, OWNER/* or *. Can be given several times.
    read_data
        It may read data.
    write_data
        It may read and write data.
    manage
        It may make algorithms and manage the account.
    days
        How long it is valid; for ever if left out.
    user
        Of this user, for administrators.
    organization
        Of this organization, which you own.
    as_json
        Print a JSON object, with the key as "value".
    """
    if kind not in _KINDS:
        raise UsageError(f"--kind knows {', '.join(_KINDS)}, not {kind}")
    if days is not None and not days > 0:
        raise UsageError("--days must be above 0")
    permissions = None
    if algo or read_data or write_data or manage:
        permissions = KeyPermissions(
            algo_acl=tuple(f"algo://{each.removeprefix('algo://')}" for each in algo),
            allow_data=read_data or write_data,
            allow_data_write=write_data,
            allow_algo_management=manage or kind == "management",
        )
    ends_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with connect(server) as client:
        made = client.keys.create(
            label,
            kind=_KINDS[kind],
            permissions=permissions,
            expires_at=ends_at,
            user=user,
            organization=organization,
        )
    _show(made, as_json=as_json)


@keys.command
def rotate(
    key_id: str,
    /,
    *,
    grace_days: float | None = None,
    user: str = "",
    organization: str = "",
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Replace a key: print one that may the same, and let the old one end after a while.

    Parameters
    ----------
    key_id
        As `algo keys list` shows it.
    grace_days
        How long the old one stays valid: a day if left out, 0 ends it at once.
    user
        Of this user, for administrators.
    organization
        Of this organization, which you own.
    as_json
        Print a JSON object, with the key as "value".
    """
    if grace_days is not None and grace_days < 0:
        raise UsageError("--grace-days must be 0 or more")
    with connect(server) as client:
        made = client.keys.rotate(
            key_id,
            grace_s=None if grace_days is None else grace_days * _DAY_S,
            user=user,
            organization=organization,
        )
    _show(made, as_json=as_json)


@keys.command
def delete(
    key_id: str,
    /,
    *,
    user: str = "",
    organization: str = "",
    server: Server | None = None,
) -> None:
    """
    Delete a key: it is refused from now on.

    Parameters
    ----------
    key_id
        As `algo keys list` shows it.
    user
        Of this user, for administrators.
    organization
        Of this organization, which you own.
    """
    with connect(server) as client:
        client.keys.delete(key_id, user=user, organization=organization)
    note(f"deleted {key_id}")


def _show(made: "KeyInfo", *, as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = value_json(made)
        write_json(told)
        return
    write_line(made.value)
    note(f"created {made.key_id}; the key is shown this once")


def _kind_of(key: "KeyInfo") -> str:
    return next((name for name, kind in _KINDS.items() if kind == key.kind), key.kind)


def _day(moment: datetime | None, otherwise: str) -> str:
    return moment.strftime("%Y-%m-%d") if moment is not None else otherwise
