from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium.wire.refs import is_name
from algorium_server.domain.errors import InvalidInput, NotAuthenticated
from algorium_server.domain.federation import (
    ClaimRules,
    ProviderSettings,
    Rights,
    claim_of,
    is_safe_address,
    read_claims,
    rights_by_groups,
    usernames_for,
)
from algorium_server.domain.identity import Role
from algorium_server.domain.limits import ACCOUNT_NAME_CHARS_MAX
from algorium_server.domain.organizations import OrganizationProfile

NOW = datetime(2022, 1, 1, tzinfo=UTC)
TAGS = ("a", "b", "c", "d")
GROUPS = st.frozensets(st.sampled_from(TAGS))
FIELDS = st.lists(st.sampled_from(TAGS), max_size=2).map(", ".join)
RULES = st.builds(
    ClaimRules, group_claim=st.just("groups"), admin_groups=GROUPS, viewer_groups=GROUPS
)
IDS = ("o1", "o2", "o3")
ORGANIZATIONS = st.lists(
    st.builds(
        OrganizationProfile,
        organization_id=st.sampled_from(IDS),
        external_admin_group=FIELDS,
        external_member_group=FIELDS,
        external_executor_group=FIELDS,
    ),
    unique_by=lambda each: each.organization_id,
)
KNOWN = st.builds(
    Rights,
    is_admin=st.booleans(),
    is_viewer=st.booleans(),
    roles=st.dictionaries(st.sampled_from(IDS), st.sampled_from(Role)),
)


def expected_role(groups, organization):
    """The same rule, written the other way round: from the least role to the highest."""
    role = None
    for text, candidate in (
        (organization.external_executor_group, Role.EXECUTOR),
        (organization.external_member_group, Role.MEMBER),
        (organization.external_admin_group, Role.OWNER),
    ):
        if any(tag.strip() in groups for tag in text.split(",")):
            role = candidate
    return role


@given(GROUPS, RULES, KNOWN, ORGANIZATIONS)
def test_groups_decide_where_there_are_groups(groups, rules, known, organizations):
    rights = rights_by_groups(groups, rules=rules, known=known, organizations=organizations)

    governed = {
        each.organization_id: each
        for each in organizations
        if each.external_admin_group or each.external_member_group or each.external_executor_group
    }
    for organization_id in IDS:
        if organization_id in governed:
            wanted = expected_role(groups, governed[organization_id])
        else:
            wanted = known.roles.get(organization_id) if groups else None
        assert rights.roles.get(organization_id) == wanted
    for wanted, before, after in (
        (rules.admin_groups, known.is_admin, rights.is_admin),
        (rules.viewer_groups, known.is_viewer, rights.is_viewer),
    ):
        assert after == (bool(groups & wanted) if wanted else before and bool(groups))


@given(GROUPS, RULES, KNOWN, ORGANIZATIONS)
def test_saying_the_same_twice_changes_nothing(groups, rules, known, organizations):
    once = rights_by_groups(groups, rules=rules, known=known, organizations=organizations)

    assert once == rights_by_groups(groups, rules=rules, known=once, organizations=organizations)


@given(RULES, KNOWN, ORGANIZATIONS)
def test_who_bears_no_group_is_nothing(rules, known, organizations):
    rights = rights_by_groups(frozenset(), rules=rules, known=known, organizations=organizations)

    assert rights == Rights()


@given(st.text(min_size=1, max_size=60))
def test_every_claim_gives_names_that_accounts_can_have(external_id):
    names = list(usernames_for(external_id))

    assert all(is_name(name) and len(name) <= ACCOUNT_NAME_CHARS_MAX for name in names)
    assert len(names) >= 100
    if is_name(external_id) and len(external_id) <= ACCOUNT_NAME_CHARS_MAX:
        assert names[0] == external_id


@pytest.mark.parametrize(
    ("external_id", "username"),
    [
        ("jane", "jane"),
        ("Jane_", "Jane_"),
        ("jane.doe@example.com", "jane_doe"),
        ("auth0|5f7c8ec7", "auth0_5f7c8ec7"),
        ("248289761001", "u_248289761001"),
        ("müller", "m_ller"),
        ("---", "u"),
    ],
)
def test_names_stay_recognizable(external_id, username):
    assert next(usernames_for(external_id)) == username


