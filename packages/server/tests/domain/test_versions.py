"""Version resolution: every row of the specification's table, and the order behind it."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain.versions import (
    SemanticVersion,
    SpecKind,
    VersionSpec,
    resolve,
    successor,
)

COMMIT = "0b6a0a5cfe3a0b2f5b0c0e1d2f3a4b5c6d7e8f90"


@dataclass(frozen=True)
class Published:
    version_id: str
    semantic_version: SemanticVersion
    is_public: bool


def published(text, *, is_public=True):
    semantic = SemanticVersion.parse(text)
    return Published(
        version_id=f"{semantic.major:08x}-0000-0000-{semantic.minor:04x}-{semantic.revision:012x}",
        semantic_version=semantic,
        is_public=is_public,
    )


VERSIONS = (
    published("0.1.0"),
    published("0.1.1"),
    published("0.1.10"),
    published("0.1.11", is_public=False),
    published("0.2.0"),
    published("1.0.0"),
    published("1.9.3"),
    published("1.10.0"),
    published("1.11.0", is_public=False),
    published("2.0.0", is_public=False),
    published("10.0.0", is_public=False),
)
ID_OF_PUBLIC_1_0_0 = published("1.0.0").version_id
ID_OF_PRIVATE_2_0_0 = published("2.0.0").version_id


def resolved(segment, versions=VERSIONS, *, is_owner_like):
    spec = VersionSpec.parse(segment)
    if spec is None:
        return None
    found = resolve(spec, versions, is_owner_like=is_owner_like)
    return None if found is None else str(found.semantic_version)


@pytest.mark.parametrize(
    ("segment", "for_strangers", "for_owners"),
    [
        # absent, empty, latest: the highest public one, whoever asks
        ("", "1.10.0", "1.10.0"),
        ("latest", "1.10.0", "1.10.0"),
        # latestPrivate: owner-like only
        ("latestPrivate", None, "10.0.0"),
        # x.y.z: public for anyone, private for owner-like
        ("0.1.1", "0.1.1", "0.1.1"),
        ("0.1.11", None, "0.1.11"),
        ("2.0.0", None, "2.0.0"),
        ("7.7.7", None, None),
        # x.y, x.y.*, x.y.x: private versions are never candidates
        ("0.1", "0.1.10", "0.1.10"),
        ("0.1.*", "0.1.10", "0.1.10"),
        ("0.1.x", "0.1.10", "0.1.10"),
        ("1.11", None, None),
        ("0.9", None, None),
        # x, x.*
        ("1", "1.10.0", "1.10.0"),
        ("1.*", "1.10.0", "1.10.0"),
        ("0", "0.2.0", "0.2.0"),
        ("2", None, None),
        ("2.*", None, None),
        # the version's UUID
        (ID_OF_PUBLIC_1_0_0, None, "1.0.0"),
        (ID_OF_PRIVATE_2_0_0, None, "2.0.0"),
        (ID_OF_PRIVATE_2_0_0.upper(), None, "2.0.0"),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", None, None),
        # a commit names a build, never a published version
        (COMMIT, None, None),
        # anything else
        ("Latest", None, None),
        ("latestprivate", None, None),
        ("v1.0.0", None, None),
        ("01.0.0", None, None),
        ("1.0.0.0", None, None),
        ("1.x", None, None),
        ("*", None, None),
        ("x", None, None),
        ("-1.0.0", None, None),
        ("1.0.0 ", None, None),
        ("1.0.0\n", None, None),
        ("1.0.\u0663", None, None),
        ("1\u0663", None, None),
        (COMMIT[:-1], None, None),
    ],
)
def test_a_version_segment_resolves_as_specified(segment, for_strangers, for_owners):
    assert resolved(segment, is_owner_like=False) == for_strangers
    assert resolved(segment, is_owner_like=True) == for_owners


@pytest.mark.parametrize("segment", ["", "latest", "0.1", "0"])
def test_an_algorithm_with_private_versions_only_has_no_latest_even_for_its_owner(segment):
    versions = [published("0.1.0", is_public=False)]

    assert resolved(segment, versions, is_owner_like=True) is None
    assert resolved("latestPrivate", versions, is_owner_like=True) == "0.1.0"


@pytest.mark.parametrize("text", [COMMIT, COMMIT.upper()])
def test_a_commit_is_read_as_a_commit(text):
    assert VersionSpec.parse(text) == VersionSpec(kind=SpecKind.COMMIT, text=COMMIT)


@pytest.mark.parametrize(
    ("highest", "version_type", "expected"),
    [
        (None, "major", "1.0.0"),
        (None, "minor", "0.1.0"),
        (None, "revision", "0.0.1"),
        ("1.2.3", "major", "2.0.0"),
        ("1.2.3", "minor", "1.3.0"),
        ("1.2.3", "revision", "1.2.4"),
    ],
)
def test_the_next_version_follows_the_highest(highest, version_type, expected):
    before = None if highest is None else SemanticVersion.parse(highest)

    assert str(successor(before, version_type)) == expected


def test_an_unknown_version_type_is_refused():
    with pytest.raises(ValueError, match="not a version type"):
        successor(None, "huge")


numbers = st.integers(min_value=0, max_value=999_999_999) | st.integers(min_value=0, max_value=3)
semantic_versions = st.builds(SemanticVersion, numbers, numbers, numbers)
small = st.integers(min_value=0, max_value=3)
publications = st.lists(
    st.builds(
        lambda version, is_public: published(str(version), is_public=is_public),
        st.builds(SemanticVersion, small, small, small),
        st.booleans(),
    ),
    unique_by=lambda version: version.semantic_version,
)
version_segments = st.sampled_from(["", "latest", "latestPrivate"]) | st.from_regex(
    r"[0-3](\.[0-3](\.[0-3*x])?|\.\*)?", fullmatch=True
)


@given(semantic_versions)
def test_the_text_of_a_version_reads_back(version):
    assert SemanticVersion.parse(str(version)) == version


@given(st.text(alphabet="0123456789.", max_size=12))
def test_any_text_is_its_own_normal_form_or_not_a_version(text):
    try:
        version = SemanticVersion.parse(text)
    except ValueError:
        return

    assert str(version) == text


@given(semantic_versions, semantic_versions, semantic_versions)
def test_versions_are_totally_ordered(a, b, c):
    assert (a < b) + (a == b) + (b < a) == 1
    assert not (a <= b <= c) or a <= c
    assert (a < b) == ((a.major, a.minor, a.revision) < (b.major, b.minor, b.revision))


@given(semantic_versions, st.sampled_from(["major", "minor", "revision"]))
def test_the_next_version_is_higher(version, version_type):
    assert successor(version, version_type) > version


@given(version_segments, publications, st.booleans())
def test_what_resolves_was_published_and_may_be_seen(segment, versions, is_owner_like):
    found = resolve(VersionSpec.parse(segment), versions, is_owner_like=is_owner_like)

    assert found is None or found in versions
    assert found is None or found.is_public or is_owner_like


@given(version_segments, publications, st.booleans(), st.randoms())
def test_the_order_of_publication_does_not_matter(segment, versions, is_owner_like, random):
    spec = VersionSpec.parse(segment)
    expected = resolve(spec, versions, is_owner_like=is_owner_like)
    shuffled = list(versions)
    random.shuffle(shuffled)

    assert resolve(spec, shuffled, is_owner_like=is_owner_like) == expected


@given(version_segments, publications)
def test_a_stranger_never_learns_of_private_versions(segment, versions):
    public = [version for version in versions if version.is_public]
    spec = VersionSpec.parse(segment)

    assert resolve(spec, versions, is_owner_like=False) == resolve(
        spec, public, is_owner_like=False
    )


@given(st.text(max_size=45))
def test_any_segment_is_a_wish_or_none(text):
    spec = VersionSpec.parse(text)

    assert spec is None or resolve(spec, VERSIONS, is_owner_like=True) in (None, *VERSIONS)
