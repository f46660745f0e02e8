"""
Locks: texts that name every distribution of an environment, with its version.

A lock is what the resolver made of an author's requirements. Its first lines say whom it is for
alone, if anybody, and what the packages hold that lie beside the requirements.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Final

_FILES: Final = "# with packages of the project, sha256 "
_LOCAL: Final = re.compile(r"(^|[\s=:])\.{1,2}/|^[^-#\s][^\s@]*/")
"""Requirements and options that name a path."""
_RELATIVE: Final = re.compile(
    r"(?P<option>(--find-links|-f)[\s=]\s*(?!/|\w+:)|(?=\.{1,2}/))(?P<path>\S+)\s*"
)
_PACKAGES: Final = (".whl", ".zip", ".tar.gz", ".tgz")
_BUILT: Final = "# built from source, private to "
_OWN: Final = "# from package sources of their own, private to "
_INDEX_OPTION: Final = re.compile(
    r"(--(extra-)?index-url|--find-links|--no-index|--trusted-host|-[if])\b.*"
)
_PINNED: Final = re.compile(
    r"[A-Za-z0-9._-]+(\[[^]]*\])?\s*===?\s*[^*,\s;]+(\s*;[^*]*?)?(\s+--hash=\S+)*"
)


def digest_of_packages(text: str, requirements: Path) -> str:
    """
    Return a digest of the packages that lie beside requirements, empty if they name none.

    What a file is called says nothing about what it holds, and names are all that a lock has.
    """
    if not any(map(_LOCAL.search, lines(text))):
        return ""
    found = (
        Path(folder, name)
        for folder, _, names in os.walk(requirements.parent)
        for name in names
        if name.endswith(_PACKAGES)
    )
    digest = hashlib.sha256()
    for path in sorted(found):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.relative_to(requirements.parent)} {content}\n".encode())
    return digest.hexdigest()


def put_together(
    requirements: str, *, resolved: str, private_to: str, builds: bool, files: str
) -> str:
    """
    Put a lock together: for whom, from where, what.

    A file with hashes names everything already, as pip demands of one. It is kept as it is, so
    that the author's hashes are those that are checked.

    Args:
        requirements: What the author wrote.
        resolved: What the resolver made of it.
        private_to: The owner whom it is for alone, empty for all.
        builds: Whether that is since packages must be built from source.
        files: From `digest_of_packages`.
    """
    header = [(_BUILT if builds else _OWN) + private_to] if private_to else []
    header += [_FILES + files] if files else []
    if "--hash" in requirements:
        return "\n".join([*header, *lines(requirements), ""])
    options = [line for line in lines(requirements) if _INDEX_OPTION.fullmatch(line)]
    return "\n".join([*header, *options, resolved])


def is_pinned(requirements: str) -> bool:
    """Whether every line of a requirements file names one version."""
    return all(map(_PINNED.fullmatch, lines(requirements)))


def lines(requirements: str) -> list[str]:
    """Return what is left of the lines of a requirements file without comments."""
    joined = re.sub(r"\\\r?\n", " ", requirements)
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def private_to(lock: str) -> tuple[str, bool]:
    """Return for whom alone a lock is, empty for all, and whether code of packages may run."""
    first_line = lock.partition("\n")[0]
    for header, builds in ((_BUILT, True), (_OWN, False)):
        if first_line.startswith(header):
            return first_line.removeprefix(header), builds
    return "", False


def placed(lock: str, base: Path | None = None) -> str:
    """Return a lock with paths that begin in *base*, instead of where the lock happens to lie."""
    if base is None:
        return lock
    return "".join(
        f"{match['option']}{base / match['path']}\n"
        if (match := _RELATIVE.fullmatch(line.rstrip("\n")))
        else line
        for line in lock.splitlines(keepends=True)
    )