RULE = ClaimRules(group_claim="groups")


def test_claims_say_who_it_is():
    said = read_claims(
        {
            "sub": "1",
            "email": "j@example.com",
            "name": "Jane \x00Doe",
            "groups": ["a", " b "],
            "iat": 1.5,
        },
        RULE,
        now=NOW,
    )

    assert (said.external_id, said.email, said.fullname) == ("1", "j@example.com", "Jane Doe")
    assert said.groups == {"a", "b"}
    assert said.issued_at.timestamp() == 1.5


@pytest.mark.parametrize(
    ("groups", "tags"),
    [("a", {"a"}), ("a, b", {"a", "b"}), ("", set()), ([], set()), (["a", ""], {"a"})],
)
def test_groups_are_a_list_or_a_text(groups, tags):
    assert read_claims({"sub": "1", "groups": groups}, RULE, now=NOW).groups == tags


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "1"},
        {"sub": "1", "groups": None},
        {"sub": "1", "groups": 7},
        {"sub": "1", "groups": {"a": 1}},
        {"sub": "1", "groups": ["a", 7]},
        {"sub": "1", "groups": ["a"] * 2001},
        {"groups": []},
        {"sub": "", "groups": []},
        {"sub": "  ", "groups": []},
        {"sub": 1, "groups": []},
        {"sub": "a\x00b", "groups": []},
        {"sub": "a" * 256, "groups": []},
    ],
    ids=repr,
)
def test_a_token_that_says_too_little_is_refused(claims):
    with pytest.raises(NotAuthenticated):
        read_claims(claims, RULE, now=NOW)


def test_an_address_that_nobody_has_verified_says_nothing():
    claims = {"sub": "1", "email": "boss@example.com", "email_verified": False}
    by_email = ClaimRules(username_claim="email")

    assert read_claims(claims, ClaimRules(), now=NOW).email == ""
    with pytest.raises(NotAuthenticated):
        read_claims(claims, by_email, now=NOW)
    assert read_claims(claims | {"email_verified": True}, by_email, now=NOW).external_id


@pytest.mark.parametrize("said", [None, "False", "no", 0, [], {}], ids=repr)
def test_what_is_not_plainly_verified_is_not(said):
    claims = {"sub": "1", "email": "boss@example.com", "email_verified": said}

    assert read_claims(claims, ClaimRules(), now=NOW).email == ""


def test_the_claim_that_is_configured_and_no_other_says_who_it_is():
    with pytest.raises(NotAuthenticated):
        read_claims({"sub": "1"}, ClaimRules(username_claim="upn"), now=NOW)


def test_claims_are_found_in_objects():
    claims = {"a.b": 1, "a": {"b": 2, "c": {"d": 3}}, "x": 4}

    assert [claim_of(claims, name) for name in ("a.b", "a.c.d", "x", "x.y", "z", "")] == [
        1,
        3,
        4,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("https://login.example.com/realms/x", True),
        ("http://127.0.0.1:8080", True),
        ("http://localhost/x", True),
        ("http://[::1]:80/", True),
        ("http://login.example.com", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://127.0.0.1@evil.example", False),
        ("file:///etc/passwd", False),
        ("https://", False),
        ("https://[", False),
        ("", False),
    ],
)
def test_only_what_leads_where_it_says_is_trusted(url, is_safe):
    assert is_safe_address(url) == is_safe


@pytest.mark.parametrize(
    ("fields", "option"),
    [
        ({"issuer": "http://x.example", "client_id": "a"}, "--oidc-issuer"),
        ({"issuer": "https://x.example"}, "--oidc-client-id"),
        ({"issuer": "https://x.example", "audience": "a", "jwks_url": "http://y"}, "jwks-url"),
        ({"issuer": "https://x.example", "client_id": "a", "scope": "email"}, "--oidc-scope"),
        (
            {
                "issuer": "https://x.example",
                "audience": "a",
                "rules": ClaimRules(admin_groups=frozenset("a")),
            },
            "--oidc-group-claim",
        ),
    ],
    ids=str,
)
def test_settings_that_cannot_work_name_the_option(fields, option):
    with pytest.raises(InvalidInput, match=option):
        ProviderSettings(**fields)
