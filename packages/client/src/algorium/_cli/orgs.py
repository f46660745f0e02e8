"""`algo orgs`: `list`, `show`, `members`, `add-member`, `remove-member`."""

from itertools import islice
from typing import Annotated, Final

from cyclopts import App

from algorium._cli.program import (
    AsJson,
    Server,
    UsageError,
    app,
    connect,
    note,
    write_json,
    write_line,
    write_list,
)
from algorium._rendering_authoring import as_json as value_json
from algorium._rendering_authoring import fact_lines, table

_ROLES: Final = ("owner", "member", "executor")
_LINES: Final = 1000

orgs = App(name="orgs", help="Organizations: accounts of several users.")
app.command(orgs)


@orgs.command(name="list")
def list_orgs(
    *,
    limit: int = _LINES,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    List organizations by name; for administrators.

    Parameters
    ----------
    limit
        How many to show at most.
    as_json
        Print a JSON list.
    """
    if limit < 1:
        raise UsageError("--limit must be at least 1")
    with connect(server) as client:
        found = list(islice(client.organizations.list(page=min(limit, _LINES)), limit))
    rows = [(each.name, each.label, each.email) for each in found]
    write_list(found, table(("name", "label", "email"), rows), as_json=as_json)


@orgs.command
def show(
    name: str,
    /,
    *,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Show an organization that you belong to.

    Parameters
    ----------
    name
        What it is called.
    as_json
        Print a JSON object.
    """
    with connect(server) as client:
        found = client.organizations.get(name)
        types = {each.type_id: each.name for each in client.organizations.types()}
    if as_json:
        write_json(value_json(found))
        return
    facts = {
        "name": found.name,
        "id": found.organization_id,
        "label": found.label,
        "contact": found.contact_name,
        "email": found.email,
        "url": found.url,
        "type": types.get(found.type_id, found.type_id),
        "since": found.created_at.strftime("%Y-%m-%d") if found.created_at else "",
    }
    for line in fact_lines(facts):
        write_line(line)


@orgs.command
def members(
    name: str,
    /,
    *,
    limit: int = _LINES,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    List the members of an organization that you belong to.

    Parameters
    ----------
    name
        What the organization is called.
    limit
        How many to show at most.
    as_json
        Print a JSON list.
    """
    if limit < 1:
        raise UsageError("--limit must be at least 1")
    with connect(server) as client:
        found = list(islice(client.organizations.members(name, page=min(limit, _LINES)), limit))
    rows = [(each.username, each.role) for each in found]
    write_list(found, table(("user", "role"), rows), as_json=as_json)


@orgs.command
def add_member(
    name: str,
    username: str,
    /,
    *,
    role: str | None = None,
    server: Server | None = None,
) -> None:
    """
    Make a user a member of an organization that you own, or give a member another role.

    Parameters
    ----------
    name
        What the organization is called.
    username
        Who.
    role
        owner, member, or executor, who may only call what the organization has made. A new one is
        a member if left out, and others stay what they are.
    """
    if role is not None and role not in _ROLES:
        raise UsageError(f"--role knows {', '.join(_ROLES)}, not {role}")
    with connect(server) as client:
        is_new = client.organizations.add_member(name, username, role=role)
    as_what = f" as {role}" if role is not None else ""
    note(f"{'added' if is_new else 'kept'} {username} in {name}{as_what}")


@orgs.command
def remove_member(name: str, username: str, /, *, server: Server | None = None) -> None:
    """
    End the membership of a user in an organization that you own.

    Parameters
    ----------
    name
        What the organization is called.
    username
        Who.
    """
    with connect(server) as client:
        client.organizations.remove_member(name, username)
    note(f"{username} is no member of {name}")
