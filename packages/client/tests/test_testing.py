"""`algo test`: tests and cases here, and cases on a server."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from standin import KEY, StandIn

from algorium._local.environment import Installation
from algorium._local.source import NotHere
from algorium.cli import main

HERE = ("--python", sys.executable)  # has pytest
CASES = [
    {"case_name": "twice", "input": "a", "expected_output": "aa"},
    {"case_name": "numbers", "input": 2, "expected_output": 3, "type": "GREATER_OR_EQUAL"},
    {"case_name": "fails", "input": None, "type": "EXCEPTION"},
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "algorithmia.conf").write_text('{"username": "util", "algoname": "Echo"}')
    (root / "src/__init__.py").write_text("")
    (root / "src/Echo.py").write_text(
        "def apply(input):\n    print('called')\n    return input * 2\n"
    )
    (root / "src/Echo_test.py").write_text(
        "from .Echo import apply\n\ndef test_it():\n    assert apply(2) == 4\n\n"
        "def test_more():\n    assert apply('a') == 'aa'\n"
    )
    monkeypatch.chdir(root)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # ours take seconds to load
    return root


def write_cases(project: Path, cases: list[dict[str, Any]]) -> None:
    (project / "TEST_CASES.json").write_text(json.dumps(cases))


def test_tests_and_cases_run_here(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_cases(project, CASES)

    assert main(["test", *HERE]) == 0
    told = capfd.readouterr()
    assert "2 passed" in told.out
    assert "passed  twice\npassed  numbers\npassed  fails\n3 of 3 cases passed\n" in told.out
    assert "  | called\n" in told.err
    assert not (project / ".algo").exists()
    assert not list(project.rglob("__pycache__/Echo_test*"))


def test_a_case_that_fails_is_exit_code_1_and_says_why(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (project / "src/Echo_test.py").unlink()
    write_cases(project, [*CASES, {"case_name": "wrong", "input": "a", "expected_output": "b"}])

    assert main(["test", *HERE, "--json"]) == 1
    told = capfd.readouterr()
    report = json.loads(told.out)
    assert (report["algorithm"], report["tests"], report["passed"]) == ("util/Echo", "none", False)
    assert [case["passed"] for case in report["cases"]] == [True, True, True, False]
    assert report["cases"][3]["reason"] == 'expected "b", got "aa"'
    assert told.err.splitlines()[-1].startswith("hint: ")


def test_a_test_that_fails_is_exit_code_1_and_pytest_gets_its_arguments(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (project / "src/Echo.py").write_text("def apply(input):\n    return 4\n")

    assert main(["test", *HERE]) == 1
    assert "1 failed, 1 passed" in capfd.readouterr().out
    assert main(["test", *HERE, "--", "src/Echo_test.py", "-k", "test_it"]) == 0
    assert "1 passed, 1 deselected" in capfd.readouterr().out


def test_an_algorithm_that_does_not_load_fails_its_cases(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (project / "src/Echo.py").write_text("import nowhere\n")
    (project / "src/Echo_test.py").unlink()
    write_cases(project, CASES[:1])

    assert main(["test", *HERE]) == 1
    assert "LoadingError: No module named 'nowhere'" in capfd.readouterr().out


def test_cases_run_on_a_server(
    project: Path,
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ALGORITHMIA_API", stand_in.address)
    monkeypatch.setenv("ALGORITHMIA_API_KEY", KEY)
    write_cases(project, [{"case_name": "same", "input": [1], "expected_output": [1]}])

    assert main(["test", "--remote", "--target", "1.2.0", "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert (report["algorithm"], report["passed"]) == ("util/Echo/1.2.0", True)
    assert stand_in.last.path == "/v1/algo/util/Echo/1.2.0"

    assert main(["test", "--remote"]) == 1
    assert "nothing is committed here" in capfd.readouterr().err
    assert main(["test", "--target", "1.2.0"]) == 2
    write_cases(project, [])
    assert main(["test", "--remote", "--target", "1.2.0"]) == 1


def test_cases_that_are_none_are_refused(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "TEST_CASES.json").write_text("[1]")

    assert main(["test", *HERE]) == 1
    assert "TEST_CASES.json, case 1: must be an object" in capfd.readouterr().err


def test_without_tests_that_is_said(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "src/Echo_test.py").unlink()

    assert main(["test", *HERE]) == 0
    assert "there are neither tests below src nor cases" in capfd.readouterr().err


class TestEnvironment:
    def provide(self, root: Path, **options: Any) -> Any:
        self.said: list[str] = []
        options = {"python": "", "installs": True, **options}
        return Installation(root, say=self.said.append, **options).provide()

    def test_it_is_made_once_and_anew_when_requirements_change(self, project: Path) -> None:
        made = self.provide(project)
        assert made.directory == project / ".algo/venv"
        assert made.python.exists()
        assert (project / ".algo/.gitignore").read_text() == "*\n"
        (made.directory / "mark").write_text("")

        assert self.provide(project) == made
        assert self.said == []
        assert (made.directory / "mark").exists()

        package = project / "package"
        package.mkdir()
        (package / "pyproject.toml").write_text('[project]\nname="x"\nversion="1"\n')
        (project / "requirements.txt").write_text("\n# only a comment\n--pre\n")
        self.provide(project)
        assert self.said == ["installing what requirements.txt names into .algo/venv"]
        assert not (made.directory / "mark").exists()

    def test_a_half_made_one_is_made_anew(self, project: Path) -> None:
        made = self.provide(project)
        (made.directory / "algo-stamp").unlink()

        self.provide(project)

        assert self.said == ["making .algo/venv"]

    def test_the_projects_own_is_used_as_it_is(self, project: Path) -> None:
        own = project / (".venv/Scripts" if os.name == "nt" else ".venv/bin")
        own.mkdir(parents=True)
        (own / "python").symlink_to(sys.executable)

        assert self.provide(project).directory == project / ".venv"
        assert not (project / ".algo").exists()

    def test_nothing_is_installed_unless_it_may_be(self, project: Path) -> None:
        assert self.provide(project, installs=False).python == Path(sys.executable)
        assert not (project / ".algo").exists()

    def test_what_the_installer_says_is_told(self, project: Path) -> None:
        (project / "requirements.txt").write_text("./nowhere\n")

        with pytest.raises(NotHere) as caught:
            self.provide(project)

        assert "nowhere" in str(caught.value)
        assert "--python" in caught.value.hint
