"""Languages and environments: names, ids, and what a request means by them."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.build.interpreters import wished_minor
from algorium_server.domain.algorithms import MachineType
from algorium_server.domain.errors import (
    AlgoriumError,
    InvalidRequest,
    PackageSetNotFound,
    UnknownLanguage,
    UnsupportedMachine,
)
from algorium_server.domain.languages import Language, language_of
from algorium_server.domain.offers import (
    LANGUAGES,
    choose,
    environments,
    language_named,
    python_environment_name,
)

FOUND = environments(["3.11", "3.9"])
KNOWN = {each.environment_id: each for each in FOUND}
PYTHON_39 = next(each for each in FOUND if each.version == "3.9")
RUBY = next(each for each in FOUND if each.language.language is Language.RUBY)


def test_ids_are_the_same_everywhere_and_never_those_of_others():
    again = environments(["3.12", "3.9", "3.11", "3.8"])
    by_name = {each.display_name: each for each in again}

    for each in FOUND:
        assert by_name[each.display_name].environment_id == each.environment_id
        assert str(UUID(each.environment_id)) == each.environment_id
    ids = [each.environment_id for each in again] + [each.specification_id for each in again]
    assert len(set(ids)) == len(ids)


def test_what_is_offered_can_be_built_under_its_own_name():
    for language in LANGUAGES:
        assert language_of(language.name) is language.language
        assert language_named(language.name.upper()) is language
    assert {each.language.name for each in FOUND} == {
        each.name for each in LANGUAGES if each.language is not None
    }


def test_python_38_is_there_once_whatever_the_host_has():
    for versions in (["3.11"], ["3.8"], ["3.11", "3.8"]):
        names = [each.display_name for each in environments(versions)]
        assert names.count("Python 3.8") == 1
        python = [name for name in names if name.startswith("Python")]
        assert python[0] == f"Python {versions[0]}"


@pytest.mark.parametrize(
    ("said", "language", "wish"),
    [
        ({"language": "python3"}, "python3", None),
        ({"language": "python3-1"}, "python3-1", None),
        ({"language": "python-3.x-1"}, "python-3.x-1", None),
        ({"language": "python3.9"}, "python3.9", (3, 9)),
        ({"package_set": "python37"}, "python3", (3, 7)),
        ({"package_set": "python311"}, "python3", (3, 11)),
        ({"package_set": "Python3"}, "python3", None),
        ({"package_set": "ruby"}, "ruby", None),
        ({"language": "python3-1", "package_set": "python36"}, "python3-1", (3, 6)),
        ({"environment_id": PYTHON_39.environment_id}, "python3", (3, 9)),
        ({"environment_id": RUBY.environment_id.upper()}, "ruby", None),
        (
            {
                "language": "python3-1",
                "package_set": "python36",
                "environment_id": PYTHON_39.environment_id,
            },
            "python3-1",
            (3, 9),
        ),
        ({"language": "pipe"}, "pipe", None),
    ],
)
def test_what_a_request_says_of_its_language(said, language, wish):
    choice = choose(KNOWN, **said)
    chosen = python_environment_name(choice.environment_id)

    assert choice.language == language
    assert wished_minor(chosen or choice.package_set or choice.language) == wish


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({}, InvalidRequest),
        ({"language": "cobol"}, UnknownLanguage),
        ({"language": "python2-langpack"}, UnknownLanguage),
        ({"language": "python2-lackpack"}, UnknownLanguage),
        ({"language": "anaconda3"}, UnknownLanguage),
        ({"language": "scala-2"}, UnknownLanguage),
        ({"language": "csharp-dotnet-core2"}, UnknownLanguage),
        ({"environment_id": PYTHON_39.specification_id}, UnknownLanguage),
        ({"environment_id": RUBY.environment_id, "language": "rust"}, UnknownLanguage),
        ({"package_set": "python27"}, PackageSetNotFound),
        ({"package_set": "tensorflow"}, PackageSetNotFound),
        ({"language": "python3", "machine_type": MachineType.GPU}, UnsupportedMachine),
    ],
)
def test_what_no_request_may_say(said, error):
    with pytest.raises(error):
        choose(KNOWN, **said)


@given(st.text(), st.text(), st.text())
def test_whatever_is_said_is_understood_or_refused(environment_id, package_set, language):
    try:
        choice = choose(
            KNOWN, environment_id=environment_id, package_set=package_set, language=language
        )
    except AlgoriumError:
        return
    assert language_of(choice.language) is not None


def test_builds_understand_the_versions_that_are_offered():
    for each in FOUND:
        if each.version:
            assert wished_minor(each.display_name) == tuple(map(int, each.version.split(".")))
