"""What projects in Python say they depend on."""

import pytest

from algorium_server.build.confined import BuildFailed
from algorium_server.build.dependencies import find


@pytest.fixture
def project(tmp_path):
    def make(**files):
        for name, text in files.items():
            (tmp_path / name.replace("__", ".")).write_text(text)
        return find(tmp_path)

    return make


PYPROJECT = """\
[project]
name = "p"
version = "1"
requires-python = ">=3.9"
dependencies = ["numpy>=2", "six; python_version < '3'"]
"""


def test_no_file_is_no_dependency(project):
    assert project().file == ""


def test_a_requirements_file_comes_first(project):
    found = project(requirements__txt="six\n", pyproject__toml=PYPROJECT, uv__lock="version = 1")

    assert found.file == "requirements.txt"
    assert found.demand == ">=3.9"
    assert found.notes == (
        "Dependencies come from requirements.txt; uv.lock is not read",
        "Dependencies come from requirements.txt; pyproject.toml is not read",
    )


def test_one_with_nothing_but_comments_says_nothing(project):
    assert project(requirements__txt="# none\n\n", pyproject__toml=PYPROJECT).file == (
        "pyproject.toml"
    )


def test_dependencies_of_a_pyproject_become_requirements(project):
    found = project(pyproject__toml=PYPROJECT)

    assert found.requirements == "numpy>=2\nsix; python_version < '3'\n"
    assert found.notes == ()


def test_a_lock_beside_it_decides(project):
    found = project(pyproject__toml=PYPROJECT, uv__lock="version = 1")

    assert (found.file, found.notes) == ("uv.lock", ())
    assert project(pyproject__toml="[tool.ruff]\n", uv__lock="version = 1").file == ""


def test_a_pyproject_of_tools_only_says_nothing(project):
    assert project(pyproject__toml="[tool.pytest.ini_options]\n").file == ""


def test_an_environment_of_conda_may_name_what_pip_installs(project):
    found = project(
        environment__yml="dependencies:\n- python=3.9\n- pip\n- pip:\n  - six>=1\n  - toml\n"
    )

    assert found.file == "environment.yml"
    assert found.requirements == "six>=1\ntoml\n"
    assert found.demand == "==3.9.*"


BOMB = "[&a [x, x, x], &b [*a, *a, *a], &c [*b, *b, *b]]"
"""Goes on like this to more than any memory holds."""


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"pyproject__toml": "[project"}, "pyproject.toml is not TOML"),
        ({"pyproject__toml": "project = 1"}, r"\[project\] in pyproject.toml must be a table"),
        ({"pyproject__toml": "[project]\ndependencies = 'six'"}, "must be a list of texts"),
        ({"pyproject__toml": "[project]\ndependencies = ['six =>']"}, "'six =>' is no requirement"),
        ({"pyproject__toml": "[project]\ndynamic = ['dependencies']"}, "are dynamic"),
        ({"pyproject__toml": "[project]\nrequires-python = 3"}, "must be a text"),
        ({"environment__yml": "a: ["}, "environment.yml is not YAML"),
        ({"environment__yml": "[]"}, "must have a list of dependencies"),
        ({"environment__yml": "dependencies: [1]"}, "names no package"),
        ({"environment__yml": f"dependencies: [{BOMB}]"}, "aliases, .* are not supported"),
        ({"environment__yml": " " * 300_000 + "a"}, "is larger than"),
        (
            {"environment__yml": "dependencies: [numpy=1.21, 'conda-forge::gdal']"},
            "asks conda for numpy=1.21, conda-forge::gdal, which this server cannot install",
        ),
    ],
)
def test_what_cannot_be_read_fails_with_words(project, files, words):
    with pytest.raises(BuildFailed, match=words):
        project(**files)


def test_links_and_devices_are_not_followed(tmp_path):
    (tmp_path / "requirements.txt").symlink_to("/etc/passwd")

    assert find(tmp_path).file == ""


def test_yaml_makes_no_objects(project):
    with pytest.raises(BuildFailed, match="not YAML"):
        project(environment__yml="!!python/object/apply:os.system ['true']")
