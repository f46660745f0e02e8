"""
Connectors: storage elsewhere that an account has connected, what it opens, and who may change it.

A connector is named by its protocol and a label, `s3+archive`; one of each protocol may be the
default, `s3`. Its path is a pattern for the places that it opens: `*` stands for any text, slashes
included, so that `bucket/*` is everything in a bucket and `bucket*` also other buckets.

Source: wire specification, "Connectors".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import (
    CONNECTOR_LABEL_CHARS_MAX,
    CONNECTOR_PATH_CHARS_MAX,
    CONNECTOR_VALUE_CHARS_MAX,
)

_LABEL: Final = re.compile(r"[A-Za-z0-9_-]+")
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}")
_CONTAINER: Final = re.compile(r"\$?[a-z0-9-]{2,63}")
_KMS_KEY: Final = re.compile(r"[A-Za-z0-9:/_.-]{1,512}")


class StorageProtocol(StrEnum):
    """What kind of storage it is; the values are the wire's."""

    S3 = "s3"
    GS = "gs"
    AZURE = "azureblob"
    DROPBOX = "dropbox"


class CredentialKind(StrEnum):
    """What it is opened with; the values are the wire's."""

    IAM = "iam"
    SERVICE_ACCOUNT = "serviceaccount"
    SAS = "sas"
    OAUTH = "oauth"


CREDENTIAL_KINDS: Final = {
    StorageProtocol.S3: CredentialKind.IAM,
    StorageProtocol.GS: CredentialKind.SERVICE_ACCOUNT,
    StorageProtocol.AZURE: CredentialKind.SAS,
    StorageProtocol.DROPBOX: CredentialKind.OAUTH,
}

