r"""
Files of environment variables, such as `.env`: secrets of an algorithm under work.

    # a comment
    TOKEN=abc           # all up to a blank and a hash
    export NAME="a b"   # quoted: with blanks; in double quotes \n, \t, \" and \\ are read
    RAW='$a \n'         # in single quotes nothing is

Nothing is expanded, and what cannot be read is refused by its line, never by its value. Pure.
"""

import re
from typing import Final

_LINE: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_SINGLE: Final = re.compile(r"'([^']*)'\s*(?:#.*)?")
_DOUBLE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?')
_COMMENT: Final = re.compile(r"\s+#.*$|^#.*$")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}
_VARIABLES_MAX: Final = 1000


class VariablesError(ValueError):
    """The text is no file of variables."""


def parse_variables(text: str, *, name: str) -> dict[str, str]:
    """
    Read variables; of two with the same name the later one counts.

    Args:
        text: Of the file.
        name: Of the file, for messages.

    Raises:
        VariablesError: A line is neither a variable nor a comment.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        value = _value(match[2]) if match else None
        if match is None or value is None or "\0" in value:
            raise VariablesError(f"{name}, line {number}: expected NAME=VALUE")
        found[match[1]] = value
        if len(found) > _VARIABLES_MAX:
            raise VariablesError(f"{name}: more than {_VARIABLES_MAX} variables")
    return found


def _value(text: str) -> str | None:
    if text.startswith("'"):
        match = _SINGLE.fullmatch(text)
        return match[1] if match else None
    if text.startswith('"'):
        match = _DOUBLE.fullmatch(text)
        if match is None:
            return None
        return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), match[1])
    return _COMMENT.sub("", text).strip()
