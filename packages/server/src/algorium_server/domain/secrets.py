"""
Secrets of algorithms: environment variables that only their own slots have.

A secret is kept by a *provider*: the internal one, which seals values into the database, or one
outside. Of a value nothing is here but where it is.

Source: wire specification, "Secret store", "Environment variables".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from json import dumps
from typing import Final

from algorium_server.domain.errors import (
    InvalidInput,
    SecretInvalid,
    SecretProviderFixed,
)
from algorium_server.domain.limits import (
    SECRET_KEY_CHARS_MAX,
    SECRET_PROVIDER_VALUE_CHARS_MAX,
    SECRET_TEXT_CHARS_MAX,
    SECRET_VALUE_BYTES_MAX,
    SECRETS_JSON_BYTES_MAX,
)

INTERNAL_PROVIDER_ID: Final = "5ec2e700-0000-4000-8000-000000000000"
"""The same in every installation; the migration that made the table put it there."""

_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TAKEN: Final = frozenset(
    {
        "BASH_ENV",
        "ENV",
        "GCONV_PATH",
        "GLIBC_TUNABLES",
        "HOME",
        "IFS",
        "JAVA_TOOL_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "LANG",
        "LOGNAME",
        "MKL_NUM_THREADS",
        "NODE_OPTIONS",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "PATH",
        "R_ENVIRON_USER",
        "R_LIBS",
        "R_LIBS_USER",
        "R_PROFILE_USER",
        "RUBYLIB",
        "RUBYOPT",
        "SHELL",
        "TMPDIR",
        "USER",
        "VIRTUAL_ENV",
        "_JAVA_OPTIONS",
    }
)
_TAKEN_BEGINNINGS: Final = ("ALGORITHMIA_", "ALGORIUM_", "LC_", "LD_", "MALLOC_", "PYTHON")
"""What the platform sets itself, and what decides how a program starts: a secret that happens to be
called so would take effect before the algorithm does."""


class ProviderKind(StrEnum):
    """What keeps secrets, and how it is spoken to."""

    INTERNAL = "internal"
    VAULT = "vault"
    AZURE = "azure"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """
    A secret without its value.

    Attributes:
        secret_key: The variable's name; it stays as long as the secret does.
        short_name: What people call it.
        value_id: Another one for each value that it gets.
        sealed: The value, where the internal provider keeps it; else empty.
    """

    secret_id: str
    algorithm_id: str
    provider_id: str
    secret_key: str
    short_name: str
    description: str
    value_id: str
    sealed: bytes
    created_at: datetime
    modified_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretProvider:
    """
    Where values of secrets are kept.

    Attributes:
        module_name: What the old service loaded; kept for whoever asks.
        factory_class_name: The same; says which kind of provider this is.
        sealed: How it is reached, sealed; empty for the internal one.
        revision: Another one after each change.
    """

    provider_id: str
    name: str
    description: str
    module_name: str
    factory_class_name: str
    interface_version: str
    is_enabled: bool
    is_default: bool
    sealed: bytes
    revision: str
    created_at: datetime
    modified_at: datetime

    @property
    def is_internal(self) -> bool:
        """Whether values are in the database."""
        return self.provider_id == INTERNAL_PROVIDER_ID

    @property
    def kind(self) -> ProviderKind:
        """How it is spoken to."""
        if self.is_internal:
            return ProviderKind.INTERNAL
        kind = kind_of(self.factory_class_name)
        return ProviderKind.VAULT if kind is None else kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which value a provider is asked for."""

    algorithm_id: str
    secret_id: str
    secret_key: str


def check_key(name: str) -> str:
    """
    Return *name* if a variable may be called so.

    Raises:
        SecretInvalid: It may not.
    """
    if not _KEY.fullmatch(name) or len(name) > SECRET_KEY_CHARS_MAX:
        raise SecretInvalid(
            f"secret_key {name[:80]!r} is no name of an environment variable: letters, digits and "
            f"underscores, {SECRET_KEY_CHARS_MAX} at most, not beginning with a digit"
        )
    if is_taken(name):
        raise SecretInvalid(
            f"secret_key {name!r} is a variable that the platform or a language needs itself: "
            "choose another name"
        )
    return name


def is_taken(name: str) -> bool:
    """Whether a variable has a meaning for the platform, or for how programs start."""
    return name.upper() in _TAKEN or name.upper().startswith(_TAKEN_BEGINNINGS)


