"""
Container registries: where the old service pushed images of algorithms.

Here algorithms are no images, so nothing is pushed. What administrators enter is kept and listed,
for programs that set an installation up; of a version it is said that nothing was pushed.

Source: wire specification, "Container registries (image push)".
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import (
    REGISTRY_CREDENTIAL_CHARS_MAX,
    REGISTRY_NAME_CHARS_MAX,
    REGISTRY_URL_CHARS_MAX,
)
from algorium_server.domain.texts import check_text

NOT_PUSHED: Final = "Images are not pushed: on this server algorithms are environments, no images."


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """
    A registry.

    Attributes:
        sealed: Name and password for it, as JSON, sealed; empty without any.
    """

    registry_id: str
    name: str
    registry_url: str
    sealed: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRegistry:
    """
    What an administrator says of a registry.

    Attributes:
        username: For it; None leaves it as it is.
        password: The same.
    """

    name: str
    registry_url: str
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def check_registry(wanted: WantedRegistry) -> WantedRegistry:
    """Return *wanted* if it can be kept; `InvalidInput` if not."""
    if not wanted.registry_url.strip():
        raise InvalidInput("registry_url is empty")
    if "@" in wanted.registry_url:
        raise InvalidInput(
            "registry_url must not hold a name or a password",
            hint="Send registry_username and registry_password, which nobody is shown.",
        )
    check_text(wanted.registry_url, "registry_url", chars_max=REGISTRY_URL_CHARS_MAX)
    check_text(wanted.name, "name", chars_max=REGISTRY_NAME_CHARS_MAX)
    for what, value in (
        ("registry_username", wanted.username),
        ("registry_password", wanted.password),
    ):
        check_text(value or "", what, chars_max=REGISTRY_CREDENTIAL_CHARS_MAX)
    return wanted
