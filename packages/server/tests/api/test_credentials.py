import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from algorium_server.api.credentials import PRINCIPAL_KEY, Credentials, parse_authorization
from algorium_server.domain.errors import NotAuthenticated
from algorium_server.domain.identity import (
    DEFAULT_KEY_PERMISSIONS,
    Account,
    AccountKind,
    ActingAlgorithm,
    ApiKey,
    KeyKind,
    Principal,
)
from algorium_server.services.directory import Directory, key_digest

NOW = datetime(2022, 1, 1, tzinfo=UTC)
SECRET = "simAbCdEfGhIjKlMnOpQrStUvWxY"
JANE = Account(account_id="1", kind=AccountKind.USER, username="jane", created_at=NOW)
KEY = ApiKey(
    key_id="k1",
    account_id="1",
    label="default-key",
    kind=KeyKind.STANDARD,
    permissions=DEFAULT_KEY_PERMISSIONS,
    created_at=NOW,
)
INSIDE = Principal(
    account=JANE,
    acting=ActingAlgorithm(
        algorithm_id="a",
        owner_id="2",
        tree_id="req-1",
        deadline_at=1.0,
        depth=1,
        is_pipeline_enabled=True,
    ),
)


@pytest.fixture
def directory():
    directory = Directory(None)  # filled here, not loaded
    directory.put_account(JANE)
    directory.put_key(KEY, digest=key_digest(SECRET))
    return directory


def scope(value=None, **members):
    headers = [(b"host", b"x")]
    if value is not None:
        headers.append((b"authorization", value.encode("latin-1")))
    return {"type": "http", "headers": headers, **members}


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        f"Simple {SECRET}",
        f"simple {SECRET}",
        f"SIMPLE  {SECRET} ",
        f"Simple\t{SECRET}",
        f"Bearer {SECRET}",
        f"bearer {SECRET}",
    ],
)
def test_every_spelling_of_a_known_key_is_accepted(directory, spelling):
    principal = Credentials(directory).principal(scope(spelling))

    assert principal.account == JANE
    assert principal.key == KEY
    assert principal.acting is None


@pytest.mark.parametrize("spelling", [None, "", "   ", "Simple", "Simple ", "Bearer  "])
def test_without_a_key_authorization_is_required(directory, spelling):
    with pytest.raises(NotAuthenticated) as caught:
        Credentials(directory).principal(scope(spelling))

    assert caught.value.message == "authorization required"


@pytest.mark.parametrize(
    "spelling",
    [
        "simUnknown",
        "Simple simUnknown",
        "Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
        f"Basic {SECRET}",
        f"Simple {SECRET}x",
        SECRET.lower(),
        "caf\xe9",
        "\xff\xfe",
    ],
)
def test_an_unknown_key_is_refused(directory, spelling):
    with pytest.raises(NotAuthenticated) as caught:
        Credentials(directory).principal(scope(spelling))

    assert caught.value.message == "Unknown or invalid API key."


def test_the_same_header_gives_the_same_principal(directory):
    credentials = Credentials(directory)

    assert credentials.principal(scope(SECRET)) is credentials.principal(scope(SECRET))


def test_a_change_of_the_account_is_seen_at_once(directory):
    credentials = Credentials(directory)
    assert not credentials.principal(scope(SECRET)).account.is_admin

    changed = Account(
        account_id="1", kind=AccountKind.USER, username="jane", is_admin=True, created_at=NOW
    )
    directory.put_account(changed)

    assert credentials.principal(scope(SECRET)).account.is_admin


def test_a_replaced_secret_no_longer_opens(directory):
    credentials = Credentials(directory)
    credentials.principal(scope(SECRET))

    directory.put_key(KEY, digest=key_digest("simOther"))

    assert credentials.principal(scope("simOther")).key == KEY
    with pytest.raises(NotAuthenticated):
        credentials.principal(scope(SECRET))


@pytest.mark.parametrize("spelling", [None, "", "simUnknown", "Simple simUnknown"])
def test_inside_a_slot_the_call_in_flight_says_who_asks(directory, spelling):
    inside = scope(spelling, **{PRINCIPAL_KEY: lambda: INSIDE})

    assert Credentials(directory).principal(inside) is INSIDE


def test_inside_a_slot_a_key_of_its_own_counts(directory):
    inside = scope(SECRET, **{PRINCIPAL_KEY: lambda: INSIDE})
    credentials = Credentials(directory)

    assert credentials.principal(inside).key == KEY
    assert credentials.used_keys == {KEY.key_id}


@pytest.mark.parametrize("spelling", [None, "simUnknown"])
def test_inside_a_slot_without_a_call_nobody_asks(directory, spelling):
    inside = scope(spelling, **{PRINCIPAL_KEY: lambda: None})

    with pytest.raises(NotAuthenticated) as caught:
        Credentials(directory).principal(inside)
    assert caught.value.message == "authorization required"


def test_the_scheme_is_not_part_of_the_key():
    assert parse_authorization(b"Simple abc") == "abc"
    assert parse_authorization(b"abc") == "abc"
    assert parse_authorization(b"Other abc") == "Other abc"


def other_gateway_writes(directory, secret):
    """Return what brings in a key that another gateway has made, and how often that was asked."""
    looks = []

    async def catch_up():
        looks.append(1)
        directory.put_key(replace(KEY, key_id="k2"), digest=key_digest(secret))

    return catch_up, looks


def test_a_key_made_on_another_gateway_is_known_here_at_once(directory):
    catch_up, looks = other_gateway_writes(directory, "simNew")
    credentials = Credentials(directory, catch_up=catch_up)

    assert asyncio.run(credentials.asking(scope("Simple simNew"))).account == JANE
    assert asyncio.run(credentials.asking(scope(SECRET))).account == JANE
    assert looks == [1], "a known key asks nobody"


def test_a_key_that_nobody_has_made_is_looked_for_once_and_no_key_not_at_all(directory):
    catch_up, looks = other_gateway_writes(directory, "simNew")
    credentials = Credentials(directory, catch_up=catch_up)

    with pytest.raises(NotAuthenticated):
        asyncio.run(credentials.asking(scope("Simple simUnknown")))
    assert looks == [1]
    for nothing in (None, "", "Simple "):
        with pytest.raises(NotAuthenticated):
            asyncio.run(credentials.asking(scope(nothing)))
    with pytest.raises(NotAuthenticated):
        asyncio.run(credentials.asking(scope("simUnknown", **{PRINCIPAL_KEY: lambda: None})))

    assert looks == [1]
