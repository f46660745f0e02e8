"""
Usage over HTTP: `/v1/usage` for accounts, `/v1/admin/usage` for administrators.

The administrators' reports have the old service's form: other names for dates and pages, calls as
text, and durations as they were billed.

Source: wire specification, "Usage endpoints"; ours: `/v1/usage`, `/v1/usage/totals`.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from algorium_server.api import pages
from algorium_server.api.credentials import Credentials
from algorium_server.api.errors import send_error
from algorium_server.api.http import (
    Header,
    Receive,
    Scope,
    Send,
    encode_json,
    parse_query,
    respond,
)
from algorium_server.domain.errors import InvalidInput, MethodNotAllowed, MissingDateRange, NotFound
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import USAGE_PAGE_RECORDS_MAX, USAGE_PAGE_RECORDS_MAX_DEFAULT
from algorium_server.domain.usage import (
    SUMMED,
    Dimension,
    UsageRecord,
    UsageTotal,
    key_names,
    key_of,
    moment_of,
    us_of,
)
from algorium_server.services.calling.usage import UsageQuery, UsageService

_REPORTS: Final = {
    "/v1/admin/usage": (Dimension.ACCOUNT, Dimension.VERSION),
    "/v1/admin/usage/algorithms": (Dimension.VERSION,),
    "/v1/admin/usage/users": (Dimension.ACCOUNT,),
}
_HIDDEN_SUMS: Final = frozenset({"billed_s", "billed_error_s"})


class Answer(NamedTuple):
    """What goes out: entries, and how to go on."""

    body: bytes
    content_type: str = "application/json"
    headers: tuple[Header, ...] = ()


class UsageFace:
    """
    ASGI application for `/v1/usage` and `/v1/admin/usage`.

    Args:
        usage: Reads the records.
        credentials: Tells who asks.
        api: Address of this server, for links to the next page.
    """

    def __init__(self, usage: UsageService, credentials: Credentials, *, api: str) -> None:
        self._usage = usage
        self._credentials = credentials
        self._api = api

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer GET."""
        principal = await self._credentials.asking(scope)
        if scope["method"] != "GET":
            allow = [(b"allow", b"GET")]
            await send_error(scope, send, MethodNotAllowed("Method not allowed"), headers=allow)
            return
        path = "/" + "/".join(filter(None, scope["path"].split("/")))
        query = parse_query(scope)
        if path == "/v1/usage":
            answer = await self._records(principal, query)
        elif path == "/v1/usage/totals":
            answer = await self._totals(principal, query)
        elif path in _REPORTS:
            answer = await self._report(principal, path, query, users=_values(scope, "user"))
        else:
            raise NotFound(f"nothing answers at {scope['path']}")
        await respond(
            send, 200, answer.body, content_type=answer.content_type, headers=answer.headers
        )

    async def _records(self, principal: Principal, query: dict[str, str]) -> Answer:
        limit = _limit(query)
        before = pages.key_of_marker(query.get("marker", ""), (int, str))
        found = await self._usage.page(
            principal, _usage_query(query), limit=limit + 1, before=before
        )
        records, last = pages.cut(found, limit)
        marker = pages.marker_of((last.started_us, last.request_id)) if last is not None else ""
        return self._answer("/v1/usage", query, map(_record, records), marker=marker)

    async def _totals(self, principal: Principal, query: dict[str, str]) -> Answer:
        by = _dimensions(query.get("by", ""))
        limit = _limit(query)
        found = await self._usage.totals(
            principal,
            _usage_query(query),
            by=by,
            limit=limit + 1,
            after=pages.key_of_marker(query.get("marker", ""), _kinds(by)),
        )
        totals, last = pages.cut(found, limit)
        marker = pages.marker_of(key_of(last, by)) if last is not None else ""
        rows = [_total(total, by) for total in totals]
        return self._answer("/v1/usage/totals", query, rows, marker=marker)

    async def _report(
        self, principal: Principal, path: str, query: dict[str, str], *, users: Sequence[str]
    ) -> Answer:
        if not query.get("start_date") or not query.get("end_date"):
            raise MissingDateRange
        if not query.get("page_size"):
            raise InvalidInput("page_size is missing")
        by = _REPORTS[path]
        limit = pages.parse_limit(
            query["page_size"],
            default=USAGE_PAGE_RECORDS_MAX_DEFAULT,
            limit_max=USAGE_PAGE_RECORDS_MAX,
        )
        found = await self._usage.report(
            principal,
            since_us=_moment(query["start_date"], name="start_date"),
            until_us=_moment(query["end_date"], name="end_date"),
            users=users,
            by=by,
            limit=limit + 1,
            after=pages.key_of_marker(query.get("marker", ""), _kinds(by)),
        )
        totals, last = pages.cut(found, limit)
        body: dict[str, Any] = {"results": [_report_row(total, by) for total in totals]}
        if last is not None:
            body["next_marker"] = pages.marker_of(key_of(last, by))
        return Answer(encode_json(body))

    def _answer(
        self, path: str, query: dict[str, str], rows: Iterable[dict[str, Any]], *, marker: str
    ) -> Answer:
        """Write a page as JSON, or as CSV with the way on in a header."""
        link = pages.next_link(self._api, path, query, marker)
        match query.get("format", "json").lower():
            case "json":
                return Answer(encode_json(pages.body(rows, marker=marker, link=link)))
            case "csv":
                headers = ((b"link", f'<{link}>; rel="next"'.encode()),) if link else ()
                return Answer(_csv(rows), "text/csv; charset=utf-8", headers)
            case other:
                raise InvalidInput(f"format must be json or csv, not {other[:100]!r}")


