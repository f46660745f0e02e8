"""Pure rules of `algo dev` and `algo test`: cases, variables, entries, what has changed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium._local.cases import Called, CasesError, judge, parse_cases
from algorium._local.source import NotHere, find_entry, read_dependencies
from algorium._local.variables import VariablesError, parse_variables
from algorium._local.watch import changed, picture_of


@pytest.mark.parametrize(
    ("case", "called", "reason"),
    [
        ({"expected_output": {"a": 1.0}}, Called(result={"a": 1}), ""),
        ({"expected_output": 1}, Called(result=True), "expected 1, got true"),
        ({"expected_output": [1]}, Called(result=[1, 2]), "expected [1], got [1, 2]"),
        ({"expected_output": 2, "tree": ["a", 1]}, Called(result={"a": [1, 2]}), ""),
        (
            {"expected_output": 2, "tree": ["b"]},
            Called(result={"a": 2}),
            'the result has no b: {"a": 2}',
        ),
        ({"expected_output": 1}, Called(error="InputError: no"), "InputError: no"),
        ({"type": "GREATER_OR_EQUAL", "expected_output": 0.5}, Called(result=0.5), ""),
        (
            {"type": "greater_or_equal", "expected_output": 0.5},
            Called(result=0.4),
            "expected at least 0.5, got 0.4",
        ),
        (
            {"type": "LESS_OR_EQUAL", "expected_output": 1},
            Called(result=2),
            "expected at most 1, got 2",
        ),
        (
            {"type": "LESS_OR_EQUAL", "expected_output": 1},
            Called(result="1"),
            'expected a number, got "1"',
        ),
        ({"type": "NO_EXCEPTION"}, Called(result=None), ""),
        ({"type": "NO_EXCEPTION"}, Called(error="SystemExit: gone"), "SystemExit: gone"),
        ({"type": "EXCEPTION"}, Called(error="x"), ""),
        ({"type": "EXCEPTION"}, Called(result=1), "it gave 1 and should have failed"),
    ],
    ids=range(14),
)
def test_a_case_passes_or_says_why_not(case: dict[str, Any], called: Called, reason: str) -> None:
    (parsed,) = parse_cases(json.dumps([{"case_name": "c", "input": 1, **case}]))

    assert judge(parsed, called).reason == reason


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("{}", "must be a list"),
        ("[1]", "case 1: must be an object"),
        ('[{"input": 1, "case_name": 5}]', "case_name must be a text"),
        ('[{"case_name": "n"}]', "case 1 (n): there is no input"),
        ('[{"input": 1}]', "there is no expected_output"),
        ('[{"input": 1, "type": "MAYBE"}]', "type must be one of EXACT_MATCH"),
        ('[{"input": 1, "type": "LESS_OR_EQUAL", "expected_output": "a"}]', "needs a number"),
        ('[{"input": 1, "expected_output": 1, "tree": [{}]}]', "tree must be a list of keys"),
        ('[{"input": "\\ud800", "expected_output": 1}]', "case 1 (case 1): input cannot be sent"),
        ('[{"input": {"a": NaN}, "expected_output": 1}]', "case 1 (case 1): input cannot be sent"),
    ],
    ids=range(11),
)
def test_what_is_no_list_of_cases_is_refused_by_its_place(text: str, told: str) -> None:
    with pytest.raises(CasesError) as caught:
        parse_cases(text)

    assert told in str(caught.value)


def test_variables_are_read_as_custom_has_it() -> None:
    text = """
# comment
A=plain # comment
export B = "two words\\n\\"quoted\\"" # comment
C='$raw \\n'
D=
E=a#b
A=later
"""

    assert parse_variables(text, name=".env") == {
        "A": "later",
        "B": 'two words\n"quoted"',
        "C": "$raw \\n",
        "D": "",
        "E": "a#b",
    }


@pytest.mark.parametrize("line", ["x y", "1=2", "A='open", 'A="open', "A='a' b", "=x"])
def test_a_line_that_is_no_variable_is_named_and_not_shown(line: str) -> None:
    with pytest.raises(VariablesError) as caught:
        parse_variables(f"OK=1\n{line}", name=".env")

    assert str(caught.value) == ".env, line 2: expected NAME=VALUE"


@given(
    st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,5}", fullmatch=True), st.text("ab'\" #\\=é"))
)
def test_every_value_can_be_written(values: dict[str, str]) -> None:
    def quoted(value: str) -> str:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    text = "\n".join(f"{name}={quoted(value)}" for name, value in values.items())

    assert parse_variables(text, name="x") == values


@pytest.mark.parametrize(
    ("names", "entry"),
    [
        (["Mine.py", "Algorithm.py", "other.py"], "src.Mine"),
        (["Algorithm.py", "other.py"], "src.Algorithm"),
        (["__init__.py", "other.py", "other_test.py", "test_x.py", "conftest.py"], "src.other"),
    ],
    ids=["named", "usual", "only"],
)
def test_the_entry_is_found_as_the_build_finds_it(names: list[str], entry: str) -> None:
    assert find_entry(names, "Mine") == entry


@pytest.mark.parametrize(
    "names", [["a.py", "b.py"], ["__init__.py"], []], ids=["two", "none", "no"]
)
def test_without_an_entry_the_candidates_are_named(names: list[str]) -> None:
    with pytest.raises(NotHere) as caught:
        find_entry(names, "Mine")

    assert "src/Mine.py, src/Algorithm.py" in str(caught.value)


def test_the_first_file_that_says_something_decides(tmp_path: Path) -> None:
    assert read_dependencies(tmp_path).file == ""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname="x"\nrequires-python=">=3.11"\ndependencies=["six"]\n'
    )
    found = read_dependencies(tmp_path)
    assert (found.file, found.requirements, found.demand) == ("pyproject.toml", ("six",), ">=3.11")
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    assert read_dependencies(tmp_path).file == "pyproject.toml"
    (tmp_path / "requirements.txt").write_text("-r more.txt\n")
    first = read_dependencies(tmp_path)
    assert first.file == "requirements.txt"
    (tmp_path / "more.txt").write_text("six\n")
    assert read_dependencies(tmp_path).digest != first.digest


def test_only_what_authors_write_counts_as_a_change(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / ".algo").mkdir()
    source = tmp_path / "src/A.py"
    source.write_text("1")
    before = picture_of(tmp_path)

    (tmp_path / "result.bin").write_text("data")
    (tmp_path / ".algo/x.py").write_text("ours")
    assert changed(before, picture_of(tmp_path)) == []

    source.write_text("12")
    (tmp_path / "src/B.py").write_text("new")
    assert changed(before, picture_of(tmp_path)) == [str(source), str(tmp_path / "src/B.py")]
