"""Keys: what they may be, and which key may make which."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorium_server.domain.access import Allowed, may_call, may_call_from_web, may_use_data
from algorium_server.domain.algorithms import Algorithm
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.identity import (
    Account,
    AccountKind,
    ApiKey,
    KeyKind,
    KeyPermissions,
    Principal,
)
from algorium_server.domain.keys import (
    check_grace,
    check_permissions,
    check_secret,
    exceeds,
    mask_of,
)
from algorium_server.domain.patterns import pattern_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JANE = Account(account_id="1", kind=AccountKind.USER, username="jane", created_at=NOW)

names = st.sampled_from(["a", "B", "lab"])
entries = st.one_of(
    st.just("algo://*"),
    st.builds("algo://{}/*".format, names),
    st.builds("algo://{}/{}".format, names, names),
    st.builds("algo://{}/{}/*".format, names, names),
)
permissions = st.builds(
    KeyPermissions,
    allow_algo=st.booleans(),
    algo_acl=st.lists(entries, max_size=3).map(tuple),
    allow_web_algo=st.booleans(),
    referer_host=st.sampled_from(["", "a.example", "A.example", "b.example"]),
    allow_data=st.booleans(),
    allow_data_write=st.booleans(),
    allow_algo_management=st.booleans(),
)
ends = st.one_of(st.none(), st.integers(1, 3).map(lambda hours: NOW + timedelta(hours=hours)))
keys = st.builds(
    ApiKey,
    key_id=st.just("k"),
    account_id=st.just("1"),
    label=st.just(""),
    kind=st.sampled_from([KeyKind.STANDARD, KeyKind.MANAGEMENT]),
    permissions=permissions,
    created_at=st.just(NOW),
    expires_at=ends,
)


def abilities(key: ApiKey) -> set[object]:
    """Everything that can be done with a key, by asking the rules that decide about it."""
    principal = Principal(account=JANE, key=key)
    found: set[object] = {
        hour for hour in range(4) if not key.has_expired(NOW + timedelta(hours=hour))
    }
    for owner in ("a", "b", "lab", "other"):
        for name in ("a", "b", "lab", "other"):
            algorithm = Algorithm(algorithm_id="2", owner_id="3", name=name, created_at=NOW)
            if may_call(principal, owner=owner, algorithm=algorithm) == Allowed():
                found.add((owner, name))
                for host in ("", "a.example", "b.example"):
                    if may_call_from_web(principal, origin_host=host) == Allowed():
                        found.add((owner, name, host))
    for for_writing in (True, False):
        if may_use_data(principal, for_writing=for_writing) == Allowed():
            found.add(f"data, writing: {for_writing}")
    if key.permissions.allow_algo_management:
        found.add("manage")
    return found


@settings(max_examples=500)
@given(keys, keys)
def test_a_key_that_does_not_exceed_another_can_do_nothing_more(wanted: ApiKey, shown: ApiKey):
    if not exceeds(wanted, shown):
        assert abilities(wanted) <= abilities(shown)


@given(keys)
def test_a_key_does_not_exceed_itself(key: ApiKey):
    assert exceeds(key, key) == ""


@settings(max_examples=500)
@given(keys, keys, keys)
def test_what_is_made_with_a_made_key_exceeds_nothing_either(
    one: ApiKey, two: ApiKey, three: ApiKey
):
    if not exceeds(three, two) and not exceeds(two, one):
        assert exceeds(three, one) == ""


@given(keys)
def test_nobody_makes_a_key_of_an_administrator(shown: ApiKey):
    assert exceeds(replace(shown, kind=KeyKind.ADMIN), shown)


def test_every_permission_counts():
    nothing = KeyPermissions(allow_algo=False)
    shown = ApiKey(
        key_id="k",
        account_id="1",
        label="",
        kind=KeyKind.MANAGEMENT,
        permissions=nothing,
        created_at=NOW,
    )
    for field in fields(KeyPermissions):
        more = {"algo_acl": ("algo://*",), "referer_host": "x"}.get(field.name, True)
        wanted = replace(shown, permissions=replace(nothing, **{field.name: more}))
        # A host restricts.
        assert exceeds(wanted, shown) == ("" if field.name == "referer_host" else field.name)


@pytest.mark.parametrize(
    ("entry", "owner", "name"),
    [
        ("algo://*", "", ""),
        ("algo://Foo/*", "foo", ""),
        ("algo://foo/BAR", "foo", "bar"),
        ("algo://foo/bar/*", "foo", "bar"),
    ],
)
def test_both_spellings_of_one_algorithm_mean_the_same(entry: str, owner: str, name: str):
    assert pattern_of(entry) == (owner, name)


@pytest.mark.parametrize("entry", ["", "*", "algo://", "algo://*/*", "algo://a", "algo://a/b/c"])
def test_what_is_no_pattern_matches_nothing_and_is_refused(entry: str):
    assert pattern_of(entry) is None
    with pytest.raises(InvalidInput):
        check_permissions(KeyPermissions(algo_acl=(entry,)))


@given(st.text(max_size=200))
def test_a_value_is_refused_or_can_stand_in_a_header(value: str):
    try:
        check_secret(value)
    except InvalidInput:
        return
    assert value.isascii()
    assert value.isprintable()
    assert " " not in value


@given(st.text(alphabet="abc", min_size=16, max_size=128))
def test_a_mask_shows_a_third_at_most(value: str):
    first, last = mask_of(value).split("…")

    assert value.startswith(first)
    assert value.endswith(last)
    assert 3 * (len(first) + len(last)) <= len(value)


@pytest.mark.parametrize("grace_s", [-1.0, float("nan"), float("inf"), 1e9])
def test_a_grace_is_a_useful_time(grace_s: float):
    with pytest.raises(InvalidInput):
        check_grace(grace_s)
