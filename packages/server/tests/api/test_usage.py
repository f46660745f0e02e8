"""Usage over HTTP: who sees what, page by page, as JSON and as CSV, and the old reports."""

import asyncio
import csv
import io
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import rows
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.api import pages
from algorium_server.api.credentials import Credentials
from algorium_server.api.router import build_router
from algorium_server.api.usage import UsageFace
from algorium_server.domain.errors import InvalidMarker
from algorium_server.domain.identity import (
    DEFAULT_KEY_PERMISSIONS,
    Account,
    AccountKind,
    KeyKind,
    KeyPermissions,
    Role,
)
from algorium_server.domain.usage import UsageOutcome, UsageRecord
from algorium_server.services.calling.meter import Meter
from algorium_server.services.calling.usage import UsageService
from algorium_server.services.directory import Directory, key_digest
from algorium_server.store.database import Database, sqlite_url

API = "http://api.example"
DAY_US = 86_400_000_000
CALLS_ONLY = KeyPermissions(algo_acl=("algo://*",))


class Site:
    """Accounts with keys, an algorithm, and a server that knows their usage."""

    def __init__(self, runner: asyncio.Runner, database: Database, directory: Path) -> None:
        self.runner = runner
        self.directory = Directory(database)
        self.accounts: dict[str, Account] = {}
        for name, fields in {
            "jane": {},
            "joe": {},
            "root": {"is_admin": True},
            "lab": {"kind": AccountKind.ORGANIZATION},
        }.items():
            account = self.accounts[name] = rows.account(name, **fields)
            self.directory.put_account(account)
            self.add_key(name, name)
        self.add_key("jane", "calls-only", permissions=CALLS_ONLY)
        self.add_key("root", "admin", kind=KeyKind.ADMIN)
        self.add_key("jane", "false-admin", kind=KeyKind.ADMIN, permissions=CALLS_ONLY)
        for user, role in (("jane", Role.OWNER), ("joe", Role.MEMBER)):
            self.directory.put_membership(
                organization_id=self.accounts["lab"].account_id,
                user_id=self.accounts[user].account_id,
                role=role,
            )
        self.algorithm = rows.algorithm(self.accounts["lab"].account_id, "Hello")
        self.directory.put_algorithm(self.algorithm)
        self.stack = AsyncExitStack()
        self.meter = Meter(database, directory / "usage")
        runner.run(self.meter.start())
        self.stack.push_async_callback(self.meter.close)
        face = UsageFace(
            UsageService(database, self.directory, self.meter),
            Credentials(self.directory),
            api=API,
        )
        nobody: Any = None
        app = build_router(
            calls=nobody, data=nobody, health=nobody, usage=face, admin=nobody, storage=nobody
        )
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=API)
        self.stack.push_async_callback(self.http.aclose)

    def add_key(self, account: str, secret: str, **fields) -> None:
        fields.setdefault("permissions", DEFAULT_KEY_PERMISSIONS)
        key = rows.key(self.accounts[account].account_id, **fields)
        self.directory.put_key(key, digest=key_digest(secret))

    def record(self, caller: str = "jane", **fields) -> UsageRecord:
        subject = rows.usage_subject(
            account_id=self.accounts[caller].account_id,
            caller=caller,
            algorithm_id=fields.pop("algorithm_id", self.algorithm.algorithm_id),
            algorithm=fields.pop("algorithm", "lab/Hello"),
            **{name: fields.pop(name) for name in ("version", "commit_sha") if name in fields},
        )
        record = rows.usage_record(subject=subject, **fields)

        async def add() -> None:
            self.meter.record(record)

        self.runner.run(add())
        return record

    def get(self, path: str, key: str | None = "jane", method: str = "GET") -> httpx2.Response:
        headers = {"Authorization": f"Simple {key}"} if key else {}
        return self.runner.run(self.http.request(method, path, headers=headers))

    def found(self, path: str, key: str = "jane") -> list[dict[str, Any]]:
        answer = self.get(path, key)
        assert answer.status_code == 200, answer.text
        results: list[dict[str, Any]] = answer.json()["results"]
        return results


