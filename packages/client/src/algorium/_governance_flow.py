"""
What accounts may use, and what was done: every operation once, as in `_flow.py`.

Source: ours; the old service had nothing like it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from algorium._account_flow import named, path_to
from algorium._algorithm_flow import (
    Page,
    json_request,
    page_query,
    read,
    read_each,
    read_page,
)
from algorium._answers import check, unexpected
from algorium._errors import AccountNotFound
from algorium._messages import Request, Response
from algorium._retry import Flow
from algorium.wire.governance import (
    AccountQuotas,
    AuditEntry,
    GovernanceReport,
    LegacyAlgorithm,
)
from algorium.wire.reading import members, needed, number


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
    return (yield from _quotas(path_to("users", (yield from named(username)), "quotas")))


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


def audit_export(wish: AuditWish) -> Flow[Response]:
    """
    Begin to read the whole audit log, oldest first, as JSON lines that arrive in pieces.

    Raises:
        NotAuthorized: The key may not see it.
    """
    path = "/v1/admin/audit/export"
    response = yield Request(method="GET", path=path, query=wish.query, is_streamed=True)
    check(response)
    if response.media_type != "application/x-ndjson":
        raise unexpected(response, "no lines of JSON")
    return response


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


def report(
    *, by: str, first: date | None, last: date | None, organization: str
) -> Flow[GovernanceReport]:
    """
    Read what was used by day.

    Raises:
        AccountNotFound: There is no such organization, or not for you.
        InvalidInput: There is no such report.
    """
    query = _days(by=by, first=first, last=last)
    response = yield Request(method="GET", path=_report_path(organization), query=query)
    check(response, missing=AccountNotFound)
    return read(response, GovernanceReport.from_json)


def report_as_csv(
    *, by: str, first: date | None, last: date | None, organization: str
) -> Flow[str]:
    """Read what was used by day, for spreadsheets; raises as `report`."""
    query = (*_days(by=by, first=first, last=last), ("format", "csv"))
    response = yield Request(method="GET", path=_report_path(organization), query=query)
    check(response, missing=AccountNotFound)
    if response.media_type != "text/csv":
        raise unexpected(response, "no CSV")
    return response.body.decode(errors="replace")


def rates() -> Flow[dict[str, float]]:
    """Read what things cost in reports."""
    response = yield Request(method="GET", path="/v1/admin/governance/rates")
    check(response)
    return read(response, _rates)


def set_rates(cpu_second: float) -> Flow[dict[str, float]]:
    """
    Set what things cost in reports.

    Raises:
        InvalidInput: Nothing can cost that.
    """
    body = {"cpu_second": cpu_second}
    response = yield json_request("PUT", "/v1/admin/governance/rates", body)
    check(response)
    return read(response, _rates)


def legacy_algorithms() -> Flow[list[LegacyAlgorithm]]:
    """Read which algorithms have an environment that is not offered any more."""
    response = yield Request(method="GET", path="/v1/admin/legacy-algorithms")
    check(response)
    told = response.json()
    if not isinstance(told, dict) or not isinstance(told.get("results"), list):
        raise unexpected(response, "no list of algorithms")
    return read_each(response, told["results"], LegacyAlgorithm.from_json)


def _report_path(organization: str) -> str:
    of = ("organizations", organization) if organization else ("admin",)
    return path_to(*of, "governance")


def _days(*, by: str, first: date | None, last: date | None) -> tuple[tuple[str, str], ...]:
    days = {"start_date": first, "end_date": last}
    told = ((name, f"{day:%Y-%m-%d}") for name, day in days.items() if day is not None)
    return (("by", by), *told)


def _rates(told: object) -> dict[str, float]:
    found = members(told, "rates")
    return {name: value for name in found if (value := number(found, name)) is not None}
