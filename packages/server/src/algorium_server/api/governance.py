"""
Governance reports over HTTP, and algorithms without an environment.

    /v1/admin/governance
    /v1/admin/governance/rates
    /v1/organizations/{organization}/governance
    /v1/admin/legacy-algorithms

A report is JSON, or CSV with `format=csv` or `Accept: text/csv`.

Source: wire specification, "Governance reports", "Usage endpoints".
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from algorium_server.api.algorithm_objects import timestamp
from algorium_server.api.management import Answer, Asking, Body, body_of
from algorium_server.api.queries import Query, described_query
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.governance import Days, Grouping, Rate, ReportRow
from algorium_server.domain.identity import Principal
from algorium_server.services.operations.governance import Governance
from algorium_server.services.operations.legacy import LegacyAlgorithm, LegacyAlgorithms

_CSV: Final = "text/csv"
_OF_CALLS: Final = (
    "executions",
    "errors",
    "cpu_core_s",
    "cpu_time_s",
    "cpu_cost",
    "memory_mib",
)
_COLUMNS: Final = {
    Grouping.ORGANIZATION: (*_OF_CALLS, "hosted_storage_mib", "members", "algorithms"),
    Grouping.ACCOUNT: (*_OF_CALLS, "hosted_storage_mib"),
    Grouping.ALGORITHM: ("version", *_OF_CALLS),
}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_QUERY: Final = described_query(
    by=f"What rows are told apart by: {', '.join(Grouping)}.",
    start_date="First day, such as 2026-03-01; thirty days up to the last one without it.",
    end_date="Last day, which is part of the report; today without it.",
    format="json or csv.",
)


class Report(BaseModel):
    """Rows by day; what they have besides depends on what they are told apart by."""

    start_date: str
    end_date: str
    by: str
    results: list[dict[str, Any]]


class RatesBody(Body):
    """What a second in a slot costs, in whatever unit."""

    cpu_second: float


class LegacyObject(BaseModel):
    """An algorithm whose environment is not offered any more."""

    id: int
    username: str
    algoname: str
    language: str
    createdAt: str  # noqa: N815 - as clients spell it
    lastCompiledAt: str | None = None  # noqa: N815 - the same


class LegacyList(BaseModel):
    """All of them."""

    results: list[LegacyObject]


def governance_routes(governance: Governance, legacy: LegacyAlgorithms) -> APIRouter:
    """
    Return the routes.

    Args:
        governance: Makes reports.
        legacy: Finds algorithms without an environment.
    """
    routes = APIRouter(tags=["reports"])

    @routes.get("/v1/admin/governance", response_model=Report, openapi_extra=_QUERY)
    async def whole(principal: Asking, query: Query, request: Request) -> Response:
        """Report what was used by day, of the whole installation; for administrators."""
        return await _report(governance, principal, query, request)

    @routes.get(
        "/v1/organizations/{organization}/governance", response_model=Report, openapi_extra=_QUERY
    )
    async def of_organization(
        organization: str, principal: Asking, query: Query, request: Request
    ) -> Response:
        """Report what calls of an organization's algorithms used by day; for its owners."""
        return await _report(governance, principal, query, request, organization=organization)

    @routes.get("/v1/admin/governance/rates", response_model=RatesBody)
    async def rates(principal: Asking) -> Response:
        """Show what things cost in reports; for administrators."""
        return Answer(_rates(await governance.rates(principal)))

    @routes.put("/v1/admin/governance/rates", response_model=RatesBody)
    async def set_rates(
        principal: Asking, body: Annotated[RatesBody, body_of(RatesBody)]
    ) -> Response:
        """Set what things cost in reports, those of the past included; for administrators."""
        return Answer(_rates(await governance.set_rates(principal, body.model_dump())))

    @routes.get("/v1/admin/legacy-algorithms", response_model=LegacyList)
    async def legacy_algorithms(principal: Asking) -> Response:
        """List algorithms whose environment is not offered any more; for administrators."""
        found = await legacy.algorithms(principal)
        return Answer({"results": [_legacy_object(each) for each in found]})

    return routes


async def _report(
    governance: Governance,
    principal: Principal,
    query: Mapping[str, str],
    request: Request,
    *,
    organization: str = "",
) -> Response:
    by = _grouping(query.get("by", ""))
    wants_csv = _wants_csv(query.get("format", ""), request)
    days, found = await governance.report(
        principal,
        by=by,
        first=query.get("start_date", ""),
        last=query.get("end_date", ""),
        organization=organization,
    )
    rows = [_row(each, by) for each in found]
    return _as_csv(rows, by, days) if wants_csv else Answer(_body(rows, by, days))


def _grouping(text: str) -> Grouping:
    try:
        return Grouping(text or Grouping.ALGORITHM)
    except ValueError:
        known = ", ".join(Grouping)
        raise InvalidInput(f"by must be one of {known}, not {text[:100]!r}") from None


def _wants_csv(text: str, request: Request) -> bool:
    if not text:
        return _CSV in request.headers.get("accept", "").lower()
    if text.lower() not in {"csv", "json"}:
        raise InvalidInput(f"format must be json or csv, not {text[:100]!r}")
    return text.lower() == "csv"


def _row(row: ReportRow, by: Grouping) -> dict[str, Any]:
    values = asdict(row)
    return {"day": row.day, by.value: row.subject} | {name: values[name] for name in _COLUMNS[by]}


def _body(rows: list[dict[str, Any]], by: Grouping, days: Days) -> dict[str, Any]:
    return {
        "start_date": days.first.isoformat(),
        "end_date": days.last.isoformat(),
        "by": by.value,
        "results": rows,
    }


def _as_csv(rows: list[dict[str, Any]], by: Grouping, days: Days) -> Response:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["day", by.value, *_COLUMNS[by]], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    name = f"governance-{by.value}-{days.first}-{days.last}.csv"
    return Response(
        text.getvalue(),
        media_type=f"{_CSV}; charset=utf-8",
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="{name}"',
        },
    )


def _harmless(value: Any) -> Any:
    # Spreadsheets take a text that begins so for a formula.
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def _rates(rates: Mapping[Rate, float]) -> dict[str, float]:
    return {rate.value: value for rate, value in rates.items()}


def _legacy_object(legacy: LegacyAlgorithm) -> dict[str, Any]:
    algorithm, compiled_at = legacy.algorithm, legacy.compiled_at
    return LegacyObject(
        # Their ids were numbers; the first digits of ours are one that every JSON reader keeps.
        id=UUID(algorithm.algorithm_id).int >> 76,
        username=legacy.owner,
        algoname=algorithm.name,
        language=algorithm.settings.language,
        createdAt=timestamp(algorithm.created_at),
        lastCompiledAt=None if compiled_at is None else timestamp(compiled_at),
    ).model_dump(exclude_none=True)
