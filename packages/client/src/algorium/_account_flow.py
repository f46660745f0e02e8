"""
Users, organizations and their members: every operation once, as in `_flow.py`.

Source: wire specification, "Users", "Organizations", "Organization types", "Members".
"""

from collections.abc import Mapping
from typing import Any, TypedDict

from algorium._algorithm_flow import Page, json_request, page_query, read, read_list, read_page
from algorium._answers import check
from algorium._errors import AccountNotFound
from algorium._messages import Request, segment
from algorium._retry import Flow
from algorium._wishes import known_options
from algorium.wire.accounts import (
    AlgorithmName,
    MemberInfo,
    OrganizationInfo,
    OrganizationType,
    SessionInfo,
    UserInfo,
)
from algorium.wire.reading import inner, members


class UserTexts(TypedDict, total=False):
    """What can be said of a new user."""

    fullname: str
    company_name: str
    company_role: str
    external_id: str
    disabled: bool


class UserChanges(UserTexts, total=False):
    """What can be said of a user; what is left out stays."""

    email: str


class OrganizationChanges(TypedDict, total=False):
    """What can be said of an organization; what is left out stays."""

    label: str
    contact_name: str
    email: str
    url: str
    type_id: str
    external_id: str
    external_admin_group: str
    external_member_group: str
    external_executor_group: str


_AS_ON_THE_WIRE = {
    "label": "org_label",
    "contact_name": "org_contact_name",
    "email": "org_email",
    "url": "org_url",
}


def path_to(*parts: str) -> str:
    """Return a path of the management API."""
    return "/v1/" + "/".join(map(segment, parts))


def me() -> Flow[UserInfo]:
    """
    Read the user to whom the key belongs.

    Raises:
        NotAuthenticated: It belongs to nobody.
    """
    response = yield Request(method="GET", path="/v1/session")
    check(response)
    return read(response, lambda told: UserInfo.from_json(inner(members(told, "session"), "user")))


def named(username: str) -> Flow[str]:
    """Return *username*, or who the key belongs to; raises as `me`."""
    return username or (yield from me()).username


def sessions(username: str, marker: str, limit: int) -> Flow[Page[SessionInfo]]:
    """
    Read some browsers that a user is signed in with, oldest first.

    Raises:
        AccountNotFound: There is no such user, or not for you.
    """
    path = path_to("users", (yield from named(username)), "sessions")
    response = yield Request(method="GET", path=path, query=page_query(marker, limit))
    check(response, missing=AccountNotFound)
    return read_page(response, SessionInfo.from_json, marker=marker)


def end_sessions(username: str, *session_id: str) -> Flow[None]:
    """
    End one session of a user, or all.

    Raises:
        NotFound: There is no such session.
    """
    path = path_to("users", (yield from named(username)), "sessions", *session_id)
    check((yield Request(method="DELETE", path=path)))


def users(marker: str, limit: int) -> Flow[Page[UserInfo]]:
    """Read some users by name; for administrators."""
    response = yield Request(method="GET", path="/v1/users", query=page_query(marker, limit))
    check(response)
    return read_page(response, UserInfo.from_json, marker=marker)


def user(username: str) -> Flow[UserInfo]:
    """
    Read a user.

    Raises:
        AccountNotFound: There is none.
        NotAuthorized: It is another one, and you are no administrator.
    """
    response = yield Request(method="GET", path=path_to("users", username))
    check(response, missing=AccountNotFound)
    return read(response, UserInfo.from_json)


def create_user(username: str, email: str, told: UserTexts) -> Flow[UserInfo]:
    """
    Create a user; the answer has the value of its first key.

    Raises:
        AlreadyExists: The name or the address is taken.
    """
    body = {
        "username": username,
        "email": email,
        "passwordHash": "",
        **known_options(told, UserTexts),
    }
    response = yield json_request("POST", "/v1/users", body)
    check(response)
    return read(response, UserInfo.from_json)


def sign_up(code: str, username: str, email: str, password: str, fullname: str) -> Flow[UserInfo]:
    """
    Become a user with an invite; the answer has the value of the first key.

    Raises:
        AlreadyExists: The name or the address is taken.
        ApiError: There is no such invite, or something cannot be; the message says which.
    """
    body = {"inviteCode": code, "username": username, "email": email, "password": password}
    if fullname:
        body["fullname"] = fullname
    response = yield json_request("POST", "/v1/sign-up", body)
    check(response)
    return read(response, UserInfo.from_json)


def update_user(username: str, told: UserChanges) -> Flow[UserInfo]:
    """Change a user; raises as `user`."""
    response = yield json_request(
        "PUT", path_to("users", username), dict(known_options(told, UserChanges))
    )
    check(response, missing=AccountNotFound)
    return read(response, UserInfo.from_json)


