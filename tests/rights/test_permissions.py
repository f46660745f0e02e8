"""
Every operation of the old service, asked for by every kind of caller, over HTTP.

`permissions.csv` names a rule for each operation of the coverage table; `RULES` says of each rule
who may. Both are written from the specification and not from the code: a case that the two see
differently fails. What is refused is refused with 401 and code 2002, 403 and code 2001, or, where
it is hidden, the 404 of what is not there; what is allowed succeeds as the coverage table says.

| who                 | what                                                      |
|---------------------|-----------------------------------------------------------|
| alice, bob, eve     | owner, member, executor of the organization `lab`         |
| mallory             | nobody's friend                                           |
| olga                | owner of another organization, `two`                      |
| vera                | sees what administrators see                              |
| root                | the administrator                                         |
| `lab/Tool`          | an algorithm that was never published to all              |
| `signed/Hello`      | one that was published to all                             |

Source: wire specification, "Roles and rights", "API keys", coverage table.
"""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
import pytest

sys.path.append(str(Path(__file__).parents[2] / "packages" / "server" / "tests"))

from key_server import KeyServer, running_key_server
from permission_requests import request_of
from permission_world import World

HERE: Final = Path(__file__).parent
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
ALLOWED: Final = 200
CASES_MIN: Final = 3000
AT_ONCE: Final = 4
"""Requests on their way: one at a time, the two ends would mostly wait for each other."""


@dataclass(frozen=True)
class Caller:
    """
    Who asks.

    Attributes:
        name: In `World.headers`.
        account: Whose credentials are shown; empty for none that are known.
        may: What the key allows: `call`, `pages`, `read`, `write`, `manage`, and `keys` if it is
            a management key.
        is_admin: An administrator, as one: the admin key, a session or a token.
    """

    name: str
    account: str = ""
    may: frozenset[str] = frozenset()
    is_admin: bool = False
    has_csrf: bool = True

    @property
    def role(self) -> str:
        """In the organization `lab`."""
        roles = {"alice": "owner", "bob": "member", "eve": "executor", "lab": "itself"}
        return roles.get(self.account, "")

    @property
    def is_viewer(self) -> bool:
        return self.account == "vera" and "manage" in self.may


def may(text: str) -> frozenset[str]:
    return frozenset(text.split())


DEFAULT: Final = may("call read write manage")
MANAGEMENT: Final = DEFAULT | {"keys"}
PERSON: Final = MANAGEMENT | {"pages"}
"""Without a key nothing is restricted."""

CALLERS: Final = (
    Caller("nobody"),
    Caller("unknown key"),
    Caller("alice default", "alice", DEFAULT),
    Caller("alice standard", "alice", may("call read")),
    Caller("alice nothing", "alice"),
    Caller("alice pages", "alice", may("call pages")),
    Caller("alice management", "alice", MANAGEMENT),
    Caller("alice session", "alice", PERSON),
    Caller("alice session without token", "alice", PERSON, has_csrf=False),
    Caller("bob management", "bob", MANAGEMENT),
    Caller("eve management", "eve", MANAGEMENT),
    Caller("lab management", "lab", MANAGEMENT),
    Caller("mallory default", "mallory", DEFAULT),
    Caller("mallory management", "mallory", MANAGEMENT),
    Caller("mallory session", "mallory", PERSON),
    Caller("olga management", "olga", MANAGEMENT),
    Caller("vera default", "vera", DEFAULT),
    Caller("jwt token", "jwt", PERSON),
    Caller("root default", "root", DEFAULT),
    Caller("root session", "root", PERSON, is_admin=True),
    Caller("root admin", "root", may("manage keys"), is_admin=True),
)


def can(needed: str) -> Callable[[Caller], int]:
    return lambda caller: ALLOWED if needed in caller.may else 403


def in_lab(needed: str, *roles: str, stranger: int = 403) -> Callable[[Caller], int]:
    """Those in a role of the organization whose key may do it."""

    def rule(caller: Caller) -> int:
        if caller.role and needed not in caller.may:
            return 403
        if not caller.role:
            return stranger if needed in caller.may else 403
        return ALLOWED if caller.role in (*roles, "itself") else 403

    return rule


def of_algorithm(
    needed: str, *roles: str, has_admins: bool, stranger: int = 403
) -> Callable[[Caller], int]:
    """Those in a role of the owner; others are refused, as "Algorithm object" says."""

    def rule(caller: Caller) -> int:
        if caller.is_admin:
            return ALLOWED if has_admins else stranger
        if not caller.role:
            return stranger
        allowed = (not needed or needed in caller.may) and caller.role in (*roles, "itself")
        return ALLOWED if allowed else 403

    return rule


def of_account(
    needed: str, *accounts: str, has_viewers: bool = False, has_admins: bool = True
) -> Callable[[Caller], int]:
    """Accounts themselves, and administrators."""

    def rule(caller: Caller) -> int:
        if caller.is_admin and has_admins:
            return ALLOWED
        if has_viewers and caller.is_viewer:
            return ALLOWED
        return ALLOWED if caller.account in accounts and needed in caller.may else 403

    return rule


def call_private(caller: Caller) -> int:
    if not caller.role:
        return 404
    return ALLOWED if "call" in caller.may else 403


AUTHORS: Final = ("owner", "member")


def push(caller: Caller) -> int:
    if caller.is_admin:
        return 403  # sees the repository
    return of_algorithm("manage", *AUTHORS, has_admins=False, stranger=404)(caller)


