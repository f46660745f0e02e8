"""What authors ask for: what is not said stays, what is wrong is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import algorithm

from algorium_server.domain.algorithms import (
    AlgorithmSettings,
    Callability,
    Isolation,
    PublishGate,
    Scaling,
    SourceVisibility,
)
from algorium_server.domain.errors import InvalidInput, LanguageFixed
from algorium_server.domain.limits import ALGORITHM_TEXT_CHARS_MAX
from algorium_server.domain.offers import Choice
from algorium_server.domain.wishes import (
    LICENSES,
    WantedDetails,
    WantedSettings,
    WantedVersion,
    changed_settings,
    changed_texts,
    check_same_language,
)

WISHES = st.builds(
    WantedSettings,
    callability=st.none() | st.sampled_from(Callability),
    source_visibility=st.none() | st.sampled_from(SourceVisibility),
    license=st.none() | st.sampled_from(LICENSES),
    is_pipeline_enabled=st.none() | st.booleans(),
    royalty_microcredits=st.none() | st.integers(0, 2**53),
    publish_gate=st.none() | st.sampled_from(PublishGate),
    allows_rewriting=st.none() | st.booleans(),
    scaling=st.none() | st.builds(Scaling, isolation=st.sampled_from(Isolation)),
)


@given(WISHES)
def test_what_is_said_holds_afterwards_and_the_rest_stays(wanted):
    before = AlgorithmSettings(source_visibility=SourceVisibility.OPEN)
    try:
        after = changed_settings(before, wanted)
    except InvalidInput:
        assert wanted.source_visibility is SourceVisibility.CLOSED
        assert wanted.license not in {None, "apl"}
        return

    for name in WantedSettings.__dataclass_fields__:
        said = getattr(wanted, name)
        assert getattr(after, name) == (getattr(before, name) if said is None else said)
    assert changed_settings(after, wanted) == after


def test_a_choice_of_language_is_taken_over_as_a_whole():
    before = AlgorithmSettings(language="python3", package_set="python39", environment_id="x")
    choice = Choice(language="python3-1")
    after = changed_settings(before, WantedSettings(), choice)

    assert (after.language, after.package_set, after.environment_id) == ("python3-1", "", "")
    check_same_language(before, choice)
    with pytest.raises(LanguageFixed):
        check_same_language(before, Choice(language="ruby"))


def test_texts_change_one_by_one():
    before = algorithm("owner", label="A", summary="B", tagline="C", sample_input="D")
    after = changed_texts(before, WantedDetails(summary="", sample_input="E"))

    assert (after.label, after.summary, after.tagline, after.sample_input) == ("A", "", "C", "E")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (WantedSettings, {"license": "beerware"}),
        (WantedSettings, {"royalty_microcredits": -1}),
        (WantedSettings, {"royalty_microcredits": 2**53 + 1}),
        (WantedDetails, {"label": "x" * (ALGORITHM_TEXT_CHARS_MAX + 1)}),
        (WantedVersion, {"sample_output": "x" * (ALGORITHM_TEXT_CHARS_MAX + 1)}),
    ],
)
def test_what_nobody_may_want(kind, values):
    with pytest.raises(InvalidInput):
        kind(**values)