_REQUIRED: Final = {
    CredentialKind.IAM: ("access_key_id", "secret_access_key"),
    CredentialKind.SERVICE_ACCOUNT: ("email", "private_key_id", "private_key"),
    CredentialKind.SAS: ("storage_uri", "sas_token", "container_name"),
    CredentialKind.OAUTH: ("access_token",),
}
_OPTIONAL: Final = {
    CredentialKind.IAM: ("session_token",),
    # Dropbox gives a new access token only to the application that has the refresh token.
    CredentialKind.OAUTH: ("refresh_token", "app_key", "app_secret"),
}
PLAIN_VALUES: Final = frozenset({"storage_uri", "container_name", "email"})
"""Members of credentials that are addresses: messages may show them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorOptions:
    """
    How a source is reached, where it is not as its protocol has it.

    Attributes:
        endpoint: Address of a service that speaks the protocol; empty for the provider's own.
        region: Of s3; empty to ask the service.
        path_style: Of s3: the bucket is part of the path, not of the host's name.
        ca_certificate: PEM of an authority to trust beside the usual ones.
        kms_key_id: Of s3: the key that encrypts what is written.
        allow_http: Go without TLS, to endpoints that the operator has allowed.
        bucket: Of s3 and gs: the only bucket, so that nobody asks for a list of them.
    """

    endpoint: str = ""
    region: str = ""
    path_style: bool = True
    ca_certificate: str = ""
    kms_key_id: str = ""
    allow_http: bool = False
    bucket: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredConnector:
    """
    A connector as it is kept.

    Attributes:
        owner_id: The account whose it is.
        path: Pattern of what it opens.
        sealed: Its credentials, encrypted.
        revision: Another one after each change.
    """

    connector_id: str
    owner_id: str
    protocol: StorageProtocol
    label: str
    is_default: bool = False
    is_writeable: bool = False
    path: str = "*"
    options: ConnectorOptions = field(default_factory=ConnectorOptions)
    sealed: bytes = b""
    revision: str
    created_at: datetime

    def opens(self, path: str, *, is_directory: bool = False) -> bool:
        """
        Whether a place may be used through it.

        Args:
            path: Segments joined by slashes, empty for the root.
            is_directory: It is wanted as a directory: `bucket/*` opens the directory `bucket`.
        """
        return matches(self.path, path) or (
            is_directory and path != "" and matches(self.path, f"{path}/")
        )


def matches(pattern: str, path: str) -> bool:
    """Whether *path* is of the form *pattern*; `*` is any text, every other character itself."""
    first, *rest = pattern.split("*")
    if not rest:
        return path == pattern
    if not path.startswith(first):
        return False
    # Each part at its earliest place leaves the most room for the others: no way back is needed,
    # whatever pattern somebody thinks up.
    position = len(first)
    *middle, last = rest
    for part in middle:
        found = path.find(part, position)
        if found < 0:
            return False
        position = found + len(part)
    return len(path) - len(last) >= position and path.endswith(last)


def check_label(label: str) -> str:
    """
    Return *label* if a connector may be called so.

    Raises:
        InvalidInput: Too long, or not of letters, digits, `_` and `-`.
    """
    if len(label) > CONNECTOR_LABEL_CHARS_MAX or not _LABEL.fullmatch(label):
        raise InvalidInput(
            f"{label[:200]!r} cannot be a label: use letters, digits, _ and -, "
            f"{CONNECTOR_LABEL_CHARS_MAX} characters at most"
        )
    return label


def check_path(path: str) -> str:
    """
    Return *path* if it can be the pattern of a connector, without a slash in front.

    Raises:
        InvalidInput: Empty, too long, or with a NUL in it.
    """
    pattern = path.lstrip("/")
    if not pattern or len(pattern) > CONNECTOR_PATH_CHARS_MAX or not _is_text(pattern):
        raise InvalidInput(
            "path must be a pattern such as bucket/*, "
            f"{CONNECTOR_PATH_CHARS_MAX} characters at most"
        )
    return pattern


def check_options(options: ConnectorOptions) -> ConnectorOptions:
    """
    Return *options* if they can be right.

    Raises:
        InvalidInput: One of them has a form that it cannot have.
    """
    if options.endpoint:
        check_address(options.endpoint, "options.endpoint", allow_http=options.allow_http)
        if not options.path_style and not _can_have_names_below(options.endpoint):
            raise InvalidInput(
                "options.path_style=false needs an endpoint with https:// and the name of a host"
            )
    if options.region and not is_region(options.region):
        raise InvalidInput("options.region must be a name such as eu-central-1")
    if options.kms_key_id and not _KMS_KEY.fullmatch(options.kms_key_id):
        raise InvalidInput("options.kms_key_id must be the id or the ARN of a key")
    if options.bucket and not is_bucket(options.bucket):
        raise InvalidInput("options.bucket must be the name of a bucket")
    if len(options.ca_certificate) > CONNECTOR_VALUE_CHARS_MAX:
        raise InvalidInput("options.ca_certificate is too long")
    return options


def check_credentials(kind: CredentialKind, values: Mapping[str, str]) -> dict[str, str]:
    """
    Return what credentials of a kind consist of; members that are not part of them are left out.

    Raises:
        InvalidInput: A member is missing, or cannot be right. Never tells a value.
    """
    known = {}
    for name in (*_REQUIRED[kind], *_OPTIONAL.get(kind, ())):
        value = values.get(name, "")
        if not value and name in _REQUIRED[kind]:
            raise InvalidInput(f"cred_data.{name} is missing")
        if len(value) > CONNECTOR_VALUE_CHARS_MAX or not _is_text(value):
            raise InvalidInput(f"cred_data.{name} is too long, or no text")
        # They become headers and addresses, and libraries break down over line ends there.
        if name != "private_key" and not value.isprintable():
            raise InvalidInput(f"cred_data.{name} has line breaks or control characters in it")
        if value:
            known[name] = value
    if kind is CredentialKind.IAM and any(not v.isascii() or " " in v for v in known.values()):
        raise InvalidInput("cred_data must be the two parts of an access key")
    if kind is CredentialKind.OAUTH and any(not v.isascii() for v in known.values()):
        raise InvalidInput("cred_data must be tokens, which are ASCII")
    if kind is CredentialKind.SAS and not _CONTAINER.fullmatch(known["container_name"]):
        raise InvalidInput("cred_data.container_name must be the name of a container")
    return known


def check_address(text: str, what: str, *, allow_http: bool) -> None:
    """
    Check the form of an address that requests are sent to.

    Raises:
        InvalidInput: Not `https://host[:port][/path]`; `http://` only where that is allowed.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"] or 443) > 65535:
        raise InvalidInput(f"{what} must be an address such as https://storage.example.com")
    if match["scheme"] == "http" and not allow_http:
        raise InvalidInput(
            f"{what} must begin with https://: over http anybody on the way can read along",
            hint="options.allow_http permits it, for endpoints that the operator has allowed",
        )


# No user, query or fragment, and nothing that two readers of an address could read in two ways.
_ADDRESS: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*)/?"
)


def host_of(address: str) -> tuple[str, int]:
    """Return host and port of an address that `check_address` has accepted."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise InvalidInput("not an address")
    port = int(match["port"] or (443 if match["scheme"] == "https" else 80))
    return match["host"].strip("[]"), port


def is_region(name: str) -> bool:
    """Whether a region may be called so: such a name can stand in an address as it is."""
    return _REGION.fullmatch(name) is not None


def is_bucket(name: str) -> bool:
    """Whether a bucket may be called so: such a name can stand in an address as it is."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]", name) is not None


def _can_have_names_below(endpoint: str) -> bool:
    # Over plain HTTP requests go to an address, and there is nothing below an address.
    host, _ = host_of(endpoint)
    last = host.rstrip(".").rpartition(".")[2]
    return endpoint.startswith("https://") and ":" not in host and not last[:1].isdigit()


def _is_text(value: str) -> bool:
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
