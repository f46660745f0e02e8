"""
Trees and environments compared file by file, to find out whether they are what they were.

An environment knows its own path: programs in `bin` name it, and so do the records of what is
installed. Such lines do not count. Bytecode that Python keeps for source does not count either: it
is made from what does, and holds times. In trees of builds there is none that was not committed, so
there all of it counts.

Everything here blocks, and reads what it is told to read and nothing else: links are compared,
never followed.
"""

import base64
import csv
import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

_BYTECODE: Final = ("__pycache__",)
_OF_THE_ENVIRONMENT: Final = ("pyvenv.cfg", ".lock", ".gitignore", "CACHEDIR.TAG", "complete")
"""Files at the top that say when, where and by whom an environment was made."""
_OF_THE_INSTALLER: Final = ("uv_cache.json", "uv_build.json", "direct_url.json", "REQUESTED")
"""Files of a distribution that say how it came here."""
_LAUNCHER_LINES: Final = (b"#!/bin/sh", b"' '''")
_PROGRAM_BYTES_MAX: Final = 1024 * 1024

Manifest = Mapping[str, str]
"""What is at each path: its kind and what it holds or where it leads."""


def tree_manifest(tree: Path) -> Manifest:
    """Return what a tree holds, by path with slashes."""
    return {_relative(path, tree): _content(path) for path in _paths(tree)}


def environment_manifest(environment: Path) -> Manifest:
    """Return what is installed in an environment, by path; what depends on its own path is not."""
    manifest = {}
    for path in _paths(environment, but=_BYTECODE):
        name = _relative(path, environment)
        if name in _OF_THE_ENVIRONMENT or name.rpartition("/")[2] in _OF_THE_INSTALLER:
            continue
        if name.startswith(("bin/activate", "bin/deactivate")):
            continue
        if name.startswith("bin/") and not os.path.islink(path):
            manifest[name] = _program(path, environment)
        elif name.endswith(".dist-info/RECORD") and _is_file(path):
            manifest[name] = _record(path)
        else:
            manifest[name] = _content(path)
    return manifest


def differences(expected: Manifest, found: Manifest) -> Iterator[str]:
    """Yield a sentence for each path at which two manifests differ, by path."""
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            yield f"{name} is missing"
        elif name not in expected:
            yield f"{name} does not belong there"
        elif expected[name] != found[name]:
            yield f"{name} was changed"


def broken_records(environment: Path) -> Iterator[str]:
    """Yield a sentence for each installed file that is not what its distribution's record says."""
    root = os.path.realpath(environment)
    for record in sorted(environment.glob("lib/python*/site-packages/*.dist-info/RECORD")):
        if not _is_file(str(record)):
            yield f"{_relative(str(record), environment)} is no file"
            continue
        site_packages = record.parent.parent
        for row in _rows(record):
            if len(row) < 2 or not row[1].startswith("sha256=") or row[0].startswith("../"):
                continue
            path = site_packages / row[0]
            if not os.path.realpath(path).startswith(f"{root}/"):
                continue  # a record is foreign: it may name anything
            wanted = row[1].removeprefix("sha256=")
            if not _is_file(os.path.realpath(path)):
                yield f"{_relative(str(path), environment)} is missing"
                continue
            digest = hashlib.sha256(path.read_bytes()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != wanted:
                yield f"{_relative(str(path), environment)} is not what its record says"


def _paths(tree: Path, *, but: Collection[str] = ()) -> Iterator[str]:
    for directory, names, files in os.walk(tree):
        names[:] = [name for name in names if name not in but]
        yield from (os.path.join(directory, name) for name in files)
        for name in names:
            path = os.path.join(directory, name)
            if os.path.islink(path):
                yield path


def _relative(path: str, top: Path) -> str:
    return os.path.relpath(path, top)


def _is_file(path: str) -> bool:
    """Whether it can be read to its end: what installs packages may have left a pipe."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _content(path: str) -> str:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return f"link {os.readlink(path)}"
    if not stat.S_ISREG(status.st_mode):
        return "neither file nor link"
    kind = "program" if status.st_mode & stat.S_IXUSR else "file"
    with open(path, "rb") as file:
        return f"{kind} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def _program(path: str, environment: Path) -> str:
    """Describe a program of an environment without the lines that start its interpreter."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _PROGRAM_BYTES_MAX:
        return _content(path)
    own = os.fsencode(environment)
    lines = [
        line
        for line in Path(path).read_bytes().splitlines()
        if own not in line and line not in _LAUNCHER_LINES
    ]
    whole = b"\n".join(lines)
    return f"program {hashlib.sha256(whole).hexdigest()}"


def _record(path: str) -> str:
    """Describe a record without what it says of programs, bytecode and the installer."""
    rows = sorted(
        ",".join(row)
        for row in _rows(Path(path))
        if row
        and not row[0].startswith("../")
        and not row[0].endswith((".pyc", *_OF_THE_INSTALLER))
    )
    whole = "\n".join(rows)
    return f"record {hashlib.sha256(whole.encode()).hexdigest()}"


def _rows(record: Path) -> Iterator[list[str]]:
    try:
        text = record.read_text("utf-8", "replace")
        yield from csv.reader(text.splitlines())
    except (OSError, csv.Error):
        return
