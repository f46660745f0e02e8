r"""
Where the server is and who we are: arguments, environment, profiles.

What an argument says wins, then what the environment says (`ALGORITHMIA_API`,
`ALGORITHMIA_API_KEY`, `ALGORITHMIA_BEARER_TOKEN`, `REQUESTS_CA_BUNDLE`), then the profile. Naming a
profile is an argument too: it then stands before the environment. Profiles live in
`~/.algorithmia/config` (on Windows `%LOCALAPPDATA%\Algorithmia\config`), a TOML file as the old
command line wrote it:

    [profiles.default]
    api_server = "https://api.example.com"
    api_key = "sim..."
    ca_cert = "/path/to/ca.pem"

A profile's credentials go to that profile's own server only.

A pickled connection holds the arguments it was made of, and settles everything else anew where it
is unpickled. So a key that was passed as an argument is in the pickle, and one that came from the
environment or a profile is not.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from algorium._errors import ConfigurationError

DEFAULT_API_ADDRESS: Final = "http://127.0.0.1:8080"
"""Where `algorium serve` listens; the hosted service of old is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One section of the file; what is missing or blank there is empty here."""

    api_server: str = ""
    api_key: str = field(default="", repr=False)
    bearer_token: str = field(default="", repr=False)
    ca_cert: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """
    How to reach the server.

    Attributes:
        api_address: `http(s)://host[:port][/prefix]`, no trailing slash.
        authorization: Value of the header, or empty for none, as inside an algorithm.
        ca_cert: File of certificates to trust beside the system's, or empty.
        arguments: What `connection` was asked for.
    """

    api_address: str
    authorization: str = field(default="", repr=False)
    ca_cert: str = ""
    arguments: Mapping[str, str | None] = field(default_factory=dict, repr=False, compare=False)

    def __reduce__(self) -> "tuple[Callable[..., Connection], tuple[Mapping[str, str | None]]]":
        return _settled, (dict(self.arguments),)


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the profiles are."""
    if os.name == "nt":
        return Path(environment.get("LOCALAPPDATA", "~")).expanduser() / "Algorithmia" / "config"
    return Path(environment.get("HOME") or "~").expanduser() / ".algorithmia" / "config"


def read_profile(name: str, path: Path) -> Profile | None:
    """
    Read one profile; None if there is no such section, or no file.

    Raises:
        ConfigurationError: The file cannot be read or is not what it should be.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors mark it
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        # The parser's text has line and column, never the file's content.
        raise ConfigurationError(f"Cannot read {path}: {error}") from error
    profiles = document.get("profiles")
    section = profiles.get(name) if isinstance(profiles, dict) else None
    if not isinstance(section, dict):
        return None
    values = {}
    for key in ("api_server", "api_key", "bearer_token", "ca_cert"):
        value = section.get(key, "")
        if not isinstance(value, str):
            raise ConfigurationError(f"{path}: {key} of profile {name!r} must be a string.")
        values[key] = value.strip()
    return Profile(**values)


def connection(
    *,
    api_key: str | None = None,
    api_address: str | None = None,
    bearer_token: str | None = None,
    ca_cert: str | None = None,
    profile: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Connection:
    """
    Settle how to reach the server, by the order in the module's description.

    Raises:
        ConfigurationError: No such profile, an unreadable file, or an impossible address.
    """
    arguments = {
        "api_key": api_key,
        "api_address": api_address,
        "bearer_token": bearer_token,
        "ca_cert": ca_cert,
        "profile": profile,
    }
    path = config_path(environment)
    chosen = read_profile(profile or "default", path)
    if chosen is None and profile is not None:
        raise ConfigurationError(
            f"There is no profile {profile!r} in {path}.", hint=f"Add a [profiles.{profile}] there."
        )
    chosen = chosen or Profile()
    ambient: Mapping[str, str] = {} if profile is not None else environment
    address = normal_address(
        api_address or ambient.get("ALGORITHMIA_API") or chosen.api_server or DEFAULT_API_ADDRESS
    )
    if chosen.api_server and normal_address(chosen.api_server) != address:
        chosen = Profile()
    return Connection(
        api_address=address,
        authorization=_authorization(
            (api_key or "", bearer_token or ""),
            (ambient.get("ALGORITHMIA_API_KEY", ""), ambient.get("ALGORITHMIA_BEARER_TOKEN", "")),
            (chosen.api_key, chosen.bearer_token),
        ),
        ca_cert=ca_cert or chosen.ca_cert or environment.get("REQUESTS_CA_BUNDLE", ""),
        arguments=arguments,
    )


def _settled(arguments: Mapping[str, str | None]) -> Connection:
    return connection(**arguments)  # type: ignore[arg-type]  # `environment` is not among them


def _authorization(*sources: tuple[str, str]) -> str:
    """Return the header of the first source that has a key or token; the key comes first."""
    for key, token in sources:
        secret = (key or token).strip()
        # Some HTTP libraries would put the secret into the text of the error.
        if not secret.isascii() or not secret.isprintable():
            raise ConfigurationError("The API key or token has characters that no key has.")
        if secret:
            return f"{'Simple' if key else 'Bearer'} {secret}"
    return ""


def normal_address(text: str) -> str:
    """
    Return an address without what does not matter.

    Raises:
        ConfigurationError: It is not the address of an HTTP server.
    """
    parts = urlsplit(text.strip())
    try:
        is_usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        is_usable = False
    if not is_usable or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{_without_secrets(text)!r} is not the address of an API.",
            hint=f"Write it like {DEFAULT_API_ADDRESS}.",
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            "The API address must not have a user name or password in it.", hint="Use an API key."
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _without_secrets(address: str) -> str:
    _, at, tail = address.rpartition("@")
    return f"…@{tail}" if at else address
