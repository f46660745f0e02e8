"""
Organizations: what is known of them beside their account, their types, and their members.

Source: wire specification, "Organizations".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from algorium_server.domain.errors import LastOwner, MalformedOrganization
from algorium_server.domain.identity import Account, Role
from algorium_server.domain.limits import (
    ACCOUNT_TEXT_CHARS_MAX,
    EXTERNAL_GROUPS_CHARS_MAX,
    EXTERNAL_ID_CHARS_MAX,
)
from algorium_server.domain.texts import check_text

BASIC_TYPE_ID: Final = "5f8f3b3e-6a67-4c53-9a2b-0c6a1f8d7e01"
"""Of organizations of which nobody says a type."""
BUILT_IN_TYPES: Final[Mapping[str, str]] = {
    BASIC_TYPE_ID: "basic",
    "b1d7c8a4-2f0e-4f5d-8a63-7c9b54e2d102": "legacy",
    "e93a6d52-9b41-4e7c-b0f8-3d5a7182c903": "pro",
}
"""Names by id. Clients of the old service look for these names; they are never deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationType:
    """A kind of organization; what it means is up to the operator."""

    type_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationProfile:
    """
    What is known of an organization and rarely needed; the empty string is "nothing".

    Its label and its e-mail address are those of its account.

    Attributes:
        external_id: What the company's own directory calls it.
        external_admin_group: Tags whose bearers are owners, separated by commas.
        external_member_group: The same for members.
        external_executor_group: The same for executors.
    """

    organization_id: str
    contact_name: str = ""
    url: str = ""
    type_id: str = BASIC_TYPE_ID
    external_id: str = ""
    external_admin_group: str = ""
    external_member_group: str = ""
    external_executor_group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """An organization as a whole."""

    account: Account
    profile: OrganizationProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedOrganization:
    """What somebody says of an organization; None leaves a thing as it is, or to its default."""

    name: str | None = None
    label: str | None = None
    contact_name: str | None = None
    email: str | None = None
    url: str | None = None
    type_id: str | None = None
    external_id: str | None = None
    external_admin_group: str | None = None
    external_member_group: str | None = None
    external_executor_group: str | None = None
    owner_ids: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A user in an organization."""

    user: Account
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInformation:
    """The user of the host that an organization's algorithms were meant to run as; kept only."""

    organization_id: str
    information_id: str
    host_username: str
    host_user_id: str


def check_wanted(wanted: WantedOrganization) -> WantedOrganization:
    """Return *wanted* if its texts can be kept; `MalformedOrganization` if not."""
    for name, (field, chars_max) in _CHARS_MAX.items():
        text = getattr(wanted, name)
        if text is not None:
            check_text(text, field, chars_max=chars_max, refusal=MalformedOrganization)
    return wanted


def groups_of(value: str | list[str]) -> str:
    """Return tags, however they came, separated by commas; each of them once."""
    parts = value.split(",") if isinstance(value, str) else ",".join(value).split(",")
    return ",".join(dict.fromkeys(part for each in parts if (part := each.strip())))


def check_owner_stays(owners: set[str], user_id: str, role: Role | None) -> None:
    """
    Do nothing if an organization has an owner still when a user gets another role.

    Args:
        owners: Ids of those it has.
        user_id: Who gets another role.
        role: The role; None to leave it.

    Raises:
        LastOwner: It was the last owner.
    """
    if role is not Role.OWNER and owners == {user_id}:
        raise LastOwner("the last owner of an organization stays: make somebody else owner first")


_CHARS_MAX: Final = {
    "label": ("org_label", ACCOUNT_TEXT_CHARS_MAX),
    "contact_name": ("org_contact_name", ACCOUNT_TEXT_CHARS_MAX),
    "email": ("org_email", ACCOUNT_TEXT_CHARS_MAX),
    "url": ("org_url", ACCOUNT_TEXT_CHARS_MAX),
    "external_id": ("external_id", EXTERNAL_ID_CHARS_MAX),
    "external_admin_group": ("external_admin_group", EXTERNAL_GROUPS_CHARS_MAX),
    "external_member_group": ("external_member_group", EXTERNAL_GROUPS_CHARS_MAX),
    "external_executor_group": ("external_executor_group", EXTERNAL_GROUPS_CHARS_MAX),
}
