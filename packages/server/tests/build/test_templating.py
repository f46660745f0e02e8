"""What new algorithms begin with; that each is built and can be called is tested as a whole."""

import json

import pytest

from algorium_server.build.templating import render, render_into, template_of
from algorium_server.domain.errors import InvalidInput

TEMPLATES = ("python", "node", "ruby", "r", "java", "java11", "rust")


@pytest.mark.parametrize(
    ("language", "template"),
    [
        ("python3", "python"),
        ("javascript", "node"),
        ("ruby-2.2-1", "ruby"),
        ("r36", "r"),
        ("java", "java"),
        ("java11", "java11"),
        ("rust", "rust"),
    ],
)
def test_every_language_has_its_template(language, template):
    assert template_of(language) == template


@pytest.mark.parametrize("language", ["pipe", "python2", "cobol"])
def test_other_languages_have_none(language):
    with pytest.raises(InvalidInput, match=repr(language)):
        template_of(language)


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_placeholders_are_filled_in_everywhere(template):
    files = render(template, user="jane", name="Greeter")

    for path, content in files.items():
        assert "__ALGO__" not in path
        assert "__USER__" not in path
        assert b"__ALGO__" not in content
        assert b"__USER__" not in content
    conf = json.loads(files["algorithmia.conf"])
    assert (conf["username"], conf["algoname"]) == ("jane", "Greeter")
    assert template_of(conf["language"]) == template


def test_a_name_that_is_none_is_refused():
    with pytest.raises(InvalidInput):
        render("python", user="jane", name="../etc")


def test_a_project_is_written_into_a_directory(tmp_path):
    render_into(tmp_path / "new", "python", user="jane", name="Greeter")

    assert "ADK(apply, load)" in (tmp_path / "new" / "src" / "Greeter.py").read_text()
    assert (tmp_path / "new" / ".adk").exists()
