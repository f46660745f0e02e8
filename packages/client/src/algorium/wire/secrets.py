"""
Secrets of an algorithm as those see them who manage them: all but their values.

Standard library only.

Source: wire specification, "Secret store".
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from algorium.wire.bodies import BodyError


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


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
