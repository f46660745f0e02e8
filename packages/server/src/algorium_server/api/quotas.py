"""
Quotas over HTTP: what accounts may use, and have used.

    /v1/admin/quotas[/{account}]
    /v1/users/{username}/quotas
    /v1/organizations/{org}/quotas

Source: ours; the old service had pages for it.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from algorium_server.api import pages
from algorium_server.api.algorithm_objects import timestamp
from algorium_server.api.management import Answer, Asking, Body, body_of
from algorium_server.api.queries import PAGE, Page, described_query
from algorium_server.domain.quotas import UNLIMITED, QuotaState
from algorium_server.services.people.quotas import OwnLimits, QuotaReport, QuotaService


class QuotaBody(Body):
    """
    Limits of an account by name: a number, `unlimited`, or null for the limit of the server.

    What is not named stays as it is. A name that is no quota is refused.
    """

    model_config = ConfigDict(extra="allow")


class QuotaObject(BaseModel):
    """
    One quota.

    `limit` is null if there is none, `used` if nothing is counted, `renews_at` if it does not begin
    anew by itself.
    """

    limit: int | None
    used: float | None
    renews_at: str | None
    is_default: bool


class QuotasObject(BaseModel):
    """What an account may use, by quota."""

    account: str
    account_id: str
    account_type: str
    quotas: dict[str, QuotaObject]


class OwnLimitsObject(BaseModel):
    """The limits of an account that are not the server's: numbers, or `unlimited`."""

    account: str
    account_id: str
    account_type: str
    limits: dict[str, int | str]


class OwnLimitsPage(BaseModel):
    """A page of accounts that have limits of their own."""

    marker: str | None
    next_link: str | None
    results: list[OwnLimitsObject]


def quota_routes(quotas: QuotaService, *, api: str) -> APIRouter:
    """
    Return the routes.

    Args:
        quotas: Does the work.
        api: Base address, for links.
    """
    routes = APIRouter(tags=["quotas"])

    @routes.get(
        "/v1/admin/quotas", response_model=OwnLimitsPage, openapi_extra=described_query(**PAGE)
    )
    async def page(principal: Asking, asked: Page) -> Response:
        """List accounts with limits of their own, by name; for administrators."""
        found = await quotas.page(principal, after=asked.after_name, limit=asked.limit + 1)
        body = asked.body(
            found,
            api=api,
            marker_of=lambda last: pages.marker_of((last.account.username,)),
            shown=_own_limits_object,
        )
        return Answer(body)

    @routes.get("/v1/admin/quotas/{account}", response_model=QuotasObject)
    async def show(principal: Asking, account: str) -> Response:
        """Return what a user or an organization may use and has used; for administrators."""
        return Answer(quotas_object(await quotas.of(principal, account)))

    @routes.put("/v1/admin/quotas/{account}", response_model=QuotasObject)
    async def change(
        principal: Asking, account: str, body: Annotated[QuotaBody, body_of(QuotaBody)]
    ) -> Response:
        """Set limits of a user or an organization; for administrators."""
        wanted = body.model_extra or {}
        return Answer(quotas_object(await quotas.change(principal, account, wanted)))

    @routes.delete("/v1/admin/quotas/{account}", response_model=QuotasObject)
    async def clear(principal: Asking, account: str) -> Response:
        """Give a user or an organization the limits of the server again; for administrators."""
        return Answer(quotas_object(await quotas.clear(principal, account)))

    @routes.get("/v1/users/{username}/quotas", response_model=QuotasObject)
    async def of_user(principal: Asking, username: str) -> Response:
        """Return what a user may use and has used; for that user."""
        return Answer(quotas_object(await quotas.of_user(principal, username)))

    @routes.get("/v1/organizations/{org}/quotas", response_model=QuotasObject)
    async def of_organization(principal: Asking, org: str) -> Response:
        """Return what an organization may use and has used; for those who are in it."""
        return Answer(quotas_object(await quotas.of_organization(principal, org)))

    return routes


def quotas_object(report: QuotaReport) -> dict[str, Any]:
    """Return what is told of an account."""
    return {
        "account": report.account.username,
        "account_id": report.account.account_id,
        "account_type": report.account.kind.value,
        "quotas": {state.name.value: _quota_object(state) for state in report.states},
    }


def _quota_object(state: QuotaState) -> dict[str, Any]:
    used = state.used
    return {
        "limit": state.limit,
        "used": int(used) if used is not None and used == int(used) else used,
        "renews_at": None if state.renews_at is None else timestamp(state.renews_at),
        "is_default": state.is_default,
    }


def _own_limits_object(own: OwnLimits) -> dict[str, Any]:
    return {
        "account": own.account.username,
        "account_id": own.account.account_id,
        "account_type": own.account.kind.value,
        "limits": {
            name.value: UNLIMITED if limit is None else limit for name, limit in own.limits.items()
        },
    }
