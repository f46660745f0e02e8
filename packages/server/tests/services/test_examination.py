"""Who may see what this host offers, and what is said about languages."""

from pathlib import Path

import pytest

from algorium_server.build.languages import FoundTool
from algorium_server.domain.languages import Language
from algorium_server.engine.findings import State
from algorium_server.services.examination import git, languages


def tool(command: str, path: str | None, *, is_optional: bool = False) -> FoundTool:
    return FoundTool(
        language=Language.NODE,
        command=command,
        path=Path(path) if path else None,
        package=f"{command}-package",
        is_optional=is_optional,
    )


def test_a_language_is_there_with_all_its_tools():
    (finding,) = languages([tool("node", "/usr/bin/node"), tool("npm", "/usr/bin/npm")])

    assert (finding.what, finding.state) == ("language node", State.OK)
    assert finding.found == "/usr/bin/node, /usr/bin/npm"
    assert finding.remedy == ""


def test_a_language_lacks_a_tool_that_it_needs():
    (finding,) = languages([tool("node", None), tool("npm", "/usr/bin/npm")])

    assert finding.state is State.MISSING
    assert finding.found == "/usr/bin/npm; without node"
    assert finding.remedy == "apt-get install node-package"


def test_a_language_can_do_without_an_optional_tool():
    (finding,) = languages([tool("node", "/usr/bin/node"), tool("npm", None, is_optional=True)])

    assert finding.state is State.PARTIAL
    assert finding.remedy == "apt-get install npm-package"


def test_each_language_has_its_finding():
    found = list(
        languages(
            FoundTool(language=language, command="x", path=None, package="x", is_optional=False)
            for language in (Language.NODE, Language.RUBY)
        )
    )

    assert [each.what for each in found] == ["language node", "language ruby"]


@pytest.mark.parametrize(
    ("version", "state"), [(None, "missing"), ((2, 30), "in part"), ((2, 31), "ok"), ((3, 0), "ok")]
)
def test_git_is_there_or_how_to_get_it_is_told(version, state):
    finding = git(version)

    assert finding.state == state
    assert bool(finding.remedy) == (state != "ok")
