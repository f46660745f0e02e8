"""
What a project is written in, what that needs of the host, and where a project begins.

    language   tools                    entry                   tests
    python     uv, which comes along    src/NAME.py             pytest, below src/
    node       node, npm for packages   src/NAME.js             the script `test` of package.json
    ruby       ruby, bundle for gems    src/NAME.rb             src/*_test.rb
    r          Rscript, two packages    src/NAME.r              run_all_tests.r, tests/test*.r
    java       java, javac, mvn         a class                 Maven's
    rust       cargo, rustc, cc         a program named pipe    cargo's
    pipe       what the project brings  bin/pipe                bin/test

Python is built by `builder`, everything else by the functions in its row.

Source: wire specification of the runtime, "Project layout", "Builds".
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from algorium_server.build.confined import BuildFailed
from algorium_server.build.recipes import java, node, pipe, r, ruby, rust
from algorium_server.build.recipes.toolchain import Tool, find, how_to_get, missing
from algorium_server.build.recipes.workshop import Workshop
from algorium_server.domain.languages import Language, language_of

CONF: Final = "algorithmia.conf"
REQUIREMENTS: Final = "requirements.txt"

_MODULE: Final = re.compile(r"src/([A-Za-z_][A-Za-z0-9_]*)\.py")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OF_A_KIT: Final = (b"PIPE_INIT_COMPLETE", b"/tmp/algoout")
"""Whatever speaks the text protocol says the one and names the other."""
_NOT_ENTRIES: Final = frozenset({"__init__", "__main__", "conftest", "setup"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    How projects of one language are built.

    Attributes:
        language: Which.
        tools: What the host must have.
        find_entry: Says where a project begins, before anything is installed.
        install: Makes the tree complete; returns the entry.
        check: Loads the entry, in a copy of the tree.
        test: Runs the author's tests there.
    """

    language: Language
    tools: tuple[Tool, ...]
    find_entry: Callable[[Workshop], str]
    install: Callable[[Workshop, str], Awaitable[str]]
    check: Callable[[Workshop, str], Awaitable[None]]
    test: Callable[[Workshop], Awaitable[None]]


ROWS: Final = {
    language: Row(
        language=language,
        tools=recipe.TOOLS,
        find_entry=recipe.find_entry,
        install=recipe.install,
        check=recipe.check,
        test=recipe.test,
    )
    for language, recipe in {
        Language.NODE: node,
        Language.RUBY: ruby,
        Language.R: r,
        Language.JAVA: java,
        Language.RUST: rust,
        Language.PIPE: pipe,
    }.items()
}
"""All languages but Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTool:
    """
    A tool that a language needs, and whether this host has it.

    Attributes:
        language: Which language.
        command: What the tool is called.
        path: Where it is; None if it is missing.
        package: What to install on Debian to have it.
        is_optional: Only some projects need it.
    """

    language: Language
    command: str
    path: Path | None
    package: str
    is_optional: bool


def toolchains() -> list[FoundTool]:
    """Look for the tools of all languages on this host, as sandboxes would find them."""
    return [
        FoundTool(
            language=row.language,
            command=tool.command,
            path=find(tool),
            package=tool.package,
            is_optional=tool.is_optional,
        )
        for row in ROWS.values()
        for tool in row.tools
    ]


def check_language(name: str) -> Language:
    """
    Return the language that settings mean by *name*.

    Raises:
        BuildFailed: It is unknown, or this host cannot build it; the text says what to install.
    """
    language = language_of(name)
    if language is None:
        known = ", ".join(each for each in Language if each is not Language.PYTHON_PIPE)
        raise BuildFailed(f"algorithms in {name!r} cannot be built, only those in {known}")
    if reason := why_not(language):
        raise BuildFailed(f"algorithms in {name!r} cannot be built: {reason}")
    return language


def why_not(language: Language) -> str:
    """Return what keeps this host from building a language, and the remedy; empty if nothing."""
    row = ROWS.get(language)
    lacking = missing(row.tools) if row is not None else []
    return how_to_get(lacking) if lacking else ""


def name_in_conf(content: bytes) -> str | None:
    """
    Return `algoname` of an `algorithmia.conf`, None if it has none that could name a module.

    Everything else in it is informational, and often missing or misspelt.

    Raises:
        BuildFailed: The file is not a JSON object.
    """
    try:
        conf = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BuildFailed(f"{CONF} is not JSON: {error}") from error
    if not isinstance(conf, dict):
        raise BuildFailed(f"{CONF} must be a JSON object")
    name = conf.get("algoname")
    return name if isinstance(name, str) and _IDENTIFIER.fullmatch(name) else None


def find_entry(files: Iterable[str], name: str) -> str:
    """
    Return the module to import, such as `src.Hello`.

    `src/NAME.py` comes first, then `src/Algorithm.py`, then the only other module in `src/`.

    Args:
        files: All paths of the project.
        name: What the algorithm calls itself.

    Raises:
        BuildFailed: None of the three is there; the text names them.
    """
    modules = {match[1] for path in files if (match := _MODULE.fullmatch(path))}
    for candidate in (name, "Algorithm"):
        if candidate in modules:
            return f"src.{candidate}"
    others = {m for m in modules if m not in _NOT_ENTRIES and not _is_test(m)}
    if len(others) == 1:
        return f"src.{others.pop()}"
    found = f"there are {len(others)}: {', '.join(sorted(others))}" if others else "there is none"
    raise BuildFailed(
        f"no entry point: expected src/{name}.py, src/Algorithm.py, or a single module in src/ "
        f"({found})"
    )


def brings_own_kit(tree: Path, files: Iterable[str]) -> bool:
    """Whether a project in Python holds a copy of the development kit, to serve itself with."""
    return any(
        path.endswith(".py") and all(word in (tree / path).read_bytes() for word in _OF_A_KIT)
        for path in files
    )


def has_tests(files: Iterable[str]) -> bool:
    """Whether there are tests below `src/` that pytest would find."""
    return any(
        path.startswith("src/") and path.endswith(".py") and _is_test(path[:-3].rpartition("/")[2])
        for path in files
    )


def warnings(requirements: str) -> list[str]:
    """Return what is likely wrong with the text of a `requirements.txt`."""
    names = {
        re.split(r"[^A-Za-z0-9._-]", line.strip(), maxsplit=1)[0].lower().replace("_", "-")
        for line in requirements.splitlines()
    }
    if "algorithmia-adk" in names and "algorithmia" not in names:
        return [
            "algorithmia-adk needs the client, which it does not ask for itself: "
            f"add algorithmia to {REQUIREMENTS}"
        ]
    return []


def _is_test(module: str) -> bool:
    return module.startswith("test_") or module.endswith("_test")
