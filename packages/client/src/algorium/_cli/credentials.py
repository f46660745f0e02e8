"""
Where the credentials of a connector come from: a file, the environment, or whoever types them.

Everybody on a machine can read the command lines of its processes. So a secret on the command line
is possible, with `--credential`, but never the way that a prompt, an error or an example leads to.
"""

import json
import os
import sys
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import Any, Final

from algorium._cli.program import UsageError

FILE_BYTES_MAX: Final = 1 << 20
"""Of a file with credentials: theirs are a few KiB, and a wrong path may lead to a disk image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """
    One member of the credentials of a protocol.

    Attributes:
        name: As the wire has it.
        variables: Where the tools of its provider look for it in the environment.
        is_plain: It is an address or a name, and may be seen while it is typed.
        is_needed: Nothing works without it.
    """

    name: str
    variables: tuple[str, ...] = ()
    is_plain: bool = False
    is_needed: bool = True


MEMBERS: Final[Mapping[str, tuple[Member, ...]]] = {
    "s3": (
        Member(name="access_key_id", variables=("AWS_ACCESS_KEY_ID",), is_plain=True),
        Member(name="secret_access_key", variables=("AWS_SECRET_ACCESS_KEY",)),
        Member(name="session_token", variables=("AWS_SESSION_TOKEN",), is_needed=False),
    ),
    "gs": (
        Member(name="email", is_plain=True),
        Member(name="private_key_id", is_plain=True),
        Member(name="private_key"),
    ),
    "azureblob": (
        Member(name="storage_uri", variables=("AZURE_STORAGE_SERVICE_ENDPOINT",), is_plain=True),
        Member(name="container_name", variables=("AZURE_STORAGE_CONTAINER",), is_plain=True),
        Member(name="sas_token", variables=("AZURE_STORAGE_SAS_TOKEN",)),
    ),
    "dropbox": (
        Member(name="access_token", variables=("DROPBOX_ACCESS_TOKEN",)),
        Member(name="refresh_token", variables=("DROPBOX_REFRESH_TOKEN",), is_needed=False),
        Member(name="app_key", variables=("DROPBOX_APP_KEY",), is_plain=True, is_needed=False),
        Member(name="app_secret", variables=("DROPBOX_APP_SECRET",), is_needed=False),
    ),
}
"""By protocol, what its credentials consist of."""

_ALIASES: Final = {"client_email": "email"}
"""By what files of providers call it: the key file of a Google service account."""

_NOT_TYPED: Final = frozenset({"gs"})
"""Protocols with a key of many lines: nobody types that."""

_FILE_VARIABLES: Final = {"gs": "GOOGLE_APPLICATION_CREDENTIALS"}
"""By protocol, where the environment has the path of a file instead of the credentials."""


def gathered(
    protocol: str, *, file: Path | None, from_env: bool, told: Iterable[str], asks: bool
) -> dict[str, str]:
    """
    Return the credentials for a connector.

    Args:
        protocol: Of the connector.
        file: JSON object with members of them; `-` is standard input.
        from_env: Take what the environment has, as the tools of the provider would.
        told: `NAME=VALUE`; stand before the others.
        asks: Have what is missing typed, if there is a terminal.

    Raises:
        UsageError: They cannot be read, or something is missing. Never tells a value.
    """
    found = {} if file is None else _of_file(protocol, file)
    if from_env:
        found |= _of_environment(protocol)
    found |= _of_words(protocol, told)
    if asks:
        found |= _typed(protocol, found)
    needed = [each.name for each in MEMBERS[protocol] if each.is_needed]
    missing = [name for name in needed if not found.get(name)]
    if missing:
        in_terminal = "" if protocol in _NOT_TYPED else ", or run this in a terminal to be asked"
        raise UsageError(
            f"no {', '.join(missing)}: give --credentials a file with a JSON object that has them, "
            f"or --from-env with {', '.join(_variables(protocol, missing))} set{in_terminal}"
        )
    return found


def _of_file(protocol: str, file: Path) -> dict[str, str]:
    name = "standard input" if str(file) == "-" else str(file)
    if str(file) == "-":
        raw = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
    else:
        with file.open("rb") as stream:
            raw = stream.read(FILE_BYTES_MAX + 1)
    if len(raw) > FILE_BYTES_MAX:
        raise UsageError(f"{name} is too large to be credentials")
    try:
        told = json.loads(raw)
    except ValueError:  # also what is no UTF-8; its text could show a secret
        told = None
    if not isinstance(told, dict):
        raise UsageError(
            f"{name} must hold a JSON object, with the members {_names(protocol)}"
        ) from None
    return _known(protocol, told, f"{name} has no")


def _known(protocol: str, told: Mapping[str, Any], refusal: str) -> dict[str, str]:
    """Return the members that a protocol has; files of providers hold others as well."""
    spelt = {_ALIASES.get(name, name): value for name, value in told.items()}
    names = {each.name for each in MEMBERS[protocol]}
    found = {name: value for name, value in spelt.items() if name in names}
    if not found:
        raise UsageError(f"{refusal} credentials for {protocol}: those are {_names(protocol)}")
    wrong = [name for name, value in found.items() if not isinstance(value, str)]
    if wrong:
        raise UsageError(f"{', '.join(wrong)} must be text")
    return found


def _of_environment(protocol: str) -> dict[str, str]:
    found = {
        member.name: value
        for member in MEMBERS[protocol]
        for variable in member.variables
        if (value := os.environ.get(variable))
    }
    variable = _FILE_VARIABLES.get(protocol)
    if variable is not None and (path := os.environ.get(variable)):
        found = _of_file(protocol, Path(path))
    account = os.environ.get("AZURE_STORAGE_ACCOUNT")
    if protocol == "azureblob" and account and "storage_uri" not in found:
        found["storage_uri"] = f"https://{account}.blob.core.windows.net"
    if not found:
        raise UsageError(f"the environment has none of {', '.join(_variables(protocol))}")
    return found


def _of_words(protocol: str, told: Iterable[str]) -> dict[str, str]:
    names = {each.name for each in MEMBERS[protocol]}
    found = {}
    for each in told:
        name, is_told, value = each.partition("=")
        if not is_told or name not in names:
            # Without the word itself: it may be a secret whose name was forgotten.
            raise UsageError(f"--credential takes NAME=VALUE, with a name of {_names(protocol)}")
        found[name] = value
    return found


def _typed(protocol: str, found: Mapping[str, str]) -> dict[str, str]:
    if protocol in _NOT_TYPED or not sys.stdin.isatty():
        return {}
    typed = {}
    for member in MEMBERS[protocol]:
        if not member.is_needed or found.get(member.name):
            continue
        prompt = f"{member.name}: "
        if member.is_plain:
            sys.stderr.write(prompt)
            sys.stderr.flush()
            typed[member.name] = sys.stdin.readline().strip()
        else:
            typed[member.name] = getpass(prompt).strip()
    return typed


def _names(protocol: str) -> str:
    return ", ".join(each.name for each in MEMBERS[protocol])


def _variables(protocol: str, names: Container[str] | None = None) -> list[str]:
    """Return where the environment has the members of these names, or all that it may have."""
    found = [
        variable
        for member in MEMBERS[protocol]
        if names is None or member.name in names
        for variable in member.variables
    ]
    of_file = _FILE_VARIABLES.get(protocol)
    return [*found, *([of_file] if of_file is not None else [])]
