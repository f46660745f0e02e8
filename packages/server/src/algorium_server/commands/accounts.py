"""
The commands `algorium user` and `algorium org`.

They work on a home directory, beside the server or without it; see `operating`.
"""

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import quote

import cyclopts

from algorium_server.commands.common import (
    DONE,
    WRONG_USAGE,
    AdminKey,
    Json,
    StorageOptions,
    print_json,
    print_table,
    settings_of,
)
from algorium_server.domain.errors import InvalidInput

if TYPE_CHECKING:
    from algorium_server.commands.operating import Operator

user = cyclopts.App(name="user", help="Look after users, beside the server or without it.")
org = cyclopts.App(
    name="org", help="Look after organizations and their members, beside the server or without it."
)

Options = Annotated[StorageOptions, cyclopts.Parameter(name="*")]
Yes = Annotated[
    bool, cyclopts.Parameter(name="--yes", negative="", help="Do not ask whether this is meant.")
]
_Name = Annotated[str, cyclopts.Parameter(help="Name of the user, or its id.")]
_Org = Annotated[str, cyclopts.Parameter(help="Name of the organization, or its id.")]
_Role = Literal["owner", "member", "executor"]
_DEFAULTS: Final = StorageOptions()

_USER_COLUMNS: Final = ("username", "email", "fullname", "disabled", "created_at")
_ORG_COLUMNS: Final = ("org_name", "org_label", "org_email", "type_id", "org_created_at")
_MEMBER_COLUMNS: Final = ("username", "organization_role")


@user.command(name="list")
def list_users(
    *, as_json: Json = False, admin_key: AdminKey = "", options: Options = _DEFAULTS
) -> int:
    """List all users, by name."""
    return _list("/v1/users", _USER_COLUMNS, as_json, admin_key, options)


@user.command(name="show")
def show_user(
    name: _Name, *, as_json: Json = False, admin_key: AdminKey = "", options: Options = _DEFAULTS
) -> int:
    """Show a user."""

    async def show(operator: "Operator") -> Any:
        return await operator.ask("GET", user_path(name))

    return told(show, as_json, admin_key, options)


@user.command(name="create")
def create_user(
    name: Annotated[str, cyclopts.Parameter(help="Name of the new user; it is kept for ever.")],
    *,
    email: Annotated[str, cyclopts.Parameter(help="E-mail address; every user has another one.")],
    fullname: Annotated[str, cyclopts.Parameter(help="Name for people.")] = "",
    as_json: Json = False,
    admin_key: AdminKey = "",
    options: Options = _DEFAULTS,
) -> int:
    """Create a user, and print the value of its first key: this once."""

    async def create(operator: "Operator") -> Any:
        body = {"username": name, "email": email, "fullname": fullname or None}
        return await operator.ask("POST", "/v1/users", body)

    return told(create, as_json, admin_key, options)


@user.command(name="update")
def update_user(
    name: _Name,
    *,
    email: Annotated[str | None, cyclopts.Parameter(help="E-mail address.")] = None,
    fullname: Annotated[str | None, cyclopts.Parameter(help="Name for people.")] = None,
    company_name: Annotated[str | None, cyclopts.Parameter(help="Of the employer.")] = None,
    company_role: Annotated[str | None, cyclopts.Parameter(help="What the user is there.")] = None,
    external_id: Annotated[
        str | None, cyclopts.Parameter(help="Id in the company's own directory.")
    ] = None,
    as_json: Json = False,
    admin_key: AdminKey = "",
    options: Options = _DEFAULTS,
) -> int:
    """Change what is said of a user; the rest stays."""
    said = {
        "email": email,
        "fullname": fullname,
        "company_name": company_name,
        "company_role": company_role,
        "external_id": external_id,
    }
    body = {field: value for field, value in said.items() if value is not None}

    async def update(operator: "Operator") -> Any:
        return await operator.ask("PUT", user_path(name), body)

    return told(update, as_json, admin_key, options)


@user.command(name="disable")
def disable_user(
    name: _Name, *, as_json: Json = False, admin_key: AdminKey = "", options: Options = _DEFAULTS
) -> int:
    """Let a user do nothing any more, with no key, until it is enabled again."""
    return _put_user(name, {"disabled": True}, as_json, admin_key, options)


