"""
What administrators set for a whole server: every operation once, as in `_flow.py`.

Source: wire specification, "Invites", "Notifications, features, UI configuration", "Roles and
rights".
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias

from algorium._account_flow import path_to
from algorium._algorithm_flow import Page, json_request, page_query, read, read_list, read_page
from algorium._answers import check, unexpected
from algorium._errors import AccountNotFound
from algorium._messages import Request
from algorium._retry import Flow
from algorium.wire.installation import FrontendEntry, InviteInfo, feature

ClusterRole: TypeAlias = Literal["cluster_viewer", "cluster_admin"]
"""A viewer sees what administrators see."""

ImageName: TypeAlias = Literal["favicon", "logo"]


def invites() -> Flow[list[InviteInfo]]:
    """Read all invites, oldest first."""
    response = yield Request(method="GET", path="/v1/admin/invites")
    check(response)
    return read_list(response, InviteInfo.from_json)


def invite(
    code: str, *, signup_credits: int, comments: str, expires_at: datetime | None
) -> Flow[None]:
    """
    Create an invite.

    Raises:
        AlreadyExists: There is one with this code.
    """
    if expires_at is not None and expires_at.tzinfo is None:
        raise ValueError("expires_at needs a time zone")
    body: dict[str, Any] = {
        "inviteCode": code,
        "signupCredits": signup_credits,
        "comments": comments,
    }
    if expires_at is not None:
        body["expiresAt"] = expires_at
    check((yield json_request("POST", "/v1/admin/invites", body)))


def delete_invite(code: str) -> Flow[None]:
    """
    Delete an invite.

    Raises:
        NotFound: There is none.
    """
    check((yield Request(method="DELETE", path=path_to("admin", "invites", code))))


def features(username: str) -> Flow[dict[str, bool]]:
    """Read which features are on, for a user or for everybody."""
    response = yield Request(method="GET", path="/v1/admin/features", query=_of(username))
    check(response, missing=AccountNotFound)
    return dict(read_list(response, feature))


def set_feature(name: str, *, is_enabled: bool, username: str) -> Flow[None]:
    """
    Switch a feature on or off, for a user or for everybody.

    Raises:
        NotFound: There is no such feature, or user.
    """
    request = json_request(
        "PUT",
        path_to("admin", "features", name),
        {"enabled": is_enabled},
        query=_of(username),
    )
    check((yield request))


def frontend_entries(marker: str, limit: int) -> Flow[Page[FrontendEntry]]:
    """Read some texts for front ends, by name."""
    query = page_query(marker, limit)
    response = yield Request(method="GET", path="/v1/config/frontend", query=query)
    check(response)
    return read_page(response, FrontendEntry.from_json, marker=marker)


def frontend_entry(name: str) -> Flow[FrontendEntry]:
    """
    Read a text for front ends.

    Raises:
        NotFound: There is none.
    """
    response = yield Request(method="GET", path=path_to("config", "frontend", name))
    check(response)
    return read(response, FrontendEntry.from_json)


def set_frontend_entry(name: str, value: str) -> Flow[FrontendEntry]:
    """Create or replace a text for front ends."""
    response = yield json_request("PUT", path_to("config", "frontend", name), {"value": value})
    check(response)
    return read(response, FrontendEntry.from_json)


def delete_frontend_entry(name: str) -> Flow[None]:
    """Delete a text for front ends; raises as `frontend_entry`."""
    check((yield Request(method="DELETE", path=path_to("config", "frontend", name))))


def image(name: ImageName) -> Flow[bytes]:
    """Read the favicon or the logo: the default one if none was chosen."""
    response = yield Request(method="GET", path=_image(name))
    check(response)
    return response.body


def set_image(name: ImageName, content: bytes) -> Flow[None]:
    """
    Choose the favicon or the logo.

    Raises:
        InvalidRequest: It is no image that the server takes, or too large.
        TooLarge: It is larger than any upload may be.
    """
    headers = {"Content-Type": "application/octet-stream"}
    check((yield Request(method="POST", path=_image(name), headers=headers, body=content)))


def reset_image(name: ImageName) -> Flow[None]:
    """Go back to the default favicon or logo."""
    check((yield Request(method="DELETE", path=_image(name))))


def _image(name: ImageName) -> str:
    if name not in {"favicon", "logo"}:
        raise ValueError(f"there is a favicon and a logo, and no {name!r}")
    return path_to("config", name)


def set_role(username: str, role: ClusterRole, *, is_given: bool) -> Flow[None]:
    """
    Give a user a role in the whole server, or take it away.

    Raises:
        AccountNotFound: There is no such user.
        InvalidRequest: There would be no administrator any more.
    """
    path = path_to("admin", "roles", username, role).removeprefix("/v1")  # the one without it
    response = yield Request(method="POST" if is_given else "DELETE", path=path)
    check(response, missing=AccountNotFound)


def host() -> Flow[Mapping[str, Any]]:
    """
    Read what the server's host offers to algorithms.

    Raises:
        NotAuthorized: The key is no admin key.
    """
    response = yield Request(method="GET", path="/v1/admin/host")
    check(response)
    told = response.json()
    if not isinstance(told, dict):
        raise unexpected(response, "no report about the host")
    return told


def _of(username: str) -> tuple[tuple[str, str], ...]:
    return (("username", username),) if username else ()
