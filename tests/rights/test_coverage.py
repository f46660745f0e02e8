"""
Every operation of the old service is answered, and nothing else is but what we list as ours.

`operations.csv` is the coverage table of the wire specification, a line for each operation:

| column    | what                                                                             |
|-----------|----------------------------------------------------------------------------------|
| `row`     | number in the table; with `+` a part of that row; 6.7 are the auxiliary routes    |
| `path`    | `[...]` may be left out, `{...}` stands for a name                               |
| `auth`    | `K` any key, `M` key with management, `A` admin key, `C` session, `H` signature  |
|           | of a webhook, `I` from inside an algorithm, `none` anybody                       |
| `success` | status, or several                                                               |

`ours.csv` has, the same way, what the management API has beyond it.

Source: wire specification, "Coverage table".
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
import pytest
from running import RunningServer

HERE: Final = Path(__file__).parent
NOBODY: Final = "00000000-0000-4000-8000-000000000007"
"""An id of nothing."""
IDS: Final = frozenset({"algorithmId", "algorithm_id", "specId", "buildId", "secretId", "scmId"})
ROWS: Final = 146
OPERATIONS: Final = 153
PAST_THE_DOCUMENT: Final = re.compile(
    r"/v1/admin/usage|/git/|/v1/openapispec|/v1/users/\{\}/connectors"
)
"""What is answered by faces that the document says nothing of."""


@dataclass(frozen=True)
class Operation:
    """A line of a table."""

    row: str
    method: str
    path: str
    auth: frozenset[str]
    success: frozenset[int]

    def __str__(self) -> str:
        return f"{self.row} {self.method} {self.path}"

    @property
    def paths(self) -> tuple[str, ...]:
        """All spellings, with names of nothing."""
        shortest = re.sub(r"\[[^]]*\]", "", self.path)
        longest = self.path.replace("[", "").replace("]", "")
        return tuple(dict.fromkeys(re.sub(r"\{(\w+)\}", _nobody, p) for p in (shortest, longest)))

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by, however names are called."""
        return self.method, _bare(self.path)

    @property
    def keys(self) -> set[tuple[str, str]]:
        """The same for all spellings."""
        return {self.key, (self.method, _bare(re.sub(r"\[[^]]*\]", "", self.path)))}


def _nobody(match: re.Match[str]) -> str:
    return NOBODY if match[1] in IDS else "nobody"


def _bare(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path.replace("[", "").replace("]", ""))


def read(name: str) -> list[Operation]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return [
            Operation(
                row=line.get("row", "ours"),
                method=line["method"],
                path=line["path"],
                auth=frozenset(line["auth"].split()),
                success=frozenset(map(int, line["success"].split())),
            )
            for line in csv.DictReader(file)
        ]


TABLE: Final = read("operations.csv")
OURS: Final = read("ours.csv")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("coverage") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def http(running: RunningServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=running.api, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def described(http: httpx2.Client) -> dict[tuple[str, str], set[int]]:
    """What the server's own document says: operations, and how they succeed."""
    document = http.get("/v1/openapispec").json()
    return {
        (method.upper(), _bare(path)): {
            int(status) for status in operation["responses"] if status.startswith(("2", "3"))
        }
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


def test_the_table_has_every_row() -> None:
    rows = [int(operation.row) for operation in TABLE if operation.row.isdigit()]

    assert sorted(set(rows)) == list(range(1, ROWS + 1))
    assert len(rows) == OPERATIONS


@pytest.mark.parametrize("table", [TABLE, OURS], ids=["theirs", "ours"])
def test_every_operation_is_answered(
    table: list[Operation], running: RunningServer, http: httpx2.Client
) -> None:
    wrong = []
    for operation in table:
        key = running.key if "A" not in operation.auth else running.credentials["admin_api_key"]
        for path in operation.paths:
            answer = _ask(http, operation, path, key)
            if answer.status_code == 405 or "nothing answers" in answer.headers.get(
                "X-Error-Message", ""
            ):
                wrong.append(f"{operation}: {answer.status_code}")

    assert wrong == []


@pytest.mark.parametrize("table", [TABLE, OURS], ids=["theirs", "ours"])
def test_without_credentials_only_what_is_public_is_answered(
    table: list[Operation], http: httpx2.Client
) -> None:
    wrong = []
    for operation in table:
        for path in operation.paths:
            status = _ask(http, operation, path).status_code
            if not _is_right_for_strangers(operation, status):
                wrong.append(f"{operation}: {status}")

    assert wrong == []


def test_what_is_for_administrators_is_refused_to_users(
    running: RunningServer, http: httpx2.Client
) -> None:
    key = running.add_user("somebody")
    wrong = []
    for operation in [*TABLE, *OURS]:
        if not operation.auth <= {"A", "C"} or "A" not in operation.auth:
            continue
        for path in operation.paths:
            status = _ask(http, operation, path, key).status_code
            # What is missing may be said before who may ask: nothing is told by that.
            if status not in {400, 403}:
                wrong.append(f"{operation}: {status}")

    assert wrong == []


def _is_right_for_strangers(operation: Operation, status: int) -> bool:
    if operation.path.endswith("/oauth/finish"):
        return status == 400  # whose browser it is, says the state that it brings back
    if "none" in operation.auth:
        return status not in {401, 403, 405}
    if "H" in operation.auth:  # the algorithm of the webhook is looked for first
        return status in {401, 403, 404}
    return status == 401


def test_the_document_has_every_operation_of_the_management_api(
    described: dict[tuple[str, str], set[int]],
) -> None:
    missing = [
        str(operation)
        for operation in TABLE
        if not PAST_THE_DOCUMENT.match(_bare(operation.path)) and not _in(described, operation)
        if operation.method != "OPTIONS"  # browsers ask that by themselves
    ]

    assert missing == []


def test_what_is_not_in_the_table_is_listed_as_ours(
    described: dict[tuple[str, str], set[int]],
) -> None:
    theirs = set().union(*(operation.keys for operation in TABLE))
    ours = {operation.key for operation in OURS}

    assert described.keys() - theirs - ours == set()
    assert ours & theirs == set()
    assert {key for key in ours if not PAST_THE_DOCUMENT.match(key[1])} <= described.keys()


def test_operations_succeed_as_the_table_says(
    described: dict[tuple[str, str], set[int]],
) -> None:
    wrong = [
        f"{operation}: {sorted(described[operation.key])}"
        for operation in [*TABLE, *OURS]
        if operation.key in described and not described[operation.key] & operation.success
    ]

    assert wrong == []


def _in(described: dict[tuple[str, str], set[int]], operation: Operation) -> bool:
    return operation.key in described


def _ask(http: httpx2.Client, operation: Operation, path: str, key: str = "") -> httpx2.Response:
    headers = {"Authorization": f"Simple {key}"} if key else {}
    return http.request(operation.method, path, headers=headers)
