"""
What administrators decide for a whole installation: invites, features, what the front end shows.

Source: wire specification, "Invites", "Notifications, features, UI configuration".
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import (
    CONFIG_KEY_CHARS_MAX,
    CONFIG_VALUE_CHARS_MAX,
    INVITE_CODE_CHARS_MAX,
    INVITE_CODE_CHARS_MIN,
    INVITE_CODE_SHOWN_CHARS_MAX,
    INVITE_COMMENT_CHARS_MAX,
)
from algorium_server.domain.texts import check_text

ERROR_LOGS: Final = "algorithm-errors"
"""The feature that people may read error logs; administrators may anyway."""
FEATURES: Final = {ERROR_LOGS: True, "dark-theme-enabled": False}
"""Names, and whether a feature is on where nobody has said anything."""

_CONFIG_KEY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*[A-Za-z0-9_]")
_CODE: Final = re.compile(r"[A-Za-z0-9_.~-]+")
_CREDITS_MAX: Final = 2**53
"""Whole numbers up to here are the same in every JSON reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invite:
    """
    A code with which somebody may sign up.

    Attributes:
        signup_credits: Kept for those who ask; accounts have quotas instead.
        created_by: Username of the administrator.
    """

    code: str
    signup_credits: int = 0
    comments: str = ""
    expires_at: datetime | None = None
    created_at: datetime
    created_by: str

    @property
    def hidden(self) -> "Invite":
        """The same for those who may look and not use it: whoever knows the code can."""
        # What stays hidden is as hard to guess as the shortest code that is good.
        is_long = len(self.code) >= INVITE_CODE_CHARS_MIN + INVITE_CODE_SHOWN_CHARS_MAX
        return replace(self, code=f"{self.code[:INVITE_CODE_SHOWN_CHARS_MAX]}…" if is_long else "…")

    def signs_up(self, now: datetime) -> bool:
        """Whether somebody may sign up with it; a code that can be guessed is none for that."""
        is_open = self.expires_at is None or now < self.expires_at
        return is_open and len(self.code) >= INVITE_CODE_CHARS_MIN


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigEntry:
    """A text for the front end, by its name."""

    keyname: str
    value: str
    created_at: datetime
    updated_at: datetime


def check_invite(invite: Invite) -> Invite:
    """Return *invite* if it can be kept; `InvalidInput` if not."""
    is_long = INVITE_CODE_CHARS_MIN <= len(invite.code) <= INVITE_CODE_CHARS_MAX
    if not is_long or not _CODE.fullmatch(invite.code):
        raise InvalidInput(
            f"inviteCode must be {INVITE_CODE_CHARS_MIN} to {INVITE_CODE_CHARS_MAX} letters,"
            " digits, '_', '.', '~', '-'; a shorter one is easily guessed, so nobody could sign up"
            " with it"
        )
    if not 0 <= invite.signup_credits <= _CREDITS_MAX:
        raise InvalidInput(f"signupCredits must be a number from 0 to {_CREDITS_MAX}")
    check_text(invite.comments, "comments", chars_max=INVITE_COMMENT_CHARS_MAX)
    return invite


def check_config_key(keyname: str) -> str:
    """Return *keyname* if an entry may be called so; `InvalidInput` if not."""
    if len(keyname) > CONFIG_KEY_CHARS_MAX or not _CONFIG_KEY.fullmatch(keyname):
        raise InvalidInput(
            f"{keyname[:100]!r} cannot be a keyname: use letters, digits, '_', '-' and '.', two to"
            f" {CONFIG_KEY_CHARS_MAX}, with a letter, digit or '_' at both ends"
        )
    return keyname


def check_config_value(value: str) -> str:
    """Return *value* if an entry may hold it; `InvalidInput` if it is too long."""
    if len(value) > CONFIG_VALUE_CHARS_MAX:
        raise InvalidInput(f"value is limited to {CONFIG_VALUE_CHARS_MAX} characters")
    return value
