"""
The command `algorium quota`.

It works on a home directory, beside the server or without it; see `operating`. Without one, limits
of the server are those that its options say here: on the command line, or in the environment.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import cyclopts

from algorium_server.commands.accounts import quoted
from algorium_server.commands.common import (
    DONE,
    WRONG_USAGE,
    AdminKey,
    Json,
    complain,
    print_json,
    print_table,
    settings_of,
    some_options,
)
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.quotas import UNLIMITED
from algorium_server.settings import Settings

if TYPE_CHECKING:
    from algorium_server.commands.operating import Operator

quota = cyclopts.App(
    name="quota",
    help="Look after what accounts may use, beside the server or without it.",
)

_PATH: Final = "/v1/admin/quotas"
_DEFAULT: Final = "default"
"""How people write that an account has the limit of the server."""
_LIMITS: Final = tuple(row.name for row in Settings.table() if row.name.startswith("account_"))
QuotaOptions: Any = some_options("QuotaOptions", "home", "database", "storage", *_LIMITS)
"""Where things are, and the limits of a server that is not running."""
Options = Annotated[QuotaOptions, cyclopts.Parameter(name="*")]
_DEFAULTS: Final = QuotaOptions()
_Account = Annotated[str, cyclopts.Parameter(help="A user or an organization, or its id.")]


@quota.command(name="list")
def list_quotas(
    *, as_json: Json = False, admin_key: AdminKey = "", options: Options = _DEFAULTS
) -> int:
    """List accounts that have limits of their own, by name."""

    async def gather(operator: "Operator") -> list[Mapping[str, Any]]:
        return [each async for each in operator.page_through(_PATH)]

    def show(found: Sequence[Mapping[str, Any]]) -> None:
        rows = [
            (each["account"], each["account_type"], _limits_text(each["limits"])) for each in found
        ]
        print_table(("account", "type", "limits"), rows)

    return _done(gather, show, as_json, admin_key, options)


@quota.command(name="show")
def show_quotas(
    account: _Account,
    *,
    as_json: Json = False,
    admin_key: AdminKey = "",
    options: Options = _DEFAULTS,
) -> int:
    """Show what an account may use, and has used."""

    async def ask(operator: "Operator") -> Any:
        return await operator.ask("GET", f"{_PATH}/{quoted(account)}")

    return _done(ask, _show, as_json, admin_key, options)


@quota.command(name="set")
def set_quotas(
    account: _Account,
    *limits: Annotated[
        str,
        cyclopts.Parameter(
            help="NAME=VALUE, such as calls_per_minute=600; the value is a number, unlimited, or"
            " default for the limit of the server. Names are those that `algorium quota show` has."
        ),
    ],
    as_json: Json = False,
    admin_key: AdminKey = "",
    options: Options = _DEFAULTS,
) -> int:
    """Set limits of an account; those not named stay as they are."""
    try:
        wanted = _wanted(limits)
    except InvalidInput as error:
        return complain(error, code=WRONG_USAGE)

    async def ask(operator: "Operator") -> Any:
        return await operator.ask("PUT", f"{_PATH}/{quoted(account)}", wanted)

    return _done(ask, _show, as_json, admin_key, options)


@quota.command(name="clear")
def clear_quotas(
    account: _Account,
    *,
    as_json: Json = False,
    admin_key: AdminKey = "",
    options: Options = _DEFAULTS,
) -> int:
    """Give an account the limits of the server again."""

    async def ask(operator: "Operator") -> Any:
        return await operator.ask("DELETE", f"{_PATH}/{quoted(account)}")

    return _done(ask, _show, as_json, admin_key, options)


def _wanted(limits: Sequence[str]) -> dict[str, int | str | None]:
    """
    Read what stands on the command line; whether it can be is for the API to say.

    Raises:
        InvalidInput: It is no NAME=VALUE, or the value is none of the three.
    """
    if not limits:
        raise InvalidInput("say at least one limit, such as calls_per_minute=600")
    wanted: dict[str, int | str | None] = {}
    for each in limits:
        name, separator, value = each.partition("=")
        if not separator or not name:
            raise InvalidInput(f"{each!r} is not of the form NAME=VALUE")
        if value == _DEFAULT:
            wanted[name] = None
        elif value == UNLIMITED:
            wanted[name] = UNLIMITED
        elif value.isascii() and value.isdigit():
            wanted[name] = int(value)
        else:
            raise InvalidInput(
                f"{name} must be a number, {UNLIMITED}, or {_DEFAULT}, not {value!r}"
            )
    return wanted


def _done(work: Any, show: Any, as_json: bool, admin_key: str, options: Any) -> int:
    settings = settings_of(options)
    # Loaded only here: `--help` and wrong usage answer without waiting for it.
    from algorium_server.commands.operating import work_on  # noqa: PLC0415

    answer = work_on(settings, admin_key, work)
    if as_json:
        print_json(answer)
    else:
        show(answer)
    return DONE


def _show(answer: Mapping[str, Any]) -> None:
    rows = [
        (
            name,
            UNLIMITED if each["limit"] is None else str(each["limit"]),
            "" if each["used"] is None else str(each["used"]),
            each["renews_at"] or "",
            "server" if each["is_default"] else "account",
        )
        for name, each in answer["quotas"].items()
    ]
    print_table(("quota", "limit", "used", "renews at", "set for"), rows)


def _limits_text(limits: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in limits.items())
