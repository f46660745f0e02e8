"""
Bills of materials: what a version consists of, as CycloneDX.

Python: what the lock names, with what the installed distributions say of themselves. Other
languages: what the lock file of their packages names, as far as there is one and we can read it. If
not, the bill holds the algorithm alone, and says so.

What distributions and lock files say was written by strangers: it is read up to a limit, and only
ever becomes text of the bill.

Source: CycloneDX 1.6; package URL specification.
"""

import email.parser
import email.policy
import json
import os
import re
import tomllib
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

from algorium_server.domain.languages import Language
from algorium_server.domain.limits import (
    BILL_COMPONENTS_MAX,
    BILL_METADATA_BYTES_MAX,
    VERSION_DOCUMENT_BYTES_MAX,
)

_PINNED: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*)(\[[^]]*\])?\s*===?\s*(?P<version>[\w.+!-]+)"
)
_HASH: Final = re.compile(r"--hash[= ]sha256:(?P<digest>[0-9a-f]{64})")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_GEM: Final = re.compile(r"    (?P<name>[\w.-]+) \((?P<version>[\w.-]+)\)")
_CLASSIFIER: Final = "License :: "
_UNKNOWN_LICENCES: Final = frozenset({"", "UNKNOWN", "none", "None"})
_LICENCE_CHARS_MAX: Final = 120
"""Some put the whole text there."""
_NAME_CHARS_MAX: Final = 1024
"""What CycloneDX 1.6 lets a version have."""
_LOCK_FILES: Final = {
    Language.NODE: "package-lock.json",
    Language.RUBY: "Gemfile.lock",
    Language.RUST: "Cargo.lock",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """
    Something that a version consists of.

    Attributes:
        kind: Type of its package URL, such as `pypi`.
        digest: SHA-256 of the file it was installed from, if the lock names exactly one.
        licence: As it says itself: an SPDX expression, a name, or empty.
    """

    kind: str
    name: str
    version: str
    digest: str = ""
    licence: str = ""
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """
    What the bill is of.

    Attributes:
        name: Owner and name of the algorithm.
        licence: As its owner says.
        notes: What somebody who reads the bill should know.
    """

    name: str
    version: str
    commit_sha: str
    tree_digest: str
    language: str
    licence: str
    summary: str
    notes: tuple[str, ...] = ()


def python_parts(lock: str, environment: Path) -> tuple[Part, ...]:
    """
    Return what a lock names, and the interpreter; blocks.

    Args:
        lock: The resolved requirements.
        environment: Where they are installed.
    """
    installed = dict(_installed(environment))
    parts = []
    for requirement in _requirements(lock):
        match = _PINNED.match(requirement)
        if match is None:
            continue
        name = canonicalize_name(match["name"])
        digests = _HASH.findall(requirement)
        licence, summary = installed.get(name, ("", ""))
        parts.append(
            Part(
                kind="pypi",
                name=name,
                version=match["version"],
                digest=digests[0] if len(digests) == 1 else "",
                licence=licence,
                summary=summary,
            )
        )
    if version := interpreter_version(environment):
        parts.append(
            Part(
                kind="generic",
                name="cpython",
                version=version,
                licence="PSF-2.0",
                summary="The interpreter",
            )
        )
    return tuple(parts[:BILL_COMPONENTS_MAX])


def other_parts(language: Language, tree: Path) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """Return what the lock file of another language names, and what to note; blocks."""
    name = _LOCK_FILES.get(language, "")
    text = _read(tree / name, VERSION_DOCUMENT_BYTES_MAX) if name else ""
    if not text:
        return (), (f"What {language.value} projects depend on is not listed: no lock file",)
    try:
        named = tuple(_PARSERS[language](text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return (), (f"{name} cannot be read, so nothing of it is listed",)
    parts = tuple(part for part in named if _is_listable(part))
    odd = len(named) - len(parts)
    notes = (f"not listed, as they cannot be read: {odd} of {name}",) if odd else ()
    return parts[:BILL_COMPONENTS_MAX], notes


def lock_file(language: Language, tree: Path) -> str:
    """Return the lock file of a project in another language, empty if there is none; blocks."""
    name = _LOCK_FILES.get(language, "")
    return _read(tree / name, VERSION_DOCUMENT_BYTES_MAX) if name else ""


def interpreter_version(environment: Path) -> str:
    """Return the version of an environment's Python, empty if it does not say; blocks."""
    text = _read(environment / "pyvenv.cfg", BILL_METADATA_BYTES_MAX)
    match = re.search(r"^version(?:_info)?\s*=\s*(\d[\w.]*)", text, re.MULTILINE)
    return match[1] if match else ""


def bill_of_materials(
    whole: Whole, parts: Iterable[Part], *, serial_number: uuid.UUID, made_at: datetime
) -> str:
    """Return the bill as CycloneDX 1.6 in JSON; takes some hundredths of a second."""
    # Loaded only here: with its licences and schemas it takes longer than the rest of a start.
    from cyclonedx.contrib.license.factories import LicenseFactory  # noqa: PLC0415
    from cyclonedx.model import HashAlgorithm, HashType, Property  # noqa: PLC0415
    from cyclonedx.model.bom import Bom, BomMetaData  # noqa: PLC0415
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415
    from cyclonedx.output import make_outputter  # noqa: PLC0415
    from cyclonedx.schema import OutputFormat, SchemaVersion  # noqa: PLC0415
    from packageurl import PackageURL  # noqa: PLC0415

    licences = LicenseFactory()

    def component(part: Part) -> Component:
        purl = PackageURL(part.kind, None, part.name, part.version)
        return Component(
            bom_ref=str(purl),
            type=ComponentType.PLATFORM if part.kind == "generic" else ComponentType.LIBRARY,
            name=part.name,
            version=part.version,
            purl=purl,
            description=part.summary or None,
            licenses=[licences.make_from_string(part.licence)] if part.licence else [],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=part.digest)]
            if part.digest
            else [],
        )

    facts = {"commit": whole.commit_sha, "tree": whole.tree_digest, "language": whole.language}
    root = Component(
        bom_ref=f"{whole.name}@{whole.version}",
        type=ComponentType.APPLICATION,
        name=whole.name,
        version=whole.version,
        description=whole.summary or None,
        licenses=[licences.make_from_string(whole.licence)] if whole.licence else [],
        properties=[
            *(Property(name=f"algorium:{name}", value=value) for name, value in facts.items()),
            *(Property(name="algorium:note", value=note) for note in whole.notes),
        ],
    )
    components = {str(each.bom_ref): each for each in map(component, parts)}
    bom = Bom(
        serial_number=serial_number,
        metadata=BomMetaData(component=root, timestamp=made_at),
        components=components.values(),
    )
    bom.register_dependency(root, components.values())
    outputter = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    return outputter.output_as_string(indent=2)


def _installed(environment: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield licence and summary of every distribution in an environment."""
    pattern = "lib/python*/site-packages/*.dist-info/METADATA"
    for number, path in enumerate(environment.glob(pattern)):
        if number >= BILL_COMPONENTS_MAX:
            return
        text = _read(path, BILL_METADATA_BYTES_MAX)
        head = email.parser.HeaderParser(policy=email.policy.compat32).parsestr(text)
        if name := head.get("Name"):
            yield canonicalize_name(str(name)), (_licence(head), _line(head.get("Summary")))


def _licence(head: Any) -> str:
    for field in ("License-Expression", "License"):
        value = str(head.get(field) or "").strip()
        if value not in _UNKNOWN_LICENCES and len(value) <= _LICENCE_CHARS_MAX:
            return _line(value)
    named = [
        str(value).rpartition(" :: ")[2]
        for value in head.get_all("Classifier") or ()
        if str(value).startswith(_CLASSIFIER)
    ]
    return _line(named[0]) if len(named) == 1 else ""


def _requirements(lock: str) -> Iterator[str]:
    for line in re.sub(r"\\\r?\n", " ", lock).splitlines():
        text = line.strip()
        if text and not text.startswith(("#", "-")):
            yield text


def _node(text: str) -> Iterator[Part]:
    for place, package in json.loads(text).get("packages", {}).items():
        name = package.get("name") or place.rpartition("node_modules/")[2]
        if place and package.get("version"):
            licence = package.get("license")
            yield Part(
                kind="npm",
                name=name,
                version=package["version"],
                licence=_line(licence) if isinstance(licence, str) else "",
            )


def _ruby(text: str) -> Iterator[Part]:
    for match in _GEM.finditer(text):
        yield Part(kind="gem", name=match["name"], version=match["version"])


def _rust(text: str) -> Iterator[Part]:
    for package in tomllib.loads(text).get("package", []):
        if "source" in package:  # else it is the algorithm
            yield Part(
                kind="cargo",
                name=package["name"],
                version=package["version"],
                digest=_digest(package.get("checksum")),
            )


def _digest(value: object) -> str:
    return value if isinstance(value, str) and _SHA256.fullmatch(value) else ""


_PARSERS: Final = {Language.NODE: _node, Language.RUBY: _ruby, Language.RUST: _rust}


def _read(path: Path, bytes_max: int) -> str:
    """Return the beginning of a file, nothing if it is none."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            return file.read(bytes_max).decode("utf-8", "replace")
    return ""


def _is_listable(part: Part) -> bool:
    """Whether a part has a name and a version; a lock file is foreign, and may say anything."""
    return all(
        isinstance(text, str)
        and text.isprintable()
        and 0 < len(text.strip(" /")) <= _NAME_CHARS_MAX
        for text in (part.name, part.version)
    )


def _line(value: object) -> str:
    return " ".join(str(value or "").split())[:500]
