"""What a connector opens, what it may be called, and who may change it."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import rows
from hypothesis import given, settings
from hypothesis import strategies as st

from algorium_server.domain.access import ALLOWED, Refused
from algorium_server.domain.administration import Action, may_administer
from algorium_server.domain.connectors import (
    ConnectorOptions,
    CredentialKind,
    StorageProtocol,
    StoredConnector,
    check_address,
    check_credentials,
    check_label,
    check_options,
    check_path,
    host_of,
    matches,
)
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.identity import (
    ActingAlgorithm,
    KeyKind,
    KeyPermissions,
    Principal,
    Role,
)


def connector(path: str) -> StoredConnector:
    return StoredConnector(
        connector_id="c",
        owner_id="o",
        protocol=StorageProtocol.S3,
        label="x",
        path=path,
        revision="r",
        created_at=datetime.now(UTC),
    )


@pytest.mark.parametrize(
    ("pattern", "opened", "closed"),
    [
        ("*", ["", "b", "b/k", "b/d/k"], []),
        ("b/*", ["b/k", "b/d/k", "b/"], ["", "b", "bb/k", "B/k"]),
        ("b/file", ["b/file"], ["b", "b/file2", "b/file/x", "b/fil"]),
        ("b*", ["b", "bb", "b/k", "bb/k"], ["", "a/b"]),
        ("b/*.csv", ["b/a.csv", "b/d/a.csv", "b/.csv"], ["b/a.csv2", "a.csv"]),
        ("b/a*a", ["b/aa", "b/axa", "b/a/a"], ["b/a"]),
        ("b/[a]?.txt", ["b/[a]?.txt"], ["b/ax.txt"]),
    ],
)
def test_a_path_opens_what_it_says(pattern, opened, closed):
    assert all(connector(pattern).opens(path) for path in opened)
    assert not any(connector(pattern).opens(path) for path in closed)


def test_a_path_opens_the_directory_above_its_star():
    assert connector("b/d/*").opens("b/d", is_directory=True)
    assert not connector("b/d/*").opens("b", is_directory=True)
    assert not connector("b/d/*").opens("", is_directory=True)
    assert not connector("b/file").opens("b", is_directory=True)


@settings(max_examples=300, deadline=None)
@given(st.text("ab*/", max_size=8), st.text("ab/", max_size=10))
def test_patterns_match_as_the_expression_they_stand_for(pattern, path):
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))

    assert matches(pattern, path) == bool(re.fullmatch(expression, path, re.DOTALL))


def test_a_pattern_of_many_stars_is_decided_at_once():
    assert not matches("*a" * 500 + "b", "a" * 1000)


@pytest.mark.parametrize("label", ["x", "unique_label", "a-b-1", "A" * 64])
def test_labels(label):
    assert check_label(label) == label


@pytest.mark.parametrize("label", ["", "a b", "a.b", "a+b", "é", "A" * 65, "a/b", "a\n"])
def test_what_cannot_be_a_label(label):
    with pytest.raises(InvalidInput):
        check_label(label)


@pytest.mark.parametrize("path", ["", "/", "x" * 1025, "a\0b", "\ud800"])
def test_what_cannot_be_a_path(path):
    with pytest.raises(InvalidInput):
        check_path(path)


def test_a_slash_in_front_of_a_path_says_nothing():
    assert check_path("/bucket/*") == "bucket/*"


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://s3.example.com", ("s3.example.com", 443)),
        ("https://s3.example.com:9000/", ("s3.example.com", 9000)),
        ("https://[::1]:9000", ("::1", 9000)),
        ("https://x.blob.core.windows.net/account", ("x.blob.core.windows.net", 443)),
    ],
)
def test_addresses(address, host):
    check_address(address, "endpoint", allow_http=False)

    assert host_of(address) == host


@pytest.mark.parametrize(
    "address",
    [
        "",
        "s3.example.com",
        "ftp://example.com",
        "https://",
        "https://user:password@example.com",
        "https://example.com?x=1",
        "https://example.com#x",
        "https://example.com/../x",
        "https://exa mple.com",
        "https://example.com\\@127.0.0.1",
        "https://example.com:99999999",
        "https://example.com:65536",
        "http://example.com",
    ],
)
def test_what_cannot_be_an_address(address):
    with pytest.raises(InvalidInput):
        check_address(address, "endpoint", allow_http=False)


@pytest.mark.parametrize(
    "options",
    [
        {"region": "evil.example.com/#"},
        {"region": "EU"},
        {"kms_key_id": "a b"},
        {"bucket": "../x"},
        {"endpoint": "http://example.com"},
        {"ca_certificate": "x" * 20_000},
    ],
)
def test_what_cannot_be_an_option(options):
    with pytest.raises(InvalidInput):
        check_options(ConnectorOptions(**options))


def test_missing_credentials_are_named_and_given_ones_never():
    with pytest.raises(InvalidInput) as refused:
        check_credentials(CredentialKind.IAM, {"access_key_id": "AKIDSECRET"})

    assert "secret_access_key" in refused.value.message
    assert "AKIDSECRET" not in refused.value.message


def test_members_that_are_no_credentials_are_left_out():
    given_values = {"access_token": "t", "refresh_token": "r", "else": "x", "app_key": ""}

    assert check_credentials(CredentialKind.OAUTH, given_values) == {
        "access_token": "t",
        "refresh_token": "r",
    }


MANAGING = KeyPermissions(allow_data_write=True, allow_algo_management=True)


@pytest.mark.parametrize(
    ("fields", "is_allowed"),
    [
        ({}, True),
        ({"permissions": MANAGING}, True),
        ({"permissions": replace(MANAGING, allow_data_write=False)}, False),
        ({"permissions": replace(MANAGING, allow_algo_management=False)}, False),
        ({"kind": KeyKind.ADMIN}, False),
        ({"owner": "other"}, False),
        ({"owner": "org", "role": Role.OWNER}, True),
        ({"owner": "org", "role": Role.MEMBER}, False),
        ({"owner": "org", "role": Role.EXECUTOR}, False),
        ({"owner": "other", "is_admin": True}, True),
        ({"owner": "other", "is_admin": True, "kind": KeyKind.ADMIN}, True),
        ({"owner": "other", "is_admin": True, "permissions": MANAGING}, False),
        ({"is_acting": True}, False),
        ({"is_acting": True, "is_admin": True}, False),
    ],
)
def test_who_may_manage_connectors(fields, is_allowed):
    account = replace(rows.account("jane"), is_admin=fields.get("is_admin", False))
    has_key = "permissions" in fields or "kind" in fields
    key = rows.key(
        account.account_id,
        permissions=fields.get("permissions", KeyPermissions()),
        kind=fields.get("kind", KeyKind.STANDARD),
    )
    acting = ActingAlgorithm(
        algorithm_id="a",
        owner_id=account.account_id,
        tree_id="t",
        deadline_at=1.0,
        depth=1,
        is_pipeline_enabled=True,
    )
    principal = Principal(
        account=account,
        key=key if has_key else None,
        acting=acting if fields.get("is_acting") else None,
        roles={"org": fields["role"]} if "role" in fields else {},
    )

    verdict = may_administer(
        principal, Action.MANAGE_CONNECTORS, fields.get("owner", account.account_id)
    )

    assert (verdict == ALLOWED) is is_allowed
    assert isinstance(verdict, Refused) is not is_allowed


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        (CredentialKind.IAM, {"secret_access_key": "abc\ndef"}),
        (CredentialKind.IAM, {"access_key_id": "AKIA\r\nx-amz-acl: public-read"}),
        (CredentialKind.IAM, {"session_token": "token\t"}),
        (CredentialKind.OAUTH, {"access_token": "sl.token\n"}),
        (CredentialKind.OAUTH, {"access_token": "sl.tökén"}),
        (CredentialKind.SAS, {"sas_token": "sig=a\nb"}),
        (CredentialKind.SAS, {"container_name": "../other"}),
        (CredentialKind.SAS, {"container_name": "c?restype=container"}),
        (CredentialKind.SERVICE_ACCOUNT, {"email": "a@b\n"}),
    ],
)
def test_credentials_cannot_add_headers_or_parts_of_an_address(kind, changed):
    values = {
        "access_key_id": "AKIA",
        "secret_access_key": "secret/+0123",
        "storage_uri": "https://account.blob.core.windows.net",
        "sas_token": "sv=1&sig=x%2B",
        "container_name": "container",
        "email": "a@b.iam.gserviceaccount.com",
        "private_key_id": "0123",
        "private_key": "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n",
        "access_token": "sl.token",
    }
    assert check_credentials(kind, values)

    with pytest.raises(InvalidInput) as refused:
        check_credentials(kind, values | changed)
    assert not any(value in refused.value.message for value in changed.values())


@pytest.mark.parametrize(
    "endpoint", ["https://10.1.2.3", "https://[::1]:9000", "http://minio.example.com"]
)
def test_buckets_become_names_of_hosts_only_below_a_name(endpoint):
    options = ConnectorOptions(endpoint=endpoint, allow_http=True)
    assert check_options(options) == options

    with pytest.raises(InvalidInput, match="path_style"):
        check_options(replace(options, path_style=False))

    named = ConnectorOptions(endpoint="https://minio.example.com:9000", path_style=False)
    assert check_options(named) == named
