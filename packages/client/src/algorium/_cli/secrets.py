"""`algo secrets`, `set-secret`, `delete-secret` and `recycle`."""

import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated, Final

from algorium._cli.program import (
    AsJson,
    Server,
    UsageError,
    app,
    connect,
    note,
    write_list,
)
from algorium._cli.projects import ref_of
from algorium._rendering_authoring import table

_HEADS: Final = ("variable", "name", "changed", "description")


@app.command
def secrets(
    ref: str | None = None,
    /,
    *,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    List the secrets of an algorithm; values are never shown.

    Parameters
    ----------
    ref
        OWNER/NAME; the project here if left out.
    as_json
        Print a JSON list.
    """
    wanted = ref_of(ref, server)
    with connect(server) as client:
        found = client.algorithms(wanted).secrets.list()
    rows = [
        (
            each.variable,
            each.name,
            each.modified_at.strftime("%Y-%m-%d %H:%M") if each.modified_at else "",
            each.description,
        )
        for each in found
    ]
    write_list(found, table(_HEADS, rows), as_json=as_json)


@app.command
def set_secret(
    variable: str,
    ref: str | None = None,
    /,
    *,
    file: Path | None = None,
    name: str | None = None,
    description: str | None = None,
    provider: str = "",
    server: Server | None = None,
) -> None:
    """
    Set an environment variable of an algorithm. The value is asked for, or read.

    Commands can be seen by others, so the value is no argument: it is typed, piped in, or in a
    file. A line end after the last line is left out.

    Parameters
    ----------
    variable
        Letters, digits and underscores.
    ref
        OWNER/NAME; the project here if left out.
    file
        Holds the value.
    name
        What people call it.
    description
        What it is for.
    provider
        Id of what keeps the value; the server's default if left out.
    """
    wanted = ref_of(ref, server)
    value = _value(variable, file)
    with connect(server) as client:
        client.algorithms(wanted).secrets.set(
            variable, value, name=name, description=description, provider_id=provider
        )
    note(f"set {variable}: calls that begin now find it")


@app.command
def delete_secret(
    variable: str, ref: str | None = None, /, *, server: Server | None = None
) -> None:
    """
    Delete an environment variable of an algorithm with its value.

    Parameters
    ----------
    variable
        Which one.
    ref
        OWNER/NAME; the project here if left out.
    """
    wanted = ref_of(ref, server)
    with connect(server) as client:
        client.algorithms(wanted).secrets.delete(variable)
    note(f"deleted {variable}")


@app.command
def recycle(ref: str | None = None, /, *, server: Server | None = None) -> None:
    """
    Have an algorithm load anew: its warm slots are replaced, calls under way go on.

    Parameters
    ----------
    ref
        OWNER/NAME; the project here if left out.
    """
    wanted = ref_of(ref, server)
    with connect(server) as client:
        client.algorithms(wanted).recycle()
    note("replaced its warm slots")


def _value(variable: str, file: Path | None) -> str:
    if file is not None:
        text = file.read_bytes()
    elif sys.stdin.isatty():
        return getpass(f"Value of {variable}: ")
    else:
        text = sys.stdin.buffer.read()
    try:
        value = text.decode()
    except UnicodeDecodeError:
        raise UsageError(
            "the value is no text in UTF-8: encode it, as base64 for example"
        ) from None
    return value.removesuffix("\n").removesuffix("\r")
