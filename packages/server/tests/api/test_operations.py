"""Registries, event listeners, notifications, insights and reports over HTTP, on both databases."""

import asyncio
import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import rows
from sqlalchemy import select

from algorium_server.api.credentials import PRINCIPAL_KEY, Credentials
from algorium_server.api.http import AsgiApp, Receive, Scope, Send
from algorium_server.api.management import build_management
from algorium_server.api.router import build_router
from algorium_server.domain.algorithms import Algorithm, AlgorithmSettings
from algorium_server.domain.event_listeners import HIDDEN
from algorium_server.domain.identity import (
    DEFAULT_KEY_PERMISSIONS,
    Account,
    AccountKind,
    ActingAlgorithm,
    KeyKind,
    Principal,
    Role,
)
from algorium_server.domain.languages import Language
from algorium_server.domain.limits import NOTIFICATIONS_KEEP_S
from algorium_server.domain.notifications import NotificationType
from algorium_server.domain.storage import StorageUse
from algorium_server.sealing import Seal
from algorium_server.services.authoring.environments import EnvironmentCatalog
from algorium_server.services.authoring.notifying import notify
from algorium_server.services.calling.meter import Meter
from algorium_server.services.directory import Directory, key_digest
from algorium_server.services.files.reaching import Reach, parse_places
from algorium_server.store import accounts as account_rows
from algorium_server.store import algorithms as algorithm_rows
from algorium_server.store import storage
from algorium_server.store.database import Database
from algorium_server.store.tables.operations import event_listeners, registries
from algorium_server.wiring.reporting import Reporting

API = "http://api.example"
LISTENER = {
    "sourceType": "AmazonSQS",
    "sourceURI": "https://sqs.us-east-1.amazonaws.com/1/q",
    "algoName": "Hello",
    "algoOwner": "lab",
    "credentials": "arn:aws:iam::1:role/secret-role",
}
BROKER = {
    "connection_type": "kafka_unauthenticated_plaintext",
    "broker_url": "127.0.0.1:9092,127.0.0.1:9093",
    "topic": "metrics",
}


