"""Who may do what with accounts: algorithms never, and nobody more with less of a key."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from algorium_server.domain.access import Allowed, may_see_usage
from algorium_server.domain.administration import Action, may_administer
from algorium_server.domain.identity import (
    DEFAULT_KEY_PERMISSIONS,
    Account,
    AccountKind,
    ActingAlgorithm,
    ApiKey,
    KeyKind,
    Principal,
    Role,
)
from algorium_server.domain.rights import rights_tables

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAB = "lab-id"
ACTING = ActingAlgorithm(
    algorithm_id="1",
    owner_id="2",
    tree_id="3",
    deadline_at=0.0,
    depth=1,
    is_pipeline_enabled=True,
)


def principal(
    kind: KeyKind | None,
    role: Role | None = None,
    *,
    manages: bool = True,
    writes: bool = True,
    acting: ActingAlgorithm | None = None,
    **account: bool,
) -> Principal:
    key = None
    if kind is not None:
        key = ApiKey(
            key_id="k",
            account_id="jane-id",
            label="",
            kind=kind,
            permissions=replace(
                DEFAULT_KEY_PERMISSIONS, allow_algo_management=manages, allow_data_write=writes
            ),
            created_at=NOW,
        )
    return Principal(
        account=Account(
            account_id="jane-id",
            kind=AccountKind.USER,
            username="jane",
            created_at=NOW,
            **account,
        ),
        key=key,
        acting=acting,
        roles={} if role is None else {LAB: role},
    )


def allowed(who: Principal, account_id: str) -> set[Action]:
    return {each for each in Action if may_administer(who, each, account_id) == Allowed()}


SEEING = {
    Action.SEE_USER,
    Action.SEE_ORGANIZATION,
    Action.SEE_KEYS,
    Action.SEE_AUDIT,
    Action.SEE_REPORTS,
    Action.SEE_ALL,
}


AS_SEEING = {Action.MANAGE_LISTENERS, Action.MANAGE_CONNECTORS, Action.MANAGE_SOURCES}
"""What a key is enough for that may see."""


@pytest.mark.parametrize("about", ["jane-id", LAB, "other-id", ""])
@pytest.mark.parametrize("role", [None, *Role])
def test_what_an_algorithm_does_for_its_caller_is_nothing_of_this(role: Role | None, about: str):
    for kind, is_admin in itertools.product((None, *KeyKind), (True, False)):
        who = principal(kind, role, acting=ACTING, is_admin=is_admin, is_viewer=True)
        assert allowed(who, about) == set()


def test_an_administrator_may_everything_with_an_admin_key_or_in_person():
    for kind in (None, KeyKind.ADMIN):
        for about in ("jane-id", LAB, ""):
            assert allowed(principal(kind, is_admin=True), about) == set(Action)
    for kind in (KeyKind.STANDARD, KeyKind.MANAGEMENT):
        assert allowed(principal(kind, is_admin=True), "other-id") == set()


def test_an_admin_key_is_nothing_once_its_account_is_no_administrator():
    who = principal(KeyKind.ADMIN, is_admin=False)

    assert allowed(who, "other-id") == allowed(who, "") == set()
    assert Action.MANAGE_KEYS not in allowed(who, "jane-id")


def test_a_viewer_sees_all_and_changes_nothing_of_others():
    assert allowed(principal(KeyKind.STANDARD, is_viewer=True), "other-id") == SEEING
    assert allowed(principal(KeyKind.STANDARD, manages=False, is_viewer=True), "other-id") == set()


def test_a_viewer_sees_the_usage_of_all():
    for account_id in (None, "other-id"):
        assert may_see_usage(principal(KeyKind.STANDARD, is_viewer=True), account_id) == Allowed()
        who = principal(KeyKind.STANDARD, manages=False, is_viewer=True)
        assert may_see_usage(who, account_id) != Allowed()


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (
            Role.OWNER,
            {
                Action.SEE_ORGANIZATION,
                Action.CHANGE_ORGANIZATION,
                Action.SEE_KEYS,
                Action.SEE_AUDIT,
                Action.MANAGE_KEYS,
                Action.MANAGE_CONNECTORS,
                Action.MANAGE_SOURCES,
                Action.SEE_REPORTS,
            },
        ),
        (Role.MEMBER, {Action.SEE_ORGANIZATION}),
        (Role.EXECUTOR, {Action.SEE_ORGANIZATION}),
        (None, set()),
    ],
)
def test_roles_in_an_organization(role: Role | None, expected: set[Action]):
    assert allowed(principal(KeyKind.MANAGEMENT, role), LAB) == expected
    assert allowed(principal(None, role), LAB) == expected
    assert allowed(principal(KeyKind.STANDARD, role), LAB) == expected & (SEEING | AS_SEEING)
    reading = allowed(principal(KeyKind.MANAGEMENT, role, writes=False), LAB)
    assert reading == expected - {Action.MANAGE_CONNECTORS}
    for kind in (KeyKind.STANDARD, KeyKind.MANAGEMENT):
        assert allowed(principal(kind, role, manages=False), LAB) == set()


def test_no_key_sets_a_password_that_would_open_more():
    def sets(who: Principal) -> bool:
        return Action.SET_PASSWORD in allowed(who, "jane-id")

    managing = principal(KeyKind.MANAGEMENT)
    assert managing.key is not None
    assert sets(managing)
    assert sets(principal(None))
    assert not sets(principal(KeyKind.STANDARD))
    assert not sets(replace(managing, key=replace(managing.key, expires_at=NOW)))
    for less in (
        {"allow_algo": False},
        {"algo_acl": ("algo://jane/*",)},
        {"allow_data": False},
        {"allow_data_write": False},
        {"allow_algo_management": False},
    ):
        permissions = replace(DEFAULT_KEY_PERMISSIONS, **less)
        assert not sets(replace(managing, key=replace(managing.key, permissions=permissions)))
    # Signed in, administrators are that without an admin key.
    for kind in KeyKind:
        assert sets(principal(kind, is_admin=True)) == (kind is KeyKind.ADMIN)


def test_of_nobody_nothing_is_allowed():
    for role in Role:
        assert allowed(principal(None, role), "") == set()


ABOUT = {
    "see a user": Action.SEE_USER,
    "change a user's texts": Action.CHANGE_USER,
    "see an organization, its members": Action.SEE_ORGANIZATION,
    "change its texts, its members, hosts' users": Action.CHANGE_ORGANIZATION,
    "see keys, masked": Action.SEE_KEYS,
    "see what the audit log says of it": Action.SEE_AUDIT,
    "create, rotate, delete keys": Action.MANAGE_KEYS,
    "set a user's password": Action.SET_PASSWORD,
    "change event listeners": Action.MANAGE_LISTENERS,
    "see and change connectors": Action.MANAGE_CONNECTORS,
    "see and change package sources": Action.MANAGE_SOURCES,
    "see reports of an organization": Action.SEE_REPORTS,
    "see accounts and the installation": Action.SEE_ALL,
    "decide about them": Action.DECIDE,
}
"""Actions by their rows."""


def test_the_table_that_people_read_says_what_is_decided():
    *_, table = rights_tables()
    columns = {
        "itself": [(principal(KeyKind.MANAGEMENT), "jane-id")],
        "owners": [(principal(KeyKind.MANAGEMENT, Role.OWNER), LAB)],
        "members, executors": [
            (principal(KeyKind.MANAGEMENT, Role.MEMBER), LAB),
            (principal(KeyKind.MANAGEMENT, Role.EXECUTOR), LAB),
        ],
        "viewers": [(principal(KeyKind.MANAGEMENT, is_viewer=True), "other-id")],
        "administrators": [(principal(KeyKind.ADMIN, is_admin=True), "other-id")],
    }

    assert [row[0] for row in table.rows] == list(ABOUT)
    assert list(table.columns[1:]) == list(columns)
    for row in table.rows:
        action = ABOUT[row[0]]
        for cell, callers in zip(row[1:], columns.values(), strict=True):
            for who, about in callers:
                is_allowed = may_administer(who, action, about) == Allowed()
                assert is_allowed == (cell == "yes"), (row[0], who)


def test_every_table_is_whole():
    for table in rights_tables():
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.columns)}
