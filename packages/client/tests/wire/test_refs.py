"""References to algorithms, as every client spells them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium.wire.refs import AlgorithmRef, RefSyntaxError

ID = "36fd467e-fbfe-4ea6-aa66-df3f403b7132"

names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,29}", fullmatch=True)
versions = st.just("") | st.from_regex(r"[A-Za-z0-9.*-]{1,40}", fullmatch=True)
named_refs = st.builds(AlgorithmRef, owner=names, name=names, version=versions)
refs_by_id = st.builds(AlgorithmRef, algorithm_id=st.uuids().map(str), version=versions)
refs = named_refs | refs_by_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("demo/Hello", AlgorithmRef(owner="demo", name="Hello")),
        ("demo/hello/", AlgorithmRef(owner="demo", name="hello")),
        ("demo/Hello/0.1.0", AlgorithmRef(owner="demo", name="Hello", version="0.1.0")),
        ("demo/Hello/0.1.0/", AlgorithmRef(owner="demo", name="Hello", version="0.1.0")),
        ("algo://demo/Hello", AlgorithmRef(owner="demo", name="Hello")),
        ("algo:/demo/Hello/0.1.x", AlgorithmRef(owner="demo", name="Hello", version="0.1.x")),
        ("ALGO://demo/Hello", AlgorithmRef(owner="demo", name="Hello")),
        ("/algo://demo/Hello", AlgorithmRef(owner="demo", name="Hello")),
        ("//demo//Hello//", AlgorithmRef(owner="demo", name="Hello")),
        ("algo/Hello", AlgorithmRef(owner="algo", name="Hello")),
        (ID, AlgorithmRef(algorithm_id=ID)),
        (ID.upper(), AlgorithmRef(algorithm_id=ID)),
        (f"{ID}/1.x", AlgorithmRef(algorithm_id=ID, version="1.x")),
        (f"algo://{ID}/latest/", AlgorithmRef(algorithm_id=ID, version="latest")),
    ],
)
def test_every_spelling_of_a_reference_is_read(text, expected):
    assert AlgorithmRef.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 0),
        ("/", 1),
        ("demo", 4),
        ("algo://", 7),
        ("demo/Hello/1/2", 13),
        ("1demo/Hello", 0),
        ("a1/1", 3),
        ("demo/He-llo", 5),
        ("dämo/Hello", 0),
        ("http://demo/Hello", 0),
        (f"{ID}/1/2", 39),
    ],
)
def test_a_wrong_reference_says_where_it_went_wrong(text, column):
    with pytest.raises(RefSyntaxError) as caught:
        AlgorithmRef.parse(text)

    assert caught.value.text == text
    assert caught.value.column == column
    assert f"column {column}" in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"owner": "demo"},
        {"owner": "demo", "name": "no-dash"},
        {"owner": "demo", "name": "Hello", "algorithm_id": ID},
        {"algorithm_id": "not-an-id"},
        {"owner": "demo", "name": "Hello", "version": "1/2"},
    ],
)
def test_a_reference_is_valid_from_birth(fields):
    with pytest.raises(RefSyntaxError):
        AlgorithmRef(**fields)


@given(refs)
def test_the_normal_form_reads_back_as_the_same_reference(ref):
    assert AlgorithmRef.parse(str(ref)) == ref
    assert AlgorithmRef.parse(ref.uri) == ref


@given(refs, st.sampled_from(["", "/", "algo://", "algo:/", "/algo://"]), st.booleans())
def test_prefixes_and_slashes_change_nothing(ref, prefix, has_trailing_slash):
    text = prefix + str(ref).replace("/", "//") + "/" * has_trailing_slash

    assert AlgorithmRef.parse(text) == ref


@given(st.text(max_size=60) | st.text(alphabet="/:algo.1aZ-_", max_size=40))
def test_any_text_is_a_reference_with_a_stable_normal_form_or_a_syntax_error(text):
    try:
        ref = AlgorithmRef.parse(text)
    except RefSyntaxError as error:
        column = error.column
    else:
        column = 0
        assert AlgorithmRef.parse(str(ref)) == ref

    assert 0 <= column <= len(text)
