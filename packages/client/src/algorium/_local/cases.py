"""
`TEST_CASES.json`: inputs and what must come of them, as pipelines for the old service had it.

    [{"case_name": "…", "input": …, "expected_output": …, "type": "EXACT_MATCH", "tree": ["key"]}]

    type                passes if
    EXACT_MATCH         the result is the expected one; the default
    GREATER_OR_EQUAL    it is a number and at least as large
    LESS_OR_EQUAL       it is a number and at most as large
    NO_EXCEPTION        the call succeeds
    EXCEPTION           the call fails

`tree` says which part of the result counts: keys of objects, positions in lists. Pure.

Source: wire specification, "CI actions".
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

FILE: Final = "TEST_CASES.json"
TYPES: Final = ("EXACT_MATCH", "GREATER_OR_EQUAL", "LESS_OR_EQUAL", "NO_EXCEPTION", "EXCEPTION")
_COMPARING: Final = frozenset(TYPES[:3])
_SHOWN_CHARS: Final = 200


class CasesError(ValueError):
    """The text is no list of cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One input, and what must come of it."""

    name: str
    input: Any
    expected: Any = None
    type: str = TYPES[0]
    tree: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a case passed, and if not, why not; *took_s* is what its call took."""

    case: Case
    reason: str = ""
    took_s: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether it did."""
        return not self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """How a call ended: with *result*, or with *error*."""

    result: Any = None
    error: str = ""


def parse_cases(text: str) -> list[Case]:
    """
    Read the file.

    Raises:
        CasesError: It is something else; the text says which case is at fault.
    """
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CasesError(f"{FILE} is not JSON: {error}") from error
    if not isinstance(listed, list):
        raise CasesError(f"{FILE} must be a list of cases")
    return [_case(each, number) for number, each in enumerate(listed, start=1)]


def judge(case: Case, called: Called, *, took_s: float = 0.0) -> Verdict:
    """Say whether what came of a case is what must come of it."""
    return Verdict(case=case, reason=_reason(case, called), took_s=took_s)


def _case(found: object, number: int) -> Case:
    if not isinstance(found, dict):
        raise CasesError(f"{FILE}, case {number}: must be an object")
    name = found.get("case_name", f"case {number}")
    kind = found.get("type", TYPES[0])
    tree = found.get("tree", [])
    where = f"{FILE}, case {number} ({name})"
    if not isinstance(name, str):
        raise CasesError(f"{FILE}, case {number}: case_name must be a text")
    if "input" not in found:
        raise CasesError(f"{where}: there is no input")
    try:
        json.dumps(found["input"], ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:  # half of a pair of surrogates, or a number that JSON has not
        raise CasesError(f"{where}: input cannot be sent: {error}") from error
    if not isinstance(kind, str) or kind.upper() not in TYPES:
        raise CasesError(f"{where}: type must be one of {', '.join(TYPES)}")
    kind = kind.upper()
    if kind in _COMPARING and "expected_output" not in found:
        raise CasesError(f"{where}: there is no expected_output")
    expected = found.get("expected_output")
    if kind in {"GREATER_OR_EQUAL", "LESS_OR_EQUAL"} and not _is_number(expected):
        raise CasesError(f"{where}: {kind} needs a number as expected_output")
    tree = [tree] if isinstance(tree, str | int) else tree
    is_path = isinstance(tree, list) and all(isinstance(each, str | int) for each in tree)
    if not is_path:
        raise CasesError(f"{where}: tree must be a list of keys")
    return Case(name=name, input=found["input"], expected=expected, type=kind, tree=tuple(tree))


def _reason(case: Case, called: Called) -> str:
    if case.type == "EXCEPTION":
        return "" if called.error else f"it gave {_shown(called.result)} and should have failed"
    if called.error:
        return called.error
    if case.type == "NO_EXCEPTION":
        return ""
    try:
        result = _at(called.result, case.tree)
    except LookupError as error:
        return str(error.args[0])
    if case.type == "EXACT_MATCH":
        if _is_same(result, case.expected):
            return ""
        return f"expected {_shown(case.expected)}, got {_shown(result)}"
    if not _is_number(result):
        return f"expected a number, got {_shown(result)}"
    is_greater = case.type == "GREATER_OR_EQUAL"
    if (result >= case.expected) if is_greater else (result <= case.expected):
        return ""
    words = "at least" if is_greater else "at most"
    return f"expected {words} {case.expected}, got {result}"


def _at(result: Any, tree: Sequence[str | int]) -> Any:
    for number, key in enumerate(tree):
        where = ".".join(map(str, tree[: number + 1]))
        try:
            result = result[int(key)] if isinstance(result, list) else result[key]
        except (LookupError, TypeError, ValueError):
            raise LookupError(f"the result has no {where}: {_shown(result)}") from None
    return result


def _is_same(left: Any, right: Any) -> bool:
    """Compare as JSON does: `true` is not 1, but 1.0 is."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_is_same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_same, left, right))
    return bool(left == right)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."
