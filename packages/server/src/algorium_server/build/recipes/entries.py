"""
Where projects begin: pure.

The rule is the one for Python: `src/NAME`, then `src/Algorithm`, then the only file in `src/` that
is no test.
"""

import re
from collections.abc import Iterable

from algorium_server.build.confined import BuildFailed


def find_file(files: Iterable[str], name: str, extensions: tuple[str, ...]) -> str:
    """
    Return the file of `src/` that a project begins with.

    Args:
        files: All paths of the project.
        name: What the algorithm calls itself.
        extensions: Without dots; the case does not matter.

    Raises:
        BuildFailed: There is none, or no telling which; the text names the candidates.
    """
    ending = "|".join(extensions)
    found = re.compile(rf"src/([^/]+)\.({ending})", re.IGNORECASE)
    by_stem = {match[1]: path for path in sorted(files) if (match := found.fullmatch(path))}
    for candidate in (name, "Algorithm"):
        if candidate in by_stem:
            return by_stem[candidate]
    others = [path for stem, path in by_stem.items() if not _is_test(stem)]
    if len(others) == 1:
        return others[0]
    seen = f"there are {len(others)}: {', '.join(others)}" if others else "there is none"
    raise BuildFailed(
        f"no entry point: expected src/{name}.{extensions[0]}, src/Algorithm.{extensions[0]}, or "
        f"a single file in src/ ({seen})"
    )


def _is_test(stem: str) -> bool:
    return bool(re.search(r"(^test([_.-]|$))|([_.-](test|spec)$)", stem, re.IGNORECASE))