@user.command(name="enable")
def enable_user(
    name: _Name, *, as_json: Json = False, admin_key: AdminKey = "", options: Options = _DEFAULTS
) -> int:
    """Undo `disable`."""
    return _put_user(name, {"disabled": False}, as_json, admin_key, options)


@user.command(name="delete")
def delete_user(
    name: _Name, *, yes: Yes = False, admin_key: AdminKey = "", options: Options = _DEFAULTS
) -> int:
    """Delete a user with its algorithms and data; nobody can be called so again."""
    question = f"Delete the user {name}, with algorithms and data?"
    return _delete_account(user_path(name), question, yes, admin_key, options)


def _add_role(command: str, method: str, role: str, text: str) -> None:
    @user.command(name=command, help=text)
    def change(name: _Name, *, admin_key: AdminKey = "", options: Options = _DEFAULTS) -> int:
        async def ask(operator: "Operator") -> Any:
            return await operator.ask(method, f"/admin/roles/{quoted(name)}/{role}")

        return told(ask, False, admin_key, options)


for _row in (
    ("make-admin", "POST", "cluster_admin", "Make a user an administrator; it has no admin key"),
    ("remove-admin", "DELETE", "cluster_admin", "Make an administrator an ordinary user"),
    ("make-viewer", "POST", "cluster_viewer", "Let a user see what administrators see"),
    ("remove-viewer", "DELETE", "cluster_viewer", "Take that back"),
):
    _add_role(*_row)


@org.command(name="list")
def list_orgs(
    *, as_json: Json = False, admin_key: AdminKey = "", options: Options = _DEFAULTS
) -> int:
    """List all organizations, by name."""
    return _list("/v1/organizations", _ORG_COLUMNS, as_json, admin_key, options)


@org.command(name="show")
def show_org(
    name: _Org, *, as_json: Json = False, admin_key: AdminKey = "", options: Options = _DEFAULTS
) -> int:
    """Show an organization."""

    async def show(operator: "Operator") -> Any:
        return await operator.ask("GET", org_path(name))

    return told(show, as_json, admin_key, options)


@org.command(name="create")
def create_org(
    name: Annotated[str, cyclopts.Parameter(help="Name of the new organization; kept for ever.")],
    *,
    email: Annotated[str, cyclopts.Parameter(help="E-mail address to reach it.")],
    label: Annotated[str, cyclopts.Parameter(help="Name for people.")] = "",
    contact: Annotated[str, cyclopts.Parameter(help="Who to ask there.")] = "",
    owner: Annotated[
        Sequence[str],
        cyclopts.Parameter(negative="", help="A user who is to own it; may be given repeatedly."),
    ] = (),
    as_json: Json = False,
    admin_key: AdminKey = "",
    options: Options = _DEFAULTS,
) -> int:
    """Create an organization; the administrator owns it if nobody else is named."""

    async def create(operator: "Operator") -> Any:
        owners = [await operator.ask("GET", user_path(each)) for each in owner]
        body = {
            "org_name": name,
            "org_label": label or name,
            "org_contact_name": contact or (owner[0] if owner else name),
            "org_email": email,
            "owner_ids": [each["id"] for each in owners] or None,
        }
        return await operator.ask("POST", "/v1/organizations", body)

    return told(create, as_json, admin_key, options)


@org.command(name="delete")
def delete_org(
    name: _Org, *, yes: Yes = False, admin_key: AdminKey = "", options: Options = _DEFAULTS
) -> int:
    """Delete an organization with its algorithms and data; none can be called so again."""
    question = f"Delete the organization {name}, with algorithms and data?"
    return _delete_account(org_path(name), question, yes, admin_key, options)


@org.command(name="members")
def list_members(
    name: _Org, *, as_json: Json = False, admin_key: AdminKey = "", options: Options = _DEFAULTS
) -> int:
    """List the members of an organization, with their roles."""
    return _list(f"{org_path(name)}/members", _MEMBER_COLUMNS, as_json, admin_key, options)


@org.command(name="add-member")
def add_member(
    name: _Org,
    member: _Name,
    *,
    role: Annotated[_Role, cyclopts.Parameter(help="What the user is to be there.")] = "member",
    admin_key: AdminKey = "",
    options: Options = _DEFAULTS,
) -> int:
    """Make a user a member of an organization."""
    return _put_member(name, member, role, admin_key, options)


