"""`algo auth`."""

import os
import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from algorium._cli.profiles import read_profiles, remove_profile, write_profile
from algorium._cli.program import (
    AsJson,
    Failed,
    Server,
    Switch,
    UsageError,
    app,
    note,
    write_json,
    write_line,
)
from algorium._config import DEFAULT_API_ADDRESS, config_path, normal_address
from algorium._errors import ApiError, NotAuthenticated, TransportError
from algorium._rendering_authoring import table

_DEFAULT: Final = "default"
_SECRET_CHARS_MAX: Final = 16_384
"""Tokens can be long; more is a file that was piped in by mistake."""
_SHOWN_CHARS: Final = 4


@app.command
def auth(
    *,
    api: str = "",
    ca_cert: Path | None = None,
    bearer: Annotated[bool, Switch] = False,
    check: bool = True,
    list_: Annotated[bool, Parameter(name="--list", negative="")] = False,
    logout: Annotated[bool, Switch] = False,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Save a server's address and your key as a profile: algo auth --profile NAME.

    Both are asked for; the key is not shown. Piped in, standard input is the
    key: it is no argument, since others can see commands.

    Parameters
    ----------
    api
        Address of the API, instead of asking for it; as --api-address.
    ca_cert
        File of certificates to trust beside the system's.
    bearer
        What is typed is a token, not a key.
    check
        Ask the server whether it knows the key before it is saved.
    list_
        List the profiles; keys are not shown.
    logout
        Remove the profile.
    as_json
        Print what was saved, or the list, as JSON.
    """
    chosen = server or Server()
    name = chosen.profile or _DEFAULT
    path = config_path()
    if list_ and logout:
        raise UsageError("--list and --logout exclude each other")
    if list_:
        _list(path, as_json=as_json)
        return
    if logout:
        if not remove_profile(path, name):
            raise Failed(
                f"there is no profile {name!r}", hint="`algo auth --list` shows which there are."
            )
        note(f"removed profile {name}; the key itself is still valid")
        return
    known = read_profiles(path).get(name, {})
    address = _address(api or chosen.api_address or "", known)
    certificates = str(ca_cert.absolute()) if ca_cert is not None else str(known.get("ca_cert", ""))
    if certificates and not Path(certificates).is_file():
        raise UsageError(f"there is no file {certificates}")
    secret = _secret("token" if bearer else "API key")
    values = {
        "api_server": address,
        "api_key": "" if bearer else secret,
        "bearer_token": secret if bearer else "",
        "ca_cert": certificates,
    }
    username = _checked(values) if check else ""
    write_profile(path, name, values)
    if as_json:
        write_json({"profile": name, "api_server": address, "username": username or None})
    else:
        who = f" as {username}" if username else ""
        write_line(f"saved profile {name}: {address}{who}")
    _warn(name)


def _list(path: Path, *, as_json: bool) -> None:
    profiles = read_profiles(path)
    if as_json:
        write_json([{"profile": name, **_shown(section)} for name, section in profiles.items()])
        return
    rows = [
        (name, shown["api_server"] or "-", shown["key"] or "-")
        for name, shown in ((name, _shown(section)) for name, section in profiles.items())
    ]
    for line in table(("profile", "server", "key"), rows):
        write_line(line)
    if not profiles:
        note("no profiles yet: `algo auth` saves one")


def _shown(section: dict[str, Any]) -> dict[str, str]:
    key, token = str(section.get("api_key", "")), str(section.get("bearer_token", ""))
    secret = key or token
    # The first characters are the same for all keys, the last ones tell them apart.
    hidden = f"…{secret[-_SHOWN_CHARS:]}" if len(secret) > 4 * _SHOWN_CHARS else "…"
    return {
        "api_server": str(section.get("api_server", "")),
        "ca_cert": str(section.get("ca_cert", "")),
        "key": (hidden if key else f"token {hidden}") if secret else "",
    }


def _address(wanted: str, known: dict[str, Any]) -> str:
    default = str(
        known.get("api_server") or os.environ.get("ALGORITHMIA_API") or DEFAULT_API_ADDRESS
    )
    if not wanted and sys.stdin.isatty():
        sys.stderr.write(f"API address [{default}]: ")
        sys.stderr.flush()
        wanted = sys.stdin.readline().strip()
    return normal_address(wanted or default)


def _secret(what: str) -> str:
    is_typed = sys.stdin.isatty()
    text = getpass(f"{what}: ") if is_typed else sys.stdin.readline(_SECRET_CHARS_MAX + 2)
    text = text.strip()
    if not text:
        raise UsageError(f"there is no {what}: type it, or pipe it in")
    if len(text) > _SECRET_CHARS_MAX or not text.isascii() or not text.isprintable():
        raise UsageError(f"that is no {what}: it has characters that none has, or too many")
    return text


def _checked(values: dict[str, str]) -> str:
    """Ask the server; returns the name of the account, empty if the key may not ask for it."""
    # Inside: the HTTP library takes longer to load than `algo --help` to run.
    from algorium import Algorium  # noqa: PLC0415

    try:
        with Algorium(
            api_address=values["api_server"],
            api_key=values["api_key"] or None,
            bearer_token=values["bearer_token"] or None,
            ca_cert=values["ca_cert"] or None,
        ) as client:
            return client.storage().username
    except NotAuthenticated as error:
        raise Failed(
            f"the server does not accept it: {error.message}",
            hint="Nothing was saved. `algorium serve` prints a first key and keeps it in"
            " credentials.json in its home directory.",
        ) from error
    except TransportError as error:
        raise Failed(
            error.message, hint="Nothing was saved. Start the server, or say --no-check."
        ) from error
    except ApiError as error:
        note(f"the key is known, but may not do everything: {error.message}")
        return ""


def _warn(name: str) -> None:
    """Tell who has just saved a profile that it would not be used."""
    found = [n for n in ("ALGORITHMIA_API", "ALGORITHMIA_API_KEY") if os.environ.get(n)]
    if found and name == _DEFAULT:
        note(f"{' and '.join(found)} of the environment count before it: unset them, or name it")
