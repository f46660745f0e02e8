"""
Users: what is known of them beside their account, and what can be said of one.

Source: wire specification, "Users".
"""

import re
from dataclasses import dataclass
from typing import Final

from algorium_server.domain.errors import MalformedUser
from algorium_server.domain.identity import Account
from algorium_server.domain.limits import (
    ACCOUNT_TEXT_CHARS_MAX,
    COMPANY_ROLE_CHARS_MAX,
    EXTERNAL_ID_CHARS_MAX,
)
from algorium_server.domain.texts import check_text

_EMAIL: Final = re.compile(r"[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+[.][a-zA-Z]{2,6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserProfile:
    """
    What is known of a user and rarely needed; the empty string is "nothing".

    Attributes:
        external_id: What the company's own directory calls the user; unique.
    """

    account_id: str
    company_name: str = ""
    company_role: str = ""
    external_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user as a whole."""

    account: Account
    profile: UserProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedUser:
    """What somebody says of a user; None leaves a thing as it is, or to its default."""

    username: str | None = None
    email: str | None = None
    fullname: str | None = None
    company_name: str | None = None
    company_role: str | None = None
    external_id: str | None = None
    is_disabled: bool | None = None


def check_email(email: str) -> str:
    """Return *email* if it can be the address of a user; `MalformedUser` if not."""
    # Its length first: what is bounded cannot keep the pattern busy.
    if len(email) > ACCOUNT_TEXT_CHARS_MAX or not _EMAIL.fullmatch(email):
        raise MalformedUser(
            f"{email[:100]!r} cannot be an e-mail address here: use name@example.com,"
            f" {ACCOUNT_TEXT_CHARS_MAX} characters at most"
        )
    return email


def email_key(email: str) -> str:
    """Return what addresses are compared by: the old service did not tell cases apart."""
    return email.lower()


def check_wanted(wanted: WantedUser) -> WantedUser:
    """Return *wanted* if its texts can be kept; `MalformedUser` if not."""
    for name, chars_max in _CHARS_MAX.items():
        text = getattr(wanted, name)
        if text is not None:
            check_text(text, name, chars_max=chars_max, refusal=MalformedUser)
    if wanted.email is not None:
        check_email(wanted.email)
    return wanted


_CHARS_MAX: Final = {
    "fullname": ACCOUNT_TEXT_CHARS_MAX,
    "company_name": ACCOUNT_TEXT_CHARS_MAX,
    "company_role": COMPANY_ROLE_CHARS_MAX,
    "external_id": EXTERNAL_ID_CHARS_MAX,
}
