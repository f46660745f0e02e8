"""Data URIs, as every client spells them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium.wire.uris import PROTOCOLS, DataUri, UriSyntaxError

labels = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
segments = st.text(
    alphabet=st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)),
    min_size=1,
    max_size=20,
).filter(lambda text: text not in {".", ".."})
paths = st.lists(segments, max_size=4).map(tuple)
hosted_uris = st.builds(DataUri, segments=paths)
connector_uris = st.builds(
    DataUri,
    protocol=st.sampled_from(sorted(PROTOCOLS - {"data"})),
    label=st.just("") | labels,
    segments=paths,
)
uris = hosted_uris | connector_uris


@pytest.mark.parametrize(
    ("text", "normal_form"),
    [
        ("", "data://"),
        ("data://", "data://"),
        ("/", "data://"),
        (".my", "data://.my"),
        ("data://.my/", "data://.my"),
        ("demo/photos/a.png", "data://demo/photos/a.png"),
        ("data://demo//photos///a.png/", "data://demo/photos/a.png"),
        ("DATA://demo/photos", "data://demo/photos"),
        ("data:/demo/photos", "data://demo/photos"),
        (
            "data://.algo/dlib/FaceDetection/temp/x.png",
            "data://.algo/dlib/FaceDetection/temp/x.png",
        ),
        ("data://.session/x", "data://.session/x"),
        ("data://demo/photos/Пароход 1+1%.png", "data://demo/photos/Пароход 1+1%.png"),
        ("data://demo/photos/a:b", "data://demo/photos/a:b"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("S3+unique_label://bucket/key", "s3+unique_label://bucket/key"),
        ("s3+my-label:/bucket//key", "s3+my-label://bucket/key"),
        ("gs://bucket", "gs://bucket"),
        ("azureblob://a/b/c/d", "azureblob://a/b/c/d"),
        ("dropbox://", "dropbox://"),
    ],
)
def test_every_spelling_of_a_uri_has_one_normal_form(text, normal_form):
    assert str(DataUri.parse(text)) == normal_form


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("ftp://host/file", 0),
        ("file:///etc/passwd", 0),
        ("data+label://demo/photos", 5),
        ("data+://demo/photos", 5),
        ("s3+://bucket/key", 3),
        ("s3+my.label://bucket/key", 3),
        ("s3+a+b://bucket/key", 3),
        ("data://demo/../secret", 12),
        ("data://demo/./photos", 12),
        ("demo/photos/\0", 12),
    ],
)
def test_a_wrong_uri_says_where_it_went_wrong(text, column):
    with pytest.raises(UriSyntaxError) as caught:
        DataUri.parse(text)

    assert caught.value.text == text
    assert caught.value.column == column


@pytest.mark.parametrize(
    "fields",
    [
        {"protocol": "ftp"},
        {"protocol": "S3"},
        {"label": "x"},
        {"protocol": "s3", "label": "a b"},
        {"segments": ("a", "")},
        {"segments": ("..",)},
        {"segments": ("a/b",)},
    ],
)
def test_a_uri_is_valid_from_birth(fields):
    with pytest.raises(UriSyntaxError):
        DataUri(**fields)


@given(uris)
def test_the_root_of_a_source_is_found_by_its_name(uri):
    assert DataUri.root_of(uri.connector) == uri.at(())


@pytest.mark.parametrize("connector", ["", "ftp", "data+x", "s3+", "s3+a+b", "s3+a.b", "s3:"])
def test_other_names_are_no_source(connector):
    with pytest.raises(UriSyntaxError):
        DataUri.root_of(connector)


@given(uris)
def test_the_normal_form_reads_back_as_the_same_uri(uri):
    assert DataUri.parse(str(uri)) == uri


@given(uris, segments)
def test_a_child_has_its_name_and_its_parent(uri, name):
    child = uri.child(name)

    assert child.name == name
    assert child.parent == uri
    assert child.connector == uri.connector


@given(uris)
def test_parents_end_at_the_root(uri):
    for _ in uri.segments:
        uri = uri.parent

    assert uri.segments == ()
    assert uri.name == ""
    assert uri.parent == uri


@given(st.text(max_size=60) | st.text(alphabet="dataS3+:/._-x\0", max_size=30))
def test_any_text_is_a_uri_with_a_stable_normal_form_or_a_syntax_error(text):
    try:
        uri = DataUri.parse(text)
    except UriSyntaxError as error:
        column = error.column
    else:
        column = 0
        assert DataUri.parse(str(uri)) == uri

    assert 0 <= column <= len(text)
