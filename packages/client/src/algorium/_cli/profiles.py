"""
Writes `~/.algorithmia/config`: one profile at a time, and nothing else of the file changes.

The file is others' as well: the old command line reads and writes it, and people put comments into
it. So the lines of one section are replaced, and then the whole is read again: unless exactly the
wanted profile has changed, nothing is written. The new file is complete before it takes the place
of the old one, and only its owner can read it.
"""

import os
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from algorium._cli.program import Failed
from algorium._errors import ConfigurationError
from algorium._local.locks import locked

KEYS: Final = ("api_key", "api_server", "ca_cert", "bearer_token")
"""What the old command line writes, in its order."""
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_HEADER: Final = re.compile(r"\s*\[(?!\[)[^\n]*\]\s*(#.*)?")
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def read_profiles(path: Path) -> dict[str, dict[str, Any]]:
    """
    Return all profiles, in the order of the file; none if there is no file.

    Raises:
        ConfigurationError: It cannot be read.
    """
    found = _parsed(_read(path), path).get("profiles", {})
    profiles = found if isinstance(found, dict) else {}
    return {name: section for name, section in profiles.items() if isinstance(section, dict)}


def write_profile(path: Path, name: str, values: Mapping[str, str]) -> None:
    """
    Write one profile; what else its section holds stays.

    Args:
        path: Of the file; it and its directory are made if need be.
        name: Of the profile.
        values: For `KEYS`; what is missing becomes empty, as in the old format.

    Raises:
        ConfigurationError: The file cannot be read.
        Failed: It is written in a way that cannot be changed safely.
    """
    with _changing(path) as change:
        known = read_profiles(path).get(name, {})
        kept = {key: value for key, value in known.items() if key not in KEYS}
        if not all(isinstance(value, str) for value in kept.values()):
            raise _unsafe(path, name)
        wanted = {key: values.get(key, "") for key in KEYS} | kept
        lines = [f"[profiles.{_key(name)}]", *(f"{k} = {_text(v)}" for k, v in wanted.items())]
        change(name, wanted, lines)


def remove_profile(path: Path, name: str) -> bool:
    """Remove one profile; returns whether there was one. Raises what `write_profile` does."""
    with _changing(path) as change:
        if name not in read_profiles(path):
            return False
        change(name, None, [])
    return True


@contextmanager
def _changing(path: Path) -> Iterator[Any]:
    """Keep others from changing the file meanwhile; yields what replaces a section in it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock")):

        def change(name: str, wanted: Mapping[str, str] | None, lines: list[str]) -> None:
            text = _read(path)
            changed = _replaced(text, name, lines)
            expected = _parsed(text, path)
            profiles = dict(expected.get("profiles", {}))
            profiles.pop(name, None)
            if wanted is not None:
                profiles[name] = dict(wanted)
            try:
                found = tomllib.loads(changed)
            except tomllib.TOMLDecodeError:
                raise _unsafe(path, name) from None
            if found.get("profiles", {}) != profiles or {**found, "profiles": 0} != {
                **expected,
                "profiles": 0,
            }:
                raise _unsafe(path, name)
            _write(path, changed)

        yield change


def _replaced(text: str, name: str, lines: list[str]) -> str:
    """Put lines in place of the section of a profile, or at the end if there is none."""
    before: list[str] = []
    after: list[str] = []
    loose: list[str] = []  # comments at the end of the section belong to what follows
    is_found = is_inside = False
    # At line feeds only: what else ends a line for Python may be inside of a text or a comment.
    for line in text.rstrip("\n").split("\n") if text.strip() else ():
        if _HEADER.fullmatch(line):
            is_inside = _names(line, name)
            is_found = is_found or is_inside
        if not is_inside:
            after += loose
            loose = []
            (after if is_found else before).append(line)
        elif line.lstrip().startswith("#"):
            loose.append(line)
        elif line.strip():
            loose = []
    if is_found and lines and after:
        lines = [*lines, ""]
    if not is_found and lines and before and before[-1].strip():
        before.append("")
    whole = "\n".join([*before, *lines, *after]).rstrip("\n")
    return f"{whole}\n" if whole else ""


def _names(header: str, name: str) -> bool:
    try:
        found = tomllib.loads(header)
    except tomllib.TOMLDecodeError:
        return False
    return found == {"profiles": {name: {}}}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors mark it
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"Cannot read {path}: {error}") from error


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"Cannot read {path}: {error}", hint="Correct that line, or move the file away."
        ) from error


def _write(path: Path, text: str) -> None:
    place = Path(os.path.realpath(path))  # a link stays one
    descriptor, half = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")  # mode 0600
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, place)
    except BaseException:
        with suppress(OSError):
            os.unlink(half)
        raise


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    escaped = "".join(
        _ESCAPES.get(c) or (f"\\u{ord(c):04x}" if ord(c) < 0x20 or ord(c) == 0x7F else c)
        for c in value
    )
    return f'"{escaped}"'


def _unsafe(path: Path, name: str) -> Failed:
    return Failed(
        f"profile {name!r} in {path} is written in a way that is not safe to change",
        hint=f"Write [profiles.{_key(name)}] there as a section of its own, or edit it by hand.",
    )
