"""
The audit log over HTTP.

    /v1/admin/audit
    /v1/admin/audit/export
    /v1/organizations/{org}/audit
    /v1/users/{username}/audit

Lists come newest first, the export oldest first, as one JSON object in each line. Digests are for
those who see all: nobody else could examine the chain.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from algorium_server.api import pages
from algorium_server.api.http import encode_json
from algorium_server.api.management import Answer, Asking
from algorium_server.api.queries import PAGE, Page, PageAsked, Query, described_query
from algorium_server.domain.audit import AuditFilter, Outcome
from algorium_server.domain.audit_chain import ChainedEntry, as_object
from algorium_server.domain.errors import InvalidInput
from algorium_server.services.people.audit_log import AuditLog

_FILTERS: Final = {
    "actor": "Name or id of who did it.",
    "action": "How the action begins, such as `key.` or `key.created`.",
    "target": "Exactly this target, such as `user:jane`.",
    "outcome": "One of `done`, `denied`, `failed`.",
    "since": "From this time on: ISO 8601, or milliseconds since 1970.",
    "until": "Before this time.",
}
_MILLISECONDS: Final = re.compile(r"[0-9]{1,14}")
_LINES: Final = "application/x-ndjson"


class AuditObject(BaseModel):
    """An entry of the audit log."""

    number: int
    at: str
    actor: str
    actor_id: str
    behalf: str
    behalf_id: str
    key_id: str
    algorithm_id: str
    action: str
    target: str
    account_id: str
    outcome: str
    request_id: str
    address: str
    detail: dict[str, str]
    chain_key: str = ""
    digest: str = ""


class AuditPage(BaseModel):
    """A page of the audit log."""

    marker: str | None
    next_link: str | None
    results: list[AuditObject]


def audit_routes(log: AuditLog, *, api: str) -> APIRouter:
    """
    Return the routes.

    Args:
        log: Reads the log.
        api: Base address, for links.
    """
    routes = APIRouter(tags=["audit"])
    described = described_query(**_FILTERS, **PAGE)

    @routes.get("/v1/admin/audit", response_model=AuditPage, openapi_extra=described)
    async def everything(principal: Asking, asked: Page) -> Response:
        """List what was done, newest first; for administrators."""
        found = await log.page(
            principal, audit_filter(asked.query), before=_before(asked), limit=asked.limit + 1
        )
        return _page(asked, found, api=api, has_digests=True)

    @routes.get(
        "/v1/admin/audit/export",
        response_class=Response,
        responses={200: {"content": {_LINES: {}}, "description": "The entries, one in each line"}},
        openapi_extra=described_query(**_FILTERS),
    )
    async def export(principal: Asking, query: Query) -> Response:
        """Return what was done, oldest first, an object in each line; for administrators."""
        batches = await log.export(principal, audit_filter(query))
        return StreamingResponse(
            _lines(batches), media_type=_LINES, headers={"Cache-Control": "no-store"}
        )

    @routes.get("/v1/organizations/{org}/audit", response_model=AuditPage, openapi_extra=described)
    async def of_organization(org: str, principal: Asking, asked: Page) -> Response:
        """List what was done to an organization and what it owns; for its owners."""
        found = await log.of_organization(
            principal,
            org,
            audit_filter(asked.query),
            before=_before(asked),
            limit=asked.limit + 1,
        )
        return _page(asked, found, api=api)

    @routes.get("/v1/users/{username}/audit", response_model=AuditPage, openapi_extra=described)
    async def of_user(username: str, principal: Asking, asked: Page) -> Response:
        """List what a user did, and what was done to it; for itself."""
        found = await log.of_user(
            principal,
            username,
            audit_filter(asked.query),
            before=_before(asked),
            limit=asked.limit + 1,
        )
        return _page(asked, found, api=api)

    return routes


def audit_filter(query: Mapping[str, str]) -> AuditFilter:
    """
    Read which entries somebody wants.

    Raises:
        InvalidInput: An outcome or a time is none.
    """
    outcome = query.get("outcome", "")
    if outcome and outcome not in set(Outcome):
        raise InvalidInput(f"outcome must be one of {', '.join(Outcome)}, not {outcome[:100]!r}")
    return AuditFilter(
        actor=query.get("actor", ""),
        action=query.get("action", ""),
        target=query.get("target", ""),
        outcome=Outcome(outcome) if outcome else None,
        since=_time(query, "since"),
        until=_time(query, "until"),
    )


def _time(query: Mapping[str, str], name: str) -> datetime | None:
    text = query.get(name, "").strip()
    if not text:
        return None
    try:
        if _MILLISECONDS.fullmatch(text):
            return datetime.fromtimestamp(int(text) / 1000, UTC)
        # In a query a plus sign is a space; nothing else in a time would be one before its zone.
        moment = datetime.fromisoformat(re.sub(r" (?=\d\d:?\d\d$)", "+", text))
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{name} must be a time such as 2026-01-31 or 2026-01-31T12:00:00Z, not {text[:100]!r}"
        ) from None


def _before(asked: PageAsked) -> int | None:
    key = pages.key_of_marker(asked.marker, (int,))
    return key[0] if key is not None else None


def _page(
    asked: PageAsked, found: Sequence[ChainedEntry], *, api: str, has_digests: bool = False
) -> Response:
    body = asked.body(
        found,
        api=api,
        marker_of=lambda last: pages.marker_of((last.number,)),
        shown=lambda each: as_object(each, has_digest=has_digests),
    )
    return Answer(body)


async def _lines(batches: AsyncIterator[Sequence[ChainedEntry]]) -> AsyncIterator[bytes]:
    async for batch in batches:
        yield b"".join(encode_json(as_object(each, has_digest=True)) + b"\n" for each in batch)