ANYBODY: Final = ("owner", "member", "executor")
RULES: Final[dict[str, Callable[[Caller], int]]] = {
    "known": lambda _: ALLOWED,
    "call": can("call"),
    "call private": call_private,
    "call from pages": can("pages"),
    "read data": in_lab("read", *ANYBODY),
    "write data": in_lab("write", *AUTHORS),
    "list own data": can("read"),
    "connect": of_account("write", "alice"),
    "create": in_lab("manage", *AUTHORS),
    "see": of_algorithm("", *ANYBODY, has_admins=True),
    "read source": of_algorithm("manage", *ANYBODY, has_admins=True, stranger=404),
    "push": push,
    "read logs": of_algorithm("manage", *ANYBODY, has_admins=True),
    "change": of_algorithm("manage", *AUTHORS, has_admins=False),
    "equip": of_algorithm("manage", *AUTHORS, has_admins=True),
    "give a collection": of_algorithm("manage", *AUTHORS, has_admins=False, stranger=404),
    "manage connections": can("manage"),
    # Whose browser it is, says what it brings back; a key that is shown is looked at.
    "come back": can("manage"),
    # What a link can do to whoever follows it must change nothing.
    "disconnect with GET": lambda caller: (
        405 if "session" in caller.name else can("manage")(caller)
    ),
    "see all": of_account("", has_viewers=True),
    "decide": of_account(""),
    "see user": of_account("manage", "alice", has_viewers=True),
    "change user": of_account("keys", "alice"),
    "change listeners": of_account("manage", "alice"),
    "see organization": of_account("manage", "alice", "bob", "eve", "lab", has_viewers=True),
    "change organization": of_account("keys", "alice"),
    "see keys of organization": of_account("manage", "alice", "lab", has_viewers=True),
    "create keys of organization": of_account("keys", "alice", "lab"),
    # Whose errors one may not see has none.
    "see errors": can("manage"),
}


def expected(caller: Caller, rule: str, method: str) -> int:
    """What is answered: a refusal, or `ALLOWED`."""
    if rule == "public" or (rule == "come back" and caller.name == "nobody"):
        return ALLOWED
    if not caller.account:
        return 401
    if not caller.has_csrf and method not in SAFE:
        return 403
    return RULES[rule](caller)


@dataclass(frozen=True)
class Line:
    """An operation with its rule."""

    row: str
    method: str
    path: str
    rule: str

    def __str__(self) -> str:
        return f"{self.row} {self.method} {self.path}"


def read(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


LINES: Final = [Line(**line) for line in read("permissions.csv")]
SUCCESS: Final = {
    (line["method"], line["path"]): frozenset(map(int, line["success"].split()))
    for line in read("operations.csv")
}
APART: Final = frozenset({"signed by the host", "inside"})
"""Rules that are not about callers: tested below."""


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyServer]:
    with running_key_server() as running:
        yield running


@pytest.fixture(scope="module")
def world(keys: KeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World.running(tmp_path_factory.mktemp("permissions"), keys) as world:
        yield world


def test_every_operation_has_a_rule() -> None:
    assert [(line.method, line.path) for line in LINES] == list(SUCCESS)
    assert {line.rule for line in LINES} == RULES.keys() | APART | {"public"}
    assert len(LINES) * len(CALLERS) > CASES_MIN


@pytest.mark.parametrize("line", [one for one in LINES if one.rule not in APART], ids=str)
def test_an_operation_is_allowed_to_whom_the_specification_says(world: World, line: Line) -> None:
    request = request_of(line.method, line.path, line.row)
    wanted = {each: expected(each, line.rule, line.method) for each in CALLERS}
    # Those who must be refused come first: if one is not, nothing is there for the others.
    refused = [caller for caller, status in wanted.items() if status != ALLOWED]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = dict(
            zip(refused, pool.map(lambda c: world.ask(request, c.name), refused), strict=True)
        )
    allowed = [caller for caller in CALLERS if caller not in answers]
    # What is made once only is made for somebody else in each line.
    lucky = allowed[LINES.index(line) % len(allowed)] if request.is_dear else None
    for caller in allowed:
        is_made = lucky in {None, caller}
        answers[caller] = world.ask(request, caller.name, makes=is_made)
    success = SUCCESS[line.method, line.path]
    wrong = [
        f"{caller.name}: {answer.status_code} {answer.text[:160]}, not {wanted[caller]}"
        for caller, answer in answers.items()
        if not is_right(
            answer, wanted[caller], success if caller is lucky else success | request.fine, line
        )
    ]

    assert wrong == []


def is_right(answer: httpx2.Response, wanted: int, fine: frozenset[int], line: Line) -> bool:
    if wanted == ALLOWED:
        return answer.status_code in fine and b'"No such algorithm"' not in answer.content
    if answer.status_code != wanted:
        return False
    if wanted == 405:
        return True
    if line.method == "HEAD" or line.path.startswith("/git/"):
        return bool(answer.headers.get("X-Error-Message") or line.path.startswith("/git/"))
    error = json.loads(answer.content)["error"]
    if wanted == 404:
        return error == "No such algorithm" or "not found" in error["message"].lower()
    return bool(error["code"] == {401: 2002, 403: 2001}[wanted])


def test_webhooks_and_insights_are_for_hosts_and_algorithms_only(world: World) -> None:
    wrong = []
    for line in LINES:
        if line.rule not in APART:
            continue
        for caller in CALLERS:
            answer = world.ask(request_of(line.method, line.path, line.row), caller.name)
            if answer.is_success or answer.status_code >= 500:
                wrong.append(f"{line} {caller.name}: {answer.status_code}")

    assert wrong == []