@org.command(name="set-role")
def set_role(
    name: _Org,
    member: _Name,
    role: Annotated[_Role, cyclopts.Parameter(help="What the member is to be.")],
    *,
    admin_key: AdminKey = "",
    options: Options = _DEFAULTS,
) -> int:
    """Change the role of a member."""
    return _put_member(name, member, role, admin_key, options)


@org.command(name="remove-member")
def remove_member(
    name: _Org, member: _Name, *, admin_key: AdminKey = "", options: Options = _DEFAULTS
) -> int:
    """End a membership; the last owner stays."""

    async def remove(operator: "Operator") -> Any:
        return await operator.ask("DELETE", f"{org_path(name)}/members/{quoted(member)}")

    return told(remove, False, admin_key, options)


# What `keys` needs as well.


def quoted(name: str) -> str:
    """
    Return a name as a part of a path.

    Raises:
        InvalidInput: It would mean another path: whoever sends a request takes dots as directories
            have them, so that removing the member `..` would remove the organization.
    """
    if name in {"", ".", ".."}:
        raise InvalidInput(f"nothing can be called {name!r}")
    return quote(name, safe="")


def user_path(name: str) -> str:
    """Return the path of a user."""
    return f"/v1/users/{quoted(name)}"


def org_path(name: str) -> str:
    """Return the path of an organization."""
    return f"/v1/organizations/{quoted(name)}"


def told(work: Any, as_json: bool, admin_key: str, options: Any) -> int:
    """Do some work with an operator, and print what comes of it: an object, or nothing."""
    settings = settings_of(options)
    # Loaded only here: `--help` and wrong usage answer without waiting for it.
    from algorium_server.commands.operating import work_on  # noqa: PLC0415

    answer = _shown(work_on(settings, admin_key, work))
    if as_json:
        print_json(answer)
    elif isinstance(answer, Mapping):
        print_table(("what", "value"), [(name, _text(value)) for name, value in answer.items()])
    return DONE


def listed(work: Any, columns: Sequence[str], as_json: bool, admin_key: str, options: Any) -> int:
    """Do some work with an operator, and print what comes of it: a list of objects."""
    settings = settings_of(options)
    from algorium_server.commands.operating import work_on  # noqa: PLC0415 - as in `told`

    found = [_shown(each) for each in work_on(settings, admin_key, work)]
    if as_json:
        print_json(found)
    else:
        print_table(columns, [[_text(each.get(column)) for column in columns] for each in found])
    return DONE


def delete(work: Any, question: str, is_sure: bool, admin_key: str, options: Any) -> int:
    """Do something that cannot be undone, if it is meant."""
    if not is_sure and not agreed(question):
        return WRONG_USAGE
    return told(work, False, admin_key, options)


def _delete_account(path: str, question: str, is_sure: bool, admin_key: str, options: Any) -> int:
    async def ask(operator: "Operator") -> Any:
        await operator.ask("GET", path)  # deleting what is not there would be fine otherwise
        return await operator.ask("DELETE", path)

    return delete(ask, question, is_sure, admin_key, options)


def agreed(question: str) -> bool:
    """Whether somebody at a terminal says that this is meant."""
    if not sys.stdin.isatty():
        sys.stderr.write("algorium: nobody can be asked here whether this is meant: add --yes\n")
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _list(path: str, columns: Sequence[str], as_json: bool, admin_key: str, options: Any) -> int:
    async def gather(operator: "Operator") -> list[Mapping[str, Any]]:
        found: AsyncIterator[Mapping[str, Any]] = operator.page_through(path)
        return [each async for each in found]

    return listed(gather, columns, as_json, admin_key, options)


def _put_user(
    name: str, body: Mapping[str, Any], as_json: bool, admin_key: str, options: Any
) -> int:
    async def put(operator: "Operator") -> Any:
        return await operator.ask("PUT", user_path(name), body)

    return told(put, as_json, admin_key, options)


def _put_member(name: str, member: str, role: str, admin_key: str, options: Any) -> int:
    async def put(operator: "Operator") -> Any:
        path = f"{org_path(name)}/members/{quoted(member)}"
        return await operator.ask("PUT", path, {"role": role})

    return told(put, False, admin_key, options)


def _shown(value: Any) -> Any:
    """Leave out what is for programs that follow links: without a server they lead nowhere."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: each
        for name, each in value.items()
        if not name.endswith("_link") and name != "resource_type"
    }


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_text(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value)