class Site:
    """Users `jane` (owner of `lab`), `joe` (member), `eve`, and `root`, with the management API."""

    def __init__(self, runner: asyncio.Runner, database: Database, home: Path) -> None:
        self.runner = runner
        self.database = database
        self.directory = Directory(database)
        self.accounts: dict[str, Account] = {}
        self.meter = Meter(database, home / "usage")
        self.seal = Seal.open(home)
        self.lacking: dict[Language, str] = {}
        reach = Reach(parse_places("127.0.0.1:9092 127.0.0.1:9093"))
        self.reporting = Reporting(database, self.directory, self.meter, self.seal, reach)
        environments = EnvironmentCatalog(
            database,
            python_versions=lambda: ["3.11"],
            why_not=lambda language: self.lacking.get(language, ""),
        )
        self.inside: Principal | None = None
        management = build_management(
            Credentials(self.directory), *self.reporting.routes(environments, api=API)
        )
        nobody: Any = None
        router = build_router(
            calls=nobody,
            data=nobody,
            health=nobody,
            usage=nobody,
            admin=nobody,
            management=management,
        )
        self.http = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self._seen(router)), base_url=API
        )

    def _seen(self, app: AsgiApp) -> AsgiApp:
        async def seen(scope: Scope, receive: Receive, send: Send) -> None:
            if self.inside is not None:
                scope[PRINCIPAL_KEY] = lambda: self.inside
            await app(scope, receive, send)

        return seen

    async def begin(self) -> None:
        await self.meter.start()
        async with self.database.transaction() as connection:
            for name, fields in {
                "jane": {},
                "joe": {},
                "eve": {},
                "root": {"is_admin": True},
                "viewer": {"is_viewer": True},
                "lab": {"kind": AccountKind.ORGANIZATION},
            }.items():
                account = self.accounts[name] = rows.account(name, **fields)
                await account_rows.add_account(connection, account)
                kind = KeyKind.ADMIN if name == "root" else KeyKind.STANDARD
                key = rows.key(account.account_id, kind=kind, permissions=DEFAULT_KEY_PERMISSIONS)
                await account_rows.add_key(connection, key, digest=key_digest(name))
            for user, role in (("jane", Role.OWNER), ("joe", Role.MEMBER)):
                await account_rows.set_membership(
                    connection,
                    organization_id=self.accounts["lab"].account_id,
                    user_id=self.accounts[user].account_id,
                    role=role,
                )
        self.algorithm = await self.add_algorithm("lab", "Hello")
        await self.directory.load()

    async def add_algorithm(self, owner: str, name: str, **settings: Any) -> Algorithm:
        made = rows.algorithm(
            self.accounts[owner].account_id, name, settings=AlgorithmSettings(**settings)
        )
        async with self.database.transaction() as connection:
            await algorithm_rows.add_algorithm(connection, made)
        self.directory.put_algorithm(made)
        return made

    async def end(self) -> None:
        await self.http.aclose()
        await self.meter.close()

    def ask(
        self, method: str, path: str, key: str = "root", body: Any = None, **options: Any
    ) -> httpx2.Response:
        headers = {"Authorization": f"Simple {key}"} if key else {}
        headers |= options.pop("headers", {})
        asked = self.http.request(method, path, headers=headers, json=body, **options)
        return self.runner.run(asked)

    def get(self, path: str, key: str = "root", **options: Any) -> Any:
        answer = self.ask("GET", path, key, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def column(self, column: Any) -> list[Any]:
        async def read() -> list[Any]:
            async with self.database.reading() as connection:
                return list((await connection.scalars(select(column))).all())

        return self.runner.run(read())

    def called(self, caller: str, algorithm: str = "lab/Hello", **fields: Any) -> None:
        subject = rows.usage_subject(
            account_id=self.accounts[caller].account_id, caller=caller, algorithm=algorithm
        )

        async def add() -> None:
            self.meter.record(rows.usage_record(subject=subject, **fields))

        self.runner.run(add())


@pytest.fixture
def site(runner: asyncio.Runner, database: Database, tmp_path: Path) -> Iterator[Site]:
    site = runner.run(_site(runner, database, tmp_path))
    yield site
    runner.run(site.end())


async def _site(runner: asyncio.Runner, database: Database, home: Path) -> Site:
    site = Site(runner, database, home)
    await site.begin()
    return site


only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def error(answer: httpx2.Response) -> tuple[int, int | None]:
    return answer.status_code, answer.json()["error"].get("code")


def test_registries_are_kept_without_showing_what_opens_them(site: Site):
    body = {"registry_url": "https://r.example", "name": "r", "registry_password": "hunter22"}
    made = site.ask("POST", "/v1/registries", body=body)
    registry = made.json()
    path = f"/v1/registries/{registry['id']}"
    first = site.column(registries.c.sealed)
    changed = site.ask("PUT", path, body={"registry_url": "https://s.example", "name": "s"})

    assert made.status_code == changed.status_code == 200
    assert set(registry) == {"id", "created_at", "name", "registry_url"}
    assert site.get("/v1/registries", "eve") == [changed.json()]
    assert "hunter22" not in made.text
    assert b"hunter22" not in first[0]
    sealed = site.column(registries.c.sealed)[0]
    opened = site.seal.unseal(sealed, owner=registry["id"], name="registry")
    assert opened == b'{"username":"","password":"hunter22"}'
    assert site.ask("DELETE", path).content == b""
    assert site.get("/v1/registries", "eve") == []
    for method in ("PUT", "DELETE"):
        assert error(site.ask(method, path, body=body)) == (400, 6001)


@only_sqlite
def test_a_registry_that_cannot_be_is_refused(site: Site):
    for body in (
        {"registry_url": " "},
        {"registry_url": "x" * 129},
        {"registry_url": "https://user:password@r.example"},
        {"registry_url": "r", "name": "x" * 33},
        {"registry_url": "r", "registry_password": "x" * 65},
    ):
        assert error(site.ask("POST", "/v1/registries", body=body)) == (400, 6001), body
    assert error(site.ask("POST", "/v1/registries", body={})) == (400, 2015)
    assert site.ask("POST", "/v1/registries", "jane", body={"registry_url": "r"}).status_code == 403


def test_listeners_are_an_array_or_a_page(site: Site):
    path = "/v1/users/jane/event-listeners"
    made = [site.ask("POST", path, "jane", body=LISTENER).json() for _ in range(3)]

    assert set(made[0]) == {
        *LISTENER,
        "id",
        "algoVersion",
        "algoTimeoutSeconds",
        "listenerOwner",
        "delivery",
    }
    assert made[0]["algoTimeoutSeconds"] == 420
    assert made[0]["listenerOwner"] == "jane"
    assert made[0]["delivery"] == "stored, not polled"
    ids = {each["id"] for each in made}
    assert {each["id"] for each in site.get(path, "jane")} == ids
    assert {each["id"] for each in site.get(path, "root")} == ids
    first = site.get(f"{path}?limit=2", "jane")
    second = site.get(f"{path}?limit=2&marker={first['marker']}", "jane")
    assert {each["id"] for each in first["results"] + second["results"]} == ids
    assert second["marker"] is second["next_link"] is None
    generated = site.get(path, "jane", headers={"User-Agent": "OpenAPI-Generator/1.3.0/python"})
    assert set(generated) == {"marker", "next_link", "results"}
    assert error(site.ask("GET", f"{path}?marker=nonsense", "jane")) == (400, 5002)


def test_credentials_of_listeners_are_sealed_and_stay_when_stars_come_back(site: Site):
    path = "/v1/users/jane/event-listeners"
    made = site.ask("POST", path, "jane", body=LISTENER).json()
    one = f"{path}/{made['id']}"
    sealed = site.column(event_listeners.c.sealed)
    again = site.ask("PUT", one, "jane", body=made | {"algoName": "Other"})

    assert made["credentials"] == HIDDEN
    assert b"secret-role" not in sealed[0]
    assert again.json() == made | {"algoName": "Other"} == site.get(one, "jane")
    assert site.column(event_listeners.c.sealed) == sealed
    site.ask("PUT", one, "jane", body=LISTENER)
    opened = site.seal.unseal(
        site.column(event_listeners.c.sealed)[0],
        owner=site.accounts["jane"].account_id,
        name=f"event_listener/{made['id']}",
    )
    assert opened.decode() == LISTENER["credentials"]
    assert error(site.ask("POST", path, "jane", body=made))[0] == 400
    deleted = site.ask("DELETE", one, "jane")
    assert (deleted.status_code, deleted.content) == (200, b"")
    for method in ("GET", "PUT", "DELETE"):
        assert site.ask(method, one, "jane", body=LISTENER).status_code == 404


@only_sqlite
def test_listeners_of_others_are_not_ones_own(site: Site):
    mine = "/v1/users/jane/event-listeners"
    made = site.ask("POST", mine, "jane", body=LISTENER).json()
    theirs = f"/v1/users/eve/event-listeners/{made['id']}"

    for method, path in (("GET", mine), ("POST", mine), ("DELETE", f"{mine}/{made['id']}")):
        assert error(site.ask(method, path, "eve", body=LISTENER)) == (403, 2001)
    assert site.ask("GET", theirs, "eve").status_code == 404
    assert site.ask("DELETE", theirs, "eve").status_code == 404
    assert site.get(mine, "viewer")[0]["id"] == made["id"]
    assert site.ask("POST", mine, "viewer", body=LISTENER).status_code == 403
    assert site.ask("POST", "/v1/users/nobody/event-listeners", body=LISTENER).status_code == 404


@only_sqlite
def test_a_listener_that_cannot_be_is_refused(site: Site):
    path = "/v1/users/jane/event-listeners"
    for field, value in (
        ("sourceType", "Carrier"),
        ("sourceURI", ""),
        ("sourceURI", "x" * 256),
        ("credentials", "x" * 256),
        ("algoName", "a\nb"),
        ("algoTimeoutSeconds", 0),
        ("algoTimeoutSeconds", 3001),
    ):
        answer = site.ask("POST", path, "jane", body=LISTENER | {field: value})
        assert error(answer) == (400, 6001), field
        assert field in answer.json()["error"]["message"]


async def tell(site: Site, kind: NotificationType, algorithm: Algorithm, **fields: Any) -> None:
    fields = {"now": rows.NOW, "owner": "lab"} | fields
    async with site.database.transaction() as connection:
        await notify(connection, kind, algorithm, **fields)


def test_everybody_in_an_organization_is_told_of_its_algorithms(site: Site, runner: asyncio.Runner):
    runner.run(tell(site, NotificationType.CREATION, site.algorithm))
    runner.run(
        tell(
            site,
            NotificationType.RELEASE,
            site.algorithm,
            now=rows.NOW + timedelta(seconds=1),
            semantic_version="1.0.0",
        )
    )
    both = "notifications?event_types=algorithm-creation,algorithm-release"

    release, creation = site.get(f"/v1/users/joe/{both}", "joe")
    assert len(site.get(f"/v1/users/jane/{both}", "root")) == 2
    assert site.get(f"/v1/users/eve/{both}", "eve") == []
    assert release["notification_context"] == {
        "algorithm_id": site.algorithm.algorithm_id,
        "username": "lab",
        "algoname": "Hello",
        "semantic_version": "1.0.0",
    }
    assert creation["notification_type"] == "algorithm-creation"
    assert "read_at" not in creation
    only = site.get("/v1/users/joe/notifications?event_types=algorithm-release", "joe")
    assert only == [release]
    assert site.get(f"/v1/users/joe/{both}&limit=1", "joe") == [release]
    since = creation["created_at"].replace("+", "%2B")
    assert site.get(f"/v1/users/joe/{both}&since={since}", "joe") == [release]
    assert site.ask("GET", f"/v1/users/joe/{both}", "eve").status_code == 403


def test_notifications_are_marked_as_read_by_whom_they_tell(site: Site, runner: asyncio.Runner):
    mine = runner.run(site.add_algorithm("eve", "Mine"))
    runner.run(tell(site, NotificationType.CREATION, mine, owner="eve"))
    path = "/v1/users/eve/notifications"
    (told,) = site.get(f"{path}?event_types=algorithm-creation", "eve")
    body = {"notification_ids": [told["notification_id"], "another", "\0"]}

    assert site.ask("POST", f"{path}/read", "root", body=body).status_code == 403
    assert site.ask("POST", f"{path}/read", "joe", body=body).status_code == 403
    assert site.ask("POST", f"{path}/read", "eve", body={"notification_ids": []}).is_success
    assert "read_at" not in site.get(f"{path}?event_types=algorithm-creation", "eve")[0]
    assert site.ask("POST", f"{path}/read", "eve", body=body).status_code == 204
    read_at = site.get(f"{path}?event_types=algorithm-creation", "eve")[0]["read_at"]
    assert site.ask("POST", f"{path}/read", "eve").status_code == 204
    assert site.get(f"{path}?event_types=algorithm-creation", "eve")[0]["read_at"] == read_at


@only_sqlite
def test_old_notifications_go(site: Site, runner: asyncio.Runner):
    old = rows.NOW - timedelta(seconds=NOTIFICATIONS_KEEP_S * 100)
    runner.run(tell(site, NotificationType.CREATION, site.algorithm, now=old))

    assert runner.run(site.reporting.notifications.prune()) == 2


@only_sqlite
def test_a_question_for_notifications_that_is_none(site: Site):
    for query, code in (
        ("", 8060),
        ("event_types=,", 8060),
        ("event_types=x&limit=0", 8061),
        ("event_types=x&limit=101", 8061),
        ("event_types=x&limit=many", 8061),
        ("event_types=x&since=yesterday", 8061),
    ):
        answer = site.ask("GET", f"/v1/users/joe/notifications?{query}", "joe")
        assert error(answer) == (400, code), query


def test_the_insights_connection_never_shows_its_password(site: Site):
    path = "/v1/admin/insights-connection"
    sasl = BROKER | {
        "connection_type": "kafka_sasl_ssl",
        "broker_username": "jane",
        "broker_password": "hunter22",
        "sasl_mechanism": "SCRAM-SHA-256",
    }

    assert site.ask("GET", path).status_code == 404
    plain = site.ask("POST", path, body=BROKER)
    secured = site.ask("POST", path, body=sasl)
    assert plain.status_code == secured.status_code == 200
    assert secured.json().items() >= (sasl.items() - {("broker_password", "hunter22")})
    assert "hunter22" not in secured.text
    assert secured.json()["delivery"] == {"sent": 0, "waiting": 0, "lost": 0, "remedy": ""}
    assert site.get(path) == secured.json()
    assert site.ask("GET", path, "jane").status_code == 403
    assert site.ask("POST", path, "viewer", body=BROKER).status_code == 403
    assert site.ask("DELETE", path).status_code == 204
    assert site.ask("DELETE", path).status_code == 204
    assert site.ask("GET", path).status_code == 404


@only_sqlite
def test_an_insights_connection_that_cannot_be_is_refused(site: Site):
    for change in (
        {"connection_type": "carrier"},
        {"broker_url": "127.0.0.1"},
        {"broker_url": "127.0.0.1:99999"},
        {"broker_url": "http://127.0.0.1:9092"},
        {"broker_url": "127.0.0.1:9092,10.0.0.1:9092"},
        {"topic": "a b"},
        {"topic": ".."},
        {"connection_type": "kafka_sasl_ssl"},
        {"connection_type": "kafka_sasl_ssl", "broker_username": "x"},
        {
            "connection_type": "kafka_sasl_ssl",
            "broker_username": "x",
            "broker_password": "x",
            "ca_certificate": "none",
        },
    ):
        answer = site.ask("POST", "/v1/admin/insights-connection", body=BROKER | change)
        assert error(answer) == (400, 6001), change
    assert site.ask("GET", "/v1/admin/insights-connection").status_code == 404


@only_sqlite
def test_insights_are_reported_from_inside_alone(site: Site):
    pair = {"insight_key": "cats", "insight_value": 4}

    assert error(site.ask("POST", "/v1/insights", "", body=[pair])) == (401, 2002)
    assert error(site.ask("POST", "/v1/insights", "jane", body=[pair])) == (403, 2001)
    site.inside = Principal(
        account=site.accounts["jane"],
        acting=ActingAlgorithm(
            algorithm_id=site.algorithm.algorithm_id,
            owner_id=site.algorithm.owner_id,
            tree_id="req-1",
            deadline_at=0.0,
            depth=1,
            is_pipeline_enabled=False,
            call_id="req-1",
        ),
    )
    taken = site.ask("POST", "/v1/insights", "", body=[pair, {**pair, "insight_value": "7"}])
    assert (taken.status_code, taken.json()) == (200, {"response": "OK"})
    for wrong in (
        {"insight_key": "cats"},
        [{"insight_key": "timestamp", "insight_value": 1}],
        [{"insight_key": "", "insight_value": 1}],
        [{"insight_key": "a", "insight_value": True}],
        [{"insight_key": "a", "insight_value": None}],
        [{"insight_key": "a", "insight_value": 2**63}],
        ["a"],
        [{"insight_key": f"k{n}", "insight_value": 1} for n in range(26)],
        [{"insight_key": "a", "insight_value": "x" * (25 * 1024)}],
    ):
        assert error(site.ask("POST", "/v1/insights", "", body=wrong)) == (400, 6001)


def test_reports_tell_organizations_accounts_and_algorithms_apart(
    site: Site, runner: asyncio.Runner
):
    day_us = 86_400_000_000
    site.called("jane", started_us=0, run_s=2.0, cpu_s=1.0)
    site.called("eve", started_us=1, run_s=3.0, cpu_s=1.5, error_type="AlgorithmError")
    site.called("eve", started_us=day_us, run_s=1.0, cpu_s=0.5, algorithm="eve/Mine")
    site.called("joe", started_us=3 * day_us, algorithm="laboratory/Hello")
    days = "start_date=1970-01-01&end_date=1970-01-02"

    by_organization = site.get(f"/v1/admin/governance?by=organization&{days}")
    assert by_organization["by"] == "organization"
    (lab,) = by_organization["results"]
    assert (lab["day"], lab["organization"], lab["executions"]) == ("1970-01-01", "lab", 2)
    assert (lab["cpu_time_s"], lab["cpu_core_s"], lab["cpu_cost"]) == (5.0, 2.5, 0.0)
    assert (lab["members"], lab["algorithms"]) == (2, 1)
    by_account = site.get(f"/v1/admin/governance?by=account&{days}", "viewer")["results"]
    assert [(row["day"], row["account"]) for row in by_account] == [
        ("1970-01-01", "eve"),
        ("1970-01-01", "jane"),
        ("1970-01-02", "eve"),
    ]
    site.ask("PUT", "/v1/admin/governance/rates", body={"cpu_second": 0.5})
    by_algorithm = site.get(f"/v1/admin/governance?{days}")["results"]
    assert [(row["algorithm"], row["cpu_cost"]) for row in by_algorithm] == [
        ("lab/Hello", 2.5),
        ("eve/Mine", 0.5),
    ]
    own = site.get(f"/v1/organizations/lab/governance?by=account&{days}", "jane")["results"]
    assert [(row["account"], row["executions"]) for row in own] == [("(others)", 1), ("jane", 1)]
    whole = site.get(
        "/v1/organizations/lab/governance?start_date=1970-01-01&end_date=1970-01-09", "jane"
    )
    assert {row["algorithm"] for row in whole["results"]} == {"lab/Hello"}
    for key in ("joe", "eve"):
        assert error(site.ask("GET", "/v1/organizations/lab/governance", key)) == (403, 2001)
        assert error(site.ask("GET", "/v1/admin/governance", key)) == (403, 2001)


def test_reports_say_what_was_stored_at_the_end_of_each_day(site: Site, runner: asyncio.Runner):
    async def store(size: int) -> None:
        async with site.database.transaction() as connection:
            await storage.set_use(
                connection, site.accounts["lab"].account_id, StorageUse(bytes=size, files=1)
            )

    found = []
    for size in (1024 * 1024, 3 * 1024 * 1024):
        runner.run(store(size))
        found += site.get("/v1/admin/governance?by=organization")["results"]

    assert [row["hosted_storage_mib"] for row in found] == [1.0, 3.0]
    assert [row["executions"] for row in found] == [0, 0]
    (account,) = site.get("/v1/admin/governance?by=account")["results"]
    assert (account["account"], account["hosted_storage_mib"]) == ("lab", 3.0)


@only_sqlite
def test_a_report_as_csv(site: Site):
    site.called("jane", started_us=0, algorithm="lab/Hello")
    path = "/v1/admin/governance?start_date=1970-01-01&end_date=1970-01-01"
    asked = site.ask("GET", path, headers={"Accept": "text/csv"})

    assert asked.headers["content-type"] == "text/csv; charset=utf-8"
    assert asked.headers["content-disposition"].endswith(
        '"governance-algorithm-1970-01-01-1970-01-01.csv"'
    )
    (row,) = csv.DictReader(io.StringIO(asked.text))
    as_json = site.get(path)["results"][0]
    assert row == {name: str(value) for name, value in as_json.items()}
    assert site.ask("GET", f"{path}&format=csv").text == asked.text
    nothing = site.ask(
        "GET", "/v1/admin/governance?start_date=1971-01-01&end_date=1971-01-01&format=csv"
    )
    assert nothing.text.startswith("day,algorithm,version,executions")


@only_sqlite
def test_a_report_that_cannot_be_is_refused(site: Site):
    for query in (
        "by=planet",
        "format=pdf",
        "start_date=yesterday",
        "start_date=2026-02-30",
        "start_date=2026-02-02&end_date=2026-02-01",
        "start_date=2020-01-01&end_date=2026-02-01",
    ):
        answer = site.ask("GET", f"/v1/admin/governance?{query}")
        assert error(answer) == (400, 6001), query


@only_sqlite
def test_prices_are_numbers(site: Site):
    path = "/v1/admin/governance/rates"

    assert site.get(path) == {"cpu_second": 0.0}
    assert site.ask("PUT", path, body={"cpu_second": 0.0001}).json() == {"cpu_second": 0.0001}
    for wrong in (-1, 1e9, "x"):
        assert error(site.ask("PUT", path, body={"cpu_second": wrong})) == (400, 6001)
    assert site.ask("PUT", path, "viewer", body={"cpu_second": 1}).status_code == 403
    assert site.get(path, "viewer") == {"cpu_second": 0.0001}


@only_sqlite
def test_algorithms_without_an_environment_are_legacy(site: Site, runner: asyncio.Runner):
    runner.run(site.add_algorithm("eve", "Old", language="java"))
    runner.run(site.add_algorithm("eve", "Gone", environment_id="none-any-more"))
    site.lacking[Language.JAVA] = "no JDK here"

    found = site.get("/v1/admin/legacy-algorithms")["results"]
    assert [(each["username"], each["algoname"]) for each in found] == [
        ("eve", "Gone"),
        ("eve", "Old"),
    ]
    assert all(isinstance(each["id"], int) and each["id"] < 2**53 for each in found)
    assert site.ask("GET", "/v1/admin/legacy-algorithms", "eve").status_code == 403


@only_sqlite
def test_the_client_for_web_pages_is_public(site: Site):
    script = site.ask("GET", "/v1/clients/js/algorithmia-0.2.1.js", "")

    assert script.status_code == 200
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["access-control-allow-origin"] == "*"
    assert "/v1/web/algo/" in script.text
