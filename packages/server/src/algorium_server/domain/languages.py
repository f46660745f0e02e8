"""
The languages that algorithms are written in, and the names that settings have for them.

Two generations of names are in use: the old service's own (`javascript`, `python3-1`), and those
of its later environments (`java11`, `r36`). Templates and old repositories have more spellings.
Versions in a name say what the old service had; here the language runs in the version that the
host offers.

Source: wire specification of the runtime, "Project layout".
"""

import re
from enum import StrEnum
from typing import Final


class Language(StrEnum):
    """
    A language, or rather a way to build and run a project.

    `PIPE` is any language: the project itself brings the program that speaks the text protocol.
    `PYTHON_PIPE` is what a build makes of a project in Python that brings a copy of the old
    service's development kit: settings cannot name it.
    """

    PYTHON = "python"
    PYTHON_PIPE = "python-pipe"
    NODE = "node"
    RUBY = "ruby"
    R = "r"
    JAVA = "java"
    RUST = "rust"
    PIPE = "pipe"


_VERSION: Final = r"(-?\d+(\.(x|\d+))*)?(-\d+)?"
_NAMES: Final = {
    Language.PYTHON: r"python-?3(\.(x|\d+))?(-\d+)?",
    Language.NODE: rf"(javascript|node(js)?){_VERSION}",
    Language.RUBY: rf"ruby{_VERSION}",
    Language.R: rf"r{_VERSION}",
    Language.JAVA: rf"java(-?o(pen)?jdk)?{_VERSION}",
    Language.RUST: rf"rust{_VERSION}",
    Language.PIPE: r"pipe",
}
"""Python 2 is another language; so are the distributions that environments are made of."""


def language_of(name: str) -> Language | None:
    """
    Return the language that settings mean by *name*, in whatever case; None if it is unknown.

    Args:
        name: Such as `python3`, `node-5.x-1`, `java-ojdk11` or `r36`.
    """
    for language, pattern in _NAMES.items():
        if re.fullmatch(pattern, name, re.IGNORECASE):
            return language
    return None