@pytest.fixture
def site(runner: asyncio.Runner, database: Database, tmp_path: Path) -> Iterator[Site]:
    """A site on each database, for tests that add records."""
    site = Site(runner, database, tmp_path)
    yield site
    runner.run(site.stack.aclose())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that all tests share which only ask; each account has made one call."""
    place = tmp_path_factory.mktemp("shared")
    with asyncio.Runner() as runner:
        database = runner.run(Database.open(sqlite_url(place / "algorium.db")))
        site = Site(runner, database, place)
        for name in site.accounts:
            site.record(name)
        yield site
        runner.run(site.stack.aclose())
        runner.run(database.close())


def error(answer: httpx2.Response) -> tuple[int, int | None]:
    return answer.status_code, answer.json()["error"].get("code")


def test_a_call_that_has_ended_is_found_at_once(site: Site):
    record = site.record(run_s=0.1234567, cpu_s=0.1, error_type="", is_void=True)

    answer = site.get("/v1/usage")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "marker": None,
        "next_link": None,
        "results": [
            {
                "request_id": record.request_id,
                "tree_id": record.tree_id,
                "started_at": "2026-03-29T01:02:03.456Z",
                "account": "jane",
                "key_id": record.subject.key_id,
                "algorithm": "lab/Hello",
                "version": "1.0.0",
                "commit": "ab" * 20,
                "outcome": "success",
                "error_type": "",
                "is_void": True,
                "queue_s": 0.0,
                "load_s": 0.0,
                "run_s": 0.123457,
                "cpu_s": 0.1,
                "peak_memory_bytes": 1_000_000,
                "input_bytes": 10,
                "output_bytes": 20,
            }
        ],
    }


def test_without_calls_there_is_nothing(site: Site):
    nothing = {"marker": None, "next_link": None, "results": []}

    assert site.get("/v1/usage").json() == nothing
    assert site.get("/v1/usage/totals").json() == nothing
    assert site.get("/v1/usage?format=csv").text == ""


@pytest.mark.parametrize(
    ("key", "query", "seen"),
    [
        ("jane", "", {"jane"}),
        ("joe", "", {"joe"}),
        ("lab", "", {"lab"}),
        ("jane", "?account=jane", {"jane"}),
        ("jane", "?account=LAB", {"lab"}),
        ("root", "", {"root"}),
        ("admin", "", {"jane", "joe", "lab", "root"}),
        ("admin", "?account=joe", {"joe"}),
    ],
)
def test_everybody_sees_what_is_theirs(shared: Site, key: str, query: str, seen: set[str]):
    assert {row["account"] for row in shared.found(f"/v1/usage{query}", key)} == seen
    totals = shared.found(f"/v1/usage/totals{query}{'&' if query else '?'}by=account", key)
    assert {row["account"] for row in totals} == seen


@pytest.mark.parametrize(
    ("key", "query", "expected"),
    [
        (None, "", (401, 2002)),
        ("unknown", "", (401, 2002)),
        ("calls-only", "", (403, 2001)),
        ("false-admin", "", (403, 2001)),
        ("jane", "?account=joe", (404, None)),
        ("jane", "?account=nobody", (404, None)),
        ("joe", "?account=lab", (404, None)),
        ("root", "?account=joe", (404, None)),
        ("admin", "?account=nobody", (404, None)),
    ],
)
@pytest.mark.parametrize("path", ["/v1/usage", "/v1/usage/totals"])
def test_nobody_sees_more(shared: Site, path: str, key, query: str, expected):
    assert error(shared.get(path + query, key)) == expected


def test_what_a_key_lacks_is_said(shared: Site):
    answer = shared.get("/v1/usage", "calls-only")

    assert answer.json()["error"]["hint"] == "Not allowed: the key has allow_algo_management=false."


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=0", (400, 5003)),
        ("limit=1001", (400, 5003)),
        ("limit=many", (400, 5003)),
        ("limit=-1", (400, 5003)),
        ("marker=x", (400, 5002)),
        ("marker=" + pages.marker_of(("a", "b")), (400, 5002)),
        ("marker=" + pages.marker_of((1,)), (400, 5002)),
        ("marker=" + pages.marker_of((2**70, "b")), (400, 5002)),
        ("marker=" + pages.marker_of((1, "\0")), (400, 5002)),
        ("from=yesterday", (400, 6001)),
        ("to=2026-13-01", (400, 6001)),
        ("algorithm=Hello", (400, 6001)),
        ("format=xml", (400, 6001)),
    ],
)
def test_what_cannot_be_read_is_refused(shared: Site, query: str, expected):
    assert error(shared.get(f"/v1/usage?{query}")) == expected


def test_unknown_dimensions_are_refused(shared: Site):
    answer = shared.get("/v1/usage/totals?by=day,colour")

    assert error(answer) == (400, 6001)
    assert "account, algorithm, version, day" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/usage/totals", "/v1/admin/usage"])
def test_other_verbs_are_refused(shared: Site, path: str):
    answer = shared.get(path, "admin", method="POST")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("path", ["/v1/usage/else", "/v1/admin/usage/else", "/v1/usages"])
def test_other_paths_are_not_there(shared: Site, path: str):
    assert shared.get(path, "admin").status_code == 404


def test_slashes_do_not_matter(shared: Site):
    assert len(shared.found("/v1//usage//totals/")) == 1


def test_pages_lead_to_the_next_one(site: Site):
    records = [site.record(started_us=rows.NOW_US + number) for number in range(7)]

    found: list[str] = []
    path = "/v1/usage?limit=3&algorithm=lab/Hello"
    while path:
        page = site.get(path).json()
        found += [row["request_id"] for row in page["results"]]
        assert (page["next_link"] is None) == (page["marker"] is None)
        link = urlsplit(page["next_link"] or "")
        assert f"{link.scheme}://{link.netloc}" in {API, "://"}
        path = f"{link.path}?{link.query}" if link.path else ""

    assert found == [record.request_id for record in reversed(records)]


def test_sums_have_pages_too(site: Site):
    for number in range(5):
        site.record(started_us=rows.NOW_US + number * DAY_US)

    first = site.get("/v1/usage/totals?by=day,algorithm&limit=3").json()
    second = site.get(f"/v1/usage/totals?by=day,algorithm&limit=3&marker={first['marker']}").json()

    days = [row["day"] for row in (*first["results"], *second["results"])]
    assert days == [f"2026-{day}" for day in ("03-29", "03-30", "03-31", "04-01", "04-02")]
    assert second["marker"] is None


def test_filters_restrict(site: Site):
    other = rows.algorithm(site.accounts["lab"].account_id, "Other")
    site.directory.put_algorithm(other)
    hello = site.record(started_us=rows.NOW_US)
    late = site.record(started_us=rows.NOW_US + DAY_US)
    site.record(algorithm_id=other.algorithm_id, algorithm="lab/Other", started_us=0)
    gone = site.record(algorithm_id="gone", algorithm="lab/Gone", started_us=0)

    def found(query: str) -> list[str]:
        return [row["request_id"] for row in site.found(f"/v1/usage?{query}")]

    assert found("algorithm=LAB/hello") == [late.request_id, hello.request_id]
    assert found(f"algorithm={site.algorithm.algorithm_id}") == [late.request_id, hello.request_id]
    assert found("algorithm=lab/Gone") == [gone.request_id], "whatever has become of it"
    assert found("from=2026-03-30") == [late.request_id]
    assert found("from=2026-03-29&to=2026-03-30") == [hello.request_id]
    assert found("from=2026-03-30T01:02:03.456789Z") == [late.request_id]
    assert found("from=2026-03-30T01:02:03.456790Z") == []
    assert found("from=2026-03-30T03:02:03.456789+02:00") == [late.request_id]
    assert found("from=2026-03-30T03:02:03.456789%2B02:00") == [late.request_id]


def test_sums_add_up(site: Site):
    common = {"queue_s": 0.1, "load_s": 0.2, "cpu_s": 0.3, "input_bytes": 1, "output_bytes": 2}
    site.record(**common, run_s=0.1, peak_memory_bytes=5)
    site.record(**common, run_s=0.2, peak_memory_bytes=9, outcome=UsageOutcome.ERROR)
    site.record(**common, run_s=0.0, peak_memory_bytes=0, outcome=UsageOutcome.CANCELLED)
    site.record(**common, run_s=0.0, peak_memory_bytes=0, outcome=UsageOutcome.REFUSED)

    assert site.found("/v1/usage/totals") == [
        {
            "calls": 4,
            "errors": 1,
            "cancelled": 1,
            "refused": 1,
            "queue_s": 0.4,
            "load_s": 0.8,
            "run_s": 0.3,
            "cpu_s": 1.2,
            "peak_memory_bytes": 9,
            "input_bytes": 4,
            "output_bytes": 8,
        }
    ]
    (by_version,) = site.found("/v1/usage/totals?by=version, account")
    assert list(by_version)[:5] == ["account", "algorithm", "version", "commit", "calls"]


def test_csv_has_a_header_and_leads_on(site: Site):
    first, second = (site.record(started_us=rows.NOW_US + number) for number in range(2))

    answer = site.get("/v1/usage?format=csv&limit=1")
    link = answer.headers["link"]
    rest = site.get(link.removeprefix(f"<{API}").removesuffix('>; rel="next"'))

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    ids = [
        row["request_id"]
        for each in (answer, rest)
        for row in csv.DictReader(io.StringIO(each.text))
    ]
    assert ids == [second.request_id, first.request_id]
    assert "link" not in rest.headers
    assert site.get("/v1/usage/totals?format=CSV").text.startswith("calls,errors,cancelled,")


REPORT = "/v1/admin/usage?start_date=2026-03-01T00:00:00Z&end_date=2026-04-01T00:00:00Z&page_size=2"


def report(kind: str = "", more: str = "") -> str:
    return REPORT.replace("usage?", f"usage{kind}?") + more


def test_the_old_report_tells_calls_and_billed_seconds(site: Site):
    site.record(run_s=0.2)
    site.record(run_s=2.5)
    site.record(run_s=0.1, outcome=UsageOutcome.TIMEOUT)
    site.record(outcome=UsageOutcome.REFUSED)
    site.record(started_us=0)
    site.record("joe", version="", commit_sha="cd" * 20)

    answer = site.get(report(), "admin").json()

    assert answer == {
        "results": [
            {
                "algorithm_called": "Hello",
                "algorithm_owner": "lab",
                "algorithm_version": "ab" * 20,
                "machine_type": "cpu",
                "caller": "jane",
                "total_calls": "3",
                "total_errors": 1,
                "total_duration": 5,
                "total_error_duration": 1,
            },
            {
                "algorithm_called": "Hello",
                "algorithm_owner": "lab",
                "algorithm_version": "cd" * 20,
                "machine_type": "cpu",
                "caller": "joe",
                "total_calls": "1",
                "total_errors": 0,
                "total_duration": 1,
                "total_error_duration": 0,
            },
        ]
    }


def test_the_old_report_has_its_own_pages_and_filters(shared: Site):
    first = shared.get(report("/users"), "admin").json()
    second = shared.get(report("/users", f"&marker={first['next_marker']}"), "admin").json()
    some = shared.get(report("/users", "&user=joe&user=nobody&user=Jane"), "admin").json()
    none = shared.get(report("/users", "&user=nobody"), "admin").json()

    callers = [row["caller"] for row in (*first["results"], *second["results"])]
    assert callers == ["jane", "joe", "lab", "root"]
    assert "next_marker" not in second
    assert [row["caller"] for row in some["results"]] == ["jane", "joe"]
    assert none == {"results": []}
    assert set(first["results"][0]) == {
        "caller",
        "total_calls",
        "total_errors",
        "total_duration",
        "total_error_duration",
    }
    (algorithm,) = shared.get(report("/algorithms"), "admin").json()["results"]
    assert (algorithm["total_calls"], "caller" in algorithm) == ("4", False)


@pytest.mark.parametrize(
    ("query", "key", "expected"),
    [
        ("start_date=2026-03-01&page_size=2", "admin", (400, 4010)),
        ("end_date=2026-03-01&page_size=2", "admin", (400, 4010)),
        ("start_date=2026-03-01&end_date=2026-03-02", "admin", (400, 6001)),
        ("start_date=2026-03-01&end_date=2026-03-02&page_size=0", "admin", (400, 5003)),
        ("start_date=x&end_date=2026-03-02&page_size=2", "admin", (400, 6001)),
        ("start_date=2026-03-01&end_date=2026-03-02&page_size=2&marker=x", "admin", (400, 5002)),
        ("start_date=2026-03-01&end_date=2026-03-02&page_size=2", "root", (403, 2001)),
        ("start_date=2026-03-01&end_date=2026-03-02&page_size=2", "jane", (403, 2001)),
        ("start_date=2026-03-01&end_date=2026-03-02&page_size=2", "false-admin", (403, 2001)),
        ("start_date=2026-03-01&end_date=2026-03-02&page_size=2", None, (401, 2002)),
    ],
)
@pytest.mark.parametrize("kind", ["", "/algorithms", "/users"])
def test_the_old_report_wants_dates_a_size_and_an_administrator(
    shared: Site, kind: str, query: str, key, expected
):
    assert error(shared.get(f"/v1/admin/usage{kind}?{query}", key)) == expected


KEYS = st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.text("aZ09-/._ü", max_size=20)))


@given(KEYS)
def test_a_marker_holds_its_key(key: list[int | str]):
    kinds = [type(part) for part in key]

    assert pages.key_of_marker(pages.marker_of(key), kinds) == tuple(key)
    with pytest.raises(InvalidMarker):
        pages.key_of_marker(pages.marker_of(key), [*kinds, str])


@given(st.text(max_size=60).filter(bool))
def test_anything_else_is_no_marker(text: str):
    with pytest.raises(InvalidMarker):
        pages.key_of_marker(text, (str,))
