"""
What a project is written in, and where it begins. Only Python 3 so far.

Source: wire specification of the runtime, "Project layout".
"""

import json
import re
from collections.abc import Iterable
from typing import Final

from algorium_server.build.confined import BuildFailed

CONF: Final = "algorithmia.conf"
REQUIREMENTS: Final = "requirements.txt"

_PYTHON_3: Final = re.compile(r"python-?3(\.(x|\d+))?(-\d+)?", re.IGNORECASE)
"""All spellings of Python 3 that the platform has had: `python3`, `python3-1`, `python-3.x-1`."""
_MODULE: Final = re.compile(r"src/([A-Za-z_][A-Za-z0-9_]*)\.py")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_ENTRIES: Final = frozenset({"__init__", "__main__", "conftest", "setup"})


def check_language(language: str) -> None:
    """
    Raise if algorithms in *language* cannot be built.

    Raises:
        BuildFailed: It is not a spelling of Python 3.
    """
    if not _PYTHON_3.fullmatch(language):
        raise BuildFailed(f"algorithms in {language!r} cannot be built yet, only those in python3")


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
