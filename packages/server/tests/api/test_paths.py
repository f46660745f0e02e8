from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium.wire.uris import DataUri
from algorium_server.api.paths import parse_data_path
from algorium_server.domain.errors import InvalidInput

JAVA = b"algorithmia-java/1.0.16"
SCALA = b"algorithmia-scala/1.0.0"

NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12
).filter(lambda name: name not in {".", ".."})
# The first segment of hosted data is an owner; anything that looks like a scheme is read as one.
OWNERS = st.from_regex(r"\.?[a-zA-Z][a-zA-Z0-9_]*", fullmatch=True)
LABELS = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
HOSTED = st.builds(
    lambda owner, rest: DataUri(segments=(owner, *rest)), OWNERS, st.lists(NAMES, max_size=3)
)
CLOUD = st.builds(
    lambda protocol, label, segments: DataUri(
        protocol=protocol, label=label, segments=tuple(segments)
    ),
    st.sampled_from(["s3", "gs", "azureblob", "dropbox"]),
    st.just("") | LABELS,
    st.lists(NAMES, max_size=3),
)


def parsed(raw_path, user_agent=b""):
    uri = parse_data_path(raw_path.encode(), user_agent=user_agent)
    return None if uri is None else str(uri)


@pytest.mark.parametrize(
    ("raw_path", "uri"),
    [
        ("/v1/data", "data://"),
        ("/v1/data/", "data://"),
        ("//v1/data", "data://"),
        ("/v1//data//.my", "data://.my"),
        ("/v1/data/.my/dir/file.txt", "data://.my/dir/file.txt"),
        ("/v1/data/.my//dir/", "data://.my/dir"),
        ("/v1/data/demo/c/a%20b", "data://demo/c/a b"),
        ("/v1/data/demo/c/a+b", "data://demo/c/a+b"),
        ("/v1/data/demo/c/100%25", "data://demo/c/100%"),
        ("/v1/data/demo/c/a%252Fb", "data://demo/c/a%2Fb"),
        ("/v1/data/demo/c/50%zz", "data://demo/c/50%zz"),
        ("/v1/data/demo/c/%D0%9F%D0%B0%D1%80.png", "data://demo/c/Пар.png"),
        ("/v1/data/.my%2Fdir%2Ffile", "data://.my/dir/file"),
        ("/v1/data/.my%2fdir%2f", "data://.my/dir"),
        ("/v1/data/.my%2Fdir%2Fa+b", "data://.my/dir/a b"),
        ("/v1/data/.my%2Fdir%2Fa%2Bb", "data://.my/dir/a+b"),
        ("/v1/data/data://.my/dir", "data://.my/dir"),
        ("/v1/data/data:/.my/dir", "data://.my/dir"),
        ("/v1/data/s3://bucket/key", "s3://bucket/key"),
        ("/v1/data/S3+photos://bucket/key", "s3+photos://bucket/key"),
        ("/v1/data/s3+my-photos_1:/bucket/key", "s3+my-photos_1://bucket/key"),
        ("/v1/data/s3+photos:%2F%2Fbucket%2Fkey", "s3+photos://bucket/key"),
        ("/v1/data/s3%2Bphotos%3A%2F%2Fbucket%2Fkey", "s3+photos://bucket/key"),
        ("/v1/data/dropbox%3A%2F%2Ftest%2Fx", "dropbox://test/x"),
        ("/v1/data/dropbox://", "dropbox://"),
        ("/v1/connector/data", "data://"),
        ("/v1/connector/data/.my/dir", "data://.my/dir"),
        ("/v1/connector/data%2F.my%2Fdir", "data://.my/dir"),
        ("/v1/connector/s3+label/bucket/key", "s3+label://bucket/key"),
        ("/v1/connector/GS/bucket/", "gs://bucket"),
        ("/v1/connector/data/v1/connector/data/.my/dir/a", "data://.my/dir/a"),
        ("/v1/connector/s3/v1/connector/s3/v1/connector/S3/b/k", "s3://b/k"),
        ("/v1/connector/data/v1/connector/s3/b", "data://v1/connector/s3/b"),
        ("/v1/connector/data://.my/dir", "data://.my/dir"),
    ],
)
def test_a_target_is_read_as_its_client_meant_it(raw_path, uri):
    assert parsed(raw_path) == uri


@pytest.mark.parametrize("raw_path", ["/", "/v1", "/v1/database", "/v1/algo/x", "/v2/data/x"])
def test_other_targets_are_not_data(raw_path):
    assert parsed(raw_path) is None


@pytest.mark.parametrize(
    "raw_path",
    [
        "/v1/data/http://example.com/x",
        "/v1/data/data+label://x",
        "/v1/data/s3+a.b://x",
        "/v1/connector",
        "/v1/connector/",
        "/v1/connector/ftp/x",
        "/v1/connector/s3+/x",
        "/v1/data/./local",
        "/v1/data/.my/%2E%2E/x",
        "/v1/data/.my/dir/%00",
        "/v1/data/.my/dir/%FF",
    ],
)
def test_what_cannot_be_a_place_is_refused(raw_path):
    with pytest.raises(InvalidInput):
        parsed(raw_path)


@pytest.mark.parametrize("user_agent", [JAVA, SCALA, b"Algorithmia-Java/2"])
def test_clients_known_to_form_encode_mean_a_space_by_plus(user_agent):
    assert parsed("/v1/data/a+b", user_agent) == "data://a b"


def test_other_clients_mean_plus_by_plus():
    assert parsed("/v1/data/a+b", b"python-requests/2.31") == "data://a+b"


def test_bytes_that_are_not_encoded_are_utf_8():
    assert parsed("/v1/data/.my/dir/Пароход.png") == "data://.my/dir/Пароход.png"


@given(HOSTED | CLOUD)
def test_every_uri_survives_percent_encoding(uri):
    text = str(uri) if uri.protocol != "data" else "/".join(uri.segments)

    assert parse_data_path(b"/v1/data/" + quote(text, safe="/:+").encode()) == uri


@given(HOSTED | CLOUD)
def test_every_uri_survives_form_encoding(uri):
    text = str(uri) if uri.protocol != "data" else "/".join(uri.segments)
    raw_path = b"/v1/data/" + quote_plus(text, safe="*").encode()

    assert parse_data_path(raw_path, user_agent=JAVA) == uri


@given(HOSTED | CLOUD)
def test_every_uri_survives_the_connector_form(uri):
    text = f"{uri.connector}/{'/'.join(uri.segments)}"

    assert parse_data_path(b"/v1/connector/" + quote(text, safe="/+").encode()) == uri


@given(st.binary())
def test_any_bytes_are_a_uri_or_refused(rest):
    try:
        uri = parse_data_path(b"/v1/data/" + rest)
    except InvalidInput:
        return
    assert uri is not None
    assert DataUri.parse(str(uri)) == uri
