"""
Secrets of an algorithm as those see them who manage them: all but their values.

Standard library only.

Source: wire specification, "Secret store".
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from algorium.wire.bodies import BodyError
from algorium.wire.reading import flag, members, moment, needed
from algorium.wire.reading import text as text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretInfo:
    """
    A secret: an environment variable of an algorithm. Its value never comes back.

    Attributes:
        secret_id: Names it to the server.
        variable: What the algorithm finds it under.
        name: What people call it.
        description: What it is for.
        provider_id: What keeps the value.
        value_id: Another one after each change of the value.
        created_at: When it was made, None if the server does not tell.
        modified_at: When it was changed last, None if the server does not tell.
    """

    secret_id: str
    variable: str
    name: str = ""
    description: str = ""
    provider_id: str = ""
    value_id: str = ""
    created_at: datetime | None = None
    modified_at: datetime | None = None

    @classmethod
    def from_json(cls, value: object) -> "SecretInfo":
        """
        Read a secret.

        Raises:
            BodyError: It has no id or no variable.
        """
        if not isinstance(value, dict):
            raise BodyError("secret: not an object")

        def text(name: str) -> str:
            told = value.get(name)
            return told if isinstance(told, str) else ""

        if not text("id") or not text("secret_key"):
            raise BodyError("secret: no id or no secret_key")
        return cls(
            secret_id=text("id"),
            variable=text("secret_key"),
            name=text("short_name"),
            description=text("description").strip(),
            provider_id=text("provider_id"),
            value_id=text("default_secret_value_id"),
            created_at=_moment(text("created")),
            modified_at=_moment(text("modified")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderInfo:
    """
    What keeps the values of secrets. How it is reached never comes back.

    Attributes:
        provider_id: Names it to the server.
        name: For people.
        description: The same.
        kind: Which kind of provider it is; the wire calls it the class of its factory.
        is_enabled: Whether secrets can be kept by it.
        is_default: Whether it keeps secrets that name none.
        created_at: When it was entered, None if the server does not tell.
        modified_at: When it was changed last, likewise.
    """

    provider_id: str
    name: str = ""
    description: str = ""
    kind: str = ""
    is_enabled: bool = True
    is_default: bool = False
    created_at: datetime | None = None
    modified_at: datetime | None = None

    @classmethod
    def from_json(cls, value: object) -> "ProviderInfo":
        """
        Read a provider.

        Raises:
            BodyError: It has no id.
        """
        told = members(value, "provider")
        return cls(
            provider_id=needed(told, "id", "provider"),
            name=text_of(told, "name"),
            description=text_of(told, "description"),
            kind=text_of(told, "factoryClassName"),
            is_enabled=flag(told, "isEnabled", unless_told=True),
            is_default=flag(told, "isDefault"),
            created_at=moment(told, "created"),
            modified_at=moment(told, "modified"),
        )


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
