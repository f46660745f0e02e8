"""The permission table, generated: every principal against every collection and algorithm."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium.wire.bodies import ReadAcl
from algorium_server.domain.access import (
    ALLOWED,
    Allowed,
    Refused,
    is_cluster_admin,
    is_owner_like,
    may_call,
    may_read,
    may_see_source,
    may_see_usage,
    may_use_data,
    may_write,
    may_write_for,
)
from algorium_server.domain.algorithms import Algorithm, AlgorithmSettings, SourceVisibility
from algorium_server.domain.collections import Collection, CollectionKind
from algorium_server.domain.identity import (
    DEFAULT_KEY_PERMISSIONS,
    Account,
    AccountKind,
    ActingAlgorithm,
    ApiKey,
    KeyKind,
    KeyPermissions,
    Principal,
    Role,
)

NOW = datetime(2024, 5, 7, tzinfo=UTC)


def account(name, kind=AccountKind.USER):
    return Account(account_id=name, kind=kind, username=name, created_at=NOW)


ALICE, BOB = account("alice"), account("bob")
ACME = account("acme", AccountKind.ORGANIZATION)


def key(kind=KeyKind.STANDARD, permissions=DEFAULT_KEY_PERMISSIONS):
    return ApiKey(
        key_id="k", account_id="alice", label="", kind=kind, permissions=permissions, created_at=NOW
    )


def acting(algorithm_id="bob-algo", owner="bob", tree="tree-1", *, is_pipeline_enabled=True):
    return ActingAlgorithm(
        algorithm_id=algorithm_id,
        owner_id=owner,
        tree_id=tree,
        deadline_at=10.0,
        depth=1,
        is_pipeline_enabled=is_pipeline_enabled,
    )


def algorithm(owner="bob", visibility=SourceVisibility.CLOSED):
    return Algorithm(
        algorithm_id="bob-algo",
        owner_id=owner,
        name="Hello",
        settings=AlgorithmSettings(source_visibility=visibility),
        created_at=NOW,
    )


def collection(owner="alice", acl=ReadAcl.MY_ALGORITHMS, kind=CollectionKind.ACCOUNT, **fields):
    fields = {"name": "photos"} | fields
    return Collection(
        collection_id="c", kind=kind, owner_id=owner, acl=acl, created_at=NOW, **fields
    )


def is_allowed(verdict):
    assert isinstance(verdict, Allowed | Refused)
    assert verdict == ALLOWED or verdict.reason
    return verdict == ALLOWED


PRINCIPALS = {
    "the owner": Principal(account=ALICE),
    "a stranger": Principal(account=BOB),
    "the owner in a stranger's algorithm": Principal(account=ALICE, acting=acting()),
    "a stranger in the owner's algorithm": Principal(
        account=BOB, acting=acting("alice-algo", "alice")
    ),
    "a stranger in a stranger's algorithm": Principal(account=BOB, acting=acting()),
}

# collection's ACL -> principals who may read; nobody but the owner may write
READERS = {
    ReadAcl.PRIVATE: {"the owner", "the owner in a stranger's algorithm"},
    ReadAcl.MY_ALGORITHMS: {
        "the owner",
        "the owner in a stranger's algorithm",
        "a stranger in the owner's algorithm",
    },
    ReadAcl.PUBLIC: set(PRINCIPALS),
}


@pytest.mark.parametrize(("acl", "name"), [(acl, name) for acl in ReadAcl for name in PRINCIPALS])
def test_a_users_collection_is_read_by_its_acl_and_written_by_its_owner(acl, name):
    principal = PRINCIPALS[name]

    assert is_allowed(may_read(principal, collection(acl=acl))) == (name in READERS[acl])
    assert is_allowed(may_write(principal, collection(acl=acl))) == name.startswith("the owner")


@pytest.mark.parametrize(
    ("role", "may_list", "may_change"),
    [
        (None, False, False),
        (Role.EXECUTOR, True, False),
        (Role.MEMBER, True, True),
        (Role.OWNER, True, True),
    ],
)
def test_an_organizations_collection_follows_the_role(role, may_list, may_change):
    principal = Principal(account=ALICE, roles={} if role is None else {"acme": role})
    private = collection(owner="acme", acl=ReadAcl.PRIVATE)

    assert is_allowed(may_read(principal, private)) == may_list
    assert is_allowed(may_write(principal, private)) == may_change
    assert is_allowed(may_write_for(principal, "acme")) == may_change


def test_an_organizations_own_key_owns_its_collections():
    principal = Principal(account=ACME)

    assert may_read(principal, collection(owner="acme", acl=ReadAcl.PRIVATE)) == ALLOWED
    assert may_write(principal, collection(owner="acme", acl=ReadAcl.PRIVATE)) == ALLOWED


@pytest.mark.parametrize("kind", [CollectionKind.TEMP, CollectionKind.PERM])
@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        (Principal(account=ALICE), True),
        (Principal(account=ALICE, acting=acting("bob-algo")), True),
        (Principal(account=ALICE, acting=acting("other-algo")), False),
        (Principal(account=BOB), False),
        (Principal(account=BOB, acting=acting("bob-algo")), False),
        (Principal(account=BOB, roles={"alice": Role.OWNER}), False),
    ],
)
def test_an_algorithms_collection_belongs_to_one_caller_and_that_algorithm(
    kind, principal, expected
):
    special = collection(kind=kind, algorithm_id="bob-algo", name=kind.value)

    assert is_allowed(may_read(principal, special)) == expected
    assert may_read(principal, special) == may_write(principal, special)


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        (Principal(account=ALICE), False),
        (Principal(account=ALICE, acting=acting(tree="tree-1")), True),
        (Principal(account=ALICE, acting=acting("other-algo", tree="tree-1")), True),
        (Principal(account=ALICE, acting=acting(tree="tree-2")), False),
        (Principal(account=BOB, acting=acting(tree="tree-1")), False),
    ],
)
def test_a_session_belongs_to_one_call_tree(principal, expected):
    session = collection(kind=CollectionKind.SESSION, name="tree-1")

    assert is_allowed(may_read(principal, session)) == expected
    assert may_read(principal, session) == may_write(principal, session)


def test_special_collections_of_others_look_as_if_they_were_not_there():
    session = collection(kind=CollectionKind.SESSION, name="tree-1")

    assert may_read(Principal(account=BOB, acting=acting()), session).is_hidden


@pytest.mark.parametrize("kind", KeyKind)
@pytest.mark.parametrize("allow_data", [True, False])
@pytest.mark.parametrize("allow_data_write", [True, False])
def test_a_key_opens_data_as_far_as_it_says(kind, allow_data, allow_data_write):
    permissions = KeyPermissions(allow_data=allow_data, allow_data_write=allow_data_write)
    principal = Principal(account=ALICE, key=key(kind, permissions))
    is_admin = kind is KeyKind.ADMIN

    may_get = is_allowed(may_use_data(principal, for_writing=False))
    may_put = is_allowed(may_use_data(principal, for_writing=True))

    assert may_get == (allow_data and not is_admin)
    assert may_put == (allow_data_write and not is_admin)


@pytest.mark.parametrize("for_writing", [True, False])
def test_inside_algorithms_and_without_a_key_data_is_open(for_writing):
    assert may_use_data(Principal(account=ALICE), for_writing=for_writing) == ALLOWED
    assert (
        may_use_data(Principal(account=ALICE, acting=acting()), for_writing=for_writing) == ALLOWED
    )


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("algo://*", True),
        ("algo://bob/*", True),
        ("algo://BOB/*", True),
        ("algo://bob/Hello", True),
        ("algo://bob/hello", True),
        ("algo://bob/Hello/*", True),
        ("algo://bob/Hell", False),
        ("algo://bob/Hello2", False),
        ("algo://alice/*", False),
        ("algo://bo/*", False),
        ("algo://b*/Hello", False),
        ("algo://*/Hello", False),
        ("bob/Hello", False),
        ("data://*", False),
        ("", False),
    ],
)
def test_an_entry_of_a_key_matches_what_it_names(entry, expected):
    principal = Principal(account=ALICE, key=key(permissions=KeyPermissions(algo_acl=(entry,))))

    assert is_allowed(may_call(principal, owner="bob", algorithm=algorithm())) == expected


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        (Principal(account=ALICE), True),
        (Principal(account=ALICE, key=key()), True),
        (Principal(account=ALICE, key=key(KeyKind.MANAGEMENT)), True),
        (Principal(account=ALICE, key=key(KeyKind.ADMIN)), False),
        (Principal(account=ALICE, key=key(permissions=KeyPermissions())), False),
        (
            Principal(
                account=ALICE,
                key=key(permissions=KeyPermissions(allow_algo=False, algo_acl=("algo://*",))),
            ),
            False,
        ),
        (Principal(account=ALICE, acting=acting()), True),
        (Principal(account=ALICE, acting=acting(is_pipeline_enabled=False)), False),
    ],
)
def test_a_call_needs_a_key_that_calls_or_a_pipeline(principal, expected):
    assert is_allowed(may_call(principal, owner="bob", algorithm=algorithm())) == expected


@pytest.mark.parametrize(
    ("principal", "is_like_bob"),
    [
        (Principal(account=BOB), True),
        (Principal(account=ALICE), False),
        *((Principal(account=ALICE, roles={"bob": role}), True) for role in Role),
        (Principal(account=ALICE, roles={"acme": Role.OWNER}), False),
        (Principal(account=ALICE, acting=acting(owner="bob")), False),
    ],
)
def test_owner_like_means_the_owner_or_any_role(principal, is_like_bob):
    assert is_owner_like(principal, "bob") == is_like_bob
    assert may_see_source(principal, algorithm()) == is_like_bob
    assert may_see_source(principal, algorithm(visibility=SourceVisibility.OPEN))


account_ids = st.sampled_from(["alice", "bob", "acme"])
principals = st.builds(
    Principal,
    account=st.sampled_from([ALICE, BOB, ACME]),
    acting=st.none()
    | st.builds(
        acting,
        st.sampled_from(["algo-1", "algo-2"]),
        account_ids,
        st.sampled_from(["tree-1", "tree-2"]),
    ),
    roles=st.dictionaries(account_ids, st.sampled_from(list(Role))),
)
collections = st.builds(
    collection,
    owner=account_ids,
    acl=st.sampled_from(list(ReadAcl)),
    kind=st.sampled_from(list(CollectionKind)),
    algorithm_id=st.sampled_from(["algo-1", "algo-2"]),
    name=st.sampled_from(["tree-1", "tree-2"]),
)


@given(principals, collections)
def test_who_may_write_may_read(principal, some_collection):
    if is_allowed(may_write(principal, some_collection)):
        assert may_read(principal, some_collection) == ALLOWED


@given(principals, collections)
def test_a_wider_acl_takes_nothing_away(principal, some_collection):
    readable = [
        is_allowed(
            may_read(
                principal,
                collection(
                    owner=some_collection.owner_id,
                    acl=acl,
                    kind=some_collection.kind,
                    algorithm_id=some_collection.algorithm_id,
                    name=some_collection.name,
                ),
            )
        )
        for acl in (ReadAcl.PRIVATE, ReadAcl.MY_ALGORITHMS, ReadAcl.PUBLIC)
    ]

    assert readable == sorted(readable)


@given(principals, collections)
def test_without_a_tie_to_the_owner_only_public_is_readable(principal, some_collection):
    owner = some_collection.owner_id
    is_tied = is_owner_like(principal, owner) or (
        principal.acting is not None and principal.acting.owner_id == owner
    )
    if not is_tied:
        assert is_allowed(may_read(principal, some_collection)) == (
            some_collection.kind is CollectionKind.ACCOUNT and some_collection.acl is ReadAcl.PUBLIC
        )
        assert not is_allowed(may_write(principal, some_collection))


def test_what_a_key_restricts_of_data_it_restricts_for_the_algorithms_it_calls():
    narrow = key(permissions=KeyPermissions(algo_acl=("algo://*",)))
    inside = Principal(account=ALICE, key=narrow, acting=acting())
    own_scratch = collection(kind=CollectionKind.TEMP, algorithm_id="bob-algo", name="temp")

    assert not is_allowed(may_read(inside, collection()))
    assert not is_allowed(may_write(inside, collection()))
    assert not is_allowed(may_write_for(inside, "alice"))
    assert is_allowed(may_use_data(inside, for_writing=True))
    assert is_allowed(may_read(inside, own_scratch))
    assert is_allowed(may_write(inside, own_scratch))


ROOT = Account(
    account_id="root", kind=AccountKind.USER, username="root", is_admin=True, created_at=NOW
)
MANAGING = [None, key(), key(KeyKind.MANAGEMENT)]
CALLING = [key(kind, KeyPermissions()) for kind in KeyKind]


@pytest.mark.parametrize("account", [ALICE, ROOT], ids=["user", "admin"])
@pytest.mark.parametrize("kind", [None, *KeyKind])
@pytest.mark.parametrize("inside", [None, acting()], ids=["outside", "inside"])
def test_administrators_act_as_such_with_an_admin_key_or_none(account, kind, inside):
    shown = key(kind) if kind is not None else None
    principal = Principal(account=account, key=shown, acting=inside)

    expected = account is ROOT and inside is None and kind in {None, KeyKind.ADMIN}
    assert is_cluster_admin(principal) == expected


@pytest.mark.parametrize("role", [None, *Role])
@pytest.mark.parametrize("shown", MANAGING + CALLING)
@pytest.mark.parametrize("whose", ["alice", "bob", "acme", None])
def test_usage_is_seen_by_its_account_and_by_owners_of_an_organization(role, shown, whose):
    roles = {"acme": role} if role is not None else {}

    verdict = may_see_usage(Principal(account=ALICE, key=shown, roles=roles), whose)

    is_theirs = whose == "alice" or (whose == "acme" and role is Role.OWNER)
    assert is_allowed(verdict) == (is_theirs and shown in MANAGING)


@pytest.mark.parametrize("whose", ["root", "bob", "acme", None])
def test_administrators_see_all_usage(whose):
    assert may_see_usage(Principal(account=ROOT, key=key(KeyKind.ADMIN)), whose) == ALLOWED
    assert may_see_usage(Principal(account=ROOT), whose) == ALLOWED
    assert is_allowed(may_see_usage(Principal(account=ROOT, key=key()), whose)) == (whose == "root")


@pytest.mark.parametrize("account", [ALICE, ROOT])
def test_algorithms_never_see_usage(account):
    principal = Principal(account=account, key=key(), acting=acting())

    assert not is_allowed(may_see_usage(principal, account.account_id))


def test_usage_of_others_looks_as_if_there_were_nobody():
    assert may_see_usage(Principal(account=ALICE), "bob").is_hidden