def check_text(value: str, field: str) -> str:
    """
    Return a name or description.

    Raises:
        SecretInvalid: It is too long, or no text.
    """
    if len(value) > SECRET_TEXT_CHARS_MAX:
        raise SecretInvalid(f"{field} is limited to {SECRET_TEXT_CHARS_MAX} characters")
    if not value.isprintable():
        raise SecretInvalid(f"{field} is one line of text, without control characters")
    return value


def check_value(value: str) -> str:
    """
    Return what a variable is to hold.

    Raises:
        SecretInvalid: It cannot hold that, or it is too long.
    """
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise SecretInvalid("secret_value is not valid Unicode text") from None
    if "\0" in value:
        raise SecretInvalid("secret_value holds a NUL character, which no variable can")
    if size > SECRET_VALUE_BYTES_MAX:
        raise SecretInvalid(f"secret_value is limited to {SECRET_VALUE_BYTES_MAX} bytes")
    return value


def check_together(values: Mapping[str, str]) -> None:
    """
    Do nothing if a slot can be given all of these variables.

    Raises:
        SecretInvalid: They are too much.
    """
    if len(dumps(dict(values))) > SECRETS_JSON_BYTES_MAX:
        raise SecretInvalid(
            f"the secrets of an algorithm, as JSON, are limited to {SECRETS_JSON_BYTES_MAX} bytes "
            "together"
        )


def kind_of(factory_class_name: str) -> ProviderKind | None:
    """Return which provider a factory of the old service made; None if we have none like it."""
    simple = factory_class_name.replace("_", "").lower()
    if "azure" in simple or "keyvault" in simple:
        return ProviderKind.AZURE
    return ProviderKind.VAULT if "vault" in simple else None


NEEDED: Final = {
    ProviderKind.VAULT: ("vault_addr", "vault_token", "vault_secret_path"),
    ProviderKind.AZURE: ("vault_url", "client_id", "client_secret", "tenant_id"),
}
"""What a provider cannot be reached without."""
OPTIONAL: Final = {
    ProviderKind.VAULT: (
        "vault_namespace",
        "vault_kv_version",
        "vault_ca_certificate",
        "read_only",
    ),
    ProviderKind.AZURE: ("read_only",),
}


def check_configuration(kind: ProviderKind, given: Mapping[str, str]) -> dict[str, str]:
    """
    Return how a provider is reached.

    Raises:
        InvalidInput: Something is missing, unknown, or cannot be.
    """
    missing = [name for name in NEEDED[kind] if not given.get(name, "").strip()]
    if missing:
        raise InvalidInput(f"configuration.{missing[0]} is missing")
    known = {*NEEDED[kind], *OPTIONAL[kind]}
    for name, value in given.items():
        if name not in known:
            raise InvalidInput(
                f"configuration.{name[:80]} is unknown: there are {', '.join(sorted(known))}"
            )
        if len(value) > SECRET_PROVIDER_VALUE_CHARS_MAX:
            raise InvalidInput(
                f"configuration.{name} is limited to {SECRET_PROVIDER_VALUE_CHARS_MAX} characters"
            )
        is_chain = name == "vault_ca_certificate"
        if not is_chain and not (value.isascii() and value.isprintable()):
            raise InvalidInput(f"configuration.{name} holds characters that it cannot")
    if given.get("read_only", "false") not in {"true", "false"}:
        raise InvalidInput("configuration.read_only is true or false")
    if given.get("vault_kv_version", "2") not in {"1", "2"}:
        raise InvalidInput("configuration.vault_kv_version is 1 or 2")
    return {name: value.strip() for name, value in given.items() if value.strip()}


def check_provider_text(value: str, field: str) -> str:
    """
    Return a name, description, or name of a class of a provider.

    Raises:
        InvalidInput: It is too long, no text, or an empty name.
    """
    if len(value) > SECRET_TEXT_CHARS_MAX or not value.isprintable():
        raise InvalidInput(f"{field} is a line of text of {SECRET_TEXT_CHARS_MAX} characters")
    if field == "name" and not value.strip():
        raise InvalidInput("name is empty")
    return value


def check_not_internal(provider: SecretProvider) -> None:
    """
    Do nothing if a provider can be changed.

    Raises:
        SecretProviderFixed: It is the internal one.
    """
    if provider.is_internal:
        raise SecretProviderFixed("the internal secret provider stays as it is")
