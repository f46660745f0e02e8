"""
Users, organizations and their members as values.

Readers take what they know and ignore the rest, so an older client reads a newer server. Standard
library only.

Source: wire specification, "Users", "Organizations", "Organization types", "Members".
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from algorium.wire.reading import flag, members, moment, needed, text


@dataclass(frozen=True, slots=True, kw_only=True)
class UserInfo:
    """
    A user of the server.

    Attributes:
        username: What it is called.
        user_id: Names it to the server, as its name does.
        email: Its address.
        fullname: What people call it.
        company_name: Where it works, empty if it does not say.
        company_role: As what, likewise.
        external_id: What the company's own directory calls it, likewise.
        is_disabled: Whether all its keys are refused.
        created_at: None if the server does not tell.
        api_key: Value of its first key, in the answer that creates a user; else empty.
    """

    username: str
    user_id: str = ""
    email: str = ""
    fullname: str = ""
    company_name: str = ""
    company_role: str = ""
    external_id: str = ""
    is_disabled: bool = False
    created_at: datetime | None = None
    api_key: str = field(default="", repr=False)

    @classmethod
    def from_json(cls, value: object) -> "UserInfo":
        """
        Read a user.

        Raises:
            BodyError: It has no name.
        """
        told = members(value, "user")
        return cls(
            username=needed(told, "username", "user"),
            user_id=text(told, "id"),
            email=text(told, "email"),
            fullname=text(told, "fullname"),
            company_name=text(told, "company_name"),
            company_role=text(told, "company_role"),
            external_id=text(told, "external_id"),
            is_disabled=flag(told, "disabled"),
            created_at=moment(told, "created_at"),
            api_key=text(told, "api_key"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationInfo:
    """
    An organization: an account of several users.

    Attributes:
        name: What it is called.
        organization_id: Names it to the server, as its name does.
        label: What people call it.
        contact_name: Who speaks for it.
        email: Its address.
        url: Of its pages.
        type_id: Of its type, see `Organizations.types`.
        external_id: What the company's own directory calls it.
        external_admin_group: Groups there whose members own it, with commas between them.
        external_member_group: Groups there whose members belong to it.
        external_executor_group: Groups there whose members may call what it makes.
        created_at: None if the server does not tell.
    """

    name: str
    organization_id: str = ""
    label: str = ""
    contact_name: str = ""
    email: str = ""
    url: str = ""
    type_id: str = ""
    external_id: str = ""
    external_admin_group: str = ""
    external_member_group: str = ""
    external_executor_group: str = ""
    created_at: datetime | None = None

    @classmethod
    def from_json(cls, value: object) -> "OrganizationInfo":
        """
        Read an organization.

        Raises:
            BodyError: It has no name.
        """
        told = members(value, "organization")
        groups: dict[str, Any] = {
            name: text(told, name)
            for name in (
                "external_id",
                "external_admin_group",
                "external_member_group",
                "external_executor_group",
            )
        }
        return cls(
            name=needed(told, "org_name", "organization"),
            organization_id=text(told, "id"),
            label=text(told, "org_label"),
            contact_name=text(told, "org_contact_name"),
            email=text(told, "org_email"),
            url=text(told, "org_url"),
            type_id=text(told, "type_id"),
            created_at=moment(told, "org_created_at"),
            **groups,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationType:
    """
    A kind of organization.

    Attributes:
        type_id: Names it to the server.
        name: `basic`, `legacy`, `pro`, or what an administrator has added.
    """

    type_id: str
    name: str

    @classmethod
    def from_json(cls, value: object) -> "OrganizationType":
        """
        Read a type.

        Raises:
            BodyError: It has no id or no name.
        """
        told = members(value, "type")
        return cls(type_id=needed(told, "id", "type"), name=needed(told, "name", "type"))


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberInfo:
    """
    A user in an organization.

    Attributes:
        username: Who.
        role: `owner`, `member` or `executor`, who may only call what the organization has made.
    """

    username: str
    role: str = "member"

    @classmethod
    def from_json(cls, value: object) -> "MemberInfo":
        """
        Read a member.

        Raises:
            BodyError: It has no name.
        """
        told = members(value, "member")
        return cls(
            username=needed(told, "username", "member"),
            # Older servers know two roles only, and spell the field as the old service did.
            role=text(told, "organization_role") or text(told, "role") or "member",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmName:
    """
    An algorithm in a list of names.

    Attributes:
        algorithm_id: Names it to the server.
        owner: Whose it is.
        name: What it is called.
    """

    algorithm_id: str
    owner: str
    name: str

    @classmethod
    def from_json(cls, value: object) -> "AlgorithmName":
        """
        Read an algorithm's names.

        Raises:
            BodyError: One is missing.
        """
        told = members(value, "algorithm")
        return cls(
            algorithm_id=needed(told, "id", "algorithm"),
            owner=needed(told, "username", "algorithm"),
            name=needed(told, "algoname", "algorithm"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """
    A browser that somebody is signed in with.

    Attributes:
        session_id: Names it to the server.
        method: How they signed in: `password` or `oidc`.
        address: From where.
        user_agent: With which browser, in its own words.
        is_current: Whether it is the one that asks; never for keys.
        created_at: When they signed in.
        last_used_at: When it was used last, to within minutes.
        expires_at: When it ends by itself.
    """

    session_id: str
    method: str = ""
    address: str = ""
    user_agent: str = ""
    is_current: bool = False
    created_at: datetime | None = None
    last_used_at: datetime | None = None
    expires_at: datetime | None = None

    @classmethod
    def from_json(cls, value: object) -> "SessionInfo":
        """
        Read a session.

        Raises:
            BodyError: It has no id.
        """
        told = members(value, "session")
        return cls(
            session_id=needed(told, "id", "session"),
            method=text(told, "method"),
            address=text(told, "address"),
            user_agent=text(told, "user_agent"),
            is_current=flag(told, "is_current"),
            created_at=moment(told, "created_at"),
            last_used_at=moment(told, "last_used_at"),
            expires_at=moment(told, "expires_at"),
        )