def delete_user(username: str) -> Flow[None]:
    """Delete a user with what it owns; raises as `user`."""
    response = yield Request(method="DELETE", path=path_to("users", username))
    check(response, missing=AccountNotFound)


def set_password(username: str, password: str) -> Flow[None]:
    """Set the password with which a user may use git; raises as `user`."""
    body = {"password": password}
    response = yield json_request("PUT", path_to("users", username, "password"), body)
    check(response, missing=AccountNotFound)


def organizations(marker: str, limit: int) -> Flow[Page[OrganizationInfo]]:
    """Read some organizations by name; for administrators."""
    query = page_query(marker, limit)
    response = yield Request(method="GET", path="/v1/organizations", query=query)
    check(response)
    return read_page(response, OrganizationInfo.from_json, marker=marker)


def organization(name: str) -> Flow[OrganizationInfo]:
    """
    Read an organization.

    Raises:
        AccountNotFound: There is none, or none for you.
    """
    response = yield Request(method="GET", path=path_to("organizations", name))
    check(response, missing=AccountNotFound)
    return read(response, OrganizationInfo.from_json)


def organization_of_external_id(external_id: str) -> Flow[OrganizationInfo]:
    """Read the organization that the company's own directory calls so; as `organization`."""
    path = path_to("organizations", "externalId", external_id)
    response = yield Request(method="GET", path=path)
    check(response, missing=AccountNotFound)
    return read(response, OrganizationInfo.from_json)


def create_organization(
    name: str, told: OrganizationChanges, owners: tuple[str, ...]
) -> Flow[OrganizationInfo]:
    """
    Create an organization; for administrators.

    Raises:
        AlreadyExists: The name is taken.
        NotFound: There is no such type.
    """
    body = {"org_name": name, **_spelt(told)}
    if owners:
        body["owner_ids"] = list(owners)
    response = yield json_request("POST", "/v1/organizations", body)
    check(response)
    return read(response, OrganizationInfo.from_json)


def update_organization(name: str, told: OrganizationChanges) -> Flow[OrganizationInfo]:
    """Change an organization, and read it; raises as `organization`."""
    response = yield json_request("PUT", path_to("organizations", name), _spelt(told))
    check(response, missing=AccountNotFound)
    return (yield from organization(name))


def delete_organization(name: str) -> Flow[None]:
    """Delete an organization with its private algorithms and its data."""
    response = yield Request(method="DELETE", path=path_to("organizations", name))
    check(response, missing=AccountNotFound)


def organization_algorithms(name: str) -> Flow[list[AlgorithmName]]:
    """Read which algorithms of an organization you may see; raises as `organization`."""
    path = path_to("organizations", name, "utility-algorithms")
    response = yield Request(method="GET", path=path)
    check(response, missing=AccountNotFound)
    return read_list(response, AlgorithmName.from_json)


def organization_members(name: str, marker: str, limit: int) -> Flow[Page[MemberInfo]]:
    """Read some members by name; raises as `organization`."""
    path = path_to("organizations", name, "members")
    response = yield Request(method="GET", path=path, query=page_query(marker, limit))
    check(response, missing=AccountNotFound)
    return read_page(response, MemberInfo.from_json, marker=marker)


def put_member(name: str, username: str, role: str | None) -> Flow[bool]:
    """
    Make a user a member, or give a member another role; return whether it is a new one.

    Raises:
        AccountNotFound: There is no such organization or user.
        InvalidRequest: Nobody would own the organization any more.
    """
    path = path_to("organizations", name, "members", username)
    body: Mapping[str, Any] = {} if role is None else {"role": role}
    response = yield json_request("PUT", path, body)
    check(response, missing=AccountNotFound)
    return response.status == 201


def remove_member(name: str, username: str) -> Flow[None]:
    """End a membership; raises as `put_member`."""
    path = path_to("organizations", name, "members", username)
    check((yield Request(method="DELETE", path=path)), missing=AccountNotFound)


def organization_types() -> Flow[list[OrganizationType]]:
    """Read which types of organizations there are."""
    response = yield Request(method="GET", path="/v1/organization/types")
    check(response)
    return read_list(response, OrganizationType.from_json)


def create_organization_type(name: str) -> Flow[OrganizationType]:
    """Create a type; for administrators."""
    response = yield json_request("POST", "/v1/organization/types", {"name": name})
    check(response)
    return read(response, OrganizationType.from_json)


def delete_organization_type(name: str) -> Flow[None]:
    """Delete a type of which there is no organization; for administrators."""
    check((yield Request(method="DELETE", path=path_to("organization", "types", name))))


def _spelt(told: OrganizationChanges) -> dict[str, Any]:
    known = known_options(told, OrganizationChanges)
    return {_AS_ON_THE_WIRE.get(name, name): value for name, value in known.items()}
