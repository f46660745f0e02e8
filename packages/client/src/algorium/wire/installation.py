"""
What administrators set for a whole server, as values. Standard library only.

Source: wire specification, "Invites", "Notifications, features, UI configuration".
"""

from dataclasses import dataclass
from datetime import datetime

from algorium.wire.bodies import BodyError
from algorium.wire.reading import members, milliseconds, moment, needed, text


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteInfo:
    """
    A code with which somebody may sign up.

    Attributes:
        code: The code itself.
        signup_credits: Kept for front ends that show them.
        comments: For administrators.
        expires_at: When it ends, None for never.
        created_at: When it was made, None if the server does not tell.
        created_by: Who made it.
    """

    code: str
    signup_credits: int = 0
    comments: str = ""
    expires_at: datetime | None = None
    created_at: datetime | None = None
    created_by: str = ""

    @classmethod
    def from_json(cls, value: object) -> "InviteInfo":
        """
        Read an invite.

        Raises:
            BodyError: It has no code.
        """
        told = members(value, "invite")
        credits_told = told.get("signupCredits")
        return cls(
            code=needed(told, "inviteCode", "invite"),
            signup_credits=credits_told if isinstance(credits_told, int) else 0,
            comments=text(told, "comments"),
            expires_at=moment(told, "expiresAt"),
            created_at=moment(told, "createdAt"),
            created_by=text(told, "createdBy"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendEntry:
    """
    A text for front ends. Everybody can read it, without a key.

    Attributes:
        name: What front ends look it up by.
        value: The text.
        created_at: When it was made, None if the server does not tell.
        updated_at: When it was changed last, None if the server does not tell.
    """

    name: str
    value: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @classmethod
    def from_json(cls, value: object) -> "FrontendEntry":
        """
        Read a text.

        Raises:
            BodyError: It has no name.
        """
        told = members(value, "entry")
        return cls(
            name=needed(told, "keyname", "entry"),
            value=text(told, "value"),
            created_at=milliseconds(told, "created_at"),
            updated_at=milliseconds(told, "updated_at"),
        )


def feature(value: object) -> tuple[str, bool]:
    """
    Read a feature: its name, and whether it is on.

    Raises:
        BodyError: It is not one.
    """
    told = members(value, "feature")
    is_on = told.get("enabled")
    if not isinstance(is_on, bool):
        raise BodyError("feature: neither on nor off")
    return needed(told, "name", "feature"), is_on
