"""
What accounts may use, and what was done: every operation once, as in `_flow.py`.

Source: ours; the old service had nothing like it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from algorium._account_flow import me, path_to
from algorium._algorithm_flow import Page, json_request, page_query, read, read_page
from algorium._answers import check
from algorium._errors import AccountNotFound
from algorium._messages import Request
from algorium._retry import Flow
from algorium.wire.governance import AccountQuotas, AuditEntry
from algorium.wire.reading import members, needed


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditWish:
    """Which entries somebody wants to see; None and empty do not restrict."""

    actor: str = ""
    action: str = ""
    target: str = ""
    outcome: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The wish as the wire spells it."""
        wanted = {
            "actor": self.actor,
            "action": self.action,
            "target": self.target,
            "outcome": self.outcome,
            "since": self.since.isoformat() if self.since is not None else "",
            "until": self.until.isoformat() if self.until is not None else "",
        }
        return tuple((name, value) for name, value in wanted.items() if value)


def quotas_of_user(username: str) -> Flow[AccountQuotas]:
    """
    Read what a user may use; empty for the caller.

    Raises:
        AccountNotFound: There is none, or not for you.
    """
    found = username or (yield from me()).username
    return (yield from _quotas(path_to("users", found, "quotas")))


def quotas_of_organization(name: str) -> Flow[AccountQuotas]:
    """Read what an organization may use; raises as `quotas_of_user`."""
    return (yield from _quotas(path_to("organizations", name, "quotas")))


def quotas(account: str) -> Flow[AccountQuotas]:
    """Read what any account may use, for administrators; raises as `quotas_of_user`."""
    return (yield from _quotas(path_to("admin", "quotas", account)))


def set_quotas(account: str, limits: Mapping[str, float | str | None]) -> Flow[AccountQuotas]:
    """
    Give an account limits of its own.

    Raises:
        AccountNotFound: There is none.
        InvalidInput: There is no such quota, or it cannot be that.
    """
    response = yield json_request("PUT", path_to("admin", "quotas", account), limits)
    check(response, missing=AccountNotFound)
    return read(response, AccountQuotas.from_json)


def reset_quotas(account: str) -> Flow[AccountQuotas]:
    """Give an account the limits of the server; raises as `quotas`."""
    response = yield Request(method="DELETE", path=path_to("admin", "quotas", account))
    check(response, missing=AccountNotFound)
    return read(response, AccountQuotas.from_json)


def limited_accounts(marker: str, limit: int) -> Flow[Page[str]]:
    """Read which accounts have limits of their own."""
    query = page_query(marker, limit)
    response = yield Request(method="GET", path="/v1/admin/quotas", query=query)
    check(response)
    return read_page(
        response,
        lambda told: needed(members(told, "account"), "account", "account"),
        marker=marker,
    )


def audit(path: str, wish: AuditWish, marker: str, limit: int) -> Flow[Page[AuditEntry]]:
    """
    Read some of what was done, newest first.

    Raises:
        AccountNotFound: There is no such account, or not for you.
        NotAuthorized: The key may not see it.
    """
    query = (*wish.query, *page_query(marker, limit))
    response = yield Request(method="GET", path=path, query=query)
    check(response, missing=AccountNotFound)
    return read_page(response, AuditEntry.from_json, marker=marker)


def _quotas(path: str) -> Flow[AccountQuotas]:
    response = yield Request(method="GET", path=path)
    check(response, missing=AccountNotFound)
    return read(response, AccountQuotas.from_json)
