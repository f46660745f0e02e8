"""
Hosts of source: every operation once, as in `_flow.py`.

Source: wire specification, "SCM object".
"""

from collections.abc import Mapping
from typing import Any

from algorium._account_flow import path_to
from algorium._algorithm_flow import json_request, read, read_each
from algorium._answers import check, unexpected
from algorium._messages import Request
from algorium._retry import Flow
from algorium.wire.scms import ScmConnection, ScmInfo


def scms() -> Flow[list[ScmInfo]]:
    """Read the hosts of source, the internal one first."""
    response = yield Request(method="GET", path="/v1/scms")
    check(response)
    told = response.json()
    if not isinstance(told, dict) or not isinstance(told.get("results"), list):
        raise unexpected(response, "no list of results")
    return read_each(response, told["results"], ScmInfo.from_json)


def scm(scm_id: str) -> Flow[ScmInfo]:
    """
    Read one of them.

    Raises:
        NotFound: There is none.
    """
    response = yield Request(method="GET", path=path_to("scms", scm_id))
    check(response)
    return read(response, ScmInfo.from_json)


def status(scm_id: str) -> Flow[ScmConnection]:
    """Read what the caller is at a host; raises as `scm`."""
    response = yield Request(method="GET", path=path_to("scms", scm_id, "oauth", "status"))
    check(response)
    return read(response, ScmConnection.from_json)


def connect(scm_id: str, *, token: str, username: str, password: str) -> Flow[ScmConnection]:
    """
    Connect the caller with a token, or with name and password.

    Raises:
        ApiError: The host refuses them; the message says why.
    """
    given = {"secretToken": token, "username": username, "password": password}
    body = {name: value for name, value in given.items() if value}
    response = yield json_request("POST", path_to("scms", scm_id, "token", "connect"), body)
    check(response)
    return read(response, ScmConnection.from_json)


def revoke(scm_id: str) -> Flow[None]:
    """End the caller's connection; raises as `scm`."""
    check((yield Request(method="POST", path=path_to("scms", scm_id, "oauth", "revoke"))))


def create(told: Mapping[str, Any]) -> Flow[ScmInfo]:
    """Add a host; for administrators."""
    response = yield json_request("POST", "/v1/admin/scms", told)
    check(response)
    return read(response, ScmInfo.from_json)


def change(scm_id: str, told: Mapping[str, Any]) -> Flow[ScmInfo]:
    """Change a host; for administrators."""
    response = yield json_request("PATCH", path_to("admin", "scms", scm_id), told)
    check(response)
    return read(response, ScmInfo.from_json)


def delete(scm_id: str) -> Flow[None]:
    """Remove a host that is disabled and not used; for administrators."""
    check((yield Request(method="DELETE", path=path_to("admin", "scms", scm_id))))


def make_default(scm_id: str) -> Flow[None]:
    """Make a host the one for new algorithms that name none; for administrators."""
    check((yield Request(method="POST", path=path_to("admin", "scms", scm_id, "default"))))