def _record(record: UsageRecord) -> dict[str, Any]:
    subject = record.subject
    return {
        "request_id": record.request_id,
        "tree_id": record.tree_id,
        "started_at": _timestamp(record.started_us),
        "account": subject.caller,
        "key_id": subject.key_id,
        "algorithm": subject.algorithm,
        "version": subject.version,
        "commit": subject.commit_sha,
        "outcome": record.outcome.value,
        "error_type": record.error_type,
        "is_void": record.is_void,
        "queue_s": _seconds(record.queue_s),
        "load_s": _seconds(record.load_s),
        "run_s": _seconds(record.run_s),
        "cpu_s": _seconds(record.cpu_s),
        "peak_memory_bytes": record.peak_memory_bytes,
        "input_bytes": record.input_bytes,
        "output_bytes": record.output_bytes,
    }


def _total(total: UsageTotal, by: Sequence[Dimension]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if Dimension.ACCOUNT in by:
        row["account"] = total.caller
    if Dimension.ALGORITHM in by or Dimension.VERSION in by:
        row["algorithm"] = total.algorithm
    if Dimension.VERSION in by:
        row |= {"version": total.version, "commit": total.commit_sha}
    if Dimension.DAY in by:
        row["day"] = total.day
    for name in SUMMED:
        if name not in _HIDDEN_SUMS:
            value = getattr(total, name)
            row[name] = _seconds(value) if isinstance(value, float) else value
    return row


def _report_row(total: UsageTotal, by: Sequence[Dimension]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if Dimension.VERSION in by:
        owner, _, name = total.algorithm.partition("/")
        row |= {
            "algorithm_called": name,
            "algorithm_owner": owner,
            "algorithm_version": total.commit_sha,
            "machine_type": "cpu",
        }
    if Dimension.ACCOUNT in by:
        row["caller"] = total.caller
    return row | {
        "total_calls": str(total.calls),
        "total_errors": total.errors,
        "total_duration": _billed(total.billed_s),
        "total_error_duration": _billed(total.billed_error_s),
    }


def _csv(rows: Iterable[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(text, list(row), lineterminator="\r\n")
            writer.writeheader()
        writer.writerow(row)
    return text.getvalue().encode()


def _usage_query(query: Mapping[str, str]) -> UsageQuery:
    since, until = query.get("from", ""), query.get("to", "")
    return UsageQuery(
        since_us=_moment(since, name="from") if since else None,
        until_us=_moment(until, name="to") if until else None,
        account=query.get("account", ""),
        algorithm=query.get("algorithm", ""),
    )


def _limit(query: Mapping[str, str]) -> int:
    return pages.parse_limit(
        query.get("limit", ""),
        default=USAGE_PAGE_RECORDS_MAX_DEFAULT,
        limit_max=USAGE_PAGE_RECORDS_MAX,
    )


def _dimensions(text: str) -> tuple[Dimension, ...]:
    try:
        return tuple(Dimension(word.strip()) for word in text.split(",") if word.strip())
    except ValueError:
        known = ", ".join(Dimension)
        raise InvalidInput(f"by must be a list of {known}, not {text[:100]!r}") from None


def _kinds(by: Sequence[Dimension]) -> list[type]:
    """Return the types of the parts of a sum's key."""
    return [int if name == "day" else str for name in key_names(by)]


def _moment(text: str, *, name: str) -> int:
    """Read a date or a time, UTC unless it says otherwise, as microseconds since 1970."""
    # A "+" in a query is a blank, and the sign of an offset is easily sent so.
    spelled = text.replace(" ", "+") if "T" in text else text
    try:
        moment = datetime.fromisoformat(spelled)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return us_of(moment)
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{name} must be a date or a time such as 2026-03-29T12:00:00Z, not {text[:100]!r}"
        ) from None


def _timestamp(us: int) -> str:
    moment = moment_of(us)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _seconds(value: float) -> float:
    return round(value, 6)


def _billed(seconds: float) -> int:
    """Round up to the next second, without counting what adding up has left behind it."""
    return math.ceil(round(seconds, 6))


def _values(scope: Scope, name: str) -> list[str]:
    """Return all values of a query parameter."""
    raw: bytes = scope.get("query_string", b"")
    pairs = parse_qsl(raw.replace(b"?", b"&").decode("latin-1"), keep_blank_values=False)
    return [value for key, value in pairs if key == name]
